package main

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"

	"example.com/pipeline/seq"
	"github.com/destel/rill"
	conc "github.com/sourcegraph/conc/iter"
	"github.com/sourcegraph/conc/stream"
	"golang.org/x/sync/errgroup"
)

// A source is what all contestants read from; rill takes the same type.
type source = iter.Seq2[int, error]

// numbers yields 0 to n-1.
func numbers(n int) source {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
	}
}

// A mapper calls fn for what in yields, n at a time, and out with the results, in
// the goroutine that called it. It stops at the first error and returns it.
type mapper[U any] struct {
	name, module string
	role         role
	run          func(n int, in source, fn func(int) (U, error), out func(U)) error
}

const (
	moduleRill = "github.com/destel/rill"
	moduleConc = "github.com/sourcegraph/conc"
	moduleOurs = "example.com/pipeline"
)

// orderedMaps keep the order.
func orderedMaps[U any]() []mapper[U] {
	return []mapper[U]{
		{"seq.MapConcurrent", moduleOurs, ours, mapConcurrent[U]()},
		{"seq.MapConcurrent, Window(1024)", moduleOurs, ours, mapConcurrent[U](seq.Window(1024))},
		{"rill.OrderedMap", moduleRill, peer, rillOrderedMap[U]},
		{"conc stream", moduleConc, peer, concStream[U]},
		{"a future per item", "", peer, futures[U]},
		{"textbook pool, reordering", "", peer, poolOrdered[U]},
		{"errgroup into a slice", "golang.org/x/sync", peer, errgroupSlice[U]},
		{"conc iter.Map of a slice", moduleConc, peer, concSlice[U]},
	}
}

// unorderedMaps give the results as they come.
func unorderedMaps[U any]() []mapper[U] {
	return []mapper[U]{
		{"seq.MapUnordered", moduleOurs, ours, mapUnordered[U]()},
		{"seq.MapUnordered, Window(1024)", moduleOurs, ours, mapUnordered[U](seq.Window(1024))},
		{"rill.Map", moduleRill, peer, rillMap[U]},
		{"textbook pool", "", peer, poolUnordered[U]},
	}
}

// mapLimits cannot be beaten: a loop on one processor, and loops on all of them
// that share a slice.
func mapLimits[U any]() []mapper[U] {
	return []mapper[U]{
		{"limit: a bare loop", "", limit, bareLoop[U]},
		{"limit: loops sharing a slice", "", limit, sharedSlice[U]},
	}
}

// --- this library ------------------------------------------------------------------

func mapConcurrent[U any](opts ...seq.Option) func(int, source, func(int) (U, error), func(U)) error {
	return func(n int, in source, fn func(int) (U, error), out func(U)) error {
		ctx, cancel := context.WithCancel(context.Background()) // as a program has one
		defer cancel()
		return each(seq.MapConcurrent(ctx, in, n, func(_ context.Context, v int) (U, error) { return fn(v) }, opts...), out)
	}
}

func mapUnordered[U any](opts ...seq.Option) func(int, source, func(int) (U, error), func(U)) error {
	return func(n int, in source, fn func(int) (U, error), out func(U)) error {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		return each(seq.MapUnordered(ctx, in, n, func(_ context.Context, v int) (U, error) { return fn(v) }, opts...), out)
	}
}

// each calls out for what in yields, up to an error.
func each[U any](in iter.Seq2[U, error], out func(U)) error {
	for v, err := range in {
		if err != nil {
			return err
		}
		out(v)
	}
	return nil
}

// --- modules -----------------------------------------------------------------------

func rillOrderedMap[U any](n int, in source, fn func(int) (U, error), out func(U)) error {
	return each(rill.ToSeq2(rill.OrderedMap(rill.FromSeq2(in), n, fn)), out)
}

func rillMap[U any](n int, in source, fn func(int) (U, error), out func(U)) error {
	return each(rill.ToSeq2(rill.Map(rill.FromSeq2(in), n, fn)), out)
}

func concStream[U any](n int, in source, fn func(int) (U, error), out func(U)) error {
	s := stream.New().WithMaxGoroutines(n)
	var failed error // callbacks run one after the other
	var stop atomic.Bool
	fail := func(err error) {
		if failed == nil {
			failed = err
		}
		stop.Store(true)
	}
	for v, err := range in {
		if err != nil {
			s.Go(func() stream.Callback { return func() { fail(err) } })
			break
		}
		if stop.Load() {
			break
		}
		s.Go(func() stream.Callback {
			u, err := fn(v)
			return func() {
				if err != nil {
					fail(err)
				}
				if failed == nil {
					out(u)
				}
			}
		})
	}
	s.Wait()
	return failed
}

