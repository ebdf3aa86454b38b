package control

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// WaitAtMost bounds how long calls wait for their turn at p, which may be an
// [InFlight], an [Adaptive], a [Rate], a [Gate] or a [Breaker] that holds: where p
// has not let the call begin after d, the call is not made, and the error Is
// [ErrRefused]. A call that has begun takes as long as it takes; see [Timeout] for a
// limit that covers it, too.
//
//	control.WaitAtMost(time.Second, control.NewInFlight(8))
//
// Where p makes several tries, as [Retry] does, d is for the first one. WaitAtMost
// panics where d is not above 0 or p is nil.
func WaitAtMost(d time.Duration, p Policy) Policy {
	if d <= 0 {
		panic(fmt.Sprintf("control.WaitAtMost: the time must be above 0, got %v", d))
	}
	if isNil(p) {
		panic("control.WaitAtMost: the policy must not be nil")
	}
	bind(p, nil) // panics where p makes no sense
	return &waitAtMost{d, p}
}

type waitAtMost struct {
	after  time.Duration
	policy Policy
}

func (w *waitAtMost) bind(inside []Policy) Policy {
	if p := bind(w.policy, inside); p != nil {
		return &waitAtMost{w.after, p}
	}
	return nil
}

func (w *waitAtMost) gate() *Gate { return gateOf(w.policy) }

// What becomes of a call that waits at most so long.
const (
	callWaits int32 = iota
	callBegun
	callRefused
)

func (w *waitAtMost) Do(ctx context.Context, op func(context.Context) error) error {
	if err := ended(ctx); err != nil {
		return err
	}
	var state atomic.Int32
	tooLong := &waitError{after: w.after}
	waiting, giveUp := context.WithCancelCause(ctx)
	gaveUp := make(chan struct{})
	timer := time.AfterFunc(w.after, func() {
		defer close(gaveUp)
		if state.CompareAndSwap(callWaits, callRefused) {
			giveUp(tooLong)
		}
	})
	defer giveUp(nil)
	defer func() {
		if !timer.Stop() {
			<-gaveUp
		}
	}()
	err := w.policy.Do(waiting, func(inner context.Context) error {
		if !state.CompareAndSwap(callWaits, callBegun) && state.Load() == callRefused {
			return tooLong
		}
		if inner == waiting { // one that does not end with this Do will do
			inner = ctx
		}
		return op(inner)
	})
	if err == nil || state.Load() != callRefused {
		return err
	}
	if end := ended(ctx); end != nil {
		return end
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, tooLong) {
		return tooLong
	}
	return &waitError{w.after, err} // the policy has its own reason, too
}

// A waitError is the refusal of a call that has waited too long.
type waitError struct {
	after time.Duration
	err   error // of the policy, or nil
}

func (e *waitError) Error() string {
	text := fmt.Sprintf("control.WaitAtMost: the call was not made, since it had to wait for more than %v", e.after)
	if e.err != nil {
		text += ": " + e.err.Error()
	}
	return text
}

func (e *waitError) Is(target error) bool { return target == ErrRefused }
func (e *waitError) Unwrap() error        { return e.err }
