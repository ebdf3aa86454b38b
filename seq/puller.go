package seq

import (
	"context"
	"iter"
	"runtime"
	"sync"
)

// A Puller takes items from a stream one by one, as [iter.Pull2] does, for a source
// that can block: a caller of Next can stop waiting, and nothing is lost by it.
//
// The source runs in a goroutine of its own from the first Next to the end of the
// stream or to Stop. Next and Stop are safe for concurrent use. A panic or Goexit of
// the source comes out of one Next, or of Stop where no Next came for it.
type Puller[T any] struct {
	in    iter.Seq2[T, error]
	ahead int

	mu      sync.Mutex // never held while the source runs
	held    []pair[T]  // a circle of what has come and not yet been taken
	head    int
	count   int
	asking  int           // Nexts that wait
	waiters []*nextWaiter // those of them that sleep, first come first served
	spare   *nextWaiter
	source  chan struct{} // the token that wakes the source
	sleeps  bool          // the source waits for its token
	stopped bool
	final   bool // the source has yielded a final error: nothing follows
	ended   bool // the source has returned, panicked or called Goexit
	told    bool // a Next or Stop has taken over how the source ended
	task    *Task
}

type nextWaiter struct{ wakeup chan struct{} }

// Pull returns a [Puller] of in. The source may run up to ahead items ahead of the
// calls of Next; with 0 it works only while a Next waits, or has waited in vain.
//
// The caller must call Stop, or take the stream to its end. Stop waits for the source:
// end the context of a source that can block before. Where a panic passes a deferred
// Stop, that ends the Scopes around the context of the first Next, and then waits
// without covering the panic up.
func Pull[T any](in iter.Seq2[T, error], ahead int) *Puller[T] {
	checkStream("Pull", in)
	checkAtLeast("Pull", "ahead", ahead, 0)
	return &Puller[T]{
		in: in, ahead: min(ahead, atOnce),
		held:   make([]pair[T], min(max(ahead, 1), 64)),
		source: make(chan struct{}, 1),
	}
}

// Next returns the next pair of the stream: an item, or an error with the zero
// item. ok is false at the end of the stream and after Stop.
//
// When ctx ends first, Next returns ctx's error with ok true; what the source was
// asked for is kept, and the next call goes on with it.
func (p *Puller[T]) Next(ctx context.Context) (item T, err error, ok bool) {
	if err := ContextError(ctx); err != nil {
		return item, err, true
	}
	p.mu.Lock()
	if p.task == nil && !p.stopped {
		p.mu.Unlock()
		task := newTask(ctx) // calls ctx, and so not under the lock
		p.mu.Lock()
		if p.task == nil && !p.stopped {
			p.task = task
			p.task.start(p.run)
		}
	}
	p.asking++
	for round := 0; ; round++ {
		switch {
		case p.stopped:
			p.asking--
			p.mu.Unlock()
			return item, nil, false
		case p.count > 0:
			r := p.pop()
			p.asking--
			p.wakeSource()
			p.mu.Unlock()
			return r.v, r.err, true
		case p.ended:
			p.asking--
			p.mu.Unlock()
			p.tell()
			return item, nil, false
		}
		p.wakeSource()
		if round < spins {
			p.mu.Unlock()
			runtime.Gosched()
			p.mu.Lock()
			continue
		}
		if !p.sleep(ctx) {
			p.asking--
			p.mu.Unlock()
			return item, ContextError(ctx), true
		}
	}
}

// Stop releases the Nexts that wait, then tells the source to end and waits until it
// has. It may be called more than once, but not by the source.
func (p *Puller[T]) Stop() {
	p.mu.Lock()
	p.stopped = true
	clear(p.held)
	p.count = 0
	for p.wakeNext() {
	}
	p.wakeSource()
	task := p.task
	p.mu.Unlock()
	if task != nil {
		p.tell()
	}
}

// tell waits for the source and passes on its panic or Goexit, once.
func (p *Puller[T]) tell() {
	p.task.Wait()
	p.mu.Lock()
	told := p.told
	p.told = true
	p.mu.Unlock()
	if !told {
		p.task.Join()
	}
}

// run is the source's goroutine.
func (p *Puller[T]) run() {
	defer func() {
		p.mu.Lock()
		p.ended = true
		for p.wakeNext() {
		}
		p.mu.Unlock()
	}()
	p.in(p.push)
}

// push takes a pair from the source, and returns when the source may go on.
func (p *Puller[T]) push(v T, err error) bool {
	final := err != nil && !IsItemError(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped || p.final {
		return false
	}
	p.final = final
	p.append(pair[T]{v, err})
	p.wakeNext()
	if final {
		return false
	}
	for round := 0; !p.stopped && !p.mayGoOn(); round++ {
		if round < spins {
			p.mu.Unlock()
			runtime.Gosched()
			p.mu.Lock()
			continue
		}
		p.sleeps = true
		p.mu.Unlock()
		<-p.source
		p.mu.Lock()
	}
	return !p.stopped
}

// mayGoOn reports whether the source may produce another item.
func (p *Puller[T]) mayGoOn() bool {
	if p.ahead == 0 {
		return p.count == 0 && p.asking > 0
	}
	return p.count < p.ahead
}

func (p *Puller[T]) wakeSource() {
	if p.sleeps && (p.stopped || p.mayGoOn()) {
		p.sleeps = false
		p.source <- struct{}{}
	}
}

// sleep waits, without the lock, until there may be something for this Next. It is
// false when ctx has ended.
func (p *Puller[T]) sleep(ctx context.Context) bool {
	w := p.spare
	p.spare = nil
	if w == nil {
		w = &nextWaiter{make(chan struct{}, 1)}
	}
	p.waiters = append(p.waiters, w)
	p.mu.Unlock()
	woken := false
	select {
	case <-w.wakeup:
		woken = true
	case <-ctx.Done():
	}
	p.mu.Lock()
	if !woken && !p.leave(w) {
		<-w.wakeup // woken as well; whatever it was woken for is somebody else's now
		if p.count > 0 {
			p.wakeNext()
		}
	}
	p.spare = w
	return woken
}

// leave takes w off the waiters. It is false when w has been woken.
func (p *Puller[T]) leave(w *nextWaiter) bool {
	for i, other := range p.waiters {
		if other == w {
			p.waiters = append(p.waiters[:i], p.waiters[i+1:]...)
			return true
		}
	}
	return false
}

func (p *Puller[T]) wakeNext() bool {
	if len(p.waiters) == 0 {
		return false
	}
	w := p.waiters[0]
	p.waiters = append(p.waiters[:0], p.waiters[1:]...)
	w.wakeup <- struct{}{}
	return true
}

// append adds a pair to the circle, which grows up to ahead.
func (p *Puller[T]) append(r pair[T]) {
	if p.count == len(p.held) {
		larger := make([]pair[T], 2*len(p.held))
		n := copy(larger, p.held[p.head:])
		copy(larger[n:], p.held[:p.head])
		p.held, p.head = larger, 0
	}
	at := p.head + p.count
	if at >= len(p.held) {
		at -= len(p.held)
	}
	p.held[at] = r
	p.count++
}

func (p *Puller[T]) pop() pair[T] {
	r := p.held[p.head]
	p.held[p.head] = pair[T]{}
	p.head++
	if p.head == len(p.held) {
		p.head = 0
	}
	p.count--
	return r
}
