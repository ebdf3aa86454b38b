package seq

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The benchmarks of this file run what they compare in turn, a slice of the work at
// a time, and report medians: on a busy machine only the ratios of one run mean
// anything. "x-future" is how many times the throughput of a goroutine and a channel
// an item is reached; "of-loops" is the part of the throughput of two bare loops that
// share a slice by an atomic counter. Allocations are exact.
//
//	go test ./seq -run - -bench Engine

func numbers(n int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
	}
}

// busy works for about n nanoseconds.
//
//go:noinline
func busy(n int) (x int) {
	for i := range n {
		x = x*1664525 + i
	}
	return x
}

// roundsPerMicrosecond measures what busy has to be told for a microsecond.
var roundsPerMicrosecond = sync.OnceValue(func() int {
	best := time.Hour
	for range 1000 {
		start := time.Now()
		busy(10_000)
		best = min(best, time.Since(start))
	}
	return int(10_000 * time.Microsecond / best)
})

func drain[T any](b *testing.B, s iter.Seq2[T, error]) {
	for _, err := range s {
		if err != nil {
			b.Fatal(err)
		}
	}
}

type mapping = func(context.Context, int) (int, error)

// bareLoop is the limit on one processor.
func bareLoop(n int, fn mapping) {
	for i := range n {
		fn(context.Background(), i)
	}
}

// twoLoops is the limit on two.
func twoLoops(n int, fn mapping) {
	out := make([]int, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				out[i], _ = fn(context.Background(), i)
			}
		})
	}
	wg.Wait()
}

// futures is what one writes by hand: a goroutine and a channel an item, and a
// channel of those channels to keep the order.
func futures(n, workers int, fn mapping) {
	type result struct {
		v   int
		err error
	}
	pending := make(chan chan result, workers)
	go func() {
		defer close(pending)
		for i := range n {
			future := make(chan result, 1)
			pending <- future
			go func() {
				v, err := fn(context.Background(), i)
				future <- result{v, err}
			}()
		}
	}()
	for future := range pending {
		<-future
	}
}

// channelPool is the textbook pool: a channel of jobs, one of results, no order.
func channelPool(n, workers int, fn mapping) {
	jobs, results := make(chan int, workers), make(chan int, workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range jobs {
				v, _ := fn(context.Background(), i)
				results <- v
			}
		})
	}
	go func() {
		for i := range n {
			jobs <- i
		}
		close(jobs)
		wg.Wait()
		close(results)
	}()
	for range results {
	}
}

// inTurn runs the contestants in turn, each on n items, and returns the median time
// an item of each, in nanoseconds.
func inTurn(rounds, n int, contestants ...func(n int)) []float64 {
	times := make([][]float64, len(contestants))
	for range rounds {
		for i, run := range contestants {
			start := time.Now()
			run(n)
			times[i] = append(times[i], float64(time.Since(start))/float64(n))
		}
	}
	medians := make([]float64, len(times))
	for i, ts := range times {
		slices.Sort(ts)
		medians[i] = ts[len(ts)/2]
	}
	return medians
}

// allocsPerItem returns what run allocates an item, beyond what it allocates a loop.
func allocsPerItem(run func(n int)) float64 {
	count := func(n int) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		run(n)
		runtime.ReadMemStats(&after)
		return after.Mallocs - before.Mallocs
	}
	run(1000)
	few, many := count(1000), count(101_000)
	if many <= few {
		return 0
	}
	return float64(many-few) / 100_000
}

func BenchmarkEngineMap(b *testing.B) {
	for _, work := range []struct {
		name  string
		items int
		fn    mapping
	}{
		{"trivial", 100_000, func(_ context.Context, i int) (int, error) { return i + 1, nil }},
		{"1us", 10_000, func(_ context.Context, i int) (int, error) { return i + busy(roundsPerMicrosecond())&1, nil }},
	} {
		for _, n := range []int{2, 8, 64} {
			for _, window := range []int{2 * n, 64, 1024} {
				if window < n {
					continue
				}
				b.Run(fmt.Sprintf("%s/workers=%d/window=%d", work.name, n, window), func(b *testing.B) {
					ordered := func(items int) {
						drain(b, MapConcurrent(context.Background(), numbers(items), n, work.fn, Window(window)))
					}
					unordered := func(items int) {
						drain(b, MapUnordered(context.Background(), numbers(items), n, work.fn, Window(window)))
					}
					for b.Loop() {
						t := inTurn(9, work.items,
							ordered, unordered,
							func(items int) { bareLoop(items, work.fn) },
							func(items int) { twoLoops(items, work.fn) },
							func(items int) { futures(items, n, work.fn) },
							func(items int) { channelPool(items, n, work.fn) })
						b.ReportMetric(0, "ns/op")
						b.ReportMetric(t[0], "ns/item")
						b.ReportMetric(t[1], "ns/item-unordered")
						b.ReportMetric(t[2], "ns/item-loop")
						b.ReportMetric(t[3], "ns/item-two-loops")
						b.ReportMetric(t[5], "ns/item-channel-pool")
						b.ReportMetric(t[4]/t[0], "x-future")
						b.ReportMetric(t[3]/t[0], "of-loops")
					}
					b.ReportMetric(allocsPerItem(ordered)+allocsPerItem(unordered), "allocs/item")
				})
			}
		}
	}
}

