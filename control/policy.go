package control

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"

	"example.com/pipeline/seq"
)

// A Policy governs one call. Do calls op zero or more times, never twice at once
// and never after it has returned, and returns op's error or one of its own.
//
// The policies of this package are safe for concurrent use, and one of them can
// govern the calls of any number of functions and pipelines. None of them makes a
// call under a context that has ended.
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
// Wrap panics where fn or a policy is nil, be it a nil pointer or function in an
// interface, or a policy's values make no sense.
func Wrap[T, U any](fn func(context.Context, T) (U, error), policies ...Policy) func(context.Context, T) (U, error) {
	if fn == nil {
		panic("control.Wrap: fn must not be nil")
	}
	bound := make([]Policy, len(policies)) // nil: not one of ours
	for i, p := range policies {
		if isNil(p) {
			panic(fmt.Sprintf("control.Wrap: policy %d must not be nil", i))
		}
		bound[i] = bind(p, policies[i+1:])
	}
	// From the inside out, ours in runs.
	for end := len(policies); end > 0; {
		begin := end - 1
		if bound[begin] == nil {
			fn = guarded(fn, policies[begin])
		} else {
			for begin > 0 && bound[begin-1] != nil {
				begin--
			}
			fn = governed(fn, bound[begin:end])
		}
		end = begin
	}
	return fn
}

// isNil reports whether v is nil, or a nil pointer or function in an interface.
func isNil(v any) bool {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func:
		return r.IsNil()
	}
	return false
}

// A binder is a policy of this package. Such a one lets go of op when its Do has
// returned.
type binder interface {
	// bind panics where the policy's values make no sense. What it returns does the
	// same as the policy, and has done once what Do would do for each call. inside are
	// the policies inside of this one, as far as they are known. It returns nil where
	// the policy contains one that may not know the rules.
	bind(inside []Policy) Policy
}

// bind returns nil for a policy that is not one of ours: not even one that embeds
// one of ours, and with it its methods, and has a Do of its own.
func bind(p Policy, inside []Policy) Policy {
	b, ok := p.(binder)
	if !ok {
		return nil
	}
	t := reflect.TypeOf(p)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.PkgPath() != reflect.TypeFor[Gate]().PkgPath() {
		return nil
	}
	return b.bind(inside)
}

// governed puts policies of ours around fn.
func governed[T, U any](fn func(context.Context, T) (U, error), policies []Policy) func(context.Context, T) (U, error) {
	return func(ctx context.Context, item T) (U, error) {
		var none U
		if ctx.Err() != nil {
			return none, seq.ContextError(ctx)
		}
		c := &call[T, U]{fn: fn, item: item, policies: policies}
		c.next = c.enter
		if err := c.enter(ctx); err != nil {
			return none, err
		}
		return c.result, nil
	}
}

// A call is on its way through policies that call op one at a time: all of them get
// the same op, which goes on with the policy that is next. So a call costs two
// allocations, however many policies there are.
type call[T, U any] struct {
	fn       func(context.Context, T) (U, error)
	item     T
	result   U
	policies []Policy
	depth    int // policies that the call is in
	next     func(context.Context) error
}

func (c *call[T, U]) enter(ctx context.Context) (err error) {
	if c.depth == len(c.policies) {
		if err := ended(ctx); err != nil {
			return err
		}
		c.result, err = c.fn(ctx, c.item)
		return err
	}
	p := c.policies[c.depth]
	c.depth++
	err = p.Do(ctx, c.next)
	c.depth-- // not after a panic: none of ours goes on behind one
	return err
}

// errMisused is what a policy gets that breaks the rules of [Policy].
var errMisused = errors.New("control.Wrap: a policy called op twice at once or after its Do returned")

// What a guard knows of a call.
const (
	callIdle int32 = iota
	callRuns
	callOver
)

// guarded puts a policy around fn that may not know the rules: a stray op does not
// disturb the call.
func guarded[T, U any](fn func(context.Context, T) (U, error), policy Policy) func(context.Context, T) (U, error) {
	return func(ctx context.Context, item T) (result U, err error) {
		var got U
		var state atomic.Int32
		err = policy.Do(ctx, func(ctx context.Context) (err error) {
			if !state.CompareAndSwap(callIdle, callRuns) {
				return errMisused
			}
			defer state.CompareAndSwap(callRuns, callIdle)
			if err := ended(ctx); err != nil {
				return err
			}
			got, err = fn(ctx, item)
			return err
		})
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
