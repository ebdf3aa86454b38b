package seq_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// FuzzProgram decodes its input into a script of items and errors, a chain of
// synchronous and concurrent stages, naps of the source, the callbacks and the body,
// and a way to leave the loop. It compares what comes out of two loops with a model
// over plain slices, and proves that nothing is left running.
func FuzzProgram(f *testing.F) {
	for seed := range uint64(800) {
		f.Add(randomProgram(seed))
	}
	f.Fuzz(func(t *testing.T, code []byte) { decodeProgram(code).check(t) })
}

// TestProgramsEndWithTheLoop runs random programs with a fault at a random moment: a
// panic, Goexit or the end of ctx, in a source, a callback or the body. Some of
// the programs have sources and callbacks that are blocked until their context ends.
// Each time everything has ended when the loop has, the fault has come out of it, and a
// second loop does as if nothing had happened.
func TestProgramsEndWithTheLoop(t *testing.T) {
	const rounds = 10_000
	const shards = 4
	rest := uint64(rounds)
	if testing.Short() {
		rest /= 10
	}
	for shard := range uint64(shards) {
		t.Run(fmt.Sprint(shard), func(t *testing.T) {
			t.Parallel()
			for seed := shard; seed < rest && !t.Failed(); seed += shards {
				decodeProgram(randomProgram(seed)).checkEnd(t, rand.New(rand.NewPCG(seed, 4)))
			}
		})
	}
}

func randomProgram(seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 3))
	code := make([]byte, 8+rnd.IntN(60))
	for i := range code {
		code[i] = byte(rnd.Uint32())
	}
	return code
}

// A program is a script, a chain of stages over it, and how its loop is left.
type program struct {
	script script
	steps  []programStep
	args   []int
	want   outcome

	leave int // pairs after which the consumer leaves
	how   string
	rude  bool // the source goes on when it must not
	pace  int  // 0: nobody naps
}

// decodeProgram leaves out the steps that would make the outcome depend on an order
// which is not promised, and those that would make it too large.
func decodeProgram(code []byte) program {
	next := func() int {
		if len(code) == 0 {
			return 0
		}
		b := code[0]
		code = code[1:]
		return int(b)
	}
	flags := next()
	p := program{leave: next() % 60, pace: next() % 4}
	p.how = [...]string{"break", "panic", "Goexit", "break"}[flags&3]
	p.rude = flags&12 == 12
	type candidate struct{ step, arg int }
	var chain []candidate
	for range 1 + next()%8 {
		chain = append(chain, candidate{next() % len(programSteps), next()})
	}
	for i := 0; len(code) > 0; i++ {
		v, kind := next(), next()
		pr := pair{v: v}
		switch kind % 24 {
		case 0, 1:
			pr = pair{-1, &seq.ItemError{Item: v, Err: fmt.Errorf("item %d", i)}}
		case 2:
			pr = pair{-1, fmt.Errorf("wrapped: %w", &seq.ItemError{Item: v, Err: fmt.Errorf("item %d", i)})}
		case 3:
			pr = pair{-1, fmt.Errorf("end %d", i)}
		}
		p.script = append(p.script, pr)
	}
	p.want = ordered(untilFinal(p.script))
	copies := 0
	for _, c := range chain {
		step := programSteps[c.step]
		want, ok := step.model(p.want, c.arg)
		if !ok || len(want.all()) > 200 || step.copies && copies == 2 {
			continue
		}
		if step.copies {
			copies++
		}
		p.want = want
		p.steps = append(p.steps, step)
		p.args = append(p.args, c.arg)
	}
	p.rude = p.rude && len(p.steps) > 0 // otherwise nothing stands between it and the consumer
	return p
}

func (p program) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "source %v, rude %v, pace %d", p.script, p.rude, p.pace)
	for i, step := range p.steps {
		fmt.Fprintf(&s, " | %s(%d)", step.name, p.args[i])
	}
	fmt.Fprintf(&s, "; leave after %d by %s", p.leave, p.how)
	return s.String()
}

// A world is what the loops over one program run in.
type world struct {
	program
	outer  context.Context
	inner  atomic.Pointer[context.Context] // of the Scope around the whole, if there is one
	blocks bool                            // the source is blocked at its end, and a callback now and then

	running atomic.Int32 // sources and callbacks
	events  atomic.Int32
	faultAt int32 // the event at which fault is called
	fault   func()
}

func (w *world) ctx() context.Context {
	if c := w.inner.Load(); c != nil {
		return *c
	}
	return w.outer
}

func (w *world) build(ctx context.Context) ints {
	s := w.source(ctx, w.script)
	if w.blocks {
		script := s
		s = func(yield func(int, error) bool) {
			goOn := true
			script(func(v int, err error) bool { goOn = yield(v, err); return goOn })
			if goOn {
				defer w.enter(0)()
				<-ctx.Done()
			}
		}
	}
	for i, step := range w.steps {
		s = step.stage(w, s, w.args[i])
	}
	return s
}

// source yields what a script says.
func (w *world) source(_ context.Context, s script) ints {
	return func(yield func(int, error) bool) {
		for i, p := range s {
			w.enter(i)()
			goOn := yield(p.v, p.err)
			if !w.rude && (!goOn || isFinal(p)) {
				return
			}
		}
	}
}

