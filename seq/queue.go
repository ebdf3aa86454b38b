package seq

import (
	"runtime"
	"sync/atomic"
)

// A queue hands the jobs of one producer to the workers of a pool, each to one of
// them, in order. The producer sees to it that there are not too many.
type queue[J any] struct {
	pool  *pool
	most  int // jobs that there may be
	ring  ring[J]
	_     cacheLine
	head  table[J] // where the producer writes; its own, like put
	put   uint64   // jobs handed over
	_     cacheLine
	taken atomic.Uint64
	_     cacheLine
}

func (q *queue[J]) init(p *pool, most int) {
	q.pool = p
	q.most = most
	q.head = q.ring.init(firstCells)
}

// hand hands over a job.
func (q *queue[J]) hand(j J) {
	for !q.head.is(q.put, free) {
		if len(q.head.cells) < 2*q.most {
			q.head = q.ring.grow(q.put)
		} else {
			runtime.Gosched() // the worker that took its last job is about to free the cell
		}
	}
	c := q.head.at(q.put)
	c.v = j
	c.become(q.put, fed)
	q.put++
	q.pool.call()
}

// some reports whether there is a job. It looks again where another worker has taken
// the one that it looked for: who goes to sleep on a wrong no may miss the job behind.
func (q *queue[J]) some() bool {
	for {
		pos := q.taken.Load()
		if q.ring.is(pos, fed) {
			return true
		}
		if q.taken.Load() == pos {
			return false
		}
	}
}

// take takes the next job, if there is one. t is a worker's own copy of the table that it
// has seen last.
func (q *queue[J]) take(t *table[J]) (j J, ok bool) {
	for {
		pos := q.taken.Load()
		if !t.is(pos, fed) {
			*t = *q.ring.table(pos)
			if !t.is(pos, fed) {
				if q.taken.Load() == pos {
					return j, false
				}
				continue // pos was stale
			}
		}
		if q.taken.CompareAndSwap(pos, pos+1) {
			return t.free(pos), true
		}
	}
}

// taker returns a worker's own function to take the next job, which waits for one if
// need be. It is false when there will be none. searching tells whether the worker is
// counted as such, which it is when the pool has started it.
func (q *queue[J]) taker(searching bool) func() (J, bool) {
	t := *q.ring.table(0)
	var j J
	try := func() (ok bool) {
		j, ok = q.take(&t)
		return ok
	}
	return func() (got J, ok bool) {
		if !searching {
			if got, ok = q.take(&t); ok { // as next does, but without a call
				return got, true
			}
		}
		ok = q.pool.next(searching, try)
		searching = false
		if ok {
			got = j
			var none J
			j = none
		}
		return got, ok
	}
}
