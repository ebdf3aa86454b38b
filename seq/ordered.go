package seq

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"sync/atomic"
)

// An ordered is one loop over MapConcurrent: a source, up to n workers and the
// consumer. A pair that is pulled gets the next cell of a ring; there its item waits
// for a worker, and there its result waits for the consumer.
//
// The order of events for an item: the source spends a credit, writes the cell and
// makes it fed; a worker moves taken past it, which makes the cell its own, calls fn
// and makes the cell done; the consumer, which comes to the cells in order, takes the
// result and gives the credit back, so that the source may come to the cell again.
type ordered[T, U any] struct {
	group
	pool
	backlog[task[T, U]] // of the pairs pulled and not yet yielded
	fn                  func(context.Context, T) (U, error)

	_     cacheLine
	final error // the final error of in; the source's own until total is set
	_     cacheLine
	want  atomic.Uint64 // the position that the consumer sleeps for, plus one
	total atomic.Uint64 // how many pairs were pulled, plus one; 0 while in goes on
	_     cacheLine
	pos   uint64            // the position that the consumer comes to next; its own, like tail
	tail  table[task[T, U]] // where the consumer has read last
	_     cacheLine

	crew
}

// A task is an item and then its result.
type task[T, U any] struct {
	item T
	pair[U]
}

// begin prepares the loop. work is what a worker does, and any reports whether there is
// something for it to do. bury is what the consumer does in its place after a graceful
// stop.
func (o *ordered[T, U]) begin(ctx context.Context, n, window int,
	fn func(context.Context, T) (U, error), work func(), any, bury func() bool) {
	o.group.init(ctx, leaveStop(leaveScopes(ctx)))
	o.pool.init(n, func() { o.hire(work) }, any)
	o.bury = bury
	o.backlog.init(window)
	o.tail = o.head
	o.backlog.yield = o.watch
	o.fn = fn
}

// run runs the loop. push takes the pairs of the source.
func (o *ordered[T, U]) run(in iter.Seq2[T, error], push func(T, error) bool, yield func(U, error) bool) {
	defer o.join()
	defer o.stop()
	if !o.over() {
		o.start(func() {
			in(push)
			o.total.Store(o.spent + 1)
			o.consumer.wake()
			o.pool.close()
		})
	}
	o.consume(yield)
}

// admit reports whether there may be another pair, and keeps a final error.
func (o *ordered[T, U]) admit(err error) bool {
	if o.final != nil || o.shut.Load() {
		return false
	}
	if err != nil && !IsItemError(err) {
		o.final = err
		return false
	}
	return true
}

// push takes a pair from the source. It returns when there is room for another, so
// that in is not resumed before.
func (o *ordered[T, U]) push(v T, err error) bool {
	if !o.admit(err) {
		return false
	}
	pos := o.spent
	o.spend()
	c := o.head.at(pos)
	if err != nil {
		c.v.err = err
		o.publish(c, pos)
	} else {
		c.v.item = v
		c.become(pos, fed)
		o.call()
		o.nudge()
	}
	return o.may() || o.waitForRoom()
}

// work is a worker.
func (o *ordered[T, U]) work() {
	var t table[task[T, U]]
	var pos uint64
	claim := func() (ok bool) {
		pos, ok = o.claim(&t)
		return ok
	}
	asks := o.halt != nil
	for ok := o.next(true, claim); ok && o.group.ctx.Err() == nil; {
		c := t.at(pos)
		if asks {
			if why := o.mayCall(); why != nil {
				o.refuse(c, pos, why)
				return
			}
		}
		v, err := o.fn(o.group.ctx, c.v.item)
		if asks {
			o.called()
		}
		if err == nil {
			c.v.v = v
		} else {
			c.v.err = failure(c.v.item, err)
		}
		c.become(pos, done) // this and the next lines are publish, without a call
		if o.want.Load() == pos+1 {
			o.consumer.wake()
		}
		if next := o.taken.Load(); t.is(next, fed) && o.taken.CompareAndSwap(next, next+1) {
			pos = next // as claim does, but without a call
		} else {
			ok = o.next(false, claim)
		}
	}
}

// refuse hands over an item that is not begun.
func (o *ordered[T, U]) refuse(c *cell[task[T, U]], pos uint64, why error) {
	c.v.err = notBegun(c.v.item, why)
	o.publish(c, pos)
}

// buryNext refuses the next item, if there is one.
func (o *ordered[T, U]) buryNext() bool {
	var t table[task[T, U]]
	pos, ok := o.claim(&t)
	if ok {
		o.refuse(t.at(pos), pos, o.halt())
	}
	return ok
}

// failure returns what the consumer gets where fn has returned an error.
func failure[T any](item T, err error) error {
	if errors.Is(err, ErrSkip) {
		return ErrSkip
	}
	return &ItemError{item, err}
}

// publish hands over the result in c, and wakes the consumer if it sleeps for that.
func (o *ordered[T, U]) publish(c *cell[task[T, U]], pos uint64) {
	c.become(pos, done)
	if o.want.Load() == pos+1 {
		o.consumer.wake()
	}
}

// consume yields the results.
func (o *ordered[T, U]) consume(yield func(U, error) bool) {
	for {
		// The first look is that of await, without a call.
		if !o.tail.is(o.pos, done) || o.over() {
			if !o.await() {
				break
			}
			if err := o.late; err != nil {
				o.late = nil
				o.owe()
				var none U
				if !emit(&o.group, yield, none, err) {
					return
				}
				continue
			}
		}
		r := o.tail.at(o.pos).take().pair
		if r.err != nil && o.over() { // the error may be that of an interrupted call
			break
		}
		o.pos++
		if r.err != nil && o.halt != nil {
			if o.defers(r.err) {
				continue
			}
			if o.over() {
				break
			}
		}
		o.owe()
		if r.err == ErrSkip {
			continue
		}
		if !emit(&o.group, yield, r.v, r.err) {
			return
		}
	}
	var final error
	if !o.over() { // so the source has ended: only then is final ours to read
		final = o.final
	}
	conclude(&o.group, yield, final)
}

// await waits for the next result, be it in its cell or late. It is false when none
// will come, or when the loop is over.
func (o *ordered[T, U]) await() bool {
	for round := 0; !o.over(); round++ {
		settled := o.halt != nil && o.isSettled() // before the look: no result comes after it
		switch {
		case o.arrived():
			return true
		case settled && o.clear():
			if o.late != nil {
				return true
			}
			round = -1
			continue
		case o.finished():
			return false
		}
		o.settle()
		if round < spins {
			runtime.Gosched()
		} else {
			o.sleep()
		}
	}
	return false
}

// arrived reports whether the next result is there.
func (o *ordered[T, U]) arrived() bool {
	o.tail = *o.ring.table(o.pos)
	return o.tail.is(o.pos, done)
}

func (o *ordered[T, U]) finished() bool {
	return o.total.Load() == o.pos+1 && len(o.shelf) == 0
}

func (o *ordered[T, U]) sleep() {
	o.want.Store(o.pos + 1)
	o.consumer.sleep(func() bool {
		return o.arrived() || o.finished() || o.failed.Load() || o.halt != nil && o.clears()
	}, o.outer.Done())
	o.want.Store(0)
}

// stop tells the source and the workers to end, even where a method of a foreign ctx
// panics.
func (o *ordered[T, U]) stop() {
	defer o.pool.close()
	defer o.backlog.close()
	o.letFinish()
	o.cancel()
}
