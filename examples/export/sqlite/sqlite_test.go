package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"path/filepath"
	"testing"
)

// fileDSN names a database file that does not exist yet.
func fileDSN(t testing.TB, params string) string {
	t.Helper()
	return "file:" + filepath.ToSlash(filepath.Join(t.TempDir(), "test.db")) + "?" + params
}

func openDB(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := Open(dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// openConn opens a connection without a pool.
func openConn(t testing.TB, dsn string) *conn {
	t.Helper()
	c, err := Driver{}.Open(dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*conn)
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// run runs statements that must succeed.
func run(t testing.TB, db execer, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.ExecContext(context.Background(), s); err != nil {
			t.Fatalf("%.80s: %v", s, err)
		}
	}
}

type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// one returns the only value of a query.
func one[T any](t testing.TB, db queryer, query string, args ...any) T {
	t.Helper()
	var v T
	if err := db.QueryRowContext(context.Background(), query, args...).Scan(&v); err != nil {
		t.Fatalf("%.80s: %v", query, err)
	}
	return v
}

// query runs a statement on a connection without a pool.
func query(t testing.TB, ctx context.Context, c *conn, text string, args ...driver.Value) driver.Rows {
	t.Helper()
	r, err := c.QueryContext(ctx, text, named(args))
	if err != nil {
		t.Fatalf("%.80s: %v", text, err)
	}
	return r
}

// readAll returns how many rows there are, and the error that ended them.
func readAll(r driver.Rows) (n int, err error) {
	dest := make([]driver.Value, len(r.Columns()))
	for {
		if err := r.Next(dest); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
		n++
	}
}

// endless yields 1 and then never another row.
const endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c WHERE x = 1 OR x < 0"
