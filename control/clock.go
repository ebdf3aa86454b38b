package control

import (
	"context"
	"math"
	"time"

	"example.com/pipeline/seq"
)

// epoch is what clock counts from.
var epoch = time.Now()

// clock returns the time on the monotonic clock alone. That costs half of
// [time.Now], which reads the wall clock as well, and it follows the fake clock of
// testing/synctest as every function of package time does.
func clock() time.Duration { return time.Since(epoch) }

// never is a time on clock that does not come.
const never = time.Duration(math.MaxInt64)

// later returns the time on clock that is d, which is not negative, after now, or
// never where there is no such time.
func later(now, d time.Duration) time.Duration {
	if t := now + d; t >= now {
		return t
	}
	return never
}

// until returns how long it is from now to t, at least 1 ns where that has passed
// and at most 292 years.
func until(t, now time.Duration) time.Duration {
	if now < 0 && t > never+now {
		return never
	}
	return max(t-now, 1)
}

// sleep returns nil after d, or ctx's error as soon as ctx ends. A d of 0 or less
// takes no time.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return seq.ContextError(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return seq.ContextError(ctx)
}
