package batch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/batch"
	"example.com/pipeline/seq"
	"github.com/google/go-cmp/cmp"
)

// A backend is what a loader fetches from: it holds key*10 for every key below
// 1000, takes latency for each call and remembers the calls.
type backend struct {
	latency time.Duration
	mu      sync.Mutex
	calls   [][]int
	fail    func(call int, keys []int) error
}

func (b *backend) fetch(ctx context.Context, keys []int) (map[int]int, error) {
	b.mu.Lock()
	call := len(b.calls)
	b.calls = append(b.calls, slices.Clone(keys))
	b.mu.Unlock()
	time.Sleep(b.latency)
	if b.fail != nil {
		if err := b.fail(call, keys); err != nil {
			return nil, err
		}
	}
	found := map[int]int{-1: -1} // which nobody asks for
	for _, k := range keys {
		if k < 1000 {
			found[k] = k * 10
		}
	}
	slices.Sort(keys) // they are ours to change
	return found, nil
}

// check compares the calls with what is wanted.
func (b *backend) check(t *testing.T, want string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if d := cmp.Diff(want, fmt.Sprint(b.calls)); d != "" {
		t.Errorf("fetched: -want +got\n%s", d)
	}
}

func checkStats[K comparable, V any](t *testing.T, l *batch.Loader[K, V], loads, hits, fetches, keys int64) {
	t.Helper()
	if got, want := l.Stats(), (batch.LoaderStats{Loads: loads, Hits: hits, Fetches: fetches, Keys: keys}); got != want {
		t.Errorf("stats are %+v, want %+v", got, want)
	}
}

// A loading is one Load in a goroutine of its own.
type loading struct {
	done  chan struct{}
	value int
	err   error
	panic any
	took  time.Duration
}

// load starts a Load and waits until it waits.
func load[K comparable](ctx context.Context, l *batch.Loader[K, int], key K) *loading {
	r := &loading{done: make(chan struct{}), err: errors.New("neither returned nor panicked")}
	go func() {
		start := time.Now()
		defer close(r.done)
		defer func() { r.panic, r.took = recover(), time.Since(start) }()
		r.value, r.err = l.Load(ctx, key)
	}()
	synctest.Wait()
	return r
}

func (r *loading) isDone() bool {
	synctest.Wait()
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// want checks that the Load returned the value after the time.
func (r *loading) want(t *testing.T, value int, took time.Duration) {
	t.Helper()
	<-r.done
	if r.value != value || r.err != nil || r.took != took {
		t.Errorf("loaded %d, %v after %v, want %d after %v", r.value, r.err, r.took, value, took)
	}
}

// wantError checks that the Load returned an error that Is all of errs.
func (r *loading) wantError(t *testing.T, took time.Duration, errs ...error) {
	t.Helper()
	<-r.done
	for _, err := range errs {
		if r.value != 0 || !errors.Is(r.err, err) || r.took != took {
			t.Errorf("loaded %d, %v after %v, want error %v after %v", r.value, r.err, r.took, err, took)
		}
	}
}

// inBubble runs a test with a loader in a bubble.
func inBubble(t *testing.T, cfg batch.LoaderConfig, test func(t *testing.T, l *batch.Loader[int, int], b *backend)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &backend{latency: time.Second}
		test(t, batch.NewLoader(t.Context(), b.fetch, cfg), b)
	})
}

func TestLoaderBatches(t *testing.T) {
	inBubble(t, batch.LoaderConfig{Wait: 10 * ms}, func(t *testing.T, l *batch.Loader[int, int], b *backend) {
		ctx := t.Context()
		first := []*loading{load(ctx, l, 3), load(ctx, l, 1), load(ctx, l, 3), load(ctx, l, 2)}
		time.Sleep(9 * ms)
		late := load(ctx, l, 9)
		time.Sleep(2 * ms)
		shared := load(ctx, l, 3)  // which is in flight
		second := load(ctx, l, 11) // opens the next batch meanwhile
		for i, want := range []int{30, 10, 30, 20} {
			first[i].want(t, want, 1010*ms)
		}
		late.want(t, 90, 1001*ms)
		shared.want(t, 30, 999*ms)
		second.want(t, 110, 1010*ms)
		b.check(t, "[[3 1 2 9] [11]]")
		checkStats(t, l, 7, 0, 2, 5)
	})
}

