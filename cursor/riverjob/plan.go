package riverjob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/internal/paging"
	"example.com/pipeline/cursor/keyset"
)

// Kind is the kind of River's jobs that work on ranges.
const Kind = "pipeline_range"

// Args are the arguments of a River job: a range of a planned job, by its number from 0.
// All else is in the plan.
type Args struct {
	Job   string `json:"job"`
	Range int    `json:"range"`
}

// Kind implements [river.JobArgs].
func (Args) Kind() string { return Kind }

// Client is River's client for PostgreSQL.
type Client = river.Client[pgx.Tx]

// ErrNoPlan says that a job has not been planned, or was dropped.
var ErrNoPlan = errors.New("riverjob: the job has no plan")

const (
	maxName   = 400     // bytes of a job's name, which the checkpoints' names begin with
	maxRanges = 100_000 // each is a row here and one of River's
)

// CheckName says what is wrong with the name of a job, which must be 1 to 400 bytes of
// UTF-8 without control characters.
func CheckName(job string) error {
	if err := cursor.CheckJob(job); err != nil {
		return err
	}
	if len(job) > maxName {
		return fmt.Errorf("riverjob: the job's name must have at most %d bytes, got %d", maxName, len(job))
	}
	return nil
}

// Plan splits the job's source into at most n ranges, stores them, and gives River a job
// for each, all in one transaction: there is a whole plan or none. It reports whether
// the plan is this one. Where the job has been planned before, or is by somebody else at
// the same moment, nothing is added, and the stored ranges stand, whatever n is.
//
// Planned for another query, the job is refused with [cursor.ErrMismatch]; [Store.Drop]
// forgets a plan. opts goes to River with each range, nil for River's defaults. What
// counts here is MaxAttempts: each error of a range is an attempt, over its whole life.
//
// The split reads the key's index three times, before the transaction; it holds no lock.
func (j Job[T, P]) Plan(ctx context.Context, s *Store, client *Client, n int, opts *river.InsertOpts) (bool, error) {
	j.check("Plan")
	if n < 1 || n > maxRanges {
		panic(fmt.Sprintf("riverjob.Plan: the number of ranges must be 1 to %d, got %d", maxRanges, n))
	}
	if err := s.sameSchema(client); err != nil {
		return false, err
	}
	fingerprint, err := j.fingerprint(ctx)
	if err != nil {
		return false, err
	}
	switch err := s.planned(ctx, j.Name, fingerprint); {
	case err == nil:
		return false, nil
	case !errors.Is(err, ErrNoPlan):
		return false, err
	}
	parts, total, err := j.Source.Split(ctx, n)
	if err != nil {
		return false, fmt.Errorf("riverjob: plan job %q: %w", j.Name, err)
	}
	if len(parts) == 0 {
		return false, fmt.Errorf("riverjob: plan job %q: its source split itself into no range; there must be one at least", j.Name)
	}
	switch again, err := j.fingerprint(ctx); {
	case err != nil:
		return false, err
	case again != fingerprint: // the table was altered, or the catalog was not reached
		return false, fmt.Errorf("riverjob: plan job %q: what it reads has changed while it was split; plan it again", j.Name)
	}
	p := plan{job: j.Name, fingerprint: fingerprint, total: total}
	for _, part := range parts {
		r, err := encodeRange(part)
		if err != nil {
			return false, fmt.Errorf("riverjob: plan job %q: %w", j.Name, err)
		}
		p.ranges = append(p.ranges, r)
	}
	ours := false
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) (err error) {
		ours, err = s.store(ctx, tx, client, p, opts)
		return err
	})
	switch {
	case err != nil:
		return false, fmt.Errorf("riverjob: plan job %q: %w", j.Name, err)
	case !ours:
		return false, s.planned(ctx, j.Name, fingerprint)
	}
	return true, nil
}

func (j Job[T, P]) fingerprint(ctx context.Context) (string, error) {
	f, err := j.Source.Fingerprint(ctx)
	if err == nil && (f == "" || !utf8.ValidString(f) || strings.ContainsRune(f, 0)) {
		err = fmt.Errorf("it must be UTF-8 without NUL, and not empty, got %.100q", f)
	}
	if err != nil {
		return "", fmt.Errorf("riverjob: the fingerprint of job %q: %w", j.Name, err)
	}
	return f, nil
}

