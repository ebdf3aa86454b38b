package batch_test

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/batch"
	"example.com/pipeline/seq"
)

// endless yields items and then blocks until ctx ends.
func endless(ctx context.Context, items ...int) ints {
	return func(yield func(int, error) bool) {
		for _, v := range items {
			if !yield(v, nil) {
				return
			}
		}
		<-ctx.Done()
	}
}

// stagesOverEndless are stages over sources that only their ctx frees, each of which
// has something to yield. unwind is to be called by a callback.
var stagesOverEndless = map[string]func(ctx context.Context, unwind func()) iter.Seq2[any, error]{
	"Window": func(ctx context.Context, _ func()) iter.Seq2[any, error] {
		return anys(batch.Window(ctx, endless(ctx, 1, 2, 3), 2, time.Hour))
	},
	"Debounce": func(ctx context.Context, _ func()) iter.Seq2[any, error] {
		return anys(batch.Debounce(ctx, endless(ctx, 1), 2, time.Second))
	},
	"Batches": func(ctx context.Context, _ func()) iter.Seq2[any, error] {
		return anys(batch.Batches(ctx, endless(ctx, 1, 2, 3), batch.Limits[int]{Weigh: identity[int], Weight: 2}))
	},
	"Lookup": func(ctx context.Context, unwind func()) iter.Seq2[any, error] {
		return anys(batch.Lookup(ctx, endless(ctx, 1, 2), 1, time.Hour, identity[int], echo,
			func(x, _ int) (int, error) { unwind(); return x, nil }))
	},
	"Lookup, key": func(ctx context.Context, unwind func()) iter.Seq2[any, error] {
		return anys(batch.Lookup(ctx, endless(ctx, 1, 2), 1, time.Hour, func(x int) int { unwind(); return x }, echo,
			func(x, _ int) (int, error) { return x, nil }))
	},
	"Lookup, fetch": func(ctx context.Context, unwind func()) iter.Seq2[any, error] {
		return anys(batch.Lookup(ctx, endless(ctx, 1, 2), 1, time.Hour, identity[int],
			func(ctx context.Context, keys []int) (map[int]int, error) { unwind(); return echo(ctx, keys) },
			func(x, _ int) (int, error) { return x, nil }))
	},
	"Batches, callback": func(ctx context.Context, unwind func()) iter.Seq2[any, error] {
		return anys(batch.Batches(ctx, endless(ctx, 1, 2), batch.Limits[int]{Last: func(int) bool { unwind(); return true }}))
	},
	"Join": func(ctx context.Context, unwind func()) iter.Seq2[any, error] {
		return anys(batch.Join(ctx, batch.JoinConfig{TTL: time.Hour}, func(x int) int { unwind(); return x }, endless(ctx, 1, 2, 3), endless(ctx, 1, 2)))
	},
	"Join2": func(ctx context.Context, unwind func()) iter.Seq2[any, error] {
		return anys(batch.Join2(ctx, batch.JoinConfig{}, endless(ctx, 1, 2, 3), endless(ctx, 1, 2), identity[int], func(x int) int { unwind(); return x }))
	},
	"Gather": func(ctx context.Context, unwind func()) iter.Seq2[any, error] {
		return anys(batch.Gather(ctx, endless(ctx, 1, 2), batch.JoinConfig{}, identity[int], func([]int) bool { unwind(); return true }))
	},
}

// A stream that crashes frees the others: one that is held up, and one that only the
// Scope frees. Of two crashes the first one counts.
func TestJoinCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer func() {
			if p, ok := recover().(*seq.PanicError); !ok || p.Value != "first" {
				t.Errorf("recovered %v", p)
			}
		}()
		scope := seq.Scope(t.Context(), func(ctx context.Context) iter.Seq2[any, error] {
			crash := func(yield func(int, error) bool) {
				time.Sleep(time.Second)
				panic("first")
			}
			second := func(yield func(int, error) bool) {
				<-ctx.Done()
				panic("second")
			}
			return anys(batch.Join(ctx, batch.JoinConfig{MaxPending: 4}, identity[int], second, numbers(10), endless(ctx, 7), crash))
		})
		t.Error("no panic, but", seq.Drain(scope))
	})
}

// A ctx that panics half way through the start leaves no stream running.
func TestJoinContextPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer func() {
			if v := recover(); v != "out of order" {
				t.Errorf("recovered %v", v)
			}
		}()
		asked := 0
		ctx := hostileContext{t.Context(), func() {
			if asked++; asked == 3 {
				panic("out of order")
			}
		}}
		t.Error("no panic, but", seq.Drain(batch.Join(ctx, batch.JoinConfig{}, identity[int], numbers(100), numbers(100), numbers(100))))
	})
}

func anys[T any](in iter.Seq2[T, error]) iter.Seq2[any, error] {
	return seq.Map(in, func(v T) (any, error) { return v, nil })
}

// A panic or Goexit in a callback, in a later stage inside the Scope or in the body ends
// the Scope before anything waits for a source that waits for it. Otherwise the bubble
// would be stuck.
func TestUnwindingInAScope(t *testing.T) {
	for name, stage := range stagesOverEndless {
		for where, place := range map[string]int{"callback": 0, "later stage": 1, "body": 2} {
			for how, unwind := range map[string]func(){"panic": func() { panic("mine") }, "Goexit": runtime.Goexit} {
				t.Run(fmt.Sprint(name, "/", where, "/", how), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						at := func(i int) func() {
							if i == place {
								return unwind
							}
							return func() {}
						}
						scope := seq.Scope(t.Context(), func(ctx context.Context) iter.Seq2[any, error] {
							return seq.Tap(stage(ctx, at(0)), func(any, error) { at(1)() })
						})
						var recovered any
						returned, outputs := false, 0
						done := make(chan struct{})
						go func() {
							defer close(done)
							defer func() { recovered = recover() }()
							for range scope {
								outputs++
								at(2)()
								if outputs == 1 {
									break
								}
							}
							returned = true
						}()
						<-done
						if p, ok := recovered.(*seq.PanicError); ok {
							recovered = p.Value
						}
						want := any("mine")
						if how == "Goexit" {
							want = nil
						}
						if place == 0 && outputs == 1 { // it has no callback, or broke before
							want = recovered
							returned = false
						}
						if recovered != want || returned {
							t.Errorf("recovered %v after %d outputs, the loop returned: %v", recovered, outputs, returned)
						}
					})
				})
			}
		}
	}
}
