package control

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// A closed gate keeps the source standing still; nothing is lost.
func TestGatedStopsBeforeThePull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(Gate)
		begin := time.Now()
		var pulled []time.Duration
		in := seq.Tap(upTo(4), func(int, error) { pulled = append(pulled, time.Since(begin)) })
		g.PauseFor(2 * s)
		var got []event
		for v, err := range Gated(t.Context(), in, g) {
			got = append(got, event{time.Since(begin), v, err})
			if v == 1 {
				g.PauseFor(3 * s)
			}
		}
		wantEvents(t, got, event{2 * s, 0, nil}, event{2 * s, 1, nil}, event{5 * s, 2, nil}, event{5 * s, 3, nil})
		if want := "[2s 2s 5s 5s]"; fmt.Sprint(pulled) != want {
			t.Errorf("pulled at %v, want %v", pulled, want)
		}
	})
}

// The gate closes while the source is at work: the item is held, an error is not.
func TestGatedHoldsTheItemInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(Gate)
		time.AfterFunc(s, g.Pause)
		time.AfterFunc(5*s, g.Resume)
		got := timeline(Gated(t.Context(), script(event{2 * s, 1, nil}, event{6 * s, 2, nil}), g), 0)
		wantEvents(t, got, event{5 * s, 1, nil}, event{6 * s, 2, nil})
	})
}

func TestGatedEndsAfterStop(t *testing.T) {
	for name, tt := range map[string]struct {
		in    []event
		setUp func(g *Gate)
		want  []event
		ended time.Duration
	}{
		"before the loop": {[]event{{0, 1, nil}}, (*Gate).Stop, nil, 0},
		"while it waits to pull": {[]event{{0, 1, nil}, {s, 2, nil}}, func(g *Gate) {
			g.Pause()
			time.AfterFunc(3*s, g.Stop)
		}, nil, 3 * s},
		"during the body": {[]event{{0, 1, nil}, {s, 2, nil}, {9 * s, 3, nil}}, func(g *Gate) {
			time.AfterFunc(100*ms, g.Stop)
		}, []event{{0, 1, nil}}, 500 * ms},
		"while the source works": {[]event{{0, 1, nil}, {3 * s, 2, nil}, {9 * s, 3, nil}}, func(g *Gate) {
			time.AfterFunc(2*s, g.Stop)
		}, []event{{0, 1, nil}, {3 * s, 2, nil}}, 3500 * ms},
		"while an item is held": {[]event{{0, 1, nil}, {3 * s, 2, nil}, {9 * s, 3, nil}}, func(g *Gate) {
			time.AfterFunc(2*s, g.Pause)
			time.AfterFunc(5*s, g.Stop)
		}, []event{{0, 1, nil}, {5 * s, 2, nil}}, 5500 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := new(Gate)
				tt.setUp(g)
				begin := time.Now()
				got := timeline(Gated(t.Context(), script(tt.in...), g), 500*ms)
				wantEvents(t, got, tt.want...)
				if at := time.Since(begin); at != tt.ended {
					t.Errorf("ended at %v, want %v", at, tt.ended)
				}
			})
		})
	}
}

// The end of ctx is never silent: not where Stop came first, and not where its cause is
// ErrStopped.
func TestGatedEndsWithContext(t *testing.T) {
	for name, hold := range map[string]func(g *Gate){
		"paused before the pull": func(g *Gate) { g.Pause() },
		"paused with an item":    func(g *Gate) { time.AfterFunc(s/2, g.Pause) },
		"stopped before":         func(g *Gate) { time.AfterFunc(s/2, g.Stop) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeoutCause(t.Context(), 2*s, ErrStopped)
				defer cancel()
				g := new(Gate)
				hold(g)
				in := script(event{s, 1, nil}, event{3 * s, 2, nil})
				var final error
				for _, err := range Gated(ctx, in, g) {
					final = err
					time.Sleep(2 * s)
				}
				if !errors.Is(final, context.DeadlineExceeded) || !errors.Is(final, ErrStopped) {
					t.Errorf("ended with %v, want the deadline and its cause", final)
				}
			})
		})
	}
}

// One pause puts everything to sleep: while the gate is closed no item is pulled and no
// gated call starts, through many workers.
func TestGatedStopsThePipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(Gate)
		// Who is past the gate when it closes goes on at that instant, but at no later one.
		var since atomic.Pointer[time.Time]
		closed := func() bool { return g.Paused() && since.Load().Before(time.Now()) }
		var calls atomic.Int64
		in := seq.Tap(Gated(t.Context(), upTo(500), g), func(int, error) {
			if closed() {
				t.Error("an item was passed on while the gate was closed")
			}
		})
		call := Wrap(func(_ context.Context, v int) (int, error) {
			if closed() {
				t.Error("a call started while the gate was closed")
			}
			if calls.Add(1)%50 == 0 {
				now := time.Now()
				since.Store(&now)
				g.PauseFor(time.Minute)
			}
			time.Sleep(time.Duration(v%7) * s)
			return v, nil
		}, g)
		next := 0
		for v, err := range seq.MapConcurrent(t.Context(), in, 16, call) {
			if v != next || err != nil {
				t.Fatalf("got %d, %v; want %d", v, err, next)
			}
			next++
		}
		if next != 500 {
			t.Errorf("%d items of 500", next)
		}
	})
}

func ExampleGated() {
	gate := new(Gate)
	for n, err := range Gated(context.Background(), seq.Of(1, 2, 3, 4), gate) {
		fmt.Println(n, err)
		if n == 2 {
			gate.Stop() // a graceful drain: nothing more is pulled, and there is no error
		}
	}
	// Output:
	// 1 <nil>
	// 2 <nil>
}
