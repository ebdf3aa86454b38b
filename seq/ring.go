package seq

import (
	"math/bits"
	"runtime"
	"sync/atomic"
)

// A ring is a queue of cells, one for each position; positions only grow, and who may
// use one is agreed outside. Each cell carries a turn, which says whose it is: the
// position and the phase that the value in it has reached (after Dmitry Vyukov's
// bounded queue).
//
// A ring starts small and doubles when its producer asks for it, so that it is as large
// as what has been in flight at once and not as what might be. It does so without
// moving a cell that others are using: the positions from then on have a new table, and
// those before stay where they are.
type ring[V any] struct {
	latest atomic.Pointer[table[V]]
}

type table[V any] struct {
	cells  []cell[V]
	mask   uint64
	start  uint64    // the first position that is here
	before *table[V] // where the positions before start are
}

type cell[V any] struct {
	turn atomic.Uint64 // position<<2 | phase
	v    V
}

// The phases of a position.
const (
	free = iota // the producer may write
	fed         // written, and nobody's yet
	done        // the result may be read
)

// firstCells is how many cells a ring starts with, at most.
const firstCells = 16

// init makes the first cells of a ring that will need room for n values at most.
func (r *ring[V]) init(n int) *table[V] {
	return r.install(1<<bits.Len(uint(min(n, firstCells)-1)), 0, nil) // a power of two
}

// grow doubles the cells for the positions from start on, to which nobody has come yet.
// It is the producer's to call.
func (r *ring[V]) grow(start uint64) *table[V] {
	t := r.latest.Load()
	return r.install(2*len(t.cells), start, t)
}

func (r *ring[V]) install(cells int, start uint64, before *table[V]) *table[V] {
	t := &table[V]{make([]cell[V], cells), uint64(cells - 1), start, before}
	for i := range uint64(cells) {
		pos := start + i
		t.cells[pos&t.mask].turn.Store(pos<<2 | free)
	}
	r.latest.Store(t)
	return t
}

// table returns the table that pos is in.
func (r *ring[V]) table(pos uint64) *table[V] {
	t := r.latest.Load()
	for pos < t.start {
		t = t.before
	}
	return t
}

// at returns the cell of pos in its table.
func (t *table[V]) at(pos uint64) *cell[V] { return &t.cells[pos&t.mask] }

// is reports whether pos has reached that phase. In a table that pos is not in it is
// false: so one may look into the table that one has seen last, and only after a no into
// the one that is right.
func (t *table[V]) is(pos, phase uint64) bool { return t.at(pos).turn.Load() == pos<<2|phase }

func (r *ring[V]) is(pos, phase uint64) bool { return r.table(pos).is(pos, phase) }

// take takes what c holds and leaves no trace of it that would keep it alive.
func (c *cell[V]) take() V {
	v := c.v
	var none V
	c.v = none
	return v
}

// become publishes what has been written to the cell of pos.
func (c *cell[V]) become(pos, phase uint64) { c.turn.Store(pos<<2 | phase) }

// Credits bound what a producer may have in flight: it spends one for each item and
// waits while none is left; whoever is done with an item gives one back.
type credits struct {
	limit uint64
	shut  atomic.Bool // nobody gives back any more: do not wait
	yield func()      // lets others run
	_     cacheLine
	spent uint64 // the producer's own
	bound uint64 // what may be spent, by what the producer last saw of back
	room  uint64 // how much of the limit there are cells for; the producer's own, too
	_     cacheLine
	back  atomic.Uint64
	place place
	_     cacheLine
	owed  uint64 // the consumer's own
	_     cacheLine
}

func makeCredits(limit int) credits {
	l := uint64(limit)
	return credits{limit: l, bound: l, room: l, yield: runtime.Gosched, place: makePlace()}
}

// spend spends a credit, of which there must be one.
func (c *credits) spend() { c.spent++ }

// giveBack gives one credit back.
func (c *credits) giveBack() {
	c.back.Add(1)
	c.place.wake()
}

// owe is giveBack for a single consumer, which in return for a lower price gives back
// a lot of credits late, and all when it settles.
func (c *credits) owe() {
	c.owed++
	if c.owed > c.lot() {
		c.settle()
	}
}

// lot is how many credits a single consumer may owe.
func (c *credits) lot() uint64 { return min(c.limit/32, 32) }

// settle gives back what is owed.
func (c *credits) settle() {
	if c.owed > 0 {
		c.back.Add(c.owed)
		c.owed = 0
		c.place.wake()
	}
}

// left reports whether a credit is left.
func (c *credits) left() bool {
	if c.spent < c.bound {
		return true
	}
	c.bound = c.back.Load() + c.room
	return c.spent < c.bound
}

// may reports whether the producer knows of a credit that is left.
func (c *credits) may() bool { return c.spent < c.bound && !c.shut.Load() }

// wait waits until a credit is left. It is false once the credits are shut.
func (c *credits) wait() bool { return c.may() || c.waitForMore() }

// waitForMore sleeps at once where credits come back in lots: a producer that let
// others run first would be back for each lot, and the two would pass the same cache
// lines to and fro. Where they come back one by one a sleep for each costs more.
func (c *credits) waitForMore() bool {
	if !c.left() && c.lot() == 0 {
		c.yield()
	}
	for !c.left() && !c.shut.Load() {
		c.place.sleep(func() bool { return c.left() || c.shut.Load() }, nil)
	}
	return !c.shut.Load()
}

// close shuts the credits: the producer does not wait any more.
func (c *credits) close() {
	c.shut.Store(true)
	c.place.wake()
}

// A window is a ring with a credit for each of its values: a value is in flight from
// when its credit is spent until that is given back. The credits spent so far are the
// position that the producer comes to next.
type window[V any] struct {
	credits
	ring ring[V]
	head *table[V] // where the producer writes; its own
	_    cacheLine
}

func (w *window[V]) init(limit int) {
	w.credits = makeCredits(limit)
	w.use(w.ring.init(limit))
}

// use goes on with t.
func (w *window[V]) use(t *table[V]) {
	w.head = t
	w.room = min(w.limit, uint64(len(t.cells)))
	w.bound = w.back.Load() + w.room
}

// wait waits until there is room for another value. It is false once the credits are
// shut.
func (w *window[V]) wait() bool { return w.may() || w.waitForRoom() }

func (w *window[V]) waitForRoom() bool {
	for !w.left() && w.room < w.limit {
		w.use(w.ring.grow(w.spent))
	}
	return w.waitForMore()
}
