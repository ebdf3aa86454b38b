package batch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"example.com/pipeline/seq"
)

// ErrIncomplete says that a group came out before it was complete. [Join], [Join2]
// and [Gather] wrap it in an [*seq.ItemError] that holds what came.
var ErrIncomplete = errors.New("batch: incomplete group")

// JoinConfig says how long and how much a [Join] or a [Gather] waits. The zero value
// works.
type JoinConfig struct {
	// TTL is how long a group may wait for its last item, counted from its first;
	// 0 means until the end of the streams.
	TTL time.Duration
	// Sweep is the shortest time between two searches for groups older than TTL,
	// and so how late one may come out; 0 means that each comes out when it is
	// TTL old.
	Sweep time.Duration
	// MaxPending is the number of groups that may wait at once; 0 means 65,536.
	// In a join it is divided among the streams: see [Join].
	MaxPending int
}

// checkJoin panics where cfg is not valid, and returns it with its defaults.
func checkJoin(stage string, cfg JoinConfig) JoinConfig {
	checkNotNegative(stage, "TTL", cfg.TTL)
	checkNotNegative(stage, "Sweep", cfg.Sweep)
	checkAtLeast(stage, "MaxPending", cfg.MaxPending, 0)
	if cfg.MaxPending == 0 {
		cfg.MaxPending = defaultCapacity
	}
	return cfg
}

// Why a group comes out incomplete, and what to do about it.
const (
	tooOld  = "it waited for longer than TTL; a larger TTL waits longer for what is slow"
	tooMany = "it was the oldest of more than MaxPending; a larger MaxPending holds more"
	heldUp  = "it was the oldest when every stream was held up by its part of MaxPending; a larger MaxPending holds more"
	tooLate = "a stream that has nothing for it has ended"
	noMore  = "there is nothing more to come"
)

// A matcher is one loop over a Join or a Gather: it puts what the streams give into
// groups, and yields each when it is complete or may not wait any longer.
type matcher[K comparable, T, U any] struct {
	ctx      context.Context
	cfg      JoinConfig
	key      func(T) K
	complete func(*group[K, T]) bool
	whole    func(*group[K, T]) U   // what is yielded for a complete group
	partial  func(*group[K, T]) any // the item of an incomplete group's error
	yield    func(U, error) bool

	in     *intake[T]
	next   int // of in.taken, to be handled
	groups *groups[K, T]
	share  int    // a stream is held up with so many items in groups; 0 in a Gather
	ended  []bool // which streams have
	open   int    // streams that have not
	timer  *time.Timer
	armed  bool // the timer runs, and no later than to the time at which a group gets too old
}

// match reads ins and yields what m makes of them. m holds what Join and Gather differ in.
func match[K comparable, T, U any](m matcher[K, T, U], ins []iter.Seq2[T, error]) {
	var zero U
	if err := seq.ContextError(m.ctx); err != nil {
		m.yield(zero, err) // without a stream that would yield into the void
		return
	}
	most := m.share
	if most == 0 {
		most = math.MaxInt
	}
	m.groups = newGroups[K, T](len(ins), m.share == 0, m.cfg.TTL > 0)
	m.ended, m.open = make([]bool, len(ins)), len(ins)
	m.timer = time.NewTimer(0)
	m.timer.Stop()
	m.in = newIntake[T](most, len(ins))
	defer m.stop()
	m.in.start(m.ctx, ins)
	for m.open > 0 {
		a, ok := m.wait()
		if !ok || !m.handle(a) {
			return
		}
	}
	m.releaseAll()
}

// stop ends the streams.
func (m *matcher[K, T, U]) stop() {
	m.timer.Stop()
	m.in.stop()
}

// wait returns what comes next, and meanwhile yields the groups that get too old. It
// is false when the loop is over.
func (m *matcher[K, T, U]) wait() (a arrival[T], ok bool) {
	for {
		if m.ctx.Err() != nil {
			return a, m.cut()
		}
		m.arm()
		if m.armed { // looked at also where there is always something to handle
			select {
			case <-m.timer.C:
				if !m.sweep() {
					return a, false
				}
				continue
			default:
			}
		}
		if m.next < len(m.in.taken) {
			a, m.in.taken[m.next] = m.in.taken[m.next], a
			m.next++
			return a, true
		}
		m.next = 0
		if !m.in.take() {
			return a, false // stop passes the crash on
		}
		if len(m.in.taken) > 0 {
			continue
		}
		select {
		case <-m.in.ready:
		case <-m.timer.C:
			if !m.sweep() {
				return a, false
			}
		case <-m.ctx.Done():
		}
	}
}

