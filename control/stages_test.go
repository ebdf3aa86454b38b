package control

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/time/rate"

	"example.com/pipeline/seq"
	"example.com/pipeline/seq/seqtest"
)

type intStream = iter.Seq2[int, error]

// Every stage keeps the contract of streams.
func TestStagesKeepTheContract(t *testing.T) {
	type contract = seqtest.Contract[int, int]
	type probe = *seqtest.Probe[int]
	for name, c := range map[string]contract{
		"RateLimit": {Polls: true, Stage: func(ctx context.Context, in intStream, _ probe) intStream {
			return RateLimit(ctx, in, rate.NewLimiter(rate.Inf, 1))
		}},
		"RateLimit, waiting": {Polls: true, Delay: time.Minute, Stage: func(ctx context.Context, in intStream, _ probe) intStream {
			return RateLimit(ctx, in, rate.NewLimiter(1, 1))
		}},
		"Throttle": {NoContext: true, Stage: func(_ context.Context, in intStream, _ probe) intStream {
			return Throttle(aSecondEach(in), time.Second)
		}, Delay: time.Minute},
		"Gated": {Polls: true, Stage: func(ctx context.Context, in intStream, _ probe) intStream {
			return Gated(ctx, in, new(Gate))
		}},
		"IdleTimeout": {Stage: func(ctx context.Context, _ intStream, p probe) intStream {
			return IdleTimeout(ctx, time.Hour, p.Source)
		}},
		"Until": {Stage: func(ctx context.Context, _ intStream, p probe) intStream {
			return Until(ctx, new(Gate), p.Source)
		}},
		"Progress": {NoContext: true, Stage: func(_ context.Context, in intStream, _ probe) intStream {
			return Progress(in, ProgressConfig{}, func(Report) {})
		}},
		"Heartbeat": {Stage: func(ctx context.Context, in intStream, _ probe) intStream {
			return Heartbeat(ctx, in, time.Second, func(Beat) {})
		}},
		"Observe": {NoContext: true, Stage: func(_ context.Context, in intStream, _ probe) intStream {
			return Observe(NewMonitor(), "stage", in)
		}},
	} {
		t.Run(name, func(t *testing.T) { seqtest.Test(t, c) })
	}
}

// aSecondEach takes a second for each item.
func aSecondEach(in intStream) intStream {
	return seq.Tap(in, func(_ int, err error) {
		if err == nil {
			time.Sleep(time.Second)
		}
	})
}

