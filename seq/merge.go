package seq

import (
	"context"
	"iter"
	"slices"
)

// mergeAhead is how many pairs Merge holds of each stream, at most.
const mergeAhead = 16

// Merge yields the pairs of several streams as they come. Each stream keeps its own
// order; an idle one holds nobody up.
//
// Ends: when all of ins have ended, at a final error of one of them, or when ctx ends.
// Owns: a goroutine for each stream; all have exited when the loop has.
// Reads ahead: at most 16 pairs of each stream.
// Reuse: as often as all of ins.
func Merge[T any](ctx context.Context, ins ...iter.Seq2[T, error]) iter.Seq2[T, error] {
	checkContext("Merge", ctx)
	checkStreams("Merge", ins)
	return merged(ctx, mergeAhead, slices.Clone(ins))
}

// Buffer lets the source run up to n pairs ahead of the consumer, in a goroutine of
// its own: while the loop's body works, the next items are already on their way.
//
// Ends: with in, at a final error of in, or when ctx ends.
// Owns: one goroutine; it has exited when the loop has.
// Reads ahead: at most n pairs.
// Reuse: as often as in.
func Buffer[T any](ctx context.Context, in iter.Seq2[T, error], n int) iter.Seq2[T, error] {
	checkContext("Buffer", ctx)
	checkStream("Buffer", in)
	checkAtLeast("Buffer", "n", n, 1)
	return merged(ctx, min(n, atOnce), []iter.Seq2[T, error]{in})
}

func merged[T any](ctx context.Context, ahead int, ins []iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		c := new(collector[T])
		c.init(ctx, ahead)
		defer c.join()
		defer c.stop()
		if !c.over() {
			for _, in := range ins {
				c.fill(in)
			}
		}
		c.collect(yield)
	}
}
