package batch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/pipeline/seq"
)

// A collector stands between a source, which runs in a goroutine of its own, and
// the loop that takes batches of it. Batches and Lookup are made of it.
//
// The source writes each item straight to its place in the current batch and
// publishes it by raising size. Everything more happens under the mutex: the first item
// of a batch, the one that closes it, errors, and every take. A take of a batch that
// is not closed swaps size for none and owns what it got; the source notices at its
// next item, when it cannot raise size any more, and begins a new batch. So an item
// costs one compare-and-swap where a mutex would cost two such operations.
//
// The source stops in two cases: when it has closed a batch, until the loop comes
// for it, and with an item error in its hand, until the loop comes for that. An item
// that is too heavy for the current batch closes it and begins the next one; so does
// one that comes when the batch is due and only time bounds it, which the loop cannot
// see while the body runs.
//
// The loop waits for a token in ready, for the timer, or for the end of ctx, and
// then looks at what there is. Tokens and ticks only say "look": a stale one
// costs a look and changes nothing.
//
// The timer is not restarted for each item, nor even for each batch. It is armed
// at the latest when a batch gets its first item; when it fires, the loop
// compares the clock with the batch's and either finds it due or arms the timer
// for what is left. An AfterFunc in its place would run in a goroutine that has
// to be joined, for nothing: only the waiting loop can do anything with a batch
// that is due.
type collector[T any] struct {
	limits Limits[T]     // Items is at least 1
	keep   func(error) T // if set, an item error behind items stays there, as what keep makes of it
	each   bool          // each item has to be looked at, or its time taken
	timed  bool          // its time taken
	open   bool          // nothing but time and Last bounds a batch
	ready  chan struct{} // holds a token when the source has changed what take would find
	timer  *time.Timer   // fires no later than the batch is due, if time makes it due
	start  time.Time     // what the times below count from: time.Since is a third of time.Now

	// The source's own: the room of the batch it last wrote to, and how much of
	// that is filled. The batch has been taken meanwhile if size is not filled.
	own    []T
	filled int64
	weight int // of the current batch

	size atomic.Int64 // items of buf that are published, or none

	mu      sync.Mutex
	room    sync.Cond     // the source waits here until the loop has come
	buf     []T           // the room of the current batch
	first   time.Duration // when its first item came
	latest  time.Duration // when its last item came, where Quiet is set
	armed   bool          // the timer has been set and its tick has not been received
	due     bool          // the current batch is to be handed over as it is
	closed  [][]T         // batches that nothing is added to any more
	granted bool          // the first of closed is as good as yielded: the loop was waiting for it
	waiting bool          // the loop waits and nothing has been closed for it
	failed  error         // an item error that the source holds
	ended   bool          // nothing more is accepted
	crashed bool          // the source ended by a panic or Goexit
	final   error         // what ends the stream after the last batch, or nil
}

// none is the size when there is no batch: nothing has come since the last take.
const none = -1

// collect returns a stream of what a collector gathers from in. The limits are valid.
func collect[T any](ctx context.Context, in iter.Seq2[T, error], limits Limits[T], keep func(error) T) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		if err := seq.ContextError(ctx); err != nil {
			yield(nil, err) // without a source that would yield into the void
			return
		}
		c := &collector[T]{
			limits: limits, keep: keep,
			ready: make(chan struct{}, 1),
			timer: time.NewTimer(time.Hour),
			start: time.Now(),
			open:  limits.Items == 0 && limits.Weigh == nil,
		}
		c.timed = limits.Quiet > 0 || limits.Wait > 0 && c.open
		c.each = c.timed || limits.Weigh != nil || limits.Last != nil
		c.timer.Stop()
		if c.limits.Items == 0 {
			c.limits.Items = math.MaxInt
		}
		c.room.L = &c.mu
		c.size.Store(none)
		source := seq.Go(ctx, func() { c.fill(in) })
		defer func() {
			c.timer.Stop()
			c.end(nil)
			c.size.Store(none) // the source cannot publish any more
			source.Join()
		}()
		for {
			items, err, ok := c.next(ctx)
			if !ok {
				if err != nil {
					yield(nil, err)
				}
				return
			}
			if !yield(items, err) {
				return
			}
		}
	}
}

