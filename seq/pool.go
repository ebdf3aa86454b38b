package seq

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"
)

// A pool is one loop over MapConcurrent or MapUnordered: a source, up to n workers
// and the consumer. A pair that is pulled gets the next cell of a ring; there its
// item waits for a worker, and there its result waits for the consumer.
//
// The order of events for an item: the source spends a credit, writes the cell and
// makes it fed; a worker moves taken past it, which makes the cell its own, calls fn
// and makes the cell done; the consumer, which comes to the cells in order, takes the
// result and gives the credit back, so that the source may come to the cell again.
type pool[T, U any] struct {
	crew
	squad
	in     iter.Seq2[T, error]
	fn     func(context.Context, T) (U, error)
	window credits // for pairs pulled and not yet yielded
	ring   ring[task[T, U]]
	late   *latecomers // nil where the order is kept

	_     cacheLine
	end   uint64 // the position that the source writes next; the source's own
	final error  // the final error of in; valid once total is set
	_     cacheLine
	taken atomic.Uint64 // the position that a worker takes next
	_     cacheLine
	want  atomic.Uint64 // the position that the consumer sleeps for, plus one; or anything
	total atomic.Uint64 // how many pairs were pulled, plus one; 0 while in goes on
	_     cacheLine
	pos   uint64 // the position that the consumer comes to next; the consumer's own
	got   uint64 // results taken; the consumer's own
	_     cacheLine
}

const anything = ^uint64(0)

// A task is an item and then its result.
type task[T, U any] struct {
	item T
	pair[U]
}

func newPool[T, U any](ctx context.Context, in iter.Seq2[T, error], n, window int,
	fn func(context.Context, T) (U, error), ordered bool) *pool[T, U] {
	p := &pool[T, U]{in: in, fn: fn, window: makeCredits(window)}
	p.crew.init(ctx)
	p.crew.ctx = leaveScopes(p.crew.ctx)
	p.squad.init(n, func() { p.start(p.labour) }, p.any)
	p.window.yield = p.watch
	if ordered {
		p.ring = makeRing[task[T, U]](window)
	} else {
		p.ring = makeRing[task[T, U]](window + 2*n) // the latecomers' cells are left out
		p.late = newLatecomers(len(p.ring.cells), 2*n)
	}
	return p
}

// feed runs the source.
func (p *pool[T, U]) feed() {
	p.in(p.push)
	p.total.Store(p.window.spent + 1)
	p.consumer.wake()
	p.squad.close()
}

// push takes a pair from the source. It returns when there is room for another, so
// that in is not resumed before.
func (p *pool[T, U]) push(v T, err error) bool {
	if p.final != nil || p.window.shut.Load() {
		return false
	}
	if err != nil && !IsItemError(err) {
		p.final = err
		return false
	}
	p.window.spend()
	if err != nil && p.late != nil {
		p.late.report(err)
		p.consumer.wake()
		return p.window.wait()
	}
	for p.late != nil && p.late.occupies(p.end) {
		if !p.awaitGap() {
			return false
		}
	}
	c := p.ring.at(p.end)
	if err != nil {
		c.v.err = err
		p.publish(c, p.end)
	} else {
		c.v.item = v
		c.become(p.end, fed)
		p.call()
	}
	p.end++
	return p.window.wait()
}

// awaitGap leaves out the next position, whose cell a latecomer occupies, or waits
// until it may. Between the consumer and the source there must not be more gaps than
// the ring has room for.
func (p *pool[T, U]) awaitGap() bool {
	l := p.late
	if l.gaps.Load() < l.maxGaps {
		l.leaveOut(p.end)
		p.end++
		return true
	}
	p.window.place.sleep(func() bool { return l.gaps.Load() < l.maxGaps || p.window.shut.Load() }, nil)
	return !p.window.shut.Load()
}