func TestStagesPanicOnMisuse(t *testing.T) {
	ctx := t.Context()
	in := seq.Of(1)
	build := func(context.Context) intStream { return in }
	for want, misuse := range map[string]func(){
		"control.RateLimit: the stream must not be nil":       func() { RateLimit[int](ctx, nil, rate.NewLimiter(1, 1)) },
		"control.RateLimit: the limiter must not be nil":      func() { RateLimit(ctx, in, nil) },
		"control.RateLimit: ctx must not be nil":              func() { RateLimit(nil, in, rate.NewLimiter(1, 1)) },
		"control.Throttle: the stream must not be nil":        func() { Throttle[int](nil, 1) },
		"control.Throttle: every must be positive, got 0s":    func() { Throttle(in, 0) },
		"control.Throttle: every must be positive, got -1ns":  func() { Throttle(in, -1) },
		"control.Sample: ctx must not be nil":                 func() { Sample(nil, in, 1) },
		"control.Sample: the stream must not be nil":          func() { Sample[int](ctx, nil, 1) },
		"control.Sample: every must be positive, got 0s":      func() { Sample(ctx, in, 0) },
		"control.Gated: ctx must not be nil":                  func() { Gated(nil, in, new(Gate)) },
		"control.Gated: the stream must not be nil":           func() { Gated[int](ctx, nil, new(Gate)) },
		"control.Gated: the gate must not be nil":             func() { Gated(ctx, in, nil) },
		"control.IdleTimeout: ctx must not be nil":            func() { IdleTimeout(nil, 1, build) },
		"control.IdleTimeout: d must be positive, got 0s":     func() { IdleTimeout(ctx, 0, build) },
		"control.IdleTimeout: build must not be nil":          func() { IdleTimeout[int](ctx, 1, nil) },
		"control.Until: ctx must not be nil":                  func() { Until(nil, new(Gate), build) },
		"control.Until: the gate must not be nil":             func() { Until(ctx, nil, build) },
		"control.Until: build must not be nil":                func() { Until[int](ctx, new(Gate), nil) },
		"control.WithGate: ctx must not be nil":               func() { WithGate(nil, new(Gate)) },
		"control.Interruptible: ctx must not be nil":          func() { Interruptible(nil, new(Gate)) },
		"control.Interruptible: the gate must not be nil":     func() { Interruptible(ctx, nil) },
		"control.Progress: the stream must not be nil":        func() { Progress[int](nil, ProgressConfig{}, func(Report) {}) },
		"control.Progress: report must not be nil":            func() { Progress(in, ProgressConfig{}, nil) },
		"control.Progress: Every must not be negative":        func() { Progress(in, ProgressConfig{Every: -1}, func(Report) {}) },
		"control.Progress: Total must not be negative":        func() { Progress(in, ProgressConfig{Total: -1}, func(Report) {}) },
		"control.Heartbeat: ctx must not be nil":              func() { Heartbeat(nil, in, 1, func(Beat) {}) },
		"control.Heartbeat: the stream must not be nil":       func() { Heartbeat[int](ctx, nil, 1, func(Beat) {}) },
		"control.Heartbeat: every must be positive, got -2ns": func() { Heartbeat(ctx, in, -2, func(Beat) {}) },
		"control.Heartbeat: beat must not be nil":             func() { Heartbeat(ctx, in, 1, nil) },
		"control.Observe: the monitor must not be nil":        func() { Observe(nil, "x", in) },
		"control.Observe: the stream must not be nil":         func() { Observe[int](NewMonitor(), "x", nil) },
	} {
		if got := panicOf(misuse); !strings.HasPrefix(fmt.Sprint(got), want) {
			t.Errorf("panic %v, want %q", got, want)
		}
	}
}

// panicOf returns the value with which fn panics.
func panicOf(fn func()) (value any) {
	defer func() { value = recover() }()
	fn()
	return nil
}

// An event is what came out of a stream, and when.
type event struct {
	at  time.Duration
	v   int
	err error
}

func (e event) String() string {
	if e.err != nil {
		return fmt.Sprintf("%v:%v", e.at, e.err)
	}
	return fmt.Sprintf("%v:%d", e.at, e.v)
}

// timeline loops over in, to its end, and returns what came when. The body takes as
// long as it is told to.
func timeline(in intStream, body time.Duration) (events []event) {
	begin := time.Now()
	for v, err := range in {
		events = append(events, event{time.Since(begin), v, err})
		time.Sleep(body)
	}
	return events
}

// script is a source that yields what it is told at the times it is told, counted from
// the begin of the loop; then it ends.
func script(events ...event) intStream {
	return func(yield func(int, error) bool) {
		begin := time.Now()
		for _, e := range events {
			time.Sleep(time.Until(begin.Add(e.at)))
			if e.v == end {
				return
			}
			if !yield(e.v, e.err) {
				return
			}
		}
	}
}

// end stands for the end of the stream in a script.
const end = -1

func wantEvents(t *testing.T, got []event, want ...event) {
	t.Helper()
	sameError := cmp.Comparer(func(a, b error) bool { return a == b })
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(event{}), sameError); diff != "" {
		t.Errorf("what came, -want +got:\n%s", diff)
	}
}

var (
	errItem  = &seq.ItemError{Item: 0, Err: errors.New("one item failed")}
	errFinal = errors.New("all is over")
)

const s = time.Second

