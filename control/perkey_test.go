package control

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// A host is one of ten.
func host(v int) string { return fmt.Sprint("host ", v%10) }

// Each key has limits of its own, and keeps them under many workers.
func TestPerKeyLimitsEachKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running, last := map[string]int{}, map[string]time.Time{}
		call := PerKey(func(_ context.Context, v int) (int, error) {
			k := host(v)
			mu.Lock()
			running[k]++
			if running[k] > 2 {
				t.Errorf("%d calls of %s at once", running[k], k)
			}
			if wait := time.Since(last[k]); wait < s {
				t.Errorf("two calls of %s within %v", k, wait)
			}
			last[k] = time.Now()
			mu.Unlock()
			time.Sleep(1500 * ms)
			mu.Lock()
			running[k]--
			mu.Unlock()
			return v, nil
		}, host, func(string) []Policy { return []Policy{NewInFlight(2), Rate(NewPacer(1))} }, PerKeyConfig{})
		begin := time.Now()
		n := 0
		for v, err := range seq.MapConcurrent(t.Context(), upTo(100), 40, call) {
			if v != n || err != nil {
				t.Fatalf("%d, %v", v, err)
			}
			n++
		}
		if took := time.Since(begin); n != 100 || took != 10500*ms {
			t.Errorf("%d calls took %v, want 100 in 10.5s", n, took)
		}
	})
}

// A key is forgotten after it has been idle for so long, counted from its last call's end:
// not while a call is in flight, and not while one waits.
func TestPerKeyForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := 0
		call := PerKey(func(ctx context.Context, d time.Duration) (int, error) { return 0, sleep(ctx, d) },
			func(time.Duration) string { return "the key" },
			func(string) []Policy { made++; return []Policy{NewInFlight(1)} }, PerKeyConfig{Idle: 10 * s})
		for _, step := range []struct {
			wait, takes time.Duration
			want        int // times that policies were made
		}{
			{0, 0, 1},
			{9 * s, 0, 1},
			{10*s - 1, 0, 1},
			{10 * s, 0, 2},
			{9 * s, time.Hour, 2}, // long in flight
			{10*s - 1, 0, 2},
			{10 * s, 0, 3},
		} {
			time.Sleep(step.wait)
			if _, err := call(t.Context(), step.takes); err != nil || made != step.want {
				t.Errorf("after %v: made %d times, want %d; %v", step.wait, made, step.want, err)
			}
		}
		go call(t.Context(), time.Hour)
		time.Sleep(s)
		go call(t.Context(), 0) // waits for the one in flight
		time.Sleep(30 * time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), s)
		defer cancel()
		if _, err := call(ctx, 0); !errors.Is(err, context.DeadlineExceeded) || made != 3 {
			t.Errorf("while one is in flight and one waits: %v, made %d times", err, made)
		}
		time.Sleep(time.Hour)
	})
}

// An open breaker stays open for its key alone, and is not forgotten for more keys than
// are to be kept: their calls wait.
func TestPerKeyForgetsNoState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := map[int]int{}
		call := PerKey(func(_ context.Context, v int) (int, error) {
			if v == 0 {
				return 0, errBoom
			}
			return v, nil
		}, func(v int) int { return v }, func(k int) []Policy {
			made[k]++
			return []Policy{NewBreaker(BreakerConfig{Consecutive: 1, OpenFor: 50 * s})}
		}, PerKeyConfig{Keys: 2})
		begin := time.Now()
		if _, err := call(t.Context(), 0); err != errBoom {
			t.Errorf("the first call: %v", err)
		}
		for v := 1; v < 5; v++ {
			if got, err := call(t.Context(), v); got != v || err != nil {
				t.Errorf("key %d: %d, %v", v, got, err)
			}
			if took := time.Since(begin); v == 1 && took != 0 || v > 1 && took != time.Duration(v/2)*time.Minute {
				t.Errorf("key %d began after %v", v, took)
			}
			if v == 1 {
				if _, err := call(t.Context(), 0); !errors.Is(err, ErrOpen) {
					t.Errorf("the breaker is forgotten: %v", err)
				}
			}
		}
		if len(made) != 5 || made[0] != 1 {
			t.Errorf("made %v", made)
		}
	})
}