// With a function that sleeps, the ideal is its time over the workers.
func BenchmarkEngineSleep(b *testing.B) {
	const workers, items = 64, 6400
	sleep := func(_ context.Context, i int) (int, error) {
		time.Sleep(time.Millisecond)
		return i, nil
	}
	for b.Loop() {
		t := inTurn(3, items,
			func(items int) { drain(b, MapConcurrent(context.Background(), numbers(items), workers, sleep)) },
			func(items int) { // the ideal on this machine, whose timer has a resolution of its own
				var wg sync.WaitGroup
				for range workers {
					wg.Go(func() { bareLoop(items/workers, sleep) })
				}
				wg.Wait()
			})
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(t[0], "ns/item")
		b.ReportMetric(t[1]/t[0], "of-ideal")
	}
}

// A hand-over between two goroutines, beside a channel of the same capacity.
func BenchmarkEngineHandOver(b *testing.B) {
	channel := func(capacity int) func(int) {
		return func(items int) {
			ch := make(chan pair[int], capacity)
			go func() {
				defer close(ch)
				for i := range items {
					ch <- pair[int]{v: i}
				}
			}()
			for range ch {
			}
		}
	}
	sharedChannel := func(capacity, producers int) func(int) {
		return func(items int) {
			ch := make(chan pair[int], capacity)
			var wg sync.WaitGroup
			for range producers {
				wg.Go(func() {
					for i := range items / producers {
						ch <- pair[int]{v: i}
					}
				})
			}
			go func() { wg.Wait(); close(ch) }()
			for range ch {
			}
		}
	}
	for _, c := range []struct {
		name      string
		ours      func(int)
		contender func(int)
	}{
		{"Buffer16", func(n int) { drain(b, Buffer(context.Background(), numbers(n), 16)) }, channel(16)},
		{"Buffer128", func(n int) { drain(b, Buffer(context.Background(), numbers(n), 128)) }, channel(128)},
		{"Buffer1024", func(n int) { drain(b, Buffer(context.Background(), numbers(n), 1024)) }, channel(1024)},
		{"Merge1", func(n int) { drain(b, Merge(context.Background(), numbers(n))) }, channel(16)},
		{"Merge4", func(n int) {
			part := numbers(n / 4)
			drain(b, Merge(context.Background(), part, part, part, part))
		}, sharedChannel(16, 4)},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				t := inTurn(15, 100_000, c.ours, c.contender)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(t[0], "ns/item")
				b.ReportMetric(t[1], "ns/item-channel")
				b.ReportMetric(t[0]/t[1], "of-channel")
			}
			b.ReportMetric(allocsPerItem(c.ours), "allocs/item")
		})
	}
}

// How long a lone result is on its way while the source is idle.
func BenchmarkEngineLatency(b *testing.B) {
	sent := make(chan time.Time)
	in := func(yield func(time.Time, error) bool) {
		for at := range sent {
			if !yield(at, nil) {
				return
			}
		}
	}
	same := func(_ context.Context, at time.Time) (time.Time, error) { return at, nil }
	var took []time.Duration
	done := make(chan bool)
	go func() {
		defer close(done)
		for at := range MapConcurrent(context.Background(), in, 8, same) {
			took = append(took, time.Since(at))
		}
	}()
	n := 0
	for b.Loop() {
		time.Sleep(200 * time.Microsecond)
		sent <- time.Now()
		n++
	}
	close(sent)
	<-done
	slices.Sort(took)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(took[n/2])/1e3, "µs-median")
	b.ReportMetric(float64(took[n*99/100])/1e3, "µs-p99")
}

// What it costs to ask before each call whether it may begin.
func BenchmarkEngineStop(b *testing.B) {
	var stopped atomic.Bool
	asking := WithStop(context.Background(), func() error {
		if stopped.Load() {
			return ErrStopped
		}
		return nil
	})
	trivial := func(_ context.Context, i int) (int, error) { return i + 1, nil }
	for name, stage := range map[string]func(context.Context, iter.Seq2[int, error], int, mapping, ...Option) iter.Seq2[int, error]{
		"MapConcurrent": MapConcurrent[int, int], "MapUnordered": MapUnordered[int, int],
	} {
		b.Run(name, func(b *testing.B) {
			under := func(ctx context.Context) func(int) {
				return func(items int) { drain(b, stage(ctx, numbers(items), 2, trivial, Window(64))) }
			}
			for b.Loop() {
				type key struct{}
				t := inTurn(15, 100_000, under(context.WithValue(context.Background(), key{}, 1)), under(asking))
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(t[0], "ns/item")
				b.ReportMetric(t[1], "ns/item-asking")
			}
			b.ReportMetric(allocsPerItem(under(asking)), "allocs/item-asking")
		})
	}
}
