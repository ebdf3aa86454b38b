package batch

import (
	"context"
	"fmt"
	"iter"
	"time"
)

// Limits say when [Batches] hands a batch over: at the first limit that is reached.
// A field that is zero sets no limit; at least one must.
type Limits[T any] struct {
	// Items is the number of items in a batch, at most.
	Items int
	// Weigh returns the weight of an item, such as its bytes, at least 0. It needs
	// Weight.
	Weigh func(T) int
	// Weight is what the items of a batch weigh together, at most. An item that does
	// not fit begins the next batch, and one that alone is heavier goes alone.
	Weight int
	// Last reports whether the batch is to be handed over with this item: one that
	// is urgent, or the end of a transaction.
	Last func(T) bool
	// Wait is how old the first item of a batch gets, at most.
	Wait time.Duration
	// Quiet is how long no new item has come when the batch is handed over. Under a
	// steady stream that is never: Wait bounds it in time.
	Quiet time.Duration
}

// Batches hands over batches of items, each as soon as one of the limits is reached.
// [Window] is Batches with Items and Wait, [Debounce] with Items and Quiet, and all
// that is said there holds: no batch is empty; an item error passes at once and does
// not cut a batch; at the end of in, at its final error, at the end of ctx and at what a
// graceful stop left undone what is collected is handed over first; and while the loop's body runs nothing can be.
//
// Meanwhile the source goes on until the batch is full by number or weight, or closed
// by Last, and then stops. Where neither Items nor Weight is set it also stops with the
// first item that comes when Wait or Quiet is over, which begins the next batch. So a
// batch holds no more than comes in Wait; if that is not set either, nothing bounds it
// but Quiet and Last.
//
// Each batch is a slice of its own, which belongs to the consumer; it is one
// allocation where batches stay alike in size.
//
// Weigh and Last are called once for each item, before it is added, in the goroutine in
// which in runs. Batches panics if no limit is set or one is negative, if only one of
// Weigh and Weight is set, or if in is nil. The loop panics if Weigh returns less than 0.
//
// Ends: with in, at a final error of in, or when ctx ends, at once even while in blocks.
// Owns: one goroutine, in which in runs, and a timer; both have ended when the loop has.
// Reads ahead: at most one batch, and one item more unless Items is the limit, or one item error.
// Reuse: as often as in.
func Batches[T any](ctx context.Context, in iter.Seq2[T, error], l Limits[T]) iter.Seq2[[]T, error] {
	checkContext("Batches", ctx)
	checkStream("Batches", in)
	checkAtLeast("Batches", "Items", l.Items, 0)
	checkNotNegative("Batches", "Wait", l.Wait)
	checkNotNegative("Batches", "Quiet", l.Quiet)
	switch {
	case l.Weigh != nil:
		checkAtLeast("Batches", "Weight beside Weigh", l.Weight, 1)
	case l.Weight != 0:
		panic(fmt.Sprintf("batch.Batches: Weigh must not be nil where Weight is set, to %d", l.Weight))
	case l.Items == 0 && l.Last == nil && l.Wait == 0 && l.Quiet == 0:
		panic("batch.Batches: one of Items, Weight, Last, Wait and Quiet must be set, got none")
	}
	return collect(ctx, in, l, nil)
}
