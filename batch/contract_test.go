package batch_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"example.com/pipeline/batch"
	"example.com/pipeline/seq"
	"example.com/pipeline/seq/seqtest"
)

type (
	ints    = iter.Seq2[int, error]
	batches = iter.Seq2[[]int, error]
	probe   = *seqtest.Probe[int]
)

// chunks is the model of batches of n that no clock cuts: the last one comes when
// the source has ended.
func chunks(n int) func([]int, seqtest.Then) [][]int {
	return func(items []int, then seqtest.Then) [][]int {
		out := slices.Collect(slices.Chunk(items, n))
		if then == seqtest.Idles && len(items)%n != 0 {
			out = out[:len(out)-1]
		}
		return out
	}
}

// complete drops the groups that the source left incomplete.
func complete[T any](in iter.Seq2[T, error]) iter.Seq2[T, error] {
	return seq.Catch(in, func(err error) (none T, _ error) {
		if errors.Is(err, batch.ErrIncomplete) {
			err = seq.ErrSkip
		}
		return none, err
	})
}

// pairsOf is the model of groups of two, of which an odd last item is none.
func pairsOf(items []int, _ seqtest.Then) [][]int {
	return slices.Collect(slices.Chunk(items[:len(items)&^1], 2))
}

// TestBatchesKeepTheContract holds the stages that make slices to the contract of
// streams. Unordered is for the item errors: they overtake the items that are
// being collected.
func TestBatchesKeepTheContract(t *testing.T) {
	type contract = seqtest.Contract[int, []int]
	for name, c := range map[string]contract{
		"Size": {
			Stage: func(_ context.Context, in ints, _ probe) batches { return batch.Size(in, 2) },
			Want:  chunks(2), ReadAhead: 1, NoContext: true, Unordered: true,
		},
		"Size of 1": {
			Stage: func(_ context.Context, in ints, _ probe) batches { return batch.Size(in, 1) },
			Want:  chunks(1), NoContext: true,
		},
		"Window": {
			Stage: func(ctx context.Context, in ints, _ probe) batches { return batch.Window(ctx, in, 2, time.Hour) },
			Want:  chunks(2), ReadAhead: 2, Unordered: true, Flushes: true,
		},
		"Window of 1": {
			Stage: func(ctx context.Context, in ints, _ probe) batches { return batch.Window(ctx, in, 1, time.Hour) },
			Want:  chunks(1), ReadAhead: 1, Unordered: true, Flushes: true,
		},
		"Debounce": {
			Stage: func(ctx context.Context, in ints, _ probe) batches { return batch.Debounce(ctx, in, 2, time.Hour) },
			Want:  chunks(2), ReadAhead: 2, Unordered: true, Flushes: true,
		},
		"Batches": {
			Stage: func(ctx context.Context, in ints, _ probe) batches {
				return batch.Batches(ctx, in, batch.Limits[int]{Items: 2})
			},
			Want: chunks(2), ReadAhead: 2, Unordered: true, Flushes: true,
		},
		"Batches, weigh": {
			Stage: func(ctx context.Context, in ints, p probe) batches {
				return batch.Batches(ctx, in, batch.Limits[int]{Weigh: func(x int) int { p.Call(x); return 5 }, Weight: 10})
			},
			Want: chunks(2), ReadAhead: 2, Unordered: true, Flushes: true,
		},
		"Batches, too heavy": { // an item closes the batch before it
			Stage: func(ctx context.Context, in ints, p probe) batches {
				return batch.Batches(ctx, in, batch.Limits[int]{Weigh: func(x int) int { return 4 }, Weight: 7, Last: func(x int) bool { p.Call(x); return false }})
			},
			Want: func(items []int, then seqtest.Then) [][]int {
				out := slices.Collect(slices.Chunk(items, 1))
				if then == seqtest.Idles {
					out = out[:max(0, len(out)-1)]
				}
				return out
			},
			ReadAhead: 2, Unordered: true, Flushes: true,
		},
		"Batches, last": {
			Stage: func(ctx context.Context, in ints, p probe) batches {
				return batch.Batches(ctx, in, batch.Limits[int]{Last: func(x int) bool { p.Call(x); return x%2 == 0 }, Quiet: time.Hour, Wait: time.Hour})
			},
			Want: chunks(2), ReadAhead: 2, Unordered: true, Flushes: true,
		},
		"Gather": {
			Stage: func(ctx context.Context, in ints, p probe) batches {
				return complete(batch.Gather(ctx, in, batch.JoinConfig{}, func(x int) int { p.Call(x); return (x - 1) / 2 },
					func(group []int) bool { return len(group) == 2 }))
			},
			Want: pairsOf, ReadAhead: 17, Unordered: true,
		},
		"Gather, complete": {
			Stage: func(ctx context.Context, in ints, p probe) batches {
				return batch.Gather(ctx, in, batch.JoinConfig{}, func(x int) int { return x },
					func(group []int) bool { p.Call(group[0]); return true })
			},
			Want: chunks(1), ReadAhead: 16,
		},
		"Uniq": {
			Stage: func(ctx context.Context, in ints, p probe) batches {
				twice := seq.Map(in, func(x int) ([]int, error) { return []int{x, x}, nil })
				return seq.Map(twice, batch.Uniq(func(x int) int { p.Call(x); return x }))
			},
			Want: chunks(1), NoContext: true,
		},
	} {
		t.Run(name, func(t *testing.T) { seqtest.Test(t, c) })
	}
}

