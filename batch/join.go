package batch

import (
	"context"
	"errors"
	"iter"
	"time"

	"example.com/pipeline/seq"
)

// ErrIncomplete says that a group came out before each stream had given an item
// for its key. [Join] and [Join2] wrap it in an [*seq.ItemError] that holds what came.
var ErrIncomplete = errors.New("batch: incomplete group")

// JoinConfig says how long and how much a join waits. The zero value works.
type JoinConfig struct {
	// TTL is how long a group may wait for its last item, counted from its first;
	// 0 means until the end of the streams.
	TTL time.Duration
	// Sweep is the shortest time between two searches for groups older than TTL,
	// and so how late one may come out; 0 means that each comes out when it is
	// TTL old.
	Sweep time.Duration
	// MaxPending is the number of groups that may wait at once; 0 means 65,536.
	// When one more begins, the oldest comes out as it is.
	MaxPending int
}

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
// No stream waits for another one: where one is far ahead its items are held, as
// many as MaxPending allows. Nothing is dropped in silence: a group that is
// incomplete comes out as an [*seq.ItemError] that Is [ErrIncomplete] and whose
// item, which [seq.FailedItem] returns, is the Group with what came, when it is
// older than TTL, when it is the oldest and MaxPending is passed, and at the end
// of the streams or at a final error of one, which follows; always oldest first.
// An item that comes after its group has gone begins a new one. Only at the end
// of ctx what is held is dropped; the error then says how many groups were pending.
//
// While the loop's body runs nothing can come out; the age of a group is looked
// at when the body comes back. Item errors of the streams pass at once.
//
// The memory is bounded: a pending group takes its key twice, room for an item and
// 8 bytes for each stream, and about 130 bytes more; 172 bytes were measured for two
// streams of integers. Each stream is read ahead by 16 items at most.
//
// Join panics if a field of cfg is negative, there is no stream or one is nil, or
// key is nil. key runs in the goroutine of the loop.
//
// Ends: with the last of the streams, at a final error of one, or when ctx ends.
// Owns: one goroutine a stream, one that merges them, and a timer; all have ended when the loop has.
// Reads ahead: MaxPending groups, and at most 16 items a stream.
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
	partial := func(g Group[K, T]) any { return g }
	return join(ctx, checkJoin("Join", cfg), key, partial, ins)
}