// labour is a worker.
func (p *pool[T, U]) labour() {
	var pos uint64
	claim := func() (ok bool) {
		pos, ok = p.claim()
		return ok
	}
	for ok := p.next(true, claim); ok && p.ctx.Err() == nil; {
		c := p.ring.at(pos)
		v, err := p.fn(p.ctx, c.v.item)
		switch {
		case err == nil:
			c.v.v = v
		case errors.Is(err, ErrSkip):
			c.v.err = ErrSkip
		default:
			c.v.err = &ItemError{c.v.item, err}
		}
		c.become(pos, done) // this and the next lines are publish, without a call
		if want := p.want.Load(); want != 0 {
			p.notify(pos, want)
		}
		if next := p.taken.Load(); p.ring.is(next, fed) && p.taken.CompareAndSwap(next, next+1) {
			pos = next // as claim does, but without a call
		} else {
			ok = p.next(false, claim)
		}
	}
}

// claim takes the next item, if there is one.
func (p *pool[T, U]) claim() (pos uint64, ok bool) {
	for {
		pos = p.taken.Load()
		switch turn := p.ring.at(pos).turn.Load(); {
		case turn == pos<<2|fed:
			if p.taken.CompareAndSwap(pos, pos+1) {
				return pos, true
			}
		case turn > pos<<2 || p.late != nil && p.late.left(pos): // it was an error of in, or a gap
			p.taken.CompareAndSwap(pos, pos+1)
		case p.taken.Load() == pos:
			return 0, false
		}
	}
}

// any reports whether there may be something to claim.
func (p *pool[T, U]) any() bool {
	pos := p.taken.Load()
	turn := p.ring.at(pos).turn.Load()
	return turn > pos<<2 || p.late != nil && p.late.left(pos)
}

// publish hands over the result in c.
func (p *pool[T, U]) publish(c *cell[task[T, U]], pos uint64) {
	c.become(pos, done)
	if want := p.want.Load(); want != 0 {
		p.notify(pos, want)
	}
}

// notify wakes the consumer, but only if it sleeps for that very result.
func (p *pool[T, U]) notify(pos, want uint64) {
	if want == pos+1 || want == anything {
		p.consumer.wake()
	}
}

// consume yields the results.
func (p *pool[T, U]) consume(yield func(U, error) bool) {
	for {
		var r pair[U]
		ok := p.late == nil && p.ring.is(p.pos, done) && !p.over()
		if ok { // as await does, but without a call
			r = p.ring.at(p.pos).take().pair
			p.pos++
		} else {
			r, ok = p.await()
		}
		if !ok || r.err != nil && p.over() { // the error may be that of an interrupted call
			break
		}
		p.got++
		p.window.owe()
		if r.err == ErrSkip {
			continue
		}
		if !emit(&p.crew, yield, r.v, r.err) {
			return
		}
	}
	err := ContextError(p.outer)
	switch {
	case p.failed.Load(): // join passes it on
		return
	case err == nil:
		err = p.final
	}
	if err != nil {
		var none U
		emit(&p.crew, yield, none, err)
	}
}

// await waits for the next result. It is false when none will come, or when the loop
// is over.
func (p *pool[T, U]) await() (r pair[U], ok bool) {
	for round := 0; !p.over(); round++ {
		if pos, ok := p.find(); ok {
			return p.take(pos), true
		}
		if p.late != nil && p.late.errors.Load() > 0 {
			return pair[U]{err: p.late.nextError()}, true
		}
		p.window.settle()
		switch {
		case p.finished():
			return r, false
		case round < spins:
			runtime.Gosched()
		default:
			p.sleep()
		}
	}
	return r, false
}

func (p *pool[T, U]) finished() bool { return p.total.Load() == p.got+1 }

func (p *pool[T, U]) sleep() {
	if p.late == nil {
		p.want.Store(p.pos + 1)
	} else {
		p.want.Store(anything)
	}
	p.consumer.sleep(func() bool {
		_, ok := p.find()
		return ok || p.finished() || p.failed.Load() || p.late != nil && p.late.errors.Load() > 0
	}, p.outer.Done())
	p.want.Store(0)
}

// find returns the position of a result that may be yielded.
func (p *pool[T, U]) find() (pos uint64, ok bool) {
	if p.late == nil {
		return p.pos, p.ring.is(p.pos, done)
	}
	for _, pos := range p.late.positions {
		if p.ring.is(pos, done) {
			return pos, true
		}
	}
	p.skipGaps()
	if p.ring.is(p.pos, done) {
		return p.pos, true
	}
	taken := p.taken.Load()
	for pos := p.pos + 1; pos < taken; pos++ {
		if p.ring.is(pos, done) {
			return pos, true
		}
	}
	if p.late.gaps.Load() > 0 { // the source may wait for the consumer to get past them
		p.passUpTo(taken)
		p.skipGaps()
	}
	return 0, false
}

