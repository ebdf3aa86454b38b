package cursor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/pipeline/seq"
)

// How long a runner that waits for a job lets pass before it asks again.
const (
	firstAsk = 10 * time.Millisecond // doubled each time
	lastAsk  = time.Second
)

// A waitOption is what [WaitFor] was given.
type waitOption struct {
	d       time.Duration
	waiting func(*LockedError)
}

// WaitFor lets [Open] wait for a job, or an output, that another runner holds, for d at most;
// then it returns [ErrLocked]. Without this option, and with 0, it does not wait. The end of
// Open's ctx ends the waiting at once, and a graceful stop ([seq.Stopped]) within a second,
// with an error that Is [seq.ErrStopped], too.
//
// A runner that was killed holds its job until its lease ends, where the store is package
// sqlstore: 30 s unless LeaseFor says otherwise, so that a d of a little more than that gets
// every job whose runner is dead. In a [FileStore] a job is free when the process of its runner
// has ended, however it did. Open asks again when the lease ends, and meanwhile at
// growing intervals of 10 ms to 1 s, since a runner that lives may free the job earlier.
//
// waiting, unless it is nil, is called with what is known of the holder before Open begins
// to wait, and again where it finds another holder: to say so to whoever looks on. It runs
// in the goroutine of Open.
func WaitFor(d time.Duration, waiting func(held *LockedError)) OpenOption {
	if d < 0 {
		panic(fmt.Sprintf("cursor.WaitFor: d must not be negative, got %v", d))
	}
	return func(c *openConfig) { c.wait = waitOption{d, waiting} }
}

// open opens the job by try, again and again while it is locked.
func (w waitOption) open(ctx context.Context, job string, try func() (*checkpoint, error)) (*checkpoint, error) {
	begin, pause := time.Now(), firstAsk
	var told LockedError
	for {
		c, err := try()
		left := w.d - time.Since(begin)
		if err == nil || !errors.Is(err, ErrLocked) || left <= 0 {
			return c, err
		}
		if why := seq.Stopped(ctx); why != nil {
			return nil, fmt.Errorf("%w; %w", why, err)
		}
		held := lockedError(job, err)
		if w.waiting != nil && (held.Job != told.Job || held.Output != told.Output || held.Holder != told.Holder) {
			told = held
			w.waiting(&held)
		}
		next := min(pause, left)
		if ends := time.Until(held.Until); ends > 0 {
			next = min(next, ends+firstAsk) // a little late rather than too early: it is another clock's time
		}
		if err := sleep(ctx, next); err != nil {
			return nil, err
		}
		pause = min(2*pause, lastAsk)
	}
}

// lockedError says who holds the job, or the output, that err is about.
func lockedError(job string, err error) LockedError {
	var held *LockedError
	if errors.As(err, &held) {
		return *held
	}
	return LockedError{Job: job, Holder: "another runner"}
}

// sleep waits for d, or returns the error of the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return seq.ContextError(ctx)
	}
}
