package seq

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"sync/atomic"
)

// An Option adjusts a concurrent stage.
type Option interface{ apply(*options) }

type options struct{ window int }

type windowOption int

func (w windowOption) apply(o *options) { o.window = int(w) }

// Window bounds the items that a concurrent stage has pulled and not yet yielded.
//
// The default is twice the workers. A larger window keeps the workers busy behind
// one slow item, and lets the stage hand over in longer runs: with work of 1 µs
// and 8 workers, a window of 64 takes about two thirds of the time of one of 16.
// It costs memory for as many items and results, and that much is done in vain
// when the loop ends early.
func Window(n int) Option {
	checkAtLeast("Window", "n", n, 1)
	return windowOption(n)
}

func makeOptions(window int, opts []Option) options {
	o := options{window}
	for _, opt := range opts {
		opt.apply(&o)
	}
	return o
}

// MapConcurrent calls fn for the items of in, n at a time, and yields the results
// in the order of the items. A result is handed over as soon as it and all before
// it are ready, even while in is idle.
//
// An error of fn becomes an [*ItemError] of the item, in its position; [ErrSkip]
// drops the item. fn's context ends when ctx does, when the loop ends, and when
// another call panics. When ctx ends, its error is yielded at once; what is still
// held is dropped, and so are the errors of the calls that were interrupted.
//
// The work runs at the pace of the consumer: while the loop's body takes its time,
// at most the window is done in advance, then in is not pulled.
//
// Ends: with in, at a final error of in, or when ctx ends.
// Owns: up to n+1 goroutines; all have exited when the loop has.
// Reads ahead: at most the window, 2n unless [Window] says otherwise.
// Reuse: as often as in.
func MapConcurrent[T, U any](ctx context.Context, in iter.Seq2[T, error], n int,
	fn func(context.Context, T) (U, error), opts ...Option) iter.Seq2[U, error] {
	return mapPool("MapConcurrent", ctx, in, n, fn, true, opts)
}

// MapUnordered is [MapConcurrent] in the order in which the results get ready: one
// slow item holds nobody up. An item error may overtake items; a final error
// comes after all that was pulled before it.
//
// Ends: with in, at a final error of in, or when ctx ends.
// Owns: up to n+1 goroutines; all have exited when the loop has.
// Reads ahead: at most the window, 2n unless [Window] says otherwise.
// Reuse: as often as in.
func MapUnordered[T, U any](ctx context.Context, in iter.Seq2[T, error], n int,
	fn func(context.Context, T) (U, error), opts ...Option) iter.Seq2[U, error] {
	return mapPool("MapUnordered", ctx, in, n, fn, false, opts)
}

// ForEachConcurrent calls fn for the items of in, n at a time, and returns the
// first error, be it of fn (as an [*ItemError]), of in or of ctx; that error
// cancels the context of the other calls, and they have returned when
// ForEachConcurrent does. [ErrSkip] is no error.
//
// Ends: with in, at the first error, or when ctx ends.
// Owns: up to n+1 goroutines; all have exited when it returns.
// Reads ahead: at most 2n items.
// Reuse: as often as in.
func ForEachConcurrent[T any](ctx context.Context, in iter.Seq2[T, error], n int,
	fn func(context.Context, T) error) error {
	checkFunc("ForEachConcurrent", "fn", fn == nil)
	call := func(ctx context.Context, v T) (struct{}, error) { return struct{}{}, fn(ctx, v) }
	for _, err := range mapPool("ForEachConcurrent", ctx, in, n, call, false, nil) {
		if err != nil {
			return err
		}
	}
	return nil
}

