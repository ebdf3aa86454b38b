package control

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// A badError panics, or calls Goexit, in one of its methods.
type badError struct {
	leave          func()
	is, unwrap, as bool
}

func (e badError) Error() string { return "bad" }
func (e badError) Is(error) bool {
	if e.is {
		e.leave()
	}
	return false
}
func (e badError) As(any) bool {
	if e.as {
		e.leave()
	}
	return false
}
func (e badError) Unwrap() error {
	if e.unwrap {
		e.leave()
	}
	return nil
}

var waysToLeave = map[string]func(){"panic": func() { panic("bad") }, "goexit": runtime.Goexit}

// leaves calls f, which is left by a panic or Goexit.
func leaves(t *testing.T, what string, f func()) {
	t.Helper()
	returned := false
	panicked := inGoroutine(func() { f(); returned = true })
	if returned {
		t.Errorf("%s: it returned", what)
	}
	if _, is := panicked.(runtime.Error); is {
		t.Errorf("%s: %v", what, panicked)
	}
}

// Whatever method or callback of the user's panics or calls Goexit, wherever: nothing
// stays in flight, locked or closed, and the next call works.
func TestUserCodeThatPanics(t *testing.T) {
	for way, leave := range waysToLeave {
		bad := []error{badError{leave: leave, is: true}, badError{leave: leave, as: true}, badError{leave: leave, unwrap: true}}
		yes := func(error) bool { leave(); return true }
		all := func(g *Gate) map[string]Policy {
			return map[string]Policy{
				"Timeout":                     Timeout(time.Hour),
				"Retry":                       Retry{Attempts: 2, Pause: g},
				"Retry.If":                    Retry{If: yes, Pause: g},
				"Retry.Backoff":               Retry{Backoff: func(int) time.Duration { leave(); return 0 }, Pause: g},
				"Retry.OnRetry":               Retry{OnRetry: func(RetryEvent) { leave() }, Pause: g},
				"Breaker":                     NewBreaker(BreakerConfig{}),
				"Breaker.IsFailure":           NewBreaker(BreakerConfig{IsFailure: yes}),
				"Breaker.Ignore":              NewBreaker(BreakerConfig{Ignore: yes}),
				"Breaker.OnChange":            NewBreaker(BreakerConfig{MinCalls: 1, OpenFor: 1, OnChange: func(_, _ BreakerState) { leave() }}),
				"InFlight":                    NewInFlight(1),
				"Adaptive":                    NewAdaptive(AdaptiveConfig{Max: 1}),
				"Adaptive.IsOverload":         NewAdaptive(AdaptiveConfig{Max: 1, IsOverload: yes}),
				"Adaptive.OnChange":           NewAdaptive(AdaptiveConfig{Max: 2, Initial: 2, IsOverload: func(error) bool { return true }, OnChange: func(int) { leave() }}),
				"Gate":                        g,
				"WaitAtMost":                  WaitAtMost(time.Hour, NewInFlight(1)),
				"of another package":          policyFunc(func(ctx context.Context, op func(context.Context) error) error { return op(ctx) }),
				"of another package, leaving": policyFunc(func(ctx context.Context, op func(context.Context) error) error { op(ctx); leave(); return nil }),
			}
		}
		for name := range all(nil) {
			t.Run(way+"/"+name, func(t *testing.T) {
				for _, err := range bad {
					synctest.Test(t, func(t *testing.T) {
						g := new(Gate)
						p := all(g)[name]
						outer, outerBreaker := NewInFlight(1), NewBreaker(BreakerConfig{MinCalls: math.MaxInt})
						calls := 0
						call := Wrap(func(context.Context, int) (int, error) {
							calls++
							if calls == 1 {
								return 0, err
							}
							return 7, nil
						}, outer, outerBreaker, p)
						inGoroutine(func() { call(t.Context(), 0) }) // it may return, too
						if g.Paused() || len(g.holds) != 0 {
							t.Error("the gate is closed")
						}
						time.Sleep(time.Hour)
						if name == "of another package, leaving" {
							return
						}
						if name == "Breaker.OnChange" {
							inGoroutine(func() { call(t.Context(), 0) })
							inGoroutine(func() { call(t.Context(), 0) })
						}
						if got, err := call(t.Context(), 0); got != 7 || err != nil {
							t.Errorf("the next call: %d, %v", got, err)
						}
						if !outer.slots.TryAcquire(1) {
							t.Error("a slot is lost")
						}
						if a, ok := p.(*Adaptive); ok && a.running != 0 {
							t.Errorf("%d are in flight", a.running)
						}
					})
				}
			})
		}
	}
}

