package seq

import (
	"context"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
)

// This file is the engine under every concurrent stage: rings, parking places and
// crews. It knows nothing of what the stages mean, and only here (and in task.go)
// does this package start a goroutine.
//
// What shaped it: with work of a microsecond an item, handing over costs little
// and parking costs a lot. So every cell of a ring is published by itself, with
// one atomic store and without a lock; a sleeper is woken only by the event that
// it waits for; and who finds nothing to do lets others run before it goes to
// sleep. And on two processors a cache line that passes to and fro costs more than
// all else, so what one goroutine writes for each item lies on lines of its own. Batches then come about by themselves when there is much to do,
// and a lone item is handed over at once.
//
// Rejected: one mutex and condition variables around the ring. It is simpler, and
// as fast while two goroutines run; but with more runnable goroutines than
// processors a contended mutex stops spinning and parks, which cost half of the
// throughput at 64 workers. Rejected, too: handing over chunks. It is faster on
// paper, and a lone item waits until its chunk is full.

// spins is how often a goroutine lets others run before it goes to sleep. Once is
// enough for them to have done something; to look more often only keeps a second
// processor busy, with cells that others are about to write.
const spins = 1

// cacheLine keeps what different goroutines write apart from each other.
type cacheLine [64]byte

// A ring is a bounded queue of cells. Each carries a turn, which says whose it is:
// the position and the phase that the value in it has reached (after Dmitry Vyukov's
// bounded queue). Positions only grow; who may use one is agreed outside.
type ring[V any] struct {
	cells []cell[V]
	mask  uint64
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

// makeRing returns a ring with room for n values at least.
func makeRing[V any](n int) ring[V] {
	size := 1 << bits.Len(uint(n-1)) // a power of two
	r := ring[V]{make([]cell[V], size), uint64(size - 1)}
	for i := range r.cells {
		r.cells[i].turn.Store(uint64(i)<<2 | free)
	}
	return r
}

// at returns the cell of pos, which may hold another position still or already.
func (r *ring[V]) at(pos uint64) *cell[V] { return &r.cells[pos&r.mask] }

func (r *ring[V]) is(pos, phase uint64) bool { return r.at(pos).turn.Load() == pos<<2|phase }

// take takes what c holds and leaves no trace of it that would keep it alive.
func (c *cell[V]) take() V {
	v := c.v
	var none V
	c.v = none
	return v
}

// become publishes what has been written to the cell of pos.
func (c *cell[V]) become(pos, phase uint64) { c.turn.Store(pos<<2 | phase) }

// A place is where one goroutine sleeps until what it waits for has happened.
//
// The sleeper announces itself, looks once more, and only then sleeps; the waker
// makes the thing happen, and only then looks for a sleeper. Whichever comes
// second sees the other, so no wake-up is lost.
type place struct {
	asleep atomic.Bool
	wakeup chan struct{} // holds at most one token, since asleep is cleared once a sleep
}

func makePlace() place { return place{wakeup: make(chan struct{}, 1)} }

// wake wakes the sleeper, if there is one.
func (p *place) wake() {
	if p.asleep.Load() {
		p.rouse()
	}
}

func (p *place) rouse() {
	if p.asleep.CompareAndSwap(true, false) {
		p.wakeup <- struct{}{}
	}
}

// sleep sleeps until woken or until done is closed, unless happened is true once
// the sleeper is announced. It may return early: the caller looks again.
func (p *place) sleep(happened func() bool, done <-chan struct{}) {
	p.asleep.Store(true)
	if !happened() {
		if done == nil {
			<-p.wakeup // half the price of a select
			return
		}
		select {
		case <-p.wakeup:
			return
		case <-done:
		}
	}
	if !p.asleep.CompareAndSwap(true, false) {
		<-p.wakeup // a waker was faster, and its token is on the way
	}
}

// Credits bound what a producer may have under way: it spends one for each item
// and waits while none is left; whoever is done with an item gives one back.
type credits struct {
	limit uint64
	shut  atomic.Bool // nobody gives back any more: do not wait
	yield func()      // lets others run
	_     cacheLine
	spent uint64 // the producer's own
	bound uint64 // what may be spent, by what the producer last saw of back
	_     cacheLine
	back  atomic.Uint64
	place place
	_     cacheLine
	owed  uint64 // the consumer's own
	_     cacheLine
}

func makeCredits(limit int) credits {
	return credits{limit: uint64(limit), bound: uint64(limit), yield: runtime.Gosched, place: makePlace()}
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
func (c *credits) lot() uint64 { return c.limit / 32 }

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
	c.bound = c.back.Load() + c.limit
	return c.spent < c.bound
}

// wait waits until a credit is left. It is false once the credits are shut.
func (c *credits) wait() bool {
	return c.spent < c.bound && !c.shut.Load() || c.waitForMore()
}

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

// A crew is the goroutines of one loop over a concurrent stage, with the context
// that their callbacks get, and with what became of them.
type crew struct {
	outer  context.Context // the stage's
	ctx    context.Context // the callbacks': ends with the loop
	cancel context.CancelFunc
	wg     sync.WaitGroup

	consumer place       // where the goroutine that runs the loop sleeps
	failed   atomic.Bool // one of the crew panicked or called Goexit
	mu       sync.Mutex
	panic    *PanicError // the first panic

	_      cacheLine
	inBody bool // the goroutine that runs the loop is in its body; that goroutine's own
	_      cacheLine
}

func (c *crew) init(ctx context.Context) {
	c.outer = ctx
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.consumer = makePlace()
}

// start runs fn in a goroutine of the crew. A panic or Goexit ends the crew's
// context and is kept for the goroutine that runs the loop.
func (c *crew) start(fn func()) {
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		returned := false
		defer func() {
			if !returned { // a panic, or, where there is nothing to recover, Goexit
				c.fail(recover())
			}
		}()
		fn()
		returned = true
	}()
}

func (c *crew) fail(value any) {
	if value != nil {
		p := newPanicError(value)
		c.mu.Lock()
		if c.panic == nil {
			c.panic = p
		}
		c.mu.Unlock()
	}
	c.failed.Store(true)
	c.cancel()
	endScopes(c.outer)
	c.consumer.wake()
}

// over reports whether the loop has to end before its end: ctx has ended or one of
// the crew has failed.
func (c *crew) over() bool { return c.failed.Load() || c.outer.Err() != nil }

// join waits for the crew, which has been told to stop, and passes on what made it
// fail; but not over a panic or Goexit of the loop's body, which came first.
func (c *crew) join() {
	c.cancel()
	if c.inBody {
		endScopes(c.outer)
	}
	c.wg.Wait()
	switch {
	case c.inBody || !c.failed.Load():
	case c.panic != nil:
		panic(c.panic)
	default:
		runtime.Goexit()
	}
}

// A pair is what a stream yields.
type pair[T any] struct {
	v   T
	err error
}

// emit runs the loop's body.
func emit[T any](c *crew, yield func(T, error) bool, v T, err error) bool {
	c.inBody = true
	ok := yield(v, err)
	c.inBody = false
	return ok
}
