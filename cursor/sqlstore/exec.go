package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"example.com/pipeline/control"
	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/internal/sqlerr"
)

// An execer is a database or a transaction.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// within calls fn with db. Where db is the pool, what fn does is committed when within
// returns nil: by itself, or by a transaction where the flavor needs one.
func (s *Store) within(ctx context.Context, db execer, fn func(execer) error) error {
	if db != execer(s.db) || !s.flavor.beginAndCommit {
		return fn(db)
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing behind Commit
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// change runs a statement that changes one row or none, and reports which. Every such
// statement gives its row a value that it cannot have had, since MySQL does not
// count rows that stay as they are.
func (s *Store) change(ctx context.Context, db execer, text string, args ...any) (bool, error) {
	n, err := s.changeAll(ctx, db, text, args...)
	return n > 0, err
}

// changeAll runs a statement and returns the number of rows that it changed.
func (s *Store) changeAll(ctx context.Context, db execer, text string, args ...any) (n int64, err error) {
	err = s.within(ctx, db, func(db execer) error {
		result, err := db.ExecContext(ctx, s.sql(text), args...)
		if err != nil {
			return err
		}
		n, err = result.RowsAffected()
		return err
	})
	return n, err
}

// row reads one row into dest, or returns [sql.ErrNoRows].
func (s *Store) row(ctx context.Context, db execer, text string, args []any, dest ...any) error {
	return s.within(ctx, db, func(db execer) error {
		return db.QueryRowContext(ctx, s.sql(text), args...).Scan(dest...)
	})
}

// fresh calls op again, at once, as long as it may have failed because a connection of the
// pool had died: after a restart of the server all of them have. database/sql does this
// by itself only for a driver that looks at a connection before it writes to it. Each
// failure takes a dead connection out of the pool, so there are no more tries than idle
// connections, and one on a new one.
//
// What op asked for may have been done although it failed.
func (s *Store) fresh(ctx context.Context, op func() error) error {
	for idle := s.db.Stats().Idle; ; idle-- {
		err := op()
		if err == nil || idle <= 0 || settled(err) || ctx.Err() != nil {
			return err
		}
	}
}

// retry calls op again after an error that may pass: a lost connection, a server that
// restarts, a lock. It waits for six seconds in all.
func (s *Store) retry(ctx context.Context, op func() error) error {
	for sleep := 50 * time.Millisecond; ; sleep *= 3 {
		err := s.fresh(ctx, op)
		if err == nil || settled(err) || sleep > 5*time.Second {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(sleep):
		}
	}
}

// settled reports whether an error is an answer that will be the same the next time.
func settled(err error) bool {
	return errors.Is(err, cursor.ErrFenced) || errors.Is(err, cursor.ErrCorrupt) || errors.Is(err, control.ErrInProgress)
}

// noTable reports whether an error says that there is no such table.
func (s *Store) noTable(err error) bool {
	if err == nil {
		return false
	}
	if s.flavor.noTable != "" {
		return strings.Contains(err.Error(), s.flavor.noTable)
	}
	state, number := sqlerr.Code(err)
	return state == "42P01" || number == 1146
}
