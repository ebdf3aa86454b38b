package seqtest

import (
	"fmt"
	"runtime"
	"strings"

	"example.com/pipeline/seq"
)

// checkSourcePanic has a source that panics, or leaves its goroutine: at once, in
// the middle, at its end, and after it was told to stop.
func (t *tester[T, U]) checkSourcePanic() {
	last := len(t.plain)
	if t.c.Takes > 0 {
		last = t.c.Takes - 1
	}
	for _, at := range []int{0, last / 2, last} {
		where := fmt.Sprintf("a panic in the source after %d items", at)
		t.sourceRaises(where, at, func(b *planned) any { return b })
		t.try(setup[T]{given: all}, func(r *rig[T, U]) {
			r.src.before[at] = runtime.Goexit
			l := r.start(0)
			r.exits(l, fmt.Sprintf("after Goexit in the source after %d items", at))
		})
		if t.found[Panics] != nil {
			return
		}
	}
	t.sourceRaises("a panic in the source that has come from another goroutine before", last/2, func(b *planned) any {
		return &seq.PanicError{Value: b, Stack: []byte("seqtest.(*planned).raise")}
	})
}

// sourceRaises has the source panic with what value makes of the planned panic.
func (t *tester[T, U]) sourceRaises(what string, at int, value func(*planned) any) {
	t.try(setup[T]{given: all}, func(r *rig[T, U]) {
		boom, coroutine := &planned{"source"}, false
		r.src.before[at] = func() {
			coroutine = onCoroutine()
			if v := value(boom); v != any(boom) {
				panic(v)
			}
			boom.raise()
		}
		l := r.start(0)
		r.panics(l, "after "+what, boom, r.src.where, coroutine)
	})
}

// checkPanicAfterBreak has a source that panics when it is told to stop: after a
// break that surfaces, and a panic of the body is not covered by it.
func (t *tester[T, U]) checkPanicAfterBreak() {
	// The source blocks while the loop is left and goes on then, so that it is
	// there to be told to stop, however far it was read ahead.
	for _, leave := range []string{"breaks", "panics", "calls Goexit"} {
		t.try(setup[T]{given: t.due[0].after}, func(r *rig[T, U]) {
			boom, body, coroutine := &planned{"source"}, &planned{"body"}, false
			r.src.refused = func() { coroutine = onCoroutine(); boom.raise() }
			l, held := r.holdAt(1)
			if !held {
				return
			}
			r.resume(l, map[string]move{"breaks": breakOff(), "panics": bodyPanics(body), "calls Goexit": bodyExits()}[leave])
			r.src.give(all)
			r.settle()
			doing := "after the body " + leave + " and the source panics while it is stopped"
			switch leave {
			case "breaks":
				r.panics(l, doing, boom, r.src.where, coroutine)
			case "panics":
				r.panics(l, doing, body, l.id, false)
			default:
				r.exits(l, doing)
			}
		})
	}
}

// checkCallbackPanic has a callback that panics or leaves its goroutine, while
// others wait for the end of their context.
func (t *tester[T, U]) checkCallbackPanic() {
	if !t.uses.callback {
		return
	}
	bad := max(t.due[len(t.due)/2].after-1, 0)
	for _, others := range []struct {
		how  string
		wait func(i int) bool
	}{
		{"", func(int) bool { return false }},
		{" while the callbacks behind it wait for the end of their context", func(i int) bool { return i > bad }},
		{" while the callback before it waits for the end of its context", func(i int) bool { return i == bad-1 }},
	} {
		plan := func(a act) func(int) act {
			return func(i int) act {
				switch {
				case i == bad:
					return a
				case others.wait(i):
					return act{kind: waitsForContext}
				}
				return act{}
			}
		}
		boom := &planned{"callback"}
		t.try(setup[T]{given: all, plan: plan(act{kind: panics, boom: boom})}, func(r *rig[T, U]) {
			l := r.start(0)
			if r.probe.called(bad) > 0 { // not where callbacks run one by one and one waits
				r.panics(l, "after a panic in the callback"+others.how, boom, r.probe.where, r.probe.coroutine)
			}
		})
		t.try(setup[T]{given: all, plan: plan(act{kind: exits})}, func(r *rig[T, U]) {
			l := r.start(0)
			if r.probe.called(bad) > 0 {
				r.exits(l, "after Goexit in the callback"+others.how)
			}
		})
	}
}

