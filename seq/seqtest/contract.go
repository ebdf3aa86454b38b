package seqtest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A Contract describes a stage: how to build it and what it promises. Only Stage
// is required; the zero value of every other field is the strictest promise.
type Contract[T, U any] struct {
	// Stage builds the stage over in. It is called anew for every check, always
	// within a bubble. It must build the stage from its arguments alone; a rate
	// limiter, a gate or a cache is made in it.
	//
	// Where the stage takes a callback, the callback calls one of the methods of
	// p for the item that it is given, so that a check can make it panic, leave,
	// fail or block. Where it builds its source itself under a context of its
	// own, it takes the source from [Probe.Source] and ignores in.
	Stage func(ctx context.Context, in iter.Seq2[T, error], p *Probe[T]) iter.Seq2[U, error]

	// Items are what the source yields: different from one another, and enough
	// for at least three outputs. nil means 1 to 8, which needs T to be int.
	Items []T

	// Want is the model of the stage: it returns all that the stage owes the
	// consumer for items, in order, from the first on. then tells what the source
	// does after them; most stages need not look at it. Want(items, Idles) must
	// begin with Want of any prefix of items. nil means that the items come out as
	// they are, which needs U to be T.
	Want func(items []T, then Then) []U

	// Compare says how outputs and items are compared, for example
	// cmpopts.EquateNaNs() or protocmp.Transform(). Fields that are not exported are
	// compared, too, unless an option ignores them; a type's own Equal method decides
	// where there is one.
	Compare []cmp.Option

	// ReadAhead is how many items the stage may hold that the consumer has not
	// got. 0 means none: the stage is synchronous.
	ReadAhead int

	// Takes is how many items the stage pulls at most: after these it ends, without
	// waiting for the source. 0 means that it ends with its source.
	Takes int

	// Unordered says that outputs may come in any order, and that item errors may
	// overtake outputs. A final error still comes last.
	Unordered bool

	// ErrorsOvertake says that item errors may come before outputs that were due
	// before them, as they do where items are collected. The outputs keep their order.
	ErrorsOvertake bool

	// ErrorCopies is how many times an item error of the source comes out, as it
	// does once for each branch of a broadcast. 0 means once.
	ErrorCopies int

	// NoContext says that the stage takes no context, since it never waits for
	// anything but its source.
	NoContext bool

	// Polls says that the stage looks at its context between items and while it
	// waits itself, but cannot interrupt a source that blocks, since that runs in
	// the loop's own goroutine.
	Polls bool

	// Flushes says that when ctx ends, the stage hands over what it has collected
	// before it yields the error of ctx.
	Flushes bool

	// Delay is how much time of the bubble's clock passes before the checks look
	// for a result. 0 means that none passes, and that results are due at once.
	Delay time.Duration

	// Except names rules that are not checked, each with the reason.
	Except map[Rule]string
}

// Then is what a source does after the items that it has yielded.
type Then int

const (
	Idles Then = iota // it blocks, or has more items that nobody has pulled yet
	Ends              // it ends without an error
	Fails             // it ends with a final error
)

// A Rule is one of the rules of the contract of streams, under its number, or
// [Result], which is the stage's own promise.
type Rule int

const (
	Result    Rule = iota // the outputs are what Want says, in that order
	Pairs                 // an item or an error, and no value beside an error
	Errors                // errors pass in position and untouched; nothing follows a final one
	Lazy                  // nothing happens before range
	ReadAhead             // no more is pulled than promised
	Joined                // when the loop has ended, everything that the stage started has ended
	Panics                // panics and Goexit surface in the goroutine that runs the loop
	Context               // the end of ctx is one final error
	Prompt                // a result is handed over at once, even while the source idles
	Reuse                 // no state is kept between two loops, nor shared by two at once
	Yield                 // yield is never called twice at once, nor after it returned false
	Misuse                // misuse panics when the stage is built
	Bubble                // the stage can be tested in a bubble: no mutex is held while a source or a callback runs
)

var ruleNames = [...]string{"result", "pairs", "errors in position", "lazy", "bounded read-ahead", "joined end",
	"panics", "context", "prompt", "reuse", "yield", "misuse", "no mutex held"}

// String returns the rule's number and name, such as "rule 3 (lazy)".
func (r Rule) String() string {
	switch {
	case r == Result:
		return "result"
	case r < 0 || int(r) >= len(ruleNames):
		return fmt.Sprintf("rule %d", int(r))
	}
	return fmt.Sprintf("rule %d (%s)", int(r), ruleNames[r])
}

// Broken is the error for one broken rule. Its text is one sentence. Where two values
// differ, what cmp.Diff says of them follows on lines of its own.
type Broken struct {
	Rule Rule
	How  string // what the check did and what came of it
}

func (b *Broken) Error() string { return fmt.Sprintf("seqtest: %v: %s", b.Rule, b.How) }

// Test runs [Check] and reports each broken rule as an error of t.
func Test[T, U any](t *testing.T, c Contract[T, U]) {
	t.Helper()
	err := Check(t, c)
	if err == nil {
		return
	}
	for _, broken := range err.(interface{ Unwrap() []error }).Unwrap() {
		t.Error(broken)
	}
}

// Check tries every rule of the contract on the stage. It returns nil where all
// hold, and otherwise an error that joins one [*Broken] for each broken rule, the
// first case found; errors.As finds the first rule. It does not fail t, which it
// needs for the bubbles that the checks run in: it cannot be called in a bubble.
//
// A rule is not tried where it builds on one that is broken: with the plain
// outputs wrong, no check could tell what is right. Mend what is reported and run
// the checks again.
func Check[T, U any](t *testing.T, c Contract[T, U]) error {
	t.Helper()
	return errors.Join(newTester(t, c).run()...)
}
