package seqtest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/pipeline/seq"
)

// A tester runs the checks of one contract and keeps what they find.
type tester[T, U any] struct {
	t     *testing.T
	c     Contract[T, U]
	plain []pair[T]    // the items as a script
	due   []due[U]     // what is owed for them
	uses  uses         // what the stage did with its probe
	stuck bool         // a bubble was given up
	id    atomic.Value // the bubble's, a string

	mu    sync.Mutex
	found map[Rule]error
}

func newTester[T, U any](t *testing.T, c Contract[T, U]) *tester[T, U] {
	if c.Stage == nil {
		panic("seqtest.Check: Stage must not be nil")
	}
	if c.Items == nil {
		items, ok := any([]int{1, 2, 3, 4, 5, 6, 7, 8}).([]T)
		if !ok {
			panic(fmt.Sprintf("seqtest.Check: Items must be set where T is not int, T is %v", reflect.TypeFor[T]()))
		}
		c.Items = items
	}
	if c.Want == nil && reflect.TypeFor[T]() != reflect.TypeFor[U]() {
		panic(fmt.Sprintf("seqtest.Check: Want must be set where T is not U, got %v and %v", reflect.TypeFor[T](), reflect.TypeFor[U]()))
	}
	ts := &tester[T, U]{t: t, c: c, found: map[Rule]error{}}
	ts.plain = items(c.Items)
	ts.due, _ = c.dues(ts.plain, Ends)
	if len(ts.due) < 3 {
		panic(fmt.Sprintf("seqtest.Check: Want must return at least 3 outputs for Items, got %d", len(ts.due)))
	}
	return ts
}

// run runs the checks and returns the broken rules in their order.
//
// A check is left out where a rule that it builds on is known to be broken: it
// would only accuse the stage of what follows from that.
func (t *tester[T, U]) run() []error {
	everything := []Rule{Lazy, Result, Yield}
	for _, c := range []struct {
		check   func()
		buildOn []Rule
	}{
		{t.checkLazy, nil},
		{t.checkPlain, []Rule{Lazy}},
		{t.checkReadAhead, everything},
		{t.checkErrors, everything},
		{t.checkCallbackErrors, everything},
		{t.checkValueBesideError, append(everything, Errors)},
		{t.checkPrompt, everything},
		{t.checkReadAheadBehindCallback, everything},
		{t.checkEarlyEnd, everything},
		{t.checkEndWhileSourceBlocks, everything},
		{t.checkEndWhileCallbackRuns, everything},
		{t.checkSecondLoop, everything},
		{t.checkTwoLoops, everything},
		{t.checkSourcePanic, append(everything, Joined)},
		{t.checkPanicAfterBreak, append(everything, Joined)},
		{t.checkCallbackPanic, append(everything, Joined)},
		{t.checkBodyPanic, append(everything, Joined)},
		{t.checkScope, append(everything, Joined, Panics)},
		{t.checkContextBefore, everything},
		{t.checkContextInBody, everything},
		{t.checkContextWhileIdle, everything},
		{t.checkContextInCallback, everything},
		{t.checkContextSeenBySource, append(everything, Errors, Prompt)},
		{t.checkMisuse, []Rule{Lazy}},
	} {
		if !t.stuck && !slices.ContainsFunc(c.buildOn, func(r Rule) bool { return t.found[r] != nil }) {
			c.check()
		}
	}
	var errs []error
	for rule := Result; rule <= Bubble; rule++ {
		if err := t.found[rule]; err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func (t *tester[T, U]) broke(rule Rule, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, except := t.c.Except[rule]; !except && t.found[rule] == nil {
		t.found[rule] = &Broken{rule, fmt.Sprintf(format, args...)}
	}
}

func items[T any](list []T) []pair[T] {
	pairs := make([]pair[T], len(list))
	for i, v := range list {
		pairs[i].value = v
	}
	return pairs
}

func itemError[T any](item T, text string) pair[T] {
	return pair[T]{err: &seq.ItemError{Item: item, Err: errors.New(text)}}
}
