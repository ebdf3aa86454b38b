package seqtest_test

import (
	"context"
	"fmt"
	"iter"
	"runtime/debug"
	"sync"
	"time"

	"example.com/pipeline/seq"
)

type ints = iter.Seq2[int, error]

type pair struct {
	v   int
	err error
}

// A flaw is a way in which a relay breaks the contract.
type flaw int

const (
	none flaw = iota
	unjoined
	givesUpWaiting
	callerContextForCallbacks
	waitsBeforeCancel
	joinsByChannel
	leaksGoroutine
	leaksOnBreak
	silentAtContext
	silentAfterItems
	contextErrorTwice
	contextErrorWithoutCause
	contextErrorAsItemError
	contextErrorLate
	itemAfterContext
	itemAfterContextError
	errorOfInterruptedCallback
	swallowsPanic
	swallowsPanicOfCallback
	panicAsError
	panicHangs
	panicWrappedTwice
	panicAsItIs
	panicWithoutStack
	goexitHangs
	goexitSwallowed
	bodyPanicCovered
	bodyPanicWrapped
	holdsBack
	readsFarAhead
	yieldsElsewhere
	yieldsTwiceAtOnce
	yieldsAfterFalse
	keepsSourceGoing
	holdsMutex
	crashes
)

// relay is a stage with a goroutine of its own: it calls fn for each item there and
// hands over in the loop's goroutine. With the flaw none it keeps the contract, and
// reads one item ahead.
func relay(ctx context.Context, in ints, fn func(context.Context, int) error, f flaw) ints {
	if in == nil {
		panic("seqtest_test.relay: the stream must not be nil")
	}
	return func(yield func(int, error) bool) {
		r := &relayed{fn: fn, flaw: f, outer: ctx, ch: make(chan pair)}
		if f == readsFarAhead {
			r.ch = make(chan pair, 4)
		}
		r.ctx, r.cancel = context.WithCancel(ctx)
		defer r.cancel()
		if f == leaksGoroutine {
			go func() { select {} }()
		}
		if ctx.Err() != nil {
			r.yieldContext(yield)
			return
		}
		if f == crashes {
			done := make(chan struct{})
			go func() {
				defer close(done)
				r.feed(in, yield)
			}()
			defer func() {
				r.cancel()
				<-done
			}()
		} else {
			r.task = seq.Go(r.outer, func() { r.feed(in, yield) })
			defer r.join()
		}
		r.collect(yield)
	}
}

type relayed struct {
	flaw   flaw
	fn     func(context.Context, int) error
	outer  context.Context
	ctx    context.Context // of the callbacks
	cancel context.CancelFunc
	ch     chan pair
	task   *seq.Task
	inBody bool
	left   bool
	some   bool // a pair has been yielded
	fate   any  // what the flaw makes of a panic in feed
	mu     sync.Mutex
	held   *pair
}

// feed runs the source.
func (r *relayed) feed(in ints, yield func(int, error) bool) {
	normal := false
	defer func() {
		if normal || r.flaw != goexitHangs && r.flaw != panicHangs {
			close(r.ch)
		}
	}()
	switch r.flaw {
	case swallowsPanic, panicAsError, panicWrappedTwice, panicAsItIs, panicWithoutStack:
		defer func() {
			if v := recover(); v != nil {
				r.spoil(v)
			}
		}()
	}
	in(func(v int, err error) bool {
		if r.flaw == holdsMutex {
			r.mu.Lock()
			defer r.mu.Unlock()
		}
		if err == nil {
			if cause := r.call(v); cause != nil {
				v, err = 0, &seq.ItemError{Item: v, Err: cause}
			}
		}
		switch {
		case r.flaw == yieldsElsewhere:
			return yield(v, err)
		case r.flaw == holdsBack && r.held == nil && err == nil:
			r.held = &pair{v, err}
			return r.ctx.Err() == nil
		}
		return r.flush() && r.send(pair{v, err}) || r.flaw == keepsSourceGoing
	})
	r.flush()
	normal = true
}

// call calls fn.
func (r *relayed) call(v int) error {
	switch r.flaw {
	case callerContextForCallbacks:
		return r.fn(r.outer, v)
	case swallowsPanicOfCallback:
		defer func() { recover() }()
	}
	return r.fn(r.ctx, v)
}

