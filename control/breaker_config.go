package control

import (
	"fmt"
	"time"
)

// BreakerConfig says when a [Breaker] opens and what it does then. The zero value
// is useful.
type BreakerConfig struct {
	// Window is the time over which calls are counted, to within a 64th of it (and
	// what timers are late on a busy machine). 0 means 10 s.
	Window time.Duration

	// MinCalls is how many calls it takes within Window for a verdict. 0 means 10.
	MinCalls int

	// FailureRate is the part of the calls within Window that failed at which the
	// breaker opens, up to 1. 0 means 0.5.
	FailureRate float64

	// OpenFor is how long the breaker stays open before it lets trial calls
	// through. 0 means 5 s.
	OpenFor time.Duration

	// HalfOpen is how many trial calls are let through, at once if so many come.
	// All must succeed for the breaker to close; the first that fails opens it
	// again. 0 means 1.
	HalfOpen int

	// Consecutive opens the breaker after so many failures in a row, whatever
	// MinCalls and FailureRate say and however long they take. 0 means never.
	Consecutive int

	// IsFailure says whether an error means that the service is in trouble. What it
	// says no to counts as a success, also as a trial: a service that answers 404
	// is well. nil means that every error does. It is not asked for [seq.ErrSkip],
	// which is a success, nor for what is not counted: a call that was refused
	// ([ErrRefused]), or whose caller has left, so that its ctx has ended. Where a
	// time limit around the call was up, that is no reason not to count it, and the
	// error Is the end of ctx as well.
	IsFailure func(error) bool

	// Ignore, if set, says whether an error means nothing: it counts neither as a
	// failure nor as a success, and another call can be the trial. It is asked before
	// IsFailure, and for seq.ErrSkip, too.
	Ignore func(error) bool

	// OnChange, if set, is called after each change of the state, one at a time
	// and in order, without a lock held, in the goroutine of one of the callers.
	OnChange func(from, to BreakerState)

	// Hold makes callers wait until the breaker lets them through instead of
	// returning [ErrOpen]. They go on in the order in which they came. In a
	// pipeline the pull stops, and so does the source: nothing is lost. The Stop of a
	// gate that is in their ctx ends the wait ([WithGate]).
	Hold bool
}

// A BreakerState is one of [BreakerClosed], [BreakerOpen] and [BreakerHalfOpen].
type BreakerState int

const (
	BreakerClosed   BreakerState = iota // calls are made and counted
	BreakerOpen                         // no call is made
	BreakerHalfOpen                     // a few trial calls are made
)

// String returns "closed", "open" or "half open".
func (s BreakerState) String() string {
	switch s {
	case BreakerClosed:
		return "closed"
	case BreakerOpen:
		return "open"
	case BreakerHalfOpen:
		return "half open"
	}
	return fmt.Sprintf("BreakerState(%d)", int(s))
}

// withDefaults returns c with the defaults of what is not set. It panics where a
// value is below 0, or the rate above 1.
func (c BreakerConfig) withDefaults() BreakerConfig {
	if c.Window < 0 || c.OpenFor < 0 {
		panic(fmt.Sprintf("control.NewBreaker: Window and OpenFor must not be below 0, got %v and %v", c.Window, c.OpenFor))
	}
	if c.MinCalls < 0 || c.HalfOpen < 0 {
		panic(fmt.Sprintf("control.NewBreaker: MinCalls and HalfOpen must not be below 0, got %d and %d", c.MinCalls, c.HalfOpen))
	}
	if c.Consecutive < 0 {
		panic(fmt.Sprintf("control.NewBreaker: Consecutive must not be below 0, got %d", c.Consecutive))
	}
	if !(c.FailureRate >= 0 && c.FailureRate <= 1) { // NaN is not
		panic(fmt.Sprintf("control.NewBreaker: FailureRate must be from 0 to 1, got %v", c.FailureRate))
	}
	orElse(&c.Window, 10*time.Second)
	orElse(&c.MinCalls, 10)
	orElse(&c.FailureRate, 0.5)
	orElse(&c.OpenFor, 5*time.Second)
	orElse(&c.HalfOpen, 1)
	return c
}

// orElse gives a field that is not set its default.
func orElse[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
