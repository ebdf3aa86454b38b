package seq

import (
	"errors"
	"iter"
	"slices"
)

// Concat yields the streams one after the other.
//
// Ends: with the last of ins, or at a final error of any.
// Owns: nothing.
// Reads ahead: nothing; a stream is started when the one before has ended.
// Reuse: as often as all of ins.
func Concat[T any](ins ...iter.Seq2[T, error]) iter.Seq2[T, error] {
	checkStreams("Concat", ins)
	ins = slices.Clone(ins)
	return func(yield func(T, error) bool) {
		ended := false
		each := func(v T, err error) bool {
			if ended {
				return false
			}
			if err != nil {
				ended = !pass(yield, err)
			} else {
				ended = !yield(v, nil)
			}
			return !ended
		}
		for _, in := range ins {
			in(each)
			if ended {
				return
			}
		}
	}
}

// MergeSorted merges streams that are sorted by compare into one that is. It is
// stable: of equal items the one of the earlier stream comes first. compare
// returns a negative number where a comes before b, 0 where they are equal, and
// otherwise a positive one, like [cmp.Compare].
//
// An item error is yielded when its stream comes to it, that is as soon as the
// item before it in that stream has been yielded; at the start those of all streams
// come first. A stream that is not sorted does no other harm than that the result
// is not sorted either.
//
// Each stream is run through [iter.Pull2], on a coroutine of its own: one that
// is blocked blocks the loop. Use [Merge] where order does not matter.
//
// Ends: with the last of ins, or at a final error of any.
// Owns: one coroutine a stream; all have ended when the loop has.
// Reads ahead: one item of each stream.
// Reuse: as often as all of ins.
func MergeSorted[T any](compare func(a, b T) int, ins ...iter.Seq2[T, error]) iter.Seq2[T, error] {
	checkFunc("MergeSorted", "compare", compare == nil)
	checkStreams("MergeSorted", ins)
	ins = slices.Clone(ins)
	return func(yield func(T, error) bool) {
		finished := false
		m := merger[T]{compare: compare, heads: make([]head[T], 0, len(ins))}
		for i, in := range ins {
			next, stop := pulled(in, &finished)
			defer stop() // each by itself: a panic in one must not skip the others
			m.heads = append(m.heads, head[T]{stream: i, next: next})
		}
		m.run(yield)
		finished = true
	}
}

// pulled is [iter.Pull2] for a loop that sets finished when it comes to its end by
// itself. Where it has not when stop is called, it is being left by a panic or Goexit.
//
// Then the stream's yield panics, too, instead of returning false: that tells the
// stages of the stream what is going on, and concurrent ones end the Scope around
// them before they wait for their source. The panic ends here, together with one of the
// stream's own clean-up; the loop's own is out of its reach.
func pulled[T any](in iter.Seq2[T, error], finished *bool) (next func() (T, error, bool), stop func()) {
	leaving := false
	next, stopPull := iter.Pull2(func(yield func(T, error) bool) {
		in(func(v T, err error) bool {
			goOn := yield(v, err)
			if leaving {
				panic(errLeft)
			}
			return goOn
		})
	})
	return next, func() {
		if !*finished {
			leaving = true
			defer func() { _ = recover() }()
		}
		stopPull()
	}
}

// errLeft is what a pulled stream panics with where its loop is left by a panic or Goexit.
var errLeft = errors.New("seq: the loop has been left by a panic or Goexit")

// A head is the item that a stream has come to.
type head[T any] struct {
	item   T
	stream int // its number, which decides between equal items
	next   func() (T, error, bool)
}

// advance pulls the stream's next item, passing on the item errors before it.
// goOn is false where the merge must end: at a final error, or when the consumer
// has left.
func (h *head[T]) advance(yield func(T, error) bool) (found, goOn bool) {
	for {
		v, err, ok := h.next()
		switch {
		case !ok:
			return false, true
		case err == nil:
			h.item = v
			return true, true
		case !pass(yield, err):
			return false, false
		}
	}
}

// A merger is a binary heap of heads, the least on top.
type merger[T any] struct {
	compare func(a, b T) int
	heads   []head[T]
}

func (m *merger[T]) run(yield func(T, error) bool) {
	started := m.heads[:0]
	for _, h := range m.heads {
		found, goOn := h.advance(yield)
		if !goOn {
			return
		}
		if found {
			started = append(started, h)
		}
	}
	m.heads = started
	for i := len(m.heads)/2 - 1; i >= 0; i-- {
		m.sink(i)
	}
	for len(m.heads) > 0 {
		top := &m.heads[0]
		if !yield(top.item, nil) {
			return
		}
		found, goOn := top.advance(yield)
		if !goOn {
			return
		}
		if !found {
			last := len(m.heads) - 1
			m.heads[0] = m.heads[last]
			m.heads[last] = head[T]{} // let go of its item
			m.heads = m.heads[:last]
		}
		m.sink(0)
	}
}

func (m *merger[T]) less(i, j int) bool {
	a, b := &m.heads[i], &m.heads[j]
	c := m.compare(a.item, b.item)
	return c < 0 || c == 0 && a.stream < b.stream
}

// sink moves head i down until neither of its children is less.
func (m *merger[T]) sink(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m.heads); child++ {
			if m.less(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		m.heads[i], m.heads[least] = m.heads[least], m.heads[i]
		i = least
	}
}

// A Pair is the Item of the [*ItemError] that [Zip] makes of an error of join.
type Pair[A, B any] struct {
	A A
	B B
}

// Zip yields join of the first items of a and b, then of the second ones, and so
// on. An error of join becomes an [*ItemError] whose Item is a [Pair] of the two,
// to be had by FailedItem[Pair[A, B]]; [ErrSkip] drops the two.
//
// It pulls an item of a, then one of b. Item errors of either pass when they are
// pulled and take no item's place.
//
// b is run through [iter.Pull2], on a coroutine of its own: if it is blocked, it
// blocks the loop.
//
// Ends: with the shorter of a and b, or at a final error of either. Where b is the
// shorter one, one more item of a has been pulled and is dropped.
// Owns: one coroutine, which has ended when the loop has.
// Reads ahead: one item, that of a.
// Reuse: as often as both a and b.
func Zip[A, B, C any](a iter.Seq2[A, error], b iter.Seq2[B, error], join func(A, B) (C, error)) iter.Seq2[C, error] {
	checkStream("Zip", a)
	checkStream("Zip", b)
	checkFunc("Zip", "join", join == nil)
	return func(yield func(C, error) bool) {
		finished := false
		nextB, stop := pulled(b, &finished)
		defer stop()
		ended := false
		a(func(va A, err error) bool {
			if ended {
				return false
			}
			if err != nil {
				ended = !pass(yield, err)
				return !ended
			}
			vb, err, ok := nextB()
			for ok && err != nil && pass(yield, err) {
				vb, err, ok = nextB()
			}
			if !ok || err != nil {
				ended = true
				return false
			}
			vc, err := join(va, vb)
			if err != nil {
				ended = !fail(yield, Pair[A, B]{va, vb}, err)
			} else {
				ended = !yield(vc, nil)
			}
			return !ended
		})
		finished = true
	}
}
