package seq_test

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"testing"

	"example.com/pipeline/seq"
	"example.com/pipeline/seq/seqtest"
)

type (
	ints  = iter.Seq2[int, error]
	probe = *seqtest.Probe[int]
	spec  = seqtest.Contract[int, int]
)

// synced describes a stage without a context.
func synced(c spec, build func(in ints, p probe) ints) spec {
	c.NoContext = true
	c.Stage = func(_ context.Context, in ints, p probe) ints { return build(in, p) }
	return c
}

// pooled describes a stage with a context.
func pooled(c spec, build func(ctx context.Context, in ints, p probe) ints) spec {
	c.Stage = build
	return c
}

// each says that every item comes out as what fn makes of it.
func each(fn func(x int) []int) func([]int, seqtest.Then) []int {
	return func(items []int, _ seqtest.Then) []int {
		var out []int
		for _, x := range items {
			out = append(out, fn(x)...)
		}
		return out
	}
}

func even(x int) bool { return x%2 == 0 }

func double(p probe) func(context.Context, int) (int, error) {
	return func(ctx context.Context, x int) (int, error) { return 2 * x, p.TryContext(ctx, x) }
}

// doubles is a concurrent stage for the lanes of a fan.
func doubles(ctx context.Context, p probe) seq.Stage[int, int] {
	return func(in ints) ints { return seq.MapConcurrent(ctx, in, 2, double(p)) }
}

var (
	wantDouble = each(func(x int) []int { return []int{2 * x} })
	wantEven   = each(func(x int) []int {
		if even(x) {
			return []int{x}
		}
		return nil
	})
	wantTwice = each(func(x int) []int { return []int{x, -x} })
)

// atEnd says that the items come out, and what more after the end of the source.
func atEnd(more ...int) func([]int, seqtest.Then) []int {
	return func(items []int, then seqtest.Then) []int {
		if then == seqtest.Ends {
			return append(slices.Clone(items), more...)
		}
		return items
	}
}

