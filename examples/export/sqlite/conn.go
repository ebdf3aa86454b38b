package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// A conn is a connection. One goroutine at a time uses it.
type conn struct {
	tls       *libc.TLS
	db        uintptr         // sqlite3*
	out       uintptr         // memory for two pointers that C returns
	begin     string          // how a transaction begins
	readOnly  bool            // the transaction is
	ctx       context.Context // of the call that is being made
	busySince time.Time
	idle      []*stmt    // prepared, the one that was used last at the end
	reading   *readAhead // which uses the connection now; or nil
	spare     []*batch   // memory for the next one
}

var _ interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
} = (*conn)(nil)

// progressSteps is after how many of its steps a statement looks at the context:
// some ten microseconds.
const progressSteps = 1000

func open(name string) (_ *conn, err error) {
	c := &conn{tls: libc.NewTLS(), ctx: context.Background()}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if c.out = libc.Xcalloc(c.tls, 2, 8); c.out == 0 {
		return nil, c.failed(lib.SQLITE_NOMEM)
	}
	text, err := cString(name)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(c.tls, text)
	const flags = lib.SQLITE_OPEN_READWRITE | lib.SQLITE_OPEN_CREATE | lib.SQLITE_OPEN_URI | lib.SQLITE_OPEN_NOMUTEX | lib.SQLITE_OPEN_EXRESCODE
	rc := lib.Xsqlite3_open_v2(c.tls, text, c.out, flags, 0)
	c.db = *at[uintptr](c.out)
	if rc != lib.SQLITE_OK {
		return nil, fmt.Errorf("open %s: %w", name, c.failed(rc))
	}
	conns.Store(c.db, c)
	lib.Xsqlite3_progress_handler(c.tls, c.db, progressSteps, funcPointer(onProgress), c.db)
	return c, nil
}

// Close implements driver.Conn. Rows that are still open end with driver.ErrBadConn.
func (c *conn) Close() error {
	if c.tls == nil {
		return nil
	}
	var err error
	if c.db != 0 {
		if c.reading != nil {
			c.reading.cancel()
		}
		c.use(context.Background())
		for {
			s := lib.Xsqlite3_next_stmt(c.tls, c.db, 0)
			if s == 0 {
				break
			}
			lib.Xsqlite3_finalize(c.tls, s)
		}
		if rc := lib.Xsqlite3_close(c.tls, c.db); rc != lib.SQLITE_OK {
			err = c.failed(rc)
		}
		conns.Delete(c.db)
	}
	libc.Xfree(c.tls, c.out)
	c.tls.Close()
	*c = conn{}
	return err
}

// IsValid implements driver.Validator.
func (c *conn) IsValid() bool { return c.db != 0 }

// ResetSession implements driver.SessionResetter: a transaction that somebody began
// and did not end is rolled back.
func (c *conn) ResetSession(ctx context.Context) error {
	c.settle()
	switch {
	case c.db == 0:
		return driver.ErrBadConn
	case lib.Xsqlite3_get_autocommit(c.tls, c.db) == 0 && c.rollback() != nil:
		return driver.ErrBadConn
	}
	return ctx.Err()
}

// use makes the connection ready for a call in this context.
func (c *conn) use(ctx context.Context) {
	c.settle()
	c.ctx = ctx
}

// Ping implements driver.Pinger. It reads the file's header, and so finds out what
// opening does not: that it is no database, or cannot be read.
func (c *conn) Ping(ctx context.Context) error {
	_, err := c.ExecContext(ctx, "PRAGMA schema_version", nil)
	return err
}

// Begin implements driver.Conn.
func (c *conn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// BeginTx implements driver.ConnBeginTx. All transactions are serializable.
func (c *conn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	switch level := sql.IsolationLevel(o.Isolation); level {
	case sql.LevelDefault, sql.LevelSerializable:
	default:
		return nil, fmt.Errorf("sqlite: transactions are serializable, none is %v", level)
	}
	begin := c.begin
	if o.ReadOnly {
		begin = "PRAGMA query_only = 1; BEGIN"
	}
	c.readOnly = o.ReadOnly
	if _, err := c.ExecContext(ctx, begin, nil); err != nil {
		return nil, errors.Join(err, c.endReadOnly())
	}
	return (*tx)(c), nil
}

type tx conn

// Commit implements driver.Tx. A transaction that cannot be committed, because
// another connection reads, is rolled back: nobody could try again.
func (t *tx) Commit() error {
	c := (*conn)(t)
	if _, err := c.ExecContext(context.Background(), "COMMIT", nil); err != nil {
		return errors.Join(err, c.rollback())
	}
	return c.endReadOnly()
}

// Rollback implements driver.Tx.
func (t *tx) Rollback() error { return (*conn)(t).rollback() }

func (c *conn) rollback() error {
	c.settle()
	var err error
	if c.db != 0 && lib.Xsqlite3_get_autocommit(c.tls, c.db) == 0 { // SQLite may have done so itself, at a full disk
		_, err = c.ExecContext(context.Background(), "ROLLBACK", nil)
	}
	return errors.Join(err, c.endReadOnly())
}

func (c *conn) endReadOnly() error {
	if !c.readOnly {
		return nil
	}
	c.readOnly = false
	_, err := c.ExecContext(context.Background(), "PRAGMA query_only = 0", nil)
	return err
}
