package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"example.com/pipeline/seq"
)

// A KeyStore remembers which calls have been made, and what their results were,
// which are JSON. [Keys] is one in memory; one in a SQL table outlives the process.
type KeyStore interface {
	// Begin claims key: where done is false and err nil, the call is the caller's
	// to make, who must end it by Finish or Abandon. Where done is true the call
	// has been made, with this result. Where somebody else has claimed the key,
	// Begin waits for the outcome, or returns an error that Is [ErrInProgress].
	Begin(ctx context.Context, key string) (result []byte, done bool, err error)

	// Finish says that the call has been made, with this result.
	Finish(ctx context.Context, key string, result []byte) error

	// Abandon says that the call has failed: the key is free again.
	Abandon(ctx context.Context, key string) error
}

// A KeyRenewer is a [KeyStore] whose claims run out, for the sake of those whose
// process has died. [Idempotent] renews a claim for as long as the call takes. Who
// calls Begin by himself calls Renew, too.
type KeyRenewer interface {
	KeyStore

	// RenewEvery returns how often to call Renew: several times before a claim runs out.
	RenewEvery() time.Duration

	// Renew prolongs the caller's claim on key. It returns false where the claim is
	// somebody else's by now. After an error it is tried again at the next time.
	Renew(ctx context.Context, key string) (held bool, err error)
}

// recordTime bounds how long it may take to record how a call ended, whose own
// context may have ended.
const recordTime = 10 * time.Second

// Idempotent returns a function that calls fn once for each key, however often it
// is called itself: with a charge, a mail or a ticket behind fn, an item that comes
// again, after a retry, a restart or by mistake, does nothing. It returns the first
// call's result, which is kept as JSON: what JSON does not keep of a U, such as
// unexported fields, is there the first time only.
//
// A call that fails, panics or skips its item frees the key: the next one makes
// another attempt. How a call ended is recorded even if ctx has ended meanwhile.
// Where the result cannot be recorded, the error says so, and the key stays claimed
// in keys for as long as they keep it: the call was made, and must not be repeated
// right away.
//
// While fn runs, the claim of a [KeyRenewer] is renewed, however long that takes and even
// when ctx has ended. Where the claim is lost all the same, to a process that found this
// one suspended, say, fn's context ends with a cause that Is [ErrInProgress]. The
// goroutine that renews has exited when the call returns.
//
// Put it inside of Retry, with the same key for all tries. It panics where an
// argument is nil, U is no type that JSON can hold, or RenewEvery of keys is not positive.
func Idempotent[T, U any](fn func(context.Context, T) (U, error), keys KeyStore, key func(T) string) func(context.Context, T) (U, error) {
	if fn == nil || keys == nil || key == nil {
		panic(fmt.Sprintf("control.Idempotent: fn, keys and key must not be nil, got fn %t, keys %t, key %t",
			fn != nil, keys != nil, key != nil))
	}
	var zero U
	if _, err := json.Marshal(zero); err != nil {
		panic(fmt.Sprintf("control.Idempotent: results must be such that JSON can hold them, got %T: %v", zero, err))
	}
	if renewer, ok := keys.(KeyRenewer); ok && renewer.RenewEvery() <= 0 {
		panic(fmt.Sprintf("control.Idempotent: RenewEvery of keys must be positive, got %v", renewer.RenewEvery()))
	}
	return func(ctx context.Context, item T) (U, error) {
		c := claim{keys, key(item)}
		data, done, err := keys.Begin(ctx, c.key)
		switch {
		case err != nil:
			return zero, fmt.Errorf("control.Idempotent: the call for key %q was not made: %w", c.key, err)
		case done:
			return decode[U](c.key, data)
		}
		return claimed(ctx, c, fn, item)
	}
}

// claimed makes the call for a key that is the caller's, and records how it ended.
func claimed[T, U any](ctx context.Context, c claim, fn func(context.Context, T) (U, error), item T) (result U, err error) {
	returned := false
	defer func() {
		if !returned { // the panic says more than an error of Abandon
			c.abandon(ctx)
		}
	}()
	result, err = renewing(ctx, c, fn, item)
	returned = true
	if err != nil {
		if lost := c.abandon(ctx); lost != nil {
			err = errors.Join(err, lost)
		}
		return result, err
	}
	return result, c.finish(ctx, result)
}

// renewing calls fn, and renews the claim meanwhile where it runs out.
func renewing[T, U any](ctx context.Context, c claim, fn func(context.Context, T) (U, error), item T) (U, error) {
	keys, ok := c.keys.(KeyRenewer)
	if !ok {
		return fn(ctx, item)
	}
	fnCtx, lost := context.WithCancelCause(ctx)
	renewCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	task := seq.Go(ctx, func() {
		if c.renew(renewCtx, keys) {
			lost(fmt.Errorf("control.Idempotent: another call has taken over key %q: %w", c.key, ErrInProgress))
		}
	})
	returned := false
	defer func() {
		stop()
		if returned {
			task.Join()
		} else {
			task.Wait() // nothing may cover up fn's panic
		}
		lost(nil)
	}()
	result, err := fn(fnCtx, item)
	returned = true
	return result, err
}

// renew renews the claim until ctx ends, or until the claim is lost, which it
// reports.
func (c claim) renew(ctx context.Context, keys KeyRenewer) (lost bool) {
	every := keys.RenewEvery()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
		once, cancel := context.WithTimeout(ctx, max(every, time.Second))
		held, err := keys.Renew(once, c.key)
		cancel()
		if err == nil && !held {
			return ctx.Err() == nil
		}
	}
}

// A claim is a key that is the caller's to finish or to abandon.
type claim struct {
	keys KeyStore
	key  string
}

func (c claim) finish(ctx context.Context, result any) error {
	data, err := json.Marshal(result)
	if err == nil {
		ctx, cancel := recording(ctx)
		defer cancel()
		err = c.keys.Finish(ctx, c.key, data)
	}
	if err != nil {
		return fmt.Errorf("control.Idempotent: the call for key %q was made, but its result could not be recorded: %w", c.key, err)
	}
	return nil
}

func (c claim) abandon(ctx context.Context) error {
	ctx, cancel := recording(ctx)
	defer cancel()
	if err := c.keys.Abandon(ctx, c.key); err != nil {
		return fmt.Errorf("control.Idempotent: key %q could not be freed: %w", c.key, err)
	}
	return nil
}

// recording is the context to record in how a call ended.
func recording(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), recordTime)
}

func decode[U any](key string, data []byte) (result U, err error) {
	if err := json.Unmarshal(data, &result); err != nil {
		var zero U
		return zero, fmt.Errorf("control.Idempotent: the stored result of key %q is of another type: %w", key, err)
	}
	return result, nil
}
