package batch_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/batch"
	"github.com/google/go-cmp/cmp"
)

// A loaderRun is one random run of a Loader: what is asked of it and when, and
// what each fetch does. No two things happen at one instant.
type loaderRun struct {
	seed uint64
	cfg  batch.LoaderConfig
	asks []ask
}

type ask struct {
	at    time.Duration
	kind  int // see the constants
	keys  []int
	value int           // to prime
	leave time.Duration // after which the caller's ctx ends, or 0
}

const (
	askLoad = iota
	askMany
	askClear
	askClearAll
	askPrime
)

// A fetchPlan is what one call of fetch does.
type fetchPlan struct {
	takes time.Duration
	fails bool
	lacks int // keys that leave this rest of 5 are not found
	locks int // and these fail by themselves
}

func newLoaderRun(seed uint64) loaderRun {
	r := rand.New(rand.NewPCG(seed, 7))
	pause := func(most time.Duration) time.Duration { return 1 + time.Duration(r.Int64N(int64(most))) }
	run := loaderRun{seed: seed, cfg: batch.LoaderConfig{
		MaxBatch: r.IntN(6),
		Wait:     pause(5 * time.Second),
		Capacity: r.IntN(8),
		TTL:      time.Duration(r.IntN(2)) * pause(30*time.Second),
	}}
	at := time.Duration(0)
	for range 40 {
		at += pause(3 * time.Second)
		a := ask{at: at, kind: min(r.IntN(14), 20), keys: []int{r.IntN(10)}, value: 1000 + r.IntN(1000)}
		switch a.kind {
		case 0, 1, 2:
			a.kind = askMany
			for range r.IntN(5) {
				a.keys = append(a.keys, r.IntN(10))
			}
		case 3:
			a.kind = askClear
		case 4:
			a.kind = askPrime
		case 5:
			a.kind = askClearAll
		default:
			a.kind = askLoad
		}
		if r.IntN(5) == 0 {
			a.leave = pause(5 * time.Second)
		}
		run.asks = append(run.asks, a)
	}
	return run
}

// plan returns the plan of the call that begins at a time with a key. A batch that
// is split begins several at one instant, in any order.
func (run loaderRun) plan(at time.Duration, key int) fetchPlan {
	r := rand.New(rand.NewPCG(run.seed+uint64(at), uint64(key)))
	return fetchPlan{1 + time.Duration(r.Int64N(int64(8*time.Second))), r.IntN(6) == 0, r.IntN(10), r.IntN(10)}
}

var (
	errDown   = errors.New("down")
	errLocked = errors.New("locked")
)

// fetched is what the call that begins at a time brings for a key.
func fetched(at time.Duration, key int) int { return 10*int(at) + key }

// outcome is how one ask ended, as text: when, and with what.
func outcome(at time.Duration, values map[int]int, missing, locked []int, down, left bool) string {
	slices.Sort(missing)
	slices.Sort(locked)
	return fmt.Sprintf("%v: %v, missing %v, locked %v, down %v, left %v", at, values, missing, locked, down, left)
}

// A modelBatch is a batch of the model.
type modelBatch struct {
	keys    []int
	loads   int
	at      time.Duration // when it is dispatched by the clock, then when fetch returns
	began   time.Duration
	plan    fetchPlan
	cleared map[int]bool // keys whose result is not to be kept
	values  map[int]int
	down    bool
}

