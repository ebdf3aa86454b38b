package seq

import (
	"context"
	"iter"
	"sync/atomic"
)

// Scope builds a stream inside a context that ends with the loop. A source that can
// block for long belongs inside, together with the concurrent stages after it:
// they wait for their source when the loop ends, and Scope makes sure that it ends.
// Stages of your own join their goroutines by [Go] there.
//
//	orders := seq.Scope(ctx, func(ctx context.Context) iter.Seq2[Result, error] {
//		messages := seq.FromFunc(ctx, queue.Receive)
//		return seq.MapConcurrent(ctx, messages, 8, handle)
//	})
//
// build is called once a loop, in the goroutine that ranges over the Scope, which is that of
// a concurrent stage where one stands behind it. Its context ends, with [context.Canceled],
// before the stages that build returned see that the consumer has left, however it left,
// and when one of them panics. The consumer is whatever ranges over the Scope: put
// a stage that ends by itself, such as [Take], around it and not inside.
// Lanes of a [Branch], [Broadcast] or [Fork] whose callbacks wait for their context
// need a Scope around the whole.
//
// After a graceful stop ([WithStop]) a consumer that leaves does not cut calls of fn that
// the stages inside have in flight: the context ends when they have returned.
//
// Ends: with the stream that build returns, at a final error, or when ctx ends.
// Owns: no goroutine.
// Reads ahead: nothing of its own.
// Reuse: always; build is called anew.
func Scope[T any](ctx context.Context, build func(context.Context) iter.Seq2[T, error]) iter.Seq2[T, error] {
	checkContext("Scope", ctx)
	checkFunc("Scope", "build", build == nil)
	return func(yield func(T, error) bool) {
		var none T
		if err := ContextError(ctx); err != nil {
			yield(none, err)
			return
		}
		inner, end := enterScope(ctx)
		defer end.cancel()
		in := build(inner)
		checkStream("Scope", in)

		ended := false // nothing may be yielded any more
		in(func(v T, err error) bool {
			// Where a panic inside has ended the scope, what comes is only the echo of that
			// end. The panic itself is on its way.
			if ended || end.failed.Load() {
				return false
			}
			// Deferred here, not above: when the body panics, the stages inside wait for
			// their source while this frame's caller unwinds, so the source must know first.
			ended = true
			graceful := false
			defer func() {
				switch {
				case graceful:
					end.leave()
				case ended:
					end.cancel()
				}
			}()
			if err := ContextError(ctx); err != nil {
				yield(none, err)
				return false
			}
			ended = !yield(v, err) || err != nil && !IsItemError(err)
			graceful = ended && Stopped(ctx) != nil
			return !ended
		})
		if ended {
			return
		}
		err := ContextError(ctx)
		if err == nil && end.failed.Load() {
			err = ContextError(inner) // somebody has recovered from the panic
		}
		if err != nil {
			yield(none, err)
		}
	}
}

// A scopeEnd is how what is inside a Scope ends the Scope's context.
type scopeEnd struct {
	cancel context.CancelFunc
	failed atomic.Bool // a panic or Goexit inside has ended it
	outer  *scopeEnd   // of the Scope around it, or nil

	calls atomic.Int64 // in flight inside, of stages that can be stopped gracefully
	left  atomic.Bool  // it ends with the last of them
}

// scopeKey is the key of the innermost *scopeEnd in a context.
type scopeKey struct{}

func scopeOf(ctx context.Context) *scopeEnd {
	end, _ := ctx.Value(scopeKey{}).(*scopeEnd)
	return end
}

func enterScope(ctx context.Context) (context.Context, *scopeEnd) {
	end := &scopeEnd{outer: scopeOf(ctx)}
	ctx, end.cancel = context.WithCancel(context.WithValue(ctx, scopeKey{}, end))
	return ctx, end
}

// fail ends the scope and all around it, for a panic or Goexit inside. Whoever it passes
// through has to wait for goroutines that only know a Scope's context before the panic
// can go on to that Scope, and these may know any of the Scopes.
func (end *scopeEnd) fail() {
	for ; end != nil; end = end.outer {
		end.failed.Store(true)
		func() {
			defer func() { _ = recover() }() // of a method of a foreign ctx: the first panic counts
			end.cancel()
		}()
	}
}

// leave ends the scope when no call is in flight inside. No other may begin by then.
func (end *scopeEnd) leave() {
	end.left.Store(true)
	if end.calls.Load() == 0 {
		end.cancel()
	}
}

// beginCall counts a call in the scope and all around it.
func (end *scopeEnd) beginCall() {
	for ; end != nil; end = end.outer {
		end.calls.Add(1)
	}
}

// endCall takes beginCall back. After a panic, which has ended the scopes, it is not called.
func (end *scopeEnd) endCall() {
	for ; end != nil; end = end.outer {
		if end.calls.Add(-1) == 0 && end.left.Load() {
			end.cancel()
		}
	}
}

// leaveScopes returns ctx for a callback, without the Scopes around the stage: a callback
// may recover from a panic in a loop of its own. Where it does not, the stage ends them.
func leaveScopes(ctx context.Context) context.Context {
	if scopeOf(ctx) == nil {
		return ctx
	}
	return context.WithValue(ctx, scopeKey{}, (*scopeEnd)(nil))
}
