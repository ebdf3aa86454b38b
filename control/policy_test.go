package control

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"example.com/pipeline/seq"
)

var errBoom = errors.New("boom")

// mustPanic returns the text that f panics with.
func mustPanic(t *testing.T, f func()) (text string) {
	t.Helper()
	defer func() {
		if v := recover(); v == nil {
			t.Error("no panic")
		} else {
			text = fmt.Sprint(v)
		}
	}()
	f()
	return ""
}

// inGoroutine runs f in a goroutine of its own, which f may leave by Goexit, and
// returns what f panicked with.
func inGoroutine(f func()) (panicked any) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		f()
	}()
	<-done
	return panicked
}

// policyFunc is a policy of another package.
type policyFunc func(ctx context.Context, op func(context.Context) error) error

func (f policyFunc) Do(ctx context.Context, op func(context.Context) error) error { return f(ctx, op) }

func TestMisusePanics(t *testing.T) {
	fn := func(context.Context, int) (int, error) { return 0, nil }
	wrap := func(p Policy) func() { return func() { Wrap(fn, p) } }
	tests := []struct {
		want string
		f    func()
	}{
		{"control.Wrap: fn must not be nil", func() { Wrap[int, int](nil) }},
		{"control.Wrap: policy 0 must not be nil", wrap(nil)},
		{"control.Timeout: the time must be above 0, got 0s", wrap(Timeout(0))},
		{"control.Timeout: the time must be above 0, got -1ns", func() { Timeout(-1).Do(t.Context(), nil) }},
		{"control.Retry: MaxElapsed must not be below 0, got -1ns", wrap(Retry{MaxElapsed: -1})},
		{"control.Constant: the sleep must not be below 0, got -1ns", func() { Constant(-1) }},
		{"control.Exponential: first must be above 0 and max at least first, got 0s and 1s", func() { Exponential(0, time.Second) }},
		{"control.Exponential: first must be above 0 and max at least first, got 2s and 1s", func() { Exponential(2*time.Second, time.Second) }},
		{"control.NewBreaker: Window and OpenFor must not be below 0, got -1ns and 0s", func() { NewBreaker(BreakerConfig{Window: -1}) }},
		{"control.NewBreaker: MinCalls and HalfOpen must not be below 0, got 0 and -1", func() { NewBreaker(BreakerConfig{HalfOpen: -1}) }},
		{"control.NewBreaker: FailureRate must be from 0 to 1, got 1.5", func() { NewBreaker(BreakerConfig{FailureRate: 1.5}) }},
		{"control.NewInFlight: n must be at least 1, got 0", func() { NewInFlight(0) }},
		{"control.NewAdaptive: Min must be at least 1 and at most Max, got -1 and 256", func() { NewAdaptive(AdaptiveConfig{Min: -1}) }},
		{"control.NewAdaptive: Min must be at least 1 and at most Max, got 3 and 2", func() { NewAdaptive(AdaptiveConfig{Min: 3, Max: 2}) }},
		{"control.Rate: the limiter must not be nil", func() { Rate(nil) }},
		{"control.NewPacer: perSecond must be above 0 and at most 1e9, got 0", func() { NewPacer(0) }},
		{"control.Hedge: fn must not be nil", func() { Hedge[int, int](nil, 1, 1) }},
		{"control.Hedge: after must be above 0, got 0s", func() { Hedge(fn, 0, 1) }},
		{"control.Hedge: max must be at least 1, got 0", func() { Hedge(fn, 1, 0) }},
		{"control.Idempotent: fn, keys and key must not be nil, got fn true, keys false, key false", func() { Idempotent(fn, nil, nil) }},
		{"control.Idempotent: results must be such that JSON can hold them, got chan int", func() {
			Idempotent(func(context.Context, int) (chan int, error) { return nil, nil }, NewKeys(1, 0), func(int) string { return "" })
		}},
		{"control.NewKeys: capacity must be at least 1, got 0", func() { NewKeys(0, 0) }},
		{"control.NewKeys: ttl must not be below 0, got -1ns", func() { NewKeys(1, -1) }},
	}
	for _, tt := range tests {
		if got := mustPanic(t, tt.f); !strings.HasPrefix(got, tt.want) {
			t.Errorf("panicked with %q, want %q", got, tt.want)
		}
	}
}

func TestWrapOrder(t *testing.T) {
	var trail []string
	named := func(name string) Policy {
		return policyFunc(func(ctx context.Context, op func(context.Context) error) error {
			trail = append(trail, name)
			defer func() { trail = append(trail, "/"+name) }()
			return op(ctx)
		})
	}
	call := Wrap(func(_ context.Context, n int) (string, error) {
		trail = append(trail, "fn")
		return fmt.Sprint(n), nil
	}, named("a"), new(Gate), named("b"))
	if got, err := call(t.Context(), 7); got != "7" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got := strings.Join(trail, " "); got != "a b fn /b /a" {
		t.Errorf("order: %s", got)
	}
}

