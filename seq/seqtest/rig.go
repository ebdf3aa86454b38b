package seqtest

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A rig is the set-up of one check within its bubble: the stage, and the source,
// the callbacks and the loops around it.
type rig[T, U any] struct {
	t      *tester[T, U]
	ctx    context.Context
	cancel context.CancelCauseFunc
	src    *script[T]
	probe  *Probe[T]
	in     iter.Seq2[T, error]
	out    iter.Seq2[U, error]
	loops  []*loop[U]
	before map[string]bool // goroutines that are not the stage's
	found  bool            // this rig has found a broken rule
}

// setup says how a rig differs from one whose source yields the plain items.
type setup[T any] struct {
	pairs    []pair[T]                                         // nil: the items
	given    int                                               // pairs that are free at the start; all: all of them
	plan     func(i int) act                                   // of the callbacks
	watching bool                                              // the source looks at the stage's ctx
	context  func() (context.Context, context.CancelCauseFunc) // nil: one that has not ended
}

// try runs one check in a bubble of its own. When check returns, whatever still
// waits is set free, so that a bubble with a broken stage ends, too.
func (t *tester[T, U]) try(s setup[T], check func(r *rig[T, U])) {
	if t.stuck {
		return
	}
	var r *rig[T, U]
	left := t.bubble(func() {
		r = t.rig(s)
		if r.build() {
			check(r)
		}
		r.free()
	})
	if left && !r.found {
		r.broke(Joined, "a goroutine of the stage is left after its loop, its source and its context have ended")
	}
}

func (t *tester[T, U]) rig(s setup[T]) *rig[T, U] {
	r := &rig[T, U]{t: t}
	if s.context == nil {
		s.context = func() (context.Context, context.CancelCauseFunc) {
			return context.WithCancelCause(context.Background())
		}
	}
	r.ctx, r.cancel = s.context()
	if s.pairs == nil {
		s.pairs = t.plain
	}
	r.src = newScript(s.pairs, s.given)
	r.in = r.src.stream(nil)
	if s.watching {
		r.in = r.src.stream(r.ctx)
	}
	r.probe = &Probe[T]{items: t.c.Items, equal: t.c.sameItem, in: r.src, plan: s.plan, gate: make(chan struct{}), calls: map[int]int{}}
	r.before = map[string]bool{}
	for _, g := range bubbled() {
		r.before[g.id] = true
	}
	return r
}

// build builds the stage, which must not panic.
func (r *rig[T, U]) build() (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			r.broke(Result, "building the stage panicked: %v", v)
		}
	}()
	r.out = r.t.c.Stage(r.ctx, r.in, r.probe)
	if r.out == nil {
		r.broke(Result, "Stage returned a nil stream")
	}
	return r.out != nil
}

// start starts a loop over the stage and waits until nothing moves any more.
func (r *rig[T, U]) start(hold int) *loop[U] {
	l := &loop[U]{hold: hold, resumed: make(chan move), active: r.active, leaving: r.src.leave}
	r.loops = append(r.loops, l)
	go l.run(r.out)
	r.settle()
	return l
}

// resume makes the stopped loop go on and waits until nothing moves any more.
func (r *rig[T, U]) resume(l *loop[U], m move) {
	l.resume(m)
	r.settle()
}

// settle waits until every goroutine of the stage is blocked or has ended.
func (r *rig[T, U]) settle() {
	if d := r.t.c.Delay; d > 0 {
		time.Sleep(d)
	}
	synctest.Wait()
}

// active names what is still running that the stage was to join.
func (r *rig[T, U]) active() string {
	switch {
	case r.probe.running() > 0:
		return "a callback"
	case r.src.running() > 0:
		return "its source"
	}
	return ""
}

// over checks what holds for every loop once it has ended, whatever ended it:
// where it has not, that breaks the rule hang. doing says what went before.
func (r *rig[T, U]) over(l *loop[U], hang Rule, doing string) bool {
	if !l.isDone() {
		r.broke(hang, "%s, the loop hung: it neither ended nor got a pair", doing)
		return false
	}
	r.yields(l, doing)
	if l.atEnd != "" {
		r.broke(Joined, "%s, the loop ended while %s was still running", doing, l.atEnd)
		return false
	}
	if left := r.leaks(); left != "" {
		r.broke(Joined, "%s, the loop ended and left %s", doing, left)
	}
	return !r.found
}

// yields checks how the stage called yield.
func (r *rig[T, U]) yields(l *loop[U], doing string) {
	defer l.lock()()
	switch {
	case l.twice > 0:
		r.broke(Yield, "%s, yield was called while another call of it was running", doing)
	case l.foreign > 0:
		r.broke(Yield, "%s, yield was called in a goroutine of the stage's own, not in the one that runs the loop", doing)
	case l.late > 0:
		r.broke(Yield, "%s, yield was called after the loop had been left", doing)
	case r.src.toldToGo:
		r.broke(Yield, "%s, the source was told to go on (its yield returned true) although the loop had been left", doing)
	}
}

// leaks describes the goroutines that the stage has left, or returns "".
func (r *rig[T, U]) leaks() string {
	synctest.Wait() // package cmp compares in goroutines that end a little later
	own := map[string]bool{}
	for _, l := range r.loops {
		own[l.id] = true
	}
	var left []string
	for _, g := range bubbled() {
		// The context package watches a parent of a type that it does not know
		// in a goroutine: that is the parent's affair.
		if !r.before[g.id] && !own[g.id] && !strings.HasPrefix(g.creator, "context.") {
			left = append(left, g.String())
		}
	}
	switch len(left) {
	case 0:
		return ""
	case 1:
		return "a goroutine behind: " + left[0]
	}
	return fmt.Sprintf("%d goroutines behind, one of them %s", len(left), left[0])
}

// free sets free whatever still waits.
func (r *rig[T, U]) free() {
	r.cancel(nil)
	r.probe.open()
	r.src.give(all)
	for range len(r.loops) {
		r.settle()
		for _, l := range r.loops {
			if l.isHeld() {
				r.resume(l, breakOff())
			}
		}
	}
	r.settle()
}

// broke notes that a rule is broken. Only the first case of each is kept.
func (r *rig[T, U]) broke(rule Rule, format string, args ...any) {
	r.found = true
	r.t.broke(rule, format, args...)
}

// bubble runs f in a bubble and reports whether goroutines were left in it.
//
// A bubble that does not come to rest cannot be ended from outside. It is then
// given up, and the checks end with it.
func (t *tester[T, U]) bubble(f func()) (left bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			// The only panic that gets here is the one by which synctest reports
			// goroutines that will never end.
			left = recover() != nil
		}()
		synctest.Test(t.t, func(*testing.T) {
			t.id.Store(bubbleID())
			f()
		})
	}()
	if how := watch(done, func() string { id, _ := t.id.Load().(string); return id }); how != "" {
		t.stuck = true
		t.broke(Bubble, "%s", how)
		return false
	}
	return left
}