// A trial whose error, or what looks at it, panics does not keep its place.
func TestTrialThatPanicsFreesItsPlace(t *testing.T) {
	for way, leave := range waysToLeave {
		yes := func(error) bool { leave(); return true }
		for name, cfg := range map[string]BreakerConfig{"Is": {}, "IsFailure": {IsFailure: yes}, "Ignore": {Ignore: yes}} {
			synctest.Test(t, func(t *testing.T) {
				b := NewBreaker(cfg)
				b.Trip()
				time.Sleep(5 * time.Second)
				leaves(t, way+" in "+name, func() { b.Do(t.Context(), always(badError{leave: leave, is: true})) })
				time.Sleep(5 * time.Second)
				if err := b.Do(t.Context(), always(nil)); err != nil || b.State() != BreakerClosed {
					t.Errorf("%s in %s: %v, %v", way, name, err, b.State())
				}
			})
		}
	}
}

// A Limiter that panics holds nothing up.
func TestLimiterThatPanics(t *testing.T) {
	for way, leave := range waysToLeave {
		inFlight := NewInFlight(1)
		armed := true
		call := Wrap(func(context.Context, int) (int, error) { return 7, nil }, inFlight, Retry{}, NewBreaker(BreakerConfig{}),
			NewAdaptive(AdaptiveConfig{Max: 1}), WaitAtMost(time.Hour, Rate(limiterFunc(func(context.Context) error {
				if armed {
					leave()
				}
				return nil
			}))))
		leaves(t, way, func() { call(t.Context(), 0) })
		armed = false
		if got, err := call(t.Context(), 0); got != 7 || err != nil {
			t.Errorf("%s: %d, %v", way, got, err)
		}
	}
}

// A panic in a method of a try's error ends the other tries, and waits for them.
func TestHedgeErrorThatPanics(t *testing.T) {
	for way, leave := range waysToLeave {
		for _, bad := range []error{badError{leave: leave, is: true}, badError{leave: leave, as: true}} {
			synctest.Test(t, func(t *testing.T) {
				var begun, ended atomic.Int32
				call := Hedge(func(ctx context.Context, _ int) (int, error) {
					defer ended.Add(1)
					if begun.Add(1) == 2 {
						return 0, bad
					}
					return 0, blocking(ctx) // only its context ends it
				}, time.Second, 3)
				leaves(t, way, func() { call(t.Context(), 0) })
				if begun.Load() != 2 || ended.Load() != 2 {
					t.Errorf("%s: %d tries begun, %d ended", way, begun.Load(), ended.Load())
				}
			})
		}
	}
}

// A badContext panics in one of its methods from some call on.
type badContext struct {
	context.Context
	calls *int
	bad   int // the call that panics
	after func()
}

func (c badContext) step() {
	if *c.calls++; *c.calls == c.bad {
		c.after()
		panic("in ctx")
	}
}
func (c badContext) Done() <-chan struct{}       { c.step(); return c.Context.Done() }
func (c badContext) Err() error                  { c.step(); return c.Context.Err() }
func (c badContext) Value(key any) any           { c.step(); return c.Context.Value(key) }
func (c badContext) Deadline() (time.Time, bool) { c.step(); return c.Context.Deadline() }

