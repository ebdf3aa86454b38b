package seq_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

type flatMap = func(ctx context.Context, in ints, n int, fn func(context.Context, int) iter.Seq2[int, error], opts ...seq.Option) ints

var flatMaps = map[string]flatMap{
	"FlatMapConcurrent": seq.FlatMapConcurrent[int, int],
	"FlatMapUnordered":  seq.FlatMapUnordered[int, int],
}

// A sub-stream that is slow holds up neither the others nor the items of in, up to n.
func TestFlatMapUnorderedYieldsAsItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var got []int
		stream := seq.FlatMapUnordered(t.Context(), seq.Of(5, 1, 2), 2, func(_ context.Context, v int) ints {
			return at(time.Duration(v)*time.Second, v)
		})
		for v := range stream {
			got = append(got, v)
			if want := []time.Duration{1, 3, 5}[len(got)-1] * time.Second; time.Since(start) != want {
				t.Errorf("got %d after %v, want %v", v, time.Since(start), want)
			}
		}
		if !slices.Equal(got, []int{1, 2, 5}) {
			t.Errorf("got %v", got)
		}
	})
}

func TestFlatMapUnorderedErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		final := errors.New("end")
		itemErr := &seq.ItemError{Item: 3, Err: errBad}
		sub := func(_ context.Context, v int) ints {
			switch v {
			case 1:
				return seq.Concat(seq.Of(10), seq.Fail[int](itemErr), seq.Of(11))
			case 2:
				return seq.Concat(seq.Of(20), seq.Fail[int](final))
			}
			return func(yield func(int, error) bool) { // endless
				for yield(v, nil) {
					time.Sleep(time.Second)
				}
			}
		}
		// Errors of the streams pass as they are, an item error in its position.
		wantPairs(t, seq.FlatMapUnordered(t.Context(), seq.Of(1, 1), 1, sub),
			"10", "item error: item 3: bad", "11", "10", "item error: item 3: bad", "11")
		// A final one ends the whole, at once.
		in := seq.Concat(seq.Of(3), at(time.Minute+time.Millisecond, 2))
		var last error
		n := 0
		for _, err := range seq.FlatMapUnordered(t.Context(), in, 2, sub) {
			last = err
			n++
		}
		if last != final || n != 61+1+1 {
			t.Errorf("ended with %v after %d pairs", last, n)
		}
		end := endOf(func() {
			seq.Drain(seq.FlatMapUnordered(t.Context(), seq.Of(1), 1, func(context.Context, int) ints { return nil }))
		})
		if end.panic != "seq.FlatMapUnordered: fn must not return a nil stream" {
			t.Errorf("ended with %v", end)
		}
	})
}

// All of the first stream comes before the second, whatever takes how long, and what the
// streams behind have made in advance comes without delay.
func TestFlatMapConcurrentKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		sub := func(ctx context.Context, v int) ints { // three items, of which each takes v seconds
			return seq.Map(seq.Of(10*v, 10*v+1, 10*v+2), func(item int) (int, error) {
				time.Sleep(time.Duration(v) * time.Second)
				return item, nil
			})
		}
		var got []int
		var at []time.Duration
		for v, err := range seq.FlatMapConcurrent(t.Context(), seq.Of(5, 1, 2), 2, sub, seq.Window(4)) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, v)
			at = append(at, time.Since(start)/time.Second)
		}
		if want := []int{50, 51, 52, 10, 11, 12, 20, 21, 22}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		// The second stream had its two when the first ended, and went on to its third. The
		// third stream began when the first had ended.
		if want := []time.Duration{5, 10, 15, 15, 15, 16, 17, 19, 21}; !slices.Equal(at, want) {
			t.Errorf("they came at %v, want %v", at, want)
		}
	})
}

