package control

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"example.com/pipeline/seq"
)

// A call that waits for its turn is let go at the Stop of the gate in its ctx, at once,
// and is not made; others who wait for the same turn stay.
func TestStopEndsWaits(t *testing.T) {
	occupied := func(p Policy) Policy {
		go p.Do(context.Background(), func(context.Context) error { time.Sleep(time.Minute); return nil })
		synctest.Wait()
		return p
	}
	taken := func(l Limiter) Policy { l.Wait(context.Background()); return Rate(l) }
	paused := new(Gate)
	for name, build := range map[string]func() Policy{
		"InFlight":     func() Policy { return occupied(NewInFlight(1)) },
		"Adaptive":     func() Policy { return occupied(NewAdaptive(AdaptiveConfig{Max: 1})) },
		"Pacer":        func() Policy { return taken(NewPacer(1.0 / 60)) },
		"rate.Limiter": func() Policy { return taken(rate.NewLimiter(rate.Every(time.Minute), 1)) },
		"another gate": func() Policy { paused.PauseFor(time.Minute); return paused },
		"Breaker":      func() Policy { return tripped(BreakerConfig{Hold: true, OpenFor: time.Minute}) },
		"WaitAtMost":   func() Policy { return WaitAtMost(time.Hour, occupied(NewInFlight(1))) },
		"in a retry": func() Policy {
			p := occupied(NewInFlight(1))
			return policyFunc(func(ctx context.Context, op func(context.Context) error) error {
				return Retry{}.Do(ctx, func(ctx context.Context) error { return p.Do(ctx, op) })
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, g, begin := build(), new(Gate), time.Now()
				time.AfterFunc(5*s, g.Stop)
				var made atomic.Int32
				op := func(context.Context) error { made.Add(1); return nil }
				other := make(chan error)
				go func() { other <- p.Do(WithGate(t.Context(), new(Gate)), op) }()
				synctest.Wait()
				for _, again := range []bool{false, true} { // then with the gate stopped before
					err := p.Do(WithGate(t.Context(), g), op)
					if took := time.Since(begin); !errors.Is(err, ErrStopped) || !errors.Is(err, ErrRefused) || made.Load() != 0 || took != 5*s {
						t.Errorf("again %t: %v after %v, %d calls; want ErrStopped after 5s without a call", again, err, took, made.Load())
					}
				}
				if err := <-other; err != nil || made.Load() != 1 || time.Since(begin) < 50*s {
					t.Errorf("the other: %v after %v, %d calls", err, time.Since(begin), made.Load())
				}
				if len(g.watches) != 0 {
					t.Error("a watch is left")
				}
			})
		})
	}
}

// The end of ctx says more than a stop at the same moment.
func TestStopAndTheEndOfTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		g, paused := new(Gate), new(Gate)
		paused.Pause()
		time.AfterFunc(s, func() { cancel(enough); g.Stop() })
		if err := paused.Wait(WithGate(ctx, g)); !errors.Is(err, enough) || errors.Is(err, ErrStopped) {
			t.Errorf("error %v", err)
		}
	})
}

// A call that need not wait is made, whatever is stopped: whether the item begins is the
// stage's question.
func TestStopDoesNotRefuseWhatNeedNotWait(t *testing.T) {
	g := new(Gate)
	g.Stop()
	call := Wrap(func(_ context.Context, v int) (int, error) { return v, nil },
		Retry{}, NewBreaker(BreakerConfig{Hold: true}), NewInFlight(1), NewAdaptive(AdaptiveConfig{}), Rate(NewPacer(1)), Timeout(s))
	if v, err := call(WithGate(t.Context(), g), 7); v != 7 || err != nil {
		t.Errorf("%d, %v", v, err)
	}
	keys := Idempotent(func(_ context.Context, v int) (int, error) { return v, nil }, NewKeys(1, 0), func(int) string { return "key" })
	for range 2 {
		if v, err := keys(WithGate(t.Context(), g), 7); v != 7 || err != nil {
			t.Errorf("Idempotent: %d, %v", v, err)
		}
	}
}

func TestStopEndsTheWaitForAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, keys, begin := new(Gate), NewKeys(1, 0), time.Now()
		keys.Begin(t.Context(), "key")
		time.AfterFunc(s, g.Stop)
		call := Idempotent(func(context.Context, int) (int, error) { return 0, nil }, keys, func(int) string { return "key" })
		_, err := call(WithGate(t.Context(), g), 1)
		if !errors.Is(err, ErrStopped) || !errors.Is(err, ErrRefused) || time.Since(begin) != s {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// A retry makes no further try.
func TestStopEndsRetries(t *testing.T) {
	for name, sleeps := range map[string]time.Duration{"in a sleep": 3 * time.Hour, "in a try": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, tries, events, begin := new(Gate), 0, 0, time.Now()
				time.AfterFunc(2500*ms, g.Stop)
				r := Retry{Attempts: -1, Backoff: Constant(0), OnRetry: func(RetryEvent) { events++ }}
				err := r.Do(WithGate(t.Context(), g), func(context.Context) error {
					tries++
					time.Sleep(s)
					if tries == 2 {
						return RetryAfter(errBoom, sleeps)
					}
					return errBoom
				})
				took, want, wantTries := time.Since(begin), 2500*ms, 2
				if sleeps == 0 {
					want, wantTries = 3*s, 3
				}
				if !errors.Is(err, ErrStopped) || !errors.Is(err, seq.ErrStopped) || !errors.Is(err, errBoom) || errors.Is(err, ErrRefused) {
					t.Errorf("error %v; want ErrStopped and the last try's, and not that no call was made", err)
				}
				if took != want || tries != wantTries || events != tries {
					t.Errorf("%d tries and %d events in %v, want %d and as many in %v", tries, events, took, wantTries, want)
				}
			})
		})
	}
}

func TestStopEndsHedges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(Gate)
		var tries atomic.Int32
		call := Hedge(func(ctx context.Context, v int) (int, error) {
			tries.Add(1)
			return v, sleep(ctx, 35*s)
		}, 10*s, 10)
		time.AfterFunc(15*s, g.Stop)
		begin := time.Now()
		if v, err := call(WithGate(t.Context(), g), 7); v != 7 || err != nil || tries.Load() != 2 || time.Since(begin) != 35*s {
			t.Errorf("%d, %v after %v and %d tries; want 7 after 35s and 2", v, err, time.Since(begin), tries.Load())
		}
	})
}

// The window is full of items, and calls sleep for Retry-After: the drain takes no longer
// than one call, and nothing begins.
func TestStopDrainsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(Gate)
		ctx, begin := WithGate(t.Context(), g), time.Now()
		var begun atomic.Int32
		call := func(_ context.Context, v int) (int, error) {
			if g.stopped.Load() {
				t.Errorf("a call of item %d begins after Stop", v)
			}
			begun.Add(1)
			time.Sleep(100 * ms)
			if v%5 == 4 {
				return 0, RetryAfter(errBoom, 3*s)
			}
			return v, nil
		}
		time.AfterFunc(250*ms, g.Stop)
		done, refused := 0, 0
		lines := seq.MapConcurrent(ctx, Gated(ctx, upTo(1000), g), 4, Wrap(call, Retry{Pause: g}, NewInFlight(3)), seq.Window(256))
		for v, err := range lines {
			switch {
			case err == nil && v == done+refused:
				done++
			case errors.Is(err, ErrStopped) && errors.Is(err, seq.ErrStopped) && seq.IsItemError(err):
				if item, _ := seq.FailedItem[int](err); item != done+refused {
					t.Errorf("error of item %d at %d", item, done+refused)
				}
				refused++
			default:
				t.Errorf("%d, %v", v, err)
			}
		}
		if took := time.Since(begin); took > 350*ms || refused == 0 || done == 0 {
			t.Errorf("%d done, %d not done after %v", done, refused, took)
		}
	})
}

