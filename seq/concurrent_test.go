package seq_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
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
	{"FlatMapConcurrent", 6, false, true, func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
		return seq.FlatMapConcurrent(ctx, in, 2, func(ctx context.Context, v int) ints {
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
func TestReadAheadOfFlatMapConcurrent(t *testing.T) {
	for _, c := range []struct{ n, window, want int }{{3, 6, 6}, {3, 1, 3}, {2, 9, 9}, {1, 1, 1}} {
		synctest.Test(t, func(t *testing.T) {
			var pulled, made atomic.Int32
			stream := seq.FlatMapConcurrent(t.Context(), upTo(100, &pulled), c.n, func(context.Context, int) ints {
				return upTo(1000, &made)
			}, seq.Window(c.window))
			got := 0
			for range stream {
				got++
				synctest.Wait()
				if ahead := int(made.Load()) - got; ahead > c.want || ahead < c.want-c.n+1 || int(pulled.Load()) != c.n {
					t.Fatalf("%v: %d sub-items of %d sub-streams ahead", c, ahead, pulled.Load())
				}
				if got == 50 {
					break
				}
			}
		})
	}
}

// When ctx ends the consumer is told at once, with the cause, although the source and
// the callbacks are blocked; they are waited for afterwards.
func TestEndOfContextIsToldAtOnce(t *testing.T) {
	cause := &seq.ItemError{Item: 1, Err: errBad}
	for _, s := range concurrentStages {
		for _, blocked := range []string{"source", "callback"} {
			if blocked == "callback" && !s.callback {
				continue
			}
			t.Run(s.name+"/"+blocked, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithCancelCause(t.Context())
					time.AfterFunc(time.Second, func() { cancel(cause) })
					release := make(chan struct{})
					time.AfterFunc(time.Minute, func() { close(release) })
					in, fn := upTo(3, nil), same
					if blocked == "source" {
						in = seq.Concat(in, func(func(int, error) bool) { <-release })
					} else {
						fn = func(_ context.Context, v int) (int, error) { <-release; return v, errBad }
					}
					start := time.Now()
					var told []error
					for v, err := range s.stage(ctx, in, fn) {
						if err == nil {
							if blocked == "callback" {
								t.Errorf("got item %d", v)
							}
							continue
						}
						told = append(told, err)
						if d := time.Since(start); d != time.Second {
							t.Errorf("told after %v: %v", d, err)
						}
					}
					if len(told) != 1 {
						t.Fatalf("got errors %v, want one", told)
					}
					var item *seq.ItemError
					if err := told[0]; !errors.Is(err, context.Canceled) || !errors.Is(err, errBad) || !errors.Is(err, cause) || errors.As(err, &item) {
						t.Errorf("the error is %v", err)
					}
					if d := time.Since(start); d != time.Minute {
						t.Errorf("the loop ended after %v, before all had", d)
					}
				})
			})
		}
	}
}

// Nothing is started behind a ctx that has ended.
func TestContextEndedBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, s := range concurrentStages {
		source := func(func(int, error) bool) { t.Errorf("%s: the source was started", s.name) }
		wantPairs(t, s.stage(ctx, source, same), "final error: context canceled")
	}
}

// A lookCtx calls look when it is asked whether it has ended, before it tells what was
// so until then.
type lookCtx struct {
	context.Context
	look func()
}

func (c lookCtx) Err() error {
	err := c.Context.Err()
	c.look()
	return err
}

// A callback that is interrupted just after the consumer has looked at ctx does not get
// its error in before that of ctx.
func TestErrorsOfInterruptedCallbacksAreDropped(t *testing.T) {
	lanes := concurrentStages[0]
	lanes.name = "Fork with callbacks in its lanes"
	lanes.stage = func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
		return seq.Fork(ctx, in, 2, func(int) seq.Stage[int, int] {
			return func(in ints) ints { return seq.Map(in, func(v int) (int, error) { return fn(ctx, v) }) }
		})
	}
	for _, s := range append(slices.Clone(concurrentStages), lanes) {
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var waiting atomic.Int32 // callbacks
				loop := self()
				looking := lookCtx{ctx, func() {
					if self() == loop && waiting.Load() > 0 {
						cancel()
						time.Sleep(time.Second) // until the callback's error is there
					}
				}}
				wait := func(ctx context.Context, v int) (int, error) {
					waiting.Add(1)
					<-ctx.Done()
					return v, ctx.Err()
				}
				in := upTo(1, nil)
				if !s.callback { // then the source's is the callback
					in = seq.Map(in, func(v int) (int, error) { return wait(ctx, v) })
				}
				// As ctx ends at the consumer's look, this source goes on until then.
				in = seq.Concat(in, func(func(int, error) bool) { <-ctx.Done() })
				time.AfterFunc(time.Minute, cancel)
				wantPairs(t, s.stage(looking, in, wait), "final error: context canceled")
			})
		})
	}
}

