package seq_test

import (
	"context"
	"iter"
	"math"
	"testing"
	"testing/synctest"

	"example.com/pipeline/seq"
)

func TestConcurrentMisuse(t *testing.T) {
	var none ints
	var noCtx context.Context
	var noStage seq.Stage[int, int]
	ctx, in := t.Context(), seq.Of(1)
	zero := func(int, error) int { return 0 }
	id := func(v int) int { return v }
	lane := func(int) seq.Stage[int, int] { return identity }
	nothing := func(context.Context, int) error { return nil }
	sub := func(context.Context, int) ints { return in }
	for _, c := range []struct {
		want  string
		build func()
	}{
		{"seq.Window: n must be at least 1, got 0", func() { seq.Window(0) }},
		{"seq.MapConcurrent: ctx must not be nil", func() { seq.MapConcurrent(noCtx, in, 1, same) }},
		{"seq.MapConcurrent: the stream must not be nil", func() { seq.MapConcurrent(ctx, none, 1, same) }},
		{"seq.MapConcurrent: n must be at least 1, got 0", func() { seq.MapConcurrent(ctx, in, 0, same) }},
		{"seq.MapConcurrent: fn must not be nil", func() { seq.MapConcurrent[int, int](ctx, in, 1, nil) }},
		{"seq.MapUnordered: ctx must not be nil", func() { seq.MapUnordered(noCtx, in, 1, same) }},
		{"seq.MapUnordered: the stream must not be nil", func() { seq.MapUnordered(ctx, none, 1, same) }},
		{"seq.MapUnordered: n must be at least 1, got -1", func() { seq.MapUnordered(ctx, in, -1, same) }},
		{"seq.MapUnordered: fn must not be nil", func() { seq.MapUnordered[int, int](ctx, in, 1, nil) }},
		{"seq.ForEachConcurrent: ctx must not be nil", func() { seq.ForEachConcurrent(noCtx, in, 1, nothing) }},
		{"seq.ForEachConcurrent: the stream must not be nil", func() { seq.ForEachConcurrent(ctx, none, 1, nothing) }},
		{"seq.ForEachConcurrent: n must be at least 1, got 0", func() { seq.ForEachConcurrent(ctx, in, 0, nothing) }},
		{"seq.ForEachConcurrent: fn must not be nil", func() { seq.ForEachConcurrent(ctx, in, 1, nil) }},
		{"seq.MapKeyed: ctx must not be nil", func() { seq.MapKeyed(noCtx, in, 1, id, same) }},
		{"seq.MapKeyed: the stream must not be nil", func() { seq.MapKeyed(ctx, none, 1, id, same) }},
		{"seq.MapKeyed: n must be at least 1, got 0", func() { seq.MapKeyed(ctx, in, 0, id, same) }},
		{"seq.MapKeyed: key must not be nil", func() { seq.MapKeyed[int, int, int](ctx, in, 1, nil, same) }},
		{"seq.MapKeyed: fn must not be nil", func() { seq.MapKeyed[int, int](ctx, in, 1, id, nil) }},
		{"seq.FlatMapConcurrent: ctx must not be nil", func() { seq.FlatMapConcurrent(noCtx, in, 1, sub) }},
		{"seq.FlatMapConcurrent: the stream must not be nil", func() { seq.FlatMapConcurrent(ctx, none, 1, sub) }},
		{"seq.FlatMapConcurrent: n must be at least 1, got 0", func() { seq.FlatMapConcurrent(ctx, in, 0, sub) }},
		{"seq.FlatMapConcurrent: fn must not be nil", func() { seq.FlatMapConcurrent[int, int](ctx, in, 1, nil) }},
		{"seq.FlatMapUnordered: ctx must not be nil", func() { seq.FlatMapUnordered(noCtx, in, 1, sub) }},
		{"seq.FlatMapUnordered: the stream must not be nil", func() { seq.FlatMapUnordered(ctx, none, 1, sub) }},
		{"seq.FlatMapUnordered: n must be at least 1, got 0", func() { seq.FlatMapUnordered(ctx, in, 0, sub) }},
		{"seq.FlatMapUnordered: fn must not be nil", func() { seq.FlatMapUnordered[int, int](ctx, in, 1, nil) }},
		{"seq.Buffer: ctx must not be nil", func() { seq.Buffer(noCtx, in, 1) }},
		{"seq.Buffer: the stream must not be nil", func() { seq.Buffer(ctx, none, 1) }},
		{"seq.Buffer: n must be at least 1, got 0", func() { seq.Buffer(ctx, in, 0) }},
		{"seq.Merge: ctx must not be nil", func() { seq.Merge(noCtx, in) }},
		{"seq.Merge: stream 1 must not be nil", func() { seq.Merge(ctx, in, none) }},
		{"seq.Scope: ctx must not be nil", func() { seq.Scope(noCtx, func(context.Context) ints { return in }) }},
		{"seq.Scope: build must not be nil", func() { seq.Scope[int](ctx, nil) }},
		{"seq.Scope: the stream must not be nil", func() { seq.Drain(seq.Scope(ctx, func(context.Context) ints { return nil })) }},
		{"seq.Pull: the stream must not be nil", func() { seq.Pull(none, 0) }},
		{"seq.Pull: ahead must be at least 0, got -1", func() { seq.Pull(in, -1) }},

		{"seq.Branch: ctx must not be nil", func() { seq.Branch(noCtx, in, zero, identity) }},
		{"seq.Branch: the stream must not be nil", func() { seq.Branch(ctx, none, zero, identity) }},
		{"seq.Branch: route must not be nil", func() { seq.Branch(ctx, in, nil, identity) }},
		{"seq.Branch: there must be at least one branch", func() { seq.Branch[int, int](ctx, in, zero) }},
		{"seq.Branch: the stage of branch 1 must not be nil", func() { seq.Branch(ctx, in, zero, identity, noStage) }},
		{"seq.Broadcast: ctx must not be nil", func() { seq.Broadcast(noCtx, in, identity) }},
		{"seq.Broadcast: the stream must not be nil", func() { seq.Broadcast(ctx, none, identity) }},
		{"seq.Broadcast: there must be at least one branch", func() { seq.Broadcast[int, int](ctx, in) }},
		{"seq.Broadcast: the stage of branch 0 must not be nil", func() { seq.Broadcast(ctx, in, noStage) }},
		{"seq.Fork: ctx must not be nil", func() { seq.Fork(noCtx, in, 1, lane) }},
		{"seq.Fork: the stream must not be nil", func() { seq.Fork(ctx, none, 1, lane) }},
		{"seq.Fork: n must be at least 1, got 0", func() { seq.Fork(ctx, in, 0, lane) }},
		{"seq.Fork: n must be at most 1048576, got 1048577", func() { seq.Fork(ctx, in, 1<<20+1, lane) }},
		{"seq.Fork: n must be at most 1048576, got 9223372036854775807", func() { seq.Fork(ctx, in, math.MaxInt, lane) }},
		{"seq.Fork: lane must not be nil", func() { seq.Fork[int, int](ctx, in, 1, nil) }},
		{"seq.Fork: the stage of branch 1 must not be nil", func() {
			seq.Fork(ctx, in, 2, func(i int) seq.Stage[int, int] { return []seq.Stage[int, int]{identity, nil}[i] })
		}},
	} {
		if got := panicOf(c.build); got != c.want {
			t.Errorf("got %v, want %v", got, c.want)
		}
	}
}

// A stream that was built keeps its inputs, whatever becomes of the slice they came in.
func TestInputsAreCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ins := []iter.Seq2[int, error]{seq.Of(1)}
		merged := seq.Merge(t.Context(), ins...)
		ins[0] = nil
		wantPairs(t, merged, "1")
		stages := []seq.Stage[int, int]{identity}
		branched := seq.Branch(t.Context(), seq.Of(1), func(int, error) int { return 0 }, stages...)
		sent := seq.Broadcast(t.Context(), seq.Of(1), stages...)
		stages[0] = nil
		wantPairs(t, branched, "1")
		wantPairs(t, sent, "1")
	})
}
