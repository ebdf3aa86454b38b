package batch

import (
	"context"
	"errors"
	"iter"
	"time"

	"example.com/pipeline/seq"
)

// Lookup looks something up for each item, many items at a time, and merges what
// it found into them. It gathers up to n items as [Window] does, asks fetch for
// their keys and yields merge(item, value) for each, in order.
//
// fetch gets each key of a batch once, in the order of the items, and may keep and
// change the slice. It runs in a goroutine of its own under a ctx that ends with
// ctx or with the loop, one call at a time; for several at once use a [Loader] in
// [seq.MapConcurrent].
//
// An error of fetch becomes an [*seq.ItemError] of each item of the batch, and the
// map is not looked at. Where it is or wraps [KeyErrors] that is so only for the items
// whose keys it names, each with its own error, and the others go on. An item whose key is not in the map becomes an ItemError
// that Is [ErrNotFound]; an error of merge becomes one, too. Where merge returns
// [seq.ErrSkip] the item is dropped, and where fetch does all items of the batch are.
//
// Item errors of in keep their position: one that comes behind items waits with
// them, and counts towards n. At the end of in and at its final error the items
// that were gathered come first. At the end of ctx its error is yielded at once,
// even while fetch or in block, and items still held are dropped.
//
// After a graceful stop ([seq.WithStop]) no fetch begins: the items of a batch that has not
// been asked for come out as ItemErrors that are [seq.ErrStopped].
//
// key and merge run in the goroutine of the loop. Lookup panics if n is less than
// 1, maxWait is not positive, or in, key, fetch or merge is nil.
//
// Ends: with in, at a final error of in, or when ctx ends.
// Owns: one goroutine for in, one for fetch, and a timer; all have ended when the loop has.
// Reads ahead: at most 2n items: a batch that is being looked up or yielded, and one that is being gathered.
// Reuse: as often as in.
func Lookup[T any, K comparable, V, U any](ctx context.Context, in iter.Seq2[T, error], n int, maxWait time.Duration,
	key func(T) K, fetch func(context.Context, []K) (map[K]V, error), merge func(T, V) (U, error)) iter.Seq2[U, error] {
	checkContext("Lookup", ctx)
	checkStream("Lookup", in)
	checkAtLeast("Lookup", "n", n, 1)
	checkPositive("Lookup", "maxWait", maxWait)
	checkFunc("Lookup", "key", key == nil)
	checkFunc("Lookup", "fetch", fetch == nil)
	checkFunc("Lookup", "merge", merge == nil)
	return func(yield func(U, error) bool) {
		l := &lookup[T, K, V, U]{ctx: ctx, key: key, fetch: fetch, merge: merge, yield: yield}
		var cancel context.CancelFunc
		l.fetchCtx, cancel = context.WithCancel(seq.WithStop(ctx, nil)) // a fetch that has begun finishes
		defer func() {
			cancel()
			if l.fetching != nil {
				l.fetching.Join()
			}
		}()
		for held, err := range collect(ctx, pairs(in), Limits[pair[T]]{Items: n, Wait: maxWait}, failedPair[T]) {
			if err != nil {
				held = []pair[T]{{err: err}} // it had nothing before it, or it is final
			}
			if !l.handle(held) {
				return
			}
		}
	}
}

// A pair is an item, or the item error in its place.
type pair[T any] struct {
	item T
	err  error
}

func failedPair[T any](err error) pair[T] { return pair[T]{err: err} }

// pairs makes a pair of each item of in. Errors stay what they are.
func pairs[T any](in iter.Seq2[T, error]) iter.Seq2[pair[T], error] {
	return func(yield func(pair[T], error) bool) {
		for v, err := range in {
			if !yield(pair[T]{item: v}, err) {
				return
			}
		}
	}
}

// A lookup is one loop over a Lookup.
type lookup[T any, K comparable, V, U any] struct {
	ctx, fetchCtx context.Context
	key           func(T) K
	fetch         func(context.Context, []K) (map[K]V, error)
	merge         func(T, V) (U, error)
	yield         func(U, error) bool
	fetching      *seq.Task // the fetch that was left at the end of ctx
}

// handle fetches for one batch and yields what comes of it. It reports whether
// the loop goes on.
func (l *lookup[T, K, V, U]) handle(held []pair[T]) bool {
	if why := seq.Stopped(l.ctx); why != nil {
		return l.refuse(held, why)
	}
	keys := make([]K, len(held))
	var wanted []K
	for i, p := range held {
		if p.err == nil {
			keys[i] = l.key(p.item)
			wanted = append(wanted, keys[i])
		}
	}
	var got answer[K, V]
	if len(wanted) > 0 {
		var ok bool
		if got, ok = l.ask(distinct(wanted)); !ok {
			return false
		}
	}
	for i, p := range held {
		out, err := l.outcome(p, keys[i], got)
		if err != nil && p.err == nil && errors.Is(err, seq.ErrSkip) {
			continue
		}
		if l.cut() || !l.yield(out, err) {
			return false
		}
	}
	return true
}

// refuse yields the error of each item, for which no fetch begins. It reports whether the
// loop goes on.
func (l *lookup[T, K, V, U]) refuse(held []pair[T], why error) bool {
	var none U
	for _, p := range held {
		err := p.err
		if err == nil {
			err = &seq.ItemError{Item: p.item, Err: why}
		}
		if l.cut() || !l.yield(none, err) {
			return false
		}
	}
	return true
}

// An answer is what fetch returned for a batch.
type answer[K comparable, V any] struct {
	found  map[K]V
	failed KeyErrors[K]
	err    error // of the keys in neither; nil means that they do not exist
}

// ask calls fetch and waits for it or the end of ctx. It reports whether the loop
// goes on.
func (l *lookup[T, K, V, U]) ask(keys []K) (got answer[K, V], ok bool) {
	var returned answer[K, V] // which a fetch that is left still writes to
	task := seq.Go(l.ctx, func() { returned.found, returned.err = l.fetch(l.fetchCtx, keys) })
	select {
	case <-task.Done():
	case <-l.ctx.Done():
	}
	if l.ctx.Err() != nil {
		l.fetching = task
		l.cut()
		return got, false
	}
	task.Join()
	got = returned
	if got.err != nil {
		if got.failed, got.err, ok = splitKeyErrors[K](got.err); !ok {
			got.found = nil
		}
	}
	return got, true
}

// outcome returns what is yielded for p.
func (l *lookup[T, K, V, U]) outcome(p pair[T], key K, got answer[K, V]) (out U, err error) {
	if p.err != nil {
		return out, p.err
	}
	if err = got.failed[key]; err == nil {
		if v, ok := got.found[key]; ok {
			out, err = l.merge(p.item, v)
		} else if err = got.err; err == nil {
			err = &notFoundError{key}
		}
	}
	if err != nil {
		var zero U
		return zero, &seq.ItemError{Item: p.item, Err: err}
	}
	return out, nil
}

// cut yields ctx's error if ctx has ended, and reports whether it has.
func (l *lookup[T, K, V, U]) cut() bool {
	if l.ctx.Err() == nil {
		return false
	}
	var zero U
	l.yield(zero, seq.ContextError(l.ctx))
	return true
}
