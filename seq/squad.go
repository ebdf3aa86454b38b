package seq

import (
	"runtime"
	"sync/atomic"
)

// A squad is up to size workers that wait for jobs: who they are, and whom to wake.
// Where the jobs are is not its business.
//
// Whom to wake follows the scheduler of Go itself: as long as one worker is
// searching, a new job wakes nobody, since that worker will find it; and the last
// searcher that finds a job wakes the next one if there are more. So a busy stream
// does not pay for wake-ups, and a job never waits while a worker is free.
type squad struct {
	size   int32
	hire   func()        // starts a worker
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

func (s *squad) init(size int, hire func(), any func() bool) {
	s.size = int32(size)
	s.hire = hire
	s.any = any
	s.tokens = make(chan struct{}, size)
}

// close tells the workers that what there is, is all.
func (s *squad) close() {
	s.closed.Store(true)
	for s.wake() {
	}
}

// call sees to it that somebody looks for the job that there is now.
func (s *squad) call() {
	if s.searching.Load() == 0 {
		s.rouse()
	}
}

// rouse wakes a worker, or starts one, unless all are at work: they look again when
// they are done.
func (s *squad) rouse() {
	if s.wake() {
		return
	}
	for {
		k := s.started.Load()
		if k == s.size {
			return
		}
		if s.started.CompareAndSwap(k, k+1) {
			s.searching.Add(1)
			s.hire()
			return
		}
	}
}

// watch lets others run and then sees to it that no job waits while a worker is free.
// So until then a worker that finds one job of several need not wake the next worker,
// which with small work would find all of them done.
func (s *squad) watch() {
	s.watched.Store(true)
	runtime.Gosched()
	s.watched.Store(false)
	if s.any() {
		s.call()
	}
}

// retire sees to it that no worker is started any more, and returns how many were. It
// is for when there is no job left and none will come.
func (s *squad) retire() (started int) {
	return int(s.started.Swap(s.size))
}

// wake wakes one sleeping worker, if there is one.
func (s *squad) wake() bool {
	if !s.book() {
		return false
	}
	s.tokens <- struct{}{}
	return true
}

// book turns a sleeper into a searcher in the books. Sleepers are alike: who books
// one owes one token.
func (s *squad) book() bool {
	for {
		k := s.asleep.Load()
		if k == 0 {
			return false
		}
		if s.asleep.CompareAndSwap(k, k-1) {
			s.searching.Add(1)
			return true
		}
	}
}

// next waits until try has got a job. It is false when there will be none. searching
// is the worker's own: whether it is counted as such when it calls.
func (s *squad) next(searching bool, try func() bool) bool {
	if !searching {
		if try() {
			return true
		}
		s.searching.Add(1)
	}
	for round := 0; ; round++ {
		closed := s.closed.Load() // before the look: nothing comes after it
		if got := try(); got || closed {
			if s.searching.Add(-1) == 0 && !s.watched.Load() && s.any() {
				s.call()
			}
			return got
		}
		if round < spins {
			runtime.Gosched()
			continue
		}
		// Announced, it looks once more, as in place.sleep.
		s.asleep.Add(1)
		s.searching.Add(-1)
		if (s.any() || s.closed.Load()) && s.book() {
			continue
		}
		<-s.tokens
		round = spins // who is woken in vain goes back to sleep at once
	}
}
