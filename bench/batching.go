package main

import (
	"context"
	"iter"
	"time"

	"github.com/destel/rill"
	"github.com/reugn/go-streams/extension"
	"github.com/reugn/go-streams/flow"

	"example.com/pipeline/batch"
)

const (
	batchSize = 100
	batchWait = time.Second // never passes in this work, but each contestant has to watch it
)

func (b *bench) batchPart() ([]*result, error) {
	n := b.items(500_000, 1000)
	batches := func(build func(context.Context, source) iter.Seq2[[]int, error]) func() (outcome, error) {
		return func() (o outcome, err error) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			for items, err := range build(ctx, numbers(n)) {
				if err != nil {
					return o, err
				}
				o.sum.inOrder(len(items))
				for _, v := range items {
					o.sum.inOrder(v)
				}
			}
			return o, nil
		}
	}
	r := race{name: "batches of 100", items: n, contestants: []contestant{
		{"batch.Window", moduleOurs, ours, batches(func(ctx context.Context, in source) iter.Seq2[[]int, error] {
			return batch.Window(ctx, in, batchSize, batchWait)
		})},
		{"rill.Batch", moduleRill, peer, batches(func(_ context.Context, in source) iter.Seq2[[]int, error] {
			return rill.ToSeq2(rill.Batch(rill.FromSeq2(in), batchSize, batchWait))
		})},
		{"go-streams Batch (no errors)", "github.com/reugn/go-streams", peer, batches(goStreamsBatch)},
		{"a select loop by hand", "", peer, batches(selectLoop)},
		{"limit: batch.Size, no timer", moduleOurs, limit, batches(func(_ context.Context, in source) iter.Seq2[[]int, error] {
			return batch.Size(in, batchSize)
		})},
	}}
	return list(b.run(table{
		id:    "batch",
		title: "Batches by size and time",
		about: "Time an item takes to get into a batch of 100, under a source in full flow and a time limit of a second, which does not pass but has to be watched.",
		races: []race{r},
	}))
}

func goStreamsBatch(_ context.Context, in source) iter.Seq2[[]int, error] {
	return func(yield func([]int, error) bool) {
		items := make(chan any)
		var failed error
		go func() {
			defer close(items)
			for v, err := range in {
				if err != nil {
					failed = err
					return
				}
				items <- v
			}
		}()
		for batch := range extension.NewChanSource(items).Via(flow.NewBatch[int](batchSize, batchWait)).Out() {
			if !yield(batch.([]int), nil) {
				return
			}
		}
		if failed != nil {
			yield(nil, failed)
		}
	}
}

// selectLoop is the batching that everybody writes: a goroutine feeds a buffered
// channel, a loop selects between that, a timer and the end of ctx.
func selectLoop(ctx context.Context, in source) iter.Seq2[[]int, error] {
	return func(yield func([]int, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		pairs := make(chan pair, batchSize)
		go func() {
			defer close(pairs)
			for v, err := range in {
				select {
				case pairs <- pair{v, err}:
				case <-ctx.Done():
					return
				}
			}
		}()
		held := make([]int, 0, batchSize)
		timer := time.NewTimer(batchWait)
		defer timer.Stop()
		for {
			select {
			case p, ok := <-pairs:
				if !ok || p.err != nil {
					if len(held) > 0 && !yield(held, nil) {
						return
					}
					if p.err != nil {
						yield(nil, p.err)
					}
					return
				}
				if len(held) == 0 {
					timer.Reset(batchWait)
				}
				if held = append(held, p.value); len(held) < batchSize {
					continue
				}
			case <-timer.C:
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			}
			if len(held) == 0 {
				continue
			}
			if !yield(held, nil) {
				return
			}
			held = make([]int, 0, batchSize)
		}
	}
}
