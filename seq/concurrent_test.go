package seq_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// upTo yields the numbers from 0 below n and counts them, when pulled is not nil.
func upTo(n int, pulled *atomic.Int32) ints {
	return func(yield func(int, error) bool) {
		for i := range n {
			if pulled != nil {
				pulled.Add(1)
			}
			if !yield(i, nil) {
				return
			}
		}
	}
}

func identity(in ints) ints { return in }

func identities(n int) []seq.Stage[int, int] {
	return slices.Repeat([]seq.Stage[int, int]{identity}, n)
}

var errBad = errors.New("bad")

// concurrentStages are all stages with goroutines of their own, where fn is called if
// the stage has a callback that gets a context. They may hold ahead pairs of in.
var concurrentStages = []struct {
	name     string
	ahead    int
	exact    bool
	callback bool
	stage    func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints
}{
	{"MapConcurrent", 6, true, true, func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
		return seq.MapConcurrent(ctx, in, 3, fn)
	}},
	{"MapConcurrent, window 1", 1, true, true, func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
		return seq.MapConcurrent(ctx, in, 3, fn, seq.Window(1))
	}},
	{"MapConcurrent, window 20", 20, true, true, func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
		return seq.MapConcurrent(ctx, in, 2, fn, seq.Window(20))
	}},
	{"MapUnordered", 6, true, true, func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
		return seq.MapUnordered(ctx, in, 3, fn)
	}},
	{"MapUnordered, window 5", 5, true, true, func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
		return seq.MapUnordered(ctx, in, 8, fn, seq.Window(5))
	}},
	{"MapKeyed", 6, true, true, func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
		return seq.MapKeyed(ctx, in, 3, func(v int) int { return v % 7 }, fn)
	}},
	{"MapKeyed, window 20", 20, true, true, func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
		return seq.MapKeyed(ctx, in, 2, func(v int) int { return v }, fn, seq.Window(20))
	}},
	{"FlatMapConcurrent", 2, false, true, func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
		return seq.FlatMapConcurrent(ctx, in, 2, func(ctx context.Context, v int) ints {
			return seq.Map(seq.Of(v), func(v int) (int, error) { return fn(ctx, v) })
		})
	}},
	{"FlatMapUnordered", 6, false, true, func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
		return seq.FlatMapUnordered(ctx, in, 2, func(ctx context.Context, v int) ints {
			return seq.Map(seq.Of(v), func(v int) (int, error) { return fn(ctx, v) })
		})
	}},
	{"Buffer of 1", 1, true, false, func(ctx context.Context, in ints, _ func(context.Context, int) (int, error)) ints {
		return seq.Buffer(ctx, in, 1)
	}},
	{"Buffer of 7", 7, true, false, func(ctx context.Context, in ints, _ func(context.Context, int) (int, error)) ints {
		return seq.Buffer(ctx, in, 7)
	}},
	{"Merge", 16, true, false, func(ctx context.Context, in ints, _ func(context.Context, int) (int, error)) ints {
		return seq.Merge(ctx, seq.Of[int](), in)
	}},
	{"Branch", 16, false, false, func(ctx context.Context, in ints, _ func(context.Context, int) (int, error)) ints {
		return seq.Branch(ctx, in, func(int, error) int { return 1 }, identities(2)...)
	}},
	{"Broadcast", 16, false, false, func(ctx context.Context, in ints, _ func(context.Context, int) (int, error)) ints {
		return seq.Broadcast(ctx, in, identity)
	}},
	{"Fork", 2 * 16, false, false, func(ctx context.Context, in ints, _ func(context.Context, int) (int, error)) ints {
		return seq.Fork(ctx, in, 2, func(int) seq.Stage[int, int] { return identity })
	}},
}

// A consumer that rests at an item lets the source come exactly as far as the stage
// says, and that again at each item.
func TestReadAhead(t *testing.T) {
	for _, s := range concurrentStages {
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var pulled atomic.Int32
				got := 0
				for range s.stage(t.Context(), upTo(1000, &pulled), same) {
					got++
					synctest.Wait()
					if ahead := int(pulled.Load()) - got; ahead > s.ahead || s.exact && ahead != s.ahead {
						t.Fatalf("%d of %d pulled at item %d, want %d ahead", ahead, pulled.Load(), got, s.ahead)
					}
					if got == 100 {
						break
					}
				}
			})
		})
	}
}

