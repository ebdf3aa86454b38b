package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/pipeline/seq"
)

// Retry is a [Policy] that tries a call again when it fails. It is a plain value:
// it may be copied and shared, and the zero Retry makes 5 tries.
//
// It gives up after Attempts tries, at an error that is not worth another try, when
// the next sleep would go past MaxElapsed or ctx's deadline, and when ctx ends, also
// in the middle of a sleep. The error then says how many tries were made in what
// time, and Is the last try's error, and ctx's where ctx has ended; what fails in
// its only try comes back as it is. A success counts even if ctx has ended
// meanwhile. [seq.ErrSkip] is no failure, and returned at once.
//
// A call that was refused ([ErrRefused]) is no try. It is called again after a sleep
// of at least 10 ms, and behind an open [Breaker] for as long as that stays open. So
// many refusals as Attempts in a row, with no try in between, are the end, too.
//
// After [Gate.Stop] it makes no further try, and a sleep ends at once, however long it was
// to be: that of Pause, of a gate among the policies inside of it, or of one that is in
// ctx ([WithGate]). Its error then Is [ErrStopped], and the last try's where there was
// one. Of the gates inside it knows those that were given to the same [Wrap].
type Retry struct {
	// Attempts is how many tries are made in all, the first included. 0 means 5,
	// less means no limit.
	Attempts int

	// Backoff says how long to sleep after each failed try, unless its error is of
	// [RetryAfter]. After a refusal it is asked with the number of refusals in a row.
	// nil means Exponential(100ms, 30s).
	Backoff Backoff

	// MaxElapsed bounds the time from the first try on: a sleep that would go past
	// it is not begun. It does not interrupt a try. 0 means no limit.
	MaxElapsed time.Duration

	// If says whether an error is worth another try. It is not asked for an error of
	// [Permanent], [ErrStopped] and the end of ctx, which never are. nil means that
	// all others are.
	If func(error) bool

	// Pause, if set, is closed for as long as this retry sleeps, so that everything
	// that passes through this gate waits as well: with the gate in front of the
	// source, the whole pipeline. Of several retries that sleep at once the longest
	// decides. A retry whose sleep is over goes on while others sleep, unless the
	// same gate is among the policies inside of it.
	Pause *Gate

	// OnRetry, if set, is called before each sleep, also before one that ends at once since
	// a gate has been stopped.
	OnRetry func(RetryEvent)
}

// A RetryEvent says which try has failed, and what comes next. The last failure is
// followed by no event: it is returned.
type RetryEvent struct {
	Attempt int           // the try that has just failed, from 1; after a refusal the last one that was made, or 0
	Err     error         // its error, or the refusal
	Sleep   time.Duration // until the next try
}

var defaultBackoff = Exponential(100*time.Millisecond, 30*time.Second)

// refusedSleep is the least sleep after a refusal. Calls that are not made cost
// nothing, so without it Constant(0) would be a busy loop.
const refusedSleep = 10 * time.Millisecond

// Do calls op until it succeeds or there is a reason to give up.
func (r Retry) Do(ctx context.Context, op func(context.Context) error) error {
	return r.bind(nil).Do(ctx, op)
}

func (r Retry) bind(inside []Policy) Policy {
	if r.MaxElapsed < 0 {
		panic(fmt.Sprintf("control.Retry: MaxElapsed must not be below 0, got %v", r.MaxElapsed))
	}
	if r.Attempts == 0 {
		r.Attempts = 5
	}
	if r.Backoff == nil {
		r.Backoff = defaultBackoff
	}
	b := &boundRetry{Retry: r}
	if r.Pause != nil {
		b.gates = append(b.gates, r.Pause)
	}
	for _, p := range inside {
		if g := gateOf(p); g != nil && g != r.Pause {
			b.gates = append(b.gates, g)
		}
	}
	return b
}

// A boundRetry is a Retry with its defaults, and the gates whose Stop ends it.
type boundRetry struct {
	Retry
	gates []*Gate
}

// Do is Retry.Do.
func (r *boundRetry) Do(ctx context.Context, op func(context.Context) error) error {
	if err := ended(ctx); err != nil {
		return err
	}
	so := soFar{begin: clock()}
	for {
		err := op(ctx)
		if err == nil || errors.Is(err, seq.ErrSkip) {
			return err
		}
		so.add(err)
		if end := seq.ContextError(ctx); end != nil {
			if so.tries == 0 && errors.Is(err, ctx.Err()) && errors.Is(err, context.Cause(ctx)) {
				return err // ended while it was waiting for its turn
			}
			return so.interrupted(end)
		}
		d, again := r.next(ctx, &so, err)
		if !again {
			return so.gaveUp()
		}
		if r.OnRetry != nil {
			r.OnRetry(RetryEvent{Attempt: so.tries, Err: err, Sleep: d})
		}
		if end := r.sleep(ctx, d); end != nil {
			return so.interrupted(end)
		}
	}
}

