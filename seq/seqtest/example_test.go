package seqtest_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"

	"example.com/pipeline/seq/seqtest"
)

// Even is a stage of a user: it passes the even numbers.
func Even(in iter.Seq2[int, error]) iter.Seq2[int, error] {
	if in == nil {
		panic("Even: the stream must not be nil")
	}
	return func(yield func(int, error) bool) {
		for x, err := range in {
			if (err != nil || x%2 == 0) && !yield(x, err) {
				return
			}
		}
	}
}

// HastyEven does the same, and forgets that errors are part of the stream.
func HastyEven(in iter.Seq2[int, error]) iter.Seq2[int, error] {
	if in == nil {
		panic("HastyEven: the stream must not be nil")
	}
	return func(yield func(int, error) bool) {
		for x, err := range in {
			if err != nil {
				continue
			}
			if x%2 == 0 && !yield(x, nil) {
				return
			}
		}
	}
}

// evenContract is what both promise.
func evenContract(stage func(iter.Seq2[int, error]) iter.Seq2[int, error]) seqtest.Contract[int, int] {
	return seqtest.Contract[int, int]{
		Stage: func(_ context.Context, in iter.Seq2[int, error], _ *seqtest.Probe[int]) iter.Seq2[int, error] {
			return stage(in)
		},
		Want: func(items []int, _ seqtest.Then) []int {
			return slices.DeleteFunc(slices.Clone(items), func(x int) bool { return x%2 != 0 })
		},
		NoContext: true,
	}
}

// A test of a stage is one call.
func ExampleTest() {
	TestEven := func(t *testing.T) {
		seqtest.Test(t, evenContract(Even))
	}

	t := new(testing.T) // go test makes it
	TestEven(t)
	fmt.Println("failed:", t.Failed())
	// Output: failed: false
}

// Each broken rule is one sentence.
func ExampleCheck() {
	t := new(testing.T) // go test makes it
	fmt.Println(seqtest.Check(t, evenContract(HastyEven)))
	// Output:
	// seqtest: rule 2 (errors in position): over a source with an item error before each item, the item error "item 1: planned item error 1" (*seq.ItemError) was swallowed
}