// contracts has a line for every stage of the package: what it promises beyond
// the contract of streams.
var contracts = map[string]spec{
	"Map": synced(spec{Want: wantDouble}, func(in ints, p probe) ints {
		return seq.Map(in, func(x int) (int, error) { return 2 * x, p.Try(x) })
	}),
	"Filter": synced(spec{Want: wantEven}, func(in ints, p probe) ints {
		return seq.Filter(in, func(x int) bool { p.Call(x); return even(x) })
	}),
	"FlatMap": synced(spec{Want: wantTwice}, func(in ints, p probe) ints {
		return seq.FlatMap(in, func(x int) ints { p.Call(x); return seq.Of(x, -x) })
	}),
	"Flatten": synced(spec{Want: wantTwice}, func(in ints, p probe) ints {
		return seq.Flatten(seq.Map(in, func(x int) ([]int, error) { p.Call(x); return []int{x, -x}, nil }))
	}),
	"Take": synced(spec{Takes: 5}, func(in ints, _ probe) ints { return seq.Take(in, 5) }),
	"Skip": synced(spec{Want: each(func(x int) []int { return []int{x}[min(1, max(0, 4-x)):] })},
		func(in ints, _ probe) ints { return seq.Skip(in, 3) }),
	"TakeWhile": synced(spec{Takes: 6, Want: each(func(x int) []int { return []int{x}[min(1, max(0, x-5)):] })},
		func(in ints, p probe) ints {
			return seq.TakeWhile(in, func(x int) bool { p.Call(x); return x <= 5 })
		}),
	"SkipWhile": synced(spec{Want: each(func(x int) []int { return []int{x}[min(1, max(0, 4-x)):] })},
		func(in ints, p probe) ints {
			return seq.SkipWhile(in, func(x int) bool { p.Call(x); return x <= 3 })
		}),
	"Scan": synced(spec{Want: func(items []int, _ seqtest.Then) []int {
		sum, sums := 0, []int(nil)
		for _, x := range items {
			sum += x
			sums = append(sums, sum)
		}
		return sums
	}}, func(in ints, p probe) ints {
		return seq.Scan(in, 0, func(sum, x int) int { p.Call(x); return sum + x })
	}),
	"Tap": synced(spec{}, func(in ints, p probe) ints {
		return seq.Tap(in, func(x int, err error) {
			if err == nil {
				p.Call(x)
			}
		})
	}),
	"Catch": synced(spec{}, func(in ints, _ probe) ints {
		return seq.Catch(in, func(err error) (int, error) { return 0, err })
	}),
	"Catch after Map": synced(spec{Want: wantDouble}, func(in ints, p probe) ints {
		failing := seq.Map(in, func(x int) (int, error) { return 2 * x, p.Try(x) })
		return seq.Catch(failing, func(err error) (int, error) { return 0, err })
	}),
	"Pipe": synced(spec{Want: each(func(x int) []int { return []int{x}[:1-x%2] }), Takes: 0}, func(in ints, p probe) ints {
		return seq.Pipe(in,
			func(in ints) ints { return seq.Filter(in, even) },
			func(in ints) ints { return seq.Tap(in, func(x int, err error) {}) })
	}),
	"Then": synced(spec{Want: wantTwice}, func(in ints, p probe) ints {
		stage := seq.Then(
			func(in ints) iter.Seq2[[]int, error] {
				return seq.Map(in, func(x int) ([]int, error) { p.Call(x); return []int{x, -x}, nil })
			}, seq.Flatten[int])
		return stage(in)
	}),
	"Concat": synced(spec{Want: atEnd(101, 102)}, func(in ints, _ probe) ints { return seq.Concat(in, seq.Of(101, 102)) }),
	"Zip": synced(spec{Takes: 7, ReadAhead: 1, Want: each(func(x int) []int { return []int{x}[min(1, max(0, x-6)):] })},
		func(in ints, p probe) ints {
			return seq.Zip(in, seq.Of(1, 2, 3, 4, 5, 6), func(a, b int) (int, error) { p.Call(a); return (a + b) / 2, nil })
		}),
	"MergeSorted": synced(spec{ReadAhead: 1, Want: func(items []int, then seqtest.Then) []int {
		if len(items) == 0 && then != seqtest.Ends {
			return nil
		}
		all := append([]int{-2, -1, 99}, items...)
		slices.Sort(all)
		if then != seqtest.Ends {
			all = all[:len(all)-2] // the next item comes before 99, and this one may have an equal
			all = append(all, items[len(items)-1])
		}
		return all
	}}, func(in ints, _ probe) ints { return seq.MergeSorted(cmp.Compare[int], in, seq.Of(-2, -1, 99)) }),

	"MapConcurrent": pooled(spec{Want: wantDouble, ReadAhead: 6}, func(ctx context.Context, in ints, p probe) ints {
		return seq.MapConcurrent(ctx, in, 3, double(p))
	}),
	"MapConcurrent with 1 worker and a window of 1": pooled(spec{Want: wantDouble, ReadAhead: 1}, func(ctx context.Context, in ints, p probe) ints {
		return seq.MapConcurrent(ctx, in, 1, double(p), seq.Window(1))
	}),
	"MapConcurrent with a large window": pooled(spec{Want: wantDouble, ReadAhead: 1024}, func(ctx context.Context, in ints, p probe) ints {
		return seq.MapConcurrent(ctx, in, 4, double(p), seq.Window(1024))
	}),
	"MapUnordered": pooled(spec{Want: wantDouble, ReadAhead: 6, Unordered: true}, func(ctx context.Context, in ints, p probe) ints {
		return seq.MapUnordered(ctx, in, 3, double(p))
	}),
	"MapKeyed": pooled(spec{Want: wantDouble, ReadAhead: 6}, func(ctx context.Context, in ints, p probe) ints {
		return seq.MapKeyed(ctx, in, 3, func(x int) int { return x }, double(p))
	}),
	"MapKeyed with one key": pooled(spec{Want: wantDouble, ReadAhead: 6}, func(ctx context.Context, in ints, p probe) ints {
		return seq.MapKeyed(ctx, in, 3, func(int) string { return "" }, double(p))
	}),
	"MapKeyed, its key": pooled(spec{ReadAhead: 5}, func(ctx context.Context, in ints, p probe) ints {
		return seq.MapKeyed(ctx, in, 2, func(x int) int { p.Call(x); return x % 2 }, same, seq.Window(5))
	}),
	"FlatMapConcurrent": pooled(spec{Want: wantTwice, ReadAhead: 3}, func(ctx context.Context, in ints, p probe) ints {
		return seq.FlatMapConcurrent(ctx, in, 3, func(ctx context.Context, x int) ints {
			p.CallContext(ctx, x)
			return seq.Of(x, -x)
		})
	}),
	"FlatMapConcurrent, its streams": pooled(spec{Want: wantDouble, ReadAhead: 3}, func(ctx context.Context, in ints, p probe) ints {
		return seq.FlatMapConcurrent(ctx, in, 3, func(ctx context.Context, x int) ints {
			return seq.Map(seq.Of(x), func(x int) (int, error) { return double(p)(ctx, x) })
		})
	}),
	"FlatMapUnordered": pooled(spec{Want: wantTwice, ReadAhead: 3, Unordered: true}, func(ctx context.Context, in ints, p probe) ints {
		return seq.FlatMapUnordered(ctx, in, 3, func(ctx context.Context, x int) ints {
			p.CallContext(ctx, x)
			return seq.Of(x, -x)
		})
	}),
	"Buffer": pooled(spec{ReadAhead: 3}, func(ctx context.Context, in ints, _ probe) ints { return seq.Buffer(ctx, in, 3) }),
	"Buffer of 1": pooled(spec{ReadAhead: 1}, func(ctx context.Context, in ints, _ probe) ints {
		return seq.Buffer(ctx, in, 1)
	}),
	"Scope": pooled(spec{}, func(ctx context.Context, _ ints, p probe) ints {
		return seq.Scope(ctx, func(ctx context.Context) ints { return p.Source(ctx) })
	}),
	"Scope around MapConcurrent": pooled(spec{Want: wantDouble, ReadAhead: 6}, func(ctx context.Context, _ ints, p probe) ints {
		return seq.Scope(ctx, func(ctx context.Context) ints { return seq.MapConcurrent(ctx, p.Source(ctx), 3, double(p)) })
	}),
	"Merge": pooled(spec{ReadAhead: 16, Unordered: true}, func(ctx context.Context, in ints, _ probe) ints {
		return seq.Merge(ctx, seq.Of[int](), in)
	}),
	"Merge of one": pooled(spec{ReadAhead: 16}, func(ctx context.Context, in ints, _ probe) ints {
		return seq.Merge(ctx, in)
	}),
	"Branch": pooled(spec{ReadAhead: 2 * 16, Unordered: true, Want: each(func(x int) []int { return []int{x * (2 - x%2)} })},
		func(ctx context.Context, in ints, p probe) ints {
			lane := func(n int) seq.Stage[int, int] {
				return func(in ints) ints { return seq.Map(in, func(x int) (int, error) { return n * x, p.Try(x) }) }
			}
			return seq.Branch(ctx, in, func(x int, _ error) int { return x % 2 }, lane(2), lane(1))
		}),
	"Broadcast": pooled(spec{ReadAhead: 2 * 16, Unordered: true, ErrorCopies: 2, Want: wantTwice}, func(ctx context.Context, in ints, p probe) ints {
		return seq.Broadcast(ctx, in,
			func(in ints) ints { return in },
			func(in ints) ints { return seq.Map(in, func(x int) (int, error) { p.Call(x); return -x, nil }) })
	}),
	"Fork": pooled(spec{ReadAhead: 3 * 16, Unordered: true, Want: wantDouble}, func(ctx context.Context, in ints, p probe) ints {
		return seq.Fork(ctx, in, 3, func(int) seq.Stage[int, int] {
			return func(in ints) ints { return seq.Map(in, func(x int) (int, error) { return 2 * x, p.Try(x) }) }
		})
	}),
	// The lanes' callbacks get the context of the scope, so that they are told when
	// the loop ends.
	"Fork of concurrent lanes": pooled(spec{ReadAhead: 2 * 16, Unordered: true, Want: wantDouble}, func(ctx context.Context, _ ints, p probe) ints {
		return seq.Scope(ctx, func(ctx context.Context) ints {
			return seq.Fork(ctx, p.Source(ctx), 2, func(int) seq.Stage[int, int] { return doubles(ctx, p) })
		})
	}),
	"Branch of concurrent lanes": pooled(spec{ReadAhead: 2 * 16, Unordered: true, Want: wantDouble}, func(ctx context.Context, _ ints, p probe) ints {
		return seq.Scope(ctx, func(ctx context.Context) ints {
			return seq.Branch(ctx, p.Source(ctx), func(x int, _ error) int { return x % 2 }, doubles(ctx, p), doubles(ctx, p))
		})
	}),
}

// TestContract holds every stage to the contract of streams.
func TestContract(t *testing.T) {
	for name, c := range contracts {
		t.Run(name, func(t *testing.T) { seqtest.Test(t, c) })
	}
}