// Sub-items not yet yielded are at most the window, which is raised to n, and the
// sub-streams at work at most n.
func TestReadAheadOfFlatMaps(t *testing.T) {
	for name, flatMap := range flatMaps {
		for _, c := range []struct{ n, window, want int }{{3, 6, 6}, {3, 1, 3}, {2, 9, 9}, {1, 1, 1}} {
			synctest.Test(t, func(t *testing.T) {
				var pulled, made atomic.Int32
				stream := flatMap(t.Context(), upTo(100, &pulled), c.n, func(context.Context, int) ints {
					return upTo(1000, &made)
				}, seq.Window(c.window))
				got := 0
				for range stream {
					got++
					synctest.Wait()
					if ahead := int(made.Load()) - got; ahead > c.want || ahead < c.want-c.n+1 || int(pulled.Load()) != c.n {
						t.Fatalf("%s %v: %d sub-items of %d sub-streams ahead", name, c, ahead, pulled.Load())
					}
					if got == 50 {
						break
					}
				}
			})
		}
	}
}

func TestErrSkipInConcurrentStages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		odd := func(_ context.Context, v int) (int, error) {
			if v%2 == 0 {
				return v, fmt.Errorf("even: %w", seq.ErrSkip)
			}
			return v, nil
		}
		ctx := t.Context()
		for _, n := range []int{1, 3} {
			wantPairs(t, seq.MapConcurrent(ctx, upTo(7, nil), n, odd), "1", "3", "5")
			wantPairs(t, seq.MapConcurrent(ctx, upTo(1, nil), n, odd))
			wantPairs(t, seq.MapKeyed(ctx, upTo(7, nil), n, func(v int) int { return v % 3 }, odd), "1", "3", "5")
			got, err := seq.Collect(seq.MapUnordered(ctx, upTo(7, nil), n, odd))
			slices.Sort(got)
			if !slices.Equal(got, []int{1, 3, 5}) || err != nil {
				t.Errorf("got %v, %v", got, err)
			}
		}
		calls := 0
		err := seq.ForEachConcurrent(ctx, upTo(3, nil), 1, func(context.Context, int) error { calls++; return seq.ErrSkip })
		if err != nil || calls != 3 {
			t.Errorf("got %v after %d calls", err, calls)
		}
	})
}

// The order of items and errors is that of the source, whatever takes how long.
func TestErrorsKeepTheirPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fn := func(_ context.Context, v int) (int, error) {
			time.Sleep(time.Duration(10-v) * time.Second)
			if v%2 == 1 {
				return v, errBad
			}
			return v, nil
		}
		final := errors.New("end")
		itemErr := &seq.ItemError{Item: "in", Err: errBad}
		in := seq.Concat(upTo(3, nil), seq.Fail[int](itemErr), seq.Of(3, 4), seq.Fail[int](final))
		sub := func(ctx context.Context, v int) ints {
			return seq.Map(seq.Of(v), func(v int) (int, error) { return fn(ctx, v) })
		}
		for _, stream := range []ints{
			seq.MapConcurrent(t.Context(), in, 8, fn),
			seq.MapKeyed(t.Context(), in, 8, func(v int) int { return v % 2 }, fn),
			seq.MapKeyed(t.Context(), in, 8, func(v int) int { return v }, fn),
			seq.FlatMapConcurrent(t.Context(), in, 8, sub),
		} {
			wantPairs(t, stream,
				"0", "item error: item 1: bad", "2", `item error: item "in": bad`, "item error: item 3: bad", "4", "final error: end")
		}
	})
}

