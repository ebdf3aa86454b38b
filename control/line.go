package control

import (
	"container/list"
	"context"
	"sync"
	"time"

	"example.com/pipeline/seq"
)

// A line is where callers wait for their turn, first come first served. It belongs
// to a policy and shares its mutex.
//
// Only who is first in line ever looks whether it can go on, when it is woken by
// wake or when the time comes that it was told to look again. When it leaves,
// whether it goes on or its ctx ends, it wakes the next one, and thus a whole line
// goes on one by one, in order.
type line struct{ waiting list.List } // of chan struct{}, each with room for one wake

// A turn says whether the first in line can go on. If it cannot, retry is when to
// look again at the latest; 0 means not before somebody calls wake. It is called
// with the mutex held.
type turn func() (ok bool, retry time.Duration)

// enter waits until turn says that the caller can go on. It returns ctx's error
// when ctx ends before. mu is not held, and no method of ctx is called while it is.
func (l *line) enter(ctx context.Context, mu *sync.Mutex, turn turn) error {
	place := l.join(mu)
	defer l.leave(mu, place)
	for {
		ok, retry := l.look(mu, place, turn)
		if ok {
			return nil
		}
		if err := waitTurn(ctx, place.Value.(chan struct{}), retry); err != nil {
			return err
		}
	}
}

func (l *line) join(mu *sync.Mutex) (place *list.Element) {
	mu.Lock()
	defer mu.Unlock()
	return l.waiting.PushBack(make(chan struct{}, 1))
}

// look asks turn whether the caller can go on, where it is first. If it can, it has
// left the line when the next one looks.
func (l *line) look(mu *sync.Mutex, place *list.Element, turn turn) (ok bool, retry time.Duration) {
	mu.Lock()
	defer mu.Unlock()
	if l.waiting.Front() != place {
		return false, 0
	}
	if ok, retry = turn(); ok {
		l.waiting.Remove(place)
	}
	return ok, retry
}

// leave takes the caller out of the line where it still is in it, and lets the next
// one look.
func (l *line) leave(mu *sync.Mutex, place *list.Element) {
	mu.Lock()
	defer mu.Unlock()
	l.waiting.Remove(place)
	l.wake()
}

// waitTurn waits until somebody wakes the caller, or for retry if that is not 0.
func waitTurn(ctx context.Context, woken <-chan struct{}, retry time.Duration) error {
	var again <-chan time.Time
	if retry > 0 {
		t := time.NewTimer(retry)
		defer t.Stop()
		again = t.C
	}
	select {
	case <-woken:
	case <-again:
	case <-ctx.Done():
	}
	return seq.ContextError(ctx)
}

// wake lets the first in line look whether it can go on. The mutex is held.
func (l *line) wake() {
	if first := l.waiting.Front(); first != nil {
		select {
		case first.Value.(chan struct{}) <- struct{}{}:
		default: // it has been woken and has not looked yet
		}
	}
}

// empty reports whether nobody waits. The mutex is held.
func (l *line) empty() bool { return l.waiting.Len() == 0 }
