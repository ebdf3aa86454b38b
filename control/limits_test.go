package control

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"example.com/pipeline/seq"
)

const (
	longest = time.Duration(math.MaxInt64)
)

// Every duration of every config works at its largest, at 0 and at 1 ns, or panics when
// the policy or stage is built. It is tested outside of a bubble, whose clock starts in
// 2000: there now + d does not overflow.
func TestDurationsAtTheirLimits(t *testing.T) {
	ctx := t.Context()
	do := func(p Policy) string {
		calls := 0
		call := Wrap(func(context.Context, int) (int, error) { calls++; return 7, nil }, p)
		v, err := call(ctx, 0)
		return fmt.Sprint(v, err, calls)
	}
	fails := func(r Retry) string { // what it says of a failure, without its sleep
		slept := time.Duration(-1)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		r.OnRetry = func(e RetryEvent) { slept = e.Sleep; cancel() }
		r.Do(ctx, always(errBoom))
		return fmt.Sprint(slept)
	}
	opened := func(cfg BreakerConfig) string {
		b := NewBreaker(cfg)
		b.Trip()
		refused := b.Do(ctx, always(nil))
		return fmt.Sprint(b.State(), " ", errors.Is(refused, ErrOpen))
	}
	counted := func(cfg BreakerConfig) string {
		b := NewBreaker(cfg)
		b.Do(ctx, always(nil))
		trip(ctx, b, 9)
		return b.State().String()
	}
	keys := func(ttl time.Duration) string {
		calls := 0
		call := Idempotent(func(context.Context, string) (int, error) { calls++; return 7, nil }, NewKeys(10, ttl), orderKey)
		for range 3 {
			call(ctx, "a")
		}
		return fmt.Sprint(calls)
	}
	renewed := func(every time.Duration) string {
		call := Idempotent(func(context.Context, string) (int, error) { return 7, nil }, &pacedStore{NewKeys(1, 0), every}, orderKey)
		return fmt.Sprint(call(ctx, "a"))
	}
	paused := func(pause func(g *Gate, d time.Duration)) func(d time.Duration) string {
		return func(d time.Duration) string {
			var g Gate
			pause(&g, d)
			if d == 1 {
				return fmt.Sprint(g.Wait(ctx))
			}
			was := g.Paused()
			waited := make(chan error)
			go func() { waited <- g.Wait(ctx) }()
			for was && g.waiting() == 0 {
				time.Sleep(time.Microsecond)
			}
			g.Resume()
			return fmt.Sprint(was, " ", <-waited)
		}
	}
	stream := func(stage func(in intStream) intStream) string {
		return fmt.Sprint(seq.Collect(stage(seq.Of(1, 2, 3))))
	}
	hedged := func(after time.Duration) string {
		return fmt.Sprint(Hedge(func(context.Context, int) (int, error) { return 7, nil }, after, 3)(ctx, 0))
	}
	const fine = "7 <nil> 1"
	tests := []struct {
		name            string
		at              func(d time.Duration) string
		long, none, one string // an empty one is not looked at: what comes depends on the machine
	}{
		{"Timeout", func(d time.Duration) string { return do(Timeout(d)) },
			fine, "panic: control.Timeout: the time must be above 0, got 0s", ""},
		{"WaitAtMost", func(d time.Duration) string { return do(WaitAtMost(d, NewInFlight(1))) },
			fine, "panic: control.WaitAtMost: the time must be above 0, got 0s", ""},
		{"Retry.MaxElapsed", func(d time.Duration) string {
			return fails(Retry{MaxElapsed: d, Backoff: Constant(time.Minute)})
		}, "1m0s", "1m0s", "-1ns"},
		{"Retry.Backoff", func(d time.Duration) string { return fails(Retry{Backoff: Constant(d)}) }, longest.String(), "0s", "1ns"},
		{"Retry.Backoff and MaxElapsed", func(d time.Duration) string {
			return fails(Retry{Backoff: Constant(d), MaxElapsed: time.Hour})
		}, "-1ns", "0s", "1ns"},
		{"Retry.Pause", func(d time.Duration) string { return fails(Retry{Backoff: Constant(d), Pause: new(Gate)}) }, longest.String(), "0s", "1ns"},
		{"RetryAfter", func(d time.Duration) string {
			slept := time.Duration(-1)
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			Retry{OnRetry: func(e RetryEvent) { slept = e.Sleep; cancel() }}.Do(ctx, always(RetryAfter(errBoom, d)))
			return slept.String()
		}, longest.String(), "0s", "1ns"},
		{"Retry behind an open breaker", func(d time.Duration) string {
			slept := time.Duration(-1)
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			b := NewBreaker(BreakerConfig{OpenFor: longest})
			b.Trip()
			r := Retry{Backoff: Constant(d), OnRetry: func(e RetryEvent) { slept = e.Sleep; cancel() }}
			r.Do(ctx, func(ctx context.Context) error { return b.Do(ctx, always(nil)) })
			return fmt.Sprint(slept > longest-time.Hour)
		}, "true", "true", "true"},
		{"Exponential", func(d time.Duration) string {
			if s := Exponential(d, d)(math.MaxInt); s < 0 || s > d {
				return s.String()
			}
			return "fine"
		}, "fine", "panic: control.Exponential: first must be above 0 and max at least first, got 0s and 0s", "fine"},
		{"BreakerConfig.OpenFor", func(d time.Duration) string { return opened(BreakerConfig{OpenFor: d}) },
			"open true", "open true", ""},
		{"BreakerConfig.OpenFor, Hold", func(d time.Duration) string {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
			defer cancel()
			b := NewBreaker(BreakerConfig{OpenFor: d, Hold: true})
			b.Trip()
			return fmt.Sprint(errors.Is(b.Do(ctx, always(nil)), context.DeadlineExceeded))
		}, "true", "true", "false"},
		{"BreakerConfig.Window", func(d time.Duration) string { return counted(BreakerConfig{Window: d}) }, "open", "open", ""},
		{"NewKeys", keys, "1", "1", ""},
		{"KeyRenewer", renewed, "7 <nil>", "panic: control.Idempotent: RenewEvery of keys must be positive, got 0s", "7 <nil>"},
		{"Hedge", hedged, "7 <nil>", "panic: control.Hedge: after must be above 0, got 0s", "7 <nil>"},
		{"Gate.PauseFor", paused((*Gate).PauseFor), "true <nil>", "false <nil>", "<nil>"},
		{"Gate.hold", paused(func(g *Gate, d time.Duration) { g.hold(d) }), "true <nil>", "", "<nil>"},
		{"two pauses", paused(func(g *Gate, d time.Duration) { g.PauseFor(d); g.hold(d); g.unhold(g.hold(d)) }), "true <nil>", "", "<nil>"},
		{"Throttle", func(d time.Duration) string { return stream(func(in intStream) intStream { return Throttle(in, d) }) },
			"[1] <nil>", "panic: control.Throttle: every must be positive, got 0s", ""},
		{"Sample", func(d time.Duration) string {
			return stream(func(in intStream) intStream { return Sample(ctx, in, d) })
		}, "[3] <nil>", "panic: control.Sample: every must be positive, got 0s", ""},
		{"Heartbeat", func(d time.Duration) string {
			return stream(func(in intStream) intStream { return Heartbeat(ctx, in, d, func(Beat) {}) })
		}, "[1 2 3] <nil>", "panic: control.Heartbeat: every must be positive, got 0s", "[1 2 3] <nil>"},
		{"IdleTimeout", func(d time.Duration) string {
			return stream(func(in intStream) intStream { return IdleTimeout(ctx, d, fixed(in)) })
		}, "[1 2 3] <nil>", "panic: control.IdleTimeout: d must be positive, got 0s", ""},
		{"ProgressConfig.Every", func(d time.Duration) string {
			return stream(func(in intStream) intStream {
				return Progress(in, ProgressConfig{Every: d, Total: math.MaxInt64}, func(r Report) {
					if r.Remaining < 0 || r.Rate < 0 {
						t.Errorf("a report of %+v", r)
					}
				})
			})
		}, "[1 2 3] <nil>", "[1 2 3] <nil>", "[1 2 3] <nil>"},
	}
	for _, tt := range tests {
		for d, want := range map[time.Duration]string{longest: tt.long, 0: tt.none, 1: tt.one} {
			t.Run(fmt.Sprintf("%s/%v", tt.name, d), func(t *testing.T) {
				var got string
				if p := panicOf(func() { got = tt.at(d) }); p != nil {
					got = fmt.Sprint("panic: ", p)
				}
				if want != "" && got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		}
	}
}

// waiting returns how many wait for the gate to open.
func (g *Gate) waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.crowd == nil {
		return 0
	}
	return g.crowd.size
}

// A pacedStore says how often to renew.
type pacedStore struct {
	*Keys
	every time.Duration
}

func (s *pacedStore) RenewEvery() time.Duration                   { return s.every }
func (s *pacedStore) Renew(context.Context, string) (bool, error) { return true, nil }

// Numbers, too, are whatever fits their type.
func TestNumbersAtTheirLimits(t *testing.T) {
	ctx := t.Context()
	fn := func(context.Context, int) (int, error) { return 7, nil }
	for name, p := range map[string]func() Policy{
		"InFlight":      func() Policy { return NewInFlight(math.MaxInt) },
		"Adaptive":      func() Policy { return NewAdaptive(AdaptiveConfig{Max: math.MaxInt}) },
		"Adaptive, Min": func() Policy { return NewAdaptive(AdaptiveConfig{Min: math.MaxInt}) },
		"Adaptive, all": func() Policy {
			return NewAdaptive(AdaptiveConfig{Min: 1, Initial: math.MaxInt, Max: math.MaxInt})
		},
		"Breaker": func() Policy {
			return NewBreaker(BreakerConfig{MinCalls: math.MaxInt, HalfOpen: math.MaxInt, Consecutive: math.MaxInt, FailureRate: math.SmallestNonzeroFloat64})
		},
		"Retry":        func() Policy { return Retry{Attempts: math.MaxInt} },
		"Retry, none":  func() Policy { return Retry{Attempts: math.MinInt} },
		"Pacer":        func() Policy { return Rate(NewPacer(1e-300)) },
		"Pacer, quick": func() Policy { return Rate(NewPacer(1e9)) },
		"rate.Limiter": func() Policy { return Rate(rate.NewLimiter(rate.Inf, math.MaxInt)) },
	} {
		if v, err := Wrap(fn, p())(ctx, 0); v != 7 || err != nil {
			t.Errorf("%s: %d, %v", name, v, err)
		}
	}
	for want, misuse := range map[string]func(){
		"control.NewAdaptive: Initial must be from Min to Max, 2 to 5, got 1":    func() { NewAdaptive(AdaptiveConfig{Min: 2, Max: 5, Initial: 1}) },
		"control.NewAdaptive: Initial must be from Min to Max, 1 to 5, got 6":    func() { NewAdaptive(AdaptiveConfig{Max: 5, Initial: 6}) },
		"control.NewAdaptive: Initial must be from Min to Max, 1 to 256, got -1": func() { NewAdaptive(AdaptiveConfig{Initial: -1}) },
		"control.NewBreaker: Consecutive must not be below 0, got -1":            func() { NewBreaker(BreakerConfig{Consecutive: -1}) },
		"control.NewBreaker: FailureRate must be from 0 to 1, got NaN":           func() { NewBreaker(BreakerConfig{FailureRate: math.NaN()}) },
		"control.NewPacer: perSecond must be above 0 and at most 1e9, got +Inf":  func() { NewPacer(math.Inf(1)) },
		"control.NewPacer: perSecond must be above 0 and at most 1e9, got NaN":   func() { NewPacer(math.NaN()) },
		"control.WaitAtMost: the policy must not be nil":                         func() { WaitAtMost(1, nil) },
		"control.Retry: MaxElapsed must not be below 0, got -1ns":                func() { WaitAtMost(1, Retry{MaxElapsed: -1}) },
		"control.Idempotent: results must be such that JSON can hold them, got func()": func() {
			Idempotent(func(context.Context, int) (func(), error) { return nil, nil }, NewKeys(1, 0), func(int) string { return "" })
		},
		"control.Idempotent: results must be such that JSON can hold them, got []complex128": func() {
			Idempotent(func(context.Context, int) ([]complex128, error) { return nil, nil }, NewKeys(1, 0), func(int) string { return "" })
		},
	} {
		if got := panicOf(misuse); fmt.Sprint(got) != want {
			t.Errorf("panic %v, want %q", got, want)
		}
	}
}

// With the largest limits the algorithm does not leave its bounds.
func TestVegasAtItsLimits(t *testing.T) {
	v := newVegas(1, math.MaxInt, math.MaxInt/2+1)
	for i := range 100 {
		v.set(float64(v.limit) * 2)
		if v.limit != math.MaxInt {
			t.Fatalf("limit %d after %d doublings", v.limit, i+1)
		}
	}
	v.set(math.Inf(1))
	if v.limit != math.MaxInt {
		t.Errorf("limit %d", v.limit)
	}
}

// What a hedge takes follows the tries that are in flight, not their maximum.
func TestHedgeTakesNoMemoryForTriesToCome(t *testing.T) {
	for _, max := range []int{1e6, math.MaxInt} {
		call := Hedge(func(context.Context, int) (int, error) { return 7, nil }, time.Hour, max)
		if v, err := call(t.Context(), 0); v != 7 || err != nil {
			t.Fatalf("max %d: %d, %v", max, v, err)
		}
		if n := testing.AllocsPerRun(100, func() { call(t.Context(), 0) }); n > 30 {
			t.Errorf("max %d: %v allocations a call", max, n)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 100 {
			call(t.Context(), 0)
		}
		runtime.ReadMemStats(&after)
		bytes := (after.TotalAlloc - before.TotalAlloc) / 100
		if bytes > 4096 {
			t.Errorf("max %d: %d bytes a call", max, bytes)
		}
	}
}

// Of many tries that fail the last errors are kept.
func TestHedgeKeepsTheLastErrors(t *testing.T) {
	tries := 0
	_, err := Hedge(func(context.Context, int) (int, error) { tries++; return 0, fmt.Errorf("try %d", tries) }, time.Hour, 1000)(t.Context(), 0)
	var h *hedgeError
	if !errors.As(err, &h) || len(h.errs) != maxHedgeErrors || h.errs[0].Error() != "try 937" || tries != 1000 {
		t.Errorf("%d tries: %v", tries, err)
	}
}

func TestLaterAndUntil(t *testing.T) {
	for _, tt := range []struct{ now, d, later time.Duration }{
		{0, 0, 0}, {1, 2, 3}, {-5, 3, -2}, {-1, longest, longest - 1}, {0, longest, longest}, {1, longest, longest}, {longest, 1, longest},
	} {
		if got := later(tt.now, tt.d); got != tt.later {
			t.Errorf("later(%d, %d) = %d, want %d", tt.now, tt.d, got, tt.later)
		}
	}
	for _, tt := range []struct{ t, now, until time.Duration }{
		{3, 1, 2}, {1, 1, 1}, {1, 3, 1}, {1, -2, 3}, {longest, 0, longest}, {longest, -1, longest}, {longest, -longest, longest}, {longest - 1, -1, longest},
	} {
		if got := until(tt.t, tt.now); got != tt.until {
			t.Errorf("until(%d, %d) = %d, want %d", tt.t, tt.now, got, tt.until)
		}
	}
}
