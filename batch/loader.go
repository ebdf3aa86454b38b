package batch

import (
	"context"
	"sync"
	"time"

	"example.com/pipeline/seq"
)

// LoaderConfig says how a [Loader] gathers and remembers. The zero value works.
type LoaderConfig struct {
	// MaxBatch is the number of loads after which a batch is fetched without
	// waiting any longer, and so the largest number of keys that fetch is asked
	// for at once; 0 means no limit. Loads of a key that is in the batch already
	// count, too. Set it to n where n workers load: see [Loader].
	MaxBatch int
	// Wait is the longest time that the first load of a batch waits for others
	// to join it; 0 means 1 ms.
	Wait time.Duration
	// Capacity is the number of values kept; the one used longest ago goes
	// first. 0 means that none is kept: only loads of the same time share.
	Capacity int
	// TTL is the time for which a value is kept, counted from when its fetch
	// returned; 0 means without limit.
	TTL time.Duration
}

// defaultWait is what a Wait of 0 means: long enough for goroutines that were
// started together to come in, short beside any request over a network.
const defaultWait = time.Millisecond

// LoaderStats counts what a [Loader] has saved. Loads-Keys requests for a key
// were spared, Loads-Fetches round trips.
type LoaderStats struct {
	Loads   int64 // calls of Load and distinct keys of LoadMany; not those refused since a ctx had ended before
	Hits    int64 // loads answered from the cache; the others waited for a fetch
	Fetches int64 // calls of fetch
	Keys    int64 // keys asked of fetch, in all
}

// A Loader turns loads of single keys, made at the same time by many goroutines,
// into few calls of fetch for many keys, and keeps what it got.
//
// A load of a key that is cached returns at once. The first one of a key that is
// not opens a batch, which others join; it is fetched after Wait or at MaxBatch
// loads, whatever is first. Keys are handed to fetch in the order of their first
// load, each once. A load of a key that is waited for already, in the open batch
// or in one that is being fetched, waits for that. Any number of batches can be
// in flight at once.
//
// With [seq.MapConcurrent] set MaxBatch to its n: no more
// than n loads wait at once, so a batch that n loads wait for is as full as it
// will get, and is fetched without waiting for the timer.
//
// fetch runs in a goroutine of its own under the ctx of the loader, never under
// a caller's: a caller whose ctx ends leaves alone. It may keep and change the
// keys; the map must be left alone once returned. Keys in it that nobody asked for
// are ignored, a nil map holds none. Where fetch returns [KeyErrors], the keys in it
// fail, each with its own error, and the others are served. Where it returns another
// error all loads of the batch return that as it is, and its map is not looked at.
// Neither errors nor ErrNotFound are cached: the next load asks again. A panic in fetch is panicked
// anew in each goroutine that waits for it, as a [*seq.PanicError], and a Goexit
// ends each of them.
//
// When the ctx of the loader ends, every load, waiting or new, cached or not,
// returns [seq.ContextError] of it at once. There is nothing to close; a batch that
// nobody waits for any more is still fetched, for the cache's sake, unless the
// loader's ctx has ended. So where goroutines must not outlive a function, end
// the loader's ctx in it, and heed it in fetch.
//
// The memory is bounded: Capacity values and the keys in flight, each with about
// 60 bytes beyond the key and the value.
//
// A Loader is safe for concurrent use.
type Loader[K comparable, V any] struct {
	ctx   context.Context
	fetch func(context.Context, []K) (map[K]V, error)
	cfg   LoaderConfig
	start time.Time           // what slot.stored counts from
	keys  *lru[K, slot[K, V]] // cached keys in the order of use, and pinned those that are waited for

	// Every load reads what stands above without the mutex: keep that off the
	// cache line that the mutex drags from core to core.
	_ [64]byte

	mu      sync.Mutex     // guards what keys points to, too
	open    *request[K, V] // what loads can join, or nil
	flights map[*request[K, V]]struct{}
	stats   LoaderStats
}

// A slot is what is known of a key: it is cached, or waited for, or both, after
// Prime.
type slot[K comparable, V any] struct {
	value  V
	stored time.Duration  // when value was
	cached bool           // value is there
	req    *request[K, V] // what will bring the value, or nil
	pos    int32          // of the key among req's
}

// A request is one batch: it is open, then in flight, then done.
type request[K comparable, V any] struct {
	keys  []K
	slots []int32 // numbers of the keys' entries
	loads int     // that joined while it was open
	timer *time.Timer

	wake     chan struct{} // closed when done is, or when the loader's ctx ends
	woken    sync.Once     // closes wake
	finished bool          // nobody waits for the end of the loader's ctx any more
	unwatch  func() bool   // ends the wait for that, once it has begun

	done    chan struct{} // closed when what follows is there
	values  []V
	found   []bool
	failed  []error // where KeyErrors named the key; nil if there were none
	err     error   // of the keys that were neither found nor named; nil means that they do not exist
	crashed bool    // fetch panicked or called Goexit
	panic   *seq.PanicError
}

