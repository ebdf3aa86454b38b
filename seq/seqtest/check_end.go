package seqtest

import (
	"fmt"
	"testing/synctest"
	"time"
)

// checkEarlyEnd leaves the loop by break at each output.
func (t *tester[T, U]) checkEarlyEnd() {
	ok := true
	for k := 1; k <= len(t.due) && ok; k++ {
		t.try(setup[T]{given: all}, func(r *rig[T, U]) {
			if l, held := r.holdAt(k); held {
				r.resume(l, breakOff())
				ok = r.over(l, Joined, fmt.Sprintf("after a break at output %d", k))
			}
		})
	}
}

// holdAt starts a loop that stops in the body at output k.
func (r *rig[T, U]) holdAt(k int) (*loop[U], bool) {
	l := r.start(k)
	return l, l.isHeld()
}

// linger lets time pass for a stage that would give up waiting after a while.
func (r *rig[T, U]) linger() {
	time.Sleep(time.Hour) // of the bubble's clock
	synctest.Wait()
}

// checkEndWhileSourceBlocks leaves the loop in different ways while the source is
// blocked, and frees the source only then. A stage that runs its source in a
// goroutine of its own must wait for it; a source that was built under the
// stage's context ends by that.
func (t *tester[T, U]) checkEndWhileSourceBlocks() {
	for _, k := range []int{1, len(t.due) / 2} {
		need := t.due[k-1].after
		ok := true
		t.try(setup[T]{given: need}, func(r *rig[T, U]) {
			l, held := r.holdAt(k)
			if !held {
				return
			}
			doing := fmt.Sprintf("after a break at output %d while the source blocks", k)
			r.resume(l, breakOff())
			r.linger()
			if t.uses.source && !l.isDone() {
				r.broke(Joined, "%s, the loop hung: the context that the source was built under was not cancelled", doing)
			}
			if !r.found && l.isDone() && !r.over(l, Joined, doing) {
				ok = false
				return
			}
			r.src.give(all)
			r.settle()
			ok = !r.found && r.over(l, Joined, doing+" and then goes on")
		})
		if !ok {
			return
		}
	}
}

// checkEndWhileCallbackRuns leaves the loop while callbacks run. Those that look
// at their context must be told first; all must be waited for.
func (t *tester[T, U]) checkEndWhileCallbackRuns() {
	if !t.uses.callback {
		return
	}
	first := t.due[0].after
	behind := func(kind actKind) func(int) act {
		return func(i int) act {
			if i >= first {
				return act{kind: kind}
			}
			return act{}
		}
	}
	t.try(setup[T]{given: all, plan: behind(waitsAtGate)}, func(r *rig[T, U]) {
		if l, held := r.holdAt(1); held {
			r.resume(l, breakOff())
			r.linger()
			if !l.isDone() || r.over(l, Joined, "after a break while callbacks run") {
				r.probe.open()
				r.settle()
				r.over(l, Joined, "after a break while callbacks run and then return")
			}
		}
	})
	if !t.uses.context {
		return
	}
	boom := &planned{"body"}
	for _, leave := range []struct {
		how string
		move
	}{{"a break", breakOff()}, {"a panic in the body", bodyPanics(boom)}, {"Goexit in the body", bodyExits()}} {
		t.try(setup[T]{given: all, plan: behind(waitsForContext)}, func(r *rig[T, U]) {
			if l, held := r.holdAt(1); held {
				r.resume(l, leave.move)
				if !l.isDone() {
					r.broke(Joined, "after %s, the loop hung: callbacks wait for the end of the context that they were given, which was not cancelled before they were waited for", leave.how)
					return
				}
				r.over(l, Joined, "after "+leave.how+" while callbacks wait for the end of their context")
			}
		})
	}
}

// checkSecondLoop loops twice over one stage, and the first time ends in
// different ways.
func (t *tester[T, U]) checkSecondLoop() {
	boom := &planned{"body"}
	for _, first := range []struct {
		how    string
		script []pair[T]
		hold   int
		move   move
	}{
		{how: "one that ran to the end"},
		{how: "one that was left by break", hold: 2, move: breakOff()},
		{how: "one that ended with a final error", script: t.errorScripts()[3].pairs},
		{how: "one whose body panicked", hold: 1, move: bodyPanics(boom)},
	} {
		t.try(setup[T]{pairs: first.script, given: all}, func(r *rig[T, U]) {
			l := r.start(first.hold)
			if first.hold > 0 && l.isHeld() {
				r.resume(l, first.move)
			}
			if !l.isDone() {
				return // another check's matter
			}
			r.src.set(t.plain)
			second := r.start(0)
			if d := t.c.diff(second.has(), t.due); d != "" {
				r.broke(Reuse, "in a second loop after %s, %s", first.how, d)
			} else if !second.isDone() {
				r.broke(Reuse, "a second loop after %s hung at its end", first.how)
			}
		})
		if t.found[Reuse] != nil {
			return
		}
	}
}

// checkTwoLoops runs two loops over one stage at a time, one step each in turn,
// and then one loop from beginning to end within a step of the other.
func (t *tester[T, U]) checkTwoLoops() {
	verdict := func(r *rig[T, U], how string, l *loop[U]) {
		if d := t.c.diff(l.has(), t.due); d != "" {
			r.broke(Reuse, "of two loops %s, %s", how, d)
		} else if !l.isDone() {
			r.broke(Reuse, "of two loops %s, one hung at its end", how)
		}
	}
	t.try(setup[T]{given: all}, func(r *rig[T, U]) {
		a, b := r.start(1), r.start(1)
		for a.isHeld() || b.isHeld() {
			for _, l := range []*loop[U]{a, b} {
				if l.isHeld() {
					r.resume(l, goOn(1))
				}
			}
		}
		verdict(r, "in turn", a)
		verdict(r, "in turn", b)
	})
	t.try(setup[T]{given: all}, func(r *rig[T, U]) {
		outer := r.start(1)
		inner := r.start(0)
		if outer.isHeld() {
			r.resume(outer, goOn(0))
		}
		verdict(r, "the second within a step of the first", inner)
		verdict(r, "the second within a step of the first", outer)
	})
}