// One item error and one final error pass untouched, at once, wherever time is spent.
func TestStagesPassErrorsAtOnce(t *testing.T) {
	stages := map[string]func(ctx context.Context, in intStream) intStream{
		"RateLimit": func(ctx context.Context, in intStream) intStream {
			return RateLimit(ctx, in, rate.NewLimiter(rate.Every(time.Hour), 1))
		},
		"Throttle": func(_ context.Context, in intStream) intStream { return Throttle(in, time.Hour) },
		"Sample":   func(ctx context.Context, in intStream) intStream { return Sample(ctx, in, time.Hour) },
		"Gated": func(ctx context.Context, in intStream) intStream {
			g := new(Gate)
			time.AfterFunc(2*s, g.Pause) // while the source works
			time.AfterFunc(3*s, g.Resume)
			return Gated(ctx, in, g)
		},
		"IdleTimeout": func(ctx context.Context, in intStream) intStream {
			return IdleTimeout(ctx, time.Hour, func(context.Context) intStream { return in })
		},
		"Progress": func(_ context.Context, in intStream) intStream {
			return Progress(in, ProgressConfig{}, func(Report) {})
		},
		"Heartbeat": func(ctx context.Context, in intStream) intStream { return Heartbeat(ctx, in, 7*s, func(Beat) {}) },
		"Observe":   func(_ context.Context, in intStream) intStream { return Observe(NewMonitor(), "x", in) },
	}
	for name, stage := range stages {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := script(event{s, 0, errItem}, event{5 * s, 0, errFinal}, event{6 * s, 1, nil})
				wantEvents(t, timeline(stage(t.Context(), in), 0), event{s, 0, errItem}, event{5 * s, 0, errFinal})
			})
		})
	}
}

// Random schedules of items, errors, slow bodies, pauses and ways to end, through all
// the lossless stages at once: no deadlock, no goroutine left, nothing lost.
func TestStagesRandomSchedules(t *testing.T) {
	schedules := 800
	if testing.Short() {
		schedules = 300
	}
	seed := rand.Uint64()
	for i := range schedules {
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		synctest.Test(t, func(t *testing.T) {
			randomSchedule(t, rnd)
			if t.Failed() {
				t.Logf("seed %d, schedule %d", seed, i)
			}
		})
	}
}

