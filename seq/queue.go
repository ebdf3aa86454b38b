package seq

import (
	"runtime"
	"sync/atomic"
)

// A queue hands the jobs of one producer to several workers, each to one of them, in
// order. The producer sees to it that there is room.
type queue[J any] struct {
	squad
	jobs  ring[J]
	put   uint64 // jobs put; the producer's own
	_     cacheLine
	taken atomic.Uint64
	_     cacheLine
}

// init makes room for size jobs and as many workers. hire starts one; where it is nil
// the caller starts all of them.
func (q *queue[J]) init(size int, hire func()) {
	q.squad.init(size, hire, q.any)
	if hire == nil {
		q.started.Store(int32(size))
	}
	q.jobs = makeRing[J](2 * size) // never full, so that add need not wait for long
}

// add hands over a job.
func (q *queue[J]) add(j J) {
	for !q.jobs.is(q.put, free) {
		runtime.Gosched() // the worker that took its last job is about to free the cell
	}
	c := q.jobs.at(q.put)
	c.v = j
	c.become(q.put, fed)
	q.put++
	q.call()
}

// any reports whether there is a job. It looks again where another worker has taken
// the one that it looked for: who goes to sleep on a wrong no may miss the job behind.
func (q *queue[J]) any() bool {
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
// need be. It is false when there will be none. hired tells whether the worker was
// started by hire, which counts it as searching.
func (q *queue[J]) taker(hired bool) func() (J, bool) {
	var j J
	try := func() bool {
		for {
			pos := q.taken.Load()
			if !q.jobs.is(pos, fed) {
				if q.taken.Load() == pos {
					return false
				}
				continue // pos was stale
			}
			if q.taken.CompareAndSwap(pos, pos+1) {
				c := q.jobs.at(pos)
				j = c.take()
				c.become(pos+uint64(len(q.jobs.cells)), free)
				return true
			}
		}
	}
	return func() (got J, ok bool) {
		ok = q.next(hired, try)
		hired = false
		if ok {
			got = j
			var none J
			j = none
		}
		return got, ok
	}
}
