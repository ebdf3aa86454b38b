package control

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/pipeline/seq"
)

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Items at 0.5 s and 4.5 s, each with a body of 2 s; an error at 8.5 s; the end at 9.5 s.
		in := script(event{500 * ms, 1, nil}, event{4500 * ms, 2, nil}, event{8500 * ms, 0, errItem}, event{11500 * ms, end, nil})
		var beats []string
		stream := Heartbeat(t.Context(), in, s, func(b Beat) {
			beats = append(beats, fmt.Sprintf("%v %d+%d %v %v", b.Elapsed, b.Items, b.Errors, b.Waiting, b.SinceLast))
		})
		for range stream {
			time.Sleep(2 * s)
		}
		want := []string{
			"1s 1+0 downstream 500ms",
			"2s 1+0 downstream 1.5s",
			"3s 1+0 upstream 500ms",
			"4s 1+0 upstream 1.5s",
			"5s 2+0 downstream 500ms",
			"6s 2+0 downstream 1.5s",
			"7s 2+0 upstream 500ms",
			"8s 2+0 upstream 1.5s",
			"9s 2+1 downstream 500ms",
			"10s 2+1 downstream 1.5s",
			"11s 2+1 upstream 500ms",
		}
		if diff := cmp.Diff(want, beats); diff != "" {
			t.Errorf("beats, -want +got:\n%s", diff)
		}
	})
}

func TestHeartbeatBeforeTheFirstItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var beats []Beat
		in := script(event{2500 * ms, end, nil})
		seq.Drain(Heartbeat(t.Context(), in, s, func(b Beat) { beats = append(beats, b) }))
		want := []Beat{{SinceLast: s, Elapsed: s}, {SinceLast: 2 * s, Elapsed: 2 * s}}
		if fmt.Sprint(beats) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", beats, want)
		}
	})
}

// A beat that is always late: the loop waits for the one that runs, not for another.
func TestHeartbeatEndsWithTheLoop(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			in := script(event{2500 * ms, end, nil})
			seq.Drain(Heartbeat(t.Context(), in, 1, func(Beat) { time.Sleep(s) }))
			if took := time.Since(begin); took > 3*s+10 {
				t.Errorf("the loop ended after %v, want 3s", took)
			}
		})
	}
}

// One beat at a time, however long it takes, and none after the loop.
func TestHeartbeatSlowBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most, beats atomic.Int32
		in := script(event{10500 * ms, end, nil})
		seq.Drain(Heartbeat(t.Context(), in, s, func(Beat) {
			most.Store(max(most.Load(), running.Add(1)))
			beats.Add(1)
			time.Sleep(2500 * ms)
			running.Add(-1)
		}))
		if running.Load() != 0 || most.Load() != 1 || beats.Load() < 3 {
			t.Errorf("%d beats, %d at once, %d after the loop", beats.Load(), most.Load(), running.Load())
		}
	})
}

func TestHeartbeatEndOfContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("cause")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 2500*ms, cause)
		defer cancel()
		begin := time.Now()
		beats := 0
		for _, err := range Heartbeat(ctx, script(event{9 * s, 1, nil}), s, func(Beat) { beats++ }) {
			if at := time.Since(begin); at != 2500*ms || !errors.Is(err, cause) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v at %v", err, at)
			}
		}
		if at := time.Since(begin); at != 9*s || beats != 2 {
			t.Errorf("the loop ended at %v after %d beats; want 9s and 2", at, beats)
		}
	})
}

// A panic of beat interrupts the wait for the source and surfaces as one PanicError
// after the source has ended, but never over the body's own.
func TestHeartbeatPanics(t *testing.T) {
	boom := errors.New("boom")
	beat := func(Beat) { panic(boom) }
	for name, tt := range map[string]struct {
		in   intStream
		body func() bool
		want any
		at   time.Duration
	}{
		"while the source works":  {script(event{0, 1, nil}, event{3 * s, 2, nil}), func() bool { return true }, boom, 3 * s},
		"while the body runs":     {upTo(9), func() bool { time.Sleep(5 * s); return true }, boom, 5 * s},
		"and the body breaks":     {upTo(9), func() bool { time.Sleep(5 * s); return false }, boom, 5 * s},
		"and the body panics":     {upTo(9), func() bool { time.Sleep(5 * s); panic("body") }, "body", 5 * s},
		"source and beat":         {script(event{0, 1, nil}), func() bool { time.Sleep(5 * s); return true }, boom, 5 * s},
		"the body panics, before": {upTo(9), func() bool { panic("body") }, "body", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				got := panicOf(func() {
					for _, err := range Heartbeat(t.Context(), tt.in, s, beat) {
						if err != nil {
							t.Errorf("error %v", err)
						}
						if !tt.body() {
							break
						}
					}
				})
				if p, ok := got.(*seq.PanicError); ok {
					got = p.Unwrap()
				}
				if at := time.Since(begin); got != tt.want || at != tt.at {
					t.Errorf("panic %v at %v, want %v at %v", got, at, tt.want, tt.at)
				}
			})
		})
	}
}

// Goexit in beat ends the loop's goroutine, after its deferred calls.
func TestHeartbeatGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		returned := false
		done := make(chan struct{})
		go func() {
			defer close(done)
			seq.Drain(Heartbeat(t.Context(), aSecondEach(upTo(9)), 1500*ms, func(Beat) { runtime.Goexit() }))
			returned = true
		}()
		<-done
		if returned {
			t.Error("the loop's goroutine went on")
		}
	})
}

// When the body panics while the source does, the body's own panic is what surfaces.
func TestHeartbeatBodyPanicCoversTheSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		in := func(yield func(int, error) bool) {
			time.Sleep(5 * s)
			panic("source")
		}
		got := panicOf(func() {
			for range Heartbeat(ctx, in, s, func(b Beat) { cancel() }) {
				panic("body") // at ctx's error, while the source still runs
			}
		})
		if got != "body" {
			t.Errorf("panic %v, want the body's", got)
		}
	})
}

// beat may call anything, the stream that it belongs to included.
func TestHeartbeatBeatMayDoAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, g := NewMonitor(), new(Gate)
		var stream intStream
		beats := 0
		stream = Heartbeat(t.Context(), Observe(m, "items", Gated(t.Context(), aSecondEach(upTo(5)), g)), 3*s, func(Beat) {
			beats++
			m.Bottleneck()
			g.PauseFor(s)
			if beats == 1 {
				seq.First(stream)
			}
		})
		if n, err := seq.Count(stream); n != 5 || err != nil || beats == 0 {
			t.Errorf("%d items, %v, %d beats", n, err, beats)
		}
	})
}

func TestSideString(t *testing.T) {
	if got := fmt.Sprint(Upstream, Downstream, Side(7)); got != "upstream downstream Side(7)" {
		t.Errorf("got %s", got)
	}
}

func ExampleHeartbeat() {
	// The source is stuck. Whoever reads the log is told, and for how long.
	ctx, cancel := context.WithCancel(context.Background())
	stuck := seq.FromFunc(ctx, func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	})
	for _, err := range Heartbeat(ctx, stuck, 5*time.Millisecond, func(b Beat) {
		fmt.Println(b.Items, b.Waiting, b.SinceLast >= 5*time.Millisecond)
		cancel()
	}) {
		fmt.Println(err)
	}
	// Output:
	// 0 upstream true
	// context canceled
}
