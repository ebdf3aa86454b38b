package batch

import (
	"iter"
	"time"

	"example.com/pipeline/seq"
)

// DedupConfig says how much [Dedup] remembers. The zero value works.
type DedupConfig struct {
	// Capacity is the number of keys remembered; 0 means 65,536. When they are
	// that many, the one seen longest ago is forgotten for each new one.
	Capacity int
	// TTL is the time after which a key that has passed may pass again; 0 means
	// never. It counts from the item that passed: a key that keeps coming passes
	// once every TTL.
	TTL time.Duration
}

// defaultCapacity is what a Capacity of 0 means.
const defaultCapacity = 1 << 16

// maxCapacity is what a larger Capacity means: entries have 31-bit numbers.
const maxCapacity = 1 << 30

// Dedup drops every item whose key has been seen before, as far as it remembers:
// the Capacity keys seen last, each for TTL. An item whose key was forgotten
// passes as new. Errors pass untouched and are not looked at.
//
// The memory is bounded: a key takes its own size, 20 bytes more, padding, and 5
// to 11 bytes of index. That makes 40 MB for a million integers, or 48 MB and
// their texts for as many strings. It grows in steps while keys come in, and is
// constant, without any allocation, once Capacity is reached. Each loop over the
// stream remembers for itself.
//
// Dedup panics if a field of cfg is negative or in or key is nil. key runs in the
// goroutine of the loop.
//
// Ends: with in, or at a final error of in.
// Owns: nothing; in runs in the goroutine of the loop.
// Reads ahead: nothing.
// Reuse: as often as in.
func Dedup[T any, K comparable](in iter.Seq2[T, error], key func(T) K, cfg DedupConfig) iter.Seq2[T, error] {
	checkStream("Dedup", in)
	checkFunc("Dedup", "key", key == nil)
	checkAtLeast("Dedup", "Capacity", cfg.Capacity, 0)
	checkNotNegative("Dedup", "TTL", cfg.TTL)
	if cfg.Capacity == 0 {
		cfg.Capacity = defaultCapacity
	}
	return func(yield func(T, error) bool) {
		seen := newMemory[K](min(cfg.Capacity, maxCapacity), cfg.TTL)
		for v, err := range in {
			if err == nil && !seen.isNew(key(v)) {
				continue
			}
			if !yield(v, err) || err != nil && !seq.IsItemError(err) {
				return
			}
		}
	}
}

// memory is what one loop over a Dedup has seen.
type memory[K comparable] struct {
	keys  *lru[K, time.Duration] // when the key passed, since start
	ttl   time.Duration
	start time.Time
}

func newMemory[K comparable](capacity int, ttl time.Duration) *memory[K] {
	return &memory[K]{keys: newLRU[K, time.Duration](capacity), ttl: ttl, start: time.Now()}
}

// isNew reports whether key is to pass, and remembers it.
func (m *memory[K]) isNew(key K) bool {
	var now time.Duration
	if m.ttl > 0 {
		now = time.Since(m.start)
	}
	hash := m.keys.hash(key)
	i := m.keys.find(hash, key)
	known := i != 0
	if !known {
		if m.keys.linked == m.keys.limit {
			m.keys.remove(m.keys.oldest())
		}
		i = m.keys.add(hash, key)
	}
	m.keys.use(i)
	if known && (m.ttl == 0 || now-m.keys.entries[i].value < m.ttl) {
		return false
	}
	m.keys.entries[i].value = now
	return true
}
