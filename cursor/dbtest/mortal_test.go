package dbtest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/sqlstore"
	"modernc.org/sqlite"
)

// A mortalConnector makes connections to SQLite that die when a newer generation begins.
// As with some drivers, the first statement on a dead one fails with what the network said.
type mortalConnector struct {
	dsn        string
	generation atomic.Int64
	lose       atomic.Int64 // the change that is done, and whose answer is lost with its connection; counts down to 0
}

func (c *mortalConnector) Driver() driver.Driver { return &sqlite.Driver{} }

func (c *mortalConnector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.Driver().Open(c.dsn)
	if err != nil {
		return nil, err
	}
	return &mortalConn{conn.(sqliteConn), c, c.generation.Load(), false}, nil
}

type sqliteConn interface {
	driver.Conn
	driver.ExecerContext
	driver.QueryerContext
	driver.ConnBeginTx
}

type mortalConn struct {
	sqliteConn
	pool *mortalConnector
	born int64
	dead bool // and it is known
}

func (c *mortalConn) IsValid() bool { return !c.dead }

func (c *mortalConn) alive() error {
	if c.born != c.pool.generation.Load() {
		c.dead = true
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (c *mortalConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.alive(); err != nil {
		return nil, err
	}
	result, err := c.sqliteConn.ExecContext(ctx, query, args)
	if err == nil && c.pool.lose.Add(-1) == 0 {
		c.dead = true
		return nil, io.ErrUnexpectedEOF
	}
	return result, err
}

func (c *mortalConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.alive(); err != nil {
		return nil, err
	}
	return c.sqliteConn.QueryContext(ctx, query, args)
}

func (c *mortalConn) Ping(context.Context) error { return c.alive() }

// TestLostAnswers loses the answer of each change in turn that a store makes: it was done,
// and nobody was told. The next call finds that out and does nothing twice.
func TestLostAnswers(t *testing.T) {
	for lost := int64(1); ; lost++ {
		pool := &mortalConnector{dsn: sqliteDSN(t)}
		db := sql.OpenDB(pool)
		defer db.Close()
		s := newStore(t, database{db, databases[0]}, sqlstore.LeaseFor(time.Hour), sqlstore.KeysFor(time.Hour))
		fillPool(t, db, 2)
		ctx := t.Context()
		must := func(what string, err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("the answer of change %d was lost, %s: %v", lost, what, err)
			}
		}
		pool.lose.Store(lost)

		lease, err := s.Acquire(ctx, "job")
		must("Acquire", err)
		r, err := lease.Load(ctx)
		must("Load", err)
		for i := range int64(2) {
			must("Save", lease.Save(ctx, cursor.Record{Format: 1, Seq: r.Seq + i + 1, SavedAt: time.Now()}))
		}
		_, done, err := s.Begin(ctx, "key")
		must("Begin", err)
		must("Begin", wantEqual(done, false))
		held, err := s.Renew(ctx, "key")
		must("Renew", err)
		must("Renew", wantEqual(held, true))
		must("Finish", s.Finish(ctx, "key", []byte("1")))
		_, done, err = s.Begin(ctx, "key")
		must("Begin once more", err)
		must("Begin once more", wantEqual(done, true))
		_, _, err = s.Begin(ctx, "another")
		must("Begin", err)
		must("Abandon", s.Abandon(ctx, "another"))
		must("Release", lease.Release(ctx))
		_, err = s.Prune(ctx, 0)
		must("Prune", err)

		holder, err := cursor.Holder(ctx, s, "job")
		must("Holder", err)
		must("Holder", wantEqual(holder, nil))
		r, err = cursor.Inspect(ctx, s, "job")
		must("Inspect", err)
		must("Inspect", wantEqual(r.Seq, 2))
		if pool.lose.Load() > 0 { // there are no more changes
			if lost < 10 {
				t.Errorf("only %d answers were lost", lost-1)
			}
			return
		}
	}
}
