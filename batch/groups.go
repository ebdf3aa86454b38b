package batch

import (
	"fmt"
	"slices"
	"sort"
	"time"
)

// groups holds the pending groups of a join, by key and by age.
type groups[K comparable, T any] struct {
	streams int
	pending int
	// byKey holds each key's groups, oldest first. A stream's items go to them in
	// this order, so those that have an item of it are always the first ones; a
	// group that is complete, or the oldest of all, is the first of its key.
	byKey          map[K][]*group[K, T]
	oldest, newest *group[K, T]
	timed          bool // whether ages are asked for, which costs a reading of the clock
	start          time.Time
}

// A group is a Group that waits, in the list of all by age.
type group[K comparable, T any] struct {
	Group[K, T]
	since        time.Duration // when it began, since start
	older, newer *group[K, T]
}

func newGroups[K comparable, T any](streams int, timed bool) *groups[K, T] {
	return &groups[K, T]{streams: streams, byKey: make(map[K][]*group[K, T]), timed: timed, start: time.Now()}
}

// add puts an item into the first group of key that has none of its stream, a new
// one if need be, and returns that group.
func (gs *groups[K, T]) add(key K, v from[T]) *group[K, T] {
	queue := gs.byKey[key]
	i := sort.Search(len(queue), func(i int) bool {
		_, has := slices.BinarySearch(queue[i].From, v.stream)
		return !has
	})
	var g *group[K, T]
	if i < len(queue) {
		g = queue[i]
	} else {
		g = gs.begin(key)
		if key == key { // a NaN is not: nothing could find its group again, or delete it
			gs.byKey[key] = append(queue, g)
		}
	}
	at, _ := slices.BinarySearch(g.From, v.stream)
	g.Items = slices.Insert(g.Items, at, v.item)
	g.From = slices.Insert(g.From, at, v.stream)
	return g
}

// begin makes a group of key, the newest of all.
func (gs *groups[K, T]) begin(key K) *group[K, T] {
	g := &group[K, T]{older: gs.newest}
	g.Group = Group[K, T]{Key: key, Items: make([]T, 0, gs.streams), From: make([]int, 0, gs.streams)}
	if gs.timed {
		g.since = time.Since(gs.start)
	}
	if gs.newest == nil {
		gs.oldest = g
	} else {
		gs.newest.newer = g
	}
	gs.newest = g
	gs.pending++
	return g
}

// remove removes g, which is the first group of its key.
func (gs *groups[K, T]) remove(g *group[K, T]) {
	if g.older == nil {
		gs.oldest = g.newer
	} else {
		g.older.newer = g.newer
	}
	if g.newer == nil {
		gs.newest = g.older
	} else {
		g.newer.older = g.older
	}
	gs.pending--
	switch queue := gs.byKey[g.Key]; {
	case len(queue) == 1:
		delete(gs.byKey, g.Key)
	case len(queue) > 1:
		queue[0] = nil
		gs.byKey[g.Key] = queue[1:]
	}
}

// age returns how long ago g began.
func (gs *groups[K, T]) age(g *group[K, T]) time.Duration { return time.Since(gs.start) - g.since }

// An incompleteError is ErrIncomplete for one group.
type incompleteError struct {
	key       any
	got, want int
	why       string
}

func (e *incompleteError) Error() string {
	return fmt.Sprintf("%v: key %v has items of %d of %d streams: %s", ErrIncomplete, e.key, e.got, e.want, e.why)
}

func (e *incompleteError) Unwrap() error { return ErrIncomplete }

// A pendingError is the end of ctx with what a join dropped then.
type pendingError struct {
	pending int
	err     error
}

func (e *pendingError) Error() string {
	return fmt.Sprintf("batch: join cut short with %d groups pending: %v", e.pending, e.err)
}

func (e *pendingError) Unwrap() error { return e.err }
