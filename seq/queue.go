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
	jobs  ring[J]
	_     cacheLine
	head  *table[J] // where the producer writes; its own, like put
	put   uint64    // jobs handed over
	_     cacheLine
	taken atomic.Uint64
	_     cacheLine
}

func (q *queue[J]) init(p *pool, most int) {
	q.pool = p
	q.most = most
	q.head = q.jobs.init(firstCells)
}

// hand hands over a job.
func (q *queue[J]) hand(j J) {
	for !q.head.is(q.put, free) {
		if len(q.head.cells) < 2*q.most {
			q.head = q.jobs.grow(q.put)
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
		if q.jobs.is(pos, fed) {
			return true
		}
		if q.taken.Load() == pos {
			return false
		}
	}
}

// taker returns a worker's own function to take the next job, which waits for one if
// need be. It is false when there will be none. searching tells whether the worker is
// counted as such, which it is when the pool has started it.
func (q *queue[J]) taker(searching bool) func() (J, bool) {
	var j J
	var t *table[J]
	try := func() bool {
		for {
			pos := q.taken.Load()
			t = q.jobs.table(pos)
			if !t.is(pos, fed) {
				if q.taken.Load() == pos {
					return false
				}
				continue // pos was stale
			}
			if q.taken.CompareAndSwap(pos, pos+1) {
				c := t.at(pos)
				j = c.take()
				c.become(pos+uint64(len(t.cells)), free)
				return true
			}
		}
	}
	return func() (got J, ok bool) {
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
