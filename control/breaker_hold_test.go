package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/pipeline/seq"
)

func TestBreakerOnChangeCallsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		var trail []string
		var b *Breaker
		b = NewBreaker(BreakerConfig{MinCalls: 1, OnChange: func(from, to BreakerState) {
			trail = append(trail, fmt.Sprintf("%v-%v", from, to))
			b.State()
			switch to {
			case BreakerOpen:
				if len(trail) < 5 {
					time.Sleep(5 * time.Second)
					b.Do(ctx, always(errBoom)) // a trial, which opens it again
				}
			case BreakerHalfOpen:
				b.Do(ctx, always(nil))
			}
		}})
		trip(ctx, b, 1)
		// Each change is told after the one before, though it came about within it.
		want := "closed-open open-half open half open-open open-half open half open-open"
		if diff := cmp.Diff(want, strings.Join(trail, " ")); diff != "" {
			t.Errorf("changes, -want +got:\n%s", diff)
		}
	})
}

func TestBreakerOnChangePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		var trail []string
		tell := changesOf(&trail)
		armed := true
		b := NewBreaker(BreakerConfig{MinCalls: 1, OnChange: func(from, to BreakerState) {
			tell(from, to)
			if armed {
				panic("in OnChange")
			}
		}})
		if got := mustPanic(t, func() { trip(ctx, b, 1) }); got != "in OnChange" {
			t.Errorf("panicked with %s", got)
		}
		time.Sleep(5 * time.Second)
		called := false
		got := mustPanic(t, func() { b.Do(ctx, func(context.Context) error { called = true; return nil }) })
		if got != "in OnChange" || called {
			t.Errorf("panicked with %s, called %t", got, called)
		}
		armed = false
		if err := b.Do(ctx, always(nil)); err != nil || b.State() != BreakerClosed {
			t.Errorf("the panic took the trial along: %v, %v", err, b.State())
		}
		if got := strings.Join(trail, " "); got != "closed-open open-half open half open-closed" {
			t.Errorf("changes: %s", got)
		}
	})
}

func TestBreakerHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		b := NewBreaker(BreakerConfig{MinCalls: 1, OpenFor: 2 * time.Second, Hold: true})
		trip(ctx, b, 1)
		begin := time.Now()
		var mu sync.Mutex
		var trail []string
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				err := b.Do(ctx, func(context.Context) error {
					mu.Lock()
					trail = append(trail, fmt.Sprintf("%d@%v", i, time.Since(begin)))
					mu.Unlock()
					time.Sleep(time.Second)
					if i == 0 {
						return errBoom
					}
					return nil
				})
				if i == 0 != (err != nil) {
					t.Errorf("call %d: %v", i, err)
				}
			})
			synctest.Wait()
		}
		gone, cancel := context.WithCancel(ctx)
		time.AfterFunc(time.Second, cancel)
		if err := b.Do(gone, always(nil)); !errors.Is(err, context.Canceled) {
			t.Errorf("who gives up: %v", err)
		}
		wg.Wait()
		// At 2s a trial that fails, at 5s one that succeeds; then it is closed, and the others
		// go at once, in whatever order they wake up.
		slices.Sort(trail[min(2, len(trail)):])
		if got := strings.Join(trail, " "); got != "0@2s 1@5s 2@6s 3@6s 4@6s" {
			t.Errorf("calls: %s", got)
		}
		if !b.line.empty() || b.lane.epoch() == 0 {
			t.Error("the fast way is not open again")
		}
	})
}

// When the one who is first in line gives up, the next one takes over, and so it
// does where the first one's trial panics.
func TestBreakerHoldPassesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := NewBreaker(BreakerConfig{MinCalls: 1, OpenFor: 2 * time.Second, Hold: true})
		trip(t.Context(), b, 1)
		go b.Do(ctx, always(nil))
		synctest.Wait()
		go inGoroutine(func() { b.Do(t.Context(), func(context.Context) error { panic(errBoom) }) })
		synctest.Wait()
		time.AfterFunc(time.Second, cancel)
		begin := time.Now()
		if err := b.Do(t.Context(), always(nil)); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took != 4*time.Second {
			t.Errorf("waited %v, want 4s", took)
		}
	})
}

