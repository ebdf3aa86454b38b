package control

import (
	"context"
	"time"

	"example.com/pipeline/seq"
)

// epoch is what clock counts from.
var epoch = time.Now()

// clock returns the time on the monotonic clock alone. That costs half of
// [time.Now], which reads the wall clock as well, and it follows the fake clock of
// testing/synctest as every function of package time does.
func clock() time.Duration { return time.Since(epoch) }

// sleep returns nil after d, or ctx's error as soon as ctx ends. A d of 0 or less
// takes no time.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return seq.ContextError(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	return await(ctx, t)
}

// await returns nil when t fires, or ctx's error as soon as ctx ends.
func await(ctx context.Context, t *time.Timer) error {
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return seq.ContextError(ctx)
}
