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
// of 16. It costs memory for what has been in flight at once, not for what the window
// allows, and that much is done in vain when the loop ends early. Of a window of 32 or
// more, up to a 32nd part, and no more than 32, may be given back late while results
// are being yielded.
//
// Windows, workers and buffers are upper bounds: any number will do, and none of them
// makes a stage hold or work on more than 1,048,576 (1<<20) items at once.
func Window(n int) Option {
	checkAtLeast("Window", "n", n, 1)
	return windowOption(n)
}

// checkPool panics where a stage with workers is misused, and returns the workers and
// the window that it is to have at most.
func checkPool[T any](name string, ctx context.Context, in iter.Seq2[T, error], n int, noFn bool, opts []Option) (workers, window int) {
	checkContext(name, ctx)
	checkStream(name, in)
	checkAtLeast(name, "n", n, 1)
	checkFunc(name, "fn", noFn)
	workers = min(n, atOnce)
	o := options{window: 2 * workers}
	for _, opt := range opts {
		opt.apply(&o)
	}
	return workers, min(o.window, atOnce)
}

// MapConcurrent calls fn for the items of in, n at a time, and yields the results
// in the order of the items. A result is handed over as soon as it and all before
// it are ready, even while in is idle.
//
// An error of fn becomes an [*ItemError] of the item, in its position; [ErrSkip]
// drops the item. fn's context ends when ctx does, when the loop ends, and when
// another call panics. When ctx ends, its error is yielded at once; what is still
// held is dropped, and so are the errors of the calls that were interrupted. A graceful
// stop lets them finish and begins no other: see [WithStop].
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
	n, window := checkPool("MapConcurrent", ctx, in, n, fn == nil, opts)
	return func(yield func(U, error) bool) {
		o := new(ordered[T, U])
		o.begin(ctx, n, window, fn, o.work, o.some, o.buryNext)
		o.run(in, o.push, yield)
	}
}

// MapUnordered is [MapConcurrent] in the order in which the results get ready: one
// slow item holds nobody up. A result that is ready is not overtaken. An item error of in
// is ready when it is pulled, so that it overtakes items that are still being worked on,
// and is itself overtaken by fewer results than the window holds; a final error
// comes after all that was pulled before it.
//
// Ends: with in, at a final error of in, or when ctx ends.
// Owns: up to n+1 goroutines; all have exited when the loop has.
// Reads ahead: at most the window, 2n unless [Window] says otherwise.
// Reuse: as often as in.
func MapUnordered[T, U any](ctx context.Context, in iter.Seq2[T, error], n int,
	fn func(context.Context, T) (U, error), opts ...Option) iter.Seq2[U, error] {
	n, window := checkPool("MapUnordered", ctx, in, n, fn == nil, opts)
	return func(yield func(U, error) bool) {
		u := new(unordered[T, U])
		u.begin(ctx, n, window, fn)
		u.run(in, u.push, yield)
	}
}

// MapKeyed is [MapConcurrent] for items that must not be worked on at the same time: fn
// is called for the items of one key one after another, in their order, and for
// different keys side by side, n at a time. The results come in the order of the items.
//
// An item that waits for the one before it of its key holds no worker, so a slow key
// holds up nobody else until the window is full of what waits for it; give [Window] a
// number that is large compared with how many items of a key come in a row. Keys are
// kept while they have items in flight, and not much longer.
//
// key is called in the goroutine of the source, once for each item as it is pulled, and
// never for errors. Its panic ends the loop like one of fn. An error of fn does not keep
// the other items of the key from being worked on.
//
// Ends: with in, at a final error of in, or when ctx ends.
// Owns: up to n+1 goroutines; all have exited when the loop has.
// Reads ahead: at most the window, 2n unless [Window] says otherwise.
// Reuse: as often as in.
func MapKeyed[T, U any, K comparable](ctx context.Context, in iter.Seq2[T, error], n int, key func(T) K,
	fn func(context.Context, T) (U, error), opts ...Option) iter.Seq2[U, error] {
	n, window := checkPool("MapKeyed", ctx, in, n, fn == nil, opts)
	checkFunc("MapKeyed", "key", key == nil)
	return func(yield func(U, error) bool) {
		k := new(keyed[T, U, K])
		k.begin(ctx, n, window, key, fn)
		k.run(in, k.push, yield)
	}
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
	n, window := checkPool("ForEachConcurrent", ctx, in, n, fn == nil, nil)
	call := func(ctx context.Context, v T) (struct{}, error) { return struct{}{}, fn(ctx, v) }
	var first error
	u := new(unordered[T, struct{}])
	u.begin(ctx, n, window, call)
	u.run(in, u.push, func(_ struct{}, err error) bool {
		first = err
		return err == nil
	})
	return first
}
