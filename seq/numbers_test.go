package seq_test

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"example.com/pipeline/seq"
)

// numbered are the stages that are given a number.
var numbered = map[string]func(ctx context.Context, in ints, n int, fn func(context.Context, int) (int, error)) ints{
	"MapConcurrent": func(ctx context.Context, in ints, n int, fn func(context.Context, int) (int, error)) ints {
		return seq.MapConcurrent(ctx, in, n, fn)
	},
	"MapConcurrent, Window": func(ctx context.Context, in ints, n int, fn func(context.Context, int) (int, error)) ints {
		return seq.MapConcurrent(ctx, in, 2, fn, seq.Window(n))
	},
	"MapConcurrent, both": func(ctx context.Context, in ints, n int, fn func(context.Context, int) (int, error)) ints {
		return seq.MapConcurrent(ctx, in, n, fn, seq.Window(n))
	},
	"MapUnordered": func(ctx context.Context, in ints, n int, fn func(context.Context, int) (int, error)) ints {
		return seq.MapUnordered(ctx, in, n, fn)
	},
	"MapUnordered, Window": func(ctx context.Context, in ints, n int, fn func(context.Context, int) (int, error)) ints {
		return seq.MapUnordered(ctx, in, 2, fn, seq.Window(n))
	},
	"MapKeyed": func(ctx context.Context, in ints, n int, fn func(context.Context, int) (int, error)) ints {
		return seq.MapKeyed(ctx, in, n, func(v int) int { return v }, fn)
	},
	"MapKeyed, Window": func(ctx context.Context, in ints, n int, fn func(context.Context, int) (int, error)) ints {
		return seq.MapKeyed(ctx, in, 2, func(int) int { return 0 }, fn, seq.Window(n))
	},
	"FlatMapConcurrent": func(ctx context.Context, in ints, n int, fn func(context.Context, int) (int, error)) ints {
		return seq.FlatMapConcurrent(ctx, in, n, one(fn))
	},
	"FlatMapConcurrent, Window": func(ctx context.Context, in ints, n int, fn func(context.Context, int) (int, error)) ints {
		return seq.FlatMapConcurrent(ctx, in, 2, one(fn), seq.Window(n))
	},
	"FlatMapUnordered": func(ctx context.Context, in ints, n int, fn func(context.Context, int) (int, error)) ints {
		return seq.FlatMapUnordered(ctx, in, n, one(fn))
	},
	"FlatMapUnordered, Window": func(ctx context.Context, in ints, n int, fn func(context.Context, int) (int, error)) ints {
		return seq.FlatMapUnordered(ctx, in, 2, one(fn), seq.Window(n))
	},
	"ForEachConcurrent": func(ctx context.Context, in ints, n int, fn func(context.Context, int) (int, error)) ints {
		return func(yield func(int, error) bool) {
			results := make(chan int, 10_000)
			err := seq.ForEachConcurrent(ctx, in, n, func(ctx context.Context, v int) error {
				v, err := fn(ctx, v)
				results <- v
				return err
			})
			close(results)
			seq.Concat(seq.FromChan(ctx, results), failing(err))(yield)
		}
	},
	"Buffer": func(ctx context.Context, in ints, n int, _ func(context.Context, int) (int, error)) ints {
		return seq.Buffer(ctx, in, n)
	},
	"Pull": func(ctx context.Context, in ints, n int, _ func(context.Context, int) (int, error)) ints {
		return func(yield func(int, error) bool) {
			p := seq.Pull(in, n)
			defer p.Stop()
			for {
				v, err, ok := p.Next(ctx)
				if !ok || !yield(v, err) {
					return
				}
			}
		}
	},
}

func one(fn func(context.Context, int) (int, error)) func(context.Context, int) ints {
	return func(ctx context.Context, v int) ints { return mapTo(ctx, fn)(seq.Of(v)) }
}

func failing(err error) ints {
	if err == nil {
		return seq.Of[int]()
	}
	return seq.Fail[int](err)
}

// Any number will do, and it costs nothing: memory follows what is in flight.
func TestAnyNumberWorks(t *testing.T) {
	for name, stage := range numbered {
		for _, n := range []int{1, 3, 1_000_000, 1 << 20, 1<<20 + 1, math.MaxInt32, 1 << 32, 1<<32 + 3, 1 << 62, math.MaxInt - 1, math.MaxInt} {
			t.Run(fmt.Sprint(name, "/", n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					for range 2 {
						got, err := seq.Collect(stage(t.Context(), upTo(30, nil), n, same))
						slices.Sort(got)
						if err != nil || len(got) != 30 || got[0] != 0 || got[29] != 29 {
							t.Errorf("got %v, %v", got, err)
						}
					}
					runtime.ReadMemStats(&after)
					// 60 workers with a lane each are the most.
					if bytes := after.TotalAlloc - before.TotalAlloc; bytes > 400_000 {
						t.Errorf("%d bytes allocated for 2 loops over 30 items", bytes)
					}
				})
			})
		}
	}
}

// As many calls as were asked for are under way at once, if there are so many items.
// The race detector allows for 8128 goroutines.
func TestThousandsAtOnce(t *testing.T) {
	const total = 3000
	for name, stage := range numbered {
		switch name {
		case "MapConcurrent", "MapConcurrent, both", "MapUnordered", "MapKeyed", "FlatMapConcurrent", "FlatMapUnordered", "ForEachConcurrent":
		default:
			continue
		}
		for _, n := range []int{total, math.MaxInt} {
			t.Run(fmt.Sprint(name, "/", n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					waiting := make(chan struct{})
					var arrived atomic.Int32
					fn := func(_ context.Context, v int) (int, error) {
						if arrived.Add(1) == total {
							close(waiting)
						}
						<-waiting
						return v, nil
					}
					if got, err := seq.Count(stage(t.Context(), upTo(total, nil), n, fn)); got != total || err != nil {
						t.Errorf("got %d, %v", got, err)
					}
				})
			})
		}
	}
}

// A window that is held up by its first item fills to its size, keeps the order while it
// grows, and lets everything out again.
func TestWindowsThatGrow(t *testing.T) {
	const total = 20_000
	for _, name := range []string{"MapConcurrent, Window", "MapUnordered, Window", "MapKeyed, Window", "FlatMapConcurrent, Window", "FlatMapUnordered, Window", "Buffer", "Pull"} {
		for _, n := range []int{17, 1000, 5000, math.MaxInt} {
			t.Run(fmt.Sprint(name, "/", n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					want := 0
					for v, err := range numbered[name](t.Context(), upTo(total, nil), n, same) {
						if err != nil {
							t.Fatal(err)
						}
						if v != want && name != "MapUnordered, Window" && name != "FlatMapUnordered, Window" {
							t.Fatalf("got %d at position %d", v, want)
						}
						if want++; want%1999 == 1 {
							synctest.Wait() // until the window is full
						}
					}
					if want != total {
						t.Errorf("got %d items", want)
					}
				})
			})
		}
	}
}

// However large a window is said to be, an endless source comes to a stop.
func TestReadAheadIsBoundedInAnyCase(t *testing.T) {
	for _, name := range []string{"MapConcurrent, Window", "Buffer", "Pull"} {
		synctest.Test(t, func(t *testing.T) {
			var pulled int
			endless := func(yield func(int, error) bool) {
				for pulled = 0; yield(pulled, nil); pulled++ {
				}
			}
			for range numbered[name](t.Context(), endless, math.MaxInt, same) {
				synctest.Wait()
				if pulled > 1<<20 {
					t.Errorf("%s: %d items pulled", name, pulled)
				}
				break
			}
		})
	}
}
