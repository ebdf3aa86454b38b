package batch

import (
	"context"
	"iter"
	"slices"
)

// A Group is what belongs to one key: one item of each stream.
type Group[K comparable, T any] struct {
	Key   K
	Items []T   // in the order of the streams
	From  []int // the number of the stream that each item is of
}

// Join reads several streams at once and puts together what has the same key: a
// [Group] with one item of each stream. Groups come out as they get complete: in
// the order in which their last items come in, whatever that is between streams.
//
// A key may come more than once. Each stream's first item for a key goes to the
// key's first group, its second item to the second one, and so on: the duplicates
// of a stream that is ahead wait for the others.
//
// MaxPending is divided among the streams: each may have MaxPending/len(ins) items
// in pending groups, at least 1, and is not pulled while it has. So a stream that is
// ahead waits for the others, however late they are, and costs neither memory nor
// groups. Only when every stream that has not ended is held up in this way, because
// their keys come in a very different order, or not in all of them, the group with
// the oldest item of these streams has to go, so that they can go on. Which one that
// is does not depend on how fast the streams are: as long as TTL plays no part, and
// no stream ends with an error, the same streams always make the same groups. No group
// has to go where each key stands within d places of where the other streams have
// it, and MaxPending is at least (d+1)*len(ins).
//
// Nothing is dropped in silence: a group that is incomplete comes out as an
// [*seq.ItemError] that Is [ErrIncomplete] and whose item, which [seq.FailedItem]
// returns, is the Group with what came: when it is older than TTL, when it has to go
// as above, and at the end of the streams or at a final error of one, which follows;
// the oldest first. An item that comes after its group has gone begins a new one.
// Only at the end of ctx what is held is dropped; the error then says how many groups
// were pending.
//
// While the loop's body runs nothing can come out; the age of a group is looked
// at when the body comes back. Item errors of the streams pass at once.
//
// The memory is bounded: a pending group takes its key twice, room for an item and
// 32 bytes for each stream, and about 130 bytes more.
//
// Join panics if a field of cfg is negative, there is no stream or one is nil, or
// key is nil. key runs in the goroutine of the loop.
//
// Ends: with the last of the streams, at a final error of one, or when ctx ends.
// Owns: one goroutine a stream and a timer; all have ended when the loop has.
// Reads ahead: of each stream at most MaxPending/len(ins) items, at least 1, and 16 item errors.
// Reuse: as often as every stream.
func Join[T any, K comparable](ctx context.Context, cfg JoinConfig, key func(T) K, ins ...iter.Seq2[T, error]) iter.Seq2[Group[K, T], error] {
	checkContext("Join", ctx)
	checkFunc("Join", "key", key == nil)
	if len(ins) == 0 {
		panic("batch.Join: there must be at least 1 stream, got 0")
	}
	for _, in := range ins {
		checkStream("Join", in)
	}
	whole := func(g *group[K, T]) Group[K, T] { return g.Group }
	partial := func(g *group[K, T]) any { return g.Group }
	return join(ctx, checkJoin("Join", cfg), key, whole, partial, slices.Clone(ins))
}

// A Pair is what belongs to one key in two streams.
type Pair[K comparable, A, B any] struct {
	Key   K
	Left  A
	Right B
}

// Join2 is [Join] for two streams of different types, with all that is said there.
// The item of an incomplete pair's error is a Group[K, any]: its one item is an A
// where From is 0, for the left stream, or a B where From is 1.
//
// Ends: with the last of the streams, at a final error of one, or when ctx ends.
// Owns: one goroutine a stream and a timer; all have ended when the loop has.
// Reads ahead: of each stream at most MaxPending/2 items, at least 1, and 16 item errors.
// Reuse: as often as both streams.
func Join2[K comparable, A, B any](ctx context.Context, cfg JoinConfig, left iter.Seq2[A, error], right iter.Seq2[B, error],
	leftKey func(A) K, rightKey func(B) K) iter.Seq2[Pair[K, A, B], error] {
	checkContext("Join2", ctx)
	checkStream("Join2", left)
	checkStream("Join2", right)
	checkFunc("Join2", "leftKey", leftKey == nil)
	checkFunc("Join2", "rightKey", rightKey == nil)
	key := func(s side[A, B]) K {
		if s.isRight {
			return rightKey(s.right)
		}
		return leftKey(s.left)
	}
	whole := func(g *group[K, side[A, B]]) Pair[K, A, B] {
		return Pair[K, A, B]{Key: g.Key, Left: g.Items[0].left, Right: g.Items[1].right}
	}
	partial := func(g *group[K, side[A, B]]) any {
		item := any(g.Items[0].left)
		if g.Items[0].isRight {
			item = g.Items[0].right
		}
		return Group[K, any]{Key: g.Key, Items: []any{item}, From: g.From}
	}
	return join(ctx, checkJoin("Join2", cfg), key, whole, partial, []iter.Seq2[side[A, B], error]{
		convert(left, func(v A) side[A, B] { return side[A, B]{left: v} }),
		convert(right, func(v B) side[A, B] { return side[A, B]{right: v, isRight: true} }),
	})
}

// A side is an item of the left or the right stream.
type side[A, B any] struct {
	left    A
	right   B
	isRight bool
}

// convert passes each item through fn, which cannot fail.
func convert[T, U any](in iter.Seq2[T, error], fn func(T) U) iter.Seq2[U, error] {
	return func(yield func(U, error) bool) {
		for v, err := range in {
			if !yield(fn(v), err) {
				return
			}
		}
	}
}

// join is Join on a valid cfg. whole makes what is yielded for a complete group, and
// partial the item of an incomplete group's error.
func join[K comparable, T, U any](ctx context.Context, cfg JoinConfig, key func(T) K, whole func(*group[K, T]) U,
	partial func(*group[K, T]) any, ins []iter.Seq2[T, error]) iter.Seq2[U, error] {
	complete := func(g *group[K, T]) bool { return len(g.Items) == len(ins) }
	return func(yield func(U, error) bool) {
		match(matcher[K, T, U]{
			ctx: ctx, cfg: cfg, key: key, complete: complete, whole: whole, partial: partial, yield: yield,
			share: max(1, cfg.MaxPending/len(ins)),
		}, ins)
	}
}
