package riverjob

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"example.com/pipeline/cursor"
)

// A guard knows whether a range is still this worker's. It asks the database when it has
// not heard for a third of the lease, so that a worker that was suspended, or cut off,
// asks before it does anything more.
//
// It is a [cursor.Store], for one checkpoint: Acquire reads the name that the lease has
// in the row. When the checkpoint then loads its record, under that lease's own name,
// it is known that the name read was this one's.
type guard struct {
	store *Store
	name  string // of the checkpoint
	every time.Duration

	mu    sync.Mutex
	owner string
	heard time.Time // when it was last known to be ours
	lost  error
}

func newGuard(s *Store, name string) *guard {
	return &guard{store: s, name: name, every: s.lease / 3}
}

// Acquire implements [cursor.Store].
func (g *guard) Acquire(ctx context.Context, job string) (cursor.Lease, error) {
	heard := time.Now()
	lease, err := g.store.checkpoints.Acquire(ctx, job)
	if err != nil {
		return nil, err
	}
	owner, err := g.ask(ctx)
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		return nil, errors.Join(err, lease.Release(ctx))
	}
	g.owner, g.heard = owner, heard
	return lease, nil
}

func (g *guard) ask(ctx context.Context) (owner string, err error) {
	err = g.store.pool.QueryRow(ctx, g.store.sql(`SELECT owner FROM {checkpoints} WHERE job = $1`), g.name).Scan(&owner)
	return owner, err
}

// blame returns what err, the end of a slice, comes from: where another worker has the
// range by now, or has finished it, that is the reason, whatever it looked like here. An object may have been
// removed by who finished the part, say.
func (g *guard) blame(ctx context.Context, err error) error {
	if err == nil || err == errGoesOn || errors.Is(err, cursor.ErrFenced) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	var owner, status string
	row := g.store.pool.QueryRow(ctx, g.store.sql(`SELECT owner, status FROM {checkpoints} WHERE job = $1`), g.name)
	// The checkpoint is closed: nobody has the range now, or somebody else.
	if row.Scan(&owner, &status) == nil && (owner != "" && owner != g.owner || status == "finished") {
		return fmt.Errorf("%w: job %q: %w", cursor.ErrFenced, g.name, err)
	}
	return err
}

// check returns an error that Is [cursor.ErrFenced] where the range is another's. Where
// the database does not answer it waits, for six seconds in all as the store does.
func (g *guard) check(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lost != nil {
		return g.lost
	}
	now := time.Now()
	// The monotonic clock may have stood still while the machine slept, and the other
	// one may have been set. The longer time counts.
	if since := max(now.Sub(g.heard), now.Round(0).Sub(g.heard.Round(0))); since < g.every {
		return nil
	}
	for sleep := 50 * time.Millisecond; ; sleep *= 3 {
		owner, err := g.ask(ctx)
		switch {
		case err == nil && owner == g.owner:
			g.heard = now
			return nil
		case err == nil, errors.Is(err, sql.ErrNoRows):
			g.lost = fmt.Errorf("%w: job %q", cursor.ErrFenced, g.name)
			return g.lost
		case sleep > 5*time.Second:
			return fmt.Errorf("riverjob: ask whether job %q is still this worker's: %w", g.name, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(sleep):
		}
	}
}
