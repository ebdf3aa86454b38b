package seq

import (
	"context"
	"iter"
	"runtime"
	"sync/atomic"
)

// A lane carries the pairs of one producer to one consumer, in order. It holds at
// most its size: the producer is let go only when there is room for another pair,
// so none waits in its hand.
type lane[T any] struct {
	credits
	ring ring[pair[T]]
	to   *place        // where the consumer sleeps
	end  atomic.Uint64 // how many pairs there are, plus one; 0 while the producer goes on
	_    cacheLine
	got  uint64 // pairs taken; the consumer's own
	_    cacheLine
}

func (l *lane[T]) init(size int, to *place) {
	l.credits = makeCredits(size)
	l.ring = makeRing[pair[T]](size)
	l.to = to
}

// push hands over a pair and returns when there is room for another. It is false
// when the consumer has left.
func (l *lane[T]) push(v T, err error) bool {
	if l.shut.Load() {
		return false
	}
	l.put(v, err)
	return l.wait()
}

// put hands over a pair, for which there is room.
func (l *lane[T]) put(v T, err error) {
	at := l.spent
	l.spend()
	c := l.ring.at(at)
	c.v = pair[T]{v, err}
	c.become(at, done)
	l.to.wake()
}

// send is push for a producer with several lanes: it waits for room before, since it
// does not know which lane is next. A consumer that has left gets nothing.
func (l *lane[T]) send(v T, err error) {
	if l.wait() {
		l.put(v, err)
	}
}

// finish says that no pair comes any more.
func (l *lane[T]) finish() {
	l.end.Store(l.spent + 1)
	l.to.wake()
}

func (l *lane[T]) ready() bool    { return l.ring.is(l.got, done) }
func (l *lane[T]) finished() bool { return l.end.Load() == l.got+1 }

// take takes the next pair, which is ready.
func (l *lane[T]) take() pair[T] {
	p := l.ring.at(l.got).take()
	l.got++
	l.owe()
	return p
}

// next waits for the next pair. It is false when there is none, or when the lane has
// been closed.
func (l *lane[T]) next() (p pair[T], ok bool) {
	for round := 0; !l.shut.Load(); round++ {
		if l.ready() {
			return l.take(), true
		}
		l.settle()
		switch {
		case l.finished():
			return p, false
		case round < spins:
			runtime.Gosched()
		default:
			l.to.sleep(func() bool { return l.ready() || l.finished() || l.shut.Load() }, nil)
		}
	}
	return p, false
}

// A collector is one loop that yields what comes from several lanes.
type collector[T any] struct {
	crew
	lanes []lane[T]
	cur   int    // the lane that is being read
	run   uint64 // pairs read from it in a row
	final error  // to be yielded when all lanes have finished; set before the last one has
}

func (c *collector[T]) init(ctx context.Context, lanes, size int) {
	c.crew.init(ctx)
	c.lanes = make([]lane[T], lanes)
	for i := range c.lanes {
		c.lanes[i].init(size, &c.consumer)
	}
}

// fill starts a goroutine that feeds lane i from in.
func (c *collector[T]) fill(i int, in iter.Seq2[T, error]) {
	l := &c.lanes[i]
	c.start(func() {
		in(l.push)
		l.finish()
	})
}

// collect yields what the lanes carry until all have finished, or until one of them
// carries a final error, or the loop is over.
func (c *collector[T]) collect(yield func(T, error) bool) {
	for len(c.lanes) > 0 {
		l := &c.lanes[c.cur]
		if l.ready() && c.run < l.limit && !c.over() { // as next does, but without a call
			c.run++
		} else if l = c.next(); l == nil {
			break
		}
		p := l.take()
		if p.err != nil && c.over() {
			break // the error may be that of an interrupted callback
		}
		if !emit(&c.crew, yield, p.v, p.err) || p.err != nil && !IsItemError(p.err) {
			return
		}
	}
	var final error
	if !c.over() { // so all lanes have finished: only then is final ours to read
		final = c.final
	}
	c.conclude(yield, final)
}

// conclude yields the last error, if there is one: ctx's before final.
func (c *collector[T]) conclude(yield func(T, error) bool, final error) {
	if c.failed.Load() {
		return // join passes it on
	}
	if err := ContextError(c.outer); err != nil {
		final = err
	}
	if final != nil {
		var none T
		emit(&c.crew, yield, none, final)
	}
}

// next waits for a lane that has something. It is nil when all have finished, or
// when the loop is over. It stays with one lane for as long as there is something,
// since that is where the cache is warm, but not for more than a lane holds: then
// it is the turn of the others.
func (c *collector[T]) next() *lane[T] {
	for round := 0; !c.over(); round++ {
		finished := 0
		for range c.lanes {
			l := &c.lanes[c.cur]
			if l.ready() && c.run < l.limit {
				c.run++
				return l
			}
			l.settle()
			if l.finished() {
				finished++
			}
			c.cur++
			if c.cur == len(c.lanes) {
				c.cur = 0
			}
			c.run = 0
		}
		switch {
		case finished == len(c.lanes):
			return nil
		case round < spins:
			runtime.Gosched()
		default:
			c.consumer.sleep(func() bool { return c.stirs() || c.failed.Load() }, c.outer.Done())
			round = 0
		}
	}
	return nil
}

// stirs reports whether there is something to yield, or nothing to wait for.
func (c *collector[T]) stirs() bool {
	all := true
	for i := range c.lanes {
		if c.lanes[i].ready() {
			return true
		}
		all = all && c.lanes[i].finished()
	}
	return all
}

// stop lets go of all producers.
func (c *collector[T]) stop() {
	c.cancel()
	for i := range c.lanes {
		c.lanes[i].close()
	}
}