// A gate in ctx is as good as its own.
func TestGatedStopsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, closed := range []bool{false, true} {
			own, g := new(Gate), new(Gate)
			if closed {
				own.Pause()
			}
			time.AfterFunc(5*s, g.Stop)
			begin := time.Now()
			n, err := seq.Count(Gated(WithGate(t.Context(), g), each(upTo(100), 2*s), own))
			if took := time.Since(begin); err != nil || closed != (n == 0) || took > 6*s || took < 5*s {
				t.Errorf("closed %t: %d items, %v after %v", closed, n, err, took)
			}
		}
	})
}

// The source was retrying: its error is the end of the stream, unless there was no stop.
func TestGatedEndsWithTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(Gate)
		ctx := WithGate(t.Context(), g)
		source := seq.FromFunc(ctx, func(ctx context.Context) (v int, err error) {
			return 0, Retry{}.Do(ctx, always(RetryAfter(errBoom, time.Hour)))
		})
		time.AfterFunc(s, g.Stop)
		if n, err := seq.Count(Gated(ctx, source, g)); n != 0 || err != nil {
			t.Errorf("%d items, %v", n, err)
		}
		if err := seq.Drain(Gated(t.Context(), seq.Fail[int](ErrStopped), new(Gate))); err != ErrStopped {
			t.Errorf("without a stop: %v", err)
		}
	})
}

func TestRateLimitStops(t *testing.T) {
	for name, l := range map[string]Limiter{"Pacer": NewPacer(1), "rate.Limiter": rate.NewLimiter(1, 1)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if name == "Pacer" {
					l = NewPacer(1)
				}
				g := new(Gate)
				time.AfterFunc(2500*ms, g.Stop)
				n, begin := 0, time.Now()
				for v, err := range RateLimit(WithGate(t.Context(), g), seq.Take(upTo(100), 5), l) {
					if err == nil && v == n {
						n++
					} else if item, _ := seq.FailedItem[int](err); item < 3 || !errors.Is(err, ErrStopped) {
						t.Errorf("%d, %v", v, err)
					}
				}
				if took := time.Since(begin); n != 3 || took != 2500*ms {
					t.Errorf("%d items in %v, want 3 in 2.5s", n, took)
				}
			})
		})
	}
}

func TestWithGate(t *testing.T) {
	outer, inner := new(Gate), new(Gate)
	ctx := WithGate(WithGate(t.Context(), outer), inner)
	if err := seq.Stopped(ctx); err != nil {
		t.Errorf("open: %v", err)
	}
	outer.Stop()
	if err := seq.Stopped(ctx); err != ErrStopped || !errors.Is(err, seq.ErrStopped) || waitEnded(ctx) != ErrStopped {
		t.Errorf("stopped: %v", err)
	}
	if free := WithGate(ctx, nil); seq.Stopped(free) != nil || waitEnded(free) != nil {
		t.Error("the gates are still there")
	}
	if errors.Is(ErrOpen, seq.ErrStopped) || errors.Is(ErrInProgress, seq.ErrStopped) {
		t.Error("every refusal is a stop")
	}
}

// What was pulled and not begun comes out as errors, which hold the items.
func ExampleWithGate() {
	gate := new(Gate)
	ctx := WithGate(context.Background(), gate)
	call := func(_ context.Context, n int) (int, error) {
		if n == 2 {
			gate.Stop() // as a handler of SIGTERM would
		}
		return n * n, nil
	}
	for n, err := range seq.MapConcurrent(ctx, seq.Of(1, 2, 3, 4), 1, call) {
		if errors.Is(err, ErrStopped) {
			left, _ := seq.FailedItem[int](err)
			fmt.Println("not begun:", left)
			continue
		}
		fmt.Println(n, err)
	}
	// Output:
	// 1 <nil>
	// 4 <nil>
	// not begun: 3
	// not begun: 4
}
