package control

import (
	"context"
	"errors"

	"example.com/pipeline/seq"
)

// How the end of a call's context, if it has ended, bears on the call's failure.
type ending int

const (
	notEnded   ending = iota
	timeWasUp         // the call took too long
	callerLeft        // the call was given up: nobody's fault
)

// endingOf tells the two ends of a context apart. Time was up where its error says
// so, or where its cause is what a timeout ends a context with: not where the cause
// is an error of some other call that merely wraps a timeout, and because of which
// this one was cancelled.
func endingOf(ctx context.Context) ending {
	err := ctx.Err()
	if err == nil {
		return notEnded
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return timeWasUp
	}
	cause := context.Cause(ctx)
	switch cause.(type) {
	case timeoutCause, *idleError:
		return timeWasUp
	}
	if cause == ErrTimeout || cause == context.DeadlineExceeded {
		return timeWasUp
	}
	return callerLeft
}

// withEnding returns err with the error of ctx, where time was up. So err says that
// it is a timeout, whatever the call makes of the end of its context.
func withEnding(ctx context.Context, end ending, err error) error {
	if end != timeWasUp {
		return err
	}
	return errors.Join(seq.ContextError(ctx), err)
}
