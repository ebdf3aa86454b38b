package control

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// trip makes b fail n times.
func trip(ctx context.Context, b *Breaker, n int) {
	for range n {
		b.Do(ctx, always(errBoom))
	}
}

// changesOf returns an OnChange that appends to trail what changes.
func changesOf(trail *[]string) func(from, to BreakerState) {
	return func(from, to BreakerState) { *trail = append(*trail, fmt.Sprintf("%v-%v", from, to)) }
}

func TestBreakerOpensAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var trail []string
		ctx := t.Context()
		b := NewBreaker(BreakerConfig{MinCalls: 4, OpenFor: 2 * time.Second, OnChange: changesOf(&trail)})
		trip(ctx, b, 3)
		if got := b.State(); got != BreakerClosed {
			t.Fatalf("%v after fewer calls than MinCalls", got)
		}
		trip(ctx, b, 1)
		if got := b.State(); got != BreakerOpen {
			t.Fatalf("%v after 4 failures", got)
		}
		calls := 0
		err := b.Do(ctx, failing(&calls))
		want := "control: the circuit is open: 4 of 4 calls failed within 10s, next trial in 2s; last error: boom"
		if err == nil || err.Error() != want || !errors.Is(err, ErrOpen) || !errors.Is(err, errBoom) || calls != 0 {
			t.Errorf("open: %d calls, %v, want none, %s", calls, err, want)
		}
		time.Sleep(2*time.Second - 1)
		if got := b.State(); got != BreakerOpen {
			t.Errorf("%v before its time", got)
		}
		time.Sleep(1)
		if got := b.State(); got != BreakerHalfOpen {
			t.Errorf("%v when it was time", got)
		}
		trip(ctx, b, 1)
		if got := b.State(); got != BreakerOpen {
			t.Errorf("%v after a failed trial", got)
		}
		if err := b.Do(ctx, always(nil)); err == nil || !strings.Contains(err.Error(), "a trial call failed, next trial in 2s") {
			t.Errorf("open again: %v", err)
		}
		time.Sleep(2 * time.Second)
		if err := b.Do(ctx, always(nil)); err != nil {
			t.Errorf("trial: %v", err)
		}
		if got := b.State(); got != BreakerClosed {
			t.Errorf("%v after a successful trial", got)
		}
		if got := strings.Join(trail, " "); got != "closed-open open-half open half open-open open-half open half open-closed" {
			t.Errorf("changes: %s", got)
		}
		trip(ctx, b, 3)
		if got := b.State(); got != BreakerClosed {
			t.Errorf("%v: calls from before the outage counted", got)
		}
	})
}

func TestBreakerFailureRate(t *testing.T) {
	tests := []struct {
		rate            float64
		failures, calls int
		want            BreakerState
	}{
		{0, 5, 10, BreakerOpen}, // the default is 0.5
		{0, 4, 10, BreakerClosed},
		{0.3, 3, 10, BreakerOpen},
		{0.55, 55, 100, BreakerOpen},
		{0.55, 54, 100, BreakerClosed},
		{1, 100, 100, BreakerOpen},
		{1, 99, 100, BreakerClosed},
	}
	for _, tt := range tests {
		// Failures come last or first: the verdict is the same.
		for _, last := range []bool{true, false} {
			b := NewBreaker(BreakerConfig{MinCalls: tt.calls, FailureRate: tt.rate})
			for i := range tt.calls {
				failed := i < tt.failures
				if last {
					failed = i >= tt.calls-tt.failures
				}
				if failed {
					b.Do(t.Context(), always(errBoom))
				} else {
					b.Do(t.Context(), always(nil))
				}
			}
			if got := b.State(); got != tt.want {
				t.Errorf("rate %v, %d of %d failed, last %t: %v, want %v", tt.rate, tt.failures, tt.calls, last, got, tt.want)
			}
		}
	}
}

func TestBreakerWindowSlides(t *testing.T) {
	tests := []struct {
		name string
		gap  time.Duration // between the first 5 failures and the next 5
		want BreakerState
	}{
		{"at once", 0, BreakerOpen},
		{"just within the window", 10*time.Second - 1, BreakerOpen},
		{"just after it", 10 * time.Second, BreakerClosed},
		{"long after it", time.Hour, BreakerClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := NewBreaker(BreakerConfig{})
				trip(t.Context(), b, 5)
				time.Sleep(tt.gap)
				trip(t.Context(), b, 5)
				if got := b.State(); got != tt.want {
					t.Errorf("%v, want %v", got, tt.want)
				}
			})
		})
	}
}

