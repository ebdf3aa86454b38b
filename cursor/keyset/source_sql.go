package keyset

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"example.com/pipeline/cursor/internal/paging"
)

// A sqlSource reads rows through package sql.
type sqlSource[T any] struct {
	rows  *sql.Rows
	spec  *spec
	scan  func(*sql.Rows) (T, error)
	bytes func(T) int
	begun bool
}

// A sqlReader runs the statements of one loop through package sql.
type sqlReader[T any] struct {
	spec  *spec
	scan  func(*sql.Rows) (T, error)
	bytes func(T) int
	text  string    // of the last statement
	stmt  *sql.Stmt // it, where it has been prepared
}

// open runs a statement. Where the driver would prepare it each time, it is prepared once
// for all pages after the first that have the same text.
func (r *sqlReader[T]) open(ctx context.Context, text string, args []any) (source[T], error) {
	rows, err := r.query(ctx, text, args)
	if err != nil {
		return nil, err
	}
	return &sqlSource[T]{rows: rows, spec: r.spec, scan: r.scan, bytes: r.bytes}, nil
}

func (r *sqlReader[T]) query(ctx context.Context, text string, args []any) (*sql.Rows, error) {
	if text != r.text {
		r.free()
		r.text = text
	} else if db, ok := r.spec.db.(preparer); ok && r.stmt == nil && r.spec.dialect.prepares {
		stmt, err := db.PrepareContext(ctx, text)
		if err != nil {
			return nil, err
		}
		r.stmt = stmt
	}
	if r.stmt != nil {
		return r.stmt.QueryContext(ctx, args...)
	}
	return r.spec.db.QueryContext(ctx, text, args...)
}

type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// free ends what was prepared.
func (r *sqlReader[T]) free() {
	if r.stmt != nil {
		r.stmt.Close()
		r.stmt = nil
	}
}

func (s *sqlSource[T]) read(ctx context.Context, items []T, max int, b *budget) ([]T, bool, error) {
	if !s.begun {
		if err := s.spec.checkResult(s.rows); err != nil {
			return items, false, &rowError{err}
		}
		s.begun = true
	}
	for len(items) < max {
		if !s.rows.Next() {
			return items, false, s.rows.Err()
		}
		item, err := s.scan(s.rows)
		if err != nil {
			// A lost connection and the end of ctx show in Scan, too; they are no fault of
			// the row's, and another try may mend them.
			if err := errors.Join(s.rows.Err(), ctx.Err()); err != nil {
				return items, false, err
			}
			return items, false, s.spec.badRow(err)
		}
		items = append(items, item)
		if b.max > 0 && b.add(s.bytes(item)) {
			return items, true, nil
		}
	}
	return items, true, nil
}

func (s *sqlSource[T]) close() error { return s.rows.Close() }

// badRow is the error of a row that cannot be scanned.
func (s *spec) badRow(err error) error {
	return &rowError{paging.Final(fmt.Errorf("keyset: scan a row of %s: %w", s.from, err))}
}

// checkResult refuses a result whose key the driver changes.
func (s *spec) checkResult(rows *sql.Rows) error {
	if s.dialect.checkResult == nil || s.layout != nil {
		return nil
	}
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	return s.dialect.checkResult(types, s.key)
}
