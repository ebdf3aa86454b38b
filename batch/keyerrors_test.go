package batch_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/batch"
	"example.com/pipeline/seq"
	"github.com/google/go-cmp/cmp"
)

func TestKeyErrorsText(t *testing.T) {
	odd, even := errors.New("odd"), errors.New("even")
	many := batch.KeyErrors[int]{}
	for k := range 100 {
		many[k-5] = map[bool]error{true: odd, false: even}[k%2 == 0]
	}
	for _, tc := range []struct {
		err  error
		want string
	}{
		{many, "batch: 100 keys failed: key -5: odd; key -4: even; key -3: odd; key -2: even; key -1: odd; and 95 more"},
		{batch.KeyErrors[string]{"b": odd, "a": nil, "10": even}, "batch: 3 keys failed: key 10: even; key a: <nil>; key b: odd"},
		{batch.KeyErrors[[2]int]{{1, 2}: odd}, "batch: 1 key failed: key [1 2]: odd"},
		{batch.KeyErrors[any]{"x": odd, 1: even, nil: odd}, "batch: 3 keys failed: key 1: even; key <nil>: odd; key x: odd"},
		{batch.KeyErrors[uint8]{200: odd, 3: even}, "batch: 2 keys failed: key 3: even; key 200: odd"},
	} {
		for range 20 {
			if d := cmp.Diff(tc.want, tc.err.Error()); d != "" {
				t.Fatalf("-want +got\n%s", d)
			}
		}
	}
	if !errors.Is(many, odd) || !errors.Is(many, even) || errors.Is(many, batch.ErrNotFound) || len(many.Unwrap()) != 100 || many.Unwrap()[1] != even {
		t.Error("errors.Is does not see the errors of the keys, in their order")
	}
	long := batch.KeyErrors[string]{}
	for i := range 11 {
		long[fmt.Sprint(i, strings.Repeat("ä", 10_000))] = errors.New(strings.Repeat("ü", 10_000))
	}
	if text := long.Error(); len(text) > 2000 || !strings.HasSuffix(text, "; and 6 more") {
		t.Errorf("%d bytes of text", len(text))
	}
}

// fetchErrors are errors of a fetch for the keys 1 to 4 that returns 1, 2 and 3, and
// what becomes of each key.
var fetchErrors = map[string]struct {
	err  error
	want string
}{
	"of keys":                {batch.KeyErrors[int]{2: errLocked}, "1 locked 3 not-found"},
	"of keys, wrapped":       {fmt.Errorf("query: %w", batch.KeyErrors[int]{2: errLocked, 4: errLocked}), "1 locked 3 locked"},
	"of keys, not asked for": {batch.KeyErrors[int]{5: errLocked}, "1 2 3 not-found"},
	"of no key":              {batch.KeyErrors[int]{}, "1 2 3 not-found"},
	"of no key, nil":         {batch.KeyErrors[int](nil), "1 2 3 not-found"},
	"of keys that are well":  {batch.KeyErrors[int]{2: nil, 4: nil}, "1 2 3 not-found"},
	"joined with another":    {errors.Join(errDown, batch.KeyErrors[int]{2: errLocked}), "1 locked 3 down"},
	"joined with others":     {errors.Join(batch.KeyErrors[int]{2: errLocked}, batch.KeyErrors[int]{4: errDown}), "1 locked 3 down"},
	"of other keys":          {batch.KeyErrors[string]{"2": errDown}, "down down down down"},
	"of all":                 {errDown, "down down down down"},
}

func fateOf(value int, err error) string {
	switch {
	case err == nil:
		return fmt.Sprint(value)
	case errors.Is(err, errLocked) && errors.Is(err, errDown): // joined: the key is not named by the first
		return "down"
	case errors.Is(err, errLocked):
		return "locked"
	case errors.Is(err, errDown):
		return "down"
	case errors.Is(err, batch.ErrNotFound):
		return "not-found"
	}
	return err.Error()
}

// Keys that a fetch names fail by themselves; what failed is fetched again, what was
// found is not.
func TestLoaderKeyErrors(t *testing.T) {
	for name, tc := range fetchErrors {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls [][]int
				l := batch.NewLoader(t.Context(), func(_ context.Context, keys []int) (map[int]int, error) {
					calls = append(calls, keys)
					return map[int]int{1: 1, 2: 2, 3: 3}, tc.err
				}, batch.LoaderConfig{Capacity: 10})
				loads := make([]*loading, 4)
				for i := range loads {
					loads[i] = load(t.Context(), l, i+1)
				}
				var got []string
				for _, r := range loads {
					<-r.done
					got = append(got, fateOf(r.value, r.err))
				}
				if d := cmp.Diff(tc.want, strings.Join(got, " ")); d != "" {
					t.Errorf("Load: -want +got\n%s", d)
				}
				values, err := l.LoadMany(t.Context(), []int{1, 2, 3, 4})
				failed, _ := errors.AsType[batch.KeyErrors[int]](err)
				again := 0
				for i := range loads {
					if got[i] != fateOf(values[i+1], failed[i+1]) {
						t.Errorf("LoadMany: key %d: %v, %v, want %s", i+1, values[i+1], failed[i+1], got[i])
					}
					if failed[i+1] != nil {
						again++
					}
				}
				if len(calls) != 2 || len(calls[1]) != again || len(values)+len(failed) != 4 {
					t.Errorf("fetched %v, want the %d that failed a second time; LoadMany: %v, %v", calls, again, values, err)
				}
			})
		})
	}
}

