package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

// Acquire implements [cursor.Store].
func (s *Store) Acquire(ctx context.Context, job string) (cursor.Lease, error) {
	if err := cursor.CheckJob(job); err != nil {
		return nil, err
	}
	if err := seq.ContextError(ctx); err != nil {
		return nil, err
	}
	l := &lease{store: s, job: job, owner: rand.Text()}
	if err := l.acquire(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it goes on when ctx has ended
	l.stop = cancel
	l.renewing.Go(func() { l.renew(ctx) })
	return l, nil
}

// A lease is one runner's hold on one job. The owner is drawn anew for each lease; as
// long as the row has it, the job is this lease's. The epoch counts the owners, and
// goes up by one more each time that the lease loads the record, so that a statement
// of its own that was lost on the way can no longer arrive.
type lease struct {
	store      *Store
	job, owner string
	epoch      int64

	stop     context.CancelFunc // ends renewing
	renewing sync.WaitGroup
	lost     atomic.Bool // the row has another owner
	released bool
}

// acquire may try twice: by the owner it sees that the first try was done after all. It
// does not take the job from itself, since a statement that arrives late would change
// the epoch of a lease in use.
func (l *lease) acquire(ctx context.Context) error {
	s := l.store
	host, _ := os.Hostname() // unknown is empty
	holder := fmt.Sprintf("process %d on %s since %s", os.Getpid(), host, time.Now().UTC().Format(time.RFC3339))
	taken := false
	err := s.fresh(ctx, func() error {
		_, err := s.change(ctx, s.db, `{insert} INTO {checkpoints} (job, fingerprint, holder) VALUES (?, '', ''){on exists}`, l.job)
		if err != nil {
			return fmt.Errorf("%w (Migrate makes the tables where they are missing)", err)
		}
		taken, err = s.change(ctx, s.db, `UPDATE {checkpoints} SET epoch = epoch + 1, owner = ?, holder = ?, lease_until = {now} + ?
			WHERE job = ? AND (owner = '' OR lease_until < {now})`,
			l.owner, holder, s.leaseFor.Microseconds(), l.job)
		if err == nil && !taken {
			var owner string
			err = s.row(ctx, s.db, `SELECT owner FROM {checkpoints} WHERE job = ?`, []any{l.job}, &owner)
			taken = owner == l.owner
		}
		return err
	})
	if err != nil {
		// It may have been done all the same; then the job must not stay taken.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = l.free(ctx)
		return fmt.Errorf("sqlstore: acquire job %q: %w", l.job, err)
	}
	if !taken {
		held, err := s.holder(ctx, l.job)
		if err != nil {
			return fmt.Errorf("sqlstore: acquire job %q: %w", l.job, err)
		}
		return held
	}
	return nil
}

// renew prolongs the lease until ctx ends or the lease is lost. A renewal that fails
// is tried again at the next time; it was not the last one before the lease ends.
func (l *lease) renew(ctx context.Context) {
	every := l.store.leaseFor / 3
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		once, cancel := context.WithTimeout(ctx, max(every, time.Second))
		// Another owner is all that matters: the epoch may go up meanwhile.
		ours := false
		err := l.store.fresh(once, func() (err error) {
			ours, err = l.store.change(once, l.store.db, `UPDATE {checkpoints} SET lease_until = {now} + ? WHERE job = ? AND owner = ?`,
				l.store.leaseFor.Microseconds(), l.job, l.owner)
			return err
		})
		cancel()
		if err == nil && !ours && !l.stillOurs(ctx) {
			l.lost.Store(true)
			return
		}
	}
}

// stillOurs asks whether the row has another owner. It is for the case that a clock
// stands still or was set back, so that a renewal changes nothing.
func (l *lease) stillOurs(ctx context.Context) bool {
	var owner string
	err := l.store.row(ctx, l.store.db, `SELECT owner FROM {checkpoints} WHERE job = ?`, []any{l.job}, &owner)
	return err != nil && !errors.Is(err, sql.ErrNoRows) || owner == l.owner
}

