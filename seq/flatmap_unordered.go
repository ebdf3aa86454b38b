package seq

import (
	"context"
	"iter"
)

// FlatMapUnordered is [FlatMapConcurrent] in the order in which the sub-items get
// ready: a slow stream holds nobody up. Each stream keeps its own order. A pair that is
// ready is overtaken by at most as many as the window holds.
//
// A final error of one of the streams ends the whole at once; a final error of in
// waits until the streams before it have ended. An item error of in may overtake items.
//
// Ends: when in and all streams have ended, at a final error, or when ctx ends.
// Owns: up to n+1 goroutines; all have exited when the loop has.
// Reads ahead: at most n items of in whose streams have not ended; of these, at most the window, 2n unless [Window] says otherwise.
// Reuse: as often as in and what fn returns.
func FlatMapUnordered[T, U any](ctx context.Context, in iter.Seq2[T, error], n int,
	fn func(context.Context, T) iter.Seq2[U, error], opts ...Option) iter.Seq2[U, error] {
	n, window := checkPool("FlatMapUnordered", ctx, in, n, fn == nil, opts)
	return func(yield func(U, error) bool) {
		f := &flatUnordered[T, U]{fn: fn, open: makeCredits(n)}
		f.collector.init(ctx, max(1, window/n))
		f.jobs.init(&f.pool, n)
		f.pool.init(n, f.add, f.jobs.some)
		f.open.yield = f.watch
		if f.halt != nil {
			f.shelf = &shelf{giveBack: f.open.giveBack}
		}
		defer f.join()
		defer f.stop()
		if !f.over() {
			errs := f.collector.add()
			f.start(func() { f.feed(in, errs) })
		}
		f.collect(yield)
	}
}

// A flatUnordered is one loop over FlatMapUnordered: a source, up to n workers with a
// lane each, a lane for the errors of in, and the consumer, which collects.
type flatUnordered[T, U any] struct {
	collector[U]
	pool
	jobs queue[T]
	fn   func(context.Context, T) iter.Seq2[U, error]
	open credits // for streams that have not ended
}

// add starts a worker. Whoever does so has a lane that is open.
func (f *flatUnordered[T, U]) add() {
	l := f.collector.add()
	f.start(func() { f.work(l) })
}

// feed runs the source.
func (f *flatUnordered[T, U]) feed(in iter.Seq2[T, error], errs *lane[U]) {
	var final error
	in(func(v T, err error) bool {
		switch {
		case final != nil || f.open.shut.Load():
			return false
		case err == nil:
			f.open.spend()
			f.jobs.hand(v)
			return f.open.wait()
		case IsItemError(err):
			var none U
			return errs.push(none, err)
		}
		final = err
		return false
	})
	f.final = final
	f.pool.close()
	errs.finish()
}

// work is a worker.
func (f *flatUnordered[T, U]) work(out *lane[U]) {
	take, push := f.jobs.taker(true), out.push // push made once: it is an allocation
	for v, ok := take(); ok && f.group.ctx.Err() == nil; v, ok = take() {
		if f.shelf != nil && !f.shelf.begin(f.refusal, v) {
			f.consumer.wake()
			continue
		}
		stream("FlatMapUnordered", f.fn, f.group.ctx, v)(push)
		if out.final { // what follows would not be yielded
			f.open.close()
			break
		}
		f.open.giveBack()
		if f.shelf != nil && f.shelf.end() {
			f.consumer.wake()
		}
	}
	out.finish()
}

// stop lets go of the source and of the workers. The source comes first: a worker
// that is let go gives back its credit, and with that the source would go on.
func (f *flatUnordered[T, U]) stop() {
	defer f.pool.close()
	f.open.close()
	f.collector.stop()
}