// flush sends what is held back.
func (r *relayed) flush() bool {
	if r.held == nil {
		return true
	}
	p := *r.held
	r.held = nil
	return r.send(p)
}

func (r *relayed) send(p pair) bool {
	if r.ctx.Err() != nil {
		return false
	}
	select {
	case r.ch <- p:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// spoil recovers from a panic of feed in the wrong way.
func (r *relayed) spoil(v any) {
	once := &seq.PanicError{Value: v, Stack: debug.Stack()}
	switch r.flaw {
	case panicAsError:
		r.send(pair{0, fmt.Errorf("panic: %v", v)})
	case panicAsItIs:
		r.fate = v
	case panicWithoutStack:
		r.fate = &seq.PanicError{Value: v}
	case panicWrappedTwice:
		r.fate = once
		if _, already := v.(*seq.PanicError); !already {
			r.fate = &seq.PanicError{Value: once, Stack: debug.Stack()}
		}
	}
}

// collect yields what comes until something is final.
func (r *relayed) collect(yield func(int, error) bool) {
	done := r.outer.Done()
	if r.flaw == contextErrorLate {
		done = nil
	}
	for r.outer.Err() == nil || done == nil {
		if r.flaw == holdsMutex {
			r.mu.Lock()
			r.mu.Unlock()
		}
		select {
		case p, more := <-r.ch:
			if !more && r.outer.Err() != nil {
				r.yieldContext(yield)
			}
			if !more || !r.yield(yield, p) || p.err != nil && !seq.IsItemError(p.err) {
				return
			}
		case <-done:
		}
	}
	r.yieldContext(yield)
}

func (r *relayed) yield(yield func(int, error) bool, p pair) bool {
	if r.flaw == yieldsTwiceAtOnce {
		second := seq.Go(r.outer, func() { yield(p.v, p.err) })
		defer second.Wait()
	}
	if r.flaw == bodyPanicWrapped {
		defer func() {
			if v := recover(); v != nil {
				panic(&seq.PanicError{Value: v, Stack: debug.Stack()})
			}
		}()
	}
	r.some, r.inBody = true, true
	ok := yield(p.v, p.err)
	r.inBody = false
	r.left = !ok
	if r.left && r.flaw == yieldsAfterFalse {
		yield(p.v, p.err)
	}
	return ok
}

// yieldContext yields the end of ctx.
func (r *relayed) yieldContext(yield func(int, error) bool) {
	err := seq.ContextError(r.outer)
	switch r.flaw {
	case silentAtContext:
	case silentAfterItems:
		if !r.some {
			r.yield(yield, pair{0, err})
		}
	case contextErrorWithoutCause:
		r.yield(yield, pair{0, r.outer.Err()})
	case contextErrorAsItemError:
		r.yield(yield, pair{0, &seq.ItemError{Err: err}})
	case contextErrorTwice:
		_ = r.yield(yield, pair{0, err}) && r.yield(yield, pair{0, err})
	case itemAfterContext:
		_ = r.yield(yield, pair{1, nil}) && r.yield(yield, pair{0, err})
	case itemAfterContextError:
		_ = r.yield(yield, pair{0, err}) && r.yield(yield, pair{1, nil})
	case errorOfInterruptedCallback:
		_ = r.yield(yield, pair{0, &seq.ItemError{Item: 1, Err: r.outer.Err()}}) && r.yield(yield, pair{0, err})
	default:
		r.yield(yield, pair{0, err})
	}
}

// join waits for feed and passes on its fate.
func (r *relayed) join() {
	switch {
	case r.flaw == unjoined:
		return
	case r.flaw == waitsBeforeCancel:
		r.task.Wait()
	case r.flaw == joinsByChannel:
		r.cancel()
		<-r.task.Done()
	case r.flaw == givesUpWaiting:
		r.cancel()
		select {
		case <-r.task.Done():
		case <-time.After(time.Second):
			return
		}
	case r.flaw == leaksOnBreak && r.left:
		go func() { select {} }()
	}
	r.cancel()
	switch {
	case r.flaw == goexitSwallowed:
		r.task.Wait()
		return
	case r.flaw == bodyPanicCovered && r.inBody:
		seq.Go(r.outer, r.task.Join).Join() // as if nothing were passing through
	}
	r.task.Join()
	if r.fate != nil && !r.inBody {
		panic(r.fate)
	}
}
