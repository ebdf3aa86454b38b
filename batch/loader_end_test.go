package batch_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/batch"
	"example.com/pipeline/seq"
	"github.com/google/go-cmp/cmp"
)

// A caller whose ctx ends leaves alone; where all have left, the fetch goes on for
// the cache's sake.
func TestLoaderCallerLeaves(t *testing.T) {
	inBubble(t, batch.LoaderConfig{Wait: 100 * ms, Capacity: 10}, func(t *testing.T, l *batch.Loader[int, int], b *backend) {
		cause := &seq.ItemError{Err: errors.New("enough")}
		ctx, cancel := context.WithCancelCause(t.Context())
		before := load(ctx, l, 1)
		during := load(ctx, l, 2)
		stays := load(t.Context(), l, 1)
		time.Sleep(600 * ms)
		cancel(cause)
		before.wantError(t, 600*ms, context.Canceled, cause)
		during.wantError(t, 600*ms, context.Canceled, cause)
		if seq.IsItemError(before.err) {
			t.Errorf("the end of ctx is an item error: %v", before.err)
		}
		stays.want(t, 10, 1100*ms)
		load(t.Context(), l, 2).want(t, 20, 0)
		// A Load that has no time is refused, even where the value is there.
		load(ctx, l, 2).wantError(t, 0, context.Canceled, cause)
		load(ctx, l, 3).wantError(t, 0, context.Canceled, cause)
		if found, err := l.LoadMany(ctx, []int{2}); len(found) != 0 || !errors.Is(err, cause) {
			t.Errorf("LoadMany returned %v, %v", found, err)
		}
		checkStats(t, l, 4, 1, 1, 2)
	})
}

// At the end of the loader's ctx nobody waits any longer, even where fetch does
// not look at it.
func TestLoaderEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("shutdown")
		ctx, cancel := context.WithCancelCause(t.Context())
		release := make(chan struct{})
		l := batch.NewLoader(ctx, func(context.Context, []int) (map[int]int, error) {
			<-release
			return nil, nil
		}, batch.LoaderConfig{MaxBatch: 2, Wait: time.Minute, Capacity: 1})
		l.Prime(5, 50)
		flying := []*loading{load(t.Context(), l, 1), load(t.Context(), l, 2)}
		open := load(t.Context(), l, 3)
		time.Sleep(time.Second)
		cancel(cause)
		for _, r := range append(flying, open) {
			r.wantError(t, time.Second, context.Canceled, cause)
		}
		load(t.Context(), l, 4).wantError(t, 0, context.Canceled, cause)
		load(t.Context(), l, 5).wantError(t, 0, context.Canceled, cause)
		time.Sleep(2 * time.Minute) // the open batch's timer fires, and nothing is fetched
		checkStats(t, l, 3, 0, 1, 2)
		close(release)
	})
}

// What fetch makes of the end of the loader's ctx arrives as the end of the ctx.
func TestLoaderFetchSeesTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("shutdown")
		ctx, cancel := context.WithCancelCause(t.Context())
		l := batch.NewLoader(ctx, func(ctx context.Context, _ []int) (map[int]int, error) {
			<-ctx.Done()
			return nil, fmt.Errorf("fetch: %w", ctx.Err())
		}, batch.LoaderConfig{MaxBatch: 1})
		r := load(t.Context(), l, 1)
		cancel(cause)
		r.wantError(t, 0, context.Canceled, cause)
	})
}

// A panic in fetch reaches everyone who waits, once each, and the loader goes on.
func TestLoaderPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		l := batch.NewLoader(t.Context(), func(_ context.Context, keys []int) (map[int]int, error) {
			if calls++; calls == 1 {
				panic("out of order")
			}
			return map[int]int{1: 10}, nil
		}, batch.LoaderConfig{Wait: 10 * ms, Capacity: 10})
		for _, r := range []*loading{load(t.Context(), l, 1), load(t.Context(), l, 2), load(t.Context(), l, 1)} {
			<-r.done
			if p, ok := r.panic.(*seq.PanicError); !ok || p.Value != "out of order" || !strings.Contains(string(p.Stack), "TestLoaderPanic") {
				t.Errorf("recovered %v, want a *seq.PanicError with the stack of fetch", r.panic)
			}
		}
		load(t.Context(), l, 1).want(t, 10, 10*ms)
	})
}

