package seq

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// This file and ring.go, lane.go, collector.go, pool.go and queue.go are the engine
// under every concurrent stage. It knows nothing of what the stages mean, and only here
// and in task.go does this package start a goroutine.
//
// What shaped it: with work of a microsecond an item, handing over costs little
// and parking costs a lot. So every cell of a ring is published by itself, with
// one atomic store and without a lock; a sleeper is woken only by the event that
// it waits for; and who finds nothing to do lets others run before it goes to
// sleep. And on two processors a cache line that passes to and fro costs more than
// all the rest, so what one goroutine writes for each item lies on lines of its own.
// Batches then come about by themselves when there is much to do, and a lone item is
// handed over at once.
//
// Rejected: one mutex and condition variables around the ring. It is simpler, and
// as fast while two goroutines run; but with more runnable goroutines than
// processors a contended mutex stops spinning and parks, which cost half of the
// throughput at 64 workers. Rejected, too: handing over chunks. It is faster on
// paper, and a lone item waits until its chunk is full.

// atOnce is the most that a stage works on at once, and that it holds at once, whatever
// number it is given. What is given are upper bounds, and this keeps them.
const atOnce = 1 << 20

// spins is how often a goroutine lets others run before it goes to sleep. Once is
// enough for them to have done something; to look more often only keeps a second
// processor busy, with cells that others are about to write.
const spins = 1

// cacheLine keeps what different goroutines write apart from each other.
type cacheLine [64]byte

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

// A group is the goroutines of one loop over a concurrent stage, with the context
// that their callbacks get, and with what became of them.
type group struct {
	outer  context.Context // the stage's
	scope  *scopeEnd       // around the stage, or nil
	ctx    context.Context // the callbacks': ends with the loop
	cancel context.CancelFunc
	halt   func() error // of WithStop: whether callbacks may still begin; or nil
	wg     sync.WaitGroup

	consumer place       // where the goroutine that runs the loop sleeps
	failed   atomic.Bool // one of the group panicked or called Goexit
	mu       sync.Mutex
	panic    *PanicError // the first panic

	_      cacheLine
	inBody bool // the goroutine that runs the loop is in its body; that goroutine's own
	_      cacheLine
}

// init prepares the group of a stage that has ctx. inner is ctx as its callbacks are to
// see it.
func (g *group) init(ctx, inner context.Context) {
	g.outer, g.scope, g.halt = ctx, scopeOf(ctx), haltOf(ctx)
	g.ctx, g.cancel = context.WithCancel(inner)
	g.consumer = makePlace()
}

// start runs fn in a goroutine of the group. A panic or Goexit ends the group's
// context and is kept for the goroutine that runs the loop.
func (g *group) start(fn func()) {
	g.wg.Add(1)
	go func() {
		defer g.wg.Done()
		returned := false
		defer func() {
			if !returned { // a panic, or, where there is nothing to recover, Goexit
				g.fail(recover())
			}
		}()
		fn()
		returned = true
	}()
}

func (g *group) fail(value any) {
	if value != nil {
		p := newPanicError(value)
		g.mu.Lock()
		if g.panic == nil {
			g.panic = p
		}
		g.mu.Unlock()
	}
	g.failed.Store(true)
	defer g.consumer.wake()
	defer func() { _ = recover() }() // of methods of a foreign ctx: nobody else can, and the first panic counts
	defer g.scope.fail()
	g.cancel()
}

// over reports whether the loop has to end before its end: ctx has ended or one of
// the group has failed.
func (g *group) over() bool { return g.failed.Load() || g.outer.Err() != nil }

// join waits for the group, which has been told to stop, and passes on what made it
// fail; but not over a panic or Goexit of the loop's body, which came first.
func (g *group) join() {
	g.cancel()
	if g.inBody {
		g.scope.fail()
	}
	g.wg.Wait()
	switch {
	case g.inBody || !g.failed.Load():
	case g.panic != nil:
		panic(g.panic)
	default:
		runtime.Goexit()
	}
}

// halted reports whether callbacks may not begin any more.
func (g *group) halted() bool { return g.refusal() != nil }

// refusal says why, or returns nil where they may.
func (g *group) refusal() error {
	if g.halt == nil {
		return nil
	}
	return g.halt()
}

// A pair is what a stream yields.
type pair[T any] struct {
	v   T
	err error
}

// emit runs the loop's body.
func emit[T any](g *group, yield func(T, error) bool, v T, err error) bool {
	g.inBody = true
	ok := yield(v, err)
	g.inBody = false
	return ok
}

// conclude yields the last error, if there is one: ctx's before final.
func conclude[T any](g *group, yield func(T, error) bool, final error) {
	if g.failed.Load() {
		return // join passes it on
	}
	if err := ContextError(g.outer); err != nil {
		final = err
	}
	if final != nil {
		var none T
		emit(g, yield, none, final)
	}
}
