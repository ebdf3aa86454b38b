package control

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/time/rate"

	"example.com/pipeline/seq"
)

// busy returns a policy that lets one call through at a time, and makes that call.
func busy(ctx context.Context, p Policy) Policy {
	go p.Do(ctx, blocking)
	synctest.Wait()
	return p
}

// tripped returns a breaker that is open.
func tripped(cfg BreakerConfig) *Breaker {
	b := NewBreaker(cfg)
	b.Trip()
	return b
}

// Every error of a call that was not made Is ErrRefused and the particular one, and
// fn has not been called.
func TestRefusals(t *testing.T) {
	stopped, closed := new(Gate), new(Gate)
	stopped.Stop()
	closed.Pause()
	policy := func(p Policy) func(context.Context) Policy { return func(context.Context) Policy { return p } }
	deadline := context.DeadlineExceeded
	tests := []struct {
		name   string
		policy func(context.Context) Policy
		is     error
	}{
		{"an open Breaker", func(context.Context) Policy { return tripped(BreakerConfig{}) }, ErrOpen},
		{"a stopped Gate", policy(stopped), ErrStopped},
		{"rate.Limiter: too late", policy(Rate(rate.NewLimiter(rate.Every(time.Hour), 1))), nil},
		{"rate.Limiter: never", policy(Rate(rate.NewLimiter(1, 0))), nil},
		{"Rate, ctx ends", policy(Rate(limiterFunc(blocking))), deadline},
		{"a closed Gate, ctx ends", policy(closed), deadline},
		{"InFlight, ctx ends", func(ctx context.Context) Policy { return busy(ctx, NewInFlight(1)) }, deadline},
		{"Adaptive, ctx ends", func(ctx context.Context) Policy { return busy(ctx, NewAdaptive(AdaptiveConfig{Max: 1})) }, deadline},
		{"Breaker with Hold, ctx ends", func(context.Context) Policy { return tripped(BreakerConfig{Hold: true, OpenFor: time.Hour}) }, deadline},
		{"WaitAtMost", policy(WaitAtMost(time.Second, closed)), nil},
		{"Timeout around a wait", policy(policyFunc(func(ctx context.Context, op func(context.Context) error) error {
			return Timeout(time.Second).Do(ctx, func(ctx context.Context) error { return closed.Do(ctx, op) })
		})), ErrTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				p := tt.policy(ctx)
				if l, ok := p.(rated); ok {
					if l, ok := l.limiter.(*rate.Limiter); ok {
						l.Allow() // the token that there is to begin with
					}
				}
				calls := 0
				for _, do := range []Policy{p, wrapped(p)} {
					limited, cancel := context.WithTimeout(ctx, time.Minute)
					defer cancel()
					err := do.Do(limited, failing(&calls))
					if !errors.Is(err, ErrRefused) || tt.is != nil && !errors.Is(err, tt.is) || calls != 0 {
						t.Errorf("error %v, %d calls; want none, ErrRefused and %v", err, calls, tt.is)
					}
				}
			})
		})
	}
	for _, err := range []error{ErrOpen, ErrStopped, ErrInProgress} {
		if !errors.Is(err, ErrRefused) || errors.Is(ErrRefused, err) {
			t.Errorf("%v is not ErrRefused, or ErrRefused is that", err)
		}
	}
}

// wrapped is p in a call of Wrap.
func wrapped(p Policy) Policy {
	return policyFunc(func(ctx context.Context, op func(context.Context) error) error {
		_, err := Wrap(func(ctx context.Context, _ int) (int, error) { return 0, op(ctx) }, p)(ctx, 0)
		return err
	})
}

func TestIdempotentRefuses(t *testing.T) {
	for _, begin := range []error{ErrInProgress, errBoom} {
		calls := 0
		call := Idempotent(func(context.Context, string) (int, error) { calls++; return 0, nil }, &oddStore{begin: begin}, orderKey)
		if _, err := call(t.Context(), "7"); !errors.Is(err, ErrRefused) || !errors.Is(err, begin) || calls != 0 {
			t.Errorf("error %v, %d calls", err, calls)
		}
	}
}

// A service that is well, behind a limiter that has no token for most calls before
// their deadline, in the order that Wrap recommends: the breaker has nothing to say.
func TestBreakerDoesNotCountRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(BreakerConfig{})
		call := Wrap(func(context.Context, int) (int, error) { return 0, nil },
			NewInFlight(200), Retry{Attempts: 2}, b, Rate(rate.NewLimiter(25, 1)), Timeout(time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var served, open, refused atomic.Int32
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				switch _, err := call(ctx, i); {
				case err == nil:
					served.Add(1)
				case errors.Is(err, ErrOpen):
					open.Add(1)
				case errors.Is(err, ErrRefused):
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		if b.State() != BreakerClosed || open.Load() > 0 || served.Load() < 25 || served.Load()+refused.Load() != 200 {
			t.Errorf("%v; of 200 calls %d served, %d ErrOpen, %d refused", b.State(), served.Load(), open.Load(), refused.Load())
		}
	})
}

