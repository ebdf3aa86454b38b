package seq

import (
	"runtime"
	"sync/atomic"
)

// A dispatcher hands the jobs of one producer to up to n workers, which it starts
// when they are needed.
//
// Whom to wake follows the scheduler of Go itself: as long as one worker is
// searching, a new job wakes nobody, since that worker will find it; and the last
// searcher that finds a job wakes the next one if there are more. So a busy stream
// does not pay for wake-ups, and a job never waits while a worker is free.
type dispatcher[J any] struct {
	jobs  ring[J]
	put   uint64        // jobs put; the producer's own
	n     int32         // workers, at most
	hire  func()        // starts a worker
	work  chan struct{} // a token for each worker that is woken
	_     cacheLine
	taken atomic.Uint64 // jobs taken
	_     cacheLine

	searching atomic.Int32 // workers that look for a job, or are on their way to
	asleep    atomic.Int32
	started   atomic.Int32
	closed    atomic.Bool // no job will be put any more
	_         cacheLine
}

// init makes room for size jobs; hire must run a worker in a goroutine.
func (d *dispatcher[J]) init(n, size int, hire func()) {
	d.jobs = makeRing[J](size)
	d.n = int32(n)
	d.hire = hire
	d.work = make(chan struct{}, n)
}

// initStarted is init for workers that the caller starts itself, all of them.
func (d *dispatcher[J]) initStarted(n, size int) {
	d.init(n, size, nil)
	d.started.Store(int32(n))
}

// add hands over a job. The producer sees to it that there is room.
func (d *dispatcher[J]) add(j J) {
	for !d.jobs.free(d.put) {
		runtime.Gosched() // the worker that took its last job is about to free the cell
	}
	d.jobs.put(d.put, j)
	d.put++
	d.call()
}

// close tells the workers that what has been put is all.
func (d *dispatcher[J]) close() {
	d.closed.Store(true)
	for d.wake() {
	}
}

// call sees to it that somebody looks for a job.
func (d *dispatcher[J]) call() {
	if d.searching.Load() > 0 || d.wake() {
		return
	}
	for {
		k := d.started.Load()
		if k == d.n {
			return // all are at work, and look again when they are done
		}
		if d.started.CompareAndSwap(k, k+1) {
			d.searching.Add(1)
			d.hire()
			return
		}
	}
}

// wake wakes one sleeping worker, if there is one.
func (d *dispatcher[J]) wake() bool {
	if !d.book() {
		return false
	}
	d.work <- struct{}{}
	return true
}

// book turns a sleeper into a searcher in the books. Sleepers are alike: who books
// one owes one token.
func (d *dispatcher[J]) book() bool {
	for {
		k := d.asleep.Load()
		if k == 0 {
			return false
		}
		if d.asleep.CompareAndSwap(k, k-1) {
			d.searching.Add(1)
			return true
		}
	}
}

// try takes a job if there is one.
func (d *dispatcher[J]) try() (j J, ok bool) {
	for {
		pos := d.taken.Load()
		if !d.jobs.ready(pos) {
			if d.taken.Load() == pos {
				return j, false
			}
			continue // pos was stale
		}
		if d.taken.CompareAndSwap(pos, pos+1) {
			return d.jobs.take(pos), true
		}
	}
}

// any reports whether there is a job to take.
func (d *dispatcher[J]) any() bool { return d.jobs.ready(d.taken.Load()) }

// next takes a job and waits for one if need be. It is false when there will be
// none. searching is the worker's own: true when it starts, and false after each
// job that it got.
func (d *dispatcher[J]) next(searching *bool) (j J, ok bool) {
	if !*searching {
		if j, ok = d.try(); ok {
			return j, true
		}
		*searching = true
		d.searching.Add(1)
	}
	for round := 0; ; round++ {
		closed := d.closed.Load() // before the look: nothing is put after it
		if j, ok = d.try(); ok || closed {
			*searching = false
			if d.searching.Add(-1) == 0 && d.any() {
				d.call()
			}
			return j, ok
		}
		if round < spins {
			runtime.Gosched()
			continue
		}
		// Announced, it looks once more, as in place.sleep.
		d.asleep.Add(1)
		d.searching.Add(-1)
		if (d.any() || d.closed.Load()) && d.book() {
			continue
		}
		<-d.work
		round = 0
	}
}
