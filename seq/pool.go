package seq

import (
	"runtime"
	"sync/atomic"
)

// A pool is up to size workers that wait for jobs: who they are, and whom to wake.
// Where the jobs are is not its business.
//
// Whom to wake follows the scheduler of Go itself: as long as one worker is
// searching, a new job wakes nobody, since that worker will find it; and the last
// searcher that finds a job wakes the next one if there are more. So a busy stream
// does not pay for wake-ups, and a job never waits while a worker is free.
type pool struct {
	size   int32
	add    func()        // starts a worker
	any    func() bool   // reports whether there is a job
	tokens chan struct{} // one for each worker that is woken
	_      cacheLine

	searching atomic.Int32 // workers that look for a job, or are on their way to
	asleep    atomic.Int32
	started   atomic.Int32
	watched   atomic.Bool // the producer looks after the jobs: see watch
	closed    atomic.Bool // no job will come any more
	_         cacheLine
}

func (p *pool) init(size int, add func(), any func() bool) {
	p.size = int32(size)
	p.add = add
	p.any = any
	p.tokens = make(chan struct{}, size) // tokens take no memory
}

// close tells the workers that what there is, is all.
func (p *pool) close() {
	p.closed.Store(true)
	for p.wake() {
	}
}

// call sees to it that somebody looks for the job that there is now.
func (p *pool) call() {
	if p.searching.Load() == 0 {
		p.rouse()
	}
}

// rouse wakes a worker, or starts one, unless all are at work: they look again when
// they are done.
func (p *pool) rouse() {
	if p.wake() {
		return
	}
	for {
		k := p.started.Load()
		if k == p.size {
			return
		}
		if p.started.CompareAndSwap(k, k+1) {
			p.searching.Add(1)
			p.add()
			return
		}
	}
}

// watch lets others run and then sees to it that no job waits while a worker is free.
// So until then a worker that finds one job of several need not wake the next worker,
// which with small work would find all of them done.
func (p *pool) watch() {
	p.watched.Store(true)
	runtime.Gosched()
	p.watched.Store(false)
	if p.any() {
		p.call()
	}
}

// wake wakes one sleeping worker, if there is one.
func (p *pool) wake() bool {
	if !p.book() {
		return false
	}
	p.tokens <- struct{}{}
	return true
}

// book turns a sleeper into a searcher in the books. Sleepers are alike: who books
// one owes one token.
func (p *pool) book() bool {
	for {
		k := p.asleep.Load()
		if k == 0 {
			return false
		}
		if p.asleep.CompareAndSwap(k, k-1) {
			p.searching.Add(1)
			return true
		}
	}
}

// next waits until try has got a job. It is false when there will be none. searching
// is the worker's own: whether it is counted as such when it calls.
func (p *pool) next(searching bool, try func() bool) bool {
	if !searching {
		if try() {
			return true
		}
		p.searching.Add(1)
	}
	for round := 0; ; round++ {
		closed := p.closed.Load() // before the look: nothing comes after it
		if got := try(); got || closed {
			if p.searching.Add(-1) == 0 && !p.watched.Load() && p.any() {
				p.call()
			}
			return got
		}
		if round < spins {
			runtime.Gosched()
			continue
		}
		// Announced, it looks once more, as in place.sleep.
		p.asleep.Add(1)
		p.searching.Add(-1)
		if (p.any() || p.closed.Load()) && p.book() {
			continue
		}
		<-p.tokens
		round = spins // who is woken in vain goes back to sleep at once
	}
}