// handle takes over what has come, and yields what comes of it. It reports whether
// the loop goes on.
func (m *matcher[K, T, U]) handle(a arrival[T]) bool {
	switch {
	case a.err != nil && a.last:
		if m.releaseAll() {
			m.fail(a.err)
		}
		return false
	case a.err != nil:
		return m.fail(a.err)
	case a.last:
		m.ended[a.stream] = true
		m.open--
		return m.evict()
	}
	g := m.groups.add(m.key(a.item), a.stream, a.item)
	if m.complete(g) {
		m.remove(g)
		out := m.whole(g)
		g.Group = Group[K, T]{} // g itself may stay in a line for a while
		return m.yield(out, nil)
	}
	return m.evict()
}

// crowded reports whether a group has to go so that anything can go on.
func (m *matcher[K, T, U]) crowded() bool {
	if m.share == 0 {
		return m.groups.count > m.cfg.MaxPending
	}
	for i, ended := range m.ended {
		if !ended && m.groups.lines[i].held < m.share {
			return false
		}
	}
	return m.open > 0
}

// evict yields the oldest groups as long as there are too many. A group that has items
// only of streams that have ended stays: what it lacks may still come, and no stream is
// held up by it.
func (m *matcher[K, T, U]) evict() bool {
	hasEnded := func(stream int) bool { return m.ended[stream] }
	for m.crowded() {
		m.groups.synchronize()
		g := m.groups.oldest(hasEnded)
		why := heldUp
		if m.share == 0 {
			why = tooMany
		}
		for i, ended := range m.ended {
			if ended && !slices.Contains(g.From, i) {
				why = tooLate
			}
		}
		if !m.release(g, why) {
			return false
		}
	}
	return true
}

// arm sets the timer to when the oldest group gets too old, but not before Sweep is
// over. One that was set for a group which has gone may fire early, never late.
func (m *matcher[K, T, U]) arm() {
	if m.armed || m.cfg.TTL == 0 || m.groups.count == 0 {
		return
	}
	m.armed = true
	left := m.cfg.TTL - m.groups.age(m.groups.oldestByClock())
	m.timer.Reset(max(left, m.cfg.Sweep))
}

// sweep yields the groups that are too old. The timer has fired.
func (m *matcher[K, T, U]) sweep() bool {
	m.armed = false
	for g := m.groups.oldestByClock(); g != nil && m.groups.age(g) >= m.cfg.TTL; g = m.groups.oldestByClock() {
		if !m.release(g, tooOld) {
			return false
		}
	}
	return true
}

// releaseAll yields all groups that are left.
func (m *matcher[K, T, U]) releaseAll() bool {
	none := func(int) bool { return false }
	for g := m.groups.oldest(none); g != nil; g = m.groups.oldest(none) {
		if !m.release(g, noMore) {
			return false
		}
	}
	return true
}

// release yields g as incomplete.
func (m *matcher[K, T, U]) release(g *group[K, T], why string) bool {
	if m.ctx.Err() != nil {
		return m.cut()
	}
	m.remove(g)
	err := &incompleteError{key: g.Key, items: len(g.Items), why: why}
	if m.share > 0 {
		err.streams = len(m.ended)
	}
	failed := &seq.ItemError{Item: m.partial(g), Err: err}
	g.Group = Group[K, T]{}
	return m.fail(failed)
}

// remove takes g out of the pending groups, so that its streams can be pulled again.
func (m *matcher[K, T, U]) remove(g *group[K, T]) {
	m.groups.remove(g)
	if m.share > 0 {
		m.in.back = append(m.in.back, g.From...)
	}
}

// cut yields the error of ctx, which has ended, and ends the loop.
func (m *matcher[K, T, U]) cut() bool {
	m.fail(&pendingError{m.groups.count, seq.ContextError(m.ctx)})
	return false
}

func (m *matcher[K, T, U]) fail(err error) bool {
	var zero U
	return m.yield(zero, err)
}

// An incompleteError is ErrIncomplete for one group.
type incompleteError struct {
	key            any
	items, streams int // streams is 0 where they are not what makes a group complete
	why            string
}

func (e *incompleteError) Error() string {
	if e.streams == 0 {
		return fmt.Sprintf("%v: key %s has %s: %s", ErrIncomplete, name(e.key), plural(e.items, "item"), e.why)
	}
	return fmt.Sprintf("%v: key %s has items of %d of %d streams: %s", ErrIncomplete, name(e.key), e.items, e.streams, e.why)
}

func (e *incompleteError) Unwrap() error { return ErrIncomplete }

// A pendingError is the end of ctx with what was dropped then.
type pendingError struct {
	pending int
	err     error
}

func (e *pendingError) Error() string {
	return fmt.Sprintf("batch: cut short with %s pending: %v", plural(e.pending, "group"), e.err)
}

func (e *pendingError) Unwrap() error { return e.err }