// A panic in whichever method of a context, whenever it is called, leaves no place in a
// line behind, no timer and no lock.
func TestContextThatPanics(t *testing.T) {
	for name, build := range map[string]func() (p Policy, free func()){
		"InFlight": func() (Policy, func()) {
			p := NewInFlight(1)
			p.slots.TryAcquire(1)
			return p, func() { p.slots.Release(1) }
		},
		"Adaptive": func() (Policy, func()) {
			p := NewAdaptive(AdaptiveConfig{Max: 1})
			p.turn()
			return p, func() { p.settle(0, unknown, 0) }
		},
		"Gate": func() (Policy, func()) {
			g := new(Gate)
			g.PauseFor(time.Minute)
			return g, g.Resume
		},
		"Breaker": func() (Policy, func()) {
			b := tripped(BreakerConfig{Hold: true})
			return b, b.Reset
		},
		"Pacer": func() (Policy, func()) {
			p := NewPacer(1)
			p.Wait(context.Background())
			return Rate(p), func() {}
		},
		"Retry": func() (Policy, func()) {
			g := new(Gate)
			return Retry{Pause: g}, func() {
				if g.Paused() || len(g.watches) > 0 {
					t.Error("Retry leaves the gate closed, or watched")
				}
			}
		},
		"WaitAtMost": func() (Policy, func()) {
			g := new(Gate)
			g.Pause()
			return WaitAtMost(time.Hour, g), g.Resume
		},
	} {
		t.Run(name, func(t *testing.T) {
			for bad := 1; bad < 20; bad++ {
				synctest.Test(t, func(t *testing.T) {
					p, free := build()
					base, cancel := context.WithCancel(t.Context())
					time.AfterFunc(2*time.Second, cancel)
					calls := 0
					tried := 0
					inGoroutine(func() {
						p.Do(badContext{base, &calls, bad, func() {}}, func(context.Context) error {
							if tried++; tried == 1 && name == "Retry" {
								return errBoom
							}
							return nil
						})
					})
					free()
					time.Sleep(time.Minute)
					if err := p.Do(t.Context(), always(nil)); err != nil {
						t.Errorf("call %d of ctx panics; the next call: %v", bad, err)
					}
					if b, ok := p.(*Breaker); ok && b.lane.epoch() == 0 {
						t.Errorf("call %d of ctx panics; the breaker's fast way is shut", bad)
					}
				})
			}
		})
	}
}

// So does one that panics around Hedge and Idempotent: no try is left, and the key is
// free, or finished where the call was made.
func TestContextThatPanicsAroundHedgeAndIdempotent(t *testing.T) {
	for bad := 1; bad < 40; bad++ {
		synctest.Test(t, func(t *testing.T) {
			var running atomic.Int32
			calls := 0
			hedged := Hedge(func(context.Context, int) (int, error) {
				defer running.Add(-1)
				running.Add(1)
				time.Sleep(time.Second)
				return 7, nil
			}, time.Minute, 3)
			inGoroutine(func() { hedged(badContext{context.Background(), &calls, bad, func() {}}, 0) })
			if running.Load() != 0 {
				t.Errorf("call %d of ctx panics: %d tries are left", bad, running.Load())
			}
			calls, made := 0, 0
			store := &scriptedStore{Keys: NewKeys(10, time.Hour)}
			once := Idempotent(func(context.Context, string) (int, error) { made++; return 7, nil }, store, orderKey)
			inGoroutine(func() { once(badContext{context.Background(), &calls, bad, func() {}}, "7") })
			if got, err := once(t.Context(), "7"); got != 7 || err != nil || made != 1 {
				t.Errorf("call %d of ctx panics; the next call: %d, %v, made %d times", bad, got, err, made)
			}
		})
	}
}

// A nosyContext, whenever a method of it is called, uses the policy that calls it from
// another goroutine. That would hang if the policy's mutex were held.
type nosyContext struct {
	context.Context
	use func()
}

