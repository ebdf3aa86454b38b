package control

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/pipeline/seq"
)

// A Gate holds up what passes through it while it is closed: streams through
// [Gated], calls as a [Policy] of [Wrap], anything else through [Gate.Wait].
// Since a pipeline is pulled, a closed gate in front of the source stops all of it.
//
// The zero value is open. A Gate is safe for concurrent use by any number of
// pipelines, and must not be copied after its first use.
type Gate struct {
	shut atomic.Bool // false: open for sure, so that an open gate costs one load

	mu      sync.Mutex
	paused  bool        // by Pause, until Resume
	asked   time.Time   // how long PauseFor wants it closed
	holds   []time.Time // how long each of the retries that sleep wants it closed
	until   time.Time   // the latest of asked and holds
	crowd   *crowd      // those who wait, nil while nobody does
	stopped atomic.Bool // written under mu
	watches map[*stopWatch]struct{}
}

// A crowd is everybody who waits for the same opening of a gate. It shares one
// channel and one timer, so that a waiter costs no more than its select.
type crowd struct {
	opened chan struct{} // closed when the gate is to be looked at again
	size   int
	timer  *time.Timer // at g.until; nil where only Resume opens the gate
}

// Pause closes the gate until [Gate.Resume].
func (g *Gate) Pause() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.paused = true
	g.shut.Store(true)
}

// PauseFor closes the gate for d from now on; then it opens by itself. Of several
// pauses the longest wins: a shorter one never cuts it, nor does the end of one
// open a gate that [Gate.Pause] has closed. A d of 0 or less does nothing.
func (g *Gate) PauseFor(d time.Duration) {
	if d <= 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = latest(g.asked, time.Now().Add(d))
	g.settle()
}

// Resume opens the gate and ends every pause, whoever asked for it.
func (g *Gate) Resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.paused, g.asked, g.holds, g.until = false, time.Time{}, nil, time.Time{}
	g.shut.Store(g.stopped.Load())
	g.release()
}

// Paused reports whether the gate is closed, so that a call of [Gate.Wait] would
// wait. After [Gate.Stop] it is false: nobody waits any more.
func (g *Gate) Paused() bool {
	if !g.shut.Load() {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.stopped.Load() && !g.open()
}

// Stop asks for a graceful drain, for good: gated streams end without an error,
// what is in flight finishes, and gated calls that have not begun return
// [ErrStopped]. Whoever waits is released, and a [Retry] makes no further try that
// would pass through this gate, or for which it would be closed.
//
// Where the gate is in the context of a pipeline, by [WithGate] or [Interruptible],
// nothing in it begins any more: see there.
func (g *Gate) Stop() {
	for _, w := range g.stop() {
		w.tell()
	}
}

// stop returns whom to tell of it, without the mutex.
func (g *Gate) stop() (watches []*stopWatch) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped.Store(true)
	g.shut.Store(true)
	g.release()
	for w := range g.watches {
		watches = append(watches, w)
	}
	g.watches = nil
	return watches
}

// A stopWatch is told of the Stop of a gate, at most once, in the goroutine of Stop.
type stopWatch struct{ tell func() }

// afterStop has tell called at Stop, or now where that has been, until forget. It may
// still be at it then.
func (g *Gate) afterStop(tell func()) (forget func()) {
	w := &stopWatch{tell}
	if !g.watch(w) {
		tell()
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.watches, w)
	}
}

// watch is false where the gate has been stopped.
func (g *Gate) watch(w *stopWatch) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped.Load() {
		return false
	}
	if g.watches == nil {
		g.watches = make(map[*stopWatch]struct{})
	}
	g.watches[w] = struct{}{}
	return true
}

// refusal is what stages of package seq ask: ErrStopped after Stop.
func (g *Gate) refusal() error {
	if g.stopped.Load() {
		return ErrStopped
	}
	return nil
}

// Wait waits until the gate is open and returns nil. It returns [ErrStopped] after
// [Gate.Stop], and the error of [seq.ContextError] when ctx ends, also where the
// gate is open or stopped. The Stop of a gate that is in ctx ends the wait, too.
func (g *Gate) Wait(ctx context.Context) error {
	if ctx.Err() != nil {
		return seq.ContextError(ctx)
	}
	if !g.shut.Load() {
		return nil
	}
	return g.wait(ctx)
}

