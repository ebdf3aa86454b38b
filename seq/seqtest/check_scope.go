package seqtest

import (
	"context"
	"fmt"
	"iter"
	"runtime"

	"example.com/pipeline/seq"
)

// checkScope builds the stage inside a [seq.Scope], over a source that blocks until
// the Scope's context ends. Then a panic or Goexit leaves the loop. The Scope comes to
// know of it only when it has passed the stage, so a stage that joins its source
// has to end the Scope first.
func (t *tester[T, U]) checkScope() {
	for _, k := range []int{1, len(t.due) / 2} {
		given := t.due[k-1].after
		if given > len(t.plain) {
			continue // due only at the end of the source
		}
		where := fmt.Sprintf("inside a Scope whose context alone frees the source, at output %d, after ", k)
		for _, leaving := range []string{"a panic", "Goexit"} {
			t.try(setup[T]{given: given}, func(r *rig[T, U]) {
				boom := &planned{"later stage"}
				reached, enter := false, make(chan struct{})
				r.scope(func(in iter.Seq2[U, error]) iter.Seq2[U, error] {
					return at(in, k, func() {
						reached = true
						<-enter
						map[string]func(){"a panic": boom.raise, "Goexit": runtime.Goexit}[leaving]()
					})
				})
				l := r.start(0)
				held := reached // or the result is held back
				r.src.leave()
				close(enter)
				r.settle()
				if !held {
					return
				}
				r.left(l, where+leaving+" in a later stage of the Scope", leaving, boom, l.id, false)
			})
			t.try(setup[T]{given: given}, func(r *rig[T, U]) {
				boom := &planned{"body"}
				r.scope(nil)
				l, held := r.holdAt(k)
				if !held {
					return
				}
				r.resume(l, map[string]move{"a panic": bodyPanics(boom), "Goexit": bodyExits()}[leaving])
				r.left(l, where+leaving+" in the body", leaving, boom, l.id, false)
			})
		}
	}
	t.checkScopeBehindCallback()
}

// checkScopeBehindCallback has a callback that panics or leaves its goroutine.
func (t *tester[T, U]) checkScopeBehindCallback() {
	if !t.uses.callback {
		return
	}
	for _, bad := range []int{0, len(t.plain) / 2} {
		for _, leaving := range []string{"a panic", "Goexit"} {
			kind := map[string]actKind{"a panic": panics, "Goexit": exits}[leaving]
			boom := &planned{"callback"}
			plan := func(i int) act {
				if i == bad {
					return act{kind: kind, boom: boom}
				}
				return act{}
			}
			t.try(setup[T]{given: bad + 1, plan: plan}, func(r *rig[T, U]) {
				r.scope(nil)
				l := r.start(0)
				if r.probe.called(bad) > 0 { // it may collect more before it calls
					doing := fmt.Sprintf("inside a Scope whose context alone frees the source, after %s in the callback for item %d", leaving, bad+1)
					r.left(l, doing, leaving, boom, r.probe.where, r.probe.coroutine)
				}
			})
		}
	}
}

// scope builds the stage anew inside a Scope, with later behind it if that is not nil.
func (r *rig[T, U]) scope(later func(iter.Seq2[U, error]) iter.Seq2[U, error]) {
	r.out = seq.Scope(r.ctx, func(ctx context.Context) iter.Seq2[U, error] {
		out := r.t.c.Stage(ctx, r.src.stream(ctx), r.probe)
		if later != nil {
			out = later(out)
		}
		return out
	})
}

// left checks that the loop has ended by the panic of boom, or by Goexit.
func (r *rig[T, U]) left(l *loop[U], doing, leaving string, boom *planned, where string, coroutine bool) {
	switch {
	case !l.isDone():
		r.broke(Joined, "%s, the loop hung: the stage waits for its source, and that for the Scope (join with seq.Go, which ends the Scope)", doing)
	case leaving == "Goexit":
		r.exits(l, doing)
	default:
		r.panics(l, doing, boom, where, coroutine)
	}
}

// at calls fn before it passes on pair k.
func at[U any](in iter.Seq2[U, error], k int, fn func()) iter.Seq2[U, error] {
	return func(yield func(U, error) bool) {
		n := 0
		in(func(v U, err error) bool {
			if n++; n == k {
				fn()
			}
			return yield(v, err)
		})
	}
}