func TestWrapResult(t *testing.T) {
	tests := []struct {
		name   string
		policy Policy
		fail   int // how many times fn fails first
		want   string
		err    error
	}{
		{"success", Retry{}, 0, "try 1", nil},
		{"the last try's result", Retry{Backoff: Constant(0)}, 2, "try 3", nil},
		{"no result beside an error", Retry{Attempts: 1}, 1, "", errBoom},
		{"not called", policyFunc(func(context.Context, func(context.Context) error) error { return nil }), 0, "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tries := 0
			call := Wrap(func(context.Context, int) (string, error) {
				if tries++; tries <= tt.fail {
					return "rubbish", errBoom
				}
				return fmt.Sprint("try ", tries), nil
			}, tt.policy)
			if got, err := call(t.Context(), 0); got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %q, %v; want %q, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

// A frame that is used again must not carry anything from one call to another, not
// even from one that was interrupted by a panic, nor mix calls within calls.
func TestWrapCallsDoNotMix(t *testing.T) {
	var call func(context.Context, int) (int, error)
	call = Wrap(func(ctx context.Context, n int) (int, error) {
		switch {
		case n%7 == 3:
			panic(n)
		case n%7 == 5:
			return -1, errBoom
		case n > 1000:
			return call(ctx, n-1000)
		}
		return n, nil
	}, Retry{Attempts: 1}, NewBreaker(BreakerConfig{MinCalls: 1 << 30}), new(Gate))
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 500 {
				n := g*500 + i
				var got int
				var err error
				panicked := func() (v any) {
					defer func() { v = recover() }()
					got, err = call(context.Background(), n)
					return nil
				}()
				inner := n
				if n > 1000 && n%7 != 3 && n%7 != 5 {
					inner = n - 1000
				}
				switch inner % 7 {
				case 3:
					if panicked == nil {
						t.Errorf("%d: no panic", n)
					}
				case 5:
					if err != errBoom || got != 0 {
						t.Errorf("%d: got %d, %v", n, got, err)
					}
				default:
					if got != inner || err != nil || panicked != nil {
						t.Errorf("%d: got %d, %v, %v", n, got, err, panicked)
					}
				}
			}
		})
	}
	wg.Wait()
}

// The result of Wrap keeps neither the item nor the result alive.
func TestWrapLetsGo(t *testing.T) {
	call := Wrap(func(_ context.Context, p *[64]int) (*[64]int, error) { return p, nil }, new(Gate))
	item := new([64]int)
	gone := weak.Make(item)
	call(t.Context(), item)
	item = nil
	runtime.GC()
	if gone.Value() != nil {
		t.Error("the item is kept")
	}
}

// Retry takes the time from the begin of its first try, be it told by a Timeout
// inside of it or not.
func TestWrapRetryElapsed(t *testing.T) {
	type policies []Policy
	retry := Retry{Attempts: 2, Backoff: Constant(time.Second)}
	limit := Timeout(time.Minute)
	open := func() *Breaker {
		b := NewBreaker(BreakerConfig{MinCalls: 1, OpenFor: time.Second})
		trip(t.Context(), b, 1)
		return b
	}
	slowChange := func() *Breaker {
		b := NewBreaker(BreakerConfig{MinCalls: 1, OpenFor: time.Nanosecond, OnChange: func(_, to BreakerState) {
			if to == BreakerHalfOpen {
				time.Sleep(10 * time.Second)
			}
		}})
		trip(t.Context(), b, 1)
		time.Sleep(time.Second)
		return b
	}
	closing := func() *Gate {
		g := new(Gate)
		g.PauseFor(10 * time.Second)
		return g
	}
	tests := []struct {
		name     string
		policies func() policies
		want     string
	}{
		{"alone", func() policies { return policies{retry} }, "2 tries in 5s"},
		{"Timeout", func() policies { return policies{retry, limit} }, "2 tries in 5s"},
		{"Breaker and Timeout", func() policies { return policies{retry, NewBreaker(BreakerConfig{}), limit} }, "2 tries in 5s"},
		{"two Timeouts", func() policies { return policies{retry, limit, limit} }, "2 tries in 5s"},
		{"Timeout outside", func() policies { return policies{limit, retry} }, "2 tries in 5s"},
		{"an outer Retry", func() policies { return policies{Retry{Attempts: 1}, retry, limit} }, "2 tries in 5s"},
		{"refused at first", func() policies { return policies{retry, open(), limit} }, "2 tries in 7s"}, // it sleeps until the breaker lets a trial through, and then 1 s
		{"a wait before Timeout", func() policies { return policies{retry, closing(), limit} }, "2 tries in 15s"},
		{"a held call before Timeout", func() policies {
			b := NewBreaker(BreakerConfig{MinCalls: 1, OpenFor: 10 * time.Second, Hold: true})
			trip(t.Context(), b, 1)
			return policies{retry, b, limit}
		}, "2 tries in 24s"}, // each try waits 10 s, the second one sleeps meanwhile
		{"a callback before Timeout", func() policies { return policies{retry, slowChange(), limit} }, "2 tries in 25s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				call := Wrap(func(context.Context, int) (int, error) {
					time.Sleep(2 * time.Second)
					return 0, errBoom
				}, tt.policies()...)
				_, err := call(t.Context(), 1)
				if want := tt.want + ": last error: boom"; err == nil || err.Error() != want {
					t.Errorf("error: %v, want %s", err, want)
				}
			})
		})
	}
}

