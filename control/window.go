package control

import (
	"errors"
	"fmt"
	"time"
)

// A window counts the calls of a sliding time window. Time is cut into buckets, of
// which the window holds the last so many in a ring, and their sum.
type window struct {
	width   time.Duration // of a bucket
	begin   time.Duration // of the current bucket, on clock
	current int
	buckets [64]tally
	sum     tally
}

type tally struct{ calls, failures int }

func (w *window) init(span time.Duration) {
	w.width = max(span/time.Duration(len(w.buckets)), 1)
}

// add counts a call that ended now, and returns the sums with it. The buckets
// begin with the first call that they count, not at some round time, so that calls
// made together leave the window together, exactly when it is over.
func (w *window) add(now time.Duration, failed bool) (calls, failures int) {
	if passed := now - w.begin; w.sum.calls == 0 || passed < 0 {
		w.clear()
		w.begin = now
	} else if passed >= w.width {
		w.roll(now, passed)
	}
	b := &w.buckets[w.current]
	b.calls++
	w.sum.calls++
	if failed {
		b.failures++
		w.sum.failures++
	}
	return w.sum.calls, w.sum.failures
}

// addSuccesses counts n calls that ended within the current bucket.
func (w *window) addSuccesses(n int) {
	w.buckets[w.current].calls += n
	w.sum.calls += n
}

// roll drops the buckets that have left the window.
func (w *window) roll(now, passed time.Duration) {
	steps := passed / w.width
	if steps >= time.Duration(len(w.buckets)) {
		w.clear()
		w.begin = now
		return
	}
	w.begin += steps * w.width
	for range steps {
		w.current = (w.current + 1) % len(w.buckets)
		b := &w.buckets[w.current]
		w.sum.calls -= b.calls
		w.sum.failures -= b.failures
		*b = tally{}
	}
}

func (w *window) clear() {
	if w.sum.calls != 0 {
		w.buckets, w.sum = [64]tally{}, tally{}
	}
}

// An outage is why a breaker has opened.
type outage struct {
	calls, failures int           // within window; 0 where it was something else
	window          time.Duration // of what has been counted
	row             int           // failures in a row; 0 where it was something else
	last            error         // the failure that opened it; nil where Trip did
}

// An openError refuses a call. It Is ErrOpen, ErrRefused and the failure behind the outage, but
// it does not unwrap to that one: it is another call's error. Its being Permanent,
// or about an item, says nothing about this call.
type openError struct {
	*outage
	retry time.Duration // until trial calls are let through; 0 where they are running
}

func (e *openError) Error() string {
	why := "a trial call failed"
	switch {
	case e.last == nil:
		why = "it was tripped"
	case e.row > 0:
		why = fmt.Sprintf("%d calls in a row failed", e.row)
	case e.calls > 0:
		why = fmt.Sprintf("%d of %d calls failed within %v", e.failures, e.calls, e.window)
	}
	next := "a trial call is running"
	if e.retry > 0 {
		next = fmt.Sprintf("next trial in %v", readable(e.retry))
	}
	text := fmt.Sprintf("%v: %s, %s", ErrOpen, why, next)
	if e.last != nil {
		text += fmt.Sprintf("; last error: %v", e.last)
	}
	return text
}

func (e *openError) Is(target error) bool {
	return target == ErrOpen || target == ErrRefused || errors.Is(e.last, target)
}
