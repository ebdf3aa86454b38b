package batch

import (
	"context"
	"iter"
)

// Gather holds the items of each key until complete says that they are all there,
// and then hands them over, in the order in which they came. It is for one object
// that waits for the results of several pipelines: send it into all of them with
// [example.com/pipeline/seq.Broadcast], and gather what comes out by the object's key.
// [Join] does it for streams of which each gives one item for a key.
//
// complete is asked with each item that comes, with all items of its key so far; it
// must neither change the slice nor keep it. An item that comes after its group has
// gone begins a new one.
//
// At most MaxPending groups wait: when one more begins, the oldest has to go. What
// is incomplete comes out as an [*example.com/pipeline/seq.ItemError] that Is
// [ErrIncomplete] and whose item is the slice with what came: when it is older than
// TTL, counted from its first item, when it has to go, and at the end of in or at its
// final error, which follows; the oldest first. Only at the end of ctx what is held is
// dropped; the error then says how many groups were pending.
//
// While the loop's body runs nothing can come out; the age of a group is looked
// at when the body comes back. Item errors of in pass at once.
//
// MaxPending bounds the groups and not their items: a key for which complete never
// says true keeps all of them, up to TTL if that is set. A pending group takes its
// key twice, its items and about 180 bytes more.
//
// Each group is a slice of its own, which belongs to the consumer. Gather panics if a
// field of cfg is negative, or in, key or complete is nil. key and complete run in the
// goroutine of the loop.
//
// Ends: with in, at a final error of in, or when ctx ends.
// Owns: one goroutine, in which in runs, and a timer; both have ended when the loop has.
// Reads ahead: the items of MaxPending groups and 16 pairs.
// Reuse: as often as in.
func Gather[T any, K comparable](ctx context.Context, in iter.Seq2[T, error], cfg JoinConfig,
	key func(T) K, complete func(group []T) bool) iter.Seq2[[]T, error] {
	checkContext("Gather", ctx)
	checkStream("Gather", in)
	checkFunc("Gather", "key", key == nil)
	checkFunc("Gather", "complete", complete == nil)
	cfg = checkJoin("Gather", cfg)
	return func(yield func([]T, error) bool) {
		match(matcher[K, T, []T]{
			ctx: ctx, cfg: cfg, key: key, yield: yield,
			complete: func(g *group[K, T]) bool { return complete(g.Items) },
			whole:    func(g *group[K, T]) []T { return g.Items },
			partial:  func(g *group[K, T]) any { return g.Items },
		}, []iter.Seq2[T, error]{in})
	}
}
