package seq_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/pipeline/seq"
)

// Random keys and times: at most n calls at once, at most one of a key, the items of a key
// in order, and the results in the order of the items.
func TestMapKeyed(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 6))
			n, window, keys := 1+r.IntN(6), 1+r.IntN(40), 1+r.IntN(12)
			items := make([]struct {
				key int
				nap time.Duration
			}, 400)
			for i := range items {
				items[i].key = r.IntN(keys)
				if r.IntN(3) == 0 {
					items[i].nap = time.Duration(r.IntN(300)) * time.Microsecond
				}
			}
			var mu sync.Mutex
			atWork, last := map[int]bool{}, map[int]int{}
			fn := func(_ context.Context, i int) (int, error) {
				k := items[i].key
				mu.Lock()
				if len(atWork) == n || atWork[k] || last[k] > i {
					t.Errorf("seed %d: item %d of key %d begins after %d, beside %v", seed, i, k, last[k], atWork)
				}
				atWork[k], last[k] = true, i
				mu.Unlock()
				time.Sleep(items[i].nap)
				mu.Lock()
				delete(atWork, k)
				mu.Unlock()
				return i, nil
			}
			stream := seq.MapKeyed(t.Context(), upTo(len(items), nil), n, func(i int) int { return items[i].key }, fn, seq.Window(window))
			got := 0
			for i, err := range stream {
				if i != got || err != nil {
					t.Fatalf("seed %d: got %d, %v at position %d", seed, i, err, got)
				}
				got++
			}
			if got != len(items) {
				t.Errorf("seed %d: got %d items", seed, got)
			}
		})
	}
}

// What waits for a slow key holds no worker: the other keys of the window go on, with
// all workers but one.
func TestSlowKeyHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const window = 64
		var mu sync.Mutex
		var done []int
		release := make(chan struct{})
		fn := func(_ context.Context, i int) (int, error) {
			if i%2 == 0 {
				<-release
			}
			mu.Lock()
			done = append(done, i)
			mu.Unlock()
			return i, nil
		}
		key := func(i int) int { return i % 2 * i } // all even ones have one key
		time.AfterFunc(time.Hour, func() {
			mu.Lock()
			if len(done) != window/2 {
				t.Errorf("%d of the others were done, want %d", len(done), window/2)
			}
			mu.Unlock()
			close(release)
		})
		if n, err := seq.Count(seq.MapKeyed(t.Context(), upTo(1000, nil), 2, key, fn, seq.Window(window))); n != 1000 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	})
}

// Of what may begin, the worker takes what was pulled first: keys take turns.
func TestKeysTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []int
		first := make(chan struct{})
		fn := func(_ context.Context, i int) (int, error) {
			if i == 0 {
				<-first // until all have been pulled
			}
			order = append(order, i)
			return i, nil
		}
		time.AfterFunc(time.Second, func() { close(first) })
		keys := []int{1, 1, 1, 2, 1, 2, 3}
		stream := seq.MapKeyed(t.Context(), upTo(len(keys), nil), 1, func(i int) int { return keys[i] }, fn, seq.Window(16))
		if err := seq.Drain(stream); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(order, []int{0, 1, 2, 3, 4, 5, 6}) {
			t.Errorf("the calls began in the order %v", order)
		}
	})
}

// key is called in the goroutine of the source, once an item and before the next one is
// pulled, and not for errors.
func TestKeyIsCalledByTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []string // written by one goroutine, or the race detector complains
		in := func(yield func(int, error) bool) {
			goroutine := self()
			for i := range 3 {
				seen = append(seen, fmt.Sprint("pulled ", i, " in ", goroutine == self()))
				if !yield(i, nil) || !yield(-1, &seq.ItemError{Item: i, Err: errBad}) {
					return
				}
			}
			seen = append(seen, goroutine)
		}
		key := func(i int) int {
			seen = append(seen, fmt.Sprint("key of ", i, " in ", self()))
			return i
		}
		if _, err := seq.CollectAll(seq.MapKeyed(t.Context(), in, 3, key, same)); err == nil {
			t.Error("the errors of the source are missing")
		}
		source := seen[len(seen)-1]
		var want []string
		for i := range 3 {
			want = append(want, fmt.Sprint("pulled ", i, " in true"), fmt.Sprint("key of ", i, " in ", source))
		}
		if diff := cmp.Diff(append(want, source), seen); diff != "" {
			t.Error(diff)
		}
	})
}

// A panic or Goexit of key, or a key that cannot be hashed, ends the loop.
func TestKeyThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		key  func(int) any
		want func(ending) bool
	}{
		"panic":      {func(int) any { panic("key") }, func(e ending) bool { return e.panic == "key" }},
		"Goexit":     {func(int) any { runtime.Goexit(); return 0 }, func(e ending) bool { return e.goexit }},
		"unhashable": {func(int) any { return []int{1} }, func(e ending) bool { _, ok := e.panic.(runtime.Error); return ok }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key := func(v int) any {
					if v < 2 {
						return v
					}
					return c.key(v)
				}
				end := endOf(func() {
					seq.Drain(seq.MapKeyed(t.Context(), upTo(9, nil), 2, key, func(ctx context.Context, v int) (int, error) {
						if v == 1 {
							return untilDone(ctx, v)
						}
						return v, nil
					}))
				})
				if !c.want(end) {
					t.Errorf("ended with %v", end)
				}
			})
		})
	}
}

// A NaN is no key of any other item.
func TestKeysThatAreNaN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		fn := func(_ context.Context, v int) (int, error) { time.Sleep(time.Second); return v, nil }
		n, err := seq.Count(seq.MapKeyed(t.Context(), upTo(8, nil), 8, func(int) float64 { return math.NaN() }, fn))
		if d := time.Since(start); n != 8 || err != nil || d != time.Second {
			t.Errorf("got %d, %v after %v", n, err, d)
		}
	})
}

// The others of a key are worked on although one has failed.
func TestErrorsDoNotStopAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fn := func(_ context.Context, v int) (int, error) {
			switch v {
			case 1:
				return 0, errors.New("one")
			case 2:
				return 0, seq.ErrSkip
			}
			return v, nil
		}
		wantPairs(t, seq.MapKeyed(t.Context(), upTo(4, nil), 2, func(int) int { return 0 }, fn), "0", "item error: item 1: one", "3")
	})
}

// Memory follows what is in flight, not how many keys there have been.
func TestKeysAreForgotten(t *testing.T) {
	before := liveBytes()
	most := uint64(0)
	for v, err := range seq.MapKeyed(t.Context(), upTo(200_000, nil), 4, func(v int) int { return v }, same) {
		if err != nil {
			t.Fatal(err)
		}
		if v%50_000 == 49_999 {
			most = max(most, liveBytes()-min(before, liveBytes()))
		}
	}
	if most > 1<<20 {
		t.Errorf("%d bytes are live in the middle of the loop", most)
	}
}

// liveBytes returns how much is reachable.
func liveBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
