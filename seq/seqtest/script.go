package seqtest

import (
	"context"
	"iter"
	"sync"

	"example.com/pipeline/seq"
)

// A pair is what a stream yields at once.
type pair[T any] struct {
	value T
	err   error
}

func (p pair[T]) final() bool { return isFinal(p.err) }

func isFinal(err error) bool { return err != nil && !seq.IsItemError(err) }

// A script is the source of a check. It yields its pairs as far as the check has
// given them free and blocks before the next; every range over it starts anew.
type script[T any] struct {
	mu       sync.Mutex
	pairs    []pair[T]
	given    int            // pairs that are free; one more frees the end
	changed  chan struct{}  // closed when more is given
	before   map[int]func() // runs before the pair of that index, or before the end
	refused  func()         // runs after yield returned false
	left     bool           // the consumer has left
	runs     []*run
	where    string // the goroutine of the last run
	toldToGo bool   // yield returned true after the consumer had left
}

// A run is one range over a script.
type run struct {
	asked  int  // pairs that were asked for; the end counts as one
	active bool // not ended yet
}

// all is more than any script has.
const all = 1 << 30

func newScript[T any](pairs []pair[T], given int) *script[T] {
	return &script[T]{pairs: pairs, given: given, changed: make(chan struct{}), before: map[int]func(){}}
}

// stream returns the script as a stream. A ctx that is not nil ends it while it
// blocks.
func (s *script[T]) stream(ctx context.Context) iter.Seq2[T, error] {
	var done <-chan struct{}
	if ctx != nil {
		done = ctx.Done()
	}
	return func(yield func(T, error) bool) {
		r := s.start()
		defer s.end(r)
		for i := 0; ; i++ {
			p, more, ok := s.await(r, i, done)
			if !ok {
				p.err = seq.ContextError(ctx)
			} else if !more {
				return
			}
			if !yield(p.value, p.err) {
				if f := s.refused; f != nil {
					f()
				}
				return
			}
			if p.final() {
				return // nothing follows, whatever yield says
			}
			s.told()
		}
	}
}

func (s *script[T]) start() *run {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &run{active: true}
	s.runs = append(s.runs, r)
	s.where = goroutineID()
	return r
}

func (s *script[T]) end(r *run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.active = false
}

// await blocks until pair i is free. more is false at the end of the script, ok
// is false where done was closed first.
func (s *script[T]) await(r *run, i int, done <-chan struct{}) (p pair[T], more, ok bool) {
	s.mu.Lock()
	r.asked++
	for i >= s.given {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-done:
			return p, false, false
		}
		s.mu.Lock()
	}
	if i < len(s.pairs) {
		p, more = s.pairs[i], true
	}
	before := s.before[i]
	s.mu.Unlock()
	if before != nil {
		before()
	}
	return p, more, true
}

func (s *script[T]) told() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left {
		s.toldToGo = true
	}
}

// give frees the first n pairs.
func (s *script[T]) give(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given = n
	close(s.changed)
	s.changed = make(chan struct{})
}

// set replaces the pairs for the runs to come.
func (s *script[T]) set(pairs []pair[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pairs, s.left = pairs, false
}

func (s *script[T]) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = true
}

// asked returns how many pairs all runs were asked for.
func (s *script[T]) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.runs {
		n += r.asked
	}
	return n
}

// running returns how many runs have not ended.
func (s *script[T]) running() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.runs {
		if r.active {
			n++
		}
	}
	return n
}
