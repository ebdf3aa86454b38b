package seq_test

import (
	"context"
	"testing"

	"example.com/pipeline/seq"
)

// What a stage allocates does not depend on how many items there are.
func TestNoAllocationPerItem(t *testing.T) {
	ctx := context.Background()
	pull := func(n int) {
		p := seq.Pull(upTo(n, nil), 4)
		for _, _, ok := p.Next(ctx); ok; _, _, ok = p.Next(ctx) {
		}
	}
	loops := map[string]func(n int){
		"Pull":  pull,
		"Scope": func(n int) { seq.Drain(seq.Scope(ctx, func(context.Context) ints { return upTo(n, nil) })) },
		"ForEachConcurrent": func(n int) {
			seq.ForEachConcurrent(ctx, upTo(n, nil), 3, func(context.Context, int) error { return nil })
		},
		"Merge of three": func(n int) { seq.Drain(seq.Merge(ctx, upTo(n, nil), upTo(n, nil), upTo(n, nil))) },
		"Broadcast to two": func(n int) {
			seq.Drain(seq.Broadcast(ctx, upTo(n, nil), identities(2)...))
		},
		"MapConcurrent that skips": func(n int) {
			seq.Drain(seq.MapConcurrent(ctx, upTo(n, nil), 3, func(context.Context, int) (int, error) { return 0, seq.ErrSkip }))
		},
		"MapKeyed of one key": func(n int) {
			seq.Drain(seq.MapKeyed(ctx, upTo(n, nil), 3, func(int) int { return 0 }, same))
		},
		"MapKeyed of a key an item": func(n int) {
			seq.Drain(seq.MapKeyed(ctx, upTo(n, nil), 3, func(v int) int { return v }, same))
		},
		"FlatMapConcurrent of one large": func(n int) {
			seq.Drain(seq.FlatMapConcurrent(ctx, seq.Of(0), 2, func(context.Context, int) ints { return upTo(n, nil) }))
		},
		"FlatMapUnordered of one large": func(n int) {
			seq.Drain(seq.FlatMapUnordered(ctx, seq.Of(0), 2, func(context.Context, int) ints { return upTo(n, nil) }))
		},
	}
	var one ints = seq.Of(1)
	for _, s := range concurrentStages {
		loops[s.name] = func(n int) { seq.Drain(s.stage(ctx, upTo(n, nil), same)) }
		if flatMap := flatMaps[s.name]; flatMap != nil { // the one above makes a stream for each item itself
			loops[s.name] = func(n int) {
				seq.Drain(flatMap(ctx, upTo(n, nil), 3, func(context.Context, int) ints { return one }))
			}
		}
	}
	const few, many = 200, 2200
	for name, loop := range loops {
		loop(few) // what is allocated once in a process
		a := testing.AllocsPerRun(3, func() { loop(few) })
		b := testing.AllocsPerRun(3, func() { loop(many) })
		// A few goroutines more or less are started from loop to loop.
		if b-a > (many-few)/100 {
			t.Errorf("%s allocates %.0f times for %d items and %.0f times for %d", name, a, few, b, many)
		}
	}
}
