package seq_test

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// silent is a source that yields the numbers from 0 below n, then blocks until ctx
// ends, and ends without a word.
func silent(ctx context.Context, n int) ints {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
		<-ctx.Done()
	}
}

// untilDone is a callback that waits for its context.
func untilDone(ctx context.Context, v int) (int, error) {
	<-ctx.Done()
	return v, ctx.Err()
}

func same(_ context.Context, v int) (int, error) { return v, nil }

// An ending is how a goroutine ended.
type ending struct {
	panic  any // the value; a *PanicError is looked into
	goexit bool
}

// endOf runs fn in a goroutine of its own and says how that ended.
func endOf(fn func()) (e ending) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.goexit = true
		defer func() {
			if v := recover(); v != nil {
				e = ending{panic: v}
				if p, ok := v.(*seq.PanicError); ok {
					e.panic = p.Value
				}
			}
		}()
		fn()
		e.goexit = false
	}()
	<-done
	return e
}

// leavings are the ways to leave a loop, by what the body does in it. Each returns
// what a yield returns, if it returns.
var leavings = map[string]struct {
	leave func() bool
	want  ending
}{
	"break":  {func() bool { return false }, ending{}},
	"panic":  {func() bool { panic("body") }, ending{panic: "body"}},
	"Goexit": {func() bool { runtime.Goexit(); return false }, ending{goexit: true}},
}

// However the consumer leaves, the scope's context ends before the stages inside
// wait for what only that context can end.
func TestScopeEndsBeforeTheStagesInsideWait(t *testing.T) {
	for shape, build := range map[string]func(ctx context.Context) ints{
		"source":        func(ctx context.Context) ints { return silent(ctx, 1) },
		"Buffer":        func(ctx context.Context) ints { return seq.Buffer(ctx, silent(ctx, 1), 2) },
		"Merge":         func(ctx context.Context) ints { return seq.Merge(ctx, silent(ctx, 1), silent(ctx, 0)) },
		"MapConcurrent": func(ctx context.Context) ints { return seq.MapConcurrent(ctx, silent(ctx, 1), 2, same) },
		"a chain": func(ctx context.Context) ints {
			return seq.Buffer(ctx, seq.MapUnordered(ctx, seq.Buffer(ctx, silent(ctx, 3), 1), 2, same), 1)
		},
		"Fork of concurrent lanes": func(ctx context.Context) ints {
			return seq.Fork(ctx, silent(ctx, 3), 2, func(i int) seq.Stage[int, int] {
				return func(in ints) ints {
					return seq.MapUnordered(ctx, in, 2, func(ctx context.Context, v int) (int, error) {
						if v == 0 {
							return v, nil
						}
						return untilDone(ctx, v)
					})
				}
			})
		},
		"Zip": func(ctx context.Context) ints {
			return seq.Zip(seq.Buffer(ctx, silent(ctx, 1), 1), seq.Buffer(ctx, silent(ctx, 1), 1), func(a, _ int) (int, error) { return a, nil })
		},
		"a scope": func(ctx context.Context) ints {
			outer := seq.Buffer(ctx, silent(ctx, 1), 1)
			return seq.Scope(ctx, func(ctx context.Context) ints { return seq.MapConcurrent(ctx, outer, 2, same) })
		},
	} {
		for how, l := range leavings {
			t.Run(shape+"/"+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					got := endOf(func() {
						seq.Scope(t.Context(), build)(func(v int, err error) bool {
							if v != 0 && shape != "a chain" || err != nil { // in the chain items overtake each other
								t.Errorf("got %v, %v", v, err)
							}
							return l.leave()
						})
					})
					if got != l.want {
						t.Errorf("ended with %v, want %v", got, l.want)
					}
				})
			})
		}
	}
}

