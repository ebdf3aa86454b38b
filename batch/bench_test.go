package batch_test

import (
	"context"
	"iter"
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
