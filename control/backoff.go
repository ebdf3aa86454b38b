package control

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// A Backoff says how long to sleep after a try has failed. attempt counts the
// tries from 1. A result of 0 or less is no sleep at all.
type Backoff func(attempt int) time.Duration

// Constant sleeps for d after every try. A d of 0 tries again at once.
func Constant(d time.Duration) Backoff {
	if d < 0 {
		panic(fmt.Sprintf("control.Constant: the sleep must not be below 0, got %v", d))
	}
	return func(int) time.Duration { return d }
}

// Exponential sleeps for a random time between 0 and a bound that is first after
// the first try, doubles with every further one, and is never above max.
//
// This is "full jitter" of Marc Brooker, Exponential Backoff And Jitter (AWS
// Architecture Blog, 2015): where many callers fail at once, it spreads their next
// tries most evenly and makes the fewest calls in all.
func Exponential(first, max time.Duration) Backoff {
	if first <= 0 || max < first {
		panic(fmt.Sprintf("control.Exponential: first must be above 0 and max at least first, got %v and %v", first, max))
	}
	return func(attempt int) time.Duration {
		return time.Duration(rand.Uint64N(uint64(bound(first, max, attempt)) + 1))
	}
}

// bound is first, doubled attempt-1 times, or max where that would be above max.
func bound(first, max time.Duration, attempt int) time.Duration {
	d := first
	for ; attempt > 1 && d < max; attempt-- {
		if d > max/2 {
			return max
		}
		d *= 2
	}
	return d
}

// Permanent marks err as one that trying again cannot help. [Retry] and [Hedge]
// return it at once, also where they are nested. It reads like err, and wraps it.
// Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

// isPermanent reports whether err, or an error behind it, is marked by Permanent.
func isPermanent(err error) bool {
	_, ok := errors.AsType[*permanentError](err)
	return ok
}
