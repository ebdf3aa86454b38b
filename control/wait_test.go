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

	"golang.org/x/time/rate"
)

// Whatever it waits for, a call that has not begun in time is refused at that time,
// and one that may begin earlier is made.
func TestWaitAtMost(t *testing.T) {
	spent := rate.NewLimiter(rate.Every(5*time.Second), 1)
	for name, build := range map[string]func(context.Context) Policy{ // each lets a call begin after 5 s
		"InFlight": func(ctx context.Context) Policy {
			p := NewInFlight(1)
			go p.Do(ctx, func(ctx context.Context) error { return sleep(ctx, 5*time.Second) })
			return p
		},
		"Adaptive": func(ctx context.Context) Policy {
			p := NewAdaptive(AdaptiveConfig{Max: 1})
			go p.Do(ctx, func(ctx context.Context) error { return sleep(ctx, 5*time.Second) })
			return p
		},
		"rate.Limiter": func(context.Context) Policy {
			spent.AllowN(time.Now(), 1)
			return Rate(spent)
		},
		"Pacer": func(ctx context.Context) Policy {
			p := NewPacer(0.2)
			p.Wait(ctx)
			return Rate(p)
		},
		"Gate": func(context.Context) Policy {
			g := new(Gate)
			g.PauseFor(5 * time.Second)
			return g
		},
		"Breaker": func(context.Context) Policy { return tripped(BreakerConfig{Hold: true, OpenFor: 5 * time.Second}) },
		"of another package": func(context.Context) Policy {
			return policyFunc(func(ctx context.Context, op func(context.Context) error) error {
				if err := sleep(ctx, 5*time.Second); err != nil {
					return ctx.Err()
				}
				return op(ctx)
			})
		},
		"deaf": func(context.Context) Policy { // lets the call begin although nobody waits for it any more
			return policyFunc(func(ctx context.Context, op func(context.Context) error) error {
				select {
				case <-time.After(5 * time.Second):
				case <-ctx.Done():
				}
				return op(ctx)
			})
		},
		"itself": func(context.Context) Policy {
			g := new(Gate)
			g.PauseFor(5 * time.Second)
			return WaitAtMost(time.Hour, g)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, direct := range []bool{true, false} {
					p := build(t.Context())
					synctest.Wait()
					do := func(d time.Duration) (called bool, took time.Duration, err error) {
						begin := time.Now()
						op := func(ctx context.Context) error {
							called, took = true, time.Since(begin)
							return sleep(ctx, time.Hour) // longer than it may wait
						}
						if direct {
							err = WaitAtMost(d, p).Do(t.Context(), op)
						} else {
							err = wrapped(WaitAtMost(d, p)).Do(t.Context(), op)
						}
						if !called {
							took = time.Since(begin)
						}
						return called, took, err
					}
					called, took, err := do(2 * time.Second)
					if called || took != 2*time.Second || !errors.Is(err, ErrRefused) || errors.Is(err, context.Canceled) {
						t.Errorf("2s: called %t after %v, %v", called, took, err)
					}
					called, took, err = do(time.Minute)
					if !called || took > 5*time.Second || err != nil {
						t.Errorf("1m: called %t after %v, %v", called, took, err)
					}
					time.Sleep(time.Hour)
				}
			})
		})
	}
}

func TestWaitAtMostPassesOtherEndsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed, stopped := new(Gate), new(Gate)
		closed.Pause()
		stopped.Stop()
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(errBoom) })
		calls := 0
		err := WaitAtMost(time.Minute, closed).Do(ctx, failing(&calls))
		if !errors.Is(err, context.Canceled) || !errors.Is(err, errBoom) || !errors.Is(err, ErrRefused) || calls != 0 {
			t.Errorf("the end of ctx: %v, %d calls", err, calls)
		}
		if err := WaitAtMost(time.Minute, stopped).Do(t.Context(), failing(&calls)); err != ErrStopped || calls != 0 {
			t.Errorf("stopped: %v, %d calls", err, calls)
		}
		if err := WaitAtMost(time.Minute, new(Gate)).Do(t.Context(), always(errBoom)); err != errBoom {
			t.Errorf("the call's own error: %v", err)
		}
		// One that gives up for two reasons says both.
		both := policyFunc(func(ctx context.Context, op func(context.Context) error) error { <-ctx.Done(); return errBoom })
		if err := WaitAtMost(time.Minute, both).Do(t.Context(), failing(&calls)); !errors.Is(err, ErrRefused) || !errors.Is(err, errBoom) {
			t.Errorf("both: %v", err)
		}
		// The context of a call through a plain policy is the caller's own: it does not end with Do.
		var kept context.Context
		err = WaitAtMost(time.Minute, NewInFlight(1)).Do(t.Context(), func(ctx context.Context) error { kept = ctx; return nil })
		if err != nil || kept.Err() != nil {
			t.Errorf("%v, the call's ctx: %v", err, kept.Err())
		}
	})
}

// For the tries of a Retry it bounds the wait of the first one alone.
func TestWaitAtMostAroundRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		err := WaitAtMost(time.Second, Retry{Backoff: Constant(time.Minute)}).Do(t.Context(), failing(&calls, errBoom, errBoom))
		if err != nil || calls != 3 {
			t.Errorf("%v, %d calls", err, calls)
		}
	})
}

// A queue that is bounded in time, under load: every call is either made whole or
// refused after exactly that time, and nothing is left behind.
func TestWaitAtMostUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inFlight := NewInFlight(2)
		call := Wrap(func(ctx context.Context, _ int) (int, error) {
			if err := sleep(ctx, time.Second); err != nil {
				t.Error("a call was abandoned:", err)
			}
			return 0, nil
		}, WaitAtMost(2500*time.Millisecond, inFlight))
		var made, refused atomic.Int32
		var wg sync.WaitGroup
		begin := time.Now()
		for i := range 20 {
			wg.Go(func() {
				_, err := call(t.Context(), i)
				switch {
				case err == nil:
					made.Add(1)
				case errors.Is(err, ErrRefused) && time.Since(begin) == 2500*time.Millisecond:
					refused.Add(1)
				default:
					t.Errorf("%v after %v", err, time.Since(begin))
				}
			})
		}
		wg.Wait()
		if made.Load() != 6 || refused.Load() != 14 { // two each at 0, 1 and 2 s
			t.Errorf("%d made, %d refused", made.Load(), refused.Load())
		}
		if !inFlight.slots.TryAcquire(2) {
			t.Error("a slot is lost")
		}
	})
}

// When the time is up at the very moment at which the call may begin, one of the two
// happens.
func TestWaitAtMostAtTheVeryMoment(t *testing.T) {
	both := [2]int{}
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			g := new(Gate)
			g.PauseFor(time.Second)
			called := false
			err := WaitAtMost(time.Second, g).Do(t.Context(), func(ctx context.Context) error { called = true; return sleep(ctx, time.Second) })
			if called != (err == nil) || err != nil && !errors.Is(err, ErrRefused) {
				t.Errorf("called %t, %v", called, err)
			}
			if called {
				both[0]++
			} else {
				both[1]++
			}
		})
	}
	t.Logf("%d calls made, %d refused", both[0], both[1])
}

func ExampleWaitAtMost() {
	// At most one call at once, and a queue whose wait is bounded.
	api := NewInFlight(1)
	call := Wrap(func(_ context.Context, n int) (int, error) { return n, nil }, WaitAtMost(50*time.Millisecond, api))
	ctx := context.Background()
	api.Do(ctx, func(ctx context.Context) error { // the API is busy
		_, err := call(ctx, 7)
		fmt.Println(errors.Is(err, ErrRefused), err)
		return nil
	})
	fmt.Println(call(ctx, 7))
	// Output:
	// true control.WaitAtMost: the call was not made, since it had to wait for more than 50ms
	// 7 <nil>
}
