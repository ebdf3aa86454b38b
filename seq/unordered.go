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
// that are late, to come back to them. It spares the worker an atomic operation, but
// what is passed over stays in the way of the source, which has to go around it.
type unordered[T, U any] struct {
	ordered[T, U]
	jobs   queue[T]
	_      cacheLine
	placed atomic.Uint64 // results that have a position
	_      cacheLine
}

func (u *unordered[T, U]) begin(ctx context.Context, n, window int, fn func(context.Context, T) (U, error)) {
	u.jobs.init(&u.pool, window)
	u.ordered.begin(ctx, n, window, fn, u.work, u.jobs.some)
}

// push takes a pair from the source.
func (u *unordered[T, U]) push(v T, err error) bool {
	if !u.admit(err) {
		return false
	}
	u.spend()
	if err != nil {
		u.place(pair[U]{err: err})
	} else {
		u.jobs.hand(v)
	}
	return u.wait()
}

// work is a worker.
func (u *unordered[T, U]) work() {
	take := u.jobs.taker(true)
	for item, ok := take(); ok && u.group.ctx.Err() == nil; item, ok = take() {
		v, err := u.fn(u.group.ctx, item)
		if err == nil {
			u.place(pair[U]{v: v})
		} else {
			u.place(pair[U]{err: failure(item, err)})
		}
	}
}

// place gives a result the next position.
func (u *unordered[T, U]) place(r pair[U]) {
	pos := u.placed.Add(1) - 1
	c := u.ring.table(pos).at(pos)
	c.v.pair = r
	u.publish(c, pos)
}