// The streams behind the first may have filled the whole window: the first goes on, and
// each of its items comes at once.
func TestFirstStreamIsNeverHeldUp(t *testing.T) {
	for _, n := range []int{2, 3, 8} {
		synctest.Test(t, func(t *testing.T) {
			feed := make(chan int)
			sub := func(_ context.Context, v int) ints {
				if v > 0 {
					return upTo(1000, nil)
				}
				return func(yield func(int, error) bool) {
					for x := range feed {
						if !yield(x, nil) {
							return
						}
					}
				}
			}
			var got atomic.Int32
			done := make(chan error)
			go func() {
				var err error
				for _, err = range seq.FlatMapConcurrent(t.Context(), upTo(n, nil), n, sub, seq.Window(n)) {
					got.Add(1)
				}
				done <- err
			}()
			for i := range 100 {
				synctest.Wait() // the others are full
				feed <- i
				synctest.Wait()
				if got.Load() != int32(i+1) {
					t.Fatalf("%d items after %d", got.Load(), i+1)
				}
			}
			close(feed)
			if err := <-done; err != nil || got.Load() != int32(100+1000*(n-1)) {
				t.Errorf("got %d items, %v", got.Load(), err)
			}
		})
	}
}

// The errors of in and of the streams come in their turn: a final one ends the stream
// only when all before it has been yielded, and then at once.
func TestErrorsOfFlatMapConcurrentKeepTheirPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		final, later := errors.New("end"), errors.New("later")
		sub := func(ctx context.Context, v int) ints {
			switch v {
			case 0: // slow
				return seq.Concat(at(time.Hour, 1), seq.Fail[int](&seq.ItemError{Item: 2, Err: errBad}), at(time.Hour, 3))
			case 1: // fails at once, and does not stop at that
				return func(yield func(int, error) bool) {
					yield(4, nil)
					for range 10 {
						if yield(0, final) {
							t.Error("the stream was to go on after its final error")
						}
					}
				}
			}
			return silent(ctx, 3)
		}
		in := seq.Concat(seq.Of(0), seq.Fail[int](&seq.ItemError{Item: "in", Err: errBad}), seq.Of(1, 2), seq.Fail[int](later))
		for _, n := range []int{1, 2, 3, 8} {
			start := time.Now()
			wantPairs(t, seq.FlatMapConcurrent(t.Context(), in, n, sub),
				"1", "item error: item 2: bad", "3", `item error: item "in": bad`, "4", "final error: end")
			if d := time.Since(start); d != 2*time.Hour {
				t.Errorf("n=%d: it took %v", n, d)
			}
		}
	})
}

// A worker's lane is used again for the next stream: nothing of the one before is in it.
func TestStreamsThatAreEmptyOrLong(t *testing.T) {
	for _, n := range []int{1, 2, 5, 40} {
		synctest.Test(t, func(t *testing.T) {
			const total = 300
			var want []int
			for v := range total {
				for i := range v % 7 * (v % 5) {
					want = append(want, 100*v+i)
				}
			}
			sub := func(_ context.Context, v int) ints {
				return seq.Map(upTo(v%7*(v%5), nil), func(i int) (int, error) {
					if v%3 == 0 {
						time.Sleep(time.Millisecond)
					}
					return 100*v + i, nil
				})
			}
			for _, window := range []int{1, 2 * n, 10 * n} {
				got, err := seq.Collect(seq.FlatMapConcurrent(t.Context(), upTo(total, nil), n, sub, seq.Window(window)))
				if !slices.Equal(got, want) || err != nil {
					t.Fatalf("n=%d, window %d: got %v, %v", n, window, got, err)
				}
			}
		})
	}
}

// A stream has failed while the body is busy: what comes behind it would not be yielded,
// and is not pulled without end.
func TestNothingIsPulledBehindAFinalError(t *testing.T) {
	for name, flatMap := range flatMaps {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				final := errors.New("end")
				var pulled atomic.Int32
				sub := func(_ context.Context, v int) ints {
					if v == 1 {
						return seq.Fail[int](final)
					}
					return seq.Of(v)
				}
				var last error
				for _, last = range flatMap(t.Context(), upTo(1<<40, &pulled), 1, sub, seq.Window(4)) {
					synctest.Wait() // would never return
				}
				if last != final || pulled.Load() > 3 {
					t.Errorf("ended with %v after %d items", last, pulled.Load())
				}
			})
		})
	}
}
