package seq_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"example.com/pipeline/seq"
)

// unorderedStages are the stages in which pairs overtake each other, and by how many a
// pair that is ready may be overtaken.
var unorderedStages = []struct {
	name  string
	bound int
	stage func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints
}{
	{"MapUnordered", 6, func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
		return seq.MapUnordered(ctx, in, 3, fn)
	}},
	{"MapUnordered, window 1000", 1000, func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
		return seq.MapUnordered(ctx, in, 3, fn, seq.Window(1000))
	}},
	{"FlatMapUnordered", 6, func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
		return seq.FlatMapUnordered(ctx, in, 3, one(fn))
	}},
	{"FlatMapUnordered, window 300", 300, func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
		return seq.FlatMapUnordered(ctx, in, 3, one(fn), seq.Window(300))
	}},
	{"Fork", 3 * 16, func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
		return seq.Fork(ctx, in, 3, func(int) seq.Stage[int, int] { return mapTo(ctx, fn) })
	}},
	{"Branch", 3 * 16, func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
		next := 0
		route := func(v int, err error) int {
			if v == 0 && err == nil {
				return 0 // by itself, since the source waits for a branch that is full
			}
			next++
			return 1 + next%2
		}
		return seq.Branch(ctx, in, route, mapTo(ctx, fn), mapTo(ctx, fn), mapTo(ctx, fn))
	}},
	{"Broadcast", 2 * 16, func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
		return seq.Broadcast(ctx, in, mapTo(ctx, fn), mapTo(ctx, fn))
	}},
	{"Merge", 3 * 16, func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
		busy := mapTo(ctx, fn)(from(1))
		return seq.Merge(ctx, busy, busy, mapTo(ctx, fn)(in))
	}},
}

func mapTo(ctx context.Context, fn func(context.Context, int) (int, error)) seq.Stage[int, int] {
	return func(in ints) ints { return seq.Map(in, func(v int) (int, error) { return fn(ctx, v) }) }
}

// from yields the numbers from n on, without an end.
func from(n int) ints {
	return func(yield func(int, error) bool) {
		for v := n; yield(v, nil); v++ {
		}
	}
}

// A pair that is ready comes out after a bounded number of others, although the workers are
// quicker than the consumer: an item error of the source, and a result or an error that
// was late.
func TestNothingIsOvertakenWithoutBound(t *testing.T) {
	sourceError := &seq.ItemError{Item: "source", Err: errBad}
	for what, c := range map[string]struct {
		in    ints
		first func() (int, error) // what fn makes of item 0, after a while
	}{
		"error of the source": {seq.Concat(seq.Fail[int](sourceError), from(1)), nil},
		"late result":         {from(0), func() (int, error) { return 0, nil }},
		"late error":          {from(0), func() (int, error) { return 0, errBad }},
	} {
		for _, s := range unorderedStages {
			if s.name == "Broadcast" && c.first != nil {
				continue // all its branches wait for the late one
			}
			t.Run(what+"/"+s.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					release := make(chan struct{})
					fn := func(_ context.Context, v int) (int, error) {
						if v == 0 {
							<-release
							return c.first()
						}
						return v, nil
					}
					ready := 0 // pairs since it has been ready
					got := 0
					for v, err := range s.stage(t.Context(), c.in, fn) {
						if err != nil || v == 0 {
							break
						}
						got++
						if got == 20 || c.first == nil && got == 1 {
							close(release)
							synctest.Wait()
							ready = got
						}
						synctest.Wait() // whatever can be ready is
						if ready > 0 && got-ready > s.bound {
							t.Fatalf("overtaken by %d, the bound is %d", got-ready, s.bound)
						}
					}
				})
			})
		}
	}
}

// What is skipped holds nobody up: behind an error or a result come endless skips.
func TestSkipsOvertakeNothing(t *testing.T) {
	for _, s := range unorderedStages {
		if s.name == "Merge" {
			continue // its streams skip before they come to it, and would never end
		}
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var skipped atomic.Int32
				fn := func(_ context.Context, v int) (int, error) {
					if v < 2 {
						return v, nil
					}
					if skipped.Add(1) > 1_000_000 {
						cancel() // nothing has come
					}
					runtime.Gosched()
					return 0, seq.ErrSkip
				}
				in := seq.Concat(seq.Of(0), seq.Fail[int](&seq.ItemError{Item: 1, Err: errBad}), from(2))
				items, errs := 0, 0
				for _, err := range s.stage(ctx, in, fn) {
					if errors.Is(err, errBad) {
						errs++
					} else if err == nil {
						items++
					} else {
						t.Fatal(err)
					}
					if items > 0 && errs > 0 {
						break
					}
				}
			})
		})
	}
}

// The source of a stage with workers yields errors without an end: the results between
// them come out.
func TestErrorsOvertakeNothingWithoutBound(t *testing.T) {
	for _, s := range unorderedStages {
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := func(yield func(int, error) bool) {
					for yield(0, nil) {
						for range 10_000 {
							if !yield(0, &seq.ItemError{Item: 1, Err: errBad}) {
								return
							}
						}
					}
				}
				got := 0
				for v, err := range s.stage(t.Context(), in, same) {
					if err == nil && v == 0 {
						break
					}
					if got++; got > s.bound {
						t.Fatalf("overtaken by %d, the bound is %d", got, s.bound)
					}
					synctest.Wait()
				}
			})
		})
	}
}
