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
// the stages that build returned see that the consumer has left, however it left.
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
		inner, cancel := context.WithCancel(ctx)
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
			if end := ContextError(ctx); end != nil {
				yield(none, end)
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
