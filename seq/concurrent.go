package seq

import (
	"context"
	"iter"
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
// and 8 workers, a window of 1024 takes about 0.6 of the time of the default
// of 16. It costs memory for as many items and results, and that much is done in
// vain when the loop ends early. Of a window of 32 or more, up to a 32nd part may be
// given back late, while results are being yielded.
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
	checkContext(name, ctx)
	checkStream(name, in)
	checkAtLeast(name, "n", n, 1)
	checkFunc(name, "fn", fn == nil)
	window := makeOptions(2*n, opts).window
	return func(yield func(U, error) bool) {
		p := newPool(ctx, in, n, window, fn, ordered)
		defer p.join()
		defer p.stop()
		if !p.over() {
			p.start(p.feed)
		}
		p.consume(yield)
	}
}