// model returns the outcome of each ask, the calls of fetch and the stats.
func (run loaderRun) model() (outcomes []string, calls []string, stats batch.LoaderStats) {
	type kept struct {
		key, value int
		at         time.Duration
	}
	var (
		cache   []kept           // by use, oldest first
		pinned  = map[int]kept{} // primed while the key is waited for
		open    *modelBatch
		flights []*modelBatch
		now     time.Duration
		results = make([]func() string, len(run.asks))
	)
	fresh := func(k kept) bool { return run.cfg.TTL == 0 || now-k.at < run.cfg.TTL }
	position := func(key int) int { return slices.IndexFunc(cache, func(k kept) bool { return k.key == key }) }
	keep := func(k kept) {
		if i := position(k.key); i >= 0 {
			cache = slices.Delete(cache, i, i+1)
		}
		cache = append(cache, k)
		if len(cache) > run.cfg.Capacity {
			cache = cache[1:]
		}
	}
	waitedFor := func(key int) *modelBatch {
		if open != nil && slices.Contains(open.keys, key) {
			return open
		}
		for _, b := range flights {
			if slices.Contains(b.keys, key) && !b.cleared[key] {
				return b
			}
		}
		return nil
	}
	dispatch := func() {
		b := open
		open = nil
		b.began, b.plan = now, run.plan(now, b.keys[0])
		calls = append(calls, fmt.Sprint(now, b.keys))
		stats.Fetches++
		stats.Keys += int64(len(b.keys))
		b.at = now + b.plan.takes
		flights = append(flights, b)
	}
	complete := func(b *modelBatch) {
		flights = slices.DeleteFunc(flights, func(x *modelBatch) bool { return x == b })
		b.down, b.values = b.plan.fails, map[int]int{}
		for _, key := range b.keys {
			found := !b.down && key%5 != b.plan.lacks && key%5 != b.plan.locks
			if found {
				b.values[key] = fetched(b.began, key)
			}
			if b.cleared[key] {
				continue
			}
			p, primed := pinned[key]
			delete(pinned, key)
			switch {
			case primed:
				keep(p)
			case found && run.cfg.Capacity > 0:
				keep(kept{key, b.values[key], now})
			}
		}
	}
	// advance lets time pass, with all that happens meanwhile.
	advance := func(to time.Duration) {
		for {
			var next *modelBatch
			for _, b := range append(slices.Clone(flights), open) {
				if b != nil && b.at <= to && (next == nil || b.at < next.at) {
					next = b
				}
			}
			if next == nil {
				break
			}
			now = next.at
			if next == open {
				dispatch()
			} else {
				complete(next)
			}
		}
		now = to
	}
	forget := func(key int) {
		delete(pinned, key)
		if i := position(key); i >= 0 {
			cache = slices.Delete(cache, i, i+1)
		}
		for _, b := range flights {
			b.cleared[key] = true
		}
	}
	for n, a := range run.asks {
		advance(a.at)
		results[n] = func() string { return "" }
		switch a.kind {
		case askClear:
			forget(a.keys[0])
			continue
		case askClearAll:
			for key := range 10 {
				forget(key)
			}
			continue
		case askPrime:
			if run.cfg.Capacity == 0 {
				continue
			}
			if waitedFor(a.keys[0]) != nil {
				pinned[a.keys[0]] = kept{a.keys[0], a.value, now}
			} else {
				keep(kept{a.keys[0], a.value, now})
			}
			continue
		}
		values := map[int]int{}
		waits := map[int]*modelBatch{}
		var seen []int
		for _, key := range a.keys {
			if slices.Contains(seen, key) {
				continue
			}
			seen = append(seen, key)
			stats.Loads++
			if p, ok := pinned[key]; ok && fresh(p) {
				stats.Hits++
				values[key] = p.value
				continue
			}
			if i := position(key); i >= 0 {
				k := cache[i]
				cache = slices.Delete(cache, i, i+1)
				if fresh(k) {
					stats.Hits++
					cache = append(cache, k)
					values[key] = k.value
					continue
				}
			}
			b := waitedFor(key)
			if b == nil {
				if open == nil {
					open = &modelBatch{at: now + run.cfg.Wait, cleared: map[int]bool{}}
				}
				b = open
				b.keys = append(b.keys, key)
			}
			waits[key] = b
			if b == open {
				if b.loads++; b.loads == run.cfg.MaxBatch {
					dispatch()
				}
			}
		}
		results[n] = func() string {
			end, left := a.at, false
			var missing, locked []int
			down := false
			for _, b := range waits {
				end = max(end, b.at)
			}
			if a.leave > 0 && a.at+a.leave < end {
				end, left = a.at+a.leave, true
			}
			for key, b := range waits {
				switch v, ok := b.values[key]; {
				case b.at > end: // left before
				case b.down:
					down = true
				case ok:
					values[key] = v
				case key%5 == b.plan.locks:
					locked = append(locked, key)
				default:
					missing = append(missing, key)
				}
			}
			return outcome(end, values, missing, locked, down, left)
		}
	}
	advance(1 << 62)
	for _, result := range results {
		outcomes = append(outcomes, result())
	}
	return outcomes, calls, stats
}

