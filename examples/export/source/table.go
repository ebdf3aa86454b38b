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
	Key     []string // nil means the primary key, or whatever order there is without one
	Columns []string // nil means all
	Where   string   // a condition; "" means all rows
	Page    cursor.PageConfig
}

// A Table is a table or a query that can be exported.
type Table struct {
	*keyset.Table
	Name    string // with its schema, so that it does not depend on a search path
	Columns []encode.Column
	Order   Order
	Note    string // what holds of the order; "" where it is a key
	file    int64  // of the rows, where they are read by their places in it
	source  *Source
}

// An Order is what the rows of a table are read by.
type Order string

// The orders. All but the last can be gone on with behind any row.
const (
	ByKey   Order = ""
	ByRowid Order = "rowid"
	ByCtid  Order = "ctid"
	NoOrder Order = "none"
)

const (
	badKey   = "Name another -key: columns that are unique together, NOT NULL and indexed in that order, for example the primary key."
	badWhere = "Is the condition valid SQL for this database?\nNothing was written."
)

// Table looks a table up, and refuses what cannot be read before a row is. One without a
// key that can be read by is read in another order: see without.go.
func (s *Source) Table(ctx context.Context, name string, o Options) (*Table, error) {
	o.Page.Retry = s.checkedPages(o.Page.Retry)
	k, full, err := s.find(ctx, name, o.Key)
	t := &Table{Table: k, Name: full, source: s}
	if err == nil {
		err = t.prepare(ctx, o)
	}
	if len(o.Key) == 0 && (errors.Is(err, keyset.ErrKey) || len(o.Columns) > 0 && denied(err)) {
		return s.withoutKey(ctx, name, o, err)
	}
	return t, ofKey(err)
}

// Query is Table for a query of the user's.
func (s *Source) Query(ctx context.Context, query string, o Options) (*Table, error) {
	o.Page.Retry = s.checkedPages(o.Page.Retry)
	k, err := keyset.OpenQuery(ctx, s.DB, s.Dialect, query, o.Key...)
	if err != nil {
		if Passes(err) || ctx.Err() != nil {
			return nil, err
		}
		return nil, advice.New("Is it a query that this database can run?\nNothing was written.", "-query: %w", err)
	}
	t := &Table{Table: k, Name: "the query", source: s}
	if len(o.Key) == 0 {
		t.Order, t.Note = NoOrder, "no -key is given with the query: "+anew
	}
	return t, ofKey(t.prepare(ctx, o))
}

// prepare narrows a table to what is read of it, and asks the database whether that can be.
func (t *Table) prepare(ctx context.Context, o Options) error {
	if len(o.Columns) > 0 {
		if err := t.Select(o.Columns...); err != nil {
			return err
		}
	}
	t.Reuse = true
	t.Page = o.Page
	columns, err := t.columns(ctx)
	if err != nil {
		return err
	}
	t.Columns = columns
	if t.Where = o.Where; o.Where != "" {
		if err := t.source.checkWhere(ctx, t.Table); err != nil {
			return err
		}
	}
	if t.Order == NoOrder {
		return nil
	}
	return t.Preflight(ctx)
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
	if s.System == Postgres {
		var schema, table string
		err := s.QueryRowContext(ctx, `SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE c.relname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_table_is_visible(c.oid)`, unquoted(name)).Scan(&schema, &table)
		switch {
		case err == nil:
			name = s.Dialect.Quote(schema) + "." + s.Dialect.Quote(table)
			k, err := keyset.OpenTable(ctx, s.DB, s.Dialect, name, key...)
			return k, schema + "." + table, err
		case !errors.Is(err, sql.ErrNoRows):
			return nil, "", fmt.Errorf("look up the schema of %s: %w", name, err)
		}
	}
	k, err := keyset.OpenTable(ctx, s.DB, s.Dialect, name, key...)
	return k, plain(name), err
}

// plain writes a name without quotes: for people, and the same however it was given.
func plain(name string) string {
	if !strings.HasPrefix(name, `"`) {
		return name
	}
	return strings.ReplaceAll(strings.ReplaceAll(strings.Trim(name, `"`), `"."`, "."), `""`, `"`)
}