// checkJoin panics where cfg is not valid, and returns it with its defaults.
func checkJoin(stage string, cfg JoinConfig) JoinConfig {
	checkNotNegative(stage, "TTL", cfg.TTL)
	checkNotNegative(stage, "Sweep", cfg.Sweep)
	checkAtLeast(stage, "MaxPending", cfg.MaxPending, 0)
	if cfg.MaxPending == 0 {
		cfg.MaxPending = defaultCapacity
	}
	return cfg
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
// Owns: one goroutine a stream, one that merges them, and a timer; all have ended when the loop has.
// Reads ahead: MaxPending pairs, and at most 16 items a stream.
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
	partial := func(g Group[K, side[A, B]]) any {
		items := make([]any, len(g.Items))
		for i, s := range g.Items {
			if s.isRight {
				items[i] = s.right
			} else {
				items[i] = s.left
			}
		}
		return Group[K, any]{Key: g.Key, Items: items, From: g.From}
	}
	ins := []iter.Seq2[side[A, B], error]{
		convert(left, func(v A) side[A, B] { return side[A, B]{left: v} }),
		convert(right, func(v B) side[A, B] { return side[A, B]{right: v, isRight: true} }),
	}
	groups := join(ctx, checkJoin("Join2", cfg), key, partial, ins)
	return convert(groups, func(g Group[K, side[A, B]]) Pair[K, A, B] {
		if len(g.Items) < 2 { // beside an error
			return Pair[K, A, B]{}
		}
		return Pair[K, A, B]{Key: g.Key, Left: g.Items[0].left, Right: g.Items[1].right}
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

// Why a group comes out incomplete, and what to do about it.
const (
	tooOld  = "waited for longer than TTL; a larger TTL waits longer for slow streams"
	tooMany = "the oldest of more than MaxPending; a larger MaxPending holds more for streams that are behind"
	noMore  = "the streams have ended"
)

// errSweep is why the context of one wait ends: the oldest group is due.
var errSweep = errors.New("batch: time to sweep")

// join is Join on a valid cfg. partial makes the item of an incomplete group's error.
func join[T any, K comparable](ctx context.Context, cfg JoinConfig, key func(T) K, partial func(Group[K, T]) any, ins []iter.Seq2[T, error]) iter.Seq2[Group[K, T], error] {
	return func(yield func(Group[K, T], error) bool) {
		tagged := make([]iter.Seq2[from[T], error], len(ins))
		for i, in := range ins {
			tagged[i] = convert(in, func(v T) from[T] { return from[T]{v, i} })
		}
		j := &joiner[K, T]{
			ctx: ctx, cfg: cfg, partial: partial, yield: yield,
			source: seq.Pull(seq.Merge(ctx, tagged...), 0),
			groups: newGroups[K, T](len(ins), cfg.TTL > 0),
		}
		defer j.stop()
		for j.step(key) {
		}
	}
}

// from is an item and the number of its stream.
type from[T any] struct {
	item   T
	stream int
}

// A joiner is one loop over a Join.
type joiner[K comparable, T any] struct {
	ctx     context.Context
	cfg     JoinConfig
	partial func(Group[K, T]) any
	yield   func(Group[K, T], error) bool
	source  *seq.Puller[from[T]]
	groups  *groups[K, T]
	alarm   context.Context // ends, because of errSweep, when the next sweep is due; nil where none is planned
	cancel  context.CancelFunc
}

// stop ends the source. While a panic or Goexit passes through, the Puller keeps to
// itself how the source ended.
func (j *joiner[K, T]) stop() {
	if j.alarm != nil {
		j.cancel()
	}
	j.source.Stop()
}

// step waits for one item, error or sweep and yields what comes of it. It reports
// whether the loop goes on.
func (j *joiner[K, T]) step(key func(T) K) bool {
	v, err, ok := j.source.Next(j.wait())
	switch {
	case j.ctx.Err() != nil:
		return j.cut()
	case !ok:
		j.release(noMore, func(*group[K, T]) bool { return true })
		return false
	case err == nil:
		if !j.add(key(v.item), v) {
			return false
		}
	case j.alarm != nil && errors.Is(err, errSweep):
	case seq.IsItemError(err):
		if !j.give(Group[K, T]{}, err) {
			return false
		}
	default:
		if j.release(noMore, func(*group[K, T]) bool { return true }) {
			j.give(Group[K, T]{}, err)
		}
		return false
	}
	return j.sweep()
}

// add puts an item into its group and yields what comes of that.
func (j *joiner[K, T]) add(key K, v from[T]) bool {
	g := j.groups.add(key, v)
	if len(g.Items) == j.groups.streams {
		j.groups.remove(g)
		return j.give(g.Group, nil)
	}
	return j.release(tooMany, func(*group[K, T]) bool { return j.groups.pending > j.cfg.MaxPending })
}

// wait returns the context for the next wait: ctx, or one that ends when it is
// time to sweep. One alarm serves for many waits. It was set for a group that was
// the oldest one then: the alarm may be early, never late.
func (j *joiner[K, T]) wait() context.Context {
	if j.alarm == nil && j.cfg.TTL > 0 && j.groups.pending > 0 {
		left := j.cfg.TTL - j.groups.age(j.groups.oldest)
		j.alarm, j.cancel = context.WithTimeoutCause(j.ctx, max(left, j.cfg.Sweep), errSweep)
	}
	if j.alarm == nil {
		return j.ctx
	}
	return j.alarm
}

// sweep yields the groups that are older than TTL, if the alarm has gone off. It
// asks the alarm itself: where items are always ready no wait ever fails.
func (j *joiner[K, T]) sweep() bool {
	if j.alarm == nil || j.alarm.Err() == nil {
		return true
	}
	j.cancel()
	j.alarm = nil
	return j.release(tooOld, func(g *group[K, T]) bool { return j.groups.age(g) >= j.cfg.TTL })
}

// release yields the oldest group as incomplete, as long as it is due.
func (j *joiner[K, T]) release(why string, due func(*group[K, T]) bool) bool {
	for g := j.groups.oldest; g != nil && due(g); g = j.groups.oldest {
		if j.ctx.Err() != nil {
			return j.cut()
		}
		j.groups.remove(g)
		err := &incompleteError{g.Key, len(g.Items), j.groups.streams, why}
		if !j.give(Group[K, T]{}, &seq.ItemError{Item: j.partial(g.Group), Err: err}) {
			return false
		}
	}
	return true
}

// cut yields the error of ctx, which has ended, and ends the loop.
func (j *joiner[K, T]) cut() bool {
	j.give(Group[K, T]{}, &pendingError{j.groups.pending, seq.ContextError(j.ctx)})
	return false
}

// give yields.
func (j *joiner[K, T]) give(g Group[K, T], err error) bool {
	return j.yield(g, err)
}