// The source's final error comes after all that was pulled before it, however long
// that takes, and each of the others comes as soon as it is ready.
func TestFinalErrorWaits(t *testing.T) {
	final := errors.New("end")
	nap := func(ctx context.Context, v int) (int, error) { // the first takes longest
		time.Sleep(time.Duration(3-v) * time.Minute)
		return v, nil
	}
	nappers := func(n int) []seq.Stage[int, int] {
		return slices.Repeat([]seq.Stage[int, int]{func(in ints) ints {
			return seq.Map(in, func(v int) (int, error) { return nap(nil, v) })
		}}, n)
	}
	for name, c := range map[string]struct {
		stage func(ctx context.Context, in ints) ints
		want  []string
	}{
		"MapConcurrent": {func(ctx context.Context, in ints) ints { return seq.MapConcurrent(ctx, in, 3, nap) },
			[]string{"0", "1", "2", "final error: end"}},
		"MapUnordered": {func(ctx context.Context, in ints) ints { return seq.MapUnordered(ctx, in, 3, nap) },
			[]string{"2", "1", "0", "final error: end"}},
		"MapKeyed": {func(ctx context.Context, in ints) ints {
			return seq.MapKeyed(ctx, in, 3, func(v int) int { return v % 2 }, nap)
		}, []string{"0", "1", "2", "final error: end"}},
		"FlatMapConcurrent": {func(ctx context.Context, in ints) ints {
			return seq.FlatMapConcurrent(ctx, in, 3, func(ctx context.Context, v int) ints {
				return seq.Map(seq.Of(v), func(v int) (int, error) { return nap(ctx, v) })
			})
		}, []string{"0", "1", "2", "final error: end"}},
		"FlatMapUnordered": {func(ctx context.Context, in ints) ints {
			return seq.FlatMapUnordered(ctx, in, 3, func(ctx context.Context, v int) ints {
				return seq.Map(seq.Of(v), func(v int) (int, error) { return nap(ctx, v) })
			})
		}, []string{"2", "1", "0", "final error: end"}},
		"Branch": {func(ctx context.Context, in ints) ints {
			return seq.Branch(ctx, in, func(v int, err error) int { return v }, nappers(3)...)
		}, []string{"2", "1", "0", "final error: end"}},
		"Fork": {func(ctx context.Context, in ints) ints {
			return seq.Fork(ctx, in, 4, func(int) seq.Stage[int, int] { return nappers(1)[0] })
		}, []string{"2", "1", "0", "final error: end"}},
		"Broadcast": {func(ctx context.Context, in ints) ints {
			return seq.Broadcast(ctx, in, nappers(1)[0], identity)
		}, []string{"0", "1", "2", "0", "1", "2", "final error: end"}},
		"Buffer": {func(ctx context.Context, in ints) ints { return seq.Buffer(ctx, in, 9) }, []string{"0", "1", "2", "final error: end"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wantPairs(t, c.stage(t.Context(), seq.Concat(upTo(3, nil), seq.Fail[int](final))), c.want...)
			})
		})
	}
}

func TestForEachConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		var interrupted atomic.Int32
		// The first error counts, cancels the others and is returned when they have ended.
		err := seq.ForEachConcurrent(ctx, upTo(100, nil), 4, func(ctx context.Context, v int) error {
			if v == 2 {
				time.Sleep(time.Second)
				return errBad
			}
			<-ctx.Done()
			time.Sleep(time.Second)
			interrupted.Add(1)
			return ctx.Err()
		})
		item, ok := seq.FailedItem[int](err)
		if !ok || item != 2 || !errors.Is(err, errBad) || interrupted.Load() < 3 {
			t.Errorf("got %v, %d interrupted", err, interrupted.Load())
		}

		nothing := func(context.Context, int) error { return nil }
		if err := seq.ForEachConcurrent(ctx, upTo(100, nil), 4, nothing); err != nil {
			t.Error(err)
		}
		final := errors.New("end")
		if err := seq.ForEachConcurrent(ctx, seq.Fail[int](final), 4, nothing); err != final {
			t.Error(err)
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		err = seq.ForEachConcurrent(short, upTo(2, nil), 2, func(ctx context.Context, _ int) error { <-ctx.Done(); return errBad })
		if err != context.DeadlineExceeded {
			t.Error(err)
		}
	})
}

// The ctx of callbacks ends with the loop, before the loop waits for them.
func TestCallbacksAreCancelledBeforeTheJoin(t *testing.T) {
	for _, s := range concurrentStages {
		if !s.callback {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			var ended atomic.Int32
			fn := func(ctx context.Context, v int) (int, error) {
				if v > 0 {
					<-ctx.Done()
					ended.Add(1)
				}
				return v, nil
			}
			for range s.stage(t.Context(), upTo(100, nil), fn) {
				synctest.Wait()
				break
			}
			if n := ended.Load(); n == 0 && s.ahead > 1 {
				t.Errorf("%s: no callback was under way", s.name)
			}
		})
	}
}

