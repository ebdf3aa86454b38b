package batch_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"example.com/pipeline/batch"
	"example.com/pipeline/seq"
	"github.com/google/go-cmp/cmp"
)

// describe lists what comes out, errors included.
func describe[T any](in func(func(T, error) bool)) string {
	var out []string
	for v, err := range in {
		if err != nil {
			out = append(out, err.Error())
		} else {
			out = append(out, fmt.Sprint(v))
		}
	}
	return fmt.Sprint(out)
}

func TestSize(t *testing.T) {
	failing := func(items ...int) ints {
		return seq.Map(seq.Of(items...), func(x int) (int, error) {
			if x < 0 {
				return 0, fmt.Errorf("%d is negative", x)
			}
			return x, nil
		})
	}
	for _, tc := range []struct {
		in   ints
		n    int
		want string
	}{
		{seq.Of[int](), 2, "[]"},
		{seq.Of(1, 2, 3, 4), 2, "[[1 2] [3 4]]"},
		{seq.Of(1, 2, 3), 2, "[[1 2] [3]]"},
		{seq.Of(1, 2), 1 << 40, "[[1 2]]"},
		{failing(1, -1, 2, 3, -2), 2, "[item -1: -1 is negative [1 2] item -2: -2 is negative [3]]"},
		{seq.Concat(seq.Of(1, 2, 3), seq.Fail[int](errFinal)), 2, "[[1 2] [3] final error]"},
		{seq.Fail[int](errFinal), 2, "[final error]"},
	} {
		if d := cmp.Diff(tc.want, describe(batch.Size(tc.in, tc.n))); d != "" {
			t.Errorf("n = %d: -want +got\n%s", tc.n, d)
		}
	}
}

// Batches larger than the room that a first batch gets grow, and belong to the
// consumer.
func TestLargeBatches(t *testing.T) {
	const n, items = 5000, 12_345
	for name, out := range map[string]batches{
		"Size":     batch.Size(numbers(items), n),
		"Window":   batch.Window(context.Background(), numbers(items), n, time.Hour),
		"Debounce": batch.Debounce(context.Background(), numbers(items), n, time.Hour),
	} {
		all, err := seq.Collect(out)
		if err != nil || len(all) != 3 {
			t.Fatalf("%s: %d batches, %v", name, len(all), err)
		}
		next := 0
		for _, b := range all {
			for _, v := range b {
				if v != next {
					t.Fatalf("%s: got %d, want %d", name, v, next)
				}
				next++
			}
		}
		if next != items {
			t.Errorf("%s: %d items, want %d", name, next, items)
		}
	}
}

// A batch of up to 1024 items is one allocation.
func TestOneAllocationABatch(t *testing.T) {
	for _, n := range []int{1, 100, 1024} {
		const count = 300
		for name, build := range map[string]func(ints) batches{
			"Size":     func(in ints) batches { return batch.Size(in, n) },
			"Window":   func(in ints) batches { return batch.Window(context.Background(), in, n, time.Hour) },
			"Debounce": func(in ints) batches { return batch.Debounce(context.Background(), in, n, time.Hour) },
			"Batches by weight": func(in ints) batches {
				return batch.Batches(context.Background(), in, batch.Limits[int]{Weigh: func(int) int { return 1 }, Weight: n})
			},
		} {
			allocs := testing.AllocsPerRun(3, func() {
				seen := 0
				for items := range build(numbers(count * n)) {
					seen += len(items)
				}
				if seen != count*n {
					t.Errorf("%s: %d items", name, seen)
				}
			})
			if allocs > count+50 { // what a loop needs once
				t.Errorf("%s of %d: %v allocations for %d batches", name, n, allocs, count)
			}
		}
	}
}
