package seq

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// idle is a stream that has nothing until ctx ends.
func idle(ctx context.Context) iter.Seq2[int, error] {
	return func(func(int, error) bool) { <-ctx.Done() }
}

// A lane that has nothing is not looked at: it does not stand in the line.
func TestIdleLanesLeaveTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lanes = 1000
		ctx, cancel := context.WithCancel(t.Context())
		c := new(collector[int])
		c.init(ctx, 16)
		defer c.join()
		defer c.stop()
		defer cancel()
		for i := range lanes {
			c.fill(func(yield func(int, error) bool) {
				if yield(i, nil) { // each has something in the beginning
					idle(ctx)(yield)
				}
			})
		}
		c.fill(numbers(1 << 40))
		got := 0
		c.collect(func(int, error) bool {
			if got++; got > 20*lanes && c.line.n > patience {
				t.Fatalf("%d lanes stand in the line after %d pairs", c.line.n, got)
			}
			return got < 21*lanes
		})
	})
}

// Many lanes that always have something are served one after the other, and so is one
// that only sometimes has.
func TestEveryLaneIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lanes, size = 50, 16
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		again := make(chan struct{})
		ins := make([]iter.Seq2[int, error], lanes+1)
		for v := range lanes {
			ins[v] = func(yield func(int, error) bool) {
				for yield(v, nil) {
				}
			}
		}
		ins[lanes] = func(yield func(int, error) bool) {
			for {
				select {
				case <-again:
					yield(lanes, nil)
				case <-ctx.Done():
					return
				}
			}
		}
		total, last := 0, make([]int, lanes+1)
		for v := range Merge(t.Context(), ins...) {
			if total++; total == 20_000 {
				cancel()
				break
			}
			if total-last[v] > (lanes+1)*size {
				t.Fatalf("lane %d was not served for %d pairs", v, total-last[v])
			}
			last[v] = total
			if total == 1 || v == lanes {
				again <- struct{}{}
			}
			synctest.Wait() // until all have something
		}
	})
}

// One lane is busy and all others idle: an item costs the same however many they are.
// With all lanes busy, they take turns. "of-10" is the time an item as part of that of 10
// lanes in the same run.
//
//	go test ./seq -run - -bench Lanes
func BenchmarkLanes(b *testing.B) {
	for name, stage := range map[string]func(ctx context.Context, lanes int, busy bool) iter.Seq2[int, error]{
		"Merge": func(ctx context.Context, lanes int, busy bool) iter.Seq2[int, error] {
			ins := slices.Repeat([]iter.Seq2[int, error]{other(ctx, busy)}, lanes)
			ins[lanes/2] = numbers(1 << 40)
			return Merge(ctx, ins...)
		},
		"Branch": func(ctx context.Context, lanes int, busy bool) iter.Seq2[int, error] {
			next, step := lanes/2, 0
			if busy {
				step = 1
			}
			same := func(in iter.Seq2[int, error]) iter.Seq2[int, error] { return in }
			return Branch(ctx, numbers(1<<40), func(int, error) int {
				next = (next + step) % lanes
				return next
			}, slices.Repeat([]Stage[int, int]{same}, lanes)...)
		},
		"Fork": func(ctx context.Context, lanes int, busy bool) iter.Seq2[int, error] {
			return Fork(ctx, numbers(1<<40), lanes, func(int) Stage[int, int] {
				return func(in iter.Seq2[int, error]) iter.Seq2[int, error] { return in }
			})
		},
		"FlatMapUnordered": func(ctx context.Context, lanes int, busy bool) iter.Seq2[int, error] {
			return FlatMapUnordered(ctx, numbers(lanes), lanes, func(_ context.Context, i int) iter.Seq2[int, error] {
				if i == lanes/2 {
					return numbers(1 << 40)
				}
				return other(ctx, busy)
			}, Window(16*lanes))
		},
		"FlatMapConcurrent": func(ctx context.Context, lanes int, busy bool) iter.Seq2[int, error] {
			return FlatMapConcurrent(ctx, numbers(lanes), lanes, func(_ context.Context, i int) iter.Seq2[int, error] {
				if i == 0 {
					return numbers(1 << 40)
				}
				return other(ctx, busy)
			}, Window(16*lanes))
		},
	} {
		for _, busy := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/all=%v", name, busy), func(b *testing.B) {
				sizes := []int{10, 100, 1000, 10_000}
				for b.Loop() {
					times := make([][]float64, len(sizes))
					for range 9 {
						for i, lanes := range sizes {
							ctx, cancel := context.WithCancel(context.Background())
							times[i] = append(times[i], timeOf(stage(ctx, lanes, busy), 20_000+5*lanes, 50_000, cancel))
						}
					}
					b.ReportMetric(0, "ns/op")
					for i, t := range times {
						slices.Sort(t)
						b.ReportMetric(t[len(t)/2], fmt.Sprintf("ns/item-%d", sizes[i]))
						b.ReportMetric(t[len(t)/2]/times[0][len(times[0])/2], fmt.Sprintf("of-10-at-%d", sizes[i]))
					}
				}
			})
		}
	}
}

// other is what the other lanes get.
func other(ctx context.Context, busy bool) iter.Seq2[int, error] {
	if busy {
		return numbers(1 << 40)
	}
	return idle(ctx)
}

// timeOf returns the time of each of n pairs, after so many others, in nanoseconds, and
// calls stop before it leaves the loop.
func timeOf(in iter.Seq2[int, error], others, n int, stop func()) (ns float64) {
	defer stop()
	var start time.Time
	got := 0
	for range in {
		switch got++; got {
		case others:
			start = time.Now()
		case others + n:
			ns = float64(time.Since(start)) / float64(n)
			stop()
			return ns
		}
	}
	return ns
}
