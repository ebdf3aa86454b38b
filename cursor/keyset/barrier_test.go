package keyset

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// A silentServer answers until it is told to unlock: then it says nothing any more.
type silentServer struct{ closed int }

func (s *silentServer) Connect(context.Context) (driver.Conn, error) { return silentConn{s}, nil }
func (s *silentServer) Driver() driver.Driver                        { return nil }

type silentConn struct{ s *silentServer }

func (c silentConn) Prepare(string) (driver.Stmt, error) { return nil, errors.ErrUnsupported }
func (c silentConn) Begin() (driver.Tx, error)           { return nil, errors.ErrUnsupported }
func (c silentConn) Close() error                        { c.s.closed++; return nil }

func (c silentConn) QueryContext(ctx context.Context, text string, _ []driver.NamedValue) (driver.Rows, error) {
	switch text {
	case "UNLOCK TABLES", "ROLLBACK":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &oneNumber{}, nil
}

func (c silentConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	_, err := c.QueryContext(ctx, text, args)
	return driver.RowsAffected(0), err
}

// oneNumber is a result of one row, the number 7.
type oneNumber struct{ over bool }

func (*oneNumber) Columns() []string { return []string{"n"} }
func (*oneNumber) Close() error      { return nil }
func (r *oneNumber) Next(dest []driver.Value) error {
	if r.over {
		return io.EOF
	}
	r.over = true
	dest[0] = int64(7)
	return nil
}

// TestBarrierEnds has a server that goes silent when the lock is to be given back: Latest
// ends soon all the same, and the connection goes with what it holds.
func TestBarrierEnds(t *testing.T) {
	for _, d := range []*dialect{&sqlite, &postgres, &mysql} {
		synctest.Test(t, func(t *testing.T) {
			s := &silentServer{}
			db := sql.OpenDB(s)
			defer db.Close()
			began := time.Now()
			err := d.barrier(context.Background(), db, tableName{text: "t", name: "t"}, func(Querier) error { return nil })
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: got %v", d.name, err)
			}
			if took := time.Since(began); took > 2*cleanupWait {
				t.Errorf("%s: it took %v", d.name, took)
			}
			if s.closed != 1 {
				t.Errorf("%s: %d connections were closed", d.name, s.closed)
			}
		})
	}
}