// enter is called where a source or a callback starts to run, and what it returns
// where that ends.
func (w *world) enter(k int) (exit func()) {
	w.running.Add(1)
	entered := false
	defer func() {
		if !entered {
			w.running.Add(-1)
		}
	}()
	w.event(k)
	entered = true
	return func() { w.running.Add(-1) }
}

// event takes its time, and is where the fault happens when its time has come.
func (w *world) event(k int) {
	if w.pace > 0 {
		switch x := uint32(k+w.pace) * 2654435761 >> 16; x % 8 {
		case 0, 1:
			time.Sleep(time.Duration(x/8%5) * time.Millisecond)
		case 2:
			time.Sleep(time.Duration(x/8%5) * time.Microsecond)
		case 3:
			runtime.Gosched()
		}
	}
	if w.events.Add(1) == w.faultAt {
		w.fault()
	}
}

// check compares two loops with the model.
func (p program) check(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{program: p, outer: t.Context()}
		stream := w.build(w.outer)
		if w.events.Load() > 0 {
			t.Fatalf("%v: it runs before the loop", p)
		}
		for range 2 {
			got, end := w.loop(t, stream)
			left := len(got) > p.leave
			if !left {
				if end != (ending{}) {
					t.Fatalf("%v: ended with %v", p, end)
				}
			} else if want := leavings[p.how].want; end != want {
				t.Fatalf("%v: ended with %v, want %v", p, end, want)
			}
			if why := p.want.admits(got, left); why != "" {
				t.Fatalf("%v:\n got %v\nwant %+v\n%s", p, got, p.want, why)
			}
		}
	})
}

// loop runs the stream in a goroutine of its own and leaves as the program says.
func (w *world) loop(t *testing.T, stream ints) (got []pair, end ending) {
	inYield := false
	end = endOf(func() {
		left := false
		stream(func(v int, err error) bool {
			if left || inYield {
				t.Errorf("%v: yield is called after it returned false, or twice at once", w.program)
				return false
			}
			inYield = true
			got = append(got, pair{v, err})
			w.event(v)
			left = len(got) > w.leave
			inYield = false
			if left {
				return leavings[w.how].leave()
			}
			return true
		})
	})
	if n := w.running.Load(); n != 0 {
		t.Errorf("%v: %d callbacks and sources run on after the loop", w.program, n)
	}
	return got, end
}

var errFault = errors.New("fault")

// checkEnd runs the program with a fault, and then without.
func (p program) checkEnd(t *testing.T, rnd *rand.Rand) {
	kind := [...]string{"panic", "Goexit", "cancel", "none"}[rnd.IntN(4)]
	p.rude = p.rude && rnd.IntN(2) == 0
	w := &world{program: p, faultAt: 1 + int32(rnd.IntN(1+2*len(p.script)+len(p.want.all()))), blocks: rnd.IntN(3) == 0}
	for _, step := range p.steps {
		w.blocks = w.blocks && !step.unscoped
	}
	where := fmt.Sprintf("%v; %s at event %d, blocks %v", p, kind, w.faultAt, w.blocks)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		cause := &seq.ItemError{Item: "no item", Err: errFault}
		w.outer = ctx
		w.fault = map[string]func(){
			"panic":  func() { panic(errFault) },
			"Goexit": runtime.Goexit,
			"cancel": func() { cancel(cause) },
			"none":   func() {},
		}[kind]
		stream := w.build(ctx)
		if w.blocks {
			stream = seq.Scope(ctx, func(ctx context.Context) ints {
				w.inner.Store(&ctx)
				return w.build(ctx)
			})
			defer time.AfterFunc(time.Hour, func() { cancel(cause) }).Stop()
		}
		got, end := w.loop(t, stream)
		left := len(got) > p.leave
		fired := w.events.Load() >= w.faultAt

		switch want := leavings[p.how].want; {
		case fired && kind == "panic":
			if end.panic != errFault && !(left && end == want && p.how != "break") {
				t.Errorf("%s: ended with %v", where, end)
			}
		case fired && kind == "Goexit":
			if !end.goexit && !(left && end == want && p.how != "break") {
				t.Errorf("%s: ended with %v", where, end)
			}
		case left && end != want, !left && end != ending{}:
			t.Errorf("%s: ended with %v", where, end)
		case w.blocks && ctx.Err() != nil && !left:
			if why := toldEnd(got); why != "" && !ended(got, p.want) {
				t.Errorf("%s: %s: %v", where, why, got)
			}
		}
		if w.blocks || ctx.Err() != nil || t.Failed() {
			return
		}
		w.fault = func() {}
		got, _ = w.loop(t, stream)
		if why := p.want.admits(got, len(got) > p.leave); why != "" {
			t.Errorf("%s: the next loop\n got %v\nwant %+v\n%s", where, got, p.want, why)
		}
	})
}

// toldEnd says in what the last pair is not the error that reports the end of ctx.
func toldEnd(got []pair) string {
	if len(got) == 0 {
		return "the stream ended in silence"
	}
	err := got[len(got)-1].err
	var itemErr *seq.ItemError
	switch {
	case !errors.Is(err, context.Canceled) || !errors.Is(err, errFault):
		return "the last error does not tell of the end of ctx"
	case errors.As(err, &itemErr):
		return "the cause made the end of ctx an item error"
	}
	return ""
}

// ended reports whether the stream had come to a final error of its own, in whose body
// ctx was then cancelled.
func ended(got []pair, want outcome) bool {
	return len(got) > 0 && slices.ContainsFunc(want.finals, func(p pair) bool { return equal(p, got[len(got)-1]) })
}
