package control

import (
	"iter"
	"sync"
	"sync/atomic"
	"time"
)

// Observe makes m watch the stream that the stage called name gives out. Put it around
// every stage that may be the slow one, from the source down:
//
//	rows := control.Observe(m, "rows", query.Stream(ctx, nil))
//	done := control.Observe(m, "call", seq.MapConcurrent(ctx, rows, 8, call))
//
// It costs two clock reads an item and less than 20 ns more. The first loops of a name cost
// some ten microseconds each, in which the Monitor learns where the stage stands.
//
// Ends: with in, or at a final error of in.
// Owns: no goroutine; it runs in the consumer's.
// Reads ahead: nothing.
// Reuse: as often as in, also by several loops at once; their counts and times add up.
func Observe[T any](m *Monitor, name string, in iter.Seq2[T, error]) iter.Seq2[T, error] {
	need(m != nil, "Observe", "the monitor must not be nil")
	needStream("Observe", in)
	s := m.stage(name)
	return func(yield func(T, error) bool) {
		w := new(watch)
		defer m.enter(s, w)() // takes its time, which is nobody's wait
		s.begin(w)
		defer s.end(w)
		for v, err := range in {
			w.arrived(err != nil)
			if !yield(v, err) || isFinal(err) {
				return
			}
			w.pulled()
		}
	}
}

// A stage is what the monitor knows under one name.
type stage struct {
	name  string
	place place

	mu    sync.Mutex
	past  counts // of loops that have ended
	ended struct {
		some bool
		last time.Duration // on clock
	}
	loops map[*watch]struct{}
}

// counts are what is counted of one loop, or of several together.
type counts struct {
	pairs, errors int64
	up, down      time.Duration
}

func (c *counts) add(d counts) {
	c.pairs += d.pairs
	c.errors += d.errors
	c.up += d.up
	c.down += d.down
}

// begin starts to watch one loop.
func (s *stage) begin(w *watch) {
	w.start = clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loops[w] = struct{}{}
}

// end adds a loop that has ended to the past.
func (s *stage) end(w *watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.loops, w)
	s.past.add(w.read())
	s.ended.some, s.ended.last = true, clock()
}

// read returns the counts of all loops, how many of them are running, and where none is,
// for how long.
func (s *stage) read() (c counts, running int, idle time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c = s.past
	for w := range s.loops {
		c.add(w.read())
	}
	if len(s.loops) == 0 && s.ended.some {
		idle = max(0, clock()-s.ended.last)
	}
	return c, len(s.loops), idle
}

// A watch times one loop. It is written by the goroutine that runs the loop, and read
// by anybody at any time.
//
// From its start on, either the loop waits for the stage above (up), or the stage above
// is kept waiting by the loop (down). So two sums of the waits that are over, and the side
// that is being waited for now, say it all: the present wait has lasted for
// now - start - up - down. When it began need not be stored.
//
// An atomic store costs a quarter of a clock read, so there is one at each change of
// sides and no more. Hence the packing: an arrival adds to up and to the count of pairs,
// the pull after it adds to down.
//
//	arrival: bits 20 to 63: up in ns;   bits 0 to 19: pairs
//	pull:    bits  1 to 63: down in ns; bit 0: the lowest bit of pairs at the time
//
// The lowest bits are equal while the loop waits for the stage above. Before arrival
// overflows, after half a million pairs or two hours, it spills into the base, under the
// mutex that otherwise readers take, and the writer for an error. Rejected: a mutex or a
// third atomic an item; each would cost more than all the rest but the clock.
type watch struct {
	start time.Duration // on clock

	_       [64]byte // readers and writer keep to cache lines of their own
	arrival atomic.Uint64
	pull    atomic.Uint64
	// The writer's own:
	last     time.Duration // of the newest change of sides, since start
	up, down time.Duration // up without what has spilled
	pairs    uint64        // without what has spilled
	_        [64]byte

	mu   sync.Mutex
	base counts // what has spilled: all errors, and up and pairs
	told counts // the largest up and down that were read
}

const (
	pairBits = 20
	maxPairs = 1 << (pairBits - 1)
	maxUp    = 1 << (63 - pairBits)
)

// arrived notes that a pair has come from the stage above.
func (w *watch) arrived(failed bool) {
	now := clock() - w.start
	w.up += now - w.last
	w.last = now
	w.pairs++
	if failed || w.pairs >= maxPairs || w.up >= maxUp {
		w.spill(failed)
		return
	}
	w.arrival.Store(uint64(w.up)<<pairBits | w.pairs)
}

// pulled notes that the stage below asks for the next pair.
func (w *watch) pulled() {
	now := clock() - w.start
	w.down += now - w.last
	w.last = now
	w.pull.Store(uint64(w.down)<<1 | w.pairs&1)
}

// pulls reports whether the loop waits for the stage above.
func (w *watch) pulls() bool { return (w.arrival.Load()^w.pull.Load())&1 == 0 }

// spill is an arrival that moves to the base what is due. An even number of pairs
// moves, so that the lowest bit stays.
func (w *watch) spill(failed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if failed {
		w.base.errors++
	}
	w.base.up += w.up
	w.base.pairs += int64(w.pairs &^ 1)
	w.up, w.pairs = 0, w.pairs&1
	w.arrival.Store(w.pairs)
}

// read returns the counts so far, the wait that is going on included. No number ever
// goes back.
func (w *watch) read() counts {
	w.mu.Lock()
	defer w.mu.Unlock()
	// now belongs to the two words if they are the same before and after it. The writer
	// reads the clock, too, between any two changes, so it does not take many tries.
	arrival, pull, now := w.words()
	for {
		again, pullAgain, later := w.words()
		if again == arrival && pullAgain == pull {
			break
		}
		arrival, pull, now = again, pullAgain, later
	}
	c := w.base
	c.up += time.Duration(arrival >> pairBits)
	c.pairs += int64(arrival & (1<<pairBits - 1))
	c.down = time.Duration(pull >> 1)
	wait := now - c.up - c.down
	if (arrival^pull)&1 == 0 { // as pulls
		c.up += wait
	} else {
		c.down += wait
	}
	// The writer may have read the clock for its next change of sides and not yet have
	// stored it; then the end of this wait is not its own. What was said stays said.
	w.told.up, w.told.down = max(w.told.up, c.up), max(w.told.down, c.down)
	c.up, c.down = w.told.up, w.told.down
	return c
}

// words returns the packed words, and then the time since start.
func (w *watch) words() (arrival, pull uint64, now time.Duration) {
	arrival, pull = w.arrival.Load(), w.pull.Load()
	return arrival, pull, clock() - w.start
}
