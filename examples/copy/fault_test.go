//go:build unix

package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"modernc.org/sqlite"

	"example.com/pipeline/control"
	"example.com/pipeline/cursor/keyset"
)

// The connection is lost at each statement and at each commit in turn, before it is done
// or when it is and nobody has heard the answer. Whatever the run has come to, rows and
// position agree; and the next run completes the copy, each row once.
func TestFaults(t *testing.T) {
	t.Parallel()
	const n, size = 20, 10
	folder := t.TempDir()
	source, err := open(filepath.Join(folder, "source.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	if err := makeOrders(t.Context(), source, n); err != nil {
		t.Fatal(err)
	}
	c := config{batch: size, lease: time.Minute, out: io.Discard, gate: new(control.Gate)}
	for _, done := range []bool{false, true} {
		positions := map[int]bool{}
		at := int32(1)
		for faulted := true; faulted; at++ {
			path := filepath.Join(folder, fmt.Sprintf("%t-%d.db", done, at))
			target, err := open(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := target.Exec("CREATE TABLE orders_copy (id BIGINT, customer TEXT, cents BIGINT)"); err != nil {
				t.Fatal(err)
			}
			f := &fault{dsn: sqliteDSN(path), at: at, done: done}
			broken := database{sql.OpenDB(f), keyset.SQLite}
			err = copyOrders(t.Context(), c, source, broken)
			broken.Close()
			if faulted = f.passed.Load() >= at; faulted && err != nil && !errors.Is(err, errLost) {
				t.Errorf("fault %d: %v", at, err)
			}
			positions[agree(t, target)] = true
			// The lease of a run whose release was lost, as it is a minute later.
			if _, err := target.Exec("UPDATE pipeline_checkpoints SET lease_until = 0"); err != nil && at > 2 {
				t.Fatal(err)
			}
			if err := copyOrders(t.Context(), c, source, target); err != nil {
				t.Errorf("fault %d, the next run: %v", at, err)
			}
			target.Close()
			checkCopy(t, path, n)
		}
		if at < 12 || len(positions) != n/size+1 {
			t.Errorf("done %t: %d faults, which have left %v rows", done, at-2, positions)
		}
	}
}

// agree returns how many rows there are, as the job's record has it, too.
func agree(t *testing.T, target database) (rows int) {
	t.Helper()
	var last sql.NullInt64
	if err := target.QueryRow("SELECT count(*), max(id) FROM orders_copy").Scan(&rows, &last); err != nil {
		t.Fatal(err)
	}
	var items int
	var position sql.NullString
	err := target.QueryRow("SELECT items, position FROM pipeline_checkpoints").Scan(&items, &position)
	want := ""
	if rows > 0 {
		want = fmt.Sprint(last.Int64)
	}
	if rows > 0 && err != nil || items != rows || position.String != want {
		t.Errorf("%d rows up to %s, and the record has %d up to %s: %v", rows, want, items, position.String, err)
	}
	return rows
}

var errLost = errors.New("the connection was lost")

// A fault is SQLite, and loses the statement or commit whose number is at.
type fault struct {
	dsn    string
	at     int32
	done   bool // lose the answer, not the question
	passed atomic.Int32
}

func (f *fault) Driver() driver.Driver { return &sqlite.Driver{} }

func (f *fault) Connect(context.Context) (driver.Conn, error) {
	c, err := f.Driver().Open(f.dsn)
	return faultyConn{c, f}, err
}

func (f *fault) do(op func() error) error {
	if f.passed.Add(1) != f.at {
		return op()
	}
	if f.done {
		return errors.Join(op(), errLost)
	}
	return errLost
}

type faultyConn struct {
	driver.Conn
	f *fault
}

func (c faultyConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Result, err error) {
	err = c.f.do(func() error {
		r, err = c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
		return err
	})
	return r, err
}

func (c faultyConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Rows, err error) {
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c faultyConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
	return faultyTx{tx, c.f}, err
}

type faultyTx struct {
	driver.Tx
	f *fault
}

func (tx faultyTx) Commit() error {
	err := tx.f.do(tx.Tx.Commit)
	if errors.Is(err, errLost) {
		tx.Tx.Rollback() // the server sees the connection go
	}
	return err
}
