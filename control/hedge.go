package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
// error Is each of their errors, or the last 64 of them. An error of [Permanent]
// ends it at once, and [seq.ErrSkip] is no failure: it is a result like any other.
// A success counts even if ctx has ended meanwhile.
//
// A try that was refused ([ErrRefused]) is none. The next one begins when it is due,
// not at once, and where no other is running the refusal is the result. After
// [ErrStopped], and after the Stop of a gate that is in ctx, no more tries begin; those in
// flight are finished.
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
	return func(ctx context.Context, item T) (U, error) {
		if ctx.Err() != nil {
			var none U
			return none, seq.ContextError(ctx)
		}
		if max == 1 {
			return fn(ctx, item)
		}
		h := &hedge[T, U]{fn: fn, item: item, left: max,
			running: make(map[*try[U]]struct{}), ended: make(chan *try[U]), over: make(chan struct{})}
		return h.run(ctx, after)
	}
}

// A hedge is one call of a function that Hedge returned.
type hedge[T, U any] struct {
	fn      func(context.Context, T) (U, error)
	item    T
	left    int  // tries that may still begin
	stopped bool // no more may
	running map[*try[U]]struct{}
	ended   chan *try[U]  // tries that have ended, one by one
	over    chan struct{} // closed when nobody receives them any more

	errs    []error   // of the last tries that have failed
	refusal error     // the last one
	broken  *seq.Task // the first try that did not return
}

// A try is one call of fn.
type try[U any] struct {
	task     *seq.Task // set and read by the caller's goroutine, the rest by the try
	result   U
	err      error
	returned bool // false: it panicked or left by Goexit, which joining it tells
}

// maxHedgeErrors bounds the errors that are kept, since tries may go on for long.
const maxHedgeErrors = 64

// run makes the tries and ends them all before it returns, in whatever way.
func (h *hedge[T, U]) run(ctx context.Context, after time.Duration) (result U, err error) {
	tries, cancel := context.WithCancel(ctx)
	defer h.join(cancel) // also where a method of an error panics
	if won := h.race(tries, after); won != nil {
		return won.result, won.err
	}
	return result, h.failure(ctx)
}

// join ends all tries that are still running, and passes on a panic or Goexit of one.
func (h *hedge[T, U]) join(cancel context.CancelFunc) {
	cancel()
	close(h.over)
	for t := range h.running {
		h.take(t)
	}
	if h.broken != nil {
		h.broken.Join()
	}
}

// race makes tries until one of them decides, which it returns, or all have failed.
// After the end of ctx it begins no more of them.
func (h *hedge[T, U]) race(ctx context.Context, after time.Duration) *try[U] {
	timer := time.NewTimer(after)
	defer timer.Stop()
	h.begin(ctx)
	for len(h.running) > 0 {
		more := timer.C
		if !h.mayBegin(ctx) {
			more = nil
		}
		select {
		case t := <-h.ended:
			h.take(t)
			switch {
			case t.decides():
				return t
			case isRefused(t.err):
				h.refuse(t.err)
				continue
			}
			h.fail(t.err)
			if !h.mayBegin(ctx) {
				continue
			}
		case <-more:
			if !h.mayBegin(ctx) {
				continue
			}
		}
		h.begin(ctx)
		timer.Reset(after)
	}
	return nil
}

// mayBegin reports whether there may be another try.
func (h *hedge[T, U]) mayBegin(ctx context.Context) bool {
	return h.left > 0 && !h.stopped && ctx.Err() == nil && !anyStopped(gatesIn(ctx))
}

// begin begins a try.
func (h *hedge[T, U]) begin(ctx context.Context) {
	t := new(try[U])
	h.left--
	t.task = seq.Go(ctx, func() {
		defer func() {
			select {
			case h.ended <- t:
			case <-h.over:
			}
		}()
		if t.err = ended(ctx); t.err == nil { // ctx may end as the timer fires
			t.result, t.err = h.fn(ctx, h.item)
		}
		t.returned = true
	})
	h.running[t] = struct{}{} // now: a method of ctx may panic in Go
}

// take waits for a try and takes it over.
func (h *hedge[T, U]) take(t *try[U]) {
	t.task.Wait()
	delete(h.running, t)
	if !t.returned && h.broken == nil {
		h.broken = t.task
	}
}

// decides reports whether there need not be another try.
func (t *try[U]) decides() bool {
	return !t.returned || t.err == nil || errors.Is(t.err, seq.ErrSkip) || isPermanent(t.err)
}

func (h *hedge[T, U]) fail(err error) {
	if len(h.errs) == maxHedgeErrors {
		h.errs = slices.Delete(h.errs, 0, 1)
	}
	h.errs = append(h.errs, err)
}

// refuse notes a refusal, which was no try.
func (h *hedge[T, U]) refuse(err error) {
	h.left++
	if !h.stopped { // that one says more than those that follow
		h.refusal = err
		h.stopped = errors.Is(err, ErrStopped)
	}
}

// failure is the error where no try has decided.
func (h *hedge[T, U]) failure(ctx context.Context) error {
	made := len(h.errs) > 0
	switch {
	case !made && ctx.Err() != nil:
		return ended(ctx)
	case !made:
		return h.refusal
	}
	errs := h.errs
	if h.refusal != nil {
		errs = append(errs, &madeError{h.refusal})
	}
	if ctx.Err() != nil {
		errs = append(errs, seq.ContextError(ctx))
	}
	return &hedgeError{errs}
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
