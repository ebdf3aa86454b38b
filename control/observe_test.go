package control

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/pipeline/seq"
)

// each makes every item of in take d.
func each(in intStream, d time.Duration) intStream {
	return seq.Tap(in, func(_ int, err error) {
		if err == nil {
			time.Sleep(d)
		}
	})
}

func TestObserveCountsAndTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMonitor()
		source := Observe(m, "source", each(upTo(10), 2*s))
		work := Observe(m, "work", seq.Map(source, func(v int) (int, error) {
			time.Sleep(3 * s)
			if v == 4 {
				return 0, errors.New("four")
			}
			return v, nil
		}))
		for range work {
			time.Sleep(5 * s)
		}
		want := []StageStats{
			{"source", 10, 0, 20 * s, 80 * s},
			{"work", 9, 1, 50 * s, 50 * s},
		}
		if diff := cmp.Diff(want, m.Snapshot()); diff != "" {
			t.Errorf("stages, -want +got:\n%s", diff)
		}
	})
}

// The wait that is going on counts, on both sides, from the first moment.
func TestObserveCountsTheWaitThatGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMonitor()
		var mu sync.Mutex
		var seen []StageStats
		look := func() {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, m.Snapshot()...)
		}
		for _, at := range []time.Duration{s, 3 * s, 6 * s, 9 * s} {
			time.AfterFunc(at, look)
		}
		in := Observe(m, "x", script(event{2 * s, 1, nil}, event{8 * s, end, nil}))
		look()
		for range in {
			time.Sleep(3 * s)
		}
		time.Sleep(2 * s)
		mu.Lock()
		defer mu.Unlock()
		want := []StageStats{
			{Name: "x"},
			{"x", 0, 0, 1 * s, 0},
			{"x", 1, 0, 2 * s, 1 * s},
			{"x", 1, 0, 3 * s, 3 * s},
			{"x", 1, 0, 5 * s, 3 * s}, // over since 8 s
		}
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Errorf("stages, -want +got:\n%s", diff)
		}
	})
}

// Loops over the same stream, and streams of the same name, add up; also those that
// ended by a break or a panic, and those that run at the same time.
func TestObserveAddsLoopsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMonitor()
		one := Observe(m, "x", each(upTo(4), s))
		two := Observe(m, "x", each(upTo(4), s))
		Observe(m, "never", upTo(1))
		seq.Drain(one)
		seq.First(one)
		panicOf(func() {
			for range two {
				time.Sleep(s)
				panic("body")
			}
		})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { seq.Drain(two) })
		}
		time.Sleep(2500 * ms)
		if got, want := m.Snapshot()[0], (StageStats{"x", 4 + 1 + 1 + 3*2, 0, 4*s + s + s + 3*2500*ms, s}); got != want {
			t.Errorf("while three loops run: got %v, want %v", got, want)
		}
		wg.Wait()
		want := []StageStats{{"x", 4 + 1 + 1 + 12, 0, 4*s + s + s + 12*s, s}, {Name: "never"}}
		if diff := cmp.Diff(want, m.Snapshot()); diff != "" {
			t.Errorf("stages, -want +got:\n%s", diff)
		}
	})
}

// Counts stay exact past the points where the packed words spill, and a snapshot never
// goes back nor counts a pair before its time.
func TestObserveSpills(t *testing.T) {
	w := new(watch)
	w.start = clock()
	var pairs, failed int64
	for i := range 3*maxPairs + 5 {
		fail := i%100_000 == 99_999
		w.arrived(fail)
		pairs++
		if fail {
			failed++
		}
		if i%50_000 == 0 || fail || i%maxPairs < 2 || i%maxPairs > maxPairs-3 {
			if c := w.read(); c.pairs != pairs || c.errors != failed || c.up < 0 || c.down < 0 {
				t.Fatalf("after %d: %+v, want %d and %d errors", i+1, c, pairs, failed)
			}
		}
		w.pulled()
	}
	synctest.Test(t, func(t *testing.T) { // long waits spill, too
		m := NewMonitor()
		in := Observe(m, "x", each(upTo(200), 5*time.Hour))
		for range in {
			time.Sleep(7 * time.Hour)
		}
		if got, want := m.Snapshot()[0], (StageStats{"x", 200, 0, 1000 * time.Hour, 1400 * time.Hour}); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// Snapshots while loops run, under the race detector: no number goes back.
func TestObserveIsSafeToRead(t *testing.T) {
	m := NewMonitor()
	stop := make(chan struct{})
	reader := seq.Go(t.Context(), func() {
		var last StageStats
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, now := range m.Snapshot() {
				if now.Items < last.Items || now.Errors < last.Errors || now.WaitUp < last.WaitUp || now.WaitDown < last.WaitDown {
					t.Errorf("%+v after %+v", now, last)
				}
				last = now
			}
			m.Bottleneck()
			_ = m.String()
		}
	})
	in := func(yield func(int, error) bool) {
		for i := range 2_000 {
			var err error
			if i%10 == 0 {
				err = errItem
			}
			if !yield(i, err) {
				return
			}
		}
	}
	for range 20 {
		seq.CollectAll(Observe(m, "x", in))
	}
	close(stop)
	reader.Join()
	if got := m.Snapshot()[0]; got.Items != 36_000 || got.Errors != 4_000 {
		t.Errorf("%+v", got)
	}
}

func ExampleObserve() {
	m := NewMonitor()
	ctx := context.Background()
	var rows iter.Seq2[int, error] = Observe(m, "rows", seq.Of(1, 2, 3))
	calls := Observe(m, "call", seq.MapConcurrent(ctx, rows, 2, func(_ context.Context, n int) (int, error) {
		time.Sleep(50 * time.Millisecond)
		return n * n, nil
	}))
	if err := seq.Drain(calls); err != nil {
		fmt.Println(err)
	}
	for _, s := range m.Snapshot() {
		fmt.Println(s.Name, s.Items, s.Errors)
	}
	fmt.Println(m.Bottleneck())
	// Output:
	// rows 3 0
	// call 3 0
	// call true
}

// What an observed stream costs beyond the two clock reads that it needs.
func BenchmarkObserve(b *testing.B) {
	stages := map[string]func(intStream) intStream{
		"bare loop": func(in intStream) intStream { return in },
		"two clock reads": func(in intStream) intStream {
			return func(yield func(int, error) bool) {
				var up, down, last time.Duration
				for v, err := range in {
					now := clock()
					up += now - last
					last = now
					if !yield(v, err) {
						break
					}
					now = clock()
					down += now - last
					last = now
				}
				sinkDuration = up + down
			}
		},
		"observed": func(in intStream) intStream { return Observe(NewMonitor(), "x", in) },
		"progress": func(in intStream) intStream { return Progress(in, ProgressConfig{}, func(Report) {}) },
	}
	for _, name := range []string{"bare loop", "two clock reads", "observed", "progress"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			in := stages[name](func(yield func(int, error) bool) {
				for i := 0; b.Loop(); i++ {
					if !yield(i, nil) {
						return
					}
				}
			})
			for v := range in {
				sinkInt += v
			}
		})
	}
}

var (
	sinkDuration time.Duration
	sinkInt      int
)
