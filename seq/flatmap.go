package seq

import (
	"context"
	"iter"
	"runtime"
	"sync/atomic"
)

// FlatMapConcurrent turns each item of in into a stream and yields what the streams
// yield in the order of the items, n streams at a time: all of the first, then all of
// the second. The first is handed over as it comes; those behind it run ahead until
// each has its part of the window. fn gets a context that ends with the loop; its
// streams are ranged over by the workers.
//
// The window is for sub-items not yet yielded, divided among n streams; it is
// raised to n. A stream counts until its last item has been yielded. Errors of in and of
// the streams pass as they are, in position; a final error ends the whole when its turn
// comes.
//
// After a graceful stop ([WithStop]) no stream begins, and those that have begun go on to
// their end. Where that may take long, put what ends it, such as a gate, behind this stage
// and not into the streams: one that ends early cannot be told from one that is complete.
//
// Ends: when in and all streams have ended, at a final error, or when ctx ends.
// Owns: up to n+1 goroutines; all have exited when the loop has.
// Reads ahead: at most n items of in whose streams have not been yielded; of these, at most the window, 2n unless [Window] says otherwise.
// Reuse: as often as in and what fn returns.
func FlatMapConcurrent[T, U any](ctx context.Context, in iter.Seq2[T, error], n int,
	fn func(context.Context, T) iter.Seq2[U, error], opts ...Option) iter.Seq2[U, error] {
	n, window := checkPool("FlatMapConcurrent", ctx, in, n, fn == nil, opts)
	return func(yield func(U, error) bool) {
		f := &flatOrdered[T, U]{fn: fn, share: max(1, window/n)}
		f.group.init(ctx, ctx)
		f.pool.init(n, func() { f.start(f.work) }, f.some)
		f.backlog.init(n)
		f.backlog.yield = f.watch
		defer f.join()
		defer f.stop()
		if !f.over() {
			f.start(func() { f.feed(in) })
		}
		f.consume(yield)
	}
}

// A flatOrdered is one loop over FlatMapConcurrent: a source, up to n workers and the
// consumer. An item that is pulled gets the next cell of a ring, and in it a lane for
// its stream; an error of in is a cell by itself. The consumer comes to the cells in
// order, and to the next one when the lane has been finished and emptied. As each lane
// has a size of its own, those behind cannot use up what the first one needs.
type flatOrdered[T, U any] struct {
	group
	pool
	backlog[subStream[T, U]]
	lanes lanes[U]
	share int // the size of a lane
	fn    func(context.Context, T) iter.Seq2[U, error]

	_     cacheLine
	final error // the final error of in; the source's own until total is set
	_     cacheLine
	want  atomic.Uint64 // the position that the consumer sleeps for, plus one
	total atomic.Uint64 // how many pairs were pulled, plus one; 0 while in goes on
	_     cacheLine
	pos   uint64   // the position that the consumer is at; the consumer's own, like cur
	cur   *lane[U] // the lane at pos, or nil before that has been looked at
	_     cacheLine
}

// A subStream is an item with the lane of its stream, or an item error of in.
type subStream[T, U any] struct {
	item T
	out  *lane[U] // stays in the cell for the next one
	err  error
}

// feed runs the source.
func (f *flatOrdered[T, U]) feed(in iter.Seq2[T, error]) {
	in(f.push)
	f.total.Store(f.spent + 1)
	f.consumer.wake()
	f.pool.close()
}

// push takes a pair from the source.
func (f *flatOrdered[T, U]) push(v T, err error) bool {
	if f.final != nil || f.shut.Load() {
		return false
	}
	if err != nil && !IsItemError(err) {
		f.final = err
		return false
	}
	pos := f.spent
	f.spend()
	c := f.head.at(pos)
	if err != nil {
		c.v.err = err
		c.become(pos, done)
	} else {
		c.v.item = v
		if c.v.out == nil {
			c.v.out = new(lane[U])
			c.v.out.init(f.share, &f.consumer)
			f.lanes.add(c.v.out)
		} else {
			c.v.out.reopen()
		}
		c.become(pos, fed)
		f.call()
	}
	if f.want.Load() == pos+1 {
		f.consumer.wake()
	}
	return f.wait()
}