func TestRefusedTrialFreesItsPlace(t *testing.T) {
	for _, refused := range []error{ErrStopped, ErrOpen, ErrInProgress, fmt.Errorf("elsewhere: %w", ErrRefused)} {
		synctest.Test(t, func(t *testing.T) {
			b := halfOpen(t.Context(), BreakerConfig{IsFailure: func(error) bool { return true }})
			for range 3 {
				if err := b.Do(t.Context(), always(refused)); err != refused || b.State() != BreakerHalfOpen {
					t.Errorf("refused: %v, %v", err, b.State())
				}
			}
			if err := b.Do(t.Context(), always(nil)); err != nil || b.State() != BreakerClosed {
				t.Errorf("%v, %v", err, b.State())
			}
		})
	}
}

func TestAdaptiveDoesNotCountRefusals(t *testing.T) {
	a := NewAdaptive(AdaptiveConfig{Initial: 64, IsOverload: func(error) bool { return true }})
	for range 1000 {
		a.Do(t.Context(), always(ErrOpen))
	}
	if a.Limit() != 64 || a.running != 0 {
		t.Errorf("limit %d, %d running", a.Limit(), a.running)
	}
}

// What Retry makes of refusals, which are no tries. fn's part of the script is nil
// for a success; what is refused does not get there.
func TestRetryAfterRefusals(t *testing.T) {
	inRow := func(n int, then ...error) []error { return append(repeat(ErrOpen, n), then...) }
	second := Constant(time.Second)
	tests := []struct {
		name   string
		retry  Retry
		script []error
		asked  int // calls, refused ones included
		took   time.Duration
		events string
		want   string // of the error; empty means success
		is     []error
		isNot  error
	}{
		{"then a success", Retry{Backoff: second}, inRow(4, nil), 5, 4 * time.Second, "0 0 0 0", "", nil, nil},
		{"so many as Attempts in a row", Retry{Attempts: 3, Backoff: second}, inRow(99), 3, 2 * time.Second, "0 0",
			"3 refusals in 2s: last error: control: the circuit is open", []error{ErrOpen, ErrRefused}, nil},
		{"one is enough for one attempt", Retry{Attempts: 1}, inRow(99), 1, 0, "", "control: the circuit is open", []error{ErrOpen, ErrRefused}, nil},
		{"they are no tries", Retry{Attempts: 3, Backoff: second}, []error{ErrOpen, errBoom, ErrOpen, ErrOpen, errBoom, ErrOpen, ErrOpen, errBoom, nil}, 8, 7 * time.Second,
			"0 1 1 1 2 2 2", "3 tries in 7s: last error: boom", []error{errBoom}, ErrRefused},
		{"the last ones after a try", Retry{Attempts: 2, Backoff: second}, []error{errBoom, ErrOpen, ErrOpen}, 3, 2 * time.Second, "1 1",
			"1 try in 2s: control: the circuit is open; last error: boom", []error{errBoom, ErrOpen}, ErrRefused},
		{"no busy loop", Retry{Attempts: 5, Backoff: Constant(0)}, inRow(99), 5, 4 * refusedSleep, "0 0 0 0",
			"5 refusals in 40ms: last error: control: the circuit is open", []error{ErrRefused}, nil},
		{"no end but MaxElapsed", Retry{Attempts: -1, Backoff: second, MaxElapsed: 9 * time.Second}, inRow(99), 10, 9 * time.Second, "0 0 0 0 0 0 0 0 0",
			"10 refusals in 9s: last error: control: the circuit is open", []error{ErrRefused}, nil},
		{"If decides", Retry{Backoff: second, If: func(err error) bool { return !errors.Is(err, ErrRefused) }}, inRow(99), 1, 0, "",
			"control: the circuit is open", []error{ErrRefused}, nil},
		{"ErrStopped", Retry{Attempts: -1, Backoff: second, If: func(error) bool { return true }}, []error{ErrStopped}, 1, 0, "",
			"control: the gate was stopped", []error{ErrStopped, ErrRefused}, nil},
		{"ErrStopped after a try", Retry{Attempts: -1, Backoff: second}, []error{errBoom, ErrStopped}, 2, time.Second, "1",
			"1 try in 1s: control: the gate was stopped; last error: boom", []error{ErrStopped, errBoom}, ErrRefused},
		{"ErrInProgress", Retry{Backoff: second}, []error{ErrInProgress, ErrInProgress, nil}, 3, 2 * time.Second, "0 0", "", nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var events []string
				tt.retry.OnRetry = func(e RetryEvent) { events = append(events, fmt.Sprint(e.Attempt)) }
				asked, begin := 0, time.Now()
				err := tt.retry.Do(t.Context(), failing(&asked, tt.script...))
				if took := time.Since(begin); asked != tt.asked || took != tt.took {
					t.Errorf("asked %d times in %v, want %d in %v", asked, took, tt.asked, tt.took)
				}
				text := ""
				if err != nil {
					text = err.Error()
				}
				if diff := cmp.Diff(tt.want, text); diff != "" {
					t.Error("the error, -want +got:\n" + diff)
				}
				if diff := cmp.Diff(tt.events, fmtJoin(events)); diff != "" {
					t.Error("the events' attempts, -want +got:\n" + diff)
				}
				for _, want := range tt.is {
					if !errors.Is(err, want) {
						t.Errorf("%v is not %v", err, want)
					}
				}
				if tt.isNot != nil && errors.Is(err, tt.isNot) {
					t.Errorf("%v is %v", err, tt.isNot)
				}
			})
		})
	}
}

