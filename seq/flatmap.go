package seq

import (
	"context"
	"iter"
	"sync/atomic"
)

// FlatMapConcurrent turns each item of in into a stream and yields what the streams
// yield as it comes, n streams at a time. Each of them keeps its own order. fn gets a
// context that ends with the loop; its streams are ranged over by the workers.
//
// The window is for sub-items not yet yielded, divided among the workers; it is
// raised to n. Errors of the streams pass as they are. A final error of one of them
// ends the whole; a final error of in waits until the streams before it have ended.
//
// Ends: when in and all streams have ended, at a final error, or when ctx ends.
// Owns: up to n+1 goroutines; all have exited when the loop has.
// Reads ahead: at most n items of in whose streams have not ended; of these, at most the window, 2n unless [Window] says otherwise.
// Reuse: as often as in and what fn returns.
func FlatMapConcurrent[T, U any](ctx context.Context, in iter.Seq2[T, error], n int,
	fn func(context.Context, T) iter.Seq2[U, error], opts ...Option) iter.Seq2[U, error] {
	checkContext("FlatMapConcurrent", ctx)
	checkStream("FlatMapConcurrent", in)
	checkAtLeast("FlatMapConcurrent", "n", n, 1)
	checkFunc("FlatMapConcurrent", "fn", fn == nil)
	window := makeOptions(2*n, opts).window
	return func(yield func(U, error) bool) {
		f := &flattener[T, U]{in: in, fn: fn, open: makeCredits(n)}
		f.init(ctx, n+1, max(1, window/n))
		f.jobs.init(n, f.hire)
		f.open.yield = f.jobs.watch
		defer f.join()
		defer f.stop()
		if !f.over() {
			f.start(f.feed)
		}
		f.collect(yield)
	}
}

// A flattener is one loop over FlatMapConcurrent: a source, up to n workers with a lane
// each, a last lane for the errors of in, and the consumer, which collects.
type flattener[T, U any] struct {
	collector[U]
	in   iter.Seq2[T, error]
	fn   func(context.Context, T) iter.Seq2[U, error]
	jobs queue[T]
	open credits // for streams that have not ended

	hired atomic.Int32 // workers; each gets the next lane
}

func (f *flattener[T, U]) hire() {
	l := &f.lanes[f.hired.Add(1)-1]
	f.start(func() { f.labour(l) })
}

// retire finishes the lanes of the workers that were never needed.
func (f *flattener[T, U]) retire() {
	workers := len(f.lanes) - 1
	for i := f.jobs.retire(); i < workers; i++ {
		f.lanes[i].finish()
	}
}

// feed runs the source.
func (f *flattener[T, U]) feed() {
	errs := &f.lanes[len(f.lanes)-1]
	var final error
	f.in(func(v T, err error) bool {
		switch {
		case final != nil || f.open.shut.Load():
			return false
		case err == nil:
			f.open.spend()
			f.jobs.add(v)
			return f.open.wait()
		case IsItemError(err):
			var none U
			return errs.push(none, err)
		}
		final = err
		return false
	})
	f.final = final
	errs.finish()
	f.jobs.close()
	if !f.jobs.any() { // else a worker has been called for the last job, and retires the others
		f.retire()
	}
}

// labour is a worker.
func (f *flattener[T, U]) labour(out *lane[U]) {
	take, push := f.jobs.taker(true), out.push // push made once: it is an allocation
	for {
		v, ok := take()
		if !ok || f.ctx.Err() != nil {
			break
		}
		sub := f.fn(f.ctx, v)
		if sub == nil {
			panic("seq.FlatMapConcurrent: fn must not return a nil stream")
		}
		sub(push)
		f.open.giveBack()
	}
	f.retire()
	out.finish()
}

// stop lets go of the source and of the workers. The source comes first: a worker
// that is let go gives back its credit, and with that the source would go on.
func (f *flattener[T, U]) stop() {
	f.open.close()
	f.collector.stop()
	f.jobs.close()
}
