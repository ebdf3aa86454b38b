package control

import (
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// This file is how a Monitor learns which stage pulls on which, although a stream does not
// know what ranges over it: from the goroutines, when the loops begin. A loop that begins
// in the goroutine of another observed loop, while that one pulls, is what it pulls on. So is
// one in a goroutine that was started there, or in one that was started by one that was, as
// that of a lane of a Merge which the source of a MapConcurrent ranges over.
//
// The stack is read because nothing else tells: Observe gets no context, and what is between
// two observed streams may be anybody's. Where the goroutine that started this one is not
// known either, that of all goroutines is read, which are few in a program like that. Both
// is done for the first loops of a stage alone.

const (
	learns    = 64     // loops of a stage that are looked at
	looksWide = 8      // those of them for which all goroutines may be
	tooMany   = 10_000 // goroutines, for that
)

// A place is where a stage stands. It is guarded by the monitor's mutex.
type place struct {
	looked int    // loops that were looked at
	below  *stage // what pulls on it, or nil
	last   bool   // it is the consumer that does
	feeds  bool   // it is the source of a fan or a flat map: what is observed beside it draws on it
}

func (p *place) known() bool { return p.below != nil || p.last }

// A loop is an observed loop that is running.
type loop struct {
	stage *stage
	watch *watch
}

// enter notes that a loop begins in this goroutine, and learns from it where its stage
// stands. leave is to be called at its end.
func (m *Monitor) enter(s *stage, w *watch) (leave func()) {
	n := m.looks(s)
	if n > learns {
		return func() {}
	}
	at := parseStack(stack(false))
	if !m.learn(s, at) && n <= looksWide && runtime.NumGoroutine() <= tooMany {
		m.learnFrom(s, at, parseStacks(stack(true)))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running == nil {
		m.running = make(map[uint64][]loop)
	}
	m.running[at.goroutine] = append(m.running[at.goroutine], loop{s, w})
	return func() { m.leave(at.goroutine, w) }
}

// looks counts a loop of s.
func (m *Monitor) looks(s *stage) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.place.looked++
	return s.place.looked
}

func (m *Monitor) leave(goroutine uint64, w *watch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	loops := slices.DeleteFunc(m.running[goroutine], func(l loop) bool { return l.watch == w })
	if len(loops) == 0 {
		delete(m.running, goroutine)
	} else {
		m.running[goroutine] = loops
	}
}

// learn places s, one of whose loops begins at at, where that alone says so. It is false
// where it does not.
func (m *Monitor) learn(s *stage, at where) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.place.known() {
		return true
	}
	if loops := m.running[at.goroutine]; len(loops) > 0 {
		i := lastFunc(loops, loop.pulls)
		if i < 0 {
			return true // it is a loop by itself, in the body of another one
		}
		s.setBelow(loops[i].stage)
		if i+1 < len(loops) { // the loops from there on yield: their items lead here
			loops[i+1].stage.setBelow(s)
		}
		return true
	}
	if at.calls || at.flatWork {
		return at.calls // by itself, too: a pipeline within a callback
	}
	if loops := m.running[at.by]; len(loops) > 0 {
		s.place.feeds = at.feeds
		s.setBelow(innermost(loops))
		return true
	}
	return false
}

// learnFrom places s by what is known of all goroutines.
func (m *Monitor) learnFrom(s *stage, at where, all map[uint64]where) {
	m.mu.Lock()
	defer m.mu.Unlock()
	feeds, flat := at.feeds, at.flatWork
	for range len(all) { // not longer, whatever was read
		next, ok := all[at.by]
		if !ok {
			s.place.last = true
			return
		}
		at = next
		loops := m.running[at.goroutine]
		switch {
		case at.calls:
			return
		case flat && (at.feeds || at.flatWork && len(loops) == 0):
			continue // another one of the same flat map
		case at.flatWork && len(loops) == 0:
			flat = true
			continue
		}
		flat = false
		if len(loops) > 0 {
			s.place.feeds = feeds
			s.setBelow(innermost(loops))
			return
		}
		feeds = feeds || at.feeds
	}
}

