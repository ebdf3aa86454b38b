package keyset

import (
	"context"
	"fmt"
	"iter"
	"strings"
)

// OpenQuery returns a Table that reads the result of a query, which is SQL and goes into
// the statements as it is: never build it from what a user may not run. The columns of
// the key are of the result; for what no catalog can tell of it see [Query.Preflight].
// Without a key the rows are in no order, and can only be read with [Table.All].
//
// Each page runs the query with a condition around it. A database that does not see
// through the query, because of a GROUP BY say, does all of its work for each page.
//
// It is an error where the database refuses the query, and where its columns do not have
// names that tell them apart.
func OpenQuery(ctx context.Context, db Querier, d Dialect, query string, key ...string) (*Table, error) {
	switch {
	case db == nil:
		panic("keyset.OpenQuery: db must not be nil")
	case d == nil:
		panic("keyset.OpenQuery: the dialect must be SQLite, Postgres or MySQL, got nil")
	case strings.TrimSpace(query) == "":
		panic("keyset.OpenQuery: the query must not be empty")
	}
	query = strings.TrimRight(query, "; \t\r\n")
	alias := d.Quote("q")
	// The line ends a comment that the query may end with.
	from := "(" + query + "\n) AS " + alias
	s := &spec{stage: "keyset.OpenQuery", db: db, dialect: d.dialect(), from: from}
	if err := s.session(ctx); err != nil {
		return nil, err
	}
	types, err := s.columnTypes(ctx, alias+".*")
	if err != nil {
		return nil, fmt.Errorf("keyset: describe the query: %w", err)
	}
	info := &tableInfo{view: true, unsure: d.dialect().keyTypes == nil, fold: d != Postgres}
	for _, t := range types {
		if info.column(t.Name()) != nil {
			return nil, fmt.Errorf("keyset: the query has two columns that are called %s; give them names with AS", t.Name())
		}
		c := columnInfo{name: t.Name(), typ: t.DatabaseTypeName()}
		d.dialect().read(&c)
		info.columns = append(info.columns, c)
	}
	t := &Table{db: db, from: from, layout: &layout{dialect: d.dialect(), alias: alias, table: "q", info: info}}
	if err := t.order(key); err != nil {
		return nil, err
	}
	if err := t.describeKey(ctx); err != nil {
		return nil, fmt.Errorf("keyset: describe the query: %w", err)
	}
	t.layout.choose(info.names())
	if err := t.identify(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// describeKey asks a database that can tell what decides the order of a result.
func (t *Table) describeKey(ctx context.Context) error {
	d := t.layout.dialect
	if d.keyTypes == nil || len(t.key) == 0 {
		return nil
	}
	columns, err := d.keyTypes(ctx, &spec{db: t.db, dialect: d, from: t.from, key: t.key})
	if err != nil {
		return err
	}
	for i, now := range columns {
		c := t.layout.info.column(t.layout.key[i].name)
		for _, c := range []*columnInfo{c, &t.layout.key[i]} {
			c.identity, c.frame, c.labels, c.base, c.arrays, c.money = now.identity, now.frame, now.labels, now.base, now.arrays, c.money || now.money
		}
	}
	return nil
}

// All streams all rows with one statement, in whatever order the database has them: for
// what has no key to read by. A run that is interrupted begins anew. Until and Page do
// not count.
//
// Ends: with the rows, at an error, or when ctx ends.
// Owns: one connection while the loop runs.
// Reads ahead: at most 128 rows.
// Reuse: always; it reads the database anew.
func (t *Table) All(ctx context.Context) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		if err := t.all(ctx, yield); err != nil {
			yield(Row{}, err)
		}
	}
}

// all returns the final error, nil where the loop was left.
func (t *Table) all(ctx context.Context, yield func(Row, error) bool) error {
	s := t.spec()
	if err := s.session(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := t.reader(s)
	defer r.end()
	var src source[Row]
	err := s.readable(func(s *spec) (err error) {
		src, err = r.open(ctx, s.source(s.columns)+s.condition(), s.args)
		return err
	})
	if err != nil {
		return s.explain(err)
	}
	closed := false
	defer func() {
		if !closed {
			cancel() // what is left of the result is not transferred
			src.close()
		}
	}()
	var rows []Row
	for more := true; more; {
		b := budget{rows: runRows, max: pageBytes, ctx: ctx, stop: func() {}}
		rows, more, err = src.read(ctx, rows[:0], runRows, &b)
		r.passed(len(rows), b.used, more)
		for _, row := range rows {
			if !yield(row, nil) {
				return nil
			}
		}
		if err != nil {
			return s.explain(err)
		}
	}
	closed = true
	if err := src.close(); err != nil {
		return s.explain(err)
	}
	return nil
}

// Statement returns the SQL of a page behind a position, nil for the first one, and the
// values of its placeholders: for a look at what a database makes of it. It asks the
// database what it has to know for that.
func (t *Table) Statement(ctx context.Context, after *Key) (text string, args []any, err error) {
	s := t.spec()
	if err := s.prepare(ctx); err != nil {
		return "", nil, s.explain(err)
	}
	size := t.Page.Size
	if size == 0 {
		size = 1000
	}
	return pageSQL(s, after, t.Until, size+1)
}
