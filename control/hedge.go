package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/pipeline/seq"
)

// Hedge returns a function that makes up for slow calls: it calls fn, and where
// that takes longer than after it calls fn once more beside it, and so on, until
// there are max tries in all, the first included. The first success is the result.
// See Dean and Barroso, The Tail at Scale (CACM 2013): with after at the 95th
// percentile of the latency, this cuts off the tail for 5 % more calls. fn must be
// safe to be called more than once for an item.
//
// A try that fails makes the next one begin at once. When all have failed, the
// error Is each of their errors. An error of [Permanent] ends it at once, and
// [seq.ErrSkip] is no failure: it is a result like any other.
//
// When there is a result, the context of the other tries is cancelled and they are
// waited for: nothing goes on behind the caller's back. So fn must heed its
// context, or a slow try is waited for all the same, and its result must be whole
// when it returns: the context of the try that won ends, too. A panic in any try surfaces in
// the caller's goroutine as a [*seq.PanicError], after that.
//
// Hedge panics where fn is nil, after is not above 0, or max is below 1.
func Hedge[T, U any](fn func(context.Context, T) (U, error), after time.Duration, max int) func(context.Context, T) (U, error) {
	if fn == nil {
		panic("control.Hedge: fn must not be nil")
	}
	if after <= 0 {
		panic(fmt.Sprintf("control.Hedge: after must be above 0, got %v", after))
	}
	if max < 1 {
		panic(fmt.Sprintf("control.Hedge: max must be at least 1, got %d", max))
	}
	if max == 1 {
		return fn
	}
	return func(ctx context.Context, item T) (U, error) {
		h := &hedge[T, U]{fn: fn, item: item, max: max, ended: make(chan try[U], max)}
		return h.run(ctx, after)
	}
}

// A hedge is one call of a function that Hedge returned.
type hedge[T, U any] struct {
	fn    func(context.Context, T) (U, error)
	item  T
	max   int
	tasks []*seq.Task
	ended chan try[U] // has room for all tries: none is held up by it
	errs  []error     // of tries that have failed
}

// A try is what came of one call of fn.
type try[U any] struct {
	result   U
	err      error
	returned bool // false: it panicked or left by Goexit, which joining it tells
}

// run makes the tries and ends them all before it returns, in whatever way.
func (h *hedge[T, U]) run(ctx context.Context, after time.Duration) (result U, err error) {
	tries, cancel := context.WithCancel(ctx)
	won := h.race(tries, after)
	cancel()
	for _, t := range h.tasks {
		t.Wait() // all of them, before the first one's panic surfaces
	}
	for _, t := range h.tasks {
		t.Join()
	}
	if won != nil {
		return won.result, won.err
	}
	if ctx.Err() != nil {
		h.errs = append(h.errs, seq.ContextError(ctx))
	}
	return result, &hedgeError{h.errs}
}

// race makes tries until one of them decides, which it returns, or all have failed.
// After the end of ctx it begins no more of them.
func (h *hedge[T, U]) race(ctx context.Context, after time.Duration) *try[U] {
	timer := time.NewTimer(after)
	defer timer.Stop()
	h.begin(ctx)
	for running := 1; running > 0; {
		more := timer.C
		if len(h.tasks) == h.max || ctx.Err() != nil {
			more = nil
		}
		select {
		case t := <-h.ended:
			running--
			if t.decides() {
				return &t
			}
			h.errs = append(h.errs, t.err)
			if len(h.tasks) == h.max || ctx.Err() != nil {
				continue
			}
		case <-more:
		}
		h.begin(ctx)
		running++
		timer.Reset(after)
	}
	return nil
}

// decides reports whether there need not be another try.
func (t *try[U]) decides() bool {
	return !t.returned || t.err == nil || errors.Is(t.err, seq.ErrSkip) || isPermanent(t.err)
}

// begin begins a try.
func (h *hedge[T, U]) begin(ctx context.Context) {
	h.tasks = append(h.tasks, seq.Go(ctx, func() {
		var t try[U]
		defer func() { h.ended <- t }()
		t.result, t.err = h.fn(ctx, h.item)
		t.returned = true
	}))
}

// A hedgeError is the failure of all tries.
type hedgeError struct{ errs []error }

func (e *hedgeError) Error() string {
	texts := make([]string, len(e.errs))
	for i, err := range e.errs {
		texts[i] = err.Error()
	}
	return "control.Hedge: no try succeeded: " + strings.Join(texts, "; ")
}

func (e *hedgeError) Unwrap() []error { return e.errs }