// When the breaker closes, those who are held up go on one by one. Who comes
// meanwhile goes behind them, though the breaker is closed.
func TestBreakerHoldKeepsOrderWhileTheLineDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		b := halfOpen(ctx, BreakerConfig{Hold: true})
		end := make(chan struct{})
		go b.Do(ctx, func(context.Context) error { <-end; return nil }) // the trial
		synctest.Wait()
		// Somebody in line who is slow to wake up.
		b.mu.Lock()
		place := b.line.waiting.PushBack(make(chan struct{}, 1))
		b.mu.Unlock()
		close(end)
		synctest.Wait()
		if got := b.State(); got != BreakerClosed {
			t.Fatalf("%v after the trial", got)
		}
		var called atomic.Bool
		go b.Do(ctx, func(context.Context) error { called.Store(true); return nil })
		synctest.Wait()
		if called.Load() {
			t.Error("a newcomer has overtaken who was held up")
		}
		b.mu.Lock()
		b.line.waiting.Remove(place)
		b.line.wake()
		b.mu.Unlock()
		synctest.Wait()
		if !called.Load() || b.lane.epoch() == 0 {
			t.Errorf("the line has drained: called %t, lane open %t", called.Load(), b.lane.epoch() != 0)
		}
	})
}

// An open breaker's error is about other calls: their marks do not stick to it.
func TestOpenErrorHidesMarks(t *testing.T) {
	b := NewBreaker(BreakerConfig{MinCalls: 1})
	b.Do(t.Context(), always(&seq.ItemError{Item: 1, Err: Permanent(errBoom)}))
	err := b.Do(t.Context(), always(nil))
	if isPermanent(err) || seq.IsItemError(err) || !errors.Is(err, errBoom) {
		t.Errorf("error: %v", err)
	}
}

func TestBreakerStateString(t *testing.T) {
	for s, want := range map[BreakerState]string{
		BreakerClosed: "closed", BreakerOpen: "open", BreakerHalfOpen: "half open", 7: "BreakerState(7)",
	} {
		if got := s.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func ExampleBreaker() {
	breaker := NewBreaker(BreakerConfig{
		MinCalls: 3,
		OpenFor:  time.Minute,
		OnChange: func(from, to BreakerState) { fmt.Println(from, "→", to) },
	})
	call := Wrap(func(context.Context, int) (int, error) {
		return 0, errors.New("connection refused")
	}, breaker)
	for i := range 4 {
		_, err := call(context.Background(), i)
		fmt.Println(errors.Is(err, ErrOpen))
	}
	// Output:
	// false
	// false
	// closed → open
	// false
	// true
}

// With Hold, a breaker that opens stops the pipeline instead of failing its items.
func ExampleBreaker_hold() {
	ctx := context.Background()
	breaker := NewBreaker(BreakerConfig{MinCalls: 1, OpenFor: time.Millisecond, Hold: true})
	down := true
	call := Wrap(func(_ context.Context, n int) (int, error) {
		if down {
			down = false
			return 0, errors.New("connection refused")
		}
		return n, nil
	}, Retry{Backoff: Constant(0)}, breaker)
	for n, err := range seq.MapConcurrent(ctx, seq.Of(1, 2, 3), 1, call) {
		fmt.Println(n, err)
	}
	// Output:
	// 1 <nil>
	// 2 <nil>
	// 3 <nil>
}

func ExampleBreaker_State() {
	ctx := context.Background()
	breaker := NewBreaker(BreakerConfig{MinCalls: 2})
	for range 2 {
		fmt.Println(breaker.State())
		breaker.Do(ctx, func(context.Context) error { return errors.New("connection refused") })
	}
	fmt.Println(breaker.State())
	// Output:
	// closed
	// closed
	// open
}
