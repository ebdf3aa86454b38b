package batch

import (
	"context"
	"iter"
	"time"
)

// Window hands over batches of up to n items: a batch as soon as it is full, or
// when its first item is maxWait old. [Batches] can also weigh items, and more.
//
// The clock of a batch starts when its first item comes from in; an idle source
// costs nothing, and no batch is ever empty. An item error passes at once, ahead
// of the items that are being collected, and does not cut their batch. At the
// end of in, at its final error, at the end of ctx and at an item error that Is
// [example.com/pipeline/seq.ErrStopped] the batch that is being collected is handed over first, then the error,
// if there is one: behind an item that a graceful stop left undone, what is done could not
// be counted as such any more. A panic of the source passes on at once and drops it.
//
// While the loop's body runs nothing can be handed over, so maxWait bounds the
// age of an item only while the loop waits for the next batch. Meanwhile the
// source goes on until the batch is full and then stops. An item error that comes
// meanwhile stops the source, too, until the body comes back for it.
//
// With n = 3 and maxWait = 10 ms, time in ms:
//
//	idle source      0     10    20    30    40    50
//	items            a b                     c     c comes at 40
//	batches                [a b]                   [c]
//
//	slow consumer    0     10    20    30    40
//	items            a b c    d        e           c comes at 8, d at 15, e at 30
//	the body runs        [a b c]------------>      from 8 (full) to 40
//	next batch                               [d e] at 40: d is 25 ms old, at once
//
//	both             0     10    20    30    40
//	items            a      b                      b comes at 12
//	the body runs          [a]-->                  from 10 (a is 10 ms old) to 20
//	next batch                    [b]              at 22: b is 10 ms old
//
// Each batch is a slice of its own, which belongs to the consumer; it is one
// allocation where batches stay alike in size. Window panics if n is less than 1, maxWait is not
// positive or in is nil.
//
// Ends: with in, at a final error of in, or when ctx ends, at once even while in blocks.
// Owns: one goroutine, in which in runs, and a timer; both have ended when the loop has.
// Reads ahead: at most n items, or up to n-1 items and one item error.
// Reuse: as often as in.
func Window[T any](ctx context.Context, in iter.Seq2[T, error], n int, maxWait time.Duration) iter.Seq2[[]T, error] {
	checkContext("Window", ctx)
	checkStream("Window", in)
	checkAtLeast("Window", "n", n, 1)
	checkPositive("Window", "maxWait", maxWait)
	return collect(ctx, in, Limits[T]{Items: n, Wait: maxWait}, nil)
}

// Debounce hands over batches of up to n items: a batch as soon as it is full, or
// when no new item has come for quiet. It waits a burst out: a folder of files
// that change, a search box that is typed in.
//
// Under a steady stream whose items come faster than quiet, only n bounds how
// long an item is held; [Batches] with both Quiet and Wait bounds it in time.
// Otherwise it is as Window: an item error passes at once, and neither cuts the batch
// nor counts as an item that breaks the silence; the batch is handed over before a
// final error and before the error of ctx.
//
// While the loop's body runs nothing can be handed over. What counts when it
// comes back is the silence up to then, wherever it began.
//
// With n = 4 and quiet = 10 ms, time in ms:
//
//	idle source      0     10    20    30    40
//	items            a   b  c                      b comes at 6, c at 12
//	batches                       [a b c]          at 22: c came 10 ms ago
//
//	slow consumer    0     10    20    30    40
//	items            a        b                    b comes at 15
//	the body runs          [a]---------->          from 10 to 35
//	next batch                            [b]      at 35: quiet since 15
//
//	both             0     10    20    30    40
//	items            a        b       c            b comes at 15, c at 28
//	the body runs          [a]-------->            from 10 to 32
//	next batch                              [b c]  at 38: c came 10 ms ago
//
// Each batch is a slice of its own, which belongs to the consumer. Debounce
// panics if n is less than 1, quiet is not positive or in is nil.
//
// Ends: with in, at a final error of in, or when ctx ends, at once even while in blocks.
// Owns: one goroutine, in which in runs, and a timer; both have ended when the loop has.
// Reads ahead: at most n items, or up to n-1 items and one item error.
// Reuse: as often as in.
func Debounce[T any](ctx context.Context, in iter.Seq2[T, error], n int, quiet time.Duration) iter.Seq2[[]T, error] {
	checkContext("Debounce", ctx)
	checkStream("Debounce", in)
	checkAtLeast("Debounce", "n", n, 1)
	checkPositive("Debounce", "quiet", quiet)
	return collect(ctx, in, Limits[T]{Items: n, Quiet: quiet}, nil)
}
