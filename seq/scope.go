package seq

import (
	"context"
	"iter"
)

// Scope builds a stream inside a context that ends with the loop. A source that can
// block for long belongs into it, together with the concurrent stages after it:
// they wait for their source when the loop ends, and Scope makes sure that it ends.
//
//	orders := seq.Scope(ctx, func(ctx context.Context) iter.Seq2[Result, error] {
//		messages := seq.FromFunc(ctx, queue.Receive)
//		return seq.MapConcurrent(ctx, messages, 8, handle)
//	})
//
// build is called once a loop. Its context ends, with [context.Canceled], before
// the stages that build returned see that the consumer has left, however it left,
// and when one of their goroutines panics. The consumer is whatever ranges over the
// Scope: put a stage that ends by itself, such as [Take], around it and not inside.
// Lanes of a [Branch], [Broadcast] or [Fork] whose callbacks wait for their context
// need a Scope around the whole.
//
// Ends: with the stream that build returns, at a final error, or when ctx ends.
// Owns: no goroutine.
// Reads ahead: nothing of its own.
// Reuse: always; build is called anew.
func Scope[T any](ctx context.Context, build func(context.Context) iter.Seq2[T, error]) iter.Seq2[T, error] {
	checkFunc("Scope", "build", build == nil)
	return func(yield func(T, error) bool) {
		var none T
		if err := ContextError(ctx); err != nil {
			yield(none, err)
			return
		}
		end := new(scopeEnd)
		inner, cancel := context.WithCancel(context.WithValue(ctx, scopeKey{}, end))
		end.cancel = cancel
		defer cancel()
		in := build(inner)
		checkStream("Scope", in)

		over := false // nothing may be yielded any more
		in(func(v T, err error) bool {
			if over {
				return false
			}
			// Deferred here, not above: when the body panics, the stages inside wait for
			// their source while this frame's caller unwinds, so the source must know first.
			over = true
			defer func() {
				if over {
					cancel()
				}
			}()
			if err := ContextError(ctx); err != nil {
				yield(none, err)
				return false
			}
			over = !yield(v, err) || err != nil && !IsItemError(err)
			return !over
		})
		if !over {
			if err := ContextError(ctx); err != nil {
				yield(none, err)
			}
		}
	}
}

// A scopeEnd is how a crew inside a Scope ends its context; scopeKey is its key there.
type (
	scopeEnd struct{ cancel context.CancelFunc }
	scopeKey struct{}
)

// endScope ends the innermost Scope around ctx, if there is one. It is for a crew that
// a panic or Goexit passes through: it has to wait for goroutines that only know the
// Scope's context before it lets the panic go on to the Scope.
func endScope(ctx context.Context) {
	if end, ok := ctx.Value(scopeKey{}).(*scopeEnd); ok {
		end.cancel()
	}
}
