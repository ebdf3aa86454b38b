package control

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"example.com/pipeline/seq"
)

// A Side is one of the two sides of a stage that may keep the pipeline waiting.
type Side int

const (
	Upstream   Side = iota // the source, and the stages above
	Downstream             // the stages below, and the loop's body
)

// String returns "upstream" or "downstream".
func (s Side) String() string {
	switch s {
	case Upstream:
		return "upstream"
	case Downstream:
		return "downstream"
	}
	return fmt.Sprintf("Side(%d)", int(s))
}

// A Beat says that a loop over [Heartbeat] is alive, and what it is doing.
type Beat struct {
	Items     int64         // items handed on so far, the one in hand included
	Errors    int64         // errors handed on so far
	SinceLast time.Duration // since the last change of hands: for how long Waiting has been waited for
	Elapsed   time.Duration // since the loop began
	Waiting   Side          // Upstream while the source is asked for a pair, Downstream while the last pair is worked on
}

// Heartbeat calls beat every so often for as long as the loop lasts: while items flow,
// while the source blocks, and while the loop's body runs. The stream itself stays as it
// is. A beat says which side is being waited for, and for how long; [Progress] says how
// far the loop has come.
//
// Beats come from a goroutine of their own, one at a time: while one runs, those that
// become due are dropped. So beat may call anything, but what it shares with the body
// needs a lock. It must not wait for the loop to end, since the loop's end waits for it.
// When beat panics, the loop does, as soon as it waits for the source or ends.
//
// Ends: with in, at a final error of in, or at once when ctx ends.
// Owns: two goroutines, one of which runs in and one beat; they have exited when the loop has.
// Reads ahead: nothing.
// Reuse: as often as in; each loop counts from 0.
func Heartbeat[T any](ctx context.Context, in iter.Seq2[T, error], every time.Duration, beat func(Beat)) iter.Seq2[T, error] {
	needContext("Heartbeat", ctx)
	needStream("Heartbeat", in)
	needPositive("Heartbeat", "every", every)
	need(beat != nil, "Heartbeat", "beat must not be nil")
	return func(yield func(T, error) bool) {
		var none T
		if err := seq.ContextError(ctx); err != nil {
			yield(none, err)
			return
		}
		// wait interrupts the wait for the source, at the end of ctx and when beat panics.
		wait, interrupt := context.WithCancel(ctx)
		p := newPulse()
		beats := seq.Go(ctx, func() {
			defer interrupt()
			p.run(every, beat)
		})
		source := seq.Pull(in, 0)
		defer beats.Join()
		defer source.Stop()
		defer close(p.over)
		for {
			p.ask()
			v, err, ok := source.Next(wait)
			if wait.Err() != nil { // looked at first: ctx may end at any moment
				if end := seq.ContextError(ctx); end != nil {
					yield(none, end)
				}
				return // or beat has panicked, and joining it will tell
			}
			if !ok {
				return
			}
			p.hand(err)
			if !yield(v, err) || isFinal(err) {
				return
			}
		}
	}
}

// A pulse is what a loop over Heartbeat shares with the goroutine of its beats.
type pulse struct {
	begin time.Duration // on clock
	over  chan struct{} // closed when the loop is

	mu            sync.Mutex
	items, errors int64
	side          Side
	since         time.Duration // when side came to be waited for, on clock
}

func newPulse() *pulse {
	now := clock()
	return &pulse{begin: now, since: now, over: make(chan struct{})}
}

// run calls beat until the loop is over.
func (p *pulse) run(every time.Duration, beat func(Beat)) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-p.over:
			return
		case <-ticker.C:
		}
		select { // both may have been ready
		case <-p.over:
			return
		default:
			beat(p.now())
		}
	}
}

// now returns the beat of this moment.
func (p *pulse) now() Beat {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := clock()
	return Beat{p.items, p.errors, now - p.since, now - p.begin, p.side}
}

// ask notes that the source is asked for a pair.
func (p *pulse) ask() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.side, p.since = Upstream, clock()
}

// hand notes that a pair is handed on.
func (p *pulse) hand(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.items++
	} else {
		p.errors++
	}
	p.side, p.since = Downstream, clock()
}