// n loads fill a batch of n, whether their keys differ or not; the timer of a
// batch that was full does not cut the next one.
func TestLoaderMaxBatch(t *testing.T) {
	inBubble(t, batch.LoaderConfig{MaxBatch: 3, Wait: 10 * ms}, func(t *testing.T, l *batch.Loader[int, int], b *backend) {
		ctx := t.Context()
		a := []*loading{load(ctx, l, 1), load(ctx, l, 1), load(ctx, l, 2)}
		time.Sleep(8 * ms)
		c := load(ctx, l, 3)
		time.Sleep(8 * ms)
		d := load(ctx, l, 4)
		for i, want := range []int{10, 10, 20} {
			a[i].want(t, want, time.Second)
		}
		c.want(t, 30, 1010*ms)
		d.want(t, 40, 1002*ms)
		b.check(t, "[[1 2] [3 4]]")
	})
}

// As many workers as MaxBatch never wait for the timer.
func TestLoaderInMapConcurrent(t *testing.T) {
	inBubble(t, batch.LoaderConfig{MaxBatch: 8, Wait: time.Hour}, func(t *testing.T, l *batch.Loader[int, int], b *backend) {
		start := time.Now()
		ids := seq.Map(numbers(64), func(x int) (int, error) { return x / 2, nil }) // each twice
		got, err := seq.Collect(seq.MapConcurrent(t.Context(), ids, 8, l.Load))
		if err != nil || len(got) != 64 {
			t.Fatalf("%d items, %v", len(got), err)
		}
		for i, v := range got {
			if v != i/2*10 {
				t.Errorf("item %d is %d, want %d", i, v, i/2*10)
			}
		}
		if took := time.Since(start); took != 8*time.Second {
			t.Errorf("took %v, want 8 fetches of 1 s", took)
		}
		checkStats(t, l, 64, 0, 8, 32)
	})
}

func TestLoaderDefaults(t *testing.T) {
	inBubble(t, batch.LoaderConfig{}, func(t *testing.T, l *batch.Loader[int, int], b *backend) {
		many := make([]int, 900)
		for i := range many {
			many[i] = i
		}
		start := time.Now()
		found, err := l.LoadMany(t.Context(), many) // no limit
		if err != nil || len(found) != 900 || time.Since(start) != 1001*ms {
			t.Errorf("%d values, %v, after %v, want 900 after 1 ms and the fetch", len(found), err, time.Since(start))
		}
		load(t.Context(), l, 0).want(t, 0, 1001*ms) // nothing was kept
		checkStats(t, l, 901, 0, 2, 901)
		l.Prime(1, 2)
		load(t.Context(), l, 1).want(t, 10, 1001*ms) // nor is what was primed
	})
}

func TestLoaderCache(t *testing.T) {
	inBubble(t, batch.LoaderConfig{MaxBatch: 1, Capacity: 2, TTL: 10 * time.Second}, func(t *testing.T, l *batch.Loader[int, int], b *backend) {
		ctx := t.Context()
		load(ctx, l, 1).want(t, 10, time.Second) // fetched at 1 s
		load(ctx, l, 2).want(t, 20, time.Second) // at 2 s
		load(ctx, l, 1).want(t, 10, 0)
		load(ctx, l, 3).want(t, 30, time.Second) // at 3 s; 2 was used longest ago
		load(ctx, l, 1).want(t, 10, 0)
		load(ctx, l, 2).want(t, 20, time.Second) // at 4 s; 3 goes
		b.check(t, "[[1] [2] [3] [2]]")
		checkStats(t, l, 6, 2, 4, 4)
		time.Sleep(7*time.Second - 1)
		load(ctx, l, 1).want(t, 10, 0)
		time.Sleep(1)
		load(ctx, l, 1).want(t, 10, time.Second) // 10 s old: used or not, it goes
		load(ctx, l, 2).want(t, 20, 0)
		b.check(t, "[[1] [2] [3] [2] [1]]")
		checkStats(t, l, 9, 4, 5, 5)
	})
}

