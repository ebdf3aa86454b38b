package control

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// waitFor calls g.Wait in a goroutine and returns how long it took, on the fake
// clock, and its error. It is for bubbles only.
func waitFor(ctx context.Context, g *Gate) func() (time.Duration, error) {
	begin := time.Now()
	var took time.Duration
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = g.Wait(ctx)
		took = time.Since(begin)
	}()
	return func() (time.Duration, error) { <-done; return took, err }
}

func TestGateZeroValueIsOpen(t *testing.T) {
	var g Gate
	if g.Paused() {
		t.Error("the zero gate is paused")
	}
	if err := g.Wait(t.Context()); err != nil {
		t.Errorf("Wait = %v", err)
	}
	g.PauseFor(0)
	g.PauseFor(-time.Second)
	if g.Paused() {
		t.Error("a pause of no time closed the gate")
	}
}

func TestGateLongestPauseWins(t *testing.T) {
	tests := []struct {
		name  string
		pause func(g *Gate)
		want  time.Duration
	}{
		{"one", func(g *Gate) { g.PauseFor(3 * time.Second) }, 3 * time.Second},
		{"shorter first", func(g *Gate) { g.PauseFor(time.Second); g.PauseFor(3 * time.Second) }, 3 * time.Second},
		{"shorter last", func(g *Gate) { g.PauseFor(3 * time.Second); g.PauseFor(time.Second) }, 3 * time.Second},
		{"prolonged while waited for", func(g *Gate) {
			g.PauseFor(2 * time.Second)
			time.AfterFunc(time.Second, func() { g.PauseFor(4 * time.Second) })
		}, 5 * time.Second},
		{"Pause outlasts PauseFor", func(g *Gate) {
			g.PauseFor(time.Second)
			g.Pause()
			time.AfterFunc(7*time.Second, g.Resume)
		}, 7 * time.Second},
		{"Pause while waited for", func(g *Gate) {
			g.PauseFor(2 * time.Second)
			time.AfterFunc(time.Second, g.Pause)
			time.AfterFunc(7*time.Second, g.Resume)
		}, 7 * time.Second},
		{"PauseFor after Pause", func(g *Gate) {
			g.Pause()
			g.PauseFor(time.Second)
			time.AfterFunc(7*time.Second, g.Resume)
		}, 7 * time.Second},
		{"Resume ends them all", func(g *Gate) {
			g.Pause()
			g.PauseFor(time.Hour)
			time.AfterFunc(time.Second, g.Resume)
		}, time.Second},
		{"closed again at once", func(g *Gate) {
			g.PauseFor(2 * time.Second)
			time.AfterFunc(time.Second, func() { // nobody has seen it open between the two
				g.mu.Lock()
				defer g.mu.Unlock()
				g.release()
			})
		}, 2 * time.Second},
		{"without end of time", func(g *Gate) {
			g.PauseFor(1<<63 - 1)
			time.AfterFunc(time.Second, g.Resume)
		}, time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g Gate
				tt.pause(&g)
				if !g.Paused() {
					t.Error("the gate is not paused")
				}
				for range 3 {
					waiter := waitFor(t.Context(), &g)
					defer func() {
						if took, err := waiter(); took != tt.want || err != nil {
							t.Errorf("waited %v, %v; want %v", took, err, tt.want)
						}
						if g.Paused() {
							t.Error("paused after the wait")
						}
					}()
				}
			})
		})
	}
}

func TestGateOpensAtTheInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		g.PauseFor(time.Second)
		time.Sleep(time.Second - 1)
		if !g.Paused() {
			t.Error("open 1 ns too early")
		}
		time.Sleep(1)
		if g.Paused() {
			t.Error("closed at the end of its pause")
		}
	})
}

func TestGateHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		long := g.hold(10 * time.Second)
		short := g.hold(2 * time.Second)
		g.PauseFor(5 * time.Second)
		waiter := waitFor(t.Context(), &g)
		time.Sleep(3 * time.Second)
		g.unhold(short) // has ended by itself
		if !g.Paused() {
			t.Error("the end of the shortest pause opened the gate")
		}
		g.unhold(long) // given up: now what PauseFor asked for is the longest
		if took, err := waiter(); took != 5*time.Second || err != nil {
			t.Errorf("waited %v, %v; want 5s", took, err)
		}

		long = g.hold(time.Hour)
		waiter = waitFor(t.Context(), &g)
		time.Sleep(time.Second)
		g.unhold(long)
		if took, err := waiter(); took != time.Second || err != nil {
			t.Errorf("waited %v, %v; want 1s", took, err)
		}

		long = g.hold(time.Hour)
		g.Resume()
		g.unhold(long)
		if g.Paused() {
			t.Error("closed after Resume")
		}
	})
}

func TestGateStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		g.Pause()
		waiter := waitFor(t.Context(), &g)
		time.Sleep(time.Second)
		g.Stop()
		if took, err := waiter(); took != time.Second || !errors.Is(err, ErrStopped) {
			t.Errorf("waited %v, %v; want 1s, ErrStopped", took, err)
		}
		g.Resume() // changes nothing any more
		called := false
		err := g.Do(t.Context(), func(context.Context) error { called = true; return nil })
		if !errors.Is(err, ErrStopped) || called {
			t.Errorf("Do after Stop = %v, called %t; want ErrStopped without a call", err, called)
		}
		if g.Paused() {
			t.Error("a stopped gate says that it is paused")
		}
	})
}

func TestGateWaitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		var g Gate
		g.PauseFor(time.Hour)
		waiter := waitFor(ctx, &g)
		time.AfterFunc(time.Second, func() { cancel(cause) })
		took, err := waiter()
		if took != time.Second || !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
			t.Errorf("waited %v, %v; want 1s, both Canceled and the cause", took, err)
		}
		if g.crowd != nil {
			t.Error("the last waiter left something behind")
		}
		g.Resume()
		if err := g.Wait(ctx); !errors.Is(err, cause) {
			t.Errorf("open gate, ended ctx: %v; want ctx's error", err)
		}
		g.Stop()
		if err := g.Wait(ctx); !errors.Is(err, cause) {
			t.Errorf("stopped gate, ended ctx: %v; want ctx's error", err)
		}
	})
}

func TestGateWaitAllocatesNothingWhileOpen(t *testing.T) {
	var g Gate
	g.Pause()
	g.Resume()
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() { g.Wait(ctx) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func ExampleGate() {
	var g Gate
	call := Wrap(func(_ context.Context, name string) (string, error) {
		return "hello " + name, nil
	}, &g)

	fmt.Println(call(context.Background(), "Ada"))
	g.Stop() // a graceful drain: calls that have not begun are refused
	fmt.Println(call(context.Background(), "Bob"))
	// Output:
	// hello Ada <nil>
	//  control: the gate was stopped
}

func ExampleGate_PauseFor() {
	var g Gate
	g.PauseFor(5 * time.Millisecond)
	g.PauseFor(time.Millisecond) // the longest wins

	begin := time.Now()
	var calls sync.WaitGroup
	for range 3 {
		calls.Go(func() { g.Wait(context.Background()) })
	}
	calls.Wait()
	fmt.Println(time.Since(begin) >= 5*time.Millisecond)
	// Output: true
}

func ExampleGate_Pause() {
	var g Gate
	g.Pause() // until Resume
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	fmt.Println(g.Wait(ctx))
	// Output: context deadline exceeded
}

func ExampleGate_Resume() {
	var g Gate
	g.Pause()
	g.PauseFor(time.Hour)
	g.Resume() // ends both
	fmt.Println(g.Wait(context.Background()))
	// Output: <nil>
}

func ExampleGate_Paused() {
	var g Gate
	fmt.Println(g.Paused())
	g.Pause()
	fmt.Println(g.Paused())
	g.Stop() // nobody waits any more
	fmt.Println(g.Paused())
	// Output:
	// false
	// true
	// false
}

// A job that is asked to stop finishes what it has begun.
func ExampleGate_Stop() {
	var g Gate
	ctx := context.Background()
	for n, err := range Gated(ctx, seq.Of(1, 2, 3, 4), &g) {
		fmt.Println(n, err)
		if n == 2 {
			g.Stop() // as a handler of SIGTERM would
		}
	}
	fmt.Println("done")
	// Output:
	// 1 <nil>
	// 2 <nil>
	// done
}

func ExampleGate_Wait() {
	var g Gate
	ctx := context.Background()
	fmt.Println(g.Wait(ctx))
	g.Stop()
	fmt.Println(g.Wait(ctx))
	// Output:
	// <nil>
	// control: the gate was stopped
}

func ExampleGate_Do() {
	var g Gate
	err := g.Do(context.Background(), func(context.Context) error {
		fmt.Println("the gate is open")
		return nil
	})
	fmt.Println(err)
	// Output:
	// the gate is open
	// <nil>
}
