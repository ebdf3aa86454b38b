package seq_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"example.com/pipeline/seq"
)

// The pipeline
//
//	generator | fork(10) | task1 | task2 | branch | error:retry success:print
//
// as code. Nothing runs before Drain, and nothing is left running after it.
func Example_pipeline() {
	type stream = iter.Seq2[int, error]
	ctx := context.Background()

	flaky := func(n int) (int, error) {
		if n == 9 {
			return 0, errors.New("try again")
		}
		return n, nil
	}

	generator := seq.Of(1, 2, 3, 4)
	task1 := func(in stream) stream { return seq.Map(in, func(n int) (int, error) { return n * n, nil }) }
	task2 := func(in stream) stream { return seq.Map(in, flaky) }
	print := func(in stream) stream { return seq.Tap(in, func(n int, err error) { fmt.Println(n, err) }) }
	retry := func(in stream) stream {
		return seq.Catch(in, func(err error) (int, error) {
			n, _ := seq.FailedItem[int](err)
			fmt.Println("retry", n)
			return n, nil // the second try succeeds
		})
	}
	const success, failure = 0, 1
	outcome := func(_ int, err error) int {
		if err != nil {
			return failure
		}
		return success
	}

	forked := seq.Fork(ctx, generator, 10, func(int) seq.Stage[int, int] { return seq.Then(task1, task2) })
	branches := []seq.Stage[int, int]{success: print, failure: seq.Then(retry, print)}
	routed := seq.Branch(ctx, forked, outcome, branches...)
	fmt.Println(seq.Drain(routed))
	// Unordered output:
	// 1 <nil>
	// 4 <nil>
	// retry 9
	// 9 <nil>
	// 16 <nil>
	// <nil>
}

func ExampleBranch() {
	const log, page = 0, 1
	severity := func(line string, err error) int {
		if err != nil || strings.HasPrefix(line, "ERROR") {
			return page
		}
		return log
	}
	say := func(verb string) seq.Stage[string, string] {
		return func(in iter.Seq2[string, error]) iter.Seq2[string, error] {
			return seq.Map(in, func(line string) (string, error) { return verb + ": " + line, nil })
		}
	}
	lines := seq.Of("INFO started", "ERROR disk full", "INFO stopped")
	branches := []seq.Stage[string, string]{log: say("log"), page: say("page")}
	routed := seq.Branch(context.Background(), lines, severity, branches...)
	for line, err := range routed {
		fmt.Println(line, err)
	}
	// Unordered output:
	// log: INFO started <nil>
	// page: ERROR disk full <nil>
	// log: INFO stopped <nil>
}

func ExampleBroadcast() {
	sum := func(in iter.Seq2[int, error]) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			total, err := seq.Reduce(in, 0, func(a, n int) (int, error) { return a + n, nil })
			yield(fmt.Sprint("sum ", total), err)
		}
	}
	count := func(in iter.Seq2[int, error]) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			n, err := seq.Count(in)
			yield(fmt.Sprint("count ", n), err)
		}
	}
	for line, err := range seq.Broadcast(context.Background(), seq.Of(10, 20, 30), sum, count) {
		fmt.Println(line, err)
	}
	// Unordered output:
	// sum 60 <nil>
	// count 3 <nil>
}

// Each lane is a pipeline of its own; an item goes to one that is free.
func ExampleFork() {
	lane := func(int) seq.Stage[string, int] {
		return func(in iter.Seq2[string, error]) iter.Seq2[int, error] {
			words := seq.FlatMap(in, func(line string) iter.Seq2[string, error] { return seq.Of(strings.Fields(line)...) })
			return seq.Map(words, func(word string) (int, error) { return len(word), nil })
		}
	}
	for n, err := range seq.Fork(context.Background(), seq.Of("a bb", "ccc", "dddd eeeee"), 3, lane) {
		fmt.Println(n, err)
	}
	// Unordered output:
	// 1 <nil>
	// 2 <nil>
	// 3 <nil>
	// 4 <nil>
	// 5 <nil>
}
