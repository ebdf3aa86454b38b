package seqtest_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"example.com/pipeline/seq"
	"example.com/pipeline/seq/seqtest"
)

type (
	probe    = *seqtest.Probe[int]
	contract = seqtest.Contract[int, int]
)

// relaying is the contract of a relay.
func relaying(f flaw) contract {
	return contract{
		ReadAhead: 2,
		Stage:     func(ctx context.Context, in ints, p probe) ints { return relay(ctx, in, p.TryContext, f) },
	}
}

// A broken stage is one that has to be caught.
type broken struct {
	name  string
	c     contract
	rules []seqtest.Rule // these and no others
	says  string         // in the sentence for the first of them
}

var brokenRelays = []broken{
	{"unjoined", relaying(unjoined), rules(seqtest.Joined), "ended while its source was still running"},
	{"gives up waiting after a second", relaying(givesUpWaiting), rules(seqtest.Joined), "while the source blocks"},
	{"gives callbacks the caller's context", relaying(callerContextForCallbacks), rules(seqtest.Joined), "callbacks wait for the end of the context"},
	{"waits before it cancels", relaying(waitsBeforeCancel), rules(seqtest.Joined), "hung"},
	{"joins without seq.Go", relaying(joinsByChannel), rules(seqtest.Joined), "the stage waits for its source, and that for the Scope"},
	{"leaks a goroutine", relaying(leaksGoroutine), rules(seqtest.Joined), "left a goroutine behind"},
	{"leaks a goroutine on a break", relaying(leaksOnBreak), rules(seqtest.Joined), "after a break at output 1"},
	{"ends silently with ctx", relaying(silentAtContext), rules(seqtest.Context), "ended as if nothing had happened"},
	{"ends silently when ctx ends later", relaying(silentAfterItems), rules(seqtest.Context), "while the body is at output 1"},
	{"yields the error of ctx twice", relaying(contextErrorTwice), rules(seqtest.Context), "yielded twice"},
	{"drops the cause of ctx", relaying(contextErrorWithoutCause), rules(seqtest.Context), "not the cause"},
	{"makes an item error of ctx", relaying(contextErrorAsItemError), rules(seqtest.Context), "is or holds a *seq.ItemError"},
	{"waits for the source when ctx ends", relaying(contextErrorLate), rules(seqtest.Context), "did not come at once"},
	{"yields an item after the end of ctx", relaying(itemAfterContext), rules(seqtest.Context), "at once"},
	{"goes on after the error of ctx", relaying(itemAfterContextError), rules(seqtest.Context), "after the error of the context"},
	{"yields errors of interrupted callbacks", relaying(errorOfInterruptedCallback), rules(seqtest.Context), ""},
	{"swallows panics", relaying(swallowsPanic), rules(seqtest.Panics), "ended as if nothing had happened"},
	{"swallows panics of the callback", relaying(swallowsPanicOfCallback), rules(seqtest.Panics), "after a panic in the callback"},
	{"makes an error of a panic", relaying(panicAsError), rules(seqtest.Panics), "in place of the panic"},
	{"hangs after a panic", relaying(panicHangs), rules(seqtest.Panics), "hung"},
	{"wraps a panic twice", relaying(panicWrappedTwice), rules(seqtest.Panics), "within another"},
	{"passes a panic as it is", relaying(panicAsItIs), rules(seqtest.Panics), "want a *seq.PanicError"},
	{"loses the stack of a panic", relaying(panicWithoutStack), rules(seqtest.Panics), "Stack"},
	{"hangs after Goexit", relaying(goexitHangs), rules(seqtest.Panics), "hung"},
	{"swallows Goexit and panics", relaying(goexitSwallowed), rules(seqtest.Panics), "ended as if nothing had happened"},
	{"covers the body's panic", relaying(bodyPanicCovered), rules(seqtest.Panics), "after the body panics and the source panics"},
	{"wraps the body's panic", relaying(bodyPanicWrapped), rules(seqtest.Panics), "the body's own panic was wrapped"},
	{"holds results back", relaying(holdsBack), rules(seqtest.Prompt), "held back"},
	{"reads further ahead than it says", relaying(readsFarAhead), rules(seqtest.ReadAhead), "read ahead"},
	{"yields in another goroutine", relaying(yieldsElsewhere), rules(seqtest.Yield), "not in the one that runs the loop"},
	{"yields twice at once", relaying(yieldsTwiceAtOnce), rules(seqtest.Yield), "yield was called"},
	{"yields after false", relaying(yieldsAfterFalse), rules(seqtest.Yield), "after the loop had been left"},
	{"tells the source to go on after a break", relaying(keepsSourceGoing), rules(seqtest.Yield), "told to go on"},
	{"holds a mutex while a callback runs", relaying(holdsMutex), rules(seqtest.Bubble), "a mutex is held"},
}

func rules(r ...seqtest.Rule) []seqtest.Rule { return r }

// TestCatches runs the checks over stages that break a rule each. The rule must be
// named, and no other.
func TestCatches(t *testing.T) {
	for _, list := range [][]broken{brokenRelays, brokenStages} {
		for _, b := range list {
			t.Run(b.name, func(t *testing.T) {
				err := seqtest.Check(t, b.c)
				if got := brokenRules(err); !slices.Equal(got, b.rules) {
					t.Fatalf("rules broken: %v, want %v\n%v", got, b.rules, err)
				}
				first, _ := errors.AsType[*seqtest.Broken](err)
				if text := first.Error(); !strings.Contains(text, b.says) || strings.Contains(text, "\n") {
					t.Errorf("the sentence is %q, want one line with %q", text, b.says)
				}
				t.Log(err)
			})
		}
	}
}

func brokenRules(err error) []seqtest.Rule {
	if err == nil {
		return nil
	}
	var list []seqtest.Rule
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		list = append(list, e.(*seqtest.Broken).Rule)
	}
	return slices.SortedFunc(slices.Values(list), cmp.Compare)
}

// TestPasses runs the checks over stages that keep the contract.
func TestPasses(t *testing.T) {
	for name, c := range map[string]contract{
		"relay":                          relaying(none),
		"relay that may read any number": {ReadAhead: math.MaxInt, Takes: 0, Stage: relaying(none).Stage},
		"synchronous": {NoContext: true, Stage: func(_ context.Context, in ints, p probe) ints {
			return seq.Map(in, func(x int) (int, error) { return x, p.Try(x) })
		}},
	} {
		t.Run(name, func(t *testing.T) { seqtest.Test(t, c) })
	}
}

// TestCrash runs a stage whose panics nobody can recover, in a process of its own.
func TestCrash(t *testing.T) {
	const inChild = "SEQTEST_CRASH"
	if os.Getenv(inChild) != "" {
		seqtest.Test(t, relaying(crashes))
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrash$")
	cmd.Env = append(os.Environ(), inChild+"=1")
	out, err := cmd.CombinedOutput()
	want := fmt.Sprintf("%v is broken: the stage runs its source in a goroutine of its own", seqtest.Panics)
	if err == nil || !strings.Contains(string(out), want) {
		t.Errorf("the child said %v and\n%s\nwant a failure and %q", err, out, want)
	}
}
