package seq

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// A lane carries the pairs of one producer to one consumer, in order. It holds at
// most its size: the producer is let go only when there is room for another pair,
// so none waits in its hand.
//
// A consumer with many lanes does not look at those that have nothing. It lets a lane
// rest, and the producer calls when it has something again.
type lane[T any] struct {
	window[pair[T]]
	resting atomic.Bool   // the consumer has to be called
	to      *place        // where the consumer sleeps
	calls   *callers[T]   // where this lane calls a consumer with several; or nil
	end     atomic.Uint64 // how many pairs there are, plus one; 0 while the producer goes on
	final   bool          // the producer has handed over a final error; its own
	next    *lane[T]      // in callers or in a line
	_       cacheLine
	got     uint64         // pairs taken; the consumer's own, like tail
	tail    table[pair[T]] // where the consumer has read last
	_       cacheLine
}

func (l *lane[T]) init(size int, to *place) {
	l.window.init(size)
	l.tail = l.head
	l.to = to
}

// push hands over a pair and returns when there is room for another. It is false
// when the consumer has left, and after a final error.
func (l *lane[T]) push(v T, err error) bool {
	if l.shut.Load() || l.final {
		return false
	}
	if err != nil && !IsItemError(err) {
		l.final = true
		l.put(v, err)
		return false
	}
	l.put(v, err)
	return l.may() || l.waitForRoom()
}

// put hands over a pair, for which there is room.
func (l *lane[T]) put(v T, err error) {
	at := l.spent
	l.spend()
	c := l.head.at(at)
	c.v = pair[T]{v, err}
	c.become(at, done)
	if l.resting.Load() {
		l.call()
	}
}

// send is push for a producer with several lanes: it waits for room before, since it
// does not know which lane is next. A consumer that has left gets nothing.
func (l *lane[T]) send(v T, err error) {
	if l.wait() {
		l.put(v, err)
	}
}

// finish says that no pair comes any more.
func (l *lane[T]) finish() {
	l.end.Store(l.spent + 1)
	l.call()
}

// reopen makes a lane that has finished, and from which all has been taken, as new.
func (l *lane[T]) reopen() {
	l.end.Store(0)
	l.final = false
}

// call tells the consumer that there is something, if the lane rests.
func (l *lane[T]) call() {
	if l.resting.CompareAndSwap(true, false) {
		if l.calls != nil {
			l.calls.add(l)
		}
		l.to.wake()
	}
}

// rest lets the lane rest. It is false where there is something by now. As in
// place.sleep, who comes second of consumer and producer sees the other.
func (l *lane[T]) rest() bool {
	l.resting.Store(true)
	return !l.stirs() || !l.resting.CompareAndSwap(true, false)
}

// called reports whether the consumer that lets the lane rest has to look again. So it
// has where the lane rests no longer, though there is nothing: a producer that saw the
// last rest has ended this one, since its call came late, and the next pair that comes
// would call nobody.
func (l *lane[T]) called() bool { return !l.resting.Load() || l.stirs() }

// stirs reports whether there is something to take, or nothing to wait for.
func (l *lane[T]) stirs() bool { return l.ready() || l.finished() }

// ready reports whether there is something to take.
func (l *lane[T]) ready() bool { return l.tail.is(l.got, done) || l.moved() }

// moved turns to the table that the next pair is or will be in, and looks there.
func (l *lane[T]) moved() bool {
	t := l.ring.table(l.got)
	if t.start == l.tail.start {
		return false
	}
	l.tail = *t
	return t.is(l.got, done)
}

func (l *lane[T]) finished() bool { return l.end.Load() == l.got+1 }

// take takes the next pair, which is ready.
func (l *lane[T]) take() pair[T] {
	p := l.tail.at(l.got).take()
	l.got++
	l.owe()
	return p
}

// receive waits for the next pair of a consumer's only lane. It is false when there is
// none, or when the lane has been closed.
func (l *lane[T]) receive() (p pair[T], ok bool) {
	for round := 0; !l.shut.Load(); round++ {
		if l.tail.is(l.got, done) || l.moved() {
			return l.take(), true
		}
		l.settle()
		switch {
		case l.finished():
			return p, false
		case round < spins:
			runtime.Gosched()
		default:
			l.rest()
			l.to.sleep(func() bool { return l.called() || l.shut.Load() }, nil)
		}
	}
	return p, false
}

// Lanes are all that a loop has opened, to let go of their producers in the end.
type lanes[T any] struct {
	mu     sync.Mutex
	all    []*lane[T]
	closed bool
}

// add adds a lane. It is closed at once when the others have been.
func (s *lanes[T]) add(l *lane[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, l)
	if s.closed {
		l.close()
	}
}

func (s *lanes[T]) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, l := range s.all {
		l.close()
	}
}
