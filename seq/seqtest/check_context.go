package seqtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/pipeline/seq"
)

// newCause returns what the checks cancel a context with. It is an item error, as
// the context of a sub-stream may well end by one: the end of a context must be
// final all the same.
func newCause() error {
	return &seq.ItemError{Item: "the cause", Err: errors.New("planned cause")}
}

// checkContextBefore has a context that has ended before the loop.
func (t *tester[T, U]) checkContextBefore() {
	if t.c.NoContext {
		return
	}
	t.try(setup[T]{given: all}, func(r *rig[T, U]) {
		r.cancel(newCause())
		r.contextError(r.start(0), 0, "with a context that was cancelled before the loop")
	})
	past := func() (context.Context, context.CancelCauseFunc) {
		ctx, cancel := context.WithDeadlineCause(context.Background(), time.Now().Add(-time.Second), errors.New("planned cause"))
		return ctx, func(error) { cancel() }
	}
	t.try(setup[T]{given: all, context: past}, func(r *rig[T, U]) {
		r.contextError(r.start(0), 0, "with a context whose deadline had passed before the loop")
	})
}

// checkContextInBody ends the context while the body runs and the source has more.
func (t *tester[T, U]) checkContextInBody() {
	if t.c.NoContext {
		return
	}
	for _, k := range []int{1, len(t.due) / 2} {
		if t.due[k-1].after >= len(t.plain) {
			continue
		}
		t.try(setup[T]{given: all}, func(r *rig[T, U]) {
			if l, held := r.holdAt(k); held {
				r.cancel(newCause())
				r.settle()
				r.resume(l, goOn(0))
				r.contextError(l, k, fmt.Sprintf("with a context that ends while the body is at output %d", k))
			}
		})
	}
}

// checkContextWhileIdle ends the context while the source blocks and does not
// look at it. The error comes at once, and the loop ends with the source.
func (t *tester[T, U]) checkContextWhileIdle() {
	if t.c.NoContext || t.uses.source {
		return
	}
	for _, k := range []int{0, 1} {
		given := 0
		if k > 0 {
			given = t.due[k-1].after
		}
		t.try(setup[T]{given: given}, func(r *rig[T, U]) {
			l := r.start(0)
			had := len(l.has())
			r.cancel(newCause())
			r.settle()
			doing := fmt.Sprintf("with a context that ends while the source idles after %d pairs", given)
			switch {
			case t.c.Polls:
			case len(l.has()) == had && !l.isDone():
				r.broke(Context, "%s, the error of the context did not come at once: the stage waits for its source", doing)
				return
			case l.isDone() && !r.over(l, Context, doing):
				return
			}
			r.src.leave()
			r.src.give(all)
			r.settle()
			r.contextError(l, had, doing)
		})
	}
}

// checkContextSeenBySource has a source that ends by the same context. Its error
// and the stage's are one.
func (t *tester[T, U]) checkContextSeenBySource() {
	given := t.due[0].after
	t.try(setup[T]{given: given, watching: true}, func(r *rig[T, U]) {
		l := r.start(0)
		had := len(l.has())
		r.cancel(newCause())
		r.settle()
		r.contextError(l, had, "with a context that ends while the source idles and looks at it, too")
	})
}

// checkContextInCallback ends the context while callbacks wait for that.
func (t *tester[T, U]) checkContextInCallback() {
	if t.c.NoContext || !t.uses.context {
		return
	}
	plan := func(int) act { return act{kind: waitsForContext} }
	t.try(setup[T]{given: all, plan: plan}, func(r *rig[T, U]) {
		l := r.start(0)
		had := len(l.has())
		r.cancel(newCause())
		r.settle()
		r.contextError(l, had, "with a context that ends while callbacks wait for that")
	})
}

// contextError checks that the loop, which had so many outputs when ctx ended,
// then got the error of ctx, once, and nothing after it.
func (r *rig[T, U]) contextError(l *loop[U], had int, doing string) {
	got := l.has()[had:]
	if r.t.c.Flushes {
		for len(got) > 0 && got[0].err == nil {
			got = got[1:]
		}
	}
	switch {
	case len(got) == 0 && l.isDone():
		r.broke(Context, "%s, the loop %v, want one error of the context", doing, l.ended())
	case len(got) == 0:
		r.broke(Context, "%s, the loop hung, want one error of the context", doing)
	case got[0].err == nil:
		r.broke(Context, "%s, the next output was %v, want the error of the context at once", doing, got[0])
	case !r.isContextError(got[0].err, doing):
	case len(got) > 1 && got[1].err != nil && errors.Is(got[1].err, r.ctx.Err()):
		r.broke(Context, "%s, the error of the context was yielded twice", doing)
	case len(got) > 1:
		r.broke(Context, "%s, %v was yielded after the error of the context, which is final", doing, got[1])
	default:
		r.over(l, Context, doing)
	}
}

func (r *rig[T, U]) isContextError(err error, doing string) bool {
	_, as := errors.AsType[*seq.ItemError](err)
	switch {
	case !errors.Is(err, r.ctx.Err()):
		r.broke(Context, "%s, the loop got %v, want an error that Is %v", doing, pair[U]{err: err}, r.ctx.Err())
	case !errors.Is(err, context.Cause(r.ctx)):
		r.broke(Context, "%s, the error %q is not the cause of the context, want one that Is both (seq.ContextError makes it)", doing, clip(err.Error()))
	case as || seq.IsItemError(err):
		r.broke(Context, "%s, the error of the context is or holds a *seq.ItemError, which a consumer goes past, want a final one", doing)
	default:
		return true
	}
	return false
}
