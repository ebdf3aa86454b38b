package control

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// Calls that a time limit around the policy ends have failed, and are too many.
func TestTimeLimitAroundAPolicy(t *testing.T) {
	errCustom := errors.New("custom")
	limits := map[string]func(context.Context) (context.Context, context.CancelFunc){
		"WithTimeout": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		},
		"with a cause": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeoutCause(ctx, time.Second, errCustom)
		},
		"further out": func(ctx context.Context) (context.Context, context.CancelFunc) {
			outer, cancelOuter := context.WithTimeout(ctx, time.Second)
			ctx, cancel := context.WithCancel(outer)
			return ctx, func() { cancel(); cancelOuter() }
		},
		"cancelled because of ErrTimeout": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(time.Second, func() { cancel(ErrTimeout) })
			return ctx, func() { cancel(nil) }
		},
		"an idle stream": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(time.Second, func() { cancel(&idleError{time.Second}) })
			return ctx, func() { cancel(nil) }
		},
	}
	isTimeout := func(err error) bool { return errors.Is(err, ErrTimeout) || errors.Is(err, context.DeadlineExceeded) }
	for name, limit := range limits {
		for _, returned := range []func(context.Context) error{
			func(ctx context.Context) error { return ctx.Err() },
			context.Cause,
			func(context.Context) error { return errBoom },
		} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var failures []func(error) bool = []func(error) bool{nil, isTimeout}
					if name == "cancelled because of ErrTimeout" || name == "an idle stream" {
						failures[1] = func(err error) bool { return errors.Is(err, ErrTimeout) }
					}
					for _, isFailure := range failures {
						b := NewBreaker(BreakerConfig{IsFailure: isFailure})
						a := NewAdaptive(AdaptiveConfig{Initial: 64, IsOverload: isFailure})
						for range 50 {
							ctx, cancel := limit(t.Context())
							Wrap(func(ctx context.Context, _ int) (int, error) {
								<-ctx.Done()
								return 0, returned(ctx)
							}, b, a)(ctx, 0)
							cancel()
						}
						if b.State() != BreakerOpen {
							t.Errorf("the breaker is %v", b.State())
						}
						if a.Limit() >= 64 {
							t.Errorf("the limit is still %d", a.Limit())
						}
					}
				})
			})
		}
	}
	t.Run("Timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := NewBreaker(BreakerConfig{})
			call := Wrap(func(ctx context.Context, _ int) (int, error) { return 0, blocking(ctx) }, Timeout(time.Second), b)
			timedOut := 0
			for range 50 {
				if _, err := call(t.Context(), 0); errors.Is(err, ErrTimeout) && !errors.Is(err, ErrOpen) {
					timedOut++
				}
			}
			if timedOut != 10 || b.State() == BreakerClosed {
				t.Errorf("%d calls timed out, %v; want it open after 10", timedOut, b.State())
			}
		})
	})
}

// A caller who leaves says nothing, whatever IsFailure would say, and not because the
// call beside it, for whose sake it was cancelled, has timed out.
func TestCallersWhoLeaveAreNobodysFault(t *testing.T) {
	sibling := fmt.Errorf("item 7: %w", &timeoutError{time.Second, context.DeadlineExceeded})
	for _, cause := range []error{nil, errBoom, sibling} {
		b := NewBreaker(BreakerConfig{MinCalls: 1, IsFailure: func(error) bool { return true }})
		a := NewAdaptive(AdaptiveConfig{Initial: 64, IsOverload: func(error) bool { return true }})
		for range 100 {
			ctx, cancel := context.WithCancelCause(t.Context())
			Wrap(func(ctx context.Context, _ int) (int, error) { cancel(cause); return 0, blocking(ctx) }, b, a)(ctx, 0)
		}
		if b.State() != BreakerClosed || a.Limit() != 64 {
			t.Errorf("cause %v: %v, limit %d", cause, b.State(), a.Limit())
		}
	}
}

func TestBreakerIgnore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errIgnored := errors.New("404")
		ctx := t.Context()
		cfg := BreakerConfig{MinCalls: 4, Ignore: func(err error) bool { return errors.Is(err, errIgnored) }}
		b := NewBreaker(cfg)
		trip(ctx, b, 3)
		for range 100 { // as successes they would keep the rate low
			b.Do(ctx, always(errIgnored))
		}
		if b.State() != BreakerClosed {
			t.Fatalf("%v before there were as many calls as MinCalls", b.State())
		}
		trip(ctx, b, 1)
		if b.State() != BreakerOpen || b.outage.calls != 4 {
			t.Errorf("%v, counted %+v", b.State(), b.outage)
		}
		time.Sleep(5 * time.Second)
		for range 3 {
			if b.Do(ctx, always(errIgnored)); b.State() != BreakerHalfOpen {
				t.Errorf("%v after a trial that is ignored", b.State())
			}
		}
		if b.Do(ctx, always(nil)); b.State() != BreakerClosed {
			t.Errorf("%v after a trial that succeeded", b.State())
		}
		cfg.Ignore = func(err error) bool { return true }
		b = NewBreaker(cfg)
		b.Trip()
		time.Sleep(5 * time.Second)
		b.Do(ctx, always(seq.ErrSkip))
		if b.State() == BreakerClosed {
			t.Error("an ErrSkip that is ignored has closed the breaker")
		}
	})
}

