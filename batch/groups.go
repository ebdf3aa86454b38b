package batch

import (
	"slices"
	"sort"
	"time"
)

// groups holds the groups that wait, by key and by age.
//
// There are two ages. By the clock a group is as old as its first item; that is for
// TTL. What is evicted must not depend on the clock, since streams are read at any
// speed: so each stream counts its own items, and an item is as old as its number.
// Where one stream has given many more than another, because their keys come in
// different order, new items of the slow one would pass for old: therefore synchronize
// sets all counters to the largest one when every stream is held up, which is a
// point that does not depend on speed either.
type groups[K comparable, T any] struct {
	// byKey holds each key's groups, oldest first. A stream's items go to them in
	// this order, so those that have an item of it are always the first ones; a
	// group that is complete, or the oldest of all, is the first of its key.
	byKey  map[K][]*group[K, T]
	lines  []line[K, T]
	gather bool // a key has one group, for all its items; the first of them puts it into the line
	count  int  // of the groups
	timed  bool // whether ages by the clock are asked for, which costs a reading of it
	start  time.Time
}

// A group is a Group that waits.
type group[K comparable, T any] struct {
	Group[K, T]
	since time.Duration // when it began, since start
	gone  bool
}

// A line is the groups that have an item of one stream, in the order of its items.
// Groups leave it from anywhere: they stay in the list, empty, until they are at its
// head or it would have to grow.
type line[K comparable, T any] struct {
	members []member[K, T]
	first   int   // members before this one are empty
	held    int   // members that have not left
	count   int64 // the number of the newest item
}

type member[K comparable, T any] struct {
	group  *group[K, T]
	number int64
}

func newGroups[K comparable, T any](streams int, gather, timed bool) *groups[K, T] {
	return &groups[K, T]{
		byKey: make(map[K][]*group[K, T]), lines: make([]line[K, T], streams),
		gather: gather, timed: timed, start: time.Now(),
	}
}

// add puts an item into its group, a new one if need be, and returns that: the first
// one of key that has none of its stream, or of a Gather the only one.
func (gs *groups[K, T]) add(key K, stream int, item T) *group[K, T] {
	queue := gs.byKey[key]
	i := 0
	if !gs.gather {
		i = sort.Search(len(queue), func(i int) bool {
			_, has := slices.BinarySearch(queue[i].From, stream)
			return !has
		})
	}
	var g *group[K, T]
	if i < len(queue) {
		g = queue[i]
	} else {
		g = gs.begin(key)
		if key == key { // a NaN is not: nothing could find its group again, or delete it
			gs.byKey[key] = append(queue, g)
		}
	}
	if gs.gather {
		if g.Items = append(g.Items, item); len(g.Items) > 1 {
			return g
		}
		g.From = append(g.From, stream)
	} else {
		at, _ := slices.BinarySearch(g.From, stream)
		g.Items = slices.Insert(g.Items, at, item)
		g.From = slices.Insert(g.From, at, stream)
	}
	gs.lines[stream].push(g)
	return g
}

// begin makes a group of key.
func (gs *groups[K, T]) begin(key K) *group[K, T] {
	g := &group[K, T]{Group: Group[K, T]{Key: key, Items: make([]T, 0, len(gs.lines)), From: make([]int, 0, len(gs.lines))}}
	if gs.timed {
		g.since = time.Since(gs.start)
	}
	gs.count++
	return g
}

// remove removes g, which is the first group of its key.
func (gs *groups[K, T]) remove(g *group[K, T]) {
	g.gone = true
	gs.count--
	for _, stream := range g.From {
		gs.lines[stream].held--
	}
	switch queue := gs.byKey[g.Key]; {
	case len(queue) == 1:
		delete(gs.byKey, g.Key)
	case len(queue) > 1:
		queue[0] = nil
		gs.byKey[g.Key] = queue[1:]
	}
}

// oldest returns the group with the oldest item of a stream that is not left out, or
// nil; of several streams' items with the same number the first stream's counts.
func (gs *groups[K, T]) oldest(leftOut func(stream int) bool) (oldest *group[K, T]) {
	var number int64
	for i := range gs.lines {
		if leftOut(i) {
			continue
		}
		if e := gs.lines[i].head(); e.group != nil && (oldest == nil || e.number < number) {
			oldest, number = e.group, e.number
		}
	}
	return oldest
}

// oldestByClock returns the group that began first, or nil. It is the head of one
// of the lines: what is before it there began before it.
func (gs *groups[K, T]) oldestByClock() (oldest *group[K, T]) {
	for i := range gs.lines {
		if g := gs.lines[i].head().group; g != nil && (oldest == nil || g.since < oldest.since) {
			oldest = g
		}
	}
	return oldest
}

// age returns how long ago g began.
func (gs *groups[K, T]) age(g *group[K, T]) time.Duration { return time.Since(gs.start) - g.since }

// synchronize makes what comes from now on newer than all that is there.
func (gs *groups[K, T]) synchronize() {
	var newest int64
	for i := range gs.lines {
		newest = max(newest, gs.lines[i].count)
	}
	for i := range gs.lines {
		gs.lines[i].count = newest
	}
}

// push adds g, to which the stream has just given an item.
func (l *line[K, T]) push(g *group[K, T]) {
	if len(l.members) == cap(l.members) {
		l.tidy()
	}
	l.count++
	l.held++
	l.members = append(l.members, member[K, T]{g, l.count})
}

// tidy makes room for as many members as there are, in the memory of those that have
// left if that is enough and not far too much.
func (l *line[K, T]) tidy() {
	old := l.members
	l.members = old[:0]
	if 2*l.held >= cap(old) || 8*l.held+64 < cap(old) {
		l.members = make([]member[K, T], 0, 2*l.held+8)
	}
	for _, e := range old[l.first:] {
		if !e.group.gone {
			l.members = append(l.members, e)
		}
	}
	clear(old[min(len(l.members), len(old)):])
	l.first = 0
}

// head returns the oldest member that has not left, or none.
func (l *line[K, T]) head() (none member[K, T]) {
	for ; l.first < len(l.members); l.first++ {
		if e := l.members[l.first]; !e.group.gone {
			return e
		}
		l.members[l.first] = none
	}
	return none
}
