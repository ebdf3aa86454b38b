package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	graphgophers "github.com/graph-gophers/dataloader/v7"
	"github.com/vikstrous/dataloadgen"

	"example.com/pipeline/batch"
)

const loaderWait = time.Millisecond // for all of them

const (
	moduleDataloadgen  = "github.com/vikstrous/dataloadgen"
	moduleGraphGophers = "github.com/graph-gophers/dataloader/v7"
)

// A load gets the value of a key.
type load = func(ctx context.Context, key int) (int, error)

// loaders make a new loader with an empty cache for so many keys.
var loaders = []struct {
	name, module string
	role         role
	open         func(ctx context.Context, keys int) load
}{
	{"batch.Loader", moduleOurs, ours, func(ctx context.Context, keys int) load {
		return batch.NewLoader(ctx, func(_ context.Context, keys []int) (map[int]int, error) {
			return squares(keys), nil
		}, batch.LoaderConfig{Wait: loaderWait, Capacity: keys}).Load
	}},
	{"dataloadgen", moduleDataloadgen, peer, func(context.Context, int) load {
		return dataloadgen.NewMappedLoader(func(_ context.Context, keys []int) (map[int]int, error) {
			return squares(keys), nil
		}, dataloadgen.WithWait(loaderWait)).Load
	}},
	{"graph-gophers/dataloader", moduleGraphGophers, peer, func(context.Context, int) load {
		l := graphgophers.NewBatchedLoader(func(_ context.Context, keys []int) []*graphgophers.Result[int] {
			results := make([]*graphgophers.Result[int], len(keys))
			for i, k := range keys {
				results[i] = &graphgophers.Result[int]{Data: k * k}
			}
			return results
		}, graphgophers.WithWait[int, int](loaderWait))
		return func(ctx context.Context, key int) (int, error) { return l.Load(ctx, key)() }
	}},
	{"limit: no loader", "", limit, func(context.Context, int) load {
		return func(_ context.Context, key int) (int, error) { return key * key, nil }
	}},
}

// squares is a fetch that costs no more than its map.
func squares(keys []int) map[int]int {
	found := make(map[int]int, len(keys))
	for _, k := range keys {
		found[k] = k * k
	}
	return found
}

func (b *bench) loaderPart() ([]*result, error) {
	keys := b.items(1000, 100)
	burst := race{name: "burst", items: 10 * keys}
	warm := race{name: "warm", items: 100 * keys}
	for _, l := range loaders {
		burst.contestants = append(burst.contestants, contestant{l.name, l.module, l.role, func() (o outcome, err error) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			o.sum, err = loadAtOnce(ctx, l.open(ctx, keys), burst.items, keys)
			return o, err
		}})
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		cached := l.open(ctx, keys)
		if _, err := loadAtOnce(ctx, cached, keys, keys); err != nil {
			return nil, fmt.Errorf("%s: %w", l.name, err)
		}
		warm.contestants = append(warm.contestants, contestant{l.name, l.module, l.role, func() (o outcome, err error) {
			for i := range warm.items {
				v, err := cached(ctx, i%keys)
				if err != nil {
					return o, err
				}
				o.sum.inOrder(v)
			}
			return o, nil
		}})
	}
	return list(b.run(table{
		id:    "loader",
		title: "Loader: single loads gathered into batches",
		about: fmt.Sprintf("burst: %d goroutines load %d keys at once through an empty loader that waits 1 ms for a batch to fill; ns a load, the goroutines included. "+
			"warm: one goroutine loads what is cached. batch.Loader's cache is bounded and drops what was used longest ago, the others' grow without bound.", 10*keys, keys),
		races: []race{burst, warm},
	}))
}

// loadAtOnce loads keys in a goroutine for each load.
func loadAtOnce(ctx context.Context, get load, loads, keys int) (digest, error) {
	var sum atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	for i := range loads {
		all.Go(func() {
			v, err := get(ctx, i%keys)
			if err != nil {
				failed.Store(&err)
			}
			sum.Add(int64(v))
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return digest(sum.Load()), nil
}
