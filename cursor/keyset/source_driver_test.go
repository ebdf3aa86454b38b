package keyset

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
)

// A faulty is a driver with rows (id, name) from 1 to 5, for what a real one does not
// do on demand.
type faulty struct {
	next     func(ctx context.Context, id int64) error // before a row is returned
	query    func(query int) error                     // before a statement is run
	argument func(*driver.NamedValue) error
	closing  error

	queries, opened, closed, open int // statements begun; connections; rows that are not closed
	prepared                      bool
	args                          []driver.NamedValue
}

func (f *faulty) Connect(context.Context) (driver.Conn, error) {
	f.opened++
	return &faultyConn{f: f}, nil
}
func (f *faulty) Driver() driver.Driver { return nil }

type faultyConn struct{ f *faulty }

func (c *faultyConn) Close() error              { c.f.closed++; return nil }
func (c *faultyConn) Begin() (driver.Tx, error) { return c, nil }
func (c *faultyConn) Commit() error             { return nil }
func (c *faultyConn) Rollback() error           { return nil }
func (c *faultyConn) Prepare(string) (driver.Stmt, error) {
	c.f.prepared = true
	return faultyStmt{c}, nil
}
func (c *faultyConn) CheckNamedValue(v *driver.NamedValue) error {
	if c.f.argument == nil {
		return driver.ErrSkip
	}
	return c.f.argument(v)
}
func (c *faultyConn) QueryContext(ctx context.Context, _ string, args []driver.NamedValue) (driver.Rows, error) {
	c.f.queries++
	c.f.args = args
	if c.f.query != nil {
		if err := c.f.query(c.f.queries); err != nil {
			return nil, err
		}
	}
	return c.f.rows(ctx), nil
}

type faultyStmt struct{ c *faultyConn }

func (s faultyStmt) Close() error                               { return nil }
func (s faultyStmt) NumInput() int                              { return -1 }
func (s faultyStmt) Exec([]driver.Value) (driver.Result, error) { return nil, errors.ErrUnsupported }
func (s faultyStmt) Query([]driver.Value) (driver.Rows, error) {
	return s.c.f.rows(context.Background()), nil
}

type faultyRows struct {
	f    *faulty
	ctx  context.Context
	id   int64
	name []byte // the driver's memory: valid until the next row
}

func (f *faulty) rows(ctx context.Context) driver.Rows {
	f.open++
	return &faultyRows{f: f, ctx: ctx, name: make([]byte, 1)}
}
func (r *faultyRows) Columns() []string { return []string{"id", "name"} }
func (r *faultyRows) Close() error {
	r.f.open--
	return r.f.closing
}
func (r *faultyRows) Next(dest []driver.Value) error {
	if r.id++; r.id > 5 {
		return io.EOF
	}
	if r.f.next != nil {
		if err := r.f.next(r.ctx, r.id); err != nil {
			return err
		}
	}
	r.name[0] = 'a' + byte(r.id)
	dest[0], dest[1] = r.id, r.name
	return nil
}