// wait is Wait where the gate is not simply open; apart, so that the rest allocates
// nothing.
func (g *Gate) wait(ctx context.Context) error {
	waiting, over := waitUnder(ctx)
	defer over()
	done := waiting.Done() // the user's: not between join and leave
	for {
		c, err := g.join()
		if c == nil {
			return err
		}
		select {
		case <-c.opened: // but it may have been closed again since
		case <-done:
		}
		g.leave(c)
		if err := waitEnded(ctx); err != nil {
			return err
		}
	}
}

// Do waits until the gate is open, then calls op. It makes a Gate a [Policy].
func (g *Gate) Do(ctx context.Context, op func(context.Context) error) error {
	err := g.Wait(ctx)
	if end := ended(ctx); end != nil {
		return end
	}
	if err != nil {
		return err
	}
	return op(ctx)
}

func (g *Gate) bind([]Policy) Policy { return g }
func (g *Gate) gate() *Gate          { return g }

// gateOf returns the gate that a policy is or contains, or nil.
func gateOf(p Policy) *Gate {
	if g, ok := p.(interface{ gate() *Gate }); ok {
		return g.gate()
	}
	return nil
}

// hold closes the gate for d, as PauseFor does, for a retry that sleeps as long.
// The retry gives what hold returned to unhold when it has slept, or has given up
// before: a gate is not kept closed for a sleep that nobody sleeps.
func (g *Gate) hold(d time.Duration) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	until := time.Now().Add(d)
	g.holds = append(g.holds, until)
	g.settle()
	return until
}

// unhold takes back one pause that hold asked for. After Resume there is none.
func (g *Gate) unhold(until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.holds, until)
	if i < 0 {
		return
	}
	g.holds = slices.Delete(g.holds, i, i+1)
	g.settle()
	if g.open() {
		g.release()
	} else if c := g.crowd; c != nil && c.timer != nil {
		c.timer.Reset(time.Until(g.until))
	}
}

// settle shuts the gate until the latest time that anybody asked for. The crowd's
// timer may be too early then: it looks again when it fires. g.mu is held.
func (g *Gate) settle() {
	g.until = g.asked
	for _, t := range g.holds {
		g.until = latest(g.until, t)
	}
	g.shut.Store(true)
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// join adds the caller to those who wait. It returns no crowd where there is
// nothing to wait for: err says whether the gate is open (nil) or stopped.
func (g *Gate) join() (*crowd, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.refusal(); err != nil {
		return nil, err
	}
	if g.open() {
		return nil, nil
	}
	if g.crowd == nil {
		g.crowd = &crowd{opened: make(chan struct{})}
	}
	c := g.crowd
	c.size++
	if c.timer == nil && !g.paused {
		c.timer = time.AfterFunc(time.Until(g.until), func() { g.expire(c) })
	}
	return c, nil
}

// leave takes the caller out of c. The last one takes the timer along, so that
// nothing is left behind by waiters whose contexts have ended.
func (g *Gate) leave(c *crowd) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c.size--
	if c.size == 0 && g.crowd == c {
		g.disband()
	}
}

// expire runs at the end of a pause that c waits for. The pause may have been
// prolonged meanwhile, or the gate closed by Pause, which has no end in time.
func (g *Gate) expire(c *crowd) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.crowd != c || g.paused:
	case g.open():
		g.release()
	default:
		c.timer.Reset(time.Until(g.until))
	}
}

// open reports whether every pause has ended. The clock decides, not the timer,
// so that the answer is right at the very instant a pause ends. g.mu is held.
func (g *Gate) open() bool {
	if g.paused || time.Now().Before(g.until) {
		return false
	}
	g.shut.Store(g.stopped.Load())
	return true
}

// release lets everybody who waits look at the gate again. g.mu is held.
func (g *Gate) release() {
	if c := g.crowd; c != nil {
		g.disband()
		close(c.opened)
	}
}

// disband forgets the crowd and its timer. g.mu is held.
func (g *Gate) disband() {
	if t := g.crowd.timer; t != nil {
		t.Stop()
	}
	g.crowd = nil
}
