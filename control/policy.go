package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// A Policy governs one call. Do calls op zero or more times, never twice at once
// and never after it has returned, and returns op's error or one of its own.
//
// The policies of this package are safe for concurrent use, and one of them can
// govern the calls of any number of functions and pipelines.
type Policy interface {
	Do(ctx context.Context, op func(context.Context) error) error
}

// Wrap puts policies around fn, the first outermost, and returns a function that
// fits [seq.MapConcurrent]. It returns fn's result, or the zero U beside an error.
//
// The order matters. As a rule, from the outside in:
//
//	control.Wrap(fn,
//		inFlight,                  // holds a slot for all tries and the sleeps between them
//		control.Retry{},           // what is inside of it happens anew for each try
//		breaker,                   // counts every try; ErrOpen can be tried again later
//		control.Rate(limiter),     // each try waits for a token
//		control.Timeout(time.Second)) // for one try; outside of Retry it is for all of them
//
// A policy of another package that calls op twice at once, or after its Do has
// returned, gets an error from op and fn is not called.
//
// Wrap panics where fn or a policy is nil, or a policy's values make no sense.
func Wrap[T, U any](fn func(context.Context, T) (U, error), policies ...Policy) func(context.Context, T) (U, error) {
	if fn == nil {
		panic("control.Wrap: fn must not be nil")
	}
	ours := true
	for i, p := range policies {
		ours = inspect(i, p) && ours
	}
	switch {
	case len(policies) == 0:
		return fn
	case ours:
		return wrapOurs(fn, policies)
	default:
		return wrapGuarded(fn, policies)
	}
}

// inspect panics where policy i is misused. It reports whether the policy is one
// of this package's, which are known to let go of op when they return. The types
// are listed since a method could be promoted into a user's type.
func inspect(i int, p Policy) (ours bool) {
	if p == nil {
		panic(fmt.Sprintf("control.Wrap: policy %d must not be nil", i))
	}
	switch p := p.(type) {
	case Timeout:
		p.check()
		return true
	case Retry:
		p.check()
		return true
	case *Breaker, *InFlight, *Adaptive, *Gate, rated:
		return true
	}
	return false
}

// wrapOurs is Wrap for policies that let go of op when they return.
func wrapOurs[T, U any](fn func(context.Context, T) (U, error), policies []Policy) func(context.Context, T) (U, error) {
	policies = bind(policies)
	return func(ctx context.Context, item T) (result U, err error) {
		err = enter(ctx, policies, nil, func(ctx context.Context) (err error) {
			result, err = fn(ctx, item)
			return err
		})
		if err != nil {
			var none U
			return none, err
		}
		return result, nil
	}
}

// A retrying is a Retry among the policies of Wrap. Where it is timed, each try
// comes to a Timeout without a wait before it. That one reads the clock, and tells
// when the try began.
type retrying struct {
	Retry
	timed bool
}

// bind does once what the policies would do for each call.
func bind(policies []Policy) []Policy {
	bound := slices.Clone(policies)
	for i, p := range policies {
		switch p := p.(type) {
		case Retry:
			bound[i] = &retrying{p, leadsToTimeout(policies[i+1:])}
		case Timeout:
			bound[i] = p.bind()
		}
	}
	return bound
}

// leadsToTimeout reports whether a call comes to a Timeout in no time: there is
// nothing before it but breakers that neither wait nor call back.
func leadsToTimeout(policies []Policy) bool {
	for _, p := range policies {
		switch p := p.(type) {
		case Timeout:
			return true
		case *Breaker:
			if p.cfg.Hold || p.cfg.OnChange != nil {
				return false
			}
		default:
			return false
		}
	}
	return false
}

// enter calls op through the policies, the first outermost. A Timeout puts down in
// began, if that is not nil, when it was reached.
//
// It names the types so that the compiler sees that none of them keeps op: a call
// through an interface would move op, and with it the item, its result and all the
// functions in between, to the heap.
func enter(ctx context.Context, policies []Policy, began *time.Time, op func(context.Context) error) error {
	if len(policies) == 0 {
		return op(ctx)
	}
	inner := func(ctx context.Context) error { return enter(ctx, policies[1:], nil, op) }
	switch p := policies[0].(type) {
	case *retrying:
		if !p.timed {
			return p.from(ctx, clock(), inner)
		}
		var began time.Time
		err := enter(ctx, policies[1:], &began, op)
		if err == nil {
			return nil
		}
		begin := clock() // refused: no time has passed
		if !began.IsZero() {
			begin = began.Sub(epoch)
		}
		return p.after(ctx, begin, err, inner)
	case *Breaker:
		return p.Do(ctx, func(ctx context.Context) error { return enter(ctx, policies[1:], began, op) })
	case *timed:
		begin := time.Now()
		if began != nil {
			*began = begin
		}
		return p.from(ctx, begin, inner)
	case *InFlight:
		return p.Do(ctx, inner)
	case *Adaptive:
		return p.Do(ctx, inner)
	case *Gate:
		return p.Do(ctx, inner)
	case rated:
		return p.Do(ctx, inner)
	}
	panic("unreachable: inspect knows all types")
}

// chain puts policies around op, the first outermost.
func chain(policies []Policy, op func(context.Context) error) func(context.Context) error {
	for i := len(policies) - 1; i >= 0; i-- {
		policy, inner := policies[i], op
		op = func(ctx context.Context) error { return policy.Do(ctx, inner) }
	}
	return op
}

// errMisused is what a policy gets that breaks the rules of [Policy].
var errMisused = errors.New("control.Wrap: a policy called op twice at once or after its Do returned")

// What a guard knows of a call.
const (
	callIdle int32 = iota
	callRuns
	callOver
)

// wrapGuarded is Wrap for policies that may not know the rules: a guard around fn
// sees to it that a stray op does not disturb the call.
func wrapGuarded[T, U any](fn func(context.Context, T) (U, error), policies []Policy) func(context.Context, T) (U, error) {
	return func(ctx context.Context, item T) (result U, err error) {
		var got U
		var state atomic.Int32
		guarded := func(ctx context.Context) (err error) {
			if !state.CompareAndSwap(callIdle, callRuns) {
				return errMisused
			}
			defer state.CompareAndSwap(callRuns, callIdle)
			got, err = fn(ctx, item)
			return err
		}
		err = chain(policies, guarded)(ctx)
		// Where op still runs, got is being written: leave it alone.
		if state.Swap(callOver) == callRuns {
			return result, errors.Join(err, errMisused)
		}
		if err == nil {
			result = got
		}
		return result, err
	}
}
