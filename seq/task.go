package seq

import "runtime"

// A Task is a function that runs in a goroutine of its own and is joined by the
// goroutine that started it. It is what a stage of your own needs to keep the
// contract: nothing outlives the loop, and a panic or [runtime.Goexit] passes on
// in the goroutine that runs the loop.
type Task struct {
	done   chan struct{}
	panic  *PanicError
	goexit bool
}

// Go starts fn in a goroutine of its own.
func Go(fn func()) *Task {
	checkFunc("Go", "fn", fn == nil)
	t := &Task{done: make(chan struct{}), goexit: true}
	go func() {
		defer close(t.done)
		defer func() {
			// Only Goexit leaves fn without a panic and without reaching its end.
			if v := recover(); v != nil {
				t.panic, t.goexit = newPanicError(v), false
			}
		}()
		fn()
		t.goexit = false
	}()
	return t
}

// Done returns a channel that is closed when fn has ended, in whatever way.
func (t *Task) Done() <-chan struct{} { return t.done }

// Wait waits until fn has ended and keeps to itself how. It is for a deferred
// call while the loop's body panics, so that nothing covers that panic up.
func (t *Task) Wait() { <-t.done }

// Join waits until fn has ended, then ends as fn did: it panics with fn's panic
// as a [*PanicError], leaves the goroutine where fn called [runtime.Goexit], and
// returns where fn returned.
func (t *Task) Join() {
	<-t.done
	switch {
	case t.panic != nil:
		panic(t.panic)
	case t.goexit:
		runtime.Goexit()
	}
}
