package control

import (
	"context"
	"iter"
)

// Gated lets a stream through while g is open. Put in front of everything else, it
// stops the whole pipeline: before each pull it waits until the gate is open, so a
// closed gate keeps the source standing still.
//
// Where the gate closes while the source is already at work on the next item, that
// item is held in hand until the gate opens again: it starts nothing during the
// pause. Errors are not held up.
//
// After [Gate.Stop] the stream ends without an error before the next pull, so that
// what is in flight downstream can finish. An item that is in hand by then is not
// lost: it is passed on, as the last one. A source that gives up because of the Stop, with
// an error that Is [ErrStopped], as one does that a [Retry] was sleeping in, ends as well.
// So this is how a job drains when it is asked to terminate; [Interruptible] does the
// asking, and sees to it that what has been pulled does not begin.
//
// The end of ctx comes before Stop: a drain that takes too long is cut with ctx's
// error. The Stop of a gate that is in ctx ([WithGate]) is as good as that of g.
//
// Do not put it into the streams of [seq.FlatMapConcurrent] or its like: one that ends at
// Stop looks as if it were complete. Put it around the whole.
//
// Ends: with in, at a final error of in, without an error after Stop, or when ctx ends: it looks at ctx and g while it waits and between items, but cannot interrupt a source that blocks ([Until] can).
// Owns: no goroutine; it runs in the consumer's.
// Reads ahead: nothing; it may wait with the one item in hand that the consumer asked for.
// Reuse: as often as in, until Stop; from then on it is empty.
func Gated[T any](ctx context.Context, in iter.Seq2[T, error], g *Gate) iter.Seq2[T, error] {
	needContext("Gated", ctx)
	needStream("Gated", in)
	need(g != nil, "Gated", "the gate must not be nil")
	return func(yield func(T, error) bool) {
		var none T
		stop := stopOf(ctx, g)
		// mayPull waits for the gate. It is false where the stream is to end. (ErrStopped
		// is compared, not searched for: it may be the cause of ctx's end.)
		mayPull := func() bool {
			err := g.Wait(ctx)
			if err != nil && err != ErrStopped {
				yield(none, err)
			}
			return err == nil && !stop.asked()
		}
		if !mayPull() {
			return
		}
		for v, err := range in {
			if err == nil {
				// Stop does not hold an item that is in hand, only the next pull.
				if end := g.Wait(ctx); end != nil && end != ErrStopped {
					yield(none, end)
					return
				}
			} else if stop.ends(err) {
				return
			}
			if !yield(v, err) || isFinal(err) || !mayPull() {
				return
			}
		}
	}
}