// innermost returns the stage of the innermost loop of a goroutine that pulls, or that of
// the innermost one: it may have had something to yield by now.
func innermost(loops []loop) *stage {
	if i := lastFunc(loops, loop.pulls); i >= 0 {
		return loops[i].stage
	}
	return loops[len(loops)-1].stage
}

func (l loop) pulls() bool { return l.watch.pulls() }

// setBelow says that below pulls on s, unless that would make a circle. The monitor's
// mutex is held.
func (s *stage) setBelow(below *stage) {
	for b := below; b != nil; b = b.place.below {
		if b == s {
			return
		}
	}
	s.place.below = below
}

func lastFunc[T any](list []T, is func(T) bool) int {
	for i := len(list) - 1; i >= 0; i-- {
		if is(list[i]) {
			return i
		}
	}
	return -1
}

// resolve returns for each stage the index of the one that pulls on it, or -1 where that is
// the consumer. Of a stage of which it is not known it takes the next one that was observed.
// m.mu is held.
func resolve(stages []*stage) []int {
	below := make([]int, len(stages))
	for i, s := range stages {
		below[i] = slices.Index(stages, s.place.below) // -1 where it is nil
	}
	leadsTo := func(from, to int) bool {
		for ; from >= 0; from = below[from] {
			if from == to {
				return true
			}
		}
		return false
	}
	for i, s := range stages {
		for j := i + 1; j < len(stages) && !s.place.known() && below[i] < 0; j++ {
			if !leadsTo(j, i) {
				below[i] = j
			}
		}
	}
	return below
}

// where is where a loop begins: a goroutine, and what it does.
type where struct {
	goroutine uint64
	by        uint64 // the goroutine that started it; 0 where that is not known
	feeds     bool   // it runs the source of a fan or a flat map of package seq
	flatWork  bool   // it runs streams of a flat map
	calls     bool   // it is a worker that calls callbacks
}

// stack returns the text of this goroutine's stack, or of that of all.
func stack(all bool) string {
	buf := make([]byte, 16<<10)
	for {
		n := runtime.Stack(buf, all)
		if n < len(buf) || n >= 64<<20 {
			return string(buf[:n])
		}
		buf = make([]byte, 4*len(buf))
	}
}

// parseStacks reads the stacks of all goroutines.
func parseStacks(text string) map[uint64]where {
	all := make(map[uint64]where)
	for one := range strings.SplitSeq(text, "\n\n") {
		at := parseStack(one)
		all[at.goroutine] = at
	}
	delete(all, 0)
	return all
}

// parseStack reads a stack as runtime.Stack prints it. What it does not understand it
// leaves out.
func parseStack(text string) (at where) {
	rest, _ := strings.CutPrefix(text, "goroutine ")
	at.goroutine = leadingNumber(rest)
	if i := strings.LastIndex(text, "\ncreated by "); i >= 0 {
		line, _, _ := strings.Cut(text[i+1:], "\n")
		if _, number, ok := strings.Cut(line, " in goroutine "); ok {
			at.by = leadingNumber(number)
		}
		text = text[:i]
	}
	// These names of package seq are known here, and a test sees to it that they stay known.
	runs := func(method string, types ...string) bool {
		return slices.ContainsFunc(types, func(t string) bool { return strings.Contains(text, "/seq.(*"+t+"[...])."+method+"(") })
	}
	at.feeds = runs("feed", "fan", "flatOrdered", "flatUnordered")
	at.flatWork = runs("work", "flatOrdered", "flatUnordered")
	at.calls = runs("work", "ordered", "unordered", "keyed")
	return at
}

func leadingNumber(text string) uint64 {
	end := 0
	for end < len(text) && '0' <= text[end] && text[end] <= '9' {
		end++
	}
	n, _ := strconv.ParseUint(text[:end], 10, 64)
	return n
}
