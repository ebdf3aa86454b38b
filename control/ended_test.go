package control

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Nothing makes a call under a context that has ended, be it before the call or while
// it waited. A caller who has waited in vain gives back what was held for it.
func TestNoCallUnderAnEndedContext(t *testing.T) {
	cause := errors.New("enough")
	policies := func() map[string]Policy {
		return map[string]Policy{
			"Timeout":              Timeout(time.Hour),
			"Timeout, up at once":  Timeout(1),
			"Retry":                Retry{},
			"Breaker":              NewBreaker(BreakerConfig{}),
			"Breaker, Hold":        NewBreaker(BreakerConfig{Hold: true}),
			"InFlight":             NewInFlight(1),
			"Adaptive":             NewAdaptive(AdaptiveConfig{Max: 1}),
			"Rate":                 Rate(freely{}),
			"Gate":                 new(Gate),
			"WaitAtMost":           WaitAtMost(time.Hour, NewInFlight(1)),
			"of another package":   policyFunc(func(ctx context.Context, op func(context.Context) error) error { return op(ctx) }),
			"WaitAtMost around it": WaitAtMost(time.Hour, policyFunc(func(ctx context.Context, op func(context.Context) error) error { return op(ctx) })),
		}
	}
	check := func(t *testing.T, called bool, err error) {
		t.Helper()
		if called || !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
			t.Errorf("called %t, %v; want ctx's error and no call", called, err)
		}
	}
	fine := func(called *bool) func(context.Context, int) (int, error) {
		return func(context.Context, int) (int, error) { *called = true; return 0, nil }
	}
	for name, p := range policies() {
		t.Run(name, func(t *testing.T) {
			if name == "Timeout, up at once" {
				called := false
				err := p.Do(t.Context(), func(context.Context) error { called = true; return nil })
				if called && err != nil || !called && !errors.Is(err, ErrTimeout) {
					t.Errorf("called %t, %v", called, err)
				}
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(cause)
			called := false
			if name != "of another package" && name != "WaitAtMost around it" {
				err := p.Do(ctx, func(context.Context) error { called = true; return nil })
				check(t, called, err)
			}
			_, err := Wrap(fine(&called), p)(ctx, 0)
			check(t, called, err)
		})
	}
	t.Run("Hedge and Idempotent", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		called := false
		for _, max := range []int{1, 2} {
			_, err := Hedge(fine(&called), time.Second, max)(ctx, 0)
			check(t, called, err)
		}
		store := &oddStore{}
		key := func(int) string { return "key" }
		_, err := Idempotent(fine(&called), store, key)(ctx, 0)
		check(t, called, err)
		_, err = Idempotent(fine(&called), endsContext{store, func() { cancel(cause) }}, key)(ctx, 0)
		check(t, called, err)
	})
	t.Run("while it waits", func(t *testing.T) {
		for name, p := range policies() {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				wait := policyFunc(func(ctx context.Context, op func(context.Context) error) error {
					cancel(cause) // at the last moment
					return op(ctx)
				})
				called := false
				_, err := Wrap(fine(&called), wait, p)(ctx, 0)
				if name != "Timeout, up at once" {
					check(t, called, err)
				}
				if _, err := Wrap(fine(&called), p)(t.Context(), 0); name != "Timeout, up at once" && err != nil {
					t.Errorf("%s: the next call: %v", name, err)
				}
			})
		}
	})
	t.Run("in OnChange", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			b := NewBreaker(BreakerConfig{OnChange: func(_, to BreakerState) {
				if to == BreakerHalfOpen {
					cancel(cause)
				}
			}})
			b.Trip()
			time.Sleep(5 * time.Second)
			called := false
			err := b.Do(ctx, func(context.Context) error { called = true; return nil })
			check(t, called, err)
			if err := b.Do(t.Context(), always(nil)); err != nil || b.State() != BreakerClosed {
				t.Errorf("the trial's place is not free: %v, %v", err, b.State())
			}
		})
	})
}

// endsContext is a KeyStore during whose Begin a context ends.
type endsContext struct {
	*oddStore
	end func()
}

func (s endsContext) Begin(ctx context.Context, key string) ([]byte, bool, error) {
	s.end()
	return nil, false, nil
}
