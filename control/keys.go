package control

import (
	"bytes"
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"example.com/pipeline/seq"
)

// Keys is a [KeyStore] in memory. A Begin of a key in progress waits for its
// outcome. It is safe for concurrent use, and needs no closing.
//
// It keeps at most so many results, those used least recently go first, each for
// its time to live from Finish on. Keys in progress come on top of that, as many as
// there are calls, and none of them is ever dropped. A key takes its own size and
// its result's and about 250 bytes.
//
// It does not build on singleflight, whose callers all wait for the first one: here
// each leaves when its own ctx ends, and one of those who wait goes on where the
// first has failed.
type Keys struct {
	capacity int
	ttl      time.Duration

	mu       sync.Mutex
	entries  map[string]*keyEntry
	finished list.List // of *keyEntry, the most recently used first
}

// A keyEntry is a key in progress, or, once it has a place, its result.
type keyEntry struct {
	key     string
	ended   chan struct{} // closed by Finish and Abandon
	place   *list.Element // in finished; nil while in progress, and after Abandon
	result  []byte
	expires time.Duration // on clock; 0 means never
}

// NewKeys returns a Keys for at most capacity results, each for ttl. A ttl of 0
// means that they are kept until there are too many. It panics where capacity is
// below 1 or ttl below 0.
func NewKeys(capacity int, ttl time.Duration) *Keys {
	if capacity < 1 {
		panic(fmt.Sprintf("control.NewKeys: capacity must be at least 1, got %d", capacity))
	}
	if ttl < 0 {
		panic(fmt.Sprintf("control.NewKeys: ttl must not be below 0, got %v", ttl))
	}
	return &Keys{capacity: capacity, ttl: ttl, entries: make(map[string]*keyEntry)}
}

// Begin claims key, or returns its result. While key is in progress it waits, and
// returns the error of [seq.ContextError] when ctx ends, or [ErrStopped] when a gate that
// is in ctx is stopped ([WithGate]).
func (k *Keys) Begin(ctx context.Context, key string) (result []byte, done bool, err error) {
	for {
		if ctx.Err() != nil {
			return nil, false, seq.ContextError(ctx)
		}
		e, mine := k.claim(key)
		if mine {
			return nil, false, nil
		}
		if err := e.wait(ctx); err != nil {
			return nil, false, err
		}
		if e.result != nil {
			return bytes.Clone(e.result), true, nil
		}
		// It was abandoned: one of those who waited for it is next.
	}
}

// wait waits until the key is no longer in progress.
func (e *keyEntry) wait(ctx context.Context) error {
	select {
	case <-e.ended:
		return nil
	default:
	}
	waiting, over := waitUnder(ctx)
	defer over()
	select {
	case <-e.ended:
		return nil
	case <-waiting.Done():
		return waitEnded(ctx)
	}
}

// claim returns the entry of a key that somebody else has claimed or finished, or
// makes it the caller's.
func (k *Keys) claim(key string) (e *keyEntry, mine bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e = k.entries[key]
	if e != nil && e.place != nil {
		if e.expires != 0 && clock() >= e.expires {
			k.drop(e)
			e = nil
		} else {
			k.finished.MoveToFront(e.place)
		}
	}
	if e != nil {
		return e, false
	}
	e = &keyEntry{key: key, ended: make(chan struct{})}
	k.entries[key] = e
	return e, true
}

// Finish keeps result for key, and gives it to those who wait. It never fails.
func (k *Keys) Finish(_ context.Context, key string, result []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.entries[key]
	if old != nil && old.place != nil {
		k.drop(old) // finished twice: the last result counts
		old = nil
	}
	e := old
	if e == nil {
		e = &keyEntry{key: key, ended: make(chan struct{})}
		k.entries[key] = e
	}
	e.result = append([]byte{}, result...) // never nil, which means that there is none
	if k.ttl > 0 {
		e.expires = later(clock(), k.ttl)
	}
	e.place = k.finished.PushFront(e)
	close(e.ended)
	k.shrink()
	return nil
}

// Abandon frees a key in progress. It never fails.
func (k *Keys) Abandon(_ context.Context, key string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.entries[key]; e != nil && e.place == nil {
		delete(k.entries, key)
		close(e.ended)
	}
	return nil
}

// shrink drops what has expired, as far as it is at the end, and what is too much.
// k.mu is held.
func (k *Keys) shrink() {
	for last := k.finished.Back(); last != nil; last = k.finished.Back() {
		e := last.Value.(*keyEntry)
		if k.finished.Len() <= k.capacity && (e.expires == 0 || clock() < e.expires) {
			return
		}
		k.drop(e)
	}
}

// drop forgets a finished key. k.mu is held.
func (k *Keys) drop(e *keyEntry) {
	k.finished.Remove(e.place)
	delete(k.entries, e.key)
}
