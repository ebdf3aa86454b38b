package control

import (
	"context"
	"errors"
	"iter"

	"example.com/pipeline/seq"
)

// Until is a stream that ends at [Gate.Stop] although its source may be blocked, waiting
// for a message or a tick. build makes the source in a context that ends at Stop, with a
// cause that Is [ErrStopped], and with the loop. A source that looks at its context then
// ends, and so does the stream, without an error. So several of them can be merged, and the
// whole ends when all have:
//
//	events := seq.Merge(ctx,
//		control.Until(ctx, gate, func(ctx context.Context) iter.Seq2[event, error] {
//			return seq.FromFunc(ctx, queue.Receive)
//		}),
//		control.Until(ctx, gate, func(ctx context.Context) iter.Seq2[event, error] {
//			return seq.Map(seq.Ticks(ctx, time.Minute), tick)
//		}))
//
// What the source has handed over is passed on, also after Stop, and then the source is not
// pulled again. The error with which it reports the end of its context is the end of the
// stream: a final one that Is [context.Canceled] or ErrStopped. Any other passes as it is,
// and the end of ctx itself is an error as ever.
//
// What build returns is the source and nothing else. A stage in it that reads ahead or
// makes calls, such as [seq.Buffer] or [seq.MapConcurrent], would drop what it holds and cut
// its calls when the context ends; put it behind the stream of Until. build is called where
// the stream begins, which behind a Merge is another goroutine than that of the loop, and
// maybe later than its first item: it must not read what the loop's body changes.
//
// A source that does not look at its context is waited for. A pause of g does nothing to
// the stream: put [Gated] around it where it is to stand still, too. The Stop of a gate that
// is in ctx ([WithGate]) is as good as that of g. Until panics if ctx, g or build is nil.
//
// Ends: with the stream that build returns, at a final error, without an error after Stop, or when ctx ends.
// Owns: no goroutine; it runs in the consumer's.
// Reads ahead: nothing.
// Reuse: always, build is called anew; after Stop it is empty.
func Until[T any](ctx context.Context, g *Gate, build func(context.Context) iter.Seq2[T, error]) iter.Seq2[T, error] {
	needContext("Until", ctx)
	need(g != nil, "Until", "the gate must not be nil")
	need(build != nil, "Until", "build must not be nil")
	// The Scope ends the source where a panic passes a stage of it that waits for it.
	return seq.Scope(ctx, func(ctx context.Context) iter.Seq2[T, error] {
		return func(yield func(T, error) bool) {
			stop := stopOf(ctx, g)
			inner, cancel := context.WithCancelCause(ctx)
			defer cancel(context.Canceled)
			for _, g := range stop.gates {
				defer g.afterStop(func() { cancel(ErrStopped) })()
			}
			if stop.asked() {
				return
			}
			in := build(inner)
			need(in != nil, "Until", "build must not return nil")
			for v, err := range in {
				if stop.ends(err) || isFinal(err) && errors.Is(err, context.Canceled) && stop.cut() {
					return
				}
				if !yield(v, err) || isFinal(err) || stop.asked() {
					return
				}
			}
		}
	})
}
