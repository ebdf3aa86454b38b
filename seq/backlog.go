package seq

import "sync/atomic"

// A backlog is a window whose values wait for workers, who take them in order. A worker
// leaves the value in its cell and works on it there.
type backlog[V any] struct {
	window[V]
	_     cacheLine
	taken atomic.Uint64 // the position that a worker takes next
	_     cacheLine
}

// claim takes the next value, if there is one, which is at pos in t. One that was
// published as done is nobody's to take.
func (b *backlog[V]) claim() (t *table[V], pos uint64, ok bool) {
	for {
		pos = b.taken.Load()
		t = b.ring.table(pos)
		switch turn := t.at(pos).turn.Load(); {
		case turn == pos<<2|fed:
			if b.taken.CompareAndSwap(pos, pos+1) {
				return t, pos, true
			}
		case turn > pos<<2:
			b.taken.CompareAndSwap(pos, pos+1)
		case b.taken.Load() == pos:
			return t, 0, false
		}
	}
}

// some reports whether there may be something to claim.
func (b *backlog[V]) some() bool {
	pos := b.taken.Load()
	return b.ring.table(pos).at(pos).turn.Load() > pos<<2
}
