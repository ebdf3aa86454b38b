package seqtest

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"sync"
)

// A Probe is the handle by which a check reaches the inside of a stage: its
// callback, and a source that the stage builds itself. Which of the methods the
// callback calls tells the checks what it can do.
type Probe[T any] struct {
	items []T
	equal func(a, b T) bool // how they are told apart
	in    *script[T]

	mu        sync.Mutex
	uses      uses
	plan      func(i int) act // for the item at index i; nil: return at once
	gate      chan struct{}   // closed: callbacks that wait at the gate go on
	active    int             // callbacks that have not returned
	calls     map[int]int     // by the item's index
	where     string          // the goroutine of the planned panic
	coroutine bool            // it is the coroutine of an iter.Pull
}

// uses says what the stage was seen to do with its probe.
type uses struct{ callback, errors, context, source bool }

// An act is what a check wants a callback to do for one item.
type act struct {
	kind actKind
	err  error    // of fails
	boom *planned // of panics
}

type actKind int

const (
	returns actKind = iota
	panics
	exits
	fails
	waitsForContext
	waitsAtGate
)

// Call is for a callback that has no error to return and no context.
func (p *Probe[T]) Call(item T) {
	p.enter(uses{callback: true}, nil, item)
}

// Try is for a callback without a context whose error becomes a
// [*seq.ItemError] of the item. The callback returns Try's error as its own.
func (p *Probe[T]) Try(item T) error {
	return p.enter(uses{callback: true, errors: true}, nil, item)
}

// CallContext is for a callback that is given a context, and whose error, if it
// has one, is no concern of the checks.
func (p *Probe[T]) CallContext(ctx context.Context, item T) {
	p.enter(uses{callback: true, context: true}, ctx, item)
}

// TryContext is for a callback that is given a context and whose error becomes a
// [*seq.ItemError] of the item. The callback returns TryContext's error as its own.
func (p *Probe[T]) TryContext(ctx context.Context, item T) error {
	return p.enter(uses{callback: true, errors: true, context: true}, ctx, item)
}

// Source returns the check's source, built under ctx: where it has nothing to
// yield, it ends when ctx ends, with the error of ctx. It takes the place of the
// in of [Contract.Stage].
func (p *Probe[T]) Source(ctx context.Context) iter.Seq2[T, error] {
	p.mu.Lock()
	p.uses.source = true
	p.mu.Unlock()
	return p.in.stream(ctx)
}

// enter does what the check has planned for the item. No lock is held meanwhile.
func (p *Probe[T]) enter(u uses, ctx context.Context, item T) error {
	i := p.index(item)
	p.mu.Lock()
	p.uses.callback = true
	p.uses.errors = p.uses.errors || u.errors
	p.uses.context = p.uses.context || u.context
	p.active++
	p.calls[i]++
	var a act
	if p.plan != nil {
		a = p.plan(i)
	}
	if a.kind == panics || a.kind == exits {
		p.where, p.coroutine = goroutineID(), onCoroutine()
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.active--
		p.mu.Unlock()
	}()

	switch a.kind {
	case panics:
		a.boom.raise()
	case exits:
		runtime.Goexit()
	case fails:
		if u.errors {
			return a.err
		}
	case waitsForContext:
		if u.context {
			<-ctx.Done()
			return ctx.Err()
		}
	case waitsAtGate:
		<-p.gate
	}
	return nil
}

func (p *Probe[T]) index(item T) int {
	for i, v := range p.items {
		if p.equal(v, item) {
			return i
		}
	}
	return -1
}

// running returns how many callbacks have not returned.
func (p *Probe[T]) running() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.active
}

// called returns how often a callback was given the item at index i.
func (p *Probe[T]) called(i int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[i]
}

// open lets the callbacks that wait at the gate go on.
func (p *Probe[T]) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.gate:
	default:
		close(p.gate)
	}
}

// planned is the value of a panic that a check has planned. Its text is for the
// case that nobody recovers it, where it is the last that the test binary says.
type planned struct{ in string }

func (b *planned) Error() string {
	return fmt.Sprintf("seqtest: this panic in the %s was planned by a check; where it ends the test binary, %v is broken: "+
		"the stage runs its %s in a goroutine of its own and lets the panic out there, where nobody can recover it",
		b.in, Panics, b.in)
}

// raise panics in a frame that a stack can be searched for.
//
//go:noinline
func (b *planned) raise() { panic(b) }
