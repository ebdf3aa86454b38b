package riverjob

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// A Status is how far a job is, over all its workers, as the database has it.
type Status struct {
	Job          string
	Ranges, Done int   // ranges planned, and finished
	Running      int   // ranges that a worker has at the moment
	Total        int64 // rows when the job was planned, 0 where that is not known
	Rows         int64 // rows committed
	PlannedAt    time.Time
	SavedAt      time.Time // of the last commit, by its worker's clock; zero before the first

	// Rate is in rows a second: over the last ten to twenty seconds that anything was
	// worked on, or a slice where that is longer; once the job is done, over its life.
	Rate      float64
	Remaining time.Duration // at that rate; 0 where it is not known

	// Failing are the ranges whose last error is later than their last commit, in order.
	// River tries them again at Next.
	Failing []Failing
}

// Finished reports whether all ranges are.
func (s Status) Finished() bool { return s.Ranges > 0 && s.Done == s.Ranges }

// A Failing is what River knows of a range that does not get on.
type Failing struct {
	Number  int
	JobID   int64  // of River's job
	State   string // of that job: retryable, or discarded when it will not be tried again
	Attempt int
	Error   string // the last one
	At      time.Time
	Next    time.Time // when it is tried again; zero if it is not
}

// Status returns how far a job is. It takes two statements, whose work goes with the
// number of ranges.
func (s *Store) Status(ctx context.Context, job string) (Status, error) {
	st := Status{Job: job}
	var saved *time.Time
	var since, lifetime float64 // seconds
	var before int64
	err := s.pool.QueryRow(ctx, s.sql(`SELECT p.ranges, p.total, p.planned_at,
			COALESCE(SUM(c.items), 0)::bigint,
			COUNT(*) FILTER (WHERE c.status = 'finished'),
			COUNT(*) FILTER (WHERE c.owner <> '' AND c.lease_until >= {now}),
			MAX(NULLIF(c.saved_at, '')::timestamptz),
			EXTRACT(EPOCH FROM clock_timestamp() - p.before_at)::float8, p.before_rows,
			COALESCE(EXTRACT(EPOCH FROM MAX(NULLIF(c.saved_at, '')::timestamptz) - p.planned_at), 0)::float8
		FROM {plans} p JOIN {ranges} r USING (job) LEFT JOIN {checkpoints} c ON c.job = r.checkpoint
		WHERE p.job = $1 GROUP BY p.job`), job).Scan(
		&st.Ranges, &st.Total, &st.PlannedAt, &st.Rows, &st.Done, &st.Running, &saved, &since, &before, &lifetime)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return st, fmt.Errorf("%w: %q", ErrNoPlan, job)
	case err != nil:
		return st, fmt.Errorf("riverjob: status of job %q: %w", job, err)
	}
	if saved != nil {
		st.SavedAt = *saved
	}
	switch {
	case st.Finished() && lifetime > 0:
		st.Rate = float64(st.Rows) / lifetime
	case !st.Finished() && since > 0:
		st.Rate = float64(max(st.Rows-before, 0)) / since
	}
	if left := float64(st.Total - st.Rows); !st.Finished() && left > 0 && st.Rate > 0 {
		st.Remaining = time.Duration(min(left/st.Rate, 1e9)) * time.Second
	}

	rows, err := s.pool.Query(ctx, s.sql(`SELECT r.number, j.id, j.state::text, j.attempt, j.last->>'error', (j.last->>'at')::timestamptz,
			CASE WHEN j.finalized_at IS NULL THEN j.scheduled_at END
		FROM (SELECT DISTINCT ON (args->'range') *, errors[array_upper(errors, 1)] AS last FROM {river_job}
			WHERE kind = $2 AND args @> jsonb_build_object('job', $1::text) ORDER BY args->'range', id DESC) j
		JOIN {ranges} r ON r.job = $1 AND to_jsonb(r.number) = j.args->'range'
		LEFT JOIN {checkpoints} c ON c.job = r.checkpoint
		WHERE j.state <> 'completed' AND c.status IS DISTINCT FROM 'finished' AND (j.finalized_at IS NOT NULL
			OR (j.last->>'at')::timestamptz > COALESCE(NULLIF(c.saved_at, '')::timestamptz, '-infinity'))
		ORDER BY r.number`), job, Kind)
	if err != nil {
		return st, fmt.Errorf("riverjob: status of job %q: %w", job, err)
	}
	st.Failing, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (f Failing, err error) {
		var text *string
		var at, next *time.Time
		if err := row.Scan(&f.Number, &f.JobID, &f.State, &f.Attempt, &text, &at, &next); err != nil {
			return f, err
		}
		f.Error = "no error: somebody cancelled it"
		if text != nil {
			f.Error = *text
		}
		if at != nil {
			f.At = *at
		}
		if next != nil {
			f.Next = *next
		}
		return f, nil
	})
	if err != nil {
		return st, fmt.Errorf("riverjob: status of job %q: %w", job, err)
	}
	return st, nil
}

// sample notes how many rows are done, at most every ten seconds, however many workers
// ask for it. Two samples are kept, so that the earlier one is ten seconds old at least.
func (s *Store) sample(ctx context.Context, job string) error {
	_, err := s.pool.Exec(ctx, s.sql(`UPDATE {plans} p SET before_at = sampled_at, before_rows = sampled_rows,
			sampled_at = clock_timestamp(), sampled_rows = (SELECT COALESCE(SUM(c.items), 0)
				FROM {ranges} r JOIN {checkpoints} c ON c.job = r.checkpoint WHERE r.job = p.job)
		WHERE job = $1 AND sampled_at < clock_timestamp() - interval '10 seconds'`), job)
	return err
}