// checkBodyPanic has a body that panics or leaves its goroutine, while the source
// has more or is blocked.
func (t *tester[T, U]) checkBodyPanic() {
	for _, blocked := range []bool{false, true} {
		k, given, while := len(t.due)/2, all, ""
		if blocked {
			given, while = t.due[k-1].after, " while the source blocks"
		}
		end := func(r *rig[T, U], m move) *loop[U] {
			l, held := r.holdAt(k)
			if !held {
				return nil
			}
			r.resume(l, m)
			r.src.give(all)
			r.settle()
			return l
		}
		t.try(setup[T]{given: given}, func(r *rig[T, U]) {
			boom := &planned{"body"}
			if l := end(r, bodyPanics(boom)); l != nil {
				r.panics(l, "after a panic in the body"+while, boom, l.id, false)
			}
		})
		t.try(setup[T]{given: given}, func(r *rig[T, U]) {
			if l := end(r, bodyExits()); l != nil {
				r.exits(l, "after Goexit in the body"+while)
			}
		})
	}
}

// panics checks that the loop ended with the planned panic: as it is where it
// happened in the loop's goroutine, and otherwise as a PanicError around it.
func (r *rig[T, U]) panics(l *loop[U], doing string, boom *planned, where string, coroutine bool) {
	if how := l.ended(); how == returned || how == exited {
		for _, p := range l.has() {
			if p.final() {
				r.broke(Panics, "%s, the loop got the %v in place of the panic", doing, p)
				return
			}
		}
		r.broke(Panics, "%s, the loop %v", doing, how)
		return
	}
	if !r.over(l, Panics, doing) {
		return
	}
	own := where == l.id
	switch v := l.panicked.(type) {
	case *planned:
		if v == boom && !own && !coroutine {
			r.broke(Panics, "%s, the panic crossed to the loop's goroutine as it is, without the stack of its own, want a *seq.PanicError", doing)
		} else if v != boom {
			r.broke(Panics, "%s, the loop panicked with %s, which covers that of the %s", doing, nameOf(v), boom.in)
		}
	case *seq.PanicError:
		_, twice := v.Value.(*seq.PanicError)
		switch {
		case twice:
			r.broke(Panics, "%s, the panic arrived as a *seq.PanicError within another one", doing)
		case v.Value != any(boom):
			r.broke(Panics, "%s, the loop got a *seq.PanicError with %s, want that of the %s", doing, nameOf(v.Value), boom.in)
		case !strings.Contains(string(v.Stack), "seqtest.(*planned).raise"):
			r.broke(Panics, "%s, the Stack of the *seq.PanicError is not that of the goroutine that panicked", doing)
		case own && boom.in == "body":
			r.broke(Panics, "%s, the body's own panic was wrapped, want it to pass as it is", doing)
		}
	default:
		r.broke(Panics, "%s, the loop panicked with %s (%T) in place of it", doing, nameOf(v), v)
	}
}

// exits checks that the loop's goroutine ended by Goexit.
func (r *rig[T, U]) exits(l *loop[U], doing string) {
	switch how := l.ended(); how {
	case returned:
		r.broke(Panics, "%s, the loop %v, want Goexit in its goroutine", doing, how)
	case panicking:
		r.broke(Panics, "%s, the loop panicked with %s, want Goexit in its goroutine", doing, nameOf(l.panicked))
	default:
		r.over(l, Panics, doing)
	}
}

// nameOf names the value of a panic.
func nameOf(v any) string {
	if b, ok := v.(*planned); ok {
		return "the panic of the " + b.in
	}
	return itemText(v)
}