// self returns the first words of the caller's stack, which name the goroutine.
func self() string {
	buf := make([]byte, 40)
	name, _, _ := bytes.Cut(buf[:runtime.Stack(buf, false)], []byte(" ["))
	return string(name)
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
func TestMapConcurrentKeepsErrorsInPosition(t *testing.T) {
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
		wantPairs(t, seq.MapConcurrent(t.Context(), in, 8, fn),
			"0", "item error: item 1: bad", "2", `item error: item "in": bad`, "item error: item 3: bad", "4", "final error: end")
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
		"FlatMapConcurrent": {func(ctx context.Context, in ints) ints {
			return seq.FlatMapConcurrent(ctx, in, 3, func(ctx context.Context, v int) ints {
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
		{"FlatMapConcurrent", func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
			return seq.FlatMapConcurrent(ctx, in, 8, func(ctx context.Context, v int) ints {
				return seq.Map(seq.Of(v), func(v int) (int, error) { return fn(ctx, v) })
			})
		}},
	} {
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				before := runtime.NumGoroutine()
				goroutines := func(when string, want int) {
					t.Helper()
					synctest.Wait()
					if n := runtime.NumGoroutine() - before; n != want {
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

// What a stage allocates does not depend on how many items there are.
func TestNoAllocationPerItem(t *testing.T) {
	ctx := context.Background()
	pull := func(n int) {
		p := seq.Pull(upTo(n, nil), 4)
		for _, _, ok := p.Next(ctx); ok; _, _, ok = p.Next(ctx) {
		}
	}
	loops := map[string]func(n int){
		"Pull":  pull,
		"Scope": func(n int) { seq.Drain(seq.Scope(ctx, func(context.Context) ints { return upTo(n, nil) })) },
		"ForEachConcurrent": func(n int) {
			seq.ForEachConcurrent(ctx, upTo(n, nil), 3, func(context.Context, int) error { return nil })
		},
		"Merge of three": func(n int) { seq.Drain(seq.Merge(ctx, upTo(n, nil), upTo(n, nil), upTo(n, nil))) },
		"Broadcast to two": func(n int) {
			seq.Drain(seq.Broadcast(ctx, upTo(n, nil), identities(2)...))
		},
		"MapConcurrent that skips": func(n int) {
			seq.Drain(seq.MapConcurrent(ctx, upTo(n, nil), 3, func(context.Context, int) (int, error) { return 0, seq.ErrSkip }))
		},
		"FlatMapConcurrent of one large": func(n int) {
			seq.Drain(seq.FlatMapConcurrent(ctx, seq.Of(0), 2, func(context.Context, int) ints { return upTo(n, nil) }))
		},
	}
	var one ints = seq.Of(1)
	for _, s := range concurrentStages {
		loops[s.name] = func(n int) { seq.Drain(s.stage(ctx, upTo(n, nil), same)) }
		if s.name == "FlatMapConcurrent" { // the one above makes a stream for each item itself
			loops[s.name] = func(n int) {
				seq.Drain(seq.FlatMapConcurrent(ctx, upTo(n, nil), 3, func(context.Context, int) ints { return one }))
			}
		}
	}
	const few, many = 500, 5500
	for name, loop := range loops {
		loop(few) // what is allocated once in a process
		a := testing.AllocsPerRun(4, func() { loop(few) })
		b := testing.AllocsPerRun(4, func() { loop(many) })
		// A few goroutines more or less are started from loop to loop.
		if b-a > (many-few)/100 {
			t.Errorf("%s allocates %.0f times for %d items and %.0f times for %d", name, a, few, b, many)
		}
	}
}

func TestConcurrentMisuse(t *testing.T) {
	var none ints
	var noCtx context.Context
	var noStage seq.Stage[int, int]
	ctx, in := t.Context(), seq.Of(1)
	zero := func(int, error) int { return 0 }
	lane := func(int) seq.Stage[int, int] { return identity }
	nothing := func(context.Context, int) error { return nil }
	sub := func(context.Context, int) ints { return in }
	for _, c := range []struct {
		want  string
		build func()
	}{
		{"seq.Window: n must be at least 1, got 0", func() { seq.Window(0) }},
		{"seq.MapConcurrent: ctx must not be nil", func() { seq.MapConcurrent(noCtx, in, 1, same) }},
		{"seq.MapConcurrent: the stream must not be nil", func() { seq.MapConcurrent(ctx, none, 1, same) }},
		{"seq.MapConcurrent: n must be at least 1, got 0", func() { seq.MapConcurrent(ctx, in, 0, same) }},
		{"seq.MapConcurrent: fn must not be nil", func() { seq.MapConcurrent[int, int](ctx, in, 1, nil) }},
		{"seq.MapUnordered: ctx must not be nil", func() { seq.MapUnordered(noCtx, in, 1, same) }},
		{"seq.MapUnordered: the stream must not be nil", func() { seq.MapUnordered(ctx, none, 1, same) }},
		{"seq.MapUnordered: n must be at least 1, got -1", func() { seq.MapUnordered(ctx, in, -1, same) }},
		{"seq.MapUnordered: fn must not be nil", func() { seq.MapUnordered[int, int](ctx, in, 1, nil) }},
		{"seq.ForEachConcurrent: ctx must not be nil", func() { seq.ForEachConcurrent(noCtx, in, 1, nothing) }},
		{"seq.ForEachConcurrent: the stream must not be nil", func() { seq.ForEachConcurrent(ctx, none, 1, nothing) }},
		{"seq.ForEachConcurrent: n must be at least 1, got 0", func() { seq.ForEachConcurrent(ctx, in, 0, nothing) }},
		{"seq.ForEachConcurrent: fn must not be nil", func() { seq.ForEachConcurrent(ctx, in, 1, nil) }},
		{"seq.FlatMapConcurrent: ctx must not be nil", func() { seq.FlatMapConcurrent(noCtx, in, 1, sub) }},
		{"seq.FlatMapConcurrent: the stream must not be nil", func() { seq.FlatMapConcurrent(ctx, none, 1, sub) }},
		{"seq.FlatMapConcurrent: n must be at least 1, got 0", func() { seq.FlatMapConcurrent(ctx, in, 0, sub) }},
		{"seq.FlatMapConcurrent: fn must not be nil", func() { seq.FlatMapConcurrent[int, int](ctx, in, 1, nil) }},
		{"seq.Buffer: ctx must not be nil", func() { seq.Buffer(noCtx, in, 1) }},
		{"seq.Buffer: the stream must not be nil", func() { seq.Buffer(ctx, none, 1) }},
		{"seq.Buffer: n must be at least 1, got 0", func() { seq.Buffer(ctx, in, 0) }},
		{"seq.Merge: ctx must not be nil", func() { seq.Merge(noCtx, in) }},
		{"seq.Merge: stream 1 must not be nil", func() { seq.Merge(ctx, in, none) }},
		{"seq.Scope: ctx must not be nil", func() { seq.Scope(noCtx, func(context.Context) ints { return in }) }},
		{"seq.Scope: build must not be nil", func() { seq.Scope[int](ctx, nil) }},
		{"seq.Scope: the stream must not be nil", func() { seq.Drain(seq.Scope(ctx, func(context.Context) ints { return nil })) }},
		{"seq.Pull: the stream must not be nil", func() { seq.Pull(none, 0) }},
		{"seq.Pull: ahead must be at least 0, got -1", func() { seq.Pull(in, -1) }},

		{"seq.Branch: ctx must not be nil", func() { seq.Branch(noCtx, in, zero, identity) }},
		{"seq.Branch: the stream must not be nil", func() { seq.Branch(ctx, none, zero, identity) }},
		{"seq.Branch: route must not be nil", func() { seq.Branch(ctx, in, nil, identity) }},
		{"seq.Branch: there must be at least one branch", func() { seq.Branch[int, int](ctx, in, zero) }},
		{"seq.Branch: the stage of branch 1 must not be nil", func() { seq.Branch(ctx, in, zero, identity, noStage) }},
		{"seq.Broadcast: ctx must not be nil", func() { seq.Broadcast(noCtx, in, identity) }},
		{"seq.Broadcast: the stream must not be nil", func() { seq.Broadcast(ctx, none, identity) }},
		{"seq.Broadcast: there must be at least one branch", func() { seq.Broadcast[int, int](ctx, in) }},
		{"seq.Broadcast: the stage of branch 0 must not be nil", func() { seq.Broadcast(ctx, in, noStage) }},
		{"seq.Fork: ctx must not be nil", func() { seq.Fork(noCtx, in, 1, lane) }},
		{"seq.Fork: the stream must not be nil", func() { seq.Fork(ctx, none, 1, lane) }},
		{"seq.Fork: n must be at least 1, got 0", func() { seq.Fork(ctx, in, 0, lane) }},
		{"seq.Fork: lane must not be nil", func() { seq.Fork[int, int](ctx, in, 1, nil) }},
		{"seq.Fork: the stage of branch 1 must not be nil", func() {
			seq.Fork(ctx, in, 2, func(i int) seq.Stage[int, int] { return []seq.Stage[int, int]{identity, nil}[i] })
		}},
	} {
		if got := panicOf(c.build); got != c.want {
			t.Errorf("got %v, want %v", got, c.want)
		}
	}
}

// A stream that was built keeps its inputs, whatever becomes of the slice they came in.
func TestInputsAreCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ins := []iter.Seq2[int, error]{seq.Of(1)}
		merged := seq.Merge(t.Context(), ins...)
		ins[0] = nil
		wantPairs(t, merged, "1")
		stages := []seq.Stage[int, int]{identity}
		branched := seq.Branch(t.Context(), seq.Of(1), func(int, error) int { return 0 }, stages...)
		sent := seq.Broadcast(t.Context(), seq.Of(1), stages...)
		stages[0] = nil
		wantPairs(t, branched, "1")
		wantPairs(t, sent, "1")
	})
}

// A foreignCtx owes nothing to package context, not even its error.
type foreignCtx struct {
	done chan struct{}
	err  atomic.Pointer[error]
}

func (c *foreignCtx) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c *foreignCtx) Done() <-chan struct{}       { return c.done }
func (c *foreignCtx) Value(any) any               { return nil }
func (c *foreignCtx) Err() error {
	if err := c.err.Load(); err != nil {
		return *err
	}
	return nil
}
func (c *foreignCtx) end(err error) {
	c.err.Store(&err)
	close(c.done)
}

func TestForeignContext(t *testing.T) {
	for name, end := range map[string]error{
		"plain":          errBad,
		"item error":     &seq.ItemError{Item: 1, Err: errBad},
		"not comparable": uncomparable{[]int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told := func(stage string, stream ints, end error) {
					var last error
					for _, err := range stream {
						if last != nil {
							t.Errorf("%s: %v comes after %v", stage, err, last)
						}
						last = err
					}
					var item *seq.ItemError
					if last == nil || seq.IsItemError(last) || errors.As(last, &item) || last.Error() != end.Error() {
						t.Errorf("%s: ended with %v", stage, last)
					}
				}
				for _, s := range concurrentStages {
					ctx := &foreignCtx{done: make(chan struct{})}
					time.AfterFunc(time.Second, func() { ctx.end(end) })
					told(s.name, s.stage(ctx, silent(ctx, 3), same), end)
				}
				ctx := &foreignCtx{done: make(chan struct{})}
				time.AfterFunc(time.Second, func() { ctx.end(end) })
				told("Scope", seq.Scope(ctx, func(ctx context.Context) ints {
					return seq.Buffer(ctx, silent(ctx, 3), 1)
				}), end)
			})
		})
	}
}