// TestStagesKeepTheContract holds the stages that yield items to it.
func TestStagesKeepTheContract(t *testing.T) {
	type contract = seqtest.Contract[int, int]
	self := func(x int) int { return x }
	echo := func(_ context.Context, keys []int) (map[int]int, error) {
		found := make(map[int]int)
		for _, k := range keys {
			found[k] = k
		}
		return found, nil
	}
	first := func(x, _ int) (int, error) { return x, nil }
	noWait := map[seqtest.Rule]string{seqtest.Errors: "an error of one stream does not wait for the items of the other"}
	for name, c := range map[string]contract{
		"Dedup": {
			Stage: func(_ context.Context, in ints, p probe) ints {
				return batch.Dedup(in, func(x int) int { p.Call(x); return x / 2 }, batch.DedupConfig{})
			},
			Want: func(items []int, _ seqtest.Then) []int {
				return slices.DeleteFunc(slices.Clone(items), func(x int) bool { return x != 1 && x%2 == 1 })
			},
			NoContext: true,
		},
		"Lookup, one by one": {
			Stage: func(ctx context.Context, in ints, p probe) ints {
				return batch.Lookup(ctx, in, 1, time.Hour, self, echo, func(x, _ int) (int, error) { return x, p.Try(x) })
			},
			ReadAhead: 2,
		},
		"Lookup, key": {
			Stage: func(ctx context.Context, in ints, p probe) ints {
				return batch.Lookup(ctx, in, 1, time.Hour, func(x int) int { p.Call(x); return x }, echo, first)
			},
			ReadAhead: 2,
		},
		"Lookup, fetch": {
			Stage: func(ctx context.Context, in ints, p probe) ints {
				return batch.Lookup(ctx, in, 1, time.Hour, self, func(ctx context.Context, keys []int) (map[int]int, error) {
					if err := p.TryContext(ctx, keys[0]); err != nil {
						return nil, err
					}
					return echo(ctx, keys)
				}, first)
			},
			ReadAhead: 2,
		},
		"Lookup in batches that time cuts": {
			Stage: func(ctx context.Context, in ints, _ probe) ints {
				return batch.Lookup(ctx, in, 3, time.Second, self, echo, first)
			},
			ReadAhead: 6, Delay: time.Minute,
		},
		"Join of one": {
			Stage: func(ctx context.Context, in ints, p probe) ints {
				groups := batch.Join(ctx, batch.JoinConfig{}, func(x int) int { p.Call(x); return x }, in)
				return seq.Map(groups, func(g batch.Group[int, int]) (int, error) { return g.Items[0], nil })
			},
			ReadAhead: 16,
		},
		"Join of two": {
			Stage: func(ctx context.Context, in ints, p probe) ints {
				key := func(x int) int {
					if x < 0 { // of the other stream
						return -x
					}
					p.Call(x)
					return x
				}
				groups := batch.Join(ctx, batch.JoinConfig{MaxPending: 8}, key, in, seq.Of(-1, -2, -3, -4, -5, -6, -7, -8))
				return seq.Map(complete(groups), func(g batch.Group[int, int]) (int, error) { return g.Items[0], nil })
			},
			ReadAhead: 4, ErrorsOvertake: true, Except: noWait,
		},
		"Join2": {
			Stage: func(ctx context.Context, in ints, p probe) ints {
				pairs := batch.Join2(ctx, batch.JoinConfig{MaxPending: 1}, seq.Of(1, 2, 3, 4, 5, 6, 7, 8), in, self, func(x int) int { p.Call(x); return x })
				return seq.Map(complete(pairs), func(p batch.Pair[int, int, int]) (int, error) { return p.Right, nil })
			},
			ReadAhead: 1, ErrorsOvertake: true, Except: noWait,
		},
	} {
		t.Run(name, func(t *testing.T) { seqtest.Test(t, c) })
	}
}
