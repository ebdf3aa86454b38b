package seqtest

import (
	"errors"
	"fmt"
	"reflect"

	"example.com/pipeline/seq"
)

// checkLazy builds the stage and leaves it alone.
func (t *tester[T, U]) checkLazy() {
	t.try(setup[T]{given: all}, func(r *rig[T, U]) {
		r.settle()
		switch left := r.leaks(); {
		case left != "":
			r.broke(Lazy, "building the stage, without a range over it, left %s", left)
		case r.src.asked() > 0:
			r.broke(Lazy, "building the stage, without a range over it, started its source")
		case len(r.probe.calls) > 0:
			r.broke(Lazy, "building the stage, without a range over it, called its callback")
		}
	})
}

// checkPlain runs the stage over the items to the end.
func (t *tester[T, U]) checkPlain() {
	t.try(setup[T]{given: all}, func(r *rig[T, U]) {
		l := r.start(0)
		t.uses = r.probe.uses
		if r.yields(l, "over the plain items"); r.found {
			return
		}
		if !l.isDone() {
			// A stage that waits for more than it is owed hangs; so does one
			// that lost its own goroutines. Either way its outputs are wrong.
			r.broke(Result, "over the plain items, the loop hung with %d of %d outputs", len(l.has()), len(t.due))
			return
		}
		if l.ended() != returned {
			r.broke(Result, "over the plain items, the loop %v: %v", l.ended(), l.panicked)
			return
		}
		if d := t.c.diff(l.has(), t.due); d != "" {
			r.broke(Result, "over the plain items, %s", d)
			return
		}
		r.over(l, Joined, "at the end of the source")
	})
}

// checkErrors puts item errors and final errors between the items.
func (t *tester[T, U]) checkErrors() {
	if t.c.Takes > 0 && t.found[ReadAhead] != nil {
		return // what it takes too many may be an error
	}
	for _, s := range t.errorScripts() {
		if !t.checkScript(s.name, s.pairs) {
			return
		}
	}
}

type errorScript[T any] struct {
	name  string
	pairs []pair[T]
}

func (t *tester[T, U]) errorScripts() []errorScript[T] {
	x, n := t.plain, len(t.plain)
	e := func(i int) pair[T] { return itemError(t.c.Items[i%n], fmt.Sprintf("planned item error %d", i+1)) }
	wrapped := pair[T]{err: fmt.Errorf("wrapped: %w", e(4).err)}
	final := pair[T]{err: errors.New("planned final error")}
	joined := pair[T]{err: errors.Join(errors.New("planned joined error"), e(5).err)}

	var between []pair[T]
	for i, p := range x {
		between = append(between, e(i), p)
	}
	return []errorScript[T]{
		{"with an item error before each item", append(between, e(n))},
		{"with two item errors in a row, one of them wrapped", concat(x[:1], []pair[T]{e(0), wrapped}, x[1:])},
		{"with a final error at once", []pair[T]{final}},
		{"with a final error after the first item", concat(x[:1], []pair[T]{final})},
		{"with an item error, an item and a final error at the end", concat(x[:n-1], []pair[T]{e(1)}, x[n-1:], []pair[T]{final})},
		{"with a final error that joins an item error", concat(x[:2], []pair[T]{joined})},
	}
}