// TestWindowAgainstModel compares the sums with those of a window that remembers
// every call, to within a bucket.
func TestWindowAgainstModel(t *testing.T) {
	const span = 64 * 100
	var w window
	w.init(span)
	type call struct {
		at     time.Duration
		failed bool
	}
	var all []call
	now := time.Duration(1 << 40)
	for i := range 20_000 {
		switch {
		case i%1000 == 999:
			now += 3 * span
		case i%100 == 99:
			now += span / 2
		default:
			now += time.Duration(i * 7919 % 97)
		}
		failed := i*31%11 < 4
		all = append(all, call{now, failed})
		calls, failures := w.add(now, failed)
		count := func(since time.Duration) (calls, failures int) {
			for j := len(all) - 1; j >= 0 && all[j].at > since; j-- {
				calls++
				if all[j].failed {
					failures++
				}
			}
			return calls, failures
		}
		mostCalls, mostFailures := count(now - span)
		leastCalls, leastFailures := count(now - span + w.width)
		if calls < leastCalls || calls > mostCalls || failures < leastFailures || failures > mostFailures {
			t.Fatalf("call %d: %d/%d, want %d/%d to %d/%d", i, failures, calls, leastFailures, leastCalls, mostFailures, mostCalls)
		}
	}
}

// Timers are too coarse for the buckets of a short window.
func TestBreakerUsesNoTimerForAShortWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for span, want := range map[time.Duration]bool{64 * leastBucket: true, 64*leastBucket - 1: false} {
			b := NewBreaker(BreakerConfig{Window: span})
			b.Do(t.Context(), always(nil))
			if got := b.lane.word.Load()&laneCounts != 0; got != want {
				t.Errorf("Window %v: counted without the clock %t, want %t", span, got, want)
			}
		}
	})
}

// TestBreakerAgainstModel compares a breaker with one that looks at the clock for
// every call: most of the successes of this one are counted without.
func TestBreakerAgainstModel(t *testing.T) {
	const minCalls, rate, openFor = 20, 0.3, time.Second
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			ctx := t.Context()
			b := NewBreaker(BreakerConfig{MinCalls: minCalls, FailureRate: rate, OpenFor: openFor})
			var model window
			model.init(b.cfg.Window)
			bad := random.Float64() * rate * 1.2
			for i := range 3000 {
				switch random.IntN(40) {
				case 0:
					time.Sleep(time.Duration(random.Int64N(int64(b.cfg.Window))))
				case 1, 2, 3, 4:
					time.Sleep(time.Duration(random.Int64N(int64(2 * model.width))))
				case 5:
					time.Sleep(model.width) // where buckets meet
				case 6:
					bad = random.Float64() * rate * 1.2
				}
				failed := random.Float64() < bad
				if failed {
					b.Do(ctx, always(errBoom))
				} else {
					b.Do(ctx, always(nil))
				}
				want := BreakerClosed
				calls, failures := model.add(clock(), failed)
				if calls >= minCalls && float64(failures)/float64(calls) >= rate {
					want = BreakerOpen
				}
				if got := b.State(); got != want {
					t.Fatalf("seed %d, call %d: %v, want %v: %d of %d calls failed", seed, i, got, want, failures, calls)
				}
				if want == BreakerOpen {
					if why := b.outage; why.calls != calls || why.failures != failures {
						t.Fatalf("seed %d, call %d: %d of %d calls failed, want %d of %d", seed, i, why.failures, why.calls, failures, calls)
					}
					time.Sleep(openFor)
					b.Do(ctx, always(nil))
					model.clear()
				}
			}
		})
	}
}