// Load implements [cursor.Lease].
func (l *lease) Load(ctx context.Context) (cursor.Record, error) {
	if err := l.usable(); err != nil {
		return cursor.Record{}, err
	}
	var r cursor.Record
	err := l.store.retry(ctx, func() (err error) {
		r, err = l.load(ctx)
		return err
	})
	return r, err
}

// load takes a new epoch, which waits for a transaction of ours that may still be
// ending and shuts out what may still be under way, then reads what there is.
func (l *lease) load(ctx context.Context) (cursor.Record, error) {
	ours, err := l.store.change(ctx, l.store.db, `UPDATE {checkpoints} SET epoch = epoch + 1 WHERE job = ? AND owner = ?`, l.job, l.owner)
	switch {
	case err != nil:
		return cursor.Record{}, fmt.Errorf("sqlstore: load job %q: %w", l.job, err)
	case !ours:
		return cursor.Record{}, l.fenced(ctx)
	}
	return l.read(ctx, l.store.db, "")
}

// LoadTx implements [cursor.TxLease].
func (l *lease) LoadTx(ctx context.Context, tx *sql.Tx) (cursor.Record, error) {
	if err := l.usable(); err != nil {
		return cursor.Record{}, err
	}
	if l.store.flavor.lockByWriting {
		ours, err := l.store.change(ctx, tx, `UPDATE {checkpoints} SET seq = seq WHERE job = ? AND owner = ?`, l.job, l.owner)
		switch {
		case err != nil:
			return cursor.Record{}, fmt.Errorf("sqlstore: load job %q: %w", l.job, err)
		case !ours:
			return cursor.Record{}, l.errFenced()
		}
	}
	return l.read(ctx, tx, l.store.flavor.forUpdate)
}

// read reads the record and the epoch.
func (l *lease) read(ctx context.Context, db execer, forUpdate string) (cursor.Record, error) {
	r, epoch, err := l.store.read(ctx, db, l.job, "AND owner = ?"+forUpdate, l.owner)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return r, l.errFenced()
	case err == nil, errors.Is(err, cursor.ErrCorrupt):
		l.epoch = epoch
	}
	return r, err
}

// read reads the row of a job that meets a condition, or returns [sql.ErrNoRows].
func (s *Store) read(ctx context.Context, db execer, job, condition string, args ...any) (r cursor.Record, epoch int64, err error) {
	var position, states sql.NullString
	var status, savedAt string
	err = s.row(ctx, db, `SELECT format, fingerprint, position, states, items, seq, status, saved_at, epoch
		FROM {checkpoints} WHERE job = ? `+condition, append([]any{job}, args...),
		&r.Format, &r.Fingerprint, &position, &states, &r.Items, &r.Seq, &status, &savedAt, &epoch)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return r, 0, err
	case err != nil:
		return r, 0, fmt.Errorf("sqlstore: load job %q: %w", job, err)
	case r.Seq == 0:
		return cursor.Record{}, epoch, nil
	}

	// Whoever may write to the database may have damaged the row.
	corrupt := func(what string, err error) (cursor.Record, int64, error) {
		return cursor.Record{Seq: r.Seq}, epoch, fmt.Errorf("%w: job %q in table %s: its %s: %w", cursor.ErrCorrupt, job, s.checkpoints, what, err)
	}
	if position.Valid {
		if !json.Valid([]byte(position.String)) {
			return corrupt("position", fmt.Errorf("%.100q is not JSON", position.String))
		}
		r.Position = json.RawMessage(position.String)
	}
	if states.Valid {
		if err := json.Unmarshal([]byte(states.String), &r.States); err != nil {
			return corrupt("states", err)
		}
	}
	if r.SavedAt, err = time.Parse(time.RFC3339Nano, savedAt); err != nil {
		return corrupt("saved_at", err)
	}
	if status != statusRunning && status != statusFinished {
		return corrupt("status", fmt.Errorf("%q is unknown", status))
	}
	r.Finished = status == statusFinished
	return r, epoch, nil
}

// What the column status says of a saved job; an unsaved one is new.
const (
	statusRunning  = "running"
	statusFinished = "finished"
)