// next says how long to sleep after err, or that there is not to be another try.
func (r *boundRetry) next(ctx context.Context, so *soFar, err error) (d time.Duration, again bool) {
	n := so.tries
	if so.refusal != nil {
		n = so.refused
	}
	if r.Attempts > 0 && n >= r.Attempts || isPermanent(err) || errors.Is(err, ErrStopped) || r.If != nil && !r.If(err) {
		return 0, false
	}
	if asked, ok := errors.AsType[*retryAfterError](err); ok {
		d = max(asked.after, 0)
	} else {
		d = max(r.Backoff(n), 0)
	}
	if so.refusal != nil {
		d = max(d, refusedSleep)
		if open, ok := errors.AsType[*openError](err); ok {
			d = later(d, open.retry)
		}
	}
	if r.MaxElapsed > 0 && d > r.MaxElapsed-(clock()-so.begin) {
		return 0, false
	}
	deadline, ok := ctx.Deadline()
	return d, !ok || d < time.Until(deadline)
}

// sleep sleeps for d, with Pause closed. It returns ctx's error when ctx ends, and
// ErrStopped when one of the gates is stopped.
//
// The gate is closed for d from a moment later than the timer was started, and
// opened right after the sleep: nothing gets through before the sleep is over, and
// the next try through the same gate finds it open, unless others keep it closed.
func (r *boundRetry) sleep(ctx context.Context, d time.Duration) error {
	if d > 0 {
		waiting, over := waitUnder(ctx, r.gates...)
		defer over()
		t := time.NewTimer(d)
		defer t.Stop()
		if r.Pause != nil {
			until := r.Pause.hold(d)
			defer r.Pause.unhold(until)
		}
		select {
		case <-t.C:
		case <-waiting.Done():
		}
	}
	return waitEnded(ctx, r.gates...)
}

// soFar is what a retry has done so far.
type soFar struct {
	begin   time.Duration // on clock
	tries   int
	last    error // of the last try
	refused int   // refusals since then
	refusal error // the latest of them; nil where a try came last
}

func (s *soFar) add(err error) {
	if isRefused(err) {
		s.refused++
		s.refusal = err
	} else {
		s.tries++
		s.last, s.refused, s.refusal = err, 0, nil
	}
}

// gaveUp is the error after the last try or refusal.
func (s *soFar) gaveUp() error {
	switch {
	case s.tries > 0 && s.refusal != nil:
		return s.interrupted(s.refusal)
	case s.tries == 1:
		return s.last
	case s.refused == 1:
		return s.refusal
	}
	return &retryError{*s, clock() - s.begin}
}

// interrupted is the error after end has made another try impossible.
func (s *soFar) interrupted(end error) error {
	last := s.latest()
	if s.tries+s.refused == 1 && (last == end || errors.Is(end, last)) {
		return end // the try itself has seen it
	}
	if s.tries > 0 && isRefused(end) {
		end = &madeError{end}
	}
	return &interruptedError{retryError{*s, clock() - s.begin}, end}
}

// latest is the last try's error, or the last refusal where no try was made.
func (s *soFar) latest() error {
	if s.tries > 0 {
		return s.last
	}
	return s.refusal
}

// A retryError is the failure of all tries. It wraps the last one's error alone,
// so that an error about one item stays one.
type retryError struct {
	soFar
	elapsed time.Duration
}

func (e *retryError) Error() string {
	return fmt.Sprintf("%s: last error: %v", e.count(), e.latest())
}

func (e *retryError) Unwrap() error { return e.latest() }

// count says how many tries, or refusals where there were none, took how long.
func (e *retryError) count() string {
	n, noun := e.tries, "tries"
	switch {
	case n == 0 && e.refused == 1:
		n, noun = 1, "refusal"
	case n == 0:
		n, noun = e.refused, "refusals"
	case n == 1:
		noun = "try"
	}
	return fmt.Sprintf("%d %s in %v", n, noun, readable(e.elapsed))
}

// readable rounds d to what a reader of an error message wants to know.
func readable(d time.Duration) time.Duration {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second)
	case d >= time.Second:
		return d.Round(100 * time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Microsecond)
}

// An interruptedError is the end of ctx between two tries, or of a gate.
type interruptedError struct {
	retryError
	end error
}

func (e *interruptedError) Error() string {
	return fmt.Sprintf("%s: %v; last error: %v", e.count(), e.end, e.latest())
}

func (e *interruptedError) Unwrap() []error { return []error{e.end, e.latest()} }