func randomSchedule(t *testing.T, rnd *rand.Rand) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("cause")
	gate, monitor := new(Gate), NewMonitor()
	pick := func(n int) time.Duration { return time.Duration(rnd.IntN(n)) * time.Millisecond }

	total := 1 + rnd.IntN(30)
	failEvery, pauses, bodies := 2+rnd.IntN(5), rnd.IntN(4), 1+rnd.IntN(20)
	delays := make([]time.Duration, total)
	for i := range delays {
		delays[i] = pick(20)
	}
	source := func(ctx context.Context) intStream {
		return func(yield func(int, error) bool) {
			for i, d := range delays {
				if sleep(ctx, d) != nil {
					yield(0, seq.ContextError(ctx))
					return
				}
				var err error
				if i%failEvery == 1 {
					err = &seq.ItemError{Item: i, Err: errors.New("planned")}
				}
				if !yield(i, err) {
					return
				}
			}
		}
	}
	var stream intStream = IdleTimeout(ctx, time.Second, source)
	beating, reporting := false, false
	for _, stage := range rnd.Perm(5) {
		switch in := stream; stage {
		case 0:
			stream = Gated(ctx, in, gate)
		case 1:
			stream = RateLimit(ctx, in, rate.NewLimiter(rate.Every(pick(20)+1), 1+rnd.IntN(3)))
		case 2:
			stream = Heartbeat(ctx, in, 1+pick(10), func(Beat) {
				if beating {
					t.Error("two beats at once")
				}
				beating = true
				time.Sleep(time.Millisecond)
				monitor.Bottleneck()
				beating = false
			})
		case 3:
			stream = Progress(in, ProgressConfig{Every: 1 + pick(10)}, func(Report) {
				reporting = true
				monitor.Snapshot()
			})
		case 4:
			stream = Observe(monitor, "stage", in)
		}
	}
	for range pauses {
		d := 1 + pick(50)
		time.AfterFunc(pick(300), func() { gate.PauseFor(d) })
	}
	how, at, begin := rnd.IntN(6), pick(400), time.Now()
	switch how {
	case 0:
		defer time.AfterFunc(at, gate.Stop).Stop()
	case 1:
		defer time.AfterFunc(at, func() { cancel(cause) }).Stop()
	}
	next, left := 0, false
	consume := func() {
		for v, err := range stream {
			if err != nil && !seq.IsItemError(err) {
				if how != 1 || !errors.Is(err, cause) || !errors.Is(err, context.Canceled) {
					t.Errorf("final error %v", err)
				}
				left = true
				return
			}
			if err != nil {
				v, _ = seq.FailedItem[int](err)
			}
			if v != next {
				t.Errorf("item %d, want %d", v, next)
			}
			next++
			time.Sleep(pick(bodies))
			if next <= total/2 {
				continue
			}
			left = how >= 2 && how <= 4
			switch how {
			case 2:
				return
			case 3:
				panic("body")
			case 4:
				runtime.Goexit()
			}
		}
		// Both may come at the same moment, and then a beat of 1 ms is waited for.
		if how == 1 && time.Since(begin) > at+time.Millisecond {
			t.Errorf("ctx ended at %v, the loop at %v without an error", at, time.Since(begin))
		}
	}
	var panicked any
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		consume()
	}()
	<-done
	cancel(nil)

	if (how == 3 && left) != (panicked == "body") || how != 3 && panicked != nil {
		t.Errorf("panic %v", panicked)
	}
	if how != 0 && !left && next != total {
		t.Errorf("%d items of %d", next, total)
	}
	if !reporting && next > 0 && (how < 3 || !left) {
		t.Error("no last report")
	}
	for _, st := range monitor.Snapshot() {
		if got := int(st.Items + st.Errors); got < next {
			t.Errorf("the monitor counted %d of %d", got, next)
		}
	}
}

// What a stage costs an item, of a source that never waits.
func BenchmarkStages(b *testing.B) {
	ctx := b.Context()
	for _, bench := range []struct {
		name  string
		stage func(intStream) intStream
	}{
		{"none", func(in intStream) intStream { return in }},
		{"RateLimit", func(in intStream) intStream {
			return RateLimit(ctx, in, limiterFunc(func(context.Context) error { return nil }))
		}},
		{"Throttle", func(in intStream) intStream { return Throttle(in, 1) }},
		{"Sample", func(in intStream) intStream { return Sample(ctx, in, time.Millisecond) }},
		{"Gated", func(in intStream) intStream { return Gated(ctx, in, new(Gate)) }},
		{"IdleTimeout", func(in intStream) intStream { return IdleTimeout(ctx, time.Minute, fixed(in)) }},
		{"Progress", func(in intStream) intStream { return Progress(in, ProgressConfig{}, func(Report) {}) }},
		{"Heartbeat", func(in intStream) intStream { return Heartbeat(ctx, in, time.Second, func(Beat) {}) }},
		{"Observe", func(in intStream) intStream { return Observe(NewMonitor(), "x", in) }},
		{"seq.Pull", func(in intStream) intStream {
			return func(yield func(int, error) bool) {
				p := seq.Pull(in, 0)
				defer p.Stop()
				for v, err, ok := p.Next(ctx); ok && yield(v, err); v, err, ok = p.Next(ctx) {
				}
			}
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			in := func(yield func(int, error) bool) {
				for i := 0; i < b.N && yield(i, nil); i++ {
				}
			}
			if err := seq.Drain(bench.stage(in)); err != nil {
				b.Fatal(err)
			}
		})
	}
}
