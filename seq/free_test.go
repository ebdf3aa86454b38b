package seq

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
)

// No item waits while a worker is free: between runs of quick items, which keep one
// worker busy and let the others sleep, come n that wait for each other. If only one
// of them were left with a worker that waits, the bubble would be deadlocked.
func TestNoItemWaitsWhileAWorkerIsFree(t *testing.T) {
	const total, every = 2000, 20
	type stage = func(ctx context.Context, in iter.Seq2[int, error], n, window int, fn mapping) iter.Seq2[int, error]
	for name, build := range map[string]stage{
		"MapConcurrent": func(ctx context.Context, in iter.Seq2[int, error], n, window int, fn mapping) iter.Seq2[int, error] {
			return MapConcurrent(ctx, in, n, fn, Window(window))
		},
		"MapUnordered": func(ctx context.Context, in iter.Seq2[int, error], n, window int, fn mapping) iter.Seq2[int, error] {
			return MapUnordered(ctx, in, n, fn, Window(window))
		},
		"MapKeyed": func(ctx context.Context, in iter.Seq2[int, error], n, window int, fn mapping) iter.Seq2[int, error] {
			return MapKeyed(ctx, in, n, func(i int) int { return i }, fn, Window(window))
		},
		"FlatMapConcurrent": func(ctx context.Context, in iter.Seq2[int, error], n, window int, fn mapping) iter.Seq2[int, error] {
			return FlatMapConcurrent(ctx, in, n, func(ctx context.Context, i int) iter.Seq2[int, error] {
				return func(yield func(int, error) bool) { yield(fn(ctx, i)) }
			}, Window(window))
		},
		"FlatMapUnordered": func(ctx context.Context, in iter.Seq2[int, error], n, window int, fn mapping) iter.Seq2[int, error] {
			return FlatMapUnordered(ctx, in, n, func(ctx context.Context, i int) iter.Seq2[int, error] {
				return func(yield func(int, error) bool) { yield(fn(ctx, i)) }
			}, Window(window))
		},
		"Fork": func(ctx context.Context, in iter.Seq2[int, error], n, _ int, fn mapping) iter.Seq2[int, error] {
			return Fork(ctx, in, n, func(int) Stage[int, int] {
				return func(in iter.Seq2[int, error]) iter.Seq2[int, error] {
					return Map(in, func(i int) (int, error) { return fn(ctx, i) })
				}
			})
		},
	} {
		for _, size := range [][2]int{{2, 2}, {2, 4}, {3, 5}, {8, 16}, {4, 64}} {
			n, window := size[0], size[1]
			t.Run(fmt.Sprintf("%s/n=%d,window=%d", name, n, window), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var mu sync.Mutex
					inside, all := 0, make(chan struct{})
					meet := func() {
						mu.Lock()
						inside++
						met := all
						if inside == n {
							inside, all = 0, make(chan struct{})
							close(met)
						}
						mu.Unlock()
						<-met
					}
					fn := func(_ context.Context, i int) (int, error) {
						if i%every < n {
							meet()
						}
						return i, nil
					}
					got, err := Count(build(t.Context(), numbers(total), n, window, fn))
					if got != total || err != nil {
						t.Errorf("%d items and the error %v, want %d and none", got, err, total)
					}
				})
			})
		}
	}
}