// Without Ignore, what IsFailure says no to is a success.
func TestBreakerIsFailureFalseIsASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := halfOpen(t.Context(), BreakerConfig{IsFailure: func(err error) bool { return err == errBoom }})
		b.Do(t.Context(), always(errors.New("404")))
		if b.State() != BreakerClosed {
			t.Errorf("%v", b.State())
		}
	})
}

func TestBreakerConsecutive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		b := NewBreaker(BreakerConfig{Consecutive: 3, MinCalls: 1000})
		for range 100 {
			trip(ctx, b, 2)
			b.Do(ctx, always(nil))
		}
		trip(ctx, b, 2)
		time.Sleep(time.Hour) // they may take long
		b.Do(ctx, always(ErrRefused))
		if b.State() != BreakerClosed {
			t.Fatalf("%v after 2 failures in a row", b.State())
		}
		trip(ctx, b, 1)
		err := b.Do(ctx, always(nil))
		if want := "control: the circuit is open: 3 calls in a row failed, next trial in 5s; last error: boom"; err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
		time.Sleep(5 * time.Second)
		b.Do(ctx, always(nil))
		trip(ctx, b, 2)
		if b.State() != BreakerClosed {
			t.Errorf("%v: failures from before the outage count", b.State())
		}
	})
}

// Successes that are counted without the mutex end a row as others do.
func TestBreakerConsecutiveAgainstModel(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 2))
			b := NewBreaker(BreakerConfig{Consecutive: 4, MinCalls: 1 << 30})
			row := 0
			for i := range 2000 {
				if random.IntN(10) == 0 {
					time.Sleep(time.Duration(random.Int64N(int64(time.Second))))
				}
				if random.IntN(3) > 0 {
					b.Do(t.Context(), always(errBoom))
					row++
				} else {
					b.Do(t.Context(), always(nil))
					row = 0
				}
				if open := b.State() == BreakerOpen; open != (row == 4) {
					t.Fatalf("seed %d, call %d: open %t after %d failures in a row", seed, i, open, row)
				}
				if row == 4 {
					b.Reset()
					row = 0
				}
			}
		})
	}
}

func TestBreakerResetAndTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		var trail []string
		b := NewBreaker(BreakerConfig{MinCalls: 4, OpenFor: 2 * time.Second, OnChange: changesOf(&trail)})
		want := func(state BreakerState) {
			t.Helper()
			if got := b.State(); got != state {
				t.Errorf("%v, want %v", got, state)
			}
		}
		trip(ctx, b, 3)
		b.Reset() // closed before, but what was counted is forgotten
		trip(ctx, b, 3)
		want(BreakerClosed)
		late := make(chan error)
		done := make(chan error)
		go func() { done <- b.Do(ctx, func(context.Context) error { return <-late }) }()
		synctest.Wait()
		b.Reset()
		trip(ctx, b, 3)
		late <- errBoom // of a call that began before
		<-done
		want(BreakerClosed)

		b.Trip()
		want(BreakerOpen)
		err := b.Do(ctx, always(nil))
		if want := "control: the circuit is open: it was tripped, next trial in 2s"; err == nil || err.Error() != want || !errors.Is(err, ErrOpen) {
			t.Errorf("error %v, want %s", err, want)
		}
		time.Sleep(time.Second)
		b.Trip() // from now on
		time.Sleep(2*time.Second - 1)
		want(BreakerOpen)
		time.Sleep(1)
		want(BreakerHalfOpen)
		b.Trip()
		want(BreakerOpen)
		b.Reset()
		want(BreakerClosed)
		if err := b.Do(ctx, always(nil)); err != nil {
			t.Errorf("after Reset: %v", err)
		}
		if got := strings.Join(trail, " "); got != "closed-open open-half open half open-open open-closed" {
			t.Errorf("changes: %s", got)
		}
	})
}

// Reset lets those go on who are held up, in order.
func TestBreakerResetReleasesTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(BreakerConfig{OpenFor: time.Hour, Hold: true})
		b.Trip()
		begin := time.Now()
		for range 5 {
			go func() {
				if err := b.Do(t.Context(), always(nil)); err != nil || time.Since(begin) != time.Minute {
					t.Errorf("%v after %v", err, time.Since(begin))
				}
			}()
		}
		time.Sleep(time.Minute)
		b.Reset()
		synctest.Wait()
		if !b.line.empty() || b.lane.epoch() == 0 {
			t.Error("the fast way is not open again")
		}
	})
}

func ExampleBreaker_Trip() {
	ctx := context.Background()
	breaker := NewBreaker(BreakerConfig{})
	breaker.Trip() // somebody knows that the service is down
	err := breaker.Do(ctx, func(context.Context) error { return nil })
	fmt.Println(breaker.State(), errors.Is(err, ErrOpen))
	// Output: open true
}

func ExampleBreaker_Reset() {
	ctx := context.Background()
	breaker := NewBreaker(BreakerConfig{})
	breaker.Trip()
	breaker.Reset() // somebody knows that it is up again
	err := breaker.Do(ctx, func(context.Context) error { return nil })
	fmt.Println(breaker.State(), err)
	// Output: closed <nil>
}
