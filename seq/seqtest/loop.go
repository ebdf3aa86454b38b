package seqtest

import (
	"iter"
	"runtime"
	"sync"
)

// A loop ranges over a stage in a goroutine of its own. From pair number hold on
// its body stops at each pair until the check resumes it.
//
// It calls the stage with a yield of its own making where a user would write a
// range statement: a range statement panics when it is called too late, and does
// not notice when it is called twice at once.
type loop[U any] struct {
	leaving func()        // called before the body leaves
	active  func() string // names what of the stage is still running, or is empty
	resumed chan move

	mu       sync.Mutex
	id       string // of the goroutine
	hold     int    // 0: never stop
	got      []pair[U]
	inBody   bool
	stopped  bool // in the body, waiting to be resumed
	left     bool
	late     int // calls of yield after the body had left
	twice    int // calls of yield while it ran
	foreign  int // calls of yield from another goroutine
	end      end
	panicked any
	atEnd    string // what was active at the instant when the loop had ended
}

type end int

const (
	running end = iota
	returned
	panicking
	exited // by runtime.Goexit
)

func (e end) String() string {
	return [...]string{"did not end", "ended as if nothing had happened", "panicked", "ended by Goexit"}[e]
}

// A move is what the body does when it is resumed.
type move struct {
	hold   int
	leaves bool
	do     func() bool
}

func goOn(hold int) move { return move{hold: hold, do: func() bool { return true }} }
func breakOff() move     { return move{leaves: true, do: func() bool { return false }} }
func bodyPanics(b *planned) move {
	return move{leaves: true, do: func() bool { b.raise(); return false }}
}
func bodyExits() move             { return move{leaves: true, do: func() bool { runtime.Goexit(); return false }} }
func (l *loop[U]) resume(m move)  { l.resumed <- m }
func (l *loop[U]) lock() func()   { l.mu.Lock(); return l.mu.Unlock }
func (l *loop[U]) isDone() bool   { defer l.lock()(); return l.end != running }
func (l *loop[U]) isHeld() bool   { defer l.lock()(); return l.stopped }
func (l *loop[U]) ended() end     { defer l.lock()(); return l.end }
func (l *loop[U]) has() []pair[U] { defer l.lock()(); return l.got[:len(l.got):len(l.got)] }

// run ranges over out until the loop ends, in whatever way.
func (l *loop[U]) run(out iter.Seq2[U, error]) {
	l.mu.Lock()
	l.id = goroutineID()
	l.mu.Unlock()
	how := exited // only Goexit leaves out without a panic and without reaching its end
	defer func() {
		v := recover()
		active := l.active()
		if v != nil {
			how = panicking
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.end, l.panicked, l.atEnd, l.left = how, v, active, true
	}()
	out(l.yield)
	how = returned
}

// yield is the body of the loop.
func (l *loop[U]) yield(value U, err error) bool {
	id := goroutineID()
	l.mu.Lock()
	switch {
	case l.left:
		l.late++
	case l.inBody:
		l.twice++
	case id != l.id:
		l.foreign++
	default:
		l.got = append(l.got, pair[U]{value, err})
		l.inBody = true
		hold := l.hold != 0 && len(l.got) >= l.hold
		l.stopped = hold
		l.mu.Unlock()
		defer func() {
			l.mu.Lock()
			l.inBody = false
			l.mu.Unlock()
		}()
		return !hold || l.await()
	}
	l.mu.Unlock()
	return false
}

// await waits in the body for the next move and makes it.
func (l *loop[U]) await() bool {
	m := <-l.resumed
	l.mu.Lock()
	l.stopped, l.hold, l.left = false, m.hold, m.leaves
	l.mu.Unlock()
	if m.leaves {
		l.leaving()
	}
	return m.do()
}