// Save implements [cursor.Lease]. Where the connection is lost, it finds out by the
// epoch and the seq whether the record was saved, and tries again if not.
func (l *lease) Save(ctx context.Context, r cursor.Record) error {
	if err := l.usable(); err != nil {
		return err
	}
	first := true
	return l.store.retry(ctx, func() error {
		if !first {
			have, err := l.load(ctx)
			switch {
			case err != nil:
				return err
			case have.Seq == r.Seq:
				return nil // it was saved after all
			}
		}
		first = false
		return l.save(ctx, l.store.db, r)
	})
}

// SaveTx implements [cursor.TxLease].
func (l *lease) SaveTx(ctx context.Context, tx *sql.Tx, r cursor.Record) error {
	if err := l.usable(); err != nil {
		return err
	}
	return l.save(ctx, tx, r)
}

func (l *lease) save(ctx context.Context, db execer, r cursor.Record) error {
	if l.epoch == 0 { // not loaded yet
		if _, err := l.read(ctx, db, ""); err != nil && !errors.Is(err, cursor.ErrCorrupt) {
			return err
		}
	}
	var position, states sql.NullString
	if len(r.Position) > 0 {
		position = sql.NullString{String: string(r.Position), Valid: true}
	}
	if len(r.States) > 0 {
		data, err := json.Marshal(r.States)
		if err != nil {
			return fmt.Errorf("sqlstore: save job %q: %w", l.job, err)
		}
		states = sql.NullString{String: string(data), Valid: true}
	}
	status := statusRunning
	if r.Finished {
		status = statusFinished
	}
	saved, err := l.store.change(ctx, db, `UPDATE {checkpoints} SET format = ?, fingerprint = ?, position = ?, states = ?,
			items = ?, seq = ?, status = ?, saved_at = ?, lease_until = {now} + ?
		WHERE job = ? AND owner = ? AND epoch = ? AND seq = ?`,
		r.Format, r.Fingerprint, position, states, r.Items, r.Seq, status, r.SavedAt.UTC().Format(time.RFC3339Nano),
		l.store.leaseFor.Microseconds(), l.job, l.owner, l.epoch, r.Seq-1)
	switch {
	case err != nil:
		return fmt.Errorf("sqlstore: save job %q: %w", l.job, err)
	case !saved && db == execer(l.store.db):
		return l.fenced(ctx)
	case !saved:
		return l.errFenced() // without asking who: the pool may have no other connection
	}
	return nil
}

// usable says why the lease cannot be used.
func (l *lease) usable() error {
	switch {
	case l.released:
		return fmt.Errorf("sqlstore: the lease of job %q: %w", l.job, cursor.ErrClosed)
	case l.lost.Load():
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return l.fenced(ctx)
	}
	return nil
}

// fenced says who took the job, as far as that can be found out.
func (l *lease) fenced(ctx context.Context) error {
	held, err := l.store.holder(ctx, l.job)
	switch {
	case err != nil:
		return l.errFenced()
	case held.Until.UnixMicro() == 0:
		return fmt.Errorf("%w: job %q, and it has ended since", cursor.ErrFenced, l.job)
	}
	return fmt.Errorf("%w: job %q is held by %s until %s", cursor.ErrFenced, l.job, held.Holder, held.Until.Format(time.RFC3339))
}

func (l *lease) errFenced() error { return fmt.Errorf("%w: job %q", cursor.ErrFenced, l.job) }

// Release implements [cursor.Lease]. It ends the renewing first.
func (l *lease) Release(ctx context.Context) error {
	if l.released {
		return nil
	}
	l.released = true
	l.stop()
	l.renewing.Wait()
	if err := l.free(ctx); err != nil {
		return fmt.Errorf("sqlstore: free job %q, which is otherwise free when its lease ends: %w", l.job, err)
	}
	return nil
}

// free gives the job back if it is still ours.
func (l *lease) free(ctx context.Context) error {
	return l.store.fresh(ctx, func() error {
		_, err := l.store.change(ctx, l.store.db, `UPDATE {checkpoints} SET owner = '', holder = '', lease_until = 0 WHERE job = ? AND owner = ?`, l.job, l.owner)
		return err
	})
}
