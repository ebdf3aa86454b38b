package main

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/failsafe-go/failsafe-go/timeout"
	"github.com/sony/gobreaker/v2"

	"example.com/pipeline/control"
)

const (
	moduleFailsafe  = "github.com/failsafe-go/failsafe-go"
	moduleBackoff   = "github.com/cenkalti/backoff/v5"
	moduleGobreaker = "github.com/sony/gobreaker/v2"
)

type call = func(ctx context.Context, v int) (int, error)

func plainCall(_ context.Context, v int) (int, error) { return v ^ 0x55, nil }

var errBusy = errors.New("busy")

// failsTwice fails at the first two of three tries.
func failsTwice() call {
	try := 0
	return func(_ context.Context, v int) (int, error) {
		if try++; try%3 != 0 {
			return 0, errBusy
		}
		return v ^ 0x55, nil
	}
}

// A guard puts policies around a call.
type guard struct {
	name, module string
	role         role
	around       func(ctx context.Context, fn call) call
}

func (b *bench) policyPart() ([]*result, error) {
	n := b.items(50_000, 100)
	races := []struct {
		name   string
		fn     func() call
		guards []guard
	}{
		{"retry", func() call { return plainCall }, retries},
		{"retry after 2 failures", failsTwice, retriesAtOnce},
		{"breaker", func() call { return plainCall }, breakers},
		{"retry, breaker", func() call { return plainCall }, retriesAndBreakers},
		{"retry, breaker, timeout", func() call { return plainCall }, allPolicies},
	}
	t := table{
		id:    "policy",
		title: "Policies around a call that does nothing",
		about: "Time of a call that succeeds at once, except for the second column: there it fails twice before, and nobody sleeps in between. " +
			"The peers by hand are backoff around gobreaker around context.WithTimeout, as their documentation shows each. The limit is the bare call, and for the last column one with context.WithTimeout.",
	}
	for _, spec := range races {
		r := race{name: spec.name, items: n}
		for _, g := range spec.guards {
			r.contestants = append(r.contestants, contestant{g.name, g.module, g.role, func() (o outcome, err error) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				guarded := g.around(ctx, spec.fn())
				for i := range n {
					v, err := guarded(ctx, i)
					if err != nil {
						return o, err
					}
					o.sum.inOrder(v)
				}
				return o, nil
			}})
		}
		t.races = append(t.races, r)
	}
	return list(b.run(t))
}

func around(policies ...control.Policy) func(context.Context, call) call {
	return func(_ context.Context, fn call) call { return control.Wrap(fn, policies...) }
}

// safely composes policies of failsafe-go, the first outermost.
func safely(policies ...failsafe.Policy[int]) func(context.Context, call) call {
	executor := failsafe.With(policies...)
	return func(ctx context.Context, fn call) call {
		return func(ctx context.Context, v int) (int, error) {
			return executor.WithContext(ctx).GetWithExecution(func(exec failsafe.Execution[int]) (int, error) {
				return fn(exec.Context(), v)
			})
		}
	}
}

func bare(_ context.Context, fn call) call { return fn }

var (
	ourBreaker  = control.NewBreaker(control.BreakerConfig{})
	safeRetry   = retrypolicy.NewBuilder[int]().WithMaxAttempts(5).WithBackoff(100*time.Millisecond, 30*time.Second).Build()
	safeAtOnce  = retrypolicy.NewBuilder[int]().WithMaxAttempts(5).Build()
	safeBreaker = circuitbreaker.NewBuilder[int]().WithFailureRateThreshold(0.5, 10, 10*time.Second).Build()
	goBreaker   = gobreaker.NewCircuitBreaker[int](gobreaker.Settings{Interval: 10 * time.Second, BucketPeriod: time.Second})
)

func goRetry(_ context.Context, fn call) call {
	return func(ctx context.Context, v int) (int, error) {
		return backoff.Retry(ctx, func() (int, error) { return fn(ctx, v) }, backoff.WithMaxTries(5))
	}
}

func goRetryAtOnce(_ context.Context, fn call) call {
	return func(ctx context.Context, v int) (int, error) {
		return backoff.Retry(ctx, func() (int, error) { return fn(ctx, v) }, backoff.WithMaxTries(5), backoff.WithBackOff(&backoff.ZeroBackOff{}))
	}
}

func goBreak(_ context.Context, fn call) call {
	return func(ctx context.Context, v int) (int, error) {
		return goBreaker.Execute(func() (int, error) { return fn(ctx, v) })
	}
}

func goTimeout(_ context.Context, fn call) call {
	return func(ctx context.Context, v int) (int, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return fn(ctx, v)
	}
}

func nested(guards ...func(context.Context, call) call) func(context.Context, call) call {
	return func(ctx context.Context, fn call) call {
		for i := len(guards) - 1; i >= 0; i-- {
			fn = guards[i](ctx, fn)
		}
		return fn
	}
}

// What takes part under the same name is the same row of the table.
const (
	nameControl = "control.Wrap"
	nameSafe    = "failsafe-go"
	nameByHand  = "backoff and gobreaker"
	nameBare    = "limit: the bare call"
)

var (
	retries = []guard{
		{nameControl, moduleOurs, ours, around(control.Retry{})},
		{nameSafe, moduleFailsafe, peer, safely(safeRetry)},
		{nameByHand, moduleBackoff, peer, goRetry},
		{nameBare, "", limit, bare},
	}
	retriesAtOnce = []guard{
		{nameControl, moduleOurs, ours, around(control.Retry{Backoff: control.Constant(0)})},
		{nameSafe, moduleFailsafe, peer, safely(safeAtOnce)},
		{nameByHand, moduleBackoff, peer, goRetryAtOnce},
		{nameBare, "", limit, func(ctx context.Context, fn call) call { return loopUntilDone(fn) }},
	}
	breakers = []guard{
		{nameControl, moduleOurs, ours, around(ourBreaker)},
		{nameSafe, moduleFailsafe, peer, safely(safeBreaker)},
		{nameByHand, moduleGobreaker, peer, goBreak},
		{nameBare, "", limit, bare},
	}
	retriesAndBreakers = []guard{
		{nameControl, moduleOurs, ours, around(control.Retry{}, ourBreaker)},
		{nameSafe, moduleFailsafe, peer, safely(safeRetry, safeBreaker)},
		{nameByHand, moduleGobreaker, peer, nested(goRetry, goBreak)},
		{nameBare, "", limit, bare},
	}
	allPolicies = []guard{
		{nameControl, moduleOurs, ours, around(control.Retry{}, ourBreaker, control.Timeout(time.Second))},
		{nameSafe, moduleFailsafe, peer, safely(safeRetry, safeBreaker, timeout.New[int](time.Second))},
		{nameByHand, moduleGobreaker, peer, nested(goRetry, goBreak, goTimeout)},
		{nameBare, "", limit, goTimeout},
	}
)

// loopUntilDone is a retry without anything around it.
func loopUntilDone(fn call) call {
	return func(ctx context.Context, v int) (int, error) {
		for {
			if v, err := fn(ctx, v); err == nil {
				return v, nil
			}
		}
	}
}