func (c nosyContext) peek() {
	done := make(chan struct{})
	go func() { defer close(done); c.use() }()
	<-done
}
func (c nosyContext) Done() <-chan struct{} { c.peek(); return c.Context.Done() }
func (c nosyContext) Err() error            { c.peek(); return c.Context.Err() }
func (c nosyContext) Value(key any) any     { c.peek(); return c.Context.Value(key) }

// A nosyError does the same.
type nosyError struct{ use func() }

func (e nosyError) Error() string { e.use(); return "nosy" }
func (e nosyError) Is(error) bool { e.use(); return false }
func (e nosyError) Unwrap() error { e.use(); return nil }

// No method of a user's context or error runs under a lock.
func TestNothingOfTheUsersUnderALock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, b, a, p := new(Gate), NewBreaker(BreakerConfig{Hold: true}), NewAdaptive(AdaptiveConfig{Max: 1}), NewPacer(1000)
		inFlight, keys := NewInFlight(1), NewKeys(10, time.Hour)
		use := func() {
			g.Paused()
			b.State()
			a.Limit()
			for _, mu := range []sync.Locker{&b.mu, &a.mu, &g.mu, &keys.mu} {
				mu.Lock()
				mu.Unlock()
			}
			if inFlight.slots.TryAcquire(1) {
				inFlight.slots.Release(1)
			}
		}
		call := Wrap(Idempotent(func(context.Context, string) (int, error) {
			time.Sleep(time.Millisecond)
			return 0, nosyError{use}
		}, keys, orderKey), inFlight, Retry{Attempts: 2, Pause: g, Backoff: Constant(time.Millisecond)}, b, a, Rate(p), g, WaitAtMost(time.Hour, new(Gate)))
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				base, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*3*time.Millisecond)
				defer cancel()
				if _, err := call(nosyContext{base, use}, fmt.Sprint(i%3)); err == nil || err.Error() == "" {
					t.Error("no error")
				}
			})
			b.Trip()
			b.Reset()
		}
		wg.Wait()
	})
}

// Where Wrap and its like get nil in the cover of an interface, they panic when they
// are called, not when a call is made.
func TestTypedNilPanics(t *testing.T) {
	fn := func(context.Context, int) (int, error) { return 0, nil }
	var foreign *foreignPolicy
	for name, p := range map[string]Policy{
		"*Breaker": (*Breaker)(nil), "*InFlight": (*InFlight)(nil), "*Adaptive": (*Adaptive)(nil), "*Gate": (*Gate)(nil), "*Retry": (*Retry)(nil),
		"*Timeout": (*Timeout)(nil), "a func": policyFunc(nil), "a pointer of another package": foreign,
	} {
		if got := mustPanic(t, func() { Wrap(fn, Retry{}, p) }); got != "control.Wrap: policy 1 must not be nil" {
			t.Errorf("%s: %s", name, got)
		}
		if got := mustPanic(t, func() { WaitAtMost(1, p) }); got != "control.WaitAtMost: the policy must not be nil" {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, l := range []Limiter{nil, (*Pacer)(nil), limiterFunc(nil)} {
		if got := mustPanic(t, func() { Rate(l) }); got != "control.Rate: the limiter must not be nil" {
			t.Error(got)
		}
		if got := mustPanic(t, func() { RateLimit(t.Context(), seq.Of(1), l) }); got != "control.RateLimit: the limiter must not be nil" {
			t.Error(got)
		}
	}
	if got := mustPanic(t, func() { Idempotent(fn, (*Keys)(nil), func(int) string { return "" }) }); got != "control.Idempotent: fn, keys and key must not be nil, got fn true, keys false, key true" {
		t.Error(got)
	}
}

type foreignPolicy struct{}

func (foreignPolicy) Do(ctx context.Context, op func(context.Context) error) error { return op(ctx) }