// A Goexit in fetch ends the goroutine of everyone who waits.
func TestLoaderGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		l := batch.NewLoader(t.Context(), func(_ context.Context, keys []int) (map[int]int, error) {
			if calls++; calls == 1 {
				runtime.Goexit()
			}
			return map[int]int{1: 10}, nil
		}, batch.LoaderConfig{Wait: 10 * ms})
		for _, r := range []*loading{load(t.Context(), l, 1), load(t.Context(), l, 2)} {
			<-r.done
			if r.panic != nil || r.err == nil || r.err.Error() != "neither returned nor panicked" {
				t.Errorf("the Load ended with %v, %v, want a Goexit", r.panic, r.err)
			}
		}
		load(t.Context(), l, 1).want(t, 10, 10*ms)
	})
}

func TestLoadMany(t *testing.T) {
	inBubble(t, batch.LoaderConfig{MaxBatch: 3, Wait: 10 * ms, Capacity: 100}, func(t *testing.T, l *batch.Loader[int, int], b *backend) {
		errFetch := errors.New("down")
		b.fail = func(_ int, keys []int) error {
			if keys[0] == 3 {
				return errFetch
			}
			return nil
		}
		l.Prime(100, 1)
		start := time.Now()
		found, err := l.LoadMany(t.Context(), []int{2000, 1, 100, 1, 2, 3, 4, 5, 3000})
		if took := time.Since(start); took != 1010*ms {
			t.Errorf("took %v, want all fetches at once", took)
		}
		slices.SortFunc(b.calls, slices.Compare[[]int]) // three that began at one instant
		b.check(t, "[[3 4 5] [2000 1 2] [3000]]")
		if d := cmp.Diff(map[int]int{100: 1, 1: 10, 2: 20}, found); d != "" {
			t.Errorf("found: -want +got\n%s", d)
		}
		if want := "batch: 5 keys failed: key 3: down; key 4: down; key 5: down; key 2000: not found; key 3000: not found"; err == nil || err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
		if !errors.Is(err, batch.ErrNotFound) || !errors.Is(err, errFetch) {
			t.Errorf("error %v Is not both", err)
		}
		checkStats(t, l, 8, 1, 3, 7)
		if found, err := l.LoadMany(t.Context(), nil); found == nil || len(found) != 0 || err != nil {
			t.Errorf("of no keys: %v, %v", found, err)
		}
	})
}

// At the end of its ctx LoadMany returns what it has.
func TestLoadManyCut(t *testing.T) {
	inBubble(t, batch.LoaderConfig{Wait: 10 * ms, Capacity: 100}, func(t *testing.T, l *batch.Loader[int, int], b *backend) {
		l.Prime(1, 11)
		early := load(t.Context(), l, 2)
		time.Sleep(500 * ms)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		found, err := l.LoadMany(ctx, []int{3, 1, 2})
		if fmt.Sprint(found) != "map[1:11 2:20]" || err == nil || err.Error() != "batch: 1 key failed: key 3: context deadline exceeded" {
			t.Errorf("found %v, %v, want 1, 2 and one error of ctx", found, err)
		}
		early.want(t, 20, 1010*ms)
		time.Sleep(time.Second)
	})
}

// Keys that a map cannot hold panic where they are loaded and spoil nothing; keys
// that equal nothing are not found, and leave nothing behind.
func TestLoaderOddKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := batch.NewLoader(t.Context(), func(_ context.Context, keys []any) (map[any]int, error) {
			found := map[any]int{}
			for _, k := range keys {
				found[k] = 1
			}
			return found, nil
		}, batch.LoaderConfig{Capacity: 10, MaxBatch: 1})
		for _, fn := range []func(){
			func() { l.Load(t.Context(), []int{1}) },
			func() { l.LoadMany(t.Context(), []any{1, []int{1}}) },
			func() { l.Prime(func() {}, 1) },
			func() { l.Clear([]int{1}) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Error("a key that cannot be compared did not panic")
					}
				}()
				fn()
			}()
		}
		load(t.Context(), l, any("x")).want(t, 1, 0)
		load(t.Context(), l, any(math.NaN())).wantError(t, 0, batch.ErrNotFound)
		l.ClearAll()
		checkStats(t, l, 2, 0, 2, 2)
	})
}