// A wait for room ends with ctx and at Stop, and in the order of the calls.
func TestPerKeyWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		call := PerKey(func(_ context.Context, v int) (int, error) { return v, nil }, func(v int) int { return v },
			func(int) []Policy { return nil }, PerKeyConfig{Keys: 1})
		call(t.Context(), 0)
		begin := time.Now()
		order := make(chan int, 3)
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * ms)
				v, err := call(t.Context(), 1+i)
				order <- v
				if want := time.Duration(i+1)*time.Minute + 500*ms; err != nil || time.Since(begin) != want {
					t.Errorf("call %d: %v after %v, want %v", i, err, time.Since(begin), want)
				}
			})
		}
		g, enough := new(Gate), errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(s, func() { cancel(enough) })
		time.AfterFunc(s, g.Stop)
		wg.Go(func() {
			if _, err := call(ctx, 7); !errors.Is(err, enough) || !errors.Is(err, ErrRefused) {
				t.Errorf("ctx ended: %v", err)
			}
		})
		wg.Go(func() {
			if _, err := call(WithGate(t.Context(), g), 7); !errors.Is(err, ErrStopped) {
				t.Errorf("stopped: %v", err)
			}
		})
		wg.Go(func() { // the key that is kept does not wait, and makes the others wait longer
			time.Sleep(500 * ms)
			if _, err := call(t.Context(), 0); err != nil || time.Since(begin) != 500*ms {
				t.Errorf("the key that is kept: %v after %v", err, time.Since(begin))
			}
		})
		wg.Wait()
		for i := range 3 {
			if got := <-order; got != i+1 {
				t.Errorf("call %d came at %d", got, i)
			}
		}
	})
}

// Whatever the schedule is, no key has two sets of policies at work, none is forgotten
// within Idle, and no more are kept than are to be.
func TestPerKeyRandomSchedules(t *testing.T) {
	seed := rand.Uint64()
	for i := range 300 {
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		synctest.Test(t, func(t *testing.T) {
			keys, kept, idle := 1+rnd.IntN(8), 1+rnd.IntN(4), time.Duration(1+rnd.IntN(20))*ms
			pick := func(n int) time.Duration { return time.Duration(rnd.IntN(n)) * ms }
			var mu sync.Mutex
			type state struct {
				set   *int // of policies that is at work
				calls int  // in it
				last  time.Time
			}
			states := make([]state, keys)
			takes := make([]time.Duration, 60)
			for i := range takes {
				takes[i] = pick(8)
			}
			var running atomic.Int32
			call := PerKey(func(_ context.Context, v int) (int, error) {
				if n := running.Add(1); int(n) > kept {
					t.Errorf("%d keys at once", n)
				}
				time.Sleep(takes[v])
				running.Add(-1)
				return v, nil
			}, func(v int) int { return v % keys }, func(k int) []Policy {
				st, set := &states[k], new(int)
				return []Policy{policyFunc(func(ctx context.Context, op func(context.Context) error) error {
					mu.Lock()
					if st.set != nil && st.set != set && (st.calls > 0 || time.Since(st.last) < idle) {
						t.Errorf("key %d was forgotten with %d calls, %v after the last one", k, st.calls, time.Since(st.last))
					}
					st.set = set
					st.calls++
					mu.Unlock()
					defer func() {
						mu.Lock()
						st.calls--
						st.last = time.Now()
						mu.Unlock()
					}()
					return op(ctx)
				}), NewInFlight(1)}
			}, PerKeyConfig{Keys: kept, Idle: idle})
			var wg sync.WaitGroup
			for v := range takes {
				at := pick(100)
				wg.Go(func() {
					time.Sleep(at)
					if got, err := call(t.Context(), v); got != v || err != nil {
						t.Errorf("%d, %v", got, err)
					}
				})
			}
			wg.Wait()
			if t.Failed() {
				t.Logf("seed %d, schedule %d: %d keys, %d kept for %v", seed, i, keys, kept, idle)
			}
		})
	}
}

