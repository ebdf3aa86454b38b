package seq_test

import (
	"context"
	"iter"
	"slices"
	"strconv"
	"testing"
	"time"

	"example.com/pipeline/seq"
)

func TestPipeRunsStagesInOrder(t *testing.T) {
	add := func(in iter.Seq2[int, error]) iter.Seq2[int, error] {
		return seq.Map(in, func(v int) (int, error) { return v + 1, nil })
	}
	double := func(in iter.Seq2[int, error]) iter.Seq2[int, error] {
		return seq.Map(in, func(v int) (int, error) { return 2 * v, nil })
	}
	got, err := seq.Collect(seq.Pipe(seq.Of(1, 2), add, double))
	if !slices.Equal(got, []int{4, 6}) || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestThenJoinsTypes(t *testing.T) {
	length := func(in iter.Seq2[string, error]) iter.Seq2[int, error] {
		return seq.Map(in, func(s string) (int, error) { return len(s), nil })
	}
	format := func(in iter.Seq2[int, error]) iter.Seq2[string, error] {
		return seq.Map(in, func(n int) (string, error) { return strconv.Itoa(n), nil })
	}
	got, err := seq.Collect(seq.Then(length, format)(seq.Of("a", "bcd")))
	if !slices.Equal(got, []string{"1", "3"}) || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestMisuse checks that misuse panics when the stage is built, and with what.
func TestMisuse(t *testing.T) {
	type stream = iter.Seq2[int, error]
	var none stream
	var noStage seq.Stage[int, int]
	var noCtx context.Context
	in := seq.Of(1)
	ctx := t.Context()
	for _, c := range []struct {
		want  string
		build func()
	}{
		{"seq.Pipe: the stream must not be nil", func() { seq.Pipe(none) }},
		{"seq.Pipe: stage 1 must not be nil", func() {
			seq.Pipe(in, func(in stream) stream { return in }, nil)
		}},
		{"seq.Then: first must not be nil", func() { seq.Then(noStage, func(in stream) stream { return in }) }},
		{"seq.Then: second must not be nil", func() { seq.Then(func(in stream) stream { return in }, noStage) }},

		{"seq.From: in must not be nil", func() { seq.From[int](nil) }},
		{"seq.FromChan: ctx must not be nil", func() { seq.FromChan(noCtx, make(chan int)) }},
		{"seq.FromChan: ch must not be nil", func() { seq.FromChan[int](ctx, nil) }},
		{"seq.FromFunc: ctx must not be nil", func() {
			seq.FromFunc(noCtx, func(context.Context) (int, error) { return 0, nil })
		}},
		{"seq.FromFunc: next must not be nil", func() { seq.FromFunc[int](ctx, nil) }},
		{"seq.Lines: r must not be nil", func() { seq.Lines(nil) }},
		{"seq.Ticks: ctx must not be nil", func() { seq.Ticks(noCtx, time.Second) }},
		{"seq.Ticks: every must be positive, got 0s", func() { seq.Ticks(ctx, 0) }},
		{"seq.Ticks: every must be positive, got -1s", func() { seq.Ticks(ctx, -time.Second) }},
		{"seq.Fail: err must not be nil", func() { seq.Fail[int](nil) }},

		{"seq.Map: the stream must not be nil", func() { seq.Map(none, mapping(0)) }},
		{"seq.Map: fn must not be nil", func() { seq.Map[int, int](in, nil) }},
		{"seq.Filter: the stream must not be nil", func() { seq.Filter(none, func(int) bool { return true }) }},
		{"seq.Filter: keep must not be nil", func() { seq.Filter(in, nil) }},
		{"seq.FlatMap: the stream must not be nil", func() { seq.FlatMap(none, func(int) stream { return in }) }},
		{"seq.FlatMap: fn must not be nil", func() { seq.FlatMap[int, int](in, nil) }},
		{"seq.Flatten: the stream must not be nil", func() { seq.Flatten[int](nil) }},
		{"seq.Take: the stream must not be nil", func() { seq.Take(none, 1) }},
		{"seq.Take: n must be at least 0, got -1", func() { seq.Take(in, -1) }},
		{"seq.Skip: the stream must not be nil", func() { seq.Skip(none, 1) }},
		{"seq.Skip: n must be at least 0, got -1", func() { seq.Skip(in, -1) }},
		{"seq.TakeWhile: the stream must not be nil", func() { seq.TakeWhile(none, func(int) bool { return true }) }},
		{"seq.TakeWhile: keep must not be nil", func() { seq.TakeWhile(in, nil) }},
		{"seq.SkipWhile: the stream must not be nil", func() { seq.SkipWhile(none, even) }},
		{"seq.SkipWhile: skip must not be nil", func() { seq.SkipWhile(in, nil) }},
		{"seq.Scan: the stream must not be nil", func() { seq.Scan(none, 0, func(a, v int) int { return a }) }},
		{"seq.Scan: fn must not be nil", func() { seq.Scan(in, 0, nil) }},
		{"seq.Tap: the stream must not be nil", func() { seq.Tap(none, func(int, error) {}) }},
		{"seq.Tap: see must not be nil", func() { seq.Tap(in, nil) }},
		{"seq.Catch: the stream must not be nil", func() { seq.Catch(none, handling(0)) }},
		{"seq.Catch: handle must not be nil", func() { seq.Catch(in, nil) }},

		{"seq.Concat: stream 1 must not be nil", func() { seq.Concat(in, none) }},
		{"seq.MergeSorted: compare must not be nil", func() { seq.MergeSorted(nil, in) }},
		{"seq.MergeSorted: stream 0 must not be nil", func() { seq.MergeSorted(compareOctets, none, in) }},
		{"seq.Zip: the stream must not be nil", func() { seq.Zip(none, in, joining(0)) }},
		{"seq.Zip: the stream must not be nil", func() { seq.Zip(in, none, joining(0)) }},
		{"seq.Zip: join must not be nil", func() { seq.Zip[int, int, int](in, in, nil) }},

		{"seq.Collect: the stream must not be nil", func() { seq.Collect(none) }},
		{"seq.CollectAll: the stream must not be nil", func() { seq.CollectAll(none) }},
		{"seq.ForEach: the stream must not be nil", func() { seq.ForEach(none, func(int) error { return nil }) }},
		{"seq.ForEach: fn must not be nil", func() { seq.ForEach(in, nil) }},
		{"seq.Reduce: the stream must not be nil", func() { seq.Reduce(none, 0, joining(0)) }},
		{"seq.Reduce: fn must not be nil", func() { seq.Reduce[int, int](in, 0, nil) }},
		{"seq.First: the stream must not be nil", func() { seq.First(none) }},
		{"seq.Count: the stream must not be nil", func() { seq.Count(none) }},
		{"seq.Drain: the stream must not be nil", func() { seq.Drain(none) }},

		{"seq.Go: ctx must not be nil", func() { seq.Go(nil, func() {}) }},
		{"seq.Go: fn must not be nil", func() { seq.Go(t.Context(), nil) }},
	} {
		if got := panicOf(c.build); got != c.want {
			t.Errorf("got %v, want %v", got, c.want)
		}
	}
}
