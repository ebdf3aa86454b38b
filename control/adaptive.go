package control

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"example.com/pipeline/seq"
)

// AdaptiveConfig bounds an [Adaptive]. The zero value is useful.
type AdaptiveConfig struct {
	// Min and Max bound the calls in flight. 0 means 1 and 256.
	Min, Max int

	// Initial is the limit to begin with, from Min to Max. 0 means Min.
	Initial int

	// IsOverload says whether an error means that the service has more calls than
	// it can do. nil means that [ErrTimeout] and [context.DeadlineExceeded] do. It
	// is not asked where the caller has left, nor for a call that was refused. Where
	// a time limit around the call was up, the error Is the end of ctx as well.
	IsOverload func(error) bool

	// OnChange, if set, is called with each new limit, one at a time and in order,
	// without a lock held, in the goroutine of one of the callers.
	OnChange func(limit int)
}

// Adaptive is a [Policy] that lets as many calls run at once as the service can do
// without a queue, and finds out by itself how many these are. The others wait,
// first come first served.
//
// The limit starts at Initial, doubles until latency begins to rise, then follows it by
// the algorithm of TCP Vegas as in Netflix's concurrency-limits: up by a fifth while
// less than a twelfth of the latency is time in a queue, down to what the service
// can do when more than a quarter is, and down by a tenth when a call fails of
// overload. Now and then it goes down by a third for a moment, to measure the
// latency without a queue. Each step takes 24 to 120 calls, more where they vary
// more, or as many as are in flight. Only calls that succeed tell their latency.
// Where single latencies differ by more than their mean, the limit is a rough one.
//
// The picture adaptive.svg beside this file shows it following a service whose
// capacity changes. One call must not pass through the same Adaptive twice: it
// could wait for itself.
type Adaptive struct {
	overload func(error) bool
	changes  announcements[int]

	mu      sync.Mutex
	vegas   vegas
	running int
	line    line
}

// NewAdaptive returns an Adaptive. It panics where Min is below 0 or above Max.
func NewAdaptive(cfg AdaptiveConfig) *Adaptive {
	if cfg.Max == 0 {
		cfg.Max = max(256, cfg.Min)
	}
	orElse(&cfg.Min, 1)
	if cfg.Min < 1 || cfg.Max < cfg.Min {
		panic(fmt.Sprintf("control.NewAdaptive: Min must be at least 1 and at most Max, got %d and %d", cfg.Min, cfg.Max))
	}
	orElse(&cfg.Initial, cfg.Min)
	if cfg.Initial < cfg.Min || cfg.Initial > cfg.Max {
		panic(fmt.Sprintf("control.NewAdaptive: Initial must be from Min to Max, %d to %d, got %d", cfg.Min, cfg.Max, cfg.Initial))
	}
	if cfg.IsOverload == nil {
		cfg.IsOverload = func(err error) bool {
			return errors.Is(err, ErrTimeout) || errors.Is(err, context.DeadlineExceeded)
		}
	}
	a := &Adaptive{overload: cfg.IsOverload, vegas: newVegas(cfg.Min, cfg.Max, cfg.Initial)}
	a.changes.tell = cfg.OnChange
	return a
}

// Limit returns how many calls may be in flight as of now.
func (a *Adaptive) Limit() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.vegas.limit
}

// Do waits until the limit has room, then calls op.
func (a *Adaptive) Do(ctx context.Context, op func(context.Context) error) error {
	if err := ended(ctx); err != nil {
		return err
	}
	round, err := a.admit(ctx)
	if err != nil {
		return notMade(ctx)
	}
	return a.run(ctx, op, round)
}

func (a *Adaptive) bind([]Policy) Policy { return a }

// admit waits until the limit has room. It returns the round that the call is in.
func (a *Adaptive) admit(ctx context.Context) (round int, err error) {
	if round, ok := a.admitNow(); ok {
		return round, nil
	}
	return a.wait(ctx)
}

// wait is the slow part of admit; apart, so that the fast one allocates nothing.
func (a *Adaptive) wait(ctx context.Context) (round int, err error) {
	waiting, over := waitUnder(ctx)
	defer over()
	err = a.line.enter(waiting, &a.mu, func() (ok bool, retry time.Duration) {
		round, ok = a.turn()
		return ok, 0
	})
	return round, err
}

func (a *Adaptive) admitNow() (round int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.line.empty() {
		return 0, false
	}
	return a.turn()
}

// turn lets a call through where the limit has room. a.mu is held.
func (a *Adaptive) turn() (round int, ok bool) {
	ok = a.running < a.vegas.limit
	if ok {
		a.running++
	}
	if a.running >= a.vegas.limit {
		a.vegas.reached()
	}
	return a.vegas.id, ok
}

// run makes a call that has been let through.
func (a *Adaptive) run(ctx context.Context, op func(context.Context) error, round int) error {
	how := unknown // unless it returns
	var took time.Duration
	defer func() {
		a.settle(round, how, took)
		a.changes.deliver()
	}()
	if err := ended(ctx); err != nil { // while it waited
		return err
	}
	begin := clock()
	err := op(ctx)
	took = clock() - begin
	how = a.judge(ctx, err)
	return err
}

// How a call ended, as far as the limit goes.
type outcome int

const (
	unknown  outcome = iota // it says nothing: latency of failures is no measure
	served                  // its latency counts
	rejected                // the service is overloaded
)

func (a *Adaptive) judge(ctx context.Context, err error) outcome {
	if err == nil || errors.Is(err, seq.ErrSkip) {
		return served
	}
	if end := endingOf(ctx); end != callerLeft && !isRefused(err) && a.overload(withEnding(ctx, end, err)) {
		return rejected
	}
	return unknown
}

// settle gives back a call's place and lets the algorithm know how it went.
func (a *Adaptive) settle(round int, o outcome, took time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running--
	before := a.vegas.limit
	switch o {
	case served:
		a.vegas.succeeded(round, float64(max(took, 1)))
	case rejected:
		a.vegas.overloaded(round)
	}
	if limit := a.vegas.limit; limit != before {
		a.changes.add(limit)
	}
	a.line.wake()
}