// Two calls of a new key at once share the policies of one of them.
func TestPerKeyMakesOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made, running atomic.Int32
		call := PerKey(func(context.Context, int) (int, error) {
			if running.Add(1) > 1 {
				t.Error("two calls at once")
			}
			time.Sleep(s)
			running.Add(-1)
			return 0, nil
		}, func(int) string { return "key" }, func(string) []Policy {
			made.Add(1)
			time.Sleep(s)
			return []Policy{NewInFlight(1)}
		}, PerKeyConfig{Keys: 2})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { call(t.Context(), 0) })
		}
		wg.Wait()
		if made.Load() != 2 {
			t.Errorf("made %d times", made.Load())
		}
		call(t.Context(), 0)
		if made.Load() != 2 {
			t.Error("the key is not kept")
		}
	})
}

// Panics and Goexits of what is the user's leave nothing behind.
func TestPerKeyPanics(t *testing.T) {
	for way, leave := range waysToLeave {
		synctest.Test(t, func(t *testing.T) {
			bad := ""
			call := PerKey(func(context.Context, float64) (int, error) {
				if bad == "fn" {
					leave()
				}
				return 0, nil
			}, func(v float64) float64 {
				if bad == "key" {
					leave()
				}
				return v
			}, func(float64) []Policy {
				if bad == "policies" {
					leave()
				}
				return []Policy{NewInFlight(1)}
			}, PerKeyConfig{Keys: 1})
			for i, what := range []string{"key", "policies", "fn"} {
				for _, k := range []float64{float64(i), math.NaN()} {
					bad = what
					leaves(t, way+" in "+what, func() { call(t.Context(), k) })
					bad = ""
					if _, err := call(t.Context(), k); err != nil {
						t.Errorf("after a %s in %s: %v", way, what, err)
					}
				}
			}
		})
	}
	bad := PerKey(func(context.Context, int) (int, error) { return 0, nil }, func(int) int { return 0 },
		func(int) []Policy { return []Policy{nil} }, PerKeyConfig{})
	if got := panicOf(func() { bad(t.Context(), 0) }); got != "control.Wrap: policy 0 must not be nil" {
		t.Errorf("panic %v", got)
	}
}

func TestPerKeyUnderAnEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	none := func(int) []Policy { t.Error("policies are made"); return nil }
	call := PerKey(func(context.Context, int) (int, error) { t.Error("it is called"); return 0, nil }, func(int) int { return 0 }, none, PerKeyConfig{})
	if _, err := call(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestPerKeyMisuse(t *testing.T) {
	fn := func(context.Context, int) (int, error) { return 0, nil }
	key, policies := func(int) int { return 0 }, func(int) []Policy { return nil }
	for want, misuse := range map[string]func(){
		"control.PerKey: fn, key and policies must not be nil":              func() { PerKey[int, int](nil, key, policies, PerKeyConfig{}) },
		"control.PerKey: fn, key and policies must not be nil ":             func() { PerKey[int, int, int](fn, nil, policies, PerKeyConfig{}) },
		"control.PerKey: fn, key and policies must not be nil  ":            func() { PerKey(fn, key, nil, PerKeyConfig{}) },
		"control.PerKey: Idle and Keys must not be below 0, got -1ns and 0": func() { PerKey(fn, key, policies, PerKeyConfig{Idle: -1}) },
		"control.PerKey: Idle and Keys must not be below 0, got 0s and -1":  func() { PerKey(fn, key, policies, PerKeyConfig{Keys: -1}) },
	} {
		if got := panicOf(misuse); fmt.Sprint(got) != strings.TrimRight(want, " ") {
			t.Errorf("panic %v, want %q", got, want)
		}
	}
}

// No host gets two calls at once; all of them together may have eight.
func ExamplePerKey() {
	urls := seq.Of("a.example/1", "a.example/2", "b.example/1")
	hostOf := func(url string) string { return url[:len("a.example")] }
	check := Wrap(func(_ context.Context, url string) (string, error) {
		return url + " is well", nil
	}, Retry{}, Timeout(time.Second))
	check = PerKey(check, hostOf, func(host string) []Policy {
		return []Policy{NewInFlight(1), Rate(NewPacer(100))}
	}, PerKeyConfig{})
	for line, err := range seq.MapConcurrent(context.Background(), urls, 8, check) {
		fmt.Println(line, err)
	}
	// Output:
	// a.example/1 is well <nil>
	// a.example/2 is well <nil>
	// b.example/1 is well <nil>
}
