package control

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"example.com/pipeline/seq"
)

var (
	_ Limiter = (*rate.Limiter)(nil)
	_ Limiter = (*Pacer)(nil)
)

// times calls p.Wait n times and returns when each of them returned.
func times(t *testing.T, p *Pacer, n int) []time.Duration {
	begin := time.Now()
	var at []time.Duration
	for range n {
		if err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		at = append(at, time.Since(begin))
	}
	return at
}

func TestPacerSpacesEvenly(t *testing.T) {
	for _, perSecond := range []float64{0.1, 1, 3, 1000, 20_000, 999_983, 1e9} {
		synctest.Test(t, func(t *testing.T) {
			const n = 3000
			for i, at := range times(t, NewPacer(perSecond), n) {
				want := float64(i) * 1e9 / perSecond
				if math.Abs(float64(at)-want) > 1 {
					t.Fatalf("%v a second: call %d at %v, want %v", perSecond, i, at, time.Duration(want))
				}
			}
		})
	}
}

func TestPacerCatchesUp(t *testing.T) {
	tests := []struct {
		perSecond float64
		busy      time.Duration // after the first call
		burst     int           // calls that then go at once
		gap       time.Duration // until the next one
	}{
		{1000, 1500 * time.Microsecond, 1, 500 * time.Microsecond}, // and the schedule is kept
		{1000, time.Second, 2, 100 * time.Microsecond},
		{20_000, time.Second, 39, 50 * time.Microsecond},
		{100, time.Second, 1, 10*time.Millisecond - catchUp},
		{100, 11 * time.Millisecond, 1, 9 * time.Millisecond},
		{400, 4 * time.Millisecond, 1, time.Millisecond},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			p := NewPacer(tt.perSecond)
			times(t, p, 1)
			time.Sleep(tt.busy)
			at := times(t, p, tt.burst+1)
			if at[tt.burst-1] != 0 || at[tt.burst] != tt.gap {
				t.Errorf("%v a second, busy for %v: %v, want %d at once and the next one after %v", tt.perSecond, tt.busy, at, tt.burst, tt.gap)
			}
		})
	}
}

func TestPacerWaitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPacer(1)
		times(t, p, 1)
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second/2, func() { cancel(cause) })
		var wg sync.WaitGroup
		for range 5 { // one waits for its slot, the others for their turn
			wg.Go(func() {
				if err := p.Wait(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
					t.Errorf("error: %v", err)
				}
			})
		}
		wg.Wait()
		if err := p.Wait(ctx); !errors.Is(err, cause) {
			t.Errorf("after the end of ctx: %v", err)
		}
		if at := times(t, p, 2); at[0] != time.Second/2 || at[1] != 3*time.Second/2 {
			t.Errorf("then at %v: those who gave up took slots", at)
		}
	})
}

func TestPacerIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPacer(10)
		var mu sync.Mutex
		var order []int
		begin := time.Now()
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				p.Wait(context.Background())
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
			})
			synctest.Wait()
		}
		wg.Wait()
		for i, got := range order {
			if got != i {
				t.Fatalf("order %v", order)
			}
		}
		if took := time.Since(begin); took != 1900*time.Millisecond {
			t.Errorf("20 calls at 10 a second took %v", took)
		}
	})
}

func TestPacerMisuse(t *testing.T) {
	for _, bad := range []float64{0, -1, math.NaN(), math.Inf(1), math.Inf(-1), 2e9} {
		mustPanic(t, func() { NewPacer(bad) })
	}
	p := NewPacer(5e-324) // as good as never, but no overflow
	if p.every <= 0 || p.Wait(t.Context()) != nil {
		t.Errorf("the slowest pacer: every %v", p.every)
	}
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		call := Wrap(func(context.Context, int) (time.Duration, error) { return time.Since(begin), nil },
			Rate(rate.NewLimiter(10, 3)))
		for i, want := range []time.Duration{0, 0, 0, 100, 200, 300} {
			if got, err := call(t.Context(), 0); got != want*time.Millisecond || err != nil {
				t.Errorf("call %d: %v, %v, want at %v", i, got, err, want*time.Millisecond)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := call(ctx, 0); err == nil {
			t.Error("no error where ctx ends before there is a token")
		}
		cancel()
		if _, err := call(ctx, 0); err != context.Canceled {
			t.Errorf("ended ctx: %v", err)
		}
	})
}

func TestInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, calls = 3, 20
		p := NewInFlight(limit)
		var mu sync.Mutex
		running, most := 0, 0
		call := Wrap(func(context.Context, int) (int, error) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			running--
			return 0, nil
		}, p)
		begin := time.Now()
		var wg sync.WaitGroup
		for i := range calls {
			wg.Go(func() { call(t.Context(), i) })
		}
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second/2, func() { cancel(cause) })
		synctest.Wait()
		if _, err := call(ctx, 0); !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
			t.Errorf("who gives up: %v", err)
		}
		wg.Wait()
		if took := time.Since(begin); most != limit || took != 7*time.Second {
			t.Errorf("%d at once, %v; want %d, 7s", most, took, limit)
		}
	})
}

// BenchmarkPacer reports how far from its mean the pacer is over 5 s, and how many
// milliseconds worth of calls went at once, which is within 50 µs.
func BenchmarkPacer(b *testing.B) {
	for _, perSecond := range []float64{1000, 20_000} {
		b.Run(fmt.Sprint(perSecond), func(b *testing.B) {
			const span = 5 * time.Second
			var off, burst float64
			for b.Loop() {
				p := NewPacer(perSecond)
				begin := time.Now()
				var at []time.Duration
				for time.Since(begin) < span {
					p.Wait(context.Background())
					at = append(at, time.Since(begin))
				}
				mean := float64(len(at)-1) / at[len(at)-1].Seconds()
				off = max(off, math.Abs(mean/perSecond-1)*100)
				for first, last := 0, 0; last < len(at); last++ {
					for at[last]-at[first] > 50*time.Microsecond {
						first++
					}
					burst = max(burst, float64(last-first+1)*1000/perSecond)
				}
			}
			b.ReportMetric(off, "%off")
			b.ReportMetric(burst, "ms-at-once")
		})
	}
}

func ExampleRate() {
	// At most 1,000 calls a second, evenly spaced, over all workers.
	call := Wrap(func(_ context.Context, n int) (int, error) { return n * n, nil }, Rate(NewPacer(1000)))
	ctx := context.Background()
	fmt.Println(seq.Collect(seq.MapConcurrent(ctx, seq.Of(1, 2, 3), 2, call)))
	// Output: [1 4 9] <nil>
}

func ExampleNewPacer() {
	pacer := NewPacer(500)
	begin := time.Now()
	for range 3 { // at 0, 2 and 4 ms
		pacer.Wait(context.Background())
	}
	fmt.Println(time.Since(begin) >= 4*time.Millisecond)
	// Output: true
}

func ExampleNewInFlight() {
	// However many workers and pipelines share it, the API sees 2 calls at once.
	api := NewInFlight(2)
	call := Wrap(func(_ context.Context, n int) (int, error) { return n + 1, nil }, api)
	ctx := context.Background()
	fmt.Println(seq.Collect(seq.MapConcurrent(ctx, seq.Of(1, 2, 3), 8, call)))
	// Output: [2 3 4] <nil>
}