// Neither errors nor what was not found are kept.
func TestLoaderFailures(t *testing.T) {
	inBubble(t, batch.LoaderConfig{MaxBatch: 2, Wait: time.Minute, Capacity: 10}, func(t *testing.T, l *batch.Loader[int, int], b *backend) {
		errFetch := errors.New("down")
		b.fail = func(call int, _ []int) error {
			if call == 0 {
				return errFetch
			}
			return nil
		}
		for attempt := range 2 {
			one, two := load(t.Context(), l, 1), load(t.Context(), l, 2000)
			<-one.done
			<-two.done
			if attempt == 0 {
				if one.err != errFetch || two.err != errFetch {
					t.Errorf("got %v and %v, want the error as it is", one.err, two.err)
				}
				continue
			}
			one.want(t, 10, time.Second)
			two.wantError(t, time.Second, batch.ErrNotFound)
			if !strings.Contains(two.err.Error(), "2000") {
				t.Errorf("error %q does not name the key", two.err)
			}
		}
		load(t.Context(), l, 1).want(t, 10, 0)
		again := load(t.Context(), l, 2000)
		again.wantError(t, time.Minute+time.Second, batch.ErrNotFound)
		b.check(t, "[[1 2000] [1 2000] [2000]]")
	})
}

func TestLoaderNilMap(t *testing.T) {
	l := batch.NewLoader(t.Context(), func(context.Context, []int) (map[int]int, error) { return nil, nil },
		batch.LoaderConfig{MaxBatch: 1, Capacity: 1})
	if v, err := l.Load(t.Context(), 1); v != 0 || !errors.Is(err, batch.ErrNotFound) {
		t.Errorf("loaded %d, %v", v, err)
	}
}

func TestLoaderClear(t *testing.T) {
	for name, clear := range map[string]func(l *batch.Loader[int, int], key int){
		"Clear":    func(l *batch.Loader[int, int], key int) { l.Clear(key) },
		"ClearAll": func(l *batch.Loader[int, int], _ int) { l.ClearAll() },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, batch.LoaderConfig{Wait: 100 * ms, Capacity: 10}, func(t *testing.T, l *batch.Loader[int, int], b *backend) {
				ctx := t.Context()
				clear(l, 7) // which nobody knows
				early := load(ctx, l, 1)
				time.Sleep(50 * ms)
				clear(l, 1) // nothing was fetched yet: the batch stays
				joined := load(ctx, l, 1)
				time.Sleep(100 * ms) // now it is in flight
				clear(l, 1)
				anew := load(ctx, l, 1) // its own fetch, although the first is on its way
				time.Sleep(500 * ms)
				shared := load(ctx, l, 1)
				early.want(t, 10, 1100*ms)
				joined.want(t, 10, 1050*ms)
				// What the first fetch brought has not been kept.
				between := load(ctx, l, 1)
				if between.isDone() {
					t.Error("the result of a fetch that began before the Clear was cached")
				}
				anew.want(t, 10, 1100*ms)
				shared.want(t, 10, 600*ms)
				between.want(t, 10, 150*ms)
				b.check(t, "[[1] [1]]")
				load(ctx, l, 1).want(t, 10, 0)
				clear(l, 1)
				load(ctx, l, 1).want(t, 10, 1100*ms)
			})
		})
	}
}

func TestLoaderPrime(t *testing.T) {
	inBubble(t, batch.LoaderConfig{Wait: 100 * ms, Capacity: 2, TTL: time.Minute}, func(t *testing.T, l *batch.Loader[int, int], b *backend) {
		ctx := t.Context()
		l.Prime(5, 55)
		load(ctx, l, 5).want(t, 55, 0)
		l.Prime(5, 56)
		load(ctx, l, 5).want(t, 56, 0)

		waiting := load(ctx, l, 1)
		l.Prime(1, 111) // before the fetch begins
		load(ctx, l, 1).want(t, 111, 0)
		inFlight := load(ctx, l, 2)
		time.Sleep(500 * ms)
		l.Prime(2, 222) // while it is in flight
		load(ctx, l, 2).want(t, 222, 0)
		waiting.want(t, 10, 1100*ms)
		inFlight.want(t, 20, 1100*ms)
		load(ctx, l, 1).want(t, 111, 0)
		load(ctx, l, 2).want(t, 222, 0)
		b.check(t, "[[1 2]]")
		load(ctx, l, 5).want(t, 50, 1100*ms) // 1 and 2 have taken the place of 5
		time.Sleep(time.Minute)
		load(ctx, l, 2).want(t, 20, 1100*ms)
		l.Prime(3, 33)
		l.Clear(3)
		load(ctx, l, 3).want(t, 30, 1100*ms)
	})
}
