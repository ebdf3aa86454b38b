package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/pipeline/seq"
)

// Timeout is a [Policy] that gives a call so much time, which must be above 0. The
// context that the call gets ends then, with a cause that Is [ErrTimeout], and the
// call is waited for: one that does not look at its context takes as long as it
// takes.
//
// What waits inside of it is given the call's time: a limiter, or whatever else calls wait
// for their turn at, belongs outside of it, unless the wait is to count.
//
// A call that fails after its time is up is reported by an error that Is
// [ErrTimeout], [context.DeadlineExceeded] and the call's own error. A call that
// succeeds nevertheless has succeeded. Where the caller's own context has ended,
// the call's error is returned as it is.
//
// The context ends when the call has returned, too. So what is returned must be
// whole: the body of an HTTP response that has been read, not one that is still to
// be read.
type Timeout time.Duration

// Do calls op with a context that ends when the time is up.
func (t Timeout) Do(ctx context.Context, op func(context.Context) error) error {
	return t.bind(nil).Do(ctx, op)
}

func (t Timeout) bind([]Policy) Policy {
	if t <= 0 {
		panic(fmt.Sprintf("control.Timeout: the time must be above 0, got %v", time.Duration(t)))
	}
	return &boundTimeout{time.Duration(t), timeoutCause(t)}
}

// A boundTimeout is a Timeout with its cause at hand, which takes an allocation to
// make.
type boundTimeout struct {
	after time.Duration
	cause error
}

// Do is Timeout.Do.
func (t *boundTimeout) Do(ctx context.Context, op func(context.Context) error) error {
	if err := ended(ctx); err != nil {
		return err
	}
	limited, cancel := context.WithTimeoutCause(ctx, t.after, t.cause)
	defer cancel()
	err := ended(limited) // a very short time is up already
	if err == nil {
		err = op(limited)
	}
	switch {
	case err == nil || limited.Err() == nil:
		return err
	case ctx.Err() != nil || errors.Is(err, seq.ErrSkip):
		return err
	}
	return &timeoutError{after: t.after, err: err}
}

// timeoutCause is the cause with which a call's context ends.
type timeoutCause time.Duration

func (c timeoutCause) Error() string {
	return "control: timed out after " + time.Duration(c).String()
}

func (c timeoutCause) Is(target error) bool { return isTimeout(target) }

// timeoutError reports a call that failed when its time was up, because of that
// or for a reason of its own. It wraps the call's error alone, so that an error
// about one item stays one.
type timeoutError struct {
	after time.Duration
	err   error
}

func (e *timeoutError) Error() string {
	text := timeoutCause(e.after).Error()
	if e.err == context.DeadlineExceeded {
		return text
	}
	return text + ": " + e.err.Error()
}

func (e *timeoutError) Is(target error) bool { return isTimeout(target) }
func (e *timeoutError) Unwrap() error        { return e.err }

func isTimeout(target error) bool {
	return target == ErrTimeout || target == context.DeadlineExceeded
}
