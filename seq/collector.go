package seq

import (
	"context"
	"iter"
	"runtime"
	"sync/atomic"
)

// A collector is one loop that yields what comes from several lanes.
//
// The consumer serves the lanes that have something one after the other: they stand in
// a line. A lane that has nothing leaves the line and rests, until its producer calls;
// then it joins the line at its end. So an idle lane costs nothing, and a lane with
// something is served after each other one has been served once.
type collector[T any] struct {
	group
	size  int          // what each lane holds
	calls callers[T]   // lanes that have called and do not stand in the line yet
	open  atomic.Int64 // lanes that the consumer has not seen the end of
	final error        // to be yielded when all lanes have finished; set before the last one has
	shelf *shelf       // errors that are to come when no lane has anything; or nil

	lanes lanes[T] // all that were ever open

	_    cacheLine
	cur  *lane[T] // the lane that is being served, which stands in no line; may be nil
	run  uint64   // pairs taken from it in a row
	line line[T]
	_    cacheLine
}

func (c *collector[T]) init(ctx context.Context, size int) {
	c.group.init(ctx, ctx)
	c.size = size
}

// add opens a lane. It is called before the loop begins or while another lane is open,
// so that the consumer does not take what there is for all.
func (c *collector[T]) add() *lane[T] {
	l := new(lane[T])
	l.init(c.size, &c.consumer)
	l.calls = &c.calls
	l.resting.Store(true)
	c.open.Add(1)
	c.lanes.add(l)
	return l
}

// fill starts a goroutine that feeds a lane from in.
func (c *collector[T]) fill(in iter.Seq2[T, error]) {
	l := c.add()
	c.start(func() {
		in(l.push)
		l.finish()
	})
}

// collect yields what the lanes carry until all have finished, or until one of them
// carries a final error, or the loop is over.
func (c *collector[T]) collect(yield func(T, error) bool) {
	for {
		l := c.cur
		if l != nil && c.run < l.limit && l.tail.is(l.got, done) && !c.over() { // as next does, but without a call
			c.run++
		} else if l = c.next(); l == nil {
			errs := c.shelf.take()
			if c.over() || len(errs) == 0 {
				break
			}
			if !emitAll(&c.group, yield, errs) {
				return
			}
			continue
		}
		p := l.take()
		if p.err != nil && c.over() {
			break // the error may be that of an interrupted callback
		}
		if !emit(&c.group, yield, p.v, p.err) || p.err != nil && !IsItemError(p.err) {
			return
		}
	}
	var final error
	if !c.over() { // so all lanes have finished: only then is final ours to read
		final = c.final
	}
	conclude(&c.group, yield, final)
}

// next waits for a lane that has something. It is nil when all have finished, when
// there is something to take from the shelf, or when the loop is over. It stays with one
// lane for as long as there is something, since that is where the cache is warm, but not
// for more than a lane holds: then it is the turn of the others.
func (c *collector[T]) next() *lane[T] {
	for round := 0; !c.over(); round++ {
		if l := c.turn(round >= spins); l != nil {
			return l
		}
		switch {
		case c.open.Load() == 0:
			return nil
		case c.shelf.ready():
			return c.turn(false) // once more: what the last stream has given comes first
		case round < spins:
			runtime.Gosched()
		case c.line.n == 0: // otherwise one has called while it was sent to rest
			c.consumer.sleep(func() bool { return c.calls.some() || c.failed.Load() || c.shelf.ready() }, c.outer.Done())
			round = 0
		}
	}
	return nil
}

// patience is how many lanes stay in the line although they have nothing: to look at so
// few costs less than to be called.
const patience = 4

// turn goes once through the line and returns the next lane that has something. If
// rest is true, all those that have nothing rest from then on.
func (c *collector[T]) turn(rest bool) *lane[T] {
	if l := c.cur; l != nil {
		if c.run < l.limit && l.ready() {
			c.run++
			return l
		}
		c.cur = nil
		c.calls.join(&c.line) // they have been waiting
		c.line.push(l)
	} else {
		c.calls.join(&c.line)
	}
	for range c.line.n {
		l := c.line.pop()
		l.settle()
		switch {
		case l.ready():
			c.cur, c.run = l, 1
			return l
		case l.finished():
			c.open.Add(-1)
		case (rest || c.line.n >= patience) && l.rest():
		default:
			c.line.push(l)
		}
	}
	return nil
}

// stop lets go of all producers.
func (c *collector[T]) stop() {
	defer c.lanes.close()
	c.cancel()
}

// A line is a queue of lanes. It belongs to the consumer.
type line[T any] struct {
	first, last *lane[T]
	n           int
}

func (q *line[T]) push(l *lane[T]) {
	l.next = nil
	if q.n == 0 {
		q.first = l
	} else {
		q.last.next = l
	}
	q.last = l
	q.n++
}

func (q *line[T]) pop() *lane[T] {
	l := q.first
	q.first = l.next
	q.n--
	return l
}

// Callers are lanes that have something, the last one first. All producers add to them,
// each lane once, and the consumer takes all at a time.
type callers[T any] struct {
	last atomic.Pointer[lane[T]]
}

func (c *callers[T]) add(l *lane[T]) {
	for {
		l.next = c.last.Load()
		if c.last.CompareAndSwap(l.next, l) {
			return
		}
	}
}

func (c *callers[T]) some() bool { return c.last.Load() != nil }

// join moves all callers to the line, the first one first.
func (c *callers[T]) join(q *line[T]) {
	if !c.some() {
		return
	}
	var first *lane[T]
	for l := c.last.Swap(nil); l != nil; {
		next := l.next
		l.next = first
		first, l = l, next
	}
	for l := first; l != nil; {
		next := l.next
		q.push(l)
		l = next
	}
}
