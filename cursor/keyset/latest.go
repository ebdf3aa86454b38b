package keyset

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"example.com/pipeline/cursor/internal/sqlerr"
)

// barrierWait is how long Latest waits for open transactions to end.
const barrierWait = 5 * time.Second

// latest returns the last position that is safe as Until: see [Query.Latest].
func latest[P any](ctx context.Context, s *spec) (*P, error) {
	table, ok := parseFrom(s.dialect, s.from)
	if !ok {
		return nil, fmt.Errorf("keyset: Latest locks one table, and cannot tell which one %q is; take it from a query on the table that has the key", s.from)
	}
	var last *P
	err := s.dialect.barrier(ctx, s.db, table, func(db Querier) error {
		locked := *s
		locked.db, locked.owned = db, true
		err := locked.prepare(ctx)
		if err == nil {
			last, err = onePosition[P](ctx, &locked, nil, nil, !s.desc, 0)
		}
		return err
	})
	if err != nil {
		return nil, s.explain(err)
	}
	return last, nil
}

// onePosition returns the position of the row behind another in the given order,
// passing over some. It is nil where there is none.
func onePosition[P any](ctx context.Context, s *spec, after, until *P, desc bool, skip int) (*P, error) {
	text, args, err := orderedSQL(s, s.keyList(), after, until, desc, 1, skip)
	if err != nil {
		return nil, err
	}
	var found *P
	err = queryEach(ctx, s.db, func(rows *sql.Rows) error {
		p, err := scanPosition[P](rows, s.keyConversions())
		found = &p
		return err
	}, text, args...)
	if err == nil && found != nil {
		err = checkSorted(s, *found)
	}
	if errors.Is(err, errShortSort) && s.sortMore() {
		return onePosition[P](ctx, s, after, until, desc, skip)
	}
	return found, err
}

// lockError says what was waited for, where it was.
func lockError(table tableName, err error) error {
	switch state, number := sqlerr.Code(err); {
	case state == "42501":
		return fmt.Errorf("lock %s, for which a role needs the privilege MAINTAIN (from PostgreSQL 17), UPDATE, DELETE or TRUNCATE on it: %w", table.text, err)
	case number == 1044 || number == 1142:
		return fmt.Errorf("lock %s, for which a user needs the privileges SELECT and LOCK TABLES: %w", table.text, err)
	}
	return fmt.Errorf("lock %s, waiting %v for transactions that write to it (end them, or try again): %w", table.text, barrierWait, err)
}

// withConn calls use with one connection. A transaction will not do.
func withConn(ctx context.Context, db Querier, use func(*sql.Conn) error) error {
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
		defer conn.Close()
		return use(conn)
	}
	return fmt.Errorf("Latest needs a *sql.DB or *sql.Conn, got %T: it takes a lock of its own and gives it back", db)
}

// cleanupWait is how long a connection may take to be made what it was.
const cleanupWait = 5 * time.Second

// cleanUp runs statements that make a connection what it was, also where ctx has ended. A
// connection that does not get there in time is closed, which gives up what it holds.
func cleanUp(ctx context.Context, conn *sql.Conn, statements ...string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupWait)
	defer cancel()
	var failed error
	for _, s := range statements {
		rows, err := conn.QueryContext(ctx, s) // some return what was set
		if err == nil {
			for rows.Next() {
			}
			err = errors.Join(rows.Err(), rows.Close())
		}
		failed = errors.Join(failed, err)
	}
	if failed != nil {
		return errors.Join(failed, discard(conn))
	}
	return nil
}

// discard takes a connection out of its pool, so that whatever it still holds is
// dropped with it.
func discard(conn *sql.Conn) error {
	err := conn.Raw(func(any) error { return driver.ErrBadConn })
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		return nil
	}
	return err
}
