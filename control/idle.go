package control

import (
	"context"
	"errors"
	"iter"
	"time"

	"example.com/pipeline/seq"
)

// IdleTimeout ends a stream whose source gives nothing for a time of d: no item and no
// error. Only the time for which the loop waits for the source counts, never what the
// loop's body takes.
//
// The stream is built by build, once a loop, in a context that ends with the loop. The
// error of a source that was idle for too long Is [ErrTimeout] and
// [context.DeadlineExceeded], and it is the cause with which that context ends. It is
// yielded at once; a source that does not look at its context is waited for when the loop
// ends. The time that build takes counts, too.
//
// What build returns is the source and nothing else: a gate or a rate limit in it would
// be taken for a source that is idle. They belong around the stream of IdleTimeout.
//
// Ends: with the stream that build returns, at a final error, after d without a pair, or at once when ctx ends.
// Owns: one goroutine, which runs build and its stream; it has exited when the loop has.
// Reads ahead: nothing.
// Reuse: always; build is called anew.
func IdleTimeout[T any](ctx context.Context, d time.Duration, build func(context.Context) iter.Seq2[T, error]) iter.Seq2[T, error] {
	needContext("IdleTimeout", ctx)
	needPositive("IdleTimeout", "d", d)
	need(build != nil, "IdleTimeout", "build must not be nil")
	return func(yield func(T, error) bool) {
		var none T
		if err := seq.ContextError(ctx); err != nil {
			yield(none, err)
			return
		}
		inner, cancel := context.WithCancelCause(ctx)
		source := seq.Pull(func(yield func(T, error) bool) {
			in := build(inner)
			need(in != nil, "IdleTimeout", "build must not return nil")
			in(yield)
		}, 0)
		defer source.Stop()
		defer cancel(context.Canceled)
		if err := passLively(inner, d, source, yield); err != nil {
			cancel(err)
			yield(none, err)
		}
	}
}

// passLively passes pairs from the source to the loop's body until the stream ends, the source
// is idle for d, or ctx ends. It returns the error that is still to be yielded. The
// contexts that it makes are given back by the end of ctx, which comes with the loop's.
func passLively[T any](ctx context.Context, d time.Duration, source *seq.Puller[T], yield func(T, error) bool) error {
	idle := &idleError{d}
	for {
		wait, interrupt := context.WithCancelCause(ctx)
		timer := time.AfterFunc(d, func() { interrupt(idle) })
		for rang := false; !rang; {
			v, err, ok := source.Next(wait)
			rang = !timer.Stop()
			if end := seq.ContextError(ctx); end != nil {
				return end
			}
			if errors.Is(err, idle) {
				return idle
			}
			if !ok || !yield(v, err) || isFinal(err) {
				return nil
			}
			if !rang {
				timer.Reset(d)
			}
		}
		// The pair came at the very moment when the timer rang. It counts; the next wait
		// needs a context that has not ended.
	}
}

// An idleError reports a source that gave nothing for too long. It is final: it wraps
// nothing that could be about one item.
type idleError struct{ after time.Duration }

func (e *idleError) Error() string {
	return "control.IdleTimeout: the source gave nothing for " + e.after.String()
}

func (e *idleError) Is(target error) bool { return isTimeout(target) }