// unquoted takes the quotes off a name of one part.
func unquoted(name string) string {
	if n := len(name); n > 2 && name[0] == '"' && name[n-1] == '"' && !strings.Contains(name, `"."`) {
		return strings.ReplaceAll(name[1:n-1], `""`, `"`)
	}
	return name
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

// columns describes the columns for an encoder, by the types that they have in the table,
// not by those that they are read as.
func (t *Table) columns(ctx context.Context) ([]encode.Column, error) {
	names := t.Table.Columns()
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = t.source.Dialect.Quote(name)
	}
	rows, err := t.source.QueryContext(ctx, "SELECT "+strings.Join(quoted, ", ")+" FROM "+t.From()+" WHERE 1 = 0")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	columns := make([]encode.Column, len(types))
	for i, c := range types {
		columns[i] = encode.Column{Name: names[i], Type: strings.ToLower(c.DatabaseTypeName())}
		switch t.source.System + " " + columns[i].Type {
		case "postgres timestamp":
			columns[i].Kind = encode.Local
		case "postgres float4":
			columns[i].Kind = encode.Float32
		case "postgres json", "postgres jsonb", "mysql json", "sqlite json", "sqlite jsonb":
			columns[i].Kind = encode.JSON
		case "postgres numeric", "mysql decimal":
			columns[i].Kind = encode.Number
		}
	}
	for rows.Next() { // none; some drivers report errors only here
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	return columns, t.jsonOfMariaDB(ctx, columns)
}

// jsonOfMariaDB finds the columns that were declared as JSON, which MariaDB keeps as a text
// with a check.
func (t *Table) jsonOfMariaDB(ctx context.Context, columns []encode.Column) error {
	if t.source.System != MySQL {
		return nil
	}
	rows, err := t.source.QueryContext(ctx, "SELECT constraint_name FROM information_schema.check_constraints "+
		"WHERE (constraint_schema = DATABASE() AND table_name = ? OR CONCAT(constraint_schema, '.', table_name) = ?) "+
		"AND check_clause = CONCAT('json_valid(`', constraint_name, '`)')", t.Name, t.Name)
	if err != nil {
		return nil // MySQL, whose driver calls the type by its name
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		for i := range columns {
			if strings.EqualFold(columns[i].Name, name) {
				columns[i].Type, columns[i].Kind = "json", encode.JSON
			}
		}
	}
	return rows.Err()
}

// Rows streams a range of the rows. Each has its position in Key, but for those in no
// order, which have none.
func (t *Table) Rows(ctx context.Context, r keyset.Range[keyset.Key]) iter.Seq2[keyset.Row, error] {
	switch t.Order {
	case NoOrder:
		return t.All(ctx)
	case ByCtid:
		return t.byBlocks(ctx, r)
	}
	part := *t.Table
	part.Until = r.Until
	return part.Stream(ctx, r.After)
}

// Split cuts the rows into at most n ranges.
func (t *Table) Split(ctx context.Context, n int) ([]keyset.Range[keyset.Key], error) {
	switch t.Order {
	case NoOrder:
		return nil, advice.New("Export it into one file.", "%s has no order that it could be split in", t.Name)
	case ByCtid:
		return t.splitBlocks(ctx, n)
	}
	ranges, err := t.Table.Split(ctx, n)
	return ranges, t.source.checked(ctx, err)
}

// Latest is that of [keyset.Table]. It takes a lock, to which a user who may read has no
// right by that.
func (t *Table) Latest(ctx context.Context) (*keyset.Key, error) {
	last, err := t.Table.Latest(ctx)
	if !denied(err) {
		return last, t.source.checked(ctx, err)
	}
	grant := "GRANT MAINTAIN ON " + t.From() + " TO this user (before PostgreSQL 17: GRANT UPDATE, or DELETE or TRUNCATE)"
	if t.source.System == MySQL {
		grant = "GRANT SELECT, LOCK TABLES ON database.* TO this user"
	}
	return nil, advice.New("To be sure that no commit comes in later, the table is locked for a moment, in which nobody writes to it: "+grant+". Or leave -more and -follow out.",
		"this user has no right to lock %s: %w", t.Name, err)
}

// Fingerprint identifies what is read.
func (t *Table) Fingerprint() string {
	if t.Order == ByCtid {
		return fmt.Sprintf("%s in file %d", t.Table.Fingerprint(), t.file)
	}
	return t.Table.Fingerprint()
}

// Tables lists the tables of a schema, "" for the one in use: no views, and of a
// partitioned table not its partitions.
func (s *Source) Tables(ctx context.Context, schema string) (names []string, err error) {
	query := map[string]string{
		Postgres: `SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname = COALESCE(NULLIF($1::text, ''), current_schema()) ORDER BY 1`,
		MySQL: `SELECT table_name FROM information_schema.tables
			WHERE table_type = 'BASE TABLE' AND table_schema = COALESCE(NULLIF(?, ''), DATABASE()) ORDER BY 1`,
		SQLite: `SELECT name FROM pragma_table_list
			WHERE type = 'table' AND schema = COALESCE(NULLIF(?, ''), 'main') AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY 1`,
	}[s.System]
	rows, err := s.QueryContext(ctx, query, schema)
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}
