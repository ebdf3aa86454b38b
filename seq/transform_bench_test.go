package seq_test

import (
	"iter"
	"testing"

	"example.com/pipeline/seq"
)

// BenchmarkChain compares Map, Filter, Map over a million items with the same work
// in a plain loop and in two kinds of closures nested by hand: with range loops,
// and with direct calls, which check nothing. The three functions are called
// through variables everywhere, as a stage calls its callback.
func BenchmarkChain(b *testing.B) {
	const n = 1_000_000
	inc := func(v int) (int, error) { return v + 1, nil }
	odd := func(v int) bool { return v&1 == 1 }
	double := func(v int) (int, error) { return 2 * v, nil }
	source := func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
	}
	run := func(name string, chain iter.Seq2[int, error]) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sum := 0
				for v, err := range chain {
					if err != nil {
						b.Fatal(err)
					}
					sum += v
				}
				if sum != n/2*(n/2+1)/2*4-n {
					b.Fatal(sum)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/item")
		})
	}
	run("loop", func(yield func(int, error) bool) {
		for i := range n {
			v, err := inc(i)
			if err != nil || !odd(v) {
				continue
			}
			if v, err = double(v); err != nil || !yield(v, nil) {
				return
			}
		}
	})
	run("nested/range", mapByRange(filterByRange(mapByRange(source, inc), odd), double))
	run("nested/calls", mapByCalls(filterByCalls(mapByCalls(source, inc), odd), double))
	run("stages", seq.Map(seq.Filter(seq.Map(source, inc), odd), double))
}

func mapByRange(in iter.Seq2[int, error], fn func(int) (int, error)) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for v, err := range in {
			if err == nil {
				v, err = fn(v)
			}
			if !yield(v, err) {
				return
			}
		}
	}
}

func filterByRange(in iter.Seq2[int, error], keep func(int) bool) iter.Seq2[int, error] {
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

func mapByCalls(in iter.Seq2[int, error], fn func(int) (int, error)) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		in(func(v int, err error) bool {
			if err == nil {
				v, err = fn(v)
			}
			return yield(v, err)
		})
	}
}

func filterByCalls(in iter.Seq2[int, error], keep func(int) bool) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		in(func(v int, err error) bool {
			if err == nil && !keep(v) {
				return true
			}
			return yield(v, err)
		})
	}
}
