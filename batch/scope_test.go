package batch_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/batch"
	"example.com/pipeline/seq"
)

// TestScopeEndsWhileUnwinding: a panic or Goexit passes through a stage that joins a
// goroutine inside a Scope, whose context alone frees the source.
func TestScopeEndsWhileUnwinding(t *testing.T) {
	source := func(ctx context.Context) ints {
		return func(yield func(int, error) bool) {
			if yield(1, nil) {
				<-ctx.Done()
			}
		}
	}
	self := func(x int) int { return x }
	echo := func(_ context.Context, keys []int) (map[int]int, error) { return map[int]int{1: 1}, nil }
	first := func(x, _ int) (int, error) { return x, nil }
	for name, stage := range map[string]func(ctx context.Context, leave func()) error{
		"Window": func(ctx context.Context, leave func()) error {
			return seq.Drain(seq.Tap(batch.Window(ctx, source(ctx), 2, time.Second), func([]int, error) { leave() }))
		},
		"Debounce": func(ctx context.Context, leave func()) error {
			return seq.Drain(seq.Tap(batch.Debounce(ctx, source(ctx), 2, time.Second), func([]int, error) { leave() }))
		},
		"Lookup": func(ctx context.Context, leave func()) error {
			return seq.Drain(seq.Tap(batch.Lookup(ctx, source(ctx), 1, time.Second, self, echo, first), func(int, error) { leave() }))
		},
		"Lookup, key": func(ctx context.Context, leave func()) error {
			return seq.Drain(batch.Lookup(ctx, source(ctx), 1, time.Second, func(int) int { leave(); return 0 }, echo, first))
		},
		"Lookup, fetch": func(ctx context.Context, leave func()) error {
			return seq.Drain(batch.Lookup(ctx, source(ctx), 1, time.Second, self,
				func(context.Context, []int) (map[int]int, error) { leave(); return nil, nil }, first))
		},
		"Lookup, merge": func(ctx context.Context, leave func()) error {
			return seq.Drain(batch.Lookup(ctx, source(ctx), 1, time.Second, self, echo, func(x, _ int) (int, error) { leave(); return x, nil }))
		},
		"Join": func(ctx context.Context, leave func()) error {
			joined := batch.Join(ctx, batch.JoinConfig{}, self, source(ctx))
			return seq.Drain(seq.Tap(joined, func(batch.Group[int, int], error) { leave() }))
		},
		"Join, key": func(ctx context.Context, leave func()) error {
			return seq.Drain(batch.Join(ctx, batch.JoinConfig{}, func(int) int { leave(); return 0 }, source(ctx), source(ctx)))
		},
		"Size": func(ctx context.Context, leave func()) error {
			return seq.Drain(seq.Tap(batch.Size(seq.Buffer(ctx, source(ctx), 1), 1), func([]int, error) { leave() }))
		},
	} {
		for way, leave := range map[string]func(){"panic": func() { panic("later stage") }, "Goexit": runtime.Goexit} {
			t.Run(name+"/"+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var got any
					loop := seq.Go(t.Context(), func() {
						defer func() { got = recover() }()
						// One item of a Scope, since the stages are of different types.
						seq.Drain(seq.Scope(t.Context(), func(ctx context.Context) ints {
							return func(yield func(int, error) bool) {
								if err := stage(ctx, leave); err != nil {
									yield(0, err)
								}
							}
						}))
						t.Error("the loop returned")
					})
					loop.Wait()
					if p, ok := got.(*seq.PanicError); ok {
						got = p.Value
					}
					if way == "panic" && got != "later stage" {
						t.Errorf("got panic %v", got)
					}
				})
			})
		}
	}
}