// concSlice needs all items before it begins, and has all results before it gives one.
func concSlice[U any](n int, in source, fn func(int) (U, error), out func(U)) error {
	items, err := seq.Collect(in)
	if err != nil {
		return err
	}
	results, err := conc.Mapper[int, U]{MaxGoroutines: n}.MapErr(items, func(v *int) (U, error) { return fn(*v) })
	if err != nil {
		return err
	}
	for _, u := range results {
		out(u)
	}
	return nil
}

// errgroupSlice does, too.
func errgroupSlice[U any](n int, in source, fn func(int) (U, error), out func(U)) error {
	items, err := seq.Collect(in)
	if err != nil {
		return err
	}
	results := make([]U, len(items))
	group, ctx := errgroup.WithContext(context.Background())
	group.SetLimit(n)
	for i, v := range items {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() (err error) {
			results[i], err = fn(v)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, u := range results {
		out(u)
	}
	return nil
}

// --- by hand -----------------------------------------------------------------------

type outcomeOf[U any] struct {
	value U
	err   error
}

// futures starts a goroutine with a channel for each item, and keeps the channels
// in order in another.
func futures[U any](n int, in source, fn func(int) (U, error), out func(U)) error {
	queue := make(chan chan outcomeOf[U], n-1) // and one in the consumer's hand
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		defer close(queue)
		for v, err := range in {
			future := make(chan outcomeOf[U], 1)
			select {
			case queue <- future:
			case <-stop:
				return
			}
			if err != nil {
				future <- outcomeOf[U]{err: err}
				return
			}
			go func() {
				u, err := fn(v)
				future <- outcomeOf[U]{u, err}
			}()
		}
	}()
	for future := range queue {
		o := <-future
		if o.err != nil {
			return o.err
		}
		out(o.value)
	}
	return nil
}

type numbered[T any] struct {
	index int
	outcomeOf[T]
}

// pool runs n workers between two channels; results come with the index of their item.
func pool[U any](n int, in source, fn func(int) (U, error), stop <-chan struct{}) <-chan numbered[U] {
	jobs, results := make(chan numbered[int], n), make(chan numbered[U], n)
	go func() {
		defer close(jobs)
		index := 0
		for v, err := range in {
			select {
			case jobs <- numbered[int]{index, outcomeOf[int]{v, err}}:
			case <-stop:
				return
			}
			index++
		}
	}()
	var workers sync.WaitGroup
	for range n {
		workers.Go(func() {
			for job := range jobs {
				result := numbered[U]{index: job.index}
				if result.err = job.err; job.err == nil {
					result.value, result.err = fn(job.value)
				}
				select {
				case results <- result:
				case <-stop:
					return
				}
			}
		})
	}
	go func() {
		workers.Wait()
		close(results)
	}()
	return results
}

func poolUnordered[U any](n int, in source, fn func(int) (U, error), out func(U)) error {
	stop := make(chan struct{})
	defer close(stop)
	for r := range pool(n, in, fn, stop) {
		if r.err != nil {
			return r.err
		}
		out(r.value)
	}
	return nil
}

// poolOrdered holds what is ahead of its turn in a map, which nothing bounds.
func poolOrdered[U any](n int, in source, fn func(int) (U, error), out func(U)) error {
	stop := make(chan struct{})
	defer close(stop)
	held := map[int]numbered[U]{}
	next := 0
	for r := range pool(n, in, fn, stop) {
		held[r.index] = r
		for {
			r, ok := held[next]
			if !ok {
				break
			}
			delete(held, next)
			next++
			if r.err != nil {
				return r.err
			}
			out(r.value)
		}
	}
	return nil
}

// --- limits ------------------------------------------------------------------------

func bareLoop[U any](_ int, in source, fn func(int) (U, error), out func(U)) error {
	for v, err := range in {
		if err != nil {
			return err
		}
		u, err := fn(v)
		if err != nil {
			return err
		}
		out(u)
	}
	return nil
}

func sharedSlice[U any](n int, in source, fn func(int) (U, error), out func(U)) error {
	items, err := seq.Collect(in)
	if err != nil {
		return err
	}
	results := make([]U, len(items))
	var next atomic.Int64
	var group errgroup.Group
	for range n {
		group.Go(func() (err error) {
			for i := int(next.Add(1)) - 1; i < len(items) && err == nil; i = int(next.Add(1)) - 1 {
				results[i], err = fn(items[i])
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, u := range results {
		out(u)
	}
	return nil
}