func mapPool[T, U any](name string, ctx context.Context, in iter.Seq2[T, error], n int,
	fn func(context.Context, T) (U, error), ordered bool, opts []Option) iter.Seq2[U, error] {
	checkStream(name, in)
	checkAtLeast(name, "n", n, 1)
	checkFunc(name, "fn", fn == nil)
	window := makeOptions(2*n, opts).window
	return func(yield func(U, error) bool) {
		p := &pool[T, U]{
			in: in, fn: fn, ordered: ordered,
			window: makeCredits(window), results: makeRing[pair[U]](window),
		}
		p.crew.init(ctx)
		p.dispatcher.init(n, window, func() { p.start(p.labour) })
		defer p.join()
		defer p.stop()
		if !p.over() {
			p.start(p.feed)
		}
		p.consume(yield)
	}
}

// A job is an item on its way to a worker, with the position of its result.
type job[T any] struct {
	v  T
	at uint64
}

// A pool is one loop over MapConcurrent or MapUnordered: a source, up to n workers
// and the consumer. Every pair that is pulled gets one cell among the results: its
// own position where the order is kept, the next free one otherwise.
type pool[T, U any] struct {
	crew
	dispatcher[job[T]]
	in      iter.Seq2[T, error]
	fn      func(context.Context, T) (U, error)
	ordered bool
	window  credits // for pairs pulled and not yet yielded
	results ring[pair[U]]
	final   error // the final error of in; valid once total is set

	_     cacheLine
	done  atomic.Uint64 // cells given away, where the order is not kept
	_     cacheLine
	want  atomic.Uint64 // the position that the consumer sleeps for, plus one
	total atomic.Uint64 // how many pairs were pulled, plus one; 0 while in goes on
	_     cacheLine
}

// feed runs the source.
func (p *pool[T, U]) feed() {
	p.in(p.push)
	p.total.Store(p.window.spent + 1)
	p.consumer.wake()
	p.dispatcher.close()
}

// push takes a pair from the source. It returns when there is room for another, so
// that in is not resumed before.
func (p *pool[T, U]) push(v T, err error) bool {
	if p.final != nil || p.window.shut.Load() {
		return false
	}
	at := p.window.spent
	switch {
	case err == nil:
		p.window.spend()
		p.add(job[T]{v, at})
	case IsItemError(err):
		p.window.spend()
		var none U
		p.publish(at, none, err)
	default:
		p.final = err
		return false
	}
	return p.window.wait()
}

// labour is a worker.
func (p *pool[T, U]) labour() {
	for searching := true; ; {
		j, ok := p.next(&searching)
		if !ok || p.ctx.Err() != nil {
			return
		}
		v, err := p.fn(p.ctx, j.v)
		if err != nil {
			var none U
			if v = none; errors.Is(err, ErrSkip) {
				err = ErrSkip
			} else {
				err = &ItemError{j.v, err}
			}
		}
		p.publish(j.at, v, err)
	}
}

// publish hands over a result, and wakes the consumer only if it sleeps for that
// very one.
func (p *pool[T, U]) publish(at uint64, v U, err error) {
	if !p.ordered {
		at = p.done.Add(1) - 1
	}
	p.results.put(at, pair[U]{v, err})
	if p.want.Load() == at+1 {
		p.consumer.wake()
	}
}

// consume yields the results.
func (p *pool[T, U]) consume(yield func(U, error) bool) {
	for pos := uint64(0); p.await(pos); pos++ {
		r := p.results.take(pos)
		p.window.giveBack()
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

// await waits for the result at pos. It is false when none will come, or when the
// loop is over.
func (p *pool[T, U]) await(pos uint64) bool {
	for round := 0; !p.over(); round++ {
		switch {
		case p.results.ready(pos):
			return true
		case p.total.Load() == pos+1:
			return false
		case round < spins:
			runtime.Gosched()
		default:
			p.want.Store(pos + 1)
			p.consumer.sleep(func() bool {
				return p.results.ready(pos) || p.total.Load() == pos+1 || p.failed.Load()
			}, p.outer.Done())
			p.want.Store(0)
		}
	}
	return false
}

// stop tells the source and the workers to end.
func (p *pool[T, U]) stop() {
	p.cancel()
	p.window.close()
	p.dispatcher.close()
}
