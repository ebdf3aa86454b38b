package seq

import (
	"context"
	"runtime"
)

// A Task is a function that runs in a goroutine of its own and is joined by the
// goroutine that started it. It is what a stage of your own needs to keep the
// contract: nothing outlives the loop, and a panic or [runtime.Goexit] passes on
// in the goroutine that runs the loop.
type Task struct {
	done       chan struct{}
	scope      *scopeEnd // of the innermost Scope around it, or nil
	unwindings int       // that were under way when Go was called
	panic      *PanicError
	goexit     bool
}

// Go starts fn in a goroutine of its own, for a stage that has the context ctx, or
// one derived from it. The stage joins the task before its loop ends, by a deferred
// [Task.Join] or [Task.Wait], and tells fn to end before:
//
//	work, cancel := context.WithCancel(ctx)
//	task := seq.Go(ctx, func() { … work … })
//	defer task.Join()
//	defer cancel()
//
// ctx says which [Scope] fn may be waiting for. A panic or Goexit that unwinds the
// stack would end that Scope only after it has passed the join, which waits for fn. So
// the joins end all Scopes around ctx first while the stack is being unwound, and so
// does a panic or Goexit of fn itself. Otherwise Go does not use ctx.
//
// Go and the joins belong in the same goroutine. Go costs about two microseconds: it
// is for a loop, a page or a batch rather than for each item.
func Go(ctx context.Context, fn func()) *Task {
	checkContext("Go", ctx)
	checkFunc("Go", "fn", fn == nil)
	t := newTask(ctx)
	t.start(fn)
	return t
}

// newTask returns a task that has not been started. It calls a method of ctx.
func newTask(ctx context.Context) *Task {
	return &Task{done: make(chan struct{}), scope: scopeOf(ctx), unwindings: unwindings(), goexit: true}
}

func (t *Task) start(fn func()) {
	go func() {
		defer close(t.done)
		defer func() {
			if !t.goexit {
				return
			}
			// Only Goexit leaves fn without a panic and without reaching its end.
			if v := recover(); v != nil {
				t.panic, t.goexit = newPanicError(v), false
			}
			// The goroutine that joins this task may be waiting for another one first.
			t.scope.fail()
		}()
		fn()
		t.goexit = false
	}()
}

// Done returns a channel that is closed when fn has ended, in whatever way. It is to
// be told of the end early; whoever waits for the end calls Join or Wait.
func (t *Task) Done() <-chan struct{} { return t.done }

// Wait waits until fn has ended and keeps to itself how. If a panic or Goexit is
// unwinding the caller's stack, it first ends the Scopes around the task.
func (t *Task) Wait() {
	select {
	case <-t.done:
		return
	default:
	}
	if t.scope != nil && t.unwinding() {
		t.scope.fail()
	}
	<-t.done
}

// Join waits until fn has ended, then ends as fn did: it panics with fn's panic
// as a [*PanicError], leaves the goroutine where fn called [runtime.Goexit], and
// returns where fn returned.
//
// If a panic or Goexit is unwinding the caller's stack, Join is Wait: it ends the
// Scopes around the task, waits, and covers nothing up. That is so to the end of
// the deferred call, even after it has recovered from the panic.
func (t *Task) Join() {
	t.Wait()
	switch {
	case t.panic == nil && !t.goexit || t.unwinding():
	case t.goexit:
		runtime.Goexit()
	default:
		panic(t.panic)
	}
}

// unwinding reports whether a panic or Goexit that began after Go is unwinding the
// caller's stack. One that is older called the whole loop, in a deferred call.
func (t *Task) unwinding() bool { return unwindings() > t.unwindings }

// unwindings returns how many panics and Goexits are unwinding the caller's stack.
// Each keeps its frame there while it runs the deferred calls. The stack is read
// because nothing else tells a stage without the help of whoever wrote it: recover
// would stop the panic, and does not see Goexit.
func unwindings() (n int) {
	var room [64]uintptr
	pcs := room[:]
	k := runtime.Callers(1, pcs)
	for k == len(pcs) {
		pcs = make([]uintptr, 2*len(pcs))
		k = runtime.Callers(1, pcs)
	}
	for _, pc := range pcs[:k] {
		switch runtime.FuncForPC(pc - 1).Name() { // which is "" of nil
		case "runtime.gopanic", "runtime.Goexit":
			n++
		}
	}
	return n
}