// NewLoader returns a Loader whose fetch runs under ctx. It panics if fetch is
// nil or a field of cfg is negative.
func NewLoader[K comparable, V any](ctx context.Context, fetch func(context.Context, []K) (map[K]V, error), cfg LoaderConfig) *Loader[K, V] {
	checkContext("NewLoader", ctx)
	checkFunc("NewLoader", "fetch", fetch == nil)
	checkAtLeast("NewLoader", "MaxBatch", cfg.MaxBatch, 0)
	checkNotNegative("NewLoader", "Wait", cfg.Wait)
	checkAtLeast("NewLoader", "Capacity", cfg.Capacity, 0)
	checkNotNegative("NewLoader", "TTL", cfg.TTL)
	if cfg.Wait == 0 {
		cfg.Wait = defaultWait
	}
	cfg.Capacity = min(cfg.Capacity, maxCapacity)
	return &Loader[K, V]{
		ctx: ctx, fetch: fetch, cfg: cfg, start: time.Now(),
		keys:    newLRU[K, slot[K, V]](cfg.Capacity),
		flights: make(map[*request[K, V]]struct{}),
	}
}

// Load returns the value of key. Its error is that of fetch, or Is [ErrNotFound]
// where fetch left key out, or is [seq.ContextError] of ctx or of the loader's
// ctx. Where ctx has ended before, Load returns its error, whatever is cached.
func (l *Loader[K, V]) Load(ctx context.Context, key K) (V, error) {
	var zero V
	if err := l.refuse(ctx); err != nil {
		return zero, err
	}
	hash, now := l.keys.hash(key), l.now()
	l.mu.Lock()
	value, req, pos, next := l.load(hash, key, now)
	l.mu.Unlock()
	if req == nil {
		return value, nil
	}
	if next.fetch {
		go l.run(req)
	}
	if next.watch {
		l.watch(req)
	}
	if err := l.await(ctx, req); err != nil {
		return zero, err
	}
	return req.result(key, pos)
}

// LoadMany returns the values of all keys that could be had, and [KeyErrors] of the
// rest: ErrNotFound where fetch left the key out, otherwise what its fetch failed with,
// or the end of ctx, after which LoadMany waits for nothing more. Keys that are given
// twice are loaded once. All are loaded at once: what is not cached goes into one batch,
// unless MaxBatch splits it.
func (l *Loader[K, V]) LoadMany(ctx context.Context, keys []K) (map[K]V, error) {
	type wait struct {
		key  K
		req  *request[K, V]
		pos  int32
		next next
	}
	keys = distinct(keys)
	values := make(map[K]V, len(keys))
	failed := make(KeyErrors[K])
	if err := l.refuse(ctx); err != nil {
		for _, key := range keys {
			failed[key] = err
		}
		return values, failed
	}
	hashes := make([]uint32, len(keys))
	for i, key := range keys {
		hashes[i] = l.keys.hash(key)
	}
	var waits []wait

	now := l.now()
	l.mu.Lock()
	for i, key := range keys {
		if value, req, pos, next := l.load(hashes[i], key, now); req == nil {
			values[key] = value
		} else {
			waits = append(waits, wait{key, req, pos, next})
		}
	}
	l.mu.Unlock()

	for _, w := range waits { // before anything that calls a ctx, which might panic
		if w.next.fetch {
			go l.run(w.req)
		}
	}
	for _, w := range waits {
		if w.next.watch {
			l.watch(w.req)
		}
	}
	for _, w := range waits {
		err := l.await(ctx, w.req)
		if err == nil {
			var value V
			if value, err = w.req.result(w.key, w.pos); err == nil {
				values[w.key] = value
				continue
			}
		}
		failed[w.key] = err
	}
	if len(failed) == 0 {
		return values, nil
	}
	return values, failed
}

// distinct returns the keys without what comes a second time, in their order.
func distinct[K comparable](keys []K) []K {
	first, _ := Uniq(func(key K) K { return key })(keys)
	return first
}

// Prime caches value for key, as if it had been fetched now. A fetch in flight or
// yet to come does not replace it; those who wait for that get what it brings.
// Where Capacity is 0 Prime does nothing.
func (l *Loader[K, V]) Prime(key K, value V) {
	if l.cfg.Capacity == 0 {
		return
	}
	hash, now := l.keys.hash(key), l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.keys.find(hash, key)
	if i == 0 {
		i = l.keys.add(hash, key)
	}
	l.store(i, value, now)
}

// Clear forgets key. What a fetch that began before brings for it goes to those
// who wait for that, but is not cached, and a load that comes after Clear has key
// fetched anew. A batch whose fetch has not begun is not touched: what it will
// bring is no older than the Clear.
func (l *Loader[K, V]) Clear(key K) {
	hash := l.keys.hash(key)
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := l.keys.find(hash, key); i != 0 {
		l.forget(i)
	}
}

// ClearAll does what Clear does for every key.
func (l *Loader[K, V]) ClearAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := l.keys.oldest(); i != 0; i = l.keys.oldest() {
		l.keys.remove(i)
	}
	for req := range l.flights {
		for pos, i := range req.slots {
			if l.waitsFor(i, req, pos) {
				l.forget(i)
			}
		}
	}
	if l.open != nil {
		for _, i := range l.open.slots {
			l.forget(i)
		}
	}
}

// Stats returns what has been counted so far. The numbers belong together: they
// are of one moment.
func (l *Loader[K, V]) Stats() LoaderStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}
