package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"example.com/pipeline/seq"
)

// A KeyStore remembers which calls have been made, and what their results were,
// which are JSON. [Keys] is one in memory; one in a SQL table outlives the process.
// Its methods heed their context. Where claims run out, several calls of one process may
// claim the same key one after another: [ClaimOf] tells them apart.
type KeyStore interface {
	// Begin claims key: where done is false and err nil, the call is the caller's
	// to make, who must end it by Finish or Abandon. Where done is true the call
	// has been made, with this result. Where somebody else has claimed the key,
	// Begin waits for the outcome, or returns an error that Is [ErrInProgress].
	Begin(ctx context.Context, key string) (result []byte, done bool, err error)

	// Finish says that the call has been made, with this result. It is empty where the
	// call has one that cannot be kept.
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
	// somebody else's by now, and then Finish and Abandon leave that one alone. After
	// an error it is tried again at the next time.
	Renew(ctx context.Context, key string) (held bool, err error)
}

// ClaimOf returns what tells apart the calls for which [Idempotent] uses a [KeyStore]: in
// the contexts of Begin, Renew, Finish and Abandon it is the same value for one call, and
// one that equals no other call's. It can be the key of a map. In any other context it is
// nil.
func ClaimOf(ctx context.Context) any { return ctx.Value(claimKey{}) }

// claimKey is the key of the *claim in a context.
type claimKey struct{}

// recordTime bounds how long it may take to record how a call ended, whose own
// context may have ended.
const recordTime = 10 * time.Second

// Idempotent returns a function that calls fn once for each key, however often it
// is called itself: with a charge, a mail or a ticket behind fn, an item that comes
// again, after a retry, a restart or by mistake, does nothing. It returns the first
// call's result, which is kept as JSON: what JSON does not keep of a U, such as
// unexported fields, is there the first time only.
//
// What becomes of a key:
//
//   - free again: where fn fails, panics, leaves by Goexit or skips its item. The next
//     call makes another attempt.
//   - finished: where fn succeeds, even if ctx has ended meanwhile. A result that JSON
//     cannot hold, such as a NaN, cannot be kept: this call and all later ones of the
//     key get an error that says so.
//   - claimed, for as long as keys hold a claim: where fn succeeds and Finish fails,
//     or fn fails and Abandon does. The error says so, too.
//   - as keys have it: where Begin fails. The call was not made ([ErrRefused]).
//
// Where the call was made and its result is lost, the error is [Permanent]: neither
// [Retry] nor [Hedge] makes the call a second time.
//
// While fn runs, the claim of a [KeyRenewer] is renewed, however long that takes and even
// when ctx has ended. Where the claim is lost all the same, to a process that found this
// one suspended, say, fn's context ends with a cause that Is [ErrInProgress]. A panic of
// Renew ends that context, too, and surfaces when the call has been recorded. The
// goroutine that renews has exited when the call returns.
//
// Put it inside of Retry, with the same key for all tries. It panics where an
// argument is nil, U is no type that JSON can hold, or RenewEvery of keys is not positive.
func Idempotent[T, U any](fn func(context.Context, T) (U, error), keys KeyStore, key func(T) string) func(context.Context, T) (U, error) {
	if fn == nil || isNil(keys) || key == nil {
		panic(fmt.Sprintf("control.Idempotent: fn, keys and key must not be nil, got fn %t, keys %t, key %t",
			fn != nil, !isNil(keys), key != nil))
	}
	if u := reflect.TypeFor[U](); !isJSON(u, nil) {
		panic(fmt.Sprintf("control.Idempotent: results must be such that JSON can hold them, got %v", u))
	}
	if renewer, ok := keys.(KeyRenewer); ok && renewer.RenewEvery() <= 0 {
		panic(fmt.Sprintf("control.Idempotent: RenewEvery of keys must be positive, got %v", renewer.RenewEvery()))
	}
	return func(ctx context.Context, item T) (none U, err error) {
		if ctx.Err() != nil {
			return none, seq.ContextError(ctx)
		}
		c := &claim{keys, key(item)}
		data, done, err := keys.Begin(c.within(ctx), c.key)
		switch {
		case err != nil:
			return none, &refusedError{fmt.Errorf("control.Idempotent: the call for key %q was not made: %w", c.key, err)}
		case done:
			return decode[U](c.key, data)
		}
		return claimed(ctx, c, fn, item)
	}
}

