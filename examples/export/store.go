package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/sqlstore"
	"example.com/pipeline/seq"
)

// databaseStore keeps the checkpoints in the database that is exported.
func (e *export) databaseStore(ctx context.Context) (cursor.Store, error) {
	store := sqlstore.New(e.db.DB, e.db.Dialect, sqlstore.LeaseFor(e.lease))
	if err := e.trying("make the table for checkpoints")(ctx, store.Migrate); err != nil {
		return nil, fmt.Errorf("-store db: make the table for checkpoints: %w", err)
	}
	return patientStore{store, func(format string, args ...any) {
		e.watch.Rest() // it is another run that is waited for
		e.say(format, args...)
	}}, nil
}

// A patientStore waits for a lease to end, once: a database cannot tell whether the
// runner that has it was killed. One that lives has renewed it by then.
type patientStore struct {
	*sqlstore.Store
	say func(format string, args ...any)
}

func (s patientStore) Acquire(ctx context.Context, job string) (cursor.Lease, error) {
	lease, err := s.Store.Acquire(ctx, job)
	var locked *cursor.LockedError
	if !errors.As(err, &locked) || locked.Until.IsZero() {
		return lease, err
	}
	wait := max(time.Until(locked.Until), 0) + 100*time.Millisecond
	s.say("the export is held by %s; if that run is dead, it is free in %v: waiting", locked.Holder, wait.Round(100*time.Millisecond))
	select {
	case <-time.After(wait):
		return s.Store.Acquire(ctx, job)
	case <-ctx.Done():
		return nil, seq.ContextError(ctx)
	}
}