// fill runs the source. It is the body of the source's goroutine.
func (c *collector[T]) fill(in iter.Seq2[T, error]) {
	crashed := true
	defer func() { c.sourceEnded(crashed) }()
	for v, err := range in {
		if err == nil {
			if !c.put(v) {
				break
			}
		} else if !c.fail(err) {
			break
		}
	}
	crashed = false
}

// put adds v to the batch and reports whether the source may go on.
func (c *collector[T]) put(v T) bool {
	i := c.filled
	if c.each || i >= int64(len(c.own))-1 {
		return c.putSlow(v)
	}
	c.own[i] = v
	if !c.size.CompareAndSwap(i, i+1) {
		return c.putSlow(v) // the batch has been taken
	}
	c.filled = i + 1
	return true
}

// putSlow is put under the mutex. Where v closes a batch it waits until the loop has
// come for that.
func (c *collector[T]) putSlow(v T) bool {
	weight, last := c.look(v)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	i := c.size.Load()
	tooHeavy := c.limits.Weigh != nil && i > 0 && weight > c.limits.Weight-c.weight
	var now time.Duration // where it is needed
	if c.timed || c.limits.Wait > 0 && (i == none || tooHeavy) {
		now = time.Since(c.start)
	}
	if tooHeavy || c.open && i > 0 && c.isDue(now) {
		c.close()
		i = none
	}
	switch {
	case i == none:
		i = 0
		c.begin(now)
	case i == int64(len(c.own)):
		c.own = make([]T, min(c.limits.Items, 2*len(c.own)))
		copy(c.own, c.buf)
		c.buf = c.own
	}
	c.latest = now
	c.own[i] = v
	c.weight += weight
	c.filled = i + 1
	c.size.Store(c.filled)
	if last || c.filled == int64(c.limits.Items) || c.limits.Weigh != nil && c.weight >= c.limits.Weight {
		c.close()
	}
	return c.mayGoOn()
}

// begin makes room for a new batch, whose first item has come now.
func (c *collector[T]) begin(now time.Duration) {
	c.own = make([]T, capacity(c.limits.Items, int(c.filled)))
	c.buf = c.own
	c.weight = 0
	c.first, c.latest = now, now
	c.arm(now)
}

// look asks the callbacks about v. They run in the source's goroutine, without the mutex.
func (c *collector[T]) look(v T) (weight int, last bool) {
	if c.limits.Weigh != nil {
		weight = c.limits.Weigh(v)
		if weight < 0 {
			panic(fmt.Sprintf("batch.Batches: Weigh must return at least 0, got %d", weight))
		}
	}
	return weight, c.limits.Last != nil && c.limits.Last(v)
}

// close closes the current batch.
func (c *collector[T]) close() {
	c.closed = append(c.closed, c.cut())
	if c.waiting {
		// The loop has nothing in its hand: the batch is as good as yielded, and
		// the source goes on while the loop's goroutine wakes up.
		c.waiting, c.granted = false, true
		c.wake()
	}
}

// mayGoOn waits until the loop has come for what is closed. It is false when nothing
// more is accepted.
func (c *collector[T]) mayGoOn() bool {
	for !c.ended && (len(c.closed) > 1 || len(c.closed) == 1 && !c.granted) {
		c.room.Wait()
	}
	return !c.ended
}

// cut ends the current batch and returns it. Its capacity is its length: what
// lies behind is the source's.
func (c *collector[T]) cut() []T {
	size := c.size.Swap(none)
	batch := c.buf[:size:size]
	c.buf, c.due = nil, false
	return batch
}