// A plan is what is stored of a job.
type plan struct {
	job, fingerprint string
	total            int64
	ranges           []bounds
}

// Bounds are those of a range, as JSON; nil where there is none.
type bounds struct{ after, until *string }

func encodeRange[P any](r keyset.Range[P]) (b bounds, err error) {
	if b.after, err = encodeBound(r.After); err == nil {
		b.until, err = encodeBound(r.Until)
	}
	return b, err
}

// encodeBound makes sure that the bound comes back as it is.
func encodeBound[P any](p *P) (*string, error) {
	if p == nil {
		return nil, nil
	}
	data, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("the bound %+v cannot be stored: %w", *p, err)
	}
	text := string(data)
	back, err := decodeBound[P](&text)
	if err != nil {
		return nil, err
	}
	if !paging.Equal(*p, *back) {
		return nil, fmt.Errorf("the bound %+v cannot be stored exactly: it would come back as %+v; a keyset.Key keeps text that is not UTF-8", *p, *back)
	}
	return &text, nil
}

func decodeBound[P any](text *string) (*P, error) {
	if text == nil {
		return nil, nil
	}
	var p P
	if err := json.Unmarshal([]byte(*text), &p); err != nil {
		return nil, fmt.Errorf("the stored bound %s does not fit a %T: %w", *text, p, err)
	}
	return &p, nil
}

// store stores p and gives River its jobs, unless there is a plan already. Another
// planner's insert of the same row is waited for.
func (s *Store) store(ctx context.Context, tx pgx.Tx, client *Client, p plan, opts *river.InsertOpts) (bool, error) {
	tag, err := tx.Exec(ctx, s.sql(`INSERT INTO {plans} (job, fingerprint, ranges, total) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`),
		p.job, p.fingerprint, len(p.ranges), p.total)
	if err != nil || tag.RowsAffected() == 0 {
		return false, err
	}
	rows := make([][]any, len(p.ranges))
	for i, b := range p.ranges {
		rows[i] = []any{p.job, i, b.after, b.until, CheckpointName(p.job, i)}
	}
	table := pgx.Identifier{"pipeline_ranges"}
	if s.schema != "" {
		table = pgx.Identifier{s.schema, "pipeline_ranges"}
	}
	if _, err := tx.CopyFrom(ctx, table, []string{"job", "number", "after", "until", "checkpoint"}, pgx.CopyFromRows(rows)); err != nil {
		return false, err
	}
	numbers := make([]int, len(p.ranges))
	for i := range numbers {
		numbers[i] = i
	}
	return true, s.enqueue(ctx, tx, client, p.job, len(p.ranges), numbers, opts)
}

// enqueue gives River a job for each of the ranges.
func (s *Store) enqueue(ctx context.Context, tx pgx.Tx, client *Client, job string, ranges int, numbers []int, opts *river.InsertOpts) error {
	var params []river.InsertManyParams
	for _, n := range numbers {
		o := river.InsertOpts{}
		if opts != nil {
			o = *opts
		}
		if len(o.Metadata) == 0 { // for people who look at the job in River's UI
			o.Metadata = fmt.Appendf(nil, `{"range": "%d of %d"}`, n+1, ranges)
		}
		params = append(params, river.InsertManyParams{Args: Args{job, n}, InsertOpts: &o})
	}
	if len(params) == 0 {
		return nil
	}
	_, err := client.InsertManyFastTx(ctx, tx, params)
	return err
}

func (s *Store) sameSchema(client *Client) error {
	if client == nil {
		panic("riverjob.Plan: River's client must not be nil")
	}
	if have := client.Schema(); have != s.schema {
		return fmt.Errorf("riverjob: River's tables are in schema %q and those of this store in %q; give both the same (river.Config.Schema, riverjob.Schema)", have, s.schema)
	}
	return nil
}

