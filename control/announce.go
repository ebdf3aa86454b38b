package control

import (
	"sync"
	"sync/atomic"
)

// announcements are events on their way to a callback, in order, one at a time and
// without a lock held, so that the callback may call whatever it likes. Its owner
// adds them with its own mutex held, which sets the order, and delivers them after
// it has let go of it.
type announcements[E any] struct {
	tell func(E)     // nil: nobody wants to know
	some atomic.Bool // something may be pending: saves the mutex where nothing is

	mu      sync.Mutex
	pending []E
	busy    bool // somebody delivers: it will deliver what is added now, too
}

func (a *announcements[E]) add(e E) {
	if a.tell == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending = append(a.pending, e)
	a.some.Store(true)
}

// deliver hands what is pending to tell. It returns at once where another call is
// at it, be it in another goroutine or around the callback that called this one.
func (a *announcements[E]) deliver() {
	if a.some.Load() { // apart, to be inlined
		a.deliverAll()
	}
}

func (a *announcements[E]) deliverAll() {
	if !a.begin() {
		return
	}
	told := false
	defer func() {
		// A panic or Goexit of tell passes on, but what is pending behind that
		// event must not wait for the next one.
		if !told {
			a.end()
			a.deliver()
		}
	}()
	for {
		e, ok := a.next()
		if !ok {
			break
		}
		a.tell(e)
	}
	told = true
}

func (a *announcements[E]) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy || len(a.pending) == 0 {
		return false
	}
	a.busy = true
	return true
}

// next takes one event. Where there is none it ends the delivery in the same
// critical section, so that no event is added unseen in between.
func (a *announcements[E]) next() (e E, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.pending) == 0 {
		a.busy = false
		a.some.Store(false)
		return e, false
	}
	e = a.pending[0]
	a.pending = a.pending[1:]
	return e, true
}

func (a *announcements[E]) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy = false
}
