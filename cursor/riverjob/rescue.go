package riverjob

import (
	"context"
	"fmt"
	"time"

	"example.com/pipeline/seq"
)

// Rescue frees the ranges of workers that ended without a word: killed, or cut off for
// longer than the lease. River itself waits for RescueStuckJobsAfter, an hour by
// default, before it takes such a job to be stuck; the lease tells within seconds. It
// returns how many it freed.
//
// Call it every now and then, such as each third of the lease, in one process or in all
// of them; [Worker.RescueEvery] does that. It is one statement, on an index of the jobs
// that run. Nothing depends on it: without it River's rescuer frees the ranges, later.
//
// A job whose attempt has committed anything loses no attempt: its worker's death is not
// its fault. One that has not keeps it, with an error that says so, and is discarded
// when it has none left: it may be what kills its workers.
//
// What is freed is a job of River's in the state running whose range has a lease that
// was taken for this attempt and has run out. Where nobody has the range, its worker
// ended before it had it, or before River was told of the slice's end: then the job is
// freed when that was longer ago than a lease. Should its worker be alive all the same
// nothing is lost: one of the two gets the range, and the other one's job snoozes.
func (w *Worker) Rescue(ctx context.Context) (int, error) {
	s := w.store
	tag, err := s.pool.Exec(ctx, s.sql(`UPDATE {river_job} j SET
			state = CASE WHEN o.spent THEN 'discarded' ELSE 'available' END::{river_job_state},
			finalized_at = CASE WHEN o.spent THEN now() END,
			scheduled_at = now(),
			attempt = CASE WHEN o.moved THEN GREATEST(j.attempt - 1, 0) ELSE j.attempt END,
			errors = CASE WHEN o.moved THEN j.errors ELSE array_append(j.errors, jsonb_build_object(
				'at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'attempt', j.attempt,
				'error', 'riverjob: its worker was killed, or cut off from the database', 'trace', '')) END
		FROM (
			SELECT j.id, m.moved, NOT m.moved AND j.attempt >= j.max_attempts AS spent
			FROM {river_job} j
			JOIN {ranges} r ON r.job = j.args->>'job' AND to_jsonb(r.number) = j.args->'range'
			LEFT JOIN {checkpoints} c ON c.job = r.checkpoint
			CROSS JOIN LATERAL (SELECT COALESCE(NULLIF(c.saved_at, '')::timestamptz > j.attempted_at, false) AS moved) m
			WHERE j.kind = $1 AND j.state = 'running' AND NOT j.metadata ? 'cancel_attempted_at' AND (
				c.owner <> '' AND c.lease_until < {now} AND j.attempted_at <= to_timestamp(c.lease_until / 1e6)
				OR COALESCE(c.lease_until, 0) < {now}
					AND GREATEST(j.attempted_at, NULLIF(c.saved_at, '')::timestamptz) < now() - make_interval(secs => $2))
			FOR UPDATE OF j SKIP LOCKED
		) o
		WHERE j.id = o.id`), Kind, min(s.lease, maxSlice).Seconds())
	if err != nil {
		return 0, fmt.Errorf("riverjob: rescue: %w", err)
	}
	return int(tag.RowsAffected()), nil
}

// RescueEvery calls [Worker.Rescue] each third of the lease, until ctx ends, and returns
// ctx's error then. An error of Rescue is passed to report, if that is not nil, and
// Rescue is called again at the next time: the database may be back by then.
func (w *Worker) RescueEvery(ctx context.Context, report func(freed int, err error)) error {
	ticker := time.NewTicker(max(w.store.lease/3, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return seq.ContextError(ctx)
		case <-ticker.C:
		}
		n, err := w.Rescue(ctx)
		if report != nil && (n > 0 || err != nil && ctx.Err() == nil) {
			report(n, err)
		}
	}
}