// A panic or Goexit inside of scopes has to get out through stages that wait for
// their sources: all the scopes around it end first. The body gets to see nothing
// of that.
func TestScopeEndsAtAPanicInside(t *testing.T) {
	fail := map[string]struct {
		fail func()
		want ending
	}{
		"panic":  {func() { panic("inside") }, ending{panic: "inside"}},
		"Goexit": {runtime.Goexit, ending{goexit: true}},
	}
	for how, f := range fail {
		failing := func(int) (int, error) { f.fail(); return 0, nil }
		failingCtx := func(context.Context, int) (int, error) { f.fail(); return 0, nil }
		for shape, build := range map[string]func(ctx context.Context) ints{
			"worker": func(ctx context.Context) ints { return seq.MapConcurrent(ctx, silent(ctx, 1), 2, failingCtx) },
			"Map after a worker": func(ctx context.Context) ints {
				return seq.Map(seq.MapConcurrent(ctx, silent(ctx, 1), 2, same), failing)
			},
			"sub-stream": func(ctx context.Context) ints {
				return seq.FlatMapUnordered(ctx, silent(ctx, 1), 2, func(ctx context.Context, v int) ints {
					return seq.MapConcurrent(ctx, silent(ctx, 1), 2, failingCtx)
				})
			},
			"lane": func(ctx context.Context) ints {
				return seq.Fork(ctx, silent(ctx, 1), 2, func(int) seq.Stage[int, int] {
					return func(in ints) ints { return seq.MapConcurrent(ctx, in, 2, failingCtx) }
				})
			},
			"Map in a lane": func(ctx context.Context) ints {
				return seq.Branch(ctx, silent(ctx, 1), func(int, error) int { return 1 },
					func(in ints) ints { return seq.MapConcurrent(ctx, in, 2, untilDone) },
					func(in ints) ints { return seq.Map(seq.MapConcurrent(ctx, in, 2, same), failing) })
			},
			"Map after Zip": func(ctx context.Context) ints {
				b := seq.Buffer(ctx, silent(ctx, 1), 1)
				return seq.Map(seq.Zip(seq.Of(1), b, func(a, _ int) (int, error) { return a, nil }), failing)
			},
			"join of Zip": func(ctx context.Context) ints {
				return seq.Zip(seq.Of(1), seq.Buffer(ctx, silent(ctx, 1), 1), func(a, _ int) (int, error) { f.fail(); return a, nil })
			},
			"compare of MergeSorted": func(ctx context.Context) ints {
				b := seq.Buffer(ctx, silent(ctx, 1), 1)
				return seq.MergeSorted(func(a, b int) int { f.fail(); return 0 }, b, b)
			},
			"inner scope": func(ctx context.Context) ints {
				outer := silent(ctx, 1)
				return seq.Scope(ctx, func(ctx context.Context) ints {
					return seq.MapConcurrent(ctx, outer, 2, failingCtx)
				})
			},
			"Map in an inner scope": func(ctx context.Context) ints {
				outer := silent(ctx, 1)
				return seq.Scope(ctx, func(ctx context.Context) ints {
					return seq.Map(seq.Buffer(ctx, seq.Buffer(ctx, outer, 1), 1), failing)
				})
			},
		} {
			t.Run(shape+"/"+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					got := endOf(func() {
						for v, err := range seq.Scope(t.Context(), build) {
							t.Errorf("the body got %v, %v", v, err)
						}
					})
					if got != f.want {
						t.Errorf("ended with %v, want %v", got, f.want)
					}
				})
			})
		}
	}
}

// A callback may run a pipeline of its own and recover from its panic: that is no
// end of the scope which the callback runs in.
func TestScopeOutlivesAPanicThatACallbackRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		careful := func(ctx context.Context, v int) (_ int, err error) {
			defer func() {
				if recover() != nil {
					err = errors.New("recovered")
				}
			}()
			inner := seq.Scope(ctx, func(ctx context.Context) ints {
				return seq.MapConcurrent(ctx, silent(ctx, 1), 2, func(context.Context, int) (int, error) {
					if v == 1 {
						panic("inner")
					}
					return v, nil
				})
			})
			got, _, err := seq.First(inner)
			return got, err
		}
		stream := seq.Scope(t.Context(), func(ctx context.Context) ints {
			return seq.MapConcurrent(ctx, seq.Of(0, 1, 2), 2, careful)
		})
		wantPairs(t, stream, "0", `item error: item 1: recovered`, "2")
	})
}

// A stage of the user's that recovers from a panic inside does not make the end of
// the scope look like the end of the source.
func TestScopeIsNotSilentAfterARecoveredPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recovering := func(in ints) ints {
			return func(yield func(int, error) bool) {
				defer func() { _ = recover() }()
				in(yield)
			}
		}
		stream := seq.Scope(t.Context(), func(ctx context.Context) ints {
			return recovering(seq.MapConcurrent(ctx, silent(ctx, 1), 1, func(context.Context, int) (int, error) { panic("lost") }))
		})
		wantPairs(t, stream, "final error: context canceled")
	})
}

func TestScopeOfASilentSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("deploy")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		stream := seq.Scope(ctx, func(ctx context.Context) ints { return silent(ctx, 1) })
		wantPairs(t, stream, "0", "final error: context canceled: deploy")
		wantPairs(t, stream, "final error: context canceled: deploy") // nothing is built any more
	})
}

// Items that the source still has when ctx ends do not come before the error.
func TestScopeDropsItemsAfterTheEndOfCtx(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stream := seq.Scope(ctx, func(context.Context) ints {
		return seq.Tap(seq.Of(1, 2, 3), func(v int, _ error) {
			if v == 2 {
				cancel()
			}
		})
	})
	wantPairs(t, stream, "1", "final error: context canceled")
}

func TestScopeBuildsAnewForEachLoop(t *testing.T) {
	var built []context.Context
	stream := seq.Scope(t.Context(), func(ctx context.Context) ints {
		built = append(built, ctx)
		return seq.Of(len(built))
	})
	wantPairs(t, stream, "1")
	if built[0].Err() == nil {
		t.Error("the scope's context has not ended with the loop")
	}
	wantPairs(t, stream, "2")
}

// A source that goes on after its yield returned false meets a shut door.
func TestScopeOfARudeSource(t *testing.T) {
	rude := func(yield func(int, error) bool) {
		for i := range 5 {
			yield(i, nil)
		}
	}
	stream := seq.Scope(t.Context(), func(context.Context) ints { return rude })
	calls := 0
	stream(func(int, error) bool { calls++; return calls < 2 })
	if calls != 2 {
		t.Errorf("yield was called %d times", calls)
	}
}

// wantPairs ranges over the stream and compares what comes with want, see
// pair.String.
func wantPairs(t *testing.T, stream iter.Seq2[int, error], want ...string) {
	t.Helper()
	i := 0
	for v, err := range stream {
		got := pair{v, err}.String()
		if i >= len(want) {
			t.Errorf("after all there was to come: %s", got)
		} else if got != want[i] {
			t.Errorf("pair %d is %q, want %q", i, got, want[i])
		}
		i++
	}
	for ; i < len(want); i++ {
		t.Errorf("missing: %q", want[i])
	}
}