// The items of keys that failed are ItemErrors in their places, the others go on.
func TestLookupKeyErrors(t *testing.T) {
	for name, tc := range fetchErrors {
		t.Run(name, func(t *testing.T) {
			fetch := func(context.Context, []int) (map[int]int, error) { return map[int]int{1: 1, 2: 2, 3: 3}, tc.err }
			merge := func(_, found int) (int, error) { return found, nil }
			var got []string
			for v, err := range batch.Lookup(t.Context(), seq.Of(1, 2, 3, 4), 10, time.Hour, identity[int], fetch, merge) {
				got = append(got, fateOf(v, err))
				if item, ok := seq.FailedItem[int](err); ok != (err != nil) || ok && item != len(got) {
					t.Errorf("output %d is %v of item %d", len(got), err, item)
				}
			}
			if d := cmp.Diff(tc.want, strings.Join(got, " ")); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

// A hostileContext runs look in each method that it is asked.
type hostileContext struct {
	context.Context
	look func()
}

func (c hostileContext) Done() <-chan struct{} { c.look(); return c.Context.Done() }
func (c hostileContext) Err() error            { c.look(); return c.Context.Err() }
func (c hostileContext) Value(key any) any     { c.look(); return c.Context.Value(key) }

// No method of a context is called while the loader's mutex is held: another goroutine
// can use the loader meanwhile.
func TestLoaderContextsOutsideTheLock(t *testing.T) {
	for name, cfg := range map[string]batch.LoaderConfig{"MaxBatch": {MaxBatch: 1, Capacity: 1}, "Wait": {Wait: 1, Capacity: 1}} {
		t.Run(name, func(t *testing.T) {
			var l *batch.Loader[int, int]
			var looks atomic.Int64
			look := func() {
				if l == nil {
					return
				}
				looks.Add(1)
				done := make(chan struct{})
				go func() {
					l.Stats()
					close(done)
				}()
				for range 100_000 {
					select {
					case <-done:
						return
					default:
						runtime.Gosched()
					}
				}
				stack := make([]byte, 1<<14)
				t.Errorf("a method of ctx is called under the mutex:\n%s", stack[:runtime.Stack(stack, false)])
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			mine := batch.NewLoader(hostileContext{ctx, look}, echo, cfg)
			l = mine
			for key := range 5 {
				if v, err := l.Load(hostileContext{t.Context(), look}, key); v != key || err != nil {
					t.Errorf("key %d: %d, %v", key, v, err)
				}
				if _, err := l.LoadMany(hostileContext{t.Context(), look}, []int{key, key + 1}); err != nil {
					t.Error(err)
				}
			}
			if looks.Load() == 0 {
				t.Error("no method of a ctx was called")
			}
		})
	}
}

// A context that panics panics where it is asked, and keeps nobody else waiting.
func TestLoaderContextPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		evil := hostileContext{ctx, func() {}}
		bad := false
		l := batch.NewLoader(doneContext{evil, func() {
			if bad {
				panic("out of order")
			}
		}}, echo, batch.LoaderConfig{Wait: time.Second, MaxBatch: 3})
		bad = true
		first := load(t.Context(), l, 1)
		<-first.done
		bad = false
		if first.panic != "out of order" {
			t.Errorf("the load ended with %v, %v", first.panic, first.err)
		}
		load(t.Context(), l, 1).want(t, 1, time.Second)
		bad = true
		found := func() (err any) {
			defer func() { err = recover() }()
			_, e := l.LoadMany(t.Context(), []int{1, 2, 3, 4, 5, 6})
			return e
		}()
		bad = false
		if found != "out of order" {
			t.Errorf("LoadMany ended with %v", found)
		}
		r := load(t.Context(), l, 4) // whose first fetch may be over
		<-r.done
		if r.value != 4 || r.err != nil {
			t.Errorf("loaded %d, %v", r.value, r.err)
		}
	})
}

// A doneContext runs look in Done.
type doneContext struct {
	context.Context
	look func()
}

func (c doneContext) Done() <-chan struct{} { c.look(); return c.Context.Done() }

// A key that no map can hold panics in the goroutine of the loop, and leaves nothing
// behind: the bubble would not end.
func TestUnhashableKeys(t *testing.T) {
	key := func(x int) any { return []int{x} }
	fetch := func(context.Context, []any) (map[any]int, error) { return nil, nil }
	in := arrivals(arrival[int]{ms, 1, nil}, arrival[int]{time.Hour, 2, nil})
	ctx := context.Background()
	for name, drain := range map[string]func() error{
		"Join":   func() error { return seq.Drain(batch.Join(ctx, batch.JoinConfig{}, key, in, in)) },
		"Gather": func() error { return seq.Drain(batch.Gather(ctx, in, batch.JoinConfig{TTL: time.Minute}, key, three)) },
		"Lookup": func() error {
			return seq.Drain(batch.Lookup(ctx, in, 1, time.Hour, key, fetch, func(int, int) (int, error) { return 0, nil }))
		},
		"Dedup": func() error { return seq.Drain(batch.Dedup(in, key, batch.DedupConfig{})) },
		"Uniq": func() error {
			return seq.Drain(seq.Map(iter.Seq2[[]int, error](batch.Size(in, 1)), batch.Uniq(key)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer func() {
					if err, ok := recover().(runtime.Error); !ok || !strings.Contains(err.Error(), "unhashable") {
						t.Errorf("recovered %v", err)
					}
				}()
				t.Error("no panic, but", drain())
			})
		})
	}
}
