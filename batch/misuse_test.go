package batch_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"example.com/pipeline/batch"
	"example.com/pipeline/seq"
)

func TestMisuse(t *testing.T) {
	ctx := context.Background()
	var none context.Context
	in := seq.Of(1)
	id := identity[int]
	fetch := func(context.Context, []int) (map[int]int, error) { return nil, nil }
	merge := func(int, int) (int, error) { return 0, nil }
	for want, misuse := range map[string]func(){
		"batch.Size: the stream must not be nil":                                          func() { batch.Size[int](nil, 1) },
		"batch.Size: n must be at least 1, got 0":                                         func() { batch.Size(in, 0) },
		"batch.Window: ctx must not be nil":                                               func() { batch.Window(none, in, 1, 1) },
		"batch.Window: the stream must not be nil":                                        func() { batch.Window[int](ctx, nil, 1, 1) },
		"batch.Window: n must be at least 1, got -1":                                      func() { batch.Window(ctx, in, -1, 1) },
		"batch.Window: maxWait must be positive, got 0s":                                  func() { batch.Window(ctx, in, 1, 0) },
		"batch.Debounce: ctx must not be nil":                                             func() { batch.Debounce(none, in, 1, 1) },
		"batch.Debounce: the stream must not be nil":                                      func() { batch.Debounce[int](ctx, nil, 1, 1) },
		"batch.Debounce: n must be at least 1, got 0":                                     func() { batch.Debounce(ctx, in, 0, 1) },
		"batch.Debounce: quiet must be positive, got -1s":                                 func() { batch.Debounce(ctx, in, 1, -time.Second) },
		"batch.Batches: ctx must not be nil":                                              func() { batch.Batches(none, in, batch.Limits[int]{Items: 1}) },
		"batch.Batches: the stream must not be nil":                                       func() { batch.Batches(ctx, nil, batch.Limits[int]{Items: 1}) },
		"batch.Batches: one of Items, Weight, Last, Wait and Quiet must be set, got none": func() { batch.Batches(ctx, in, batch.Limits[int]{}) },
		"batch.Batches: Items must be at least 0, got -1":                                 func() { batch.Batches(ctx, in, batch.Limits[int]{Items: -1, Wait: 1}) },
		"batch.Batches: Wait must not be negative, got -1ns":                              func() { batch.Batches(ctx, in, batch.Limits[int]{Items: 1, Wait: -1}) },
		"batch.Batches: Quiet must not be negative, got -1ns":                             func() { batch.Batches(ctx, in, batch.Limits[int]{Items: 1, Quiet: -1}) },
		"batch.Batches: Weight beside Weigh must be at least 1, got 0":                    func() { batch.Batches(ctx, in, batch.Limits[int]{Items: 1, Weigh: id}) },
		"batch.Batches: Weigh must not be nil where Weight is set, to 7":                  func() { batch.Batches(ctx, in, batch.Limits[int]{Items: 1, Weight: 7}) },
		"batch.Uniq: key must not be nil":                                                 func() { batch.Uniq[int, int](nil) },
		"batch.Dedup: the stream must not be nil":                                         func() { batch.Dedup[int, int](nil, id, batch.DedupConfig{}) },
		"batch.Dedup: key must not be nil":                                                func() { batch.Dedup[int, int](in, nil, batch.DedupConfig{}) },
		"batch.Dedup: Capacity must be at least 0, got -1":                                func() { batch.Dedup(in, id, batch.DedupConfig{Capacity: -1}) },
		"batch.Dedup: TTL must not be negative, got -1ns":                                 func() { batch.Dedup(in, id, batch.DedupConfig{TTL: -1}) },
		"batch.NewLoader: ctx must not be nil":                                            func() { batch.NewLoader(none, fetch, batch.LoaderConfig{}) },
		"batch.NewLoader: fetch must not be nil":                                          func() { batch.NewLoader[int, int](ctx, nil, batch.LoaderConfig{}) },
		"batch.NewLoader: MaxBatch must be at least 0, got -1":                            func() { batch.NewLoader(ctx, fetch, batch.LoaderConfig{MaxBatch: -1}) },
		"batch.NewLoader: Wait must not be negative, got -1ns":                            func() { batch.NewLoader(ctx, fetch, batch.LoaderConfig{Wait: -1}) },
		"batch.NewLoader: Capacity must be at least 0, got -1":                            func() { batch.NewLoader(ctx, fetch, batch.LoaderConfig{Capacity: -1}) },
		"batch.NewLoader: TTL must not be negative, got -1ns":                             func() { batch.NewLoader(ctx, fetch, batch.LoaderConfig{TTL: -1}) },
		"batch.Lookup: ctx must not be nil":                                               func() { batch.Lookup(none, in, 1, 1, id, fetch, merge) },
		"batch.Lookup: the stream must not be nil":                                        func() { batch.Lookup(ctx, nil, 1, 1, id, fetch, merge) },
		"batch.Lookup: n must be at least 1, got 0":                                       func() { batch.Lookup(ctx, in, 0, 1, id, fetch, merge) },
		"batch.Lookup: maxWait must be positive, got 0s":                                  func() { batch.Lookup(ctx, in, 1, 0, id, fetch, merge) },
		"batch.Lookup: key must not be nil":                                               func() { batch.Lookup[int, int](ctx, in, 1, 1, nil, fetch, merge) },
		"batch.Lookup: fetch must not be nil":                                             func() { batch.Lookup(ctx, in, 1, 1, id, nil, merge) },
		"batch.Lookup: merge must not be nil":                                             func() { batch.Lookup[int, int, int, int](ctx, in, 1, 1, id, fetch, nil) },
		"batch.Join: ctx must not be nil":                                                 func() { batch.Join(none, batch.JoinConfig{}, id, in) },
		"batch.Join: key must not be nil":                                                 func() { batch.Join[int, int](ctx, batch.JoinConfig{}, nil, in) },
		"batch.Join: there must be at least 1 stream, got 0":                              func() { batch.Join(ctx, batch.JoinConfig{}, id) },
		"batch.Join: the stream must not be nil":                                          func() { batch.Join(ctx, batch.JoinConfig{}, id, in, nil) },
		"batch.Join: TTL must not be negative, got -1ns":                                  func() { batch.Join(ctx, batch.JoinConfig{TTL: -1}, id, in) },
		"batch.Join: Sweep must not be negative, got -1ns":                                func() { batch.Join(ctx, batch.JoinConfig{Sweep: -1}, id, in) },
		"batch.Join: MaxPending must be at least 0, got -1":                               func() { batch.Join(ctx, batch.JoinConfig{MaxPending: -1}, id, in) },
		"batch.Join2: ctx must not be nil":                                                func() { batch.Join2(none, batch.JoinConfig{}, in, in, id, id) },
		"batch.Join2: the stream must not be nil":                                         func() { batch.Join2(ctx, batch.JoinConfig{}, in, nil, id, id) },
		"batch.Join2: leftKey must not be nil":                                            func() { batch.Join2(ctx, batch.JoinConfig{}, in, in, nil, id) },
		"batch.Join2: rightKey must not be nil":                                           func() { batch.Join2(ctx, batch.JoinConfig{}, in, in, id, nil) },
		"batch.Join2: MaxPending must be at least 0, got -2":                              func() { batch.Join2(ctx, batch.JoinConfig{MaxPending: -2}, in, in, id, id) },
		"batch.Gather: ctx must not be nil":                                               func() { batch.Gather(none, in, batch.JoinConfig{}, id, three) },
		"batch.Gather: the stream must not be nil":                                        func() { batch.Gather(ctx, nil, batch.JoinConfig{}, id, three) },
		"batch.Gather: key must not be nil":                                               func() { batch.Gather[int, int](ctx, in, batch.JoinConfig{}, nil, three) },
		"batch.Gather: complete must not be nil":                                          func() { batch.Gather(ctx, in, batch.JoinConfig{}, id, nil) },
		"batch.Gather: MaxPending must be at least 0, got -1":                             func() { batch.Gather(ctx, in, batch.JoinConfig{MaxPending: -1}, id, three) },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); got != want {
					t.Errorf("panicked with %q, want %q", got, want)
				}
			}()
			misuse()
		}()
	}
}
