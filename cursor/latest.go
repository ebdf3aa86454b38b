package cursor

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
)

// barrierWait is how long Latest waits for writers to end.
const barrierWait = 5 * time.Second

// withConn calls use with one connection. A transaction will not do.
func withConn(ctx context.Context, db Querier, use func(*sql.Conn) error) (err error) {
	switch db := db.(type) {
	case *sql.Conn:
		return use(db)
	case interface {
		Conn(context.Context) (*sql.Conn, error)
	}:
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		return errors.Join(use(conn), closeConn(conn))
	}
	return fmt.Errorf("cursor: Latest needs a *sql.DB or *sql.Conn, got %T: it takes a lock of its own and gives it back", db)
}

// closeConn gives a connection back to its pool; one that was discarded is gone.
func closeConn(conn *sql.Conn) error {
	if err := conn.Close(); !errors.Is(err, sql.ErrConnDone) {
		return err
	}
	return nil
}

// discard takes a connection out of its pool, so that whatever it still holds is
// dropped with it.
func discard(conn *sql.Conn) error {
	err := conn.Raw(func(any) error { return driver.ErrBadConn })
	if errors.Is(err, driver.ErrBadConn) {
		return nil
	}
	return err
}