func TestBreakerJudges(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	only := func(err error) func(error) bool {
		return func(e error) bool { return e == err }
	}
	tests := []struct {
		name      string
		ctx       context.Context
		isFailure func(error) bool
		err       error
		want      verdict
	}{
		{"success", t.Context(), nil, nil, succeeded},
		{"failure", t.Context(), nil, errBoom, failed},
		{"a context error of the op's own", t.Context(), nil, context.Canceled, failed},
		{"the caller gave up", ended, nil, context.Canceled, silent},
		{"success of who gave up", ended, nil, nil, succeeded},
		{"ErrSkip", t.Context(), nil, fmt.Errorf("%w: empty", seq.ErrSkip), succeeded},
		{"ErrSkip and IsFailure", t.Context(), func(error) bool { return true }, seq.ErrSkip, succeeded},
		{"IsFailure says no", t.Context(), only(nil), errBoom, succeeded},
		{"IsFailure says yes", t.Context(), only(errBoom), errBoom, failed},
		{"IsFailure is not asked about who gave up", ended, only(context.Canceled), context.Canceled, silent},
		{"IsFailure says no to who gave up", ended, only(errBoom), context.Canceled, silent},
	}
	for _, tt := range tests {
		b := NewBreaker(BreakerConfig{IsFailure: tt.isFailure})
		if got := b.judge(tt.ctx, tt.err); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// halfOpen returns a breaker that has just become half open.
func halfOpen(ctx context.Context, cfg BreakerConfig) *Breaker {
	cfg.MinCalls = 1
	b := NewBreaker(cfg)
	trip(ctx, b, 1)
	time.Sleep(5 * time.Second)
	return b
}

func TestBreakerTrials(t *testing.T) {
	block := func(ctx context.Context, b *Breaker, end <-chan error) <-chan error {
		got := make(chan error, 1)
		go func() { got <- b.Do(ctx, func(context.Context) error { return <-end }) }()
		synctest.Wait()
		return got
	}
	t.Run("so many at once, and all must succeed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			b := halfOpen(ctx, BreakerConfig{HalfOpen: 2})
			end := make(chan error)
			first, second := block(ctx, b, end), block(ctx, b, end)
			if err := b.Do(ctx, always(nil)); !errors.Is(err, ErrOpen) || !strings.Contains(err.Error(), "a trial call is running") {
				t.Errorf("a third call: %v", err)
			}
			end <- nil
			synctest.Wait()
			if got := b.State(); got != BreakerHalfOpen {
				t.Errorf("%v after one of two", got)
			}
			if err := b.Do(ctx, always(nil)); !errors.Is(err, ErrOpen) {
				t.Errorf("one more than HalfOpen: %v", err)
			}
			end <- nil
			if err := errors.Join(<-first, <-second); err != nil || b.State() != BreakerClosed {
				t.Errorf("%v, %v", err, b.State())
			}
		})
	})
	t.Run("a late result does not count", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			b := halfOpen(ctx, BreakerConfig{HalfOpen: 2})
			late, lateToo := make(chan error), make(chan error)
			first, second := block(ctx, b, late), block(ctx, b, lateToo)
			late <- errBoom
			<-first
			time.Sleep(5 * time.Second)
			end := make(chan error)
			third := block(ctx, b, end) // a trial of the next time that it is half open
			lateToo <- errBoom          // tells of the time before
			<-second
			if got := b.State(); got != BreakerHalfOpen {
				t.Errorf("%v after a late failure", got)
			}
			end <- nil
			<-third
			if err := b.Do(ctx, always(nil)); err != nil || b.State() != BreakerClosed {
				t.Errorf("%v, %v", err, b.State())
			}
		})
	})
	t.Run("a late success does not count", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			b := NewBreaker(BreakerConfig{MinCalls: 3})
			late := make(chan error)
			got := block(ctx, b, late)
			trip(ctx, b, 3)
			time.Sleep(5 * time.Second)
			b.Do(ctx, always(nil)) // closes it
			b.Do(ctx, always(nil)) // from here on, successes are counted without the mutex
			late <- nil
			<-got
			trip(ctx, b, 2)
			if b.State() != BreakerOpen || b.outage.calls != 3 {
				t.Errorf("%v, counted %+v, want 3 calls", b.State(), b.outage)
			}
		})
	})
	t.Run("who gives up makes room", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := halfOpen(t.Context(), BreakerConfig{})
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			b.Do(ctx, always(context.Canceled))
			if got := b.State(); got != BreakerHalfOpen {
				t.Errorf("%v after a trial that was given up", got)
			}
			if err := b.Do(t.Context(), always(nil)); err != nil || b.State() != BreakerClosed {
				t.Errorf("%v, %v", err, b.State())
			}
		})
	})
	for name, end := range map[string]func(){"panic": func() { panic(errBoom) }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				b := halfOpen(ctx, BreakerConfig{})
				inGoroutine(func() { b.Do(ctx, func(context.Context) error { end(); return nil }) })
				if got := b.State(); got != BreakerOpen {
					t.Errorf("%v", got)
				}
				time.Sleep(5 * time.Second)
				if err := b.Do(ctx, always(nil)); err != nil || b.State() != BreakerClosed {
					t.Errorf("%v, %v", err, b.State())
				}
			})
		})
	}
	t.Run("panic in IsFailure", func(t *testing.T) {
		b := NewBreaker(BreakerConfig{MinCalls: 1, IsFailure: func(error) bool { panic("in IsFailure") }})
		if got := mustPanic(t, func() { b.Do(t.Context(), always(errBoom)) }); got != "in IsFailure" || b.State() != BreakerOpen {
			t.Errorf("%s, %v", got, b.State())
		}
	})
}