// table returns what Table would for a table of the driver's rows.
func (f *faulty) table(t *testing.T) (*Table, *sql.DB) {
	db := sql.OpenDB(f)
	t.Cleanup(func() {
		if open := db.Stats().InUse; open != 0 {
			t.Errorf("%d connections are still in use", open)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if f.open != 0 || f.closed != f.opened {
			t.Errorf("%d rows are open, %d of %d connections were closed", f.open, f.closed, f.opened)
		}
	})
	l := &layout{dialect: &postgres, table: "t", alias: "t", info: &tableInfo{columns: []columnInfo{
		{name: "id", primary: 1, format: "%s"}, {name: "name", format: "%s", conversion: asBytes}}}}
	l.info.indexes = []indexInfo{{unique: true, columns: []indexColumn{{name: "id"}}}}
	l.key = l.info.columns[:1]
	l.choose(l.info.names())
	return &Table{db: db, from: "t", key: []string{"id"}, down: []bool{false}, layout: l}, db
}

// drain returns what a stream has, as text, and its error.
func drain(ctx context.Context, q *Table, after *Key) (rows []string, end error) {
	for row, err := range q.Stream(ctx, after) {
		if err != nil {
			return rows, err
		}
		rows = append(rows, fmt.Sprintf("%v %s", row.Key, row.Values[1]))
	}
	return rows, nil
}

var faultyRowsWant = []string{"[1] b", "[2] c", "[3] d", "[4] e", "[5] f"}

func wantAll(t *testing.T, rows []string, err error) {
	t.Helper()
	if err != nil || !slices.Equal(rows, faultyRowsWant) {
		t.Errorf("got %v, %v, want %v", rows, err, faultyRowsWant)
	}
}

// TestDirectCopies keeps rows whose bytes the driver overwrites.
func TestDirectCopies(t *testing.T) {
	f := &faulty{}
	q, _ := f.table(t)
	rows, err := drain(t.Context(), q, nil)
	wantAll(t, rows, err)
	if f.prepared {
		t.Error("the rows were not read directly")
	}
}

// TestDirectNotPossible reads through the sql package: where the driver wants
// a statement to be prepared, where it refuses an argument, and in a transaction.
func TestDirectNotPossible(t *testing.T) {
	t.Run("skip", func(t *testing.T) {
		f := &faulty{query: func(int) error { return driver.ErrSkip }}
		q, _ := f.table(t)
		rows, err := drain(t.Context(), q, nil)
		wantAll(t, rows, err)
		if !f.prepared {
			t.Error("no statement was prepared")
		}
	})
	t.Run("argument", func(t *testing.T) {
		refused := errors.New("refused")
		f := &faulty{argument: func(*driver.NamedValue) error { return refused }}
		q, _ := f.table(t)
		if _, err := drain(t.Context(), q, &Key{int64(0)}); !errors.Is(err, refused) {
			t.Error(err)
		}
	})
	t.Run("transaction", func(t *testing.T) {
		f := &faulty{}
		q, db := f.table(t)
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		q.db = tx
		d := postgres
		d.session = nil // the driver has no settings
		q.layout.dialect = &d
		rows, err := drain(t.Context(), q, nil)
		wantAll(t, rows, err)
	})
}

// TestDirectArguments has the driver change an argument, or leave it.
func TestDirectArguments(t *testing.T) {
	f := &faulty{}
	q, _ := f.table(t)
	d := postgres
	d.session, d.meaning = nil, nil // the driver has no settings and no names
	q.layout.dialect = &d
	q.Where, q.Args = "name <> ?", []any{sql.NullString{String: "x", Valid: true}}
	if _, err := drain(t.Context(), q, nil); err != nil || f.args[0].Value != "x" {
		t.Errorf("got %v, %v", f.args, err)
	}
	f.argument = func(v *driver.NamedValue) error {
		v.Value = v.Ordinal
		return nil
	}
	if _, err := drain(t.Context(), q, nil); err != nil || f.args[0].Value != 1 {
		t.Errorf("got %v, %v", f.args, err)
	}
}

// TestDirectBadConnections has connections that were lost in the pool. They are
// dropped and a new one is taken, but for a connection that is the caller's.
func TestDirectBadConnections(t *testing.T) {
	for bad := 1; bad <= 4; bad++ {
		f := &faulty{query: func(query int) error {
			if query <= bad {
				return driver.ErrBadConn
			}
			return nil
		}}
		q, _ := f.table(t)
		rows, err := drain(t.Context(), q, nil)
		if wantAll(t, rows, err); f.closed != bad {
			t.Errorf("%d bad connections: %d were closed", bad, f.closed)
		}
	}
	f := &faulty{query: func(int) error { return driver.ErrBadConn }}
	q, db := f.table(t)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	q.db = conn
	if _, err := drain(t.Context(), q, nil); !errors.Is(err, driver.ErrBadConn) || f.queries != 1 {
		t.Errorf("got %v after %d queries", err, f.queries)
	}
}

// TestDirectFailures has the rows fail: none is handed over, they are closed, and the
// connection is given back, or dropped where closing says so.
func TestDirectFailures(t *testing.T) {
	failed := errors.New("failed")
	at := func(id int64, err error) func(context.Context, int64) error {
		return func(_ context.Context, i int64) error {
			if i == id {
				return err
			}
			return nil
		}
	}
	for _, c := range []struct {
		name    string
		f       *faulty
		want    error
		dropped int
	}{
		{"first row", &faulty{next: at(1, failed)}, failed, 0},
		{"later row", &faulty{next: at(4, failed)}, failed, 0},
		{"close", &faulty{closing: failed}, failed, 0},
		{"lost", &faulty{next: at(4, failed), closing: driver.ErrBadConn}, failed, 1},
		{"not begun again", &faulty{next: at(4, driver.ErrBadConn), closing: driver.ErrBadConn}, driver.ErrBadConn, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, _ := c.f.table(t)
			rows, err := drain(t.Context(), q, nil)
			if len(rows) != 0 || !errors.Is(err, c.want) || c.f.queries != 1 || c.f.closed != c.dropped || c.f.open != 0 {
				t.Errorf("got %v, %v after %d queries, %d connections dropped, %d rows open", rows, err, c.f.queries, c.f.closed, c.f.open)
			}
		})
	}
}

// TestDirectEndOfContext ends the context between two rows of a driver that does not
// look at it.
func TestDirectEndOfContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	read := int64(0)
	f := &faulty{next: func(_ context.Context, id int64) error {
		if read = id; id == 2 {
			cancel()
		}
		return nil
	}}
	q, _ := f.table(t)
	if rows, err := drain(ctx, q, nil); len(rows) != 0 || !errors.Is(err, context.Canceled) || read != 2 {
		t.Errorf("got %v, %v after row %d", rows, err, read)
	}
}

// TestDirectPanic has the driver panic within a page.
func TestDirectPanic(t *testing.T) {
	f := &faulty{next: func(_ context.Context, id int64) error {
		if id == 3 {
			panic("driver")
		}
		return nil
	}}
	q, _ := f.table(t)
	defer func() {
		if fmt.Sprint(recover()) == "<nil>" || f.open != 0 || f.closed != 1 {
			t.Errorf("%d rows are open, %d connections were dropped", f.open, f.closed)
		}
	}()
	drain(context.Background(), q, nil)
}
