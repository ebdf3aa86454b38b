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

// openSQL runs a statement.
func openSQL[T any](ctx context.Context, spec *spec, scan func(*sql.Rows) (T, error), bytes func(T) int, text string, args []any) (source[T], error) {
	rows, err := spec.db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	return &sqlSource[T]{rows: rows, spec: spec, scan: scan, bytes: bytes}, nil
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
