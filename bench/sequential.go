package main

import (
	"iter"

	functional "github.com/BooleanCat/go-functional/v2/it"
	"github.com/destel/rill"
	loit "github.com/samber/lo/it"

	"example.com/pipeline/seq"
)

// The chain of three synchronous stages that every contestant runs.
func triple(v int) int { return v * 3 }
func odd(v int) bool   { return v&1 == 1 }
func half(v int) int   { return v / 2 }

// naturals is the source for contestants without errors.
func naturals(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

func (b *bench) sequentialPart() ([]*result, error) {
	n := b.items(1_000_000, 1000)
	ok := func(fn func(int) int) func(int) (int, error) { return func(v int) (int, error) { return fn(v), nil } }
	keep := func(v int) (bool, error) { return odd(v), nil }
	withErrors := func(build func() iter.Seq2[int, error]) func() (outcome, error) {
		return func() (o outcome, err error) {
			err = each(build(), o.sum.inOrder)
			return o, err
		}
	}
	without := func(build func() iter.Seq[int]) func() (outcome, error) {
		return func() (o outcome, err error) {
			for v := range build() {
				o.sum.inOrder(v)
			}
			return o, nil
		}
	}
	r := race{name: "Map, Filter, Map", items: n, contestants: []contestant{
		{"seq.Map, Filter, Map", moduleOurs, ours, withErrors(func() iter.Seq2[int, error] {
			return seq.Map(seq.Filter(seq.Map(numbers(n), ok(triple)), odd), ok(half))
		})},
		{"closures of iter.Seq2 by hand", "", peer, withErrors(func() iter.Seq2[int, error] { return closures(numbers(n)) })},
		{"lo/it (no errors)", "github.com/samber/lo", peer, without(func() iter.Seq[int] {
			return loit.Map(loit.Filter(loit.Map(naturals(n), triple), odd), half)
		})},
		{"go-functional (no errors)", "github.com/BooleanCat/go-functional/v2", peer, without(func() iter.Seq[int] {
			return functional.Map(functional.Filter(functional.Map(naturals(n), triple), odd), half)
		})},
		{"rill, 1 worker a stage", moduleRill, peer, withErrors(func() iter.Seq2[int, error] {
			return rill.ToSeq2(rill.OrderedMap(rill.OrderedFilter(rill.OrderedMap(rill.FromSeq2(numbers(n)), 1, ok(triple)), 1, keep), 1, ok(half)))
		})},
		{"limit: a plain loop", "", limit, func() (o outcome, err error) {
			for i := range n {
				if v := triple(i); odd(v) {
					o.sum.inOrder(half(v))
				}
			}
			return o, nil
		}},
	}}
	result, err := b.run(table{
		id:    "sequential",
		title: "Synchronous stages: Map, Filter, Map",
		about: "Time an item takes through three stages that run in the goroutine of the loop. lo/it and go-functional have no errors to carry and check; the plain loop and the closures are what one writes without a library.",
		races: []race{r},
	})
	return list(result, err)
}

// list is what a part with a single table returns.
func list(r *result, err error) ([]*result, error) {
	if err != nil {
		return nil, err
	}
	return []*result{r}, nil
}

// closures is the chain as one writes it for once, with errors.
func closures(in source) source {
	mapped := func(in source, fn func(int) int) source {
		return func(yield func(int, error) bool) {
			for v, err := range in {
				if err != nil {
					if !yield(0, err) {
						return
					}
					continue
				}
				if !yield(fn(v), nil) {
					return
				}
			}
		}
	}
	filtered := func(in source, keep func(int) bool) source {
		return func(yield func(int, error) bool) {
			for v, err := range in {
				if err == nil && !keep(v) {
					continue
				}
				if !yield(v, err) {
					return
				}
			}
		}
	}
	return mapped(filtered(mapped(in, triple), odd), half)
}