// claimed makes the call for a key that is the caller's, and records how it ended.
func claimed[T, U any](ctx context.Context, c *claim, fn func(context.Context, T) (U, error), item T) (result U, err error) {
	r := &renewal{ctx: ctx}
	defer r.join() // passes on a panic of Renew
	var data []byte
	made, recorded := false, false
	record := func() error {
		recorded = true
		r.stop()
		if made {
			return c.finish(ctx, data)
		}
		return c.abandon(ctx)
	}
	defer func() {
		if !recorded { // fn, MarshalJSON or a method of ctx panics, which says more than an error of record
			record()
		}
	}()

	if err = ended(ctx); err == nil { // Begin may have taken long
		r.start(c)
		result, err = fn(r.ctx, item)
	}
	if made = err == nil; !made {
		if lost := record(); lost != nil {
			err = errors.Join(err, lost)
		}
		return result, err
	}
	data, err = json.Marshal(result)
	if err = errors.Join(err, record()); err != nil {
		return result, Permanent(fmt.Errorf("control.Idempotent: the call for key %q was made, but its result could not be recorded: %w", c.key, err))
	}
	return result, nil
}

// A claim is a key that is the caller's to finish or to abandon.
type claim struct {
	keys KeyStore
	key  string
}

// within returns ctx for a method of the store.
func (c *claim) within(ctx context.Context) context.Context {
	return context.WithValue(ctx, claimKey{}, c)
}

func (c *claim) finish(ctx context.Context, result []byte) error {
	ctx, cancel := recording(c.within(ctx))
	defer cancel()
	return asMade(c.keys.Finish(ctx, c.key, result))
}

func (c *claim) abandon(ctx context.Context) error {
	ctx, cancel := recording(c.within(ctx))
	defer cancel()
	if err := c.keys.Abandon(ctx, c.key); err != nil {
		return fmt.Errorf("control.Idempotent: key %q could not be freed: %w", c.key, asMade(err))
	}
	return nil
}

// asMade returns the error of recording a call, which was made even if the store
// refuses.
func asMade(err error) error {
	if isRefused(err) {
		return &madeError{err}
	}
	return err
}

// recording is the context to record in how a call ended.
func recording(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), recordTime)
}

// A renewal keeps a claim while its call is made.
type renewal struct {
	ctx    context.Context // of the call: ends where the claim is lost
	cancel func()
	task   *seq.Task // nil where claims do not run out
}

// start begins to renew the claim, where claims run out.
func (r *renewal) start(c *claim) {
	keys, ok := c.keys.(KeyRenewer)
	if !ok {
		return
	}
	fnCtx, lose := context.WithCancelCause(r.ctx)
	renewCtx, stop := context.WithCancel(context.WithoutCancel(c.within(r.ctx)))
	r.task = seq.Go(r.ctx, func() {
		why := fmt.Errorf("control.Idempotent: the claim on key %q is not renewed any more", c.key) // Renew has panicked
		defer func() { lose(why) }()
		why = c.renew(renewCtx, keys)
	})
	r.ctx, r.cancel = fnCtx, stop
}

// stop ends the renewal and waits for its goroutine.
func (r *renewal) stop() {
	if r.task != nil {
		r.cancel()
		r.task.Wait()
	}
}

// join is stop, and passes on how the goroutine ended.
func (r *renewal) join() {
	r.stop()
	if r.task != nil {
		r.task.Join()
	}
}

// renew renews the claim until ctx ends, and then returns nil, or until the claim is
// lost.
func (c *claim) renew(ctx context.Context, keys KeyRenewer) (lost error) {
	every := keys.RenewEvery()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		once, cancel := context.WithTimeout(ctx, max(every, time.Second))
		held, err := keys.Renew(once, c.key)
		cancel()
		if err == nil && !held && ctx.Err() == nil {
			return fmt.Errorf("control.Idempotent: another call has taken over key %q: %w", c.key, &madeError{ErrInProgress})
		}
	}
}
