package batch_test

import (
	"context"
	"iter"
	"runtime"
	"sync"
	"testing"
	"time"

	"example.com/pipeline/batch"
)

// numbers yields 0 to n-1.
func numbers(n int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
	}
}

// selectLoop is the batching that everybody writes: a goroutine feeds a buffered
// channel, and a loop selects between that, a ticker and the end of ctx.
func selectLoop(ctx context.Context, in iter.Seq2[int, error], n int, maxWait time.Duration) iter.Seq2[[]int, error] {
	return func(yield func([]int, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		items := make(chan int, n)
		go func() {
			defer close(items)
			for v := range in {
				select {
				case items <- v:
				case <-ctx.Done():
					return
				}
			}
		}()
		ticker := time.NewTicker(maxWait)
		defer ticker.Stop()
		held := make([]int, 0, n)
		for {
			select {
			case v, ok := <-items:
				if !ok {
					yield(held, nil)
					return
				}
				if held = append(held, v); len(held) < n {
					continue
				}
			case <-ticker.C:
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			}
			if !yield(held, nil) {
				return
			}
			held = make([]int, 0, n)
		}
	}
}

// BenchmarkBatches compares the stages, in ns an item and allocations a batch of
// 100, with the loop that everybody writes.
func BenchmarkBatches(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	const size = 100
	for _, bc := range []struct {
		name  string
		build func(iter.Seq2[int, error]) iter.Seq2[[]int, error]
	}{
		{"SelectLoop", func(in iter.Seq2[int, error]) iter.Seq2[[]int, error] { return selectLoop(ctx, in, size, time.Second) }},
		{"Window", func(in iter.Seq2[int, error]) iter.Seq2[[]int, error] {
			return batch.Window(ctx, in, size, time.Second)
		}},
		{"Debounce", func(in iter.Seq2[int, error]) iter.Seq2[[]int, error] {
			return batch.Debounce(ctx, in, size, time.Second)
		}},
		{"Size", func(in iter.Seq2[int, error]) iter.Seq2[[]int, error] { return batch.Size(in, size) }},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			seen := 0
			for items, err := range bc.build(numbers(b.N)) {
				if err != nil {
					b.Fatal(err)
				}
				seen += len(items)
			}
			if seen != b.N {
				b.Fatalf("%d items of %d", seen, b.N)
			}
		})
	}
}

// BenchmarkDedup reports ns an item when every key is new, and when half are.
func BenchmarkDedup(b *testing.B) {
	for _, bc := range []struct {
		name string
		key  func(int) int
		cfg  batch.DedupConfig
	}{
		{"AllNew", func(x int) int { return x }, batch.DedupConfig{}},
		{"HalfNew", func(x int) int { return x / 2 }, batch.DedupConfig{}},
		{"TTL", func(x int) int { return x / 2 }, batch.DedupConfig{TTL: time.Hour}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for _, err := range batch.Dedup(numbers(b.N), bc.key, bc.cfg) {
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// echo is a fetch that costs no more than its map.
func echo(_ context.Context, keys []int) (map[int]int, error) {
	found := make(map[int]int, len(keys))
	for _, k := range keys {
		found[k] = k
	}
	return found, nil
}

// BenchmarkLoaderBurst has 10,000 goroutines load 1,000 keys at once, and
// reports ns and allocations a load.
func BenchmarkLoaderBurst(b *testing.B) {
	const loads, keys = 10_000, 1000
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, bc := range []struct {
		name string
		ctx  context.Context
	}{{"Background", context.Background()}, {"Cancellable", ctx}} {
		b.Run(bc.name, func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for b.Loop() {
				l := batch.NewLoader(bc.ctx, echo, batch.LoaderConfig{Capacity: keys})
				var all sync.WaitGroup
				for i := range loads {
					all.Go(func() {
						if v, err := l.Load(bc.ctx, i%keys); v != i%keys || err != nil {
							b.Error(v, err)
						}
					})
				}
				all.Wait()
			}
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*loads), "ns/load")
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(b.N*loads), "allocs/load")
		})
	}
}

// BenchmarkLoaderWarm loads what is cached.
func BenchmarkLoaderWarm(b *testing.B) {
	const keys = 1000
	for name, ttl := range map[string]time.Duration{"NoTTL": 0, "TTL": time.Hour} {
		b.Run(name, func(b *testing.B) {
			ctx := context.Background()
			l := batch.NewLoader(ctx, echo, batch.LoaderConfig{Capacity: keys, TTL: ttl})
			for k := range keys {
				l.Prime(k, k)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := l.Load(ctx, i%keys); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLookup reports ns an item in batches of 100.
func BenchmarkLookup(b *testing.B) {
	b.ReportAllocs()
	self := func(x int) int { return x }
	merge := func(x, _ int) (int, error) { return x, nil }
	for _, err := range batch.Lookup(context.Background(), numbers(b.N), 100, time.Second, self, echo, merge) {
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkJoin2 reports ns a pair.
func BenchmarkJoin2(b *testing.B) {
	self := func(x int) int { return x }
	for name, cfg := range map[string]batch.JoinConfig{"NoTTL": {}, "TTL": {TTL: time.Hour}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for _, err := range batch.Join2(context.Background(), cfg, numbers(b.N), numbers(b.N), self, self) {
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