// left returns how long it is from now until the current batch is due; ok is false
// where no time makes it due.
func (c *collector[T]) left(now time.Duration) (d time.Duration, ok bool) {
	if c.limits.Wait > 0 {
		d, ok = c.limits.Wait-(now-c.first), true
	}
	if c.limits.Quiet > 0 {
		if quiet := c.limits.Quiet - (now - c.latest); !ok || quiet < d {
			d, ok = quiet, true
		}
	}
	return d, ok
}

// isDue reports whether time has made the current batch due.
func (c *collector[T]) isDue(now time.Duration) bool {
	d, ok := c.left(now)
	return ok && d <= 0
}

// arm sets the timer, unless it runs: one that was set for an earlier batch fires
// early and is then set anew.
func (c *collector[T]) arm(now time.Duration) {
	if c.armed {
		return
	}
	if d, ok := c.left(now); ok {
		c.armed = true
		c.timer.Reset(d)
	}
}

// fail hands over an item error and waits until it is taken; any other error
// ends the stream. It reports whether the source may go on.
func (c *collector[T]) fail(err error) bool {
	// The methods of a user's error run here, while the mutex is free.
	if !seq.IsItemError(err) {
		c.end(err)
		return false
	}
	if c.keep != nil && c.size.Load() > 0 {
		return c.put(c.keep(err))
	}
	undone := errors.Is(err, seq.ErrStopped)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	if undone && c.size.Load() > 0 {
		c.close() // what came before is done, and comes before
	}
	c.failed, c.waiting = err, false
	c.wake()
	for c.failed != nil && !c.ended {
		c.room.Wait()
	}
	return !c.ended
}

// end ends the stream: nothing more is accepted, and err comes after the last
// batch. The end of ctx takes the place of an end that has not been yielded yet.
func (c *collector[T]) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended, c.final = true, err
	c.wake()
	c.room.Signal()
}

// sourceEnded says that the source has returned or crashed. Where the stream had
// ended before, that stands: what the source does later is up to the join.
func (c *collector[T]) sourceEnded(crashed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.ended, c.crashed = true, crashed
		c.wake()
	}
}

// wake puts a token into ready, unless there is one.
func (c *collector[T]) wake() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// next waits for a batch or an item error. At the end ok is false, and err is
// the final error if there is one. It runs in the goroutine of the loop.
func (c *collector[T]) next(ctx context.Context) (items []T, err error, ok bool) {
	cut := false
	for {
		if !cut && ctx.Err() != nil {
			cut = true
			c.end(seq.ContextError(ctx))
		}
		items, err, state := c.take()
		if state != pending {
			return items, err, state == taken
		}
		select {
		case <-c.ready:
		case <-c.timer.C:
			c.tick()
		case <-ctx.Done():
		}
	}
}

// What take found.
const (
	pending = iota // nothing to hand over now
	taken          // a batch or an item error
	over           // the end
)

// take removes what is to be handed over next, without waiting for it.
func (c *collector[T]) take() (items []T, err error, state int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = false
	size := c.size.Load()
	switch {
	case len(c.closed) > 0:
		items = c.closed[0]
		c.closed = slices.Delete(c.closed, 0, 1)
		c.granted = false
	case c.crashed:
		return nil, nil, over // the join tells what the source panicked with
	case c.failed != nil:
		err, c.failed = c.failed, nil
	case size > 0 && (c.due || c.ended):
		items = c.cut()
	case c.ended:
		return nil, c.final, over
	default:
		c.waiting = true
		return nil, nil, pending
	}
	c.room.Signal()
	return items, err, taken
}

// tick handles the timer's firing: the batch is due, or it was begun or renewed
// after the timer was set.
func (c *collector[T]) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = false
	if c.size.Load() == none {
		return
	}
	now := time.Since(c.start)
	if c.due = c.isDue(now); !c.due {
		c.arm(now)
	}
}

// capacity returns how much room a new batch gets: twice what the last one needed. So
// a batch is one allocation where they stay alike in size, and a huge n costs nothing
// while they are small.
func capacity(n, last int) int { return min(n, max(16, 2*last)) }
