package batch

import "hash/maphash"

// An lru is a hash table whose entries can stand in the order of their use. It
// is what Dedup and Loader remember with.
//
// A Go map with a linked list beside it would take three allocations a key and
// leave tombstones when keys come and go; here the entries stand in one slice, an
// index of open addressing holds their numbers, and links are numbers, too. Once
// the slice has grown to what is needed nothing is allocated any more. A key
// takes its own size and that of V, 12 bytes of links and hash, padding, and 5.3
// to 10.7 bytes of index.
//
// An lru is not safe for concurrent use.
type lru[K comparable, V any] struct {
	seed    maphash.Seed
	limit   int           // how many entries are meant to be there at most
	entries []entry[K, V] // entry 0 is the list's head: its newer is the oldest entry, its older the newest
	index   []int32       // linear probing; entry numbers, 0 where a slot is free; a power of two long
	unused  int32         // first of the removed entries, linked by newer
	linked  int           // entries in the list
}

// An entry is one key. It is in the list, or pinned: found, but never the oldest.
type entry[K comparable, V any] struct {
	key          K
	value        V
	hash         uint32
	newer, older int32 // 0 is the list's head; a pinned entry links to itself
}

// newLRU returns an empty table that is meant for up to limit entries.
func newLRU[K comparable, V any](limit int) *lru[K, V] {
	t := &lru[K, V]{seed: maphash.MakeSeed(), limit: limit}
	t.clear()
	return t
}

// clear removes all entries and gives their memory back.
func (t *lru[K, V]) clear() {
	t.entries = make([]entry[K, V], 1, min(t.limit, 8)+1)
	t.index = make([]int32, 16)
	t.unused, t.linked = 0, 0
}

// hash returns key's hash, which find and add need. It panics where a map would:
// for an interface that holds what cannot be compared.
func (t *lru[K, V]) hash(key K) uint32 {
	return uint32(maphash.Comparable(t.seed, key))
}

// find returns the number of key's entry, or 0. The number holds until the entry
// is removed, a pointer to the entry only until the next add.
func (t *lru[K, V]) find(hash uint32, key K) int32 {
	mask := uint32(len(t.index) - 1)
	for slot := hash & mask; ; slot = (slot + 1) & mask {
		i := t.index[slot]
		if i == 0 {
			return 0
		}
		if e := &t.entries[i]; e.hash == hash && e.key == key {
			return i
		}
	}
}

// add makes a pinned entry for key, which has none, and returns its number.
func (t *lru[K, V]) add(hash uint32, key K) int32 {
	i := t.unused
	if i != 0 {
		t.unused = t.entries[i].newer
	} else {
		if len(t.entries) == cap(t.entries) {
			t.grow()
		}
		i = int32(len(t.entries))
		t.entries = t.entries[:i+1]
	}
	e := &t.entries[i]
	e.key, e.hash, e.newer, e.older = key, hash, i, i
	t.place(i)
	return i
}

// place puts entry i into the first free slot for its hash.
func (t *lru[K, V]) place(i int32) {
	mask := uint32(len(t.index) - 1)
	slot := t.entries[i].hash & mask
	for t.index[slot] != 0 {
		slot = (slot + 1) & mask
	}
	t.index[slot] = i
}

// grow doubles the room for entries up to limit, adds a quarter beyond it, and
// keeps the index at most three quarters full.
func (t *lru[K, V]) grow() {
	old := t.entries
	used := len(old) - 1
	room := used + used/4 + 8
	if used < t.limit {
		room = min(2*used, t.limit)
	}
	t.entries = make([]entry[K, V], len(old), room+1)
	copy(t.entries, old)
	size := len(t.index)
	for size*3 < room*4 {
		size *= 2
	}
	if size == len(t.index) {
		return
	}
	t.index = make([]int32, size)
	for i := 1; i < len(t.entries); i++ {
		t.place(int32(i))
	}
}

// remove removes entry i.
func (t *lru[K, V]) remove(i int32) {
	t.pin(i)
	mask := uint32(len(t.index) - 1)
	// By number, not by key: a NaN is not equal to itself.
	hole := t.entries[i].hash & mask
	for t.index[hole] != i {
		hole = (hole + 1) & mask
	}
	// Close the hole: an entry further on moves into it, unless its own slot lies
	// behind the hole. (Knuth, The Art of Computer Programming 3, 6.4, Algorithm R.)
	for slot := (hole + 1) & mask; t.index[slot] != 0; slot = (slot + 1) & mask {
		own := t.entries[t.index[slot]].hash & mask
		if (slot-own)&mask >= (slot-hole)&mask {
			t.index[hole] = t.index[slot]
			hole = slot
		}
	}
	t.index[hole] = 0
	t.entries[i] = entry[K, V]{newer: t.unused}
	t.unused = i
}

// use makes entry i the newest one in the list.
func (t *lru[K, V]) use(i int32) {
	newest := t.entries[0].older
	if newest == i {
		return
	}
	t.pin(i)
	newest = t.entries[0].older
	e := &t.entries[i]
	e.newer, e.older = 0, newest
	t.entries[newest].newer = i
	t.entries[0].older = i
	t.linked++
}

// pin takes entry i out of the list, where it is in it.
func (t *lru[K, V]) pin(i int32) {
	e := &t.entries[i]
	if e.newer == i {
		return
	}
	t.entries[e.newer].older = e.older
	t.entries[e.older].newer = e.newer
	e.newer, e.older = i, i
	t.linked--
}

// oldest returns the number of the oldest entry in the list, or 0.
func (t *lru[K, V]) oldest() int32 { return t.entries[0].newer }