// planned makes sure that the job is planned as it is now.
func (s *Store) planned(ctx context.Context, job, fingerprint string) error {
	var stored string
	err := s.pool.QueryRow(ctx, s.sql(`SELECT fingerprint FROM {plans} WHERE job = $1`), job).Scan(&stored)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("%w: %q", ErrNoPlan, job)
	case err != nil:
		return fmt.Errorf("riverjob: look for the plan of job %q: %w (Migrate makes the tables where they are missing)", job, err)
	}
	return samePlan(job, stored, fingerprint)
}

func samePlan(job, stored, now string) error {
	if stored == now {
		return nil
	}
	return fmt.Errorf("%w: job %q was planned for another query (fingerprint %q, now %q); give this one another name, or drop the plan", cursor.ErrMismatch, job, stored, now)
}

// Requeue gives River a new job for each range that is not finished and that no job of
// River's will take up: one that was discarded after too many errors, cancelled, or
// deleted. It returns how many.
func (s *Store) Requeue(ctx context.Context, client *Client, job string, opts *river.InsertOpts) (n int, err error) {
	if err := s.sameSchema(client); err != nil {
		return 0, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var ranges int
		// Two who do it at once do it one after the other.
		err := tx.QueryRow(ctx, s.sql(`SELECT ranges FROM {plans} WHERE job = $1 FOR UPDATE`), job).Scan(&ranges)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("%w: %q", ErrNoPlan, job)
		} else if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, s.sql(`SELECT r.number FROM {ranges} r
			LEFT JOIN {checkpoints} c ON c.job = r.checkpoint
			LEFT JOIN (SELECT DISTINCT args->'range' AS number FROM {river_job}
				WHERE kind = $2 AND args @> jsonb_build_object('job', $1::text) AND finalized_at IS NULL) j ON j.number = to_jsonb(r.number)
			WHERE r.job = $1 AND c.status IS DISTINCT FROM 'finished' AND j.number IS NULL
			ORDER BY r.number`), job, Kind)
		if err != nil {
			return err
		}
		numbers, err := pgx.CollectRows(rows, pgx.RowTo[int])
		if err != nil {
			return err
		}
		n = len(numbers)
		return s.enqueue(ctx, tx, client, job, ranges, numbers, opts)
	})
	if err != nil {
		return 0, fmt.Errorf("riverjob: requeue job %q: %w", job, err)
	}
	return n, nil
}

// Drop forgets a job: its plan, its checkpoints, and its jobs in River that do not run
// at the moment. A worker that is at a range cannot commit any more and gives it up.
// Objects in a sink stay. A job that has no plan is no error.
func (s *Store) Drop(ctx context.Context, job string) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		for _, statement := range []string{
			`DELETE FROM {river_job} WHERE kind = '` + Kind + `' AND args @> jsonb_build_object('job', $1::text) AND state <> 'running'`,
			`DELETE FROM {checkpoints} c USING {ranges} r WHERE r.job = $1 AND c.job = r.checkpoint`,
			`DELETE FROM {plans} WHERE job = $1`,
		} {
			if _, err := tx.Exec(ctx, s.sql(statement), job); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("riverjob: drop job %q: %w", job, err)
	}
	return nil
}

// A stored range is what a worker is told of a range.
type storedRange struct {
	bounds
	ranges      int
	fingerprint string
	plannedAt   time.Time
}

func (s *Store) loadRange(ctx context.Context, args Args) (r storedRange, err error) {
	err = s.pool.QueryRow(ctx, s.sql(`SELECT r.after, r.until, p.ranges, p.fingerprint, p.planned_at
		FROM {ranges} r JOIN {plans} p USING (job) WHERE r.job = $1 AND r.number = $2`), args.Job, args.Range).Scan(
		&r.after, &r.until, &r.ranges, &r.fingerprint, &r.plannedAt)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return r, fmt.Errorf("%w: %q, range %d", ErrNoPlan, args.Job, args.Range)
	case err != nil:
		return r, fmt.Errorf("riverjob: read range %d of job %q: %w", args.Range, args.Job, err)
	}
	return r, nil
}