// A policy that breaks the rules hurts neither its own call nor others.
func TestWrapGuardsAgainstStrayOps(t *testing.T) {
	t.Run("after Do", func(t *testing.T) {
		var kept []func(context.Context) error
		calls := 0
		call := Wrap(func(_ context.Context, n int) (int, error) { calls++; return n, nil },
			policyFunc(func(ctx context.Context, op func(context.Context) error) error {
				kept = append(kept, op)
				return op(ctx)
			}))
		for i := range 3 {
			if got, err := call(t.Context(), i); got != i || err != nil {
				t.Errorf("got %d, %v", got, err)
			}
			for _, op := range kept {
				if err := op(t.Context()); err != errMisused {
					t.Errorf("stray op: %v", err)
				}
			}
		}
		if calls != 3 {
			t.Errorf("%d calls, want 3", calls)
		}
	})
	t.Run("twice at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			call := Wrap(func(context.Context, int) (int, error) { time.Sleep(time.Second); return 1, nil },
				policyFunc(func(ctx context.Context, op func(context.Context) error) error {
					var second error
					var wg sync.WaitGroup
					wg.Go(func() { time.Sleep(1); second = op(ctx) })
					err := op(ctx)
					wg.Wait()
					if second != errMisused {
						t.Errorf("the second op: %v", second)
					}
					return err
				}))
			if got, err := call(t.Context(), 0); got != 1 || err != nil {
				t.Errorf("got %d, %v", got, err)
			}
		})
	})
	t.Run("still running", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			call := Wrap(func(context.Context, int) (int, error) { time.Sleep(time.Second); return 1, nil },
				policyFunc(func(ctx context.Context, op func(context.Context) error) error {
					go op(ctx)
					time.Sleep(1)
					return nil
				}))
			if got, err := call(t.Context(), 0); got != 0 || !errors.Is(err, errMisused) {
				t.Errorf("got %d, %v; want the misuse reported", got, err)
			}
			time.Sleep(time.Second) // until the stray op has ended
		})
	})
}

// Each policy lets a panic and Goexit through, and its next call works.
func TestPoliciesSurvivePanicAndGoexit(t *testing.T) {
	policies := map[string]Policy{
		"Timeout":  Timeout(time.Hour),
		"Retry":    Retry{},
		"Breaker":  NewBreaker(BreakerConfig{}),
		"InFlight": NewInFlight(1),
		"Adaptive": NewAdaptive(AdaptiveConfig{Max: 1}),
		"Rate":     Rate(NewPacer(1e9)),
		"Gate":     new(Gate),
	}
	for name, p := range policies {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				call := Wrap(func(_ context.Context, what string) (string, error) {
					switch what {
					case "panic":
						panic(errBoom)
					case "goexit":
						runtime.Goexit()
					}
					return what, nil
				}, p)
				if v := inGoroutine(func() { call(t.Context(), "panic") }); v != errBoom {
					t.Errorf("panicked with %v", v)
				}
				returned := false
				inGoroutine(func() { call(t.Context(), "goexit"); returned = true })
				if returned {
					t.Error("returned from Goexit")
				}
				if got, err := call(t.Context(), "fine"); got != "fine" || err != nil {
					t.Errorf("then: %q, %v", got, err)
				}
			})
		})
	}
}

// freely is a Limiter without a limit.
type freely struct{}

func (freely) Wait(context.Context) error { return nil }

func ExampleWrap() {
	breaker := NewBreaker(BreakerConfig{})
	tries := 0
	call := Wrap(func(ctx context.Context, id int) (string, error) {
		if tries++; tries < 3 {
			return "", errors.New("503 Service Unavailable")
		}
		return fmt.Sprintf("order %d", id), nil
	}, Retry{Backoff: Constant(time.Millisecond)}, breaker, Timeout(time.Second))

	for order, err := range seq.MapConcurrent(context.Background(), seq.Of(17), 4, call) {
		fmt.Println(order, err, "after", tries, "tries")
	}
	// Output:
	// order 17 <nil> after 3 tries
}