func fmtJoin(words []string) (text string) {
	for i, w := range words {
		if i > 0 {
			text += " "
		}
		text += w
	}
	return text
}

// Behind an open breaker a retry sleeps until trials are let through, with Attempts
// that would be used up long before.
func TestRetryWaitsForTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(BreakerConfig{OpenFor: time.Hour})
		b.Trip()
		call := Wrap(func(context.Context, int) (int, error) { return 7, nil }, Retry{Attempts: 2, Backoff: Constant(time.Second)}, b)
		begin := time.Now()
		if got, err := call(t.Context(), 0); got != 7 || err != nil || time.Since(begin) != time.Hour+time.Second {
			t.Errorf("got %d, %v after %v", got, err, time.Since(begin))
		}
	})
}

func TestHedgeAfterRefusals(t *testing.T) {
	const s = time.Second
	type try struct {
		takes time.Duration
		err   error
	}
	tests := []struct {
		name  string
		tries []try // the last one for all that follow
		max   int
		begun int32
		took  time.Duration
		is    []error // none: success
		isNot error
	}{
		{"at once", []try{{0, ErrOpen}}, 5, 1, 0, []error{ErrOpen, ErrRefused}, nil},
		{"stopped at once", []try{{0, ErrStopped}}, 5, 1, 0, []error{ErrStopped, ErrRefused}, nil},
		{"beside a slow one", []try{{9*s + s/2, nil}, {0, ErrOpen}}, 3, 10, 9*s + s/2, nil, nil},
		{"stopped beside a slow one", []try{{9 * s, nil}, {0, ErrStopped}}, 9, 2, 9 * s, nil, nil},
		{"stopped beside one that fails", []try{{9 * s, errBoom}, {0, ErrStopped}}, 9, 2, 9 * s, []error{errBoom, ErrStopped}, ErrRefused},
		{"stopped, and then another refusal", []try{{9 * s, errBoom}, {3 * s, ErrOpen}, {0, ErrStopped}, {0, nil}}, 9, 3, 9 * s, []error{errBoom, ErrStopped}, ErrRefused},
		{"after a failure", []try{{s / 2, errBoom}, {0, ErrOpen}}, 9, 2, s / 2, []error{errBoom, ErrOpen}, ErrRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var begun atomic.Int32
				call := Hedge(func(ctx context.Context, _ int) (int, error) {
					i := int(begun.Add(1)) - 1
					what := tt.tries[min(i, len(tt.tries)-1)]
					if err := sleep(ctx, what.takes); err != nil {
						return 0, err
					}
					return 7, what.err
				}, s, tt.max)
				begin := time.Now()
				_, err := call(t.Context(), 0)
				if took := time.Since(begin); took != tt.took || begun.Load() != tt.begun || (err == nil) != (tt.is == nil) {
					t.Errorf("%v after %v and %d tries, want %v after %v and %d", err, took, begun.Load(), tt.is, tt.took, tt.begun)
				}
				for _, want := range tt.is {
					if !errors.Is(err, want) {
						t.Errorf("%v is not %v", err, want)
					}
				}
				if tt.isNot != nil && errors.Is(err, tt.isNot) {
					t.Errorf("%v is %v", err, tt.isNot)
				}
			})
		})
	}
}

func ExampleErrRefused() {
	var gate Gate
	call := Wrap(func(context.Context, int) (int, error) { return 0, nil }, NewBreaker(BreakerConfig{}), &gate)
	gate.Stop()
	for _, err := range seq.MapConcurrent(context.Background(), seq.Of(1), 1, call) {
		fmt.Println(errors.Is(err, ErrRefused), errors.Is(err, ErrStopped))
	}
	// Output: true true
}