func concat[T any](lists ...[]pair[T]) []pair[T] {
	var out []pair[T]
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

func (t *tester[T, U]) checkScript(name string, script []pair[T]) bool {
	ok := true
	t.try(setup[T]{pairs: script, given: all}, func(r *rig[T, U]) {
		doing := "over a source " + name
		want, _ := t.c.dues(script, Ends)
		l := r.start(0)
		got := l.has()
		if d := t.c.diff(got, want); d != "" {
			if what := lost(got, want); what != "" {
				d = what
			}
			r.broke(Errors, "%s, %s", doing, d)
		} else {
			t.checkBeside(r, doing, got)
		}
		if !r.found {
			r.over(l, Errors, doing)
		}
		ok = !r.found
	})
	return ok
}

// checkBeside looks for values beside the errors that came out.
func (t *tester[T, U]) checkBeside(r *rig[T, U], doing string, got []pair[U]) {
	for i, p := range got {
		if p.err != nil && !reflect.ValueOf(&p.value).Elem().IsZero() {
			r.broke(Pairs, "%s, output %d has the value %s beside its error, want the zero value", doing, i+1, itemText(p.value))
		}
	}
}

// checkValueBesideError has a source that breaks the first rule, and looks whether
// the stage uses the value that it must not use.
func (t *tester[T, U]) checkValueBesideError() {
	n := len(t.plain) - 1
	poison := pair[T]{t.c.Items[n], itemError(t.c.Items[n], "planned item error").err}
	script := concat(t.plain[:1], []pair[T]{poison}, t.plain[1:n])
	t.try(setup[T]{pairs: script, given: all}, func(r *rig[T, U]) {
		want, _ := t.c.dues(script, Ends)
		l := r.start(0)
		switch d := t.c.diff(l.has(), want); {
		case r.probe.called(n) > 0:
			r.broke(Pairs, "over a source that yields the value %s beside an item error, the callback was given that value", itemText(poison.value))
		case d != "":
			r.broke(Pairs, "over a source that yields the value %s beside an item error, %s", itemText(poison.value), d)
		}
	})
}

// checkCallbackErrors makes the callback fail for some items.
func (t *tester[T, U]) checkCallbackErrors() {
	if !t.uses.errors {
		return
	}
	cause := errors.New("planned error of the callback")
	script := append([]pair[T](nil), t.plain...)
	failing := map[int]bool{0: true, len(script) / 2: true, len(script) - 1: true}
	for i := range failing {
		script[i] = pair[T]{err: callbackError{&seq.ItemError{Item: t.c.Items[i], Err: cause}}}
	}
	c := t.c
	c.ErrorCopies = 0
	plan := func(i int) act {
		if failing[i] {
			return act{kind: fails, err: cause}
		}
		return act{}
	}
	t.try(setup[T]{given: all, plan: plan}, func(r *rig[T, U]) {
		const doing = "with a callback that fails for the first, the middle and the last item"
		want, _ := c.dues(script, Ends)
		l := r.start(0)
		if d := c.diff(l.has(), want); d != "" {
			r.broke(Errors, "%s, %s", doing, d)
			return
		}
		t.checkBeside(r, doing, l.has())
		if !r.found {
			r.over(l, Errors, doing)
		}
	})
}

// checkPrompt has a source that idles after each pair: all that is owed by then
// must be there.
func (t *tester[T, U]) checkPrompt() {
	t.idleWalk(t.plain)
	if t.found[Errors] == nil && t.found[Result] == nil && t.found[ReadAhead] == nil {
		t.idleWalk(t.errorScripts()[0].pairs)
	}
}

func (t *tester[T, U]) idleWalk(script []pair[T]) {
	whole, _ := t.c.dues(script, Ends)
	t.try(setup[T]{pairs: script}, func(r *rig[T, U]) {
		l := r.start(0)
		for i := 0; i <= len(script); i++ {
			if i > 0 {
				r.src.give(i)
				r.settle()
			}
			doing := fmt.Sprintf("with a source that idles after %d pairs", i)
			want, ends := t.c.dues(script[:i], Idles)
			got := l.has()
			if w, held := t.c.missing(got, want); held {
				r.broke(Prompt, "%s, a result is held back: the %v has not come, of %d outputs that are due", doing, w, len(want))
				return
			}
			// A stage may be faster than its model, but not yield anything else.
			if d := t.c.diff(got, t.c.arrange(got, whole)[:min(len(got), len(whole))]); d != "" {
				r.broke(Result, "%s, %s", doing, d)
				return
			}
			switch {
			case ends && l.isDone():
				return
			case ends && r.src.running() > 0:
				// The end may not be reported before the source has ended, but
				// nobody may have asked the source for more.
				r.broke(ReadAhead, "%s, the loop did not end although the stage takes no more than %d items: it asked for another", doing, t.c.Takes)
				return
			}
		}
	})
}

// checkReadAhead has a body that looks, at each output, at how much was pulled.
func (t *tester[T, U]) checkReadAhead() {
	t.try(setup[T]{given: all}, func(r *rig[T, U]) {
		l := r.start(1)
		for k := 1; l.isHeld(); k++ {
			need := t.due[min(k, len(t.due))-1].after
			if asked := r.src.asked(); asked-need > t.c.ReadAhead {
				r.broke(ReadAhead, "with the body at output %d, %d pairs were pulled: %d that the output needs and %d read ahead, want at most %d read ahead",
					k, asked, need, asked-need, t.c.ReadAhead)
				return
			}
			r.resume(l, goOn(1))
		}
		if asked := r.src.asked(); t.c.Takes > 0 && asked > t.c.Takes {
			r.broke(ReadAhead, "until its end the stage pulled %d items, want at most the %d that it takes", asked, t.c.Takes)
		}
	})
}

// checkReadAheadBehindCallback has callbacks that do not return.
func (t *tester[T, U]) checkReadAheadBehindCallback() {
	if !t.uses.callback {
		return
	}
	plan := func(int) act { return act{kind: waitsAtGate} }
	t.try(setup[T]{given: all, plan: plan}, func(r *rig[T, U]) {
		l := r.start(0)
		most := uint(max(t.due[0].after, 1)) - 1 + uint(max(t.c.ReadAhead, 1)) // ReadAhead may be the largest int
		if asked := r.src.asked(); uint(asked) > most {
			r.broke(ReadAhead, "with every callback blocked, %d pairs were pulled, want at most %d", asked, most)
			return
		}
		r.probe.open()
		r.settle()
		r.over(l, Joined, "once the callbacks were no longer blocked")
	})
}

// checkMisuse builds the stage over no stream at all.
func (t *tester[T, U]) checkMisuse() {
	if t.uses.source {
		return
	}
	t.try(setup[T]{given: all}, func(r *rig[T, U]) {
		defer func() { recover() }()
		t.c.Stage(r.ctx, nil, r.probe)
		r.broke(Misuse, "building the stage over a nil stream did not panic: it would fail only at the loop, far from the mistake")
	})
}
