package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"example.com/pipeline/cursor"
)

var _ cursor.Inspector = (*Store)(nil)

// Inspect implements [cursor.Inspector]. To who looks, a store whose tables have not been made
// is one in which nothing was saved.
func (s *Store) Inspect(ctx context.Context, job string) (r cursor.Record, err error) {
	err = s.fresh(ctx, func() error {
		r, _, err = s.read(ctx, s.db, job, "")
		return err
	})
	if errors.Is(err, sql.ErrNoRows) || s.noTable(err) {
		return cursor.Record{}, nil
	}
	return r, err
}

// Jobs implements [cursor.Inspector]. Without the tables there are none.
func (s *Store) Jobs(ctx context.Context) (jobs []string, err error) {
	err = s.fresh(ctx, func() error {
		jobs = nil
		return s.within(ctx, s.db, func(db execer) error {
			// Where a session has sql_select_limit, it cuts what has no limit of its own.
			rows, err := db.QueryContext(ctx, s.sql(`SELECT job FROM {checkpoints} WHERE seq > 0 LIMIT 9223372036854775807`))
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var job string
				if err := rows.Scan(&job); err != nil {
					return err
				}
				jobs = append(jobs, job)
			}
			return rows.Err()
		})
	})
	if s.noTable(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("sqlstore: list the jobs: %w", err)
	}
	return jobs, nil
}

// Holder implements [cursor.Inspector]. Without the tables nobody holds a job.
func (s *Store) Holder(ctx context.Context, job string) (*cursor.LockedError, error) {
	held := &cursor.LockedError{Job: job}
	err := s.fresh(ctx, func() error {
		var micros int64
		err := s.row(ctx, s.db, `SELECT holder, lease_until FROM {checkpoints} WHERE job = ? AND owner <> '' AND lease_until >= {now}`,
			[]any{job}, &held.Holder, &micros)
		held.Until = time.UnixMicro(micros)
		return err
	})
	switch {
	case errors.Is(err, sql.ErrNoRows), s.noTable(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("sqlstore: ask who holds job %q: %w", job, err)
	}
	return held, nil
}

// holder says who has, or had, a job that could not be had.
func (s *Store) holder(ctx context.Context, job string) (*cursor.LockedError, error) {
	held := &cursor.LockedError{Job: job}
	var micros int64
	err := s.row(ctx, s.db, `SELECT holder, lease_until FROM {checkpoints} WHERE job = ?`, []any{job}, &held.Holder, &micros)
	if err != nil {
		return nil, err
	}
	if held.Holder == "" {
		held.Holder = "a runner that has just ended"
	}
	held.Until = time.UnixMicro(micros)
	return held, nil
}