// run asks a real Loader the same.
func (run loaderRun) run(t *testing.T) (outcomes []string, calls []string, stats batch.LoaderStats) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex
		l := batch.NewLoader(t.Context(), func(_ context.Context, keys []int) (map[int]int, error) {
			at := time.Since(start)
			mu.Lock()
			calls = append(calls, fmt.Sprint(at, keys))
			mu.Unlock()
			plan := run.plan(at, keys[0])
			time.Sleep(plan.takes)
			if plan.fails {
				return nil, errDown
			}
			found, failed := map[int]int{}, batch.KeyErrors[int]{}
			for _, key := range keys {
				if key%5 != plan.lacks {
					found[key] = fetched(at, key) // which does not count where the key has failed
				}
				if key%5 == plan.locks {
					failed[key] = errLocked
				}
			}
			return found, fmt.Errorf("in part: %w", failed)
		}, run.cfg)
		outcomes = make([]string, len(run.asks))
		var all sync.WaitGroup
		for n, a := range run.asks {
			time.Sleep(a.at - time.Since(start))
			switch a.kind {
			case askClear:
				l.Clear(a.keys[0])
			case askClearAll:
				l.ClearAll()
			case askPrime:
				l.Prime(a.keys[0], a.value)
			default:
				all.Go(func() {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if a.leave > 0 {
						defer time.AfterFunc(a.leave, cancel).Stop()
					}
					outcomes[n] = ask1(ctx, l, a, start)
				})
			}
			synctest.Wait()
		}
		all.Wait()
		time.Sleep(time.Hour) // for the fetches that nobody waits for
		stats = l.Stats()
	})
	return outcomes, calls, stats
}

// ask1 does one Load or LoadMany.
func ask1(ctx context.Context, l *batch.Loader[int, int], a ask, start time.Time) string {
	values := map[int]int{}
	var err error
	if a.kind == askMany {
		values, err = l.LoadMany(ctx, a.keys)
	} else if v, e := l.Load(ctx, a.keys[0]); e == nil {
		values[a.keys[0]] = v
	} else {
		err = e
	}
	failed, ok := errors.AsType[batch.KeyErrors[int]](err)
	if a.kind != askMany && err != nil {
		failed = batch.KeyErrors[int]{a.keys[0]: err}
	} else if ok != (err != nil) {
		return fmt.Sprintf("error %v", err)
	}
	var missing, locked []int
	for _, key := range a.keys {
		if _, ok := values[key]; ok == (failed[key] != nil) {
			return fmt.Sprintf("values %v and error %v", values, err)
		}
	}
	for key, err := range failed {
		if errors.Is(err, batch.ErrNotFound) {
			missing = append(missing, key)
		}
		if errors.Is(err, errLocked) {
			locked = append(locked, key)
		}
	}
	return outcome(time.Since(start), values, missing, locked, errors.Is(err, errDown), errors.Is(err, context.Canceled))
}

// TestLoaderSchedules runs 3,000 random schedules of loads, leavings, clears and
// primes, under fetches that fail or lack keys, against the model.
func TestLoaderSchedules(t *testing.T) {
	t.Parallel()
	for seed := range seeds(t, 500) {
		run := newLoaderRun(seed)
		want, wantCalls, wantStats := run.model()
		got, calls, stats := run.run(t)
		for i, a := range run.asks {
			if got[i] != want[i] {
				t.Errorf("seed %d: %+v, ask %d, %+v: -want +got\n%s", seed, run.cfg, i, a, cmp.Diff(want[i], got[i]))
			}
		}
		slices.Sort(calls)
		slices.Sort(wantCalls)
		if d := cmp.Diff(wantCalls, calls); d != "" {
			t.Errorf("seed %d: calls -want +got\n%s", seed, d)
		}
		if d := cmp.Diff(wantStats, stats); d != "" {
			t.Errorf("seed %d: stats -want +got\n%s", seed, d)
		}
		if t.Failed() {
			return
		}
	}
}