// A panic that crosses several goroutines is wrapped once, and its error is found.
func TestPanicIsWrappedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := seq.MapConcurrent(t.Context(), upTo(9, nil), 2, func(context.Context, int) (int, error) { panic(errBad) })
		middle := seq.Fork(t.Context(), seq.Buffer(t.Context(), inner, 1), 2, func(int) seq.Stage[int, int] { return identity })
		value := panicOf(func() { seq.Drain(seq.MapUnordered(t.Context(), middle, 2, same)) })
		err, ok := value.(*seq.PanicError)
		if !ok || err.Value != errBad || !errors.Is(err, errBad) || !bytes.Contains(err.Stack, []byte("TestPanicIsWrappedOnce")) {
			t.Errorf("got %v", value)
		}
	})
}

// A panic of a callback that surfaces when the loop waits after a break is not lost.
func TestPanicDuringTheJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := func(ctx context.Context, v int) (int, error) {
			if v > 0 {
				<-ctx.Done()
				panic("late")
			}
			return v, nil
		}
		end := endOf(func() {
			for range seq.MapConcurrent(t.Context(), upTo(2, nil), 2, late) {
				synctest.Wait()
				break
			}
		})
		if end.panic != "late" {
			t.Errorf("ended with %v", end)
		}
		end = endOf(func() {
			for range seq.MapConcurrent(t.Context(), upTo(2, nil), 2, late) {
				synctest.Wait()
				panic("body")
			}
		})
		if end.panic != "body" {
			t.Errorf("ended with %v", end)
		}
	})
}

// inBubble returns how many goroutines the caller's bubble has.
func inBubble() int {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	_, rest, _ := bytes.Cut(buf, []byte("synctest bubble "))
	id, _, _ := bytes.Cut(rest, []byte("]"))
	return bytes.Count(buf, fmt.Appendf(nil, ", synctest bubble %s]:", id))
}

// There is no worker without an item, and none more than there are items under way.
func TestWorkersStartAsNeeded(t *testing.T) {
	for _, s := range []struct {
		name  string
		stage func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints
	}{
		{"MapConcurrent", func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
			return seq.MapConcurrent(ctx, in, 8, fn)
		}},
		{"MapUnordered", func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
			return seq.MapUnordered(ctx, in, 8, fn)
		}},
		{"MapKeyed", func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
			return seq.MapKeyed(ctx, in, 8, func(v int) int { return v }, fn)
		}},
		{"FlatMapConcurrent", func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
			return seq.FlatMapConcurrent(ctx, in, 8, func(ctx context.Context, v int) ints {
				return seq.Map(seq.Of(v), func(v int) (int, error) { return fn(ctx, v) })
			})
		}},
		{"FlatMapUnordered", func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
			return seq.FlatMapUnordered(ctx, in, 8, func(ctx context.Context, v int) ints {
				return seq.Map(seq.Of(v), func(v int) (int, error) { return fn(ctx, v) })
			})
		}},
	} {
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				before := inBubble()
				goroutines := func(when string, want int) {
					t.Helper()
					synctest.Wait()
					if n := inBubble() - before; n != want {
						t.Errorf("%s: %d goroutines, want %d", when, n, want)
					}
				}
				release := make(chan struct{})
				in := func(yield func(int, error) bool) {
					goroutines("before an item", 1)
					for i := range 20 { // one after the other: one worker does
						yield(i, nil)
						goroutines("quick items", 2)
					}
					for i := range 8 {
						yield(100+i, nil)
						goroutines("slow items", 2+i)
					}
					for i := range 5 {
						yield(i, nil)
					}
				}
				time.AfterFunc(time.Minute, func() { close(release) })
				fn := func(_ context.Context, v int) (int, error) {
					if v >= 100 {
						<-release
					}
					return v, nil
				}
				if n, err := seq.Count(s.stage(t.Context(), in, fn)); n != 33 || err != nil {
					t.Errorf("got %d items, %v", n, err)
				}
				if err := seq.Drain(s.stage(t.Context(), func(func(int, error) bool) { goroutines("no item", 1) }, fn)); err != nil {
					t.Error(err)
				}
				goroutines("after the loop", 0)
			})
		})
	}
}