// work is a worker.
func (f *flatOrdered[T, U]) work() {
	var t table[subStream[T, U]]
	var pos uint64
	claim := func() (ok bool) {
		pos, ok = f.claim(&t)
		return ok
	}
	var out *lane[U]
	push := func(v U, err error) bool { return out.push(v, err) } // made once: it is an allocation
	for ok := f.next(true, claim); ok && f.group.ctx.Err() == nil; ok = f.next(false, claim) {
		c := t.at(pos)
		var none T
		item := c.v.item
		c.v.item = none
		out = c.v.out
		if why := f.refusal(); why != nil {
			Fail[U](notBegun(item, why))(push)
		} else {
			stream("FlatMapConcurrent", f.fn, f.group.ctx, item)(push)
		}
		if out.final { // what follows would not be yielded
			f.backlog.close()
		}
		out.finish()
	}
}

// stream calls fn for the stream of an item.
func stream[T, U any](stage string, fn func(context.Context, T) iter.Seq2[U, error], ctx context.Context, v T) iter.Seq2[U, error] {
	s := fn(ctx, v)
	if s == nil {
		panic("seq." + stage + ": fn must not return a nil stream")
	}
	return s
}

// consume yields what the streams yield.
func (f *flatOrdered[T, U]) consume(yield func(U, error) bool) {
	for {
		var r pair[U]
		if l := f.cur; l != nil && l.tail.is(l.got, done) && !f.over() { // the first look of await, without a call
			r = l.take()
		} else {
			var ok bool
			if r, ok = f.await(); !ok {
				break
			}
		}
		if r.err != nil && f.over() {
			break // the error may be that of an interrupted callback
		}
		if !emit(&f.group, yield, r.v, r.err) || r.err != nil && !IsItemError(r.err) {
			return
		}
	}
	var final error
	if !f.over() { // so the source has ended: only then is final ours to read
		final = f.final
	}
	conclude(&f.group, yield, final)
}

// await waits for the next pair. It is false when none will come, or when the loop is
// over.
func (f *flatOrdered[T, U]) await() (r pair[U], ok bool) {
	for round := 0; !f.over(); round++ {
		switch l := f.cur; {
		case l != nil && l.ready():
			return l.take(), true
		case l != nil && l.finished():
			l.settle()
			f.cur = nil
			f.advance()
			round = -1
			continue
		case l != nil:
			l.settle()
		case f.published():
			c := f.ring.table(f.pos).at(f.pos)
			if err := c.v.err; err != nil {
				c.v.err = nil
				f.advance()
				return pair[U]{err: err}, true
			}
			f.cur = c.v.out
			round = -1
			continue
		case f.total.Load() == f.pos+1:
			return r, false
		}
		if round < spins {
			runtime.Gosched()
		} else {
			f.sleep()
		}
	}
	return r, false
}

// advance goes on to the next position.
func (f *flatOrdered[T, U]) advance() {
	f.pos++
	f.giveBack()
}

// published reports whether the source has come as far as the consumer.
func (f *flatOrdered[T, U]) published() bool {
	turn := f.ring.table(f.pos).at(f.pos).turn.Load()
	return turn == f.pos<<2|fed || turn == f.pos<<2|done
}

func (f *flatOrdered[T, U]) sleep() {
	if l := f.cur; l != nil {
		l.rest()
		f.consumer.sleep(func() bool { return l.called() || f.failed.Load() }, f.outer.Done())
		return
	}
	f.want.Store(f.pos + 1)
	f.consumer.sleep(func() bool {
		return f.published() || f.total.Load() == f.pos+1 || f.failed.Load()
	}, f.outer.Done())
	f.want.Store(0)
}

// stop lets go of the source and of the workers. The source comes first, so that it
// does not go on when a worker that is let go is done with its stream.
func (f *flatOrdered[T, U]) stop() {
	defer f.pool.close()
	defer f.lanes.close()
	f.backlog.close()
	f.cancel()
}
