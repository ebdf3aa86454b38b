package seq

import (
	"context"
	"sync/atomic"
)

// An unordered is one loop over MapUnordered: an ordered in which a result gets its
// position when it is ready. The items wait in a queue until then; an item error of the
// source is a result that is ready at once. Results come out in that order, so one that
// is ready is overtaken by none, and an error of the source only by those that are
// ready before it, which are fewer than the window.
//
// Rejected: positions in the order of the items, of which the consumer leaves out those
// that are late, to come back to them. It spares the worker two atomic operations, 6 ns
// an item, but what is passed over stays in the way of the source, which has to go around
// it, and the errors of the source need a way of their own.
type unordered[T, U any] struct {
	ordered[T, U]
	jobs   queue[T]
	_      cacheLine
	placed atomic.Uint64 // results that have a position
	_      cacheLine
}

func (u *unordered[T, U]) begin(ctx context.Context, n, window int, fn func(context.Context, T) (U, error)) {
	u.jobs.init(&u.pool, window)
	u.ordered.begin(ctx, n, window, fn, u.work, u.jobs.some, u.buryNext)
	u.shelves = true
}

// push takes a pair from the source.
func (u *unordered[T, U]) push(v T, err error) bool {
	if !u.admit(err) {
		return false
	}
	u.spend()
	if err != nil {
		u.placeOfSource(err)
	} else {
		u.jobs.hand(v)
		u.nudge()
	}
	return u.wait()
}

// work is a worker.
func (u *unordered[T, U]) work() {
	t := *u.jobs.ring.table(0)
	var item T
	claim := func() (ok bool) {
		item, ok = u.jobs.take(&t)
		return ok
	}
	asks := u.halt != nil
	for ok := u.next(true, claim); ok && u.group.ctx.Err() == nil; {
		if asks {
			if why := u.mayCall(); why != nil {
				u.place(notBegun(item, why))
				return
			}
		}
		v, err := u.fn(u.group.ctx, item)
		if asks {
			u.called()
		}
		pos := u.placed.Add(1) - 1 // this and the next lines are place, without a call
		c := u.ring.table(pos).at(pos)
		if err == nil {
			c.v.v = v
		} else {
			c.v.err = failure(item, err)
		}
		c.become(pos, done)
		if u.want.Load() == pos+1 {
			u.consumer.wake()
		}
		if next := u.jobs.taken.Load(); t.is(next, fed) && u.jobs.taken.CompareAndSwap(next, next+1) {
			item = t.free(next) // as claim does, but without a call
		} else {
			ok = u.next(false, claim)
		}
	}
}

// buryNext refuses the next item, if there is one.
func (u *unordered[T, U]) buryNext() bool {
	t := *u.jobs.ring.table(0)
	item, ok := u.jobs.take(&t)
	if ok {
		u.place(notBegun(item, u.halt()))
	}
	return ok
}

// placeOfSource is place for the source. Until the error is in its place results may come behind
// it, so after a graceful stop the consumer waits for it as it does for a call.
func (u *unordered[T, U]) placeOfSource(err error) {
	if u.halt == nil {
		u.place(err)
		return
	}
	u.live.Add(1)
	u.place(err)
	u.gone()
}

// place gives an error that no call has returned the next position.
func (u *unordered[T, U]) place(err error) {
	pos := u.placed.Add(1) - 1
	c := u.ring.table(pos).at(pos)
	c.v.err = err
	u.publish(c, pos)
}
