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
// when ctx ends before.
func (l *line) enter(ctx context.Context, mu *sync.Mutex, turn turn) error {
	mu.Lock()
	defer mu.Unlock()
	if ctx.Err() != nil {
		return seq.ContextError(ctx)
	}
	woken := make(chan struct{}, 1)
	place := l.waiting.PushBack(woken)
	defer func() {
		l.waiting.Remove(place)
		l.wake()
	}()
	for {
		var retry time.Duration
		if l.waiting.Front() == place {
			var ok bool
			if ok, retry = turn(); ok {
				return nil
			}
		}
		mu.Unlock()
		err := waitTurn(ctx, woken, retry)
		mu.Lock()
		if err != nil {
			return err
		}
	}
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