// take takes the result at pos, which find has found. The source may come to the
// cell as soon as a latecomer is said to have arrived, so that is said last.
func (p *pool[T, U]) take(pos uint64) pair[U] {
	r := p.ring.at(pos).take().pair
	if p.late != nil && pos < p.pos {
		p.late.arrived(pos)
	} else {
		p.passUpTo(pos)
		p.pos = pos + 1
	}
	return r
}

// passUpTo makes latecomers of the results before pos.
func (p *pool[T, U]) passUpTo(pos uint64) {
	for ; p.pos < pos; p.pos++ {
		if p.late.left(p.pos) {
			p.skipGap()
		} else {
			p.late.pass(p.pos)
		}
	}
}

func (p *pool[T, U]) skipGaps() {
	for ; p.late.left(p.pos); p.pos++ {
		p.skipGap()
	}
}

func (p *pool[T, U]) skipGap() {
	p.late.gaps.Add(-1)
	p.window.place.wake()
}

// stop tells the source and the workers to end.
func (p *pool[T, U]) stop() {
	p.cancel()
	p.window.close()
	p.squad.close()
}

// Latecomers are what makes a pool unordered. The consumer still comes to the cells
// in order, since that costs least, but where a result is not ready and a later one
// is, it passes over the late one and looks for it from then on each time. There are
// no more of them than workers. The source leaves out their cells when it comes round
// to them, so that nobody waits for a latecomer.
//
// Rejected: to give out cells in the order of completion. It takes two more atomic
// operations an item, and made MapUnordered slower than MapConcurrent.
type latecomers struct {
	positions []uint64      // passed over and not yet taken; the consumer's own
	count     atomic.Int32  // of positions
	late      []atomic.Bool // for each cell: a latecomer is in it

	leftOut []atomic.Uint64 // for each cell: the last position that was left out, plus one
	gaps    atomic.Int32    // left out, and the consumer has not come to it yet
	maxGaps int32

	// Item errors of in overtake everything.
	mu     sync.Mutex
	errs   []error
	errors atomic.Int32 // the length of errs
}

func newLatecomers(cells, maxGaps int) *latecomers {
	return &latecomers{maxGaps: int32(maxGaps), late: make([]atomic.Bool, cells), leftOut: make([]atomic.Uint64, cells)}
}

func (l *latecomers) cell(pos uint64) uint64 { return pos & uint64(len(l.late)-1) }

// pass marks pos as late. The consumer does it before it gives back the credit of a
// later position, so that the source sees it before it can come round.
func (l *latecomers) pass(pos uint64) {
	l.positions = append(l.positions, pos)
	l.count.Add(1)
	l.late[l.cell(pos)].Store(true)
}

// arrived forgets pos, whose result has come.
func (l *latecomers) arrived(pos uint64) {
	for i, other := range l.positions {
		if other == pos {
			l.positions = append(l.positions[:i], l.positions[i+1:]...)
			break
		}
	}
	l.late[l.cell(pos)].Store(false)
	l.count.Add(-1)
}

// occupies reports whether a latecomer is in the cell of pos.
func (l *latecomers) occupies(pos uint64) bool {
	return l.count.Load() > 0 && l.late[l.cell(pos)].Load()
}

// leaveOut makes pos a gap.
func (l *latecomers) leaveOut(pos uint64) {
	l.gaps.Add(1)
	l.leftOut[l.cell(pos)].Store(pos + 1)
}

// left reports whether pos was left out.
func (l *latecomers) left(pos uint64) bool { return l.leftOut[l.cell(pos)].Load() == pos+1 }

// report takes an item error of in.
func (l *latecomers) report(err error) {
	l.mu.Lock()
	l.errs = append(l.errs, err)
	l.mu.Unlock()
	l.errors.Add(1)
}

func (l *latecomers) nextError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.errs[0]
	l.errs = l.errs[1:]
	l.errors.Add(-1)
	return err
}
