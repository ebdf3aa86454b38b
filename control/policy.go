package control

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
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
		return wrapPooled(fn, policies)
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

// A frame is one call on its way through the policies. Its chain of functions is
// made once and used again for the next call, so that a call allocates nothing.
type frame[T, U any] struct {
	fn     func(context.Context, T) (U, error)
	item   T
	result U
	enter  func(context.Context) error // through all policies to call
}

func newFrame[T, U any](fn func(context.Context, T) (U, error), policies []Policy) *frame[T, U] {
	f := &frame[T, U]{fn: fn}
	f.enter = chain(policies, f.call)
	return f
}

// chain puts policies around op, the first outermost.
func chain(policies []Policy, op func(context.Context) error) func(context.Context) error {
	for i := len(policies) - 1; i >= 0; i-- {
		policy, inner := policies[i], op
		op = func(ctx context.Context) error { return policy.Do(ctx, inner) }
	}
	return op
}

func (f *frame[T, U]) call(ctx context.Context) (err error) {
	f.result, err = f.fn(ctx, f.item)
	return err
}

// wrapPooled is Wrap for policies that let go of op when they return. A frame
// whose call panics or leaves by Goexit is not used again.
func wrapPooled[T, U any](fn func(context.Context, T) (U, error), policies []Policy) func(context.Context, T) (U, error) {
	pool := sync.Pool{New: func() any { return newFrame(fn, policies) }}
	return func(ctx context.Context, item T) (result U, err error) {
		f := pool.Get().(*frame[T, U])
		f.item = item
		err = f.enter(ctx)
		if err == nil {
			result = f.result
		}
		var noItem T
		var noResult U
		f.item, f.result = noItem, noResult // the pool must not keep them alive
		pool.Put(f)
		return result, err
	}
}

// errMisused is what a policy gets that breaks the rules of [Policy].
var errMisused = errors.New("control.Wrap: a policy called op twice at once or after its Do returned")

// What a guard knows of a call.
const (
	callIdle int32 = iota
	callRuns
	callOver
)

// wrapGuarded is Wrap for policies that may not know the rules. Each call has a
// frame of its own, which a policy can hold on to for as long as it likes, and a
// guard around fn, so that a stray op can neither disturb this call nor another.
func wrapGuarded[T, U any](fn func(context.Context, T) (U, error), policies []Policy) func(context.Context, T) (U, error) {
	return func(ctx context.Context, item T) (result U, err error) {
		f := &frame[T, U]{fn: fn, item: item}
		var state atomic.Int32
		guarded := func(ctx context.Context) error {
			if !state.CompareAndSwap(callIdle, callRuns) {
				return errMisused
			}
			defer state.CompareAndSwap(callRuns, callIdle)
			return f.call(ctx)
		}
		err = chain(policies, guarded)(ctx)
		// Where op still runs, f.result is being written: leave it alone.
		if state.Swap(callOver) == callRuns {
			return result, errors.Join(err, errMisused)
		}
		if err == nil {
			result = f.result
		}
		return result, err
	}
}
