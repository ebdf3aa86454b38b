package main

import (
	"context"
	"iter"
	"sync"

	"example.com/pipeline/seq"
)

// limitsPart shows what passing an item from one goroutine to another costs at all.
func (b *bench) limitsPart() ([]*result, error) {
	n := b.items(100_000, 200)
	sum := func(pass func(context.Context, func(int)) error) func() (outcome, error) {
		return func() (o outcome, err error) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			err = pass(ctx, o.sum.inOrder)
			return o, err
		}
	}
	r := race{name: "an item", items: n, contestants: []contestant{
		{"seq.Buffer of 128", moduleOurs, ours, sum(func(ctx context.Context, out func(int)) error {
			return each(seq.Buffer(ctx, numbers(n), 128), out)
		})},
		{"seq.Pull, 128 ahead", moduleOurs, ours, sum(func(ctx context.Context, out func(int)) error {
			p := seq.Pull(numbers(n), 128)
			defer p.Stop()
			for {
				v, err, ok := p.Next(ctx)
				if !ok || err != nil {
					return err
				}
				out(v)
			}
		})},
		{"channel of 128", "", peer, sum(func(_ context.Context, out func(int)) error { return throughChannel(numbers(n), 128, out) })},
		{"channel of 128, select with ctx", "", peer, sum(func(ctx context.Context, out func(int)) error { return throughSelect(ctx, numbers(n), 128, out) })},
		{"unbuffered channel", "", peer, sum(func(_ context.Context, out func(int)) error { return throughChannel(numbers(n), 0, out) })},
		{"iter.Pull2 (one goroutine at a time)", "", peer, sum(func(_ context.Context, out func(int)) error {
			next, stop := iter.Pull2(numbers(n))
			defer stop()
			for {
				v, err, ok := next()
				if !ok || err != nil {
					return err
				}
				out(v)
			}
		})},
		{"limit: a mutex that nobody else wants", "", limit, sum(func(_ context.Context, out func(int)) error {
			var mu sync.Mutex
			for i := range n {
				mu.Lock()
				out(i)
				mu.Unlock()
			}
			return nil
		})},
		{"limit: a bare loop", "", limit, sum(func(_ context.Context, out func(int)) error { return each(numbers(n), out) })},
	}}
	return list(b.run(table{
		id:    "handoff",
		title: "Handing an item from one goroutine to another",
		about: "What lies below everything else: one goroutine gives, another takes and sums up.",
		races: []race{r},
	}))
}

// pair is an item or an error, for channels.
type pair struct {
	value int
	err   error
}

func throughChannel(in source, size int, out func(int)) error {
	pairs := make(chan pair, size)
	go func() {
		defer close(pairs)
		for v, err := range in {
			pairs <- pair{v, err}
		}
	}()
	for p := range pairs {
		if p.err != nil {
			return p.err
		}
		out(p.value)
	}
	return nil
}

func throughSelect(ctx context.Context, in source, size int, out func(int)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pairs := make(chan pair, size)
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
	for {
		select {
		case p, ok := <-pairs:
			if !ok || p.err != nil {
				return p.err
			}
			out(p.value)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
