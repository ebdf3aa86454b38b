package source

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"strings"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/examples/export/advice"
	"example.com/pipeline/examples/export/encode"
)

// Options say what of a table is read, and how.
type Options struct {
	Key     []string // nil means the primary key
	Columns []string // nil means all
	Where   string   // a condition; "" means all rows
	Page    cursor.PageConfig
}

// A Table is a table that can be exported.
type Table struct {
	*keyset.Table
	Name    string // with its schema, so that it does not depend on a search path
	Columns []encode.Column
}

const (
	badKey   = "Name another -key: columns that are unique together, NOT NULL and indexed in that order, for example the primary key."
	badWhere = "Is the condition valid SQL for this database?\nNothing was written."
)

// Table looks a table up, and refuses what cannot be read before a row is.
func (s *Source) Table(ctx context.Context, name string, o Options) (*Table, error) {
	k, name, err := s.find(ctx, name, o.Key)
	if err != nil {
		return nil, err
	}
	if len(o.Columns) > 0 {
		if err := k.Select(o.Columns...); err != nil {
			return nil, err
		}
	}
	k.Reuse = true
	k.Page = o.Page
	types, err := k.ColumnTypes(ctx)
	if err != nil {
		return nil, err
	}
	if k.Where = o.Where; o.Where != "" {
		if err := s.checkWhere(ctx, k); err != nil {
			return nil, err
		}
	}
	if err := k.Preflight(ctx); err != nil {
		return nil, ofKey(err)
	}
	return &Table{Table: k, Name: name, Columns: s.columns(types)}, nil
}

// ofKey adds what to do about a key that does not fit. An error of the database is none.
func ofKey(err error) error {
	for _, is := range []error{keyset.ErrKey, keyset.ErrPosition, cursor.ErrDuplicateKey} {
		if errors.Is(err, is) {
			return advice.New(badKey, "-key: %w", err)
		}
	}
	return err
}

// find opens the table. In PostgreSQL a name without a schema is looked for in a search
// path; from then on the schema that it was found in stands with it.
func (s *Source) find(ctx context.Context, name string, key []string) (*keyset.Table, string, error) {
	k, err := keyset.OpenTable(ctx, s.DB, s.Dialect, name, key...)
	if err != nil || s.System != Postgres {
		return k, name, err
	}
	var schema, table string
	err = s.QueryRowContext(ctx, `SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = to_regclass($1)::oid`, k.From()).Scan(&schema, &table)
	if err != nil {
		return nil, "", fmt.Errorf("look up the schema of %s: %w", name, err)
	}
	k, err = keyset.OpenTable(ctx, s.DB, s.Dialect, s.Dialect.Quote(schema)+"."+s.Dialect.Quote(table), key...)
	return k, schema + "." + table, err
}

// checkWhere asks the database whether the condition is one, also without the parentheses
// that it is put in: one that ends them would undo the condition on the key.
func (s *Source) checkWhere(ctx context.Context, k *keyset.Table) error {
	_, err := k.ColumnTypes(ctx)
	if err == nil {
		err = s.try(ctx, "SELECT 1 FROM "+k.From()+" WHERE "+k.Where+"\nLIMIT 0")
	}
	if err == nil || Passes(err) || ctx.Err() != nil {
		return err
	}
	return advice.New(badWhere, "-where: %w", err)
}

// try runs a query and looks at none of its rows.
func (s *Source) try(ctx context.Context, query string) error {
	rows, err := s.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	rows.Next()
	return errors.Join(rows.Err(), rows.Close())
}

// columns describes the columns for an encoder.
func (s *Source) columns(types []*sql.ColumnType) []encode.Column {
	columns := make([]encode.Column, len(types))
	for i, t := range types {
		columns[i] = encode.Column{Name: t.Name(), Type: strings.ToLower(t.DatabaseTypeName())}
		switch s.System + " " + t.DatabaseTypeName() {
		case "postgres TIMESTAMP":
			columns[i].Kind = encode.Local
		case "postgres FLOAT4":
			columns[i].Kind = encode.Float32
		}
	}
	return columns
}

// Rows streams a range of the rows. Each has its position in Key.
func (t *Table) Rows(ctx context.Context, r keyset.Range[keyset.Key]) iter.Seq2[keyset.Row, error] {
	part := *t.Table
	part.Until = r.Until
	return part.Stream(ctx, r.After)
}
