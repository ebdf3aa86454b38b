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
// It gives up after Attempts tries, when MaxElapsed leaves no time for the next
// sleep, at an error that is not worth another try, and when ctx ends, also in the
// middle of a sleep. The error then says how many tries were made in what time, and
// Is the last try's error, and ctx's where ctx has ended; what fails in its only
// try comes back as it is. [seq.ErrSkip] is no failure, and returned at once.
type Retry struct {
	// Attempts is how many tries are made in all, the first included. 0 means 5,
	// less means no limit.
	Attempts int

	// Backoff says how long to sleep after each failed try, unless its error is of
	// [RetryAfter]. nil means Exponential(100ms, 30s).
	Backoff Backoff

	// MaxElapsed bounds the time from the first try on: a sleep that would go past
	// it is not begun. It does not interrupt a try. 0 means no limit.
	MaxElapsed time.Duration

	// If says whether an error is worth another try. An error of [Permanent] and
	// the end of ctx never are, and If is not asked. nil means that all others are.
	If func(error) bool

	// Pause, if set, is closed for as long as this retry sleeps, so that everything
	// that passes through this gate waits as well: with the gate in front of the
	// source, the whole pipeline. Of several retries that sleep at once the longest
	// decides. A retry whose sleep is over goes on while others sleep, unless the
	// same gate is among the policies inside of it.
	Pause *Gate

	// OnRetry, if set, is called before each sleep.
	OnRetry func(RetryEvent)
}

// A RetryEvent says which try has failed, and what comes next. The last failure is
// followed by no event: it is returned.
type RetryEvent struct {
	Attempt int           // the try that has just failed, from 1
	Err     error         // its error
	Sleep   time.Duration // until the next try
}

var defaultBackoff = Exponential(100*time.Millisecond, 30*time.Second)

// Do calls op until it succeeds or there is a reason to give up.
func (r Retry) Do(ctx context.Context, op func(context.Context) error) error {
	r.check()
	return r.from(ctx, clock(), op)
}

// from is Do, begun at begin.
func (r *Retry) from(ctx context.Context, begin time.Duration, op func(context.Context) error) error {
	err := op(ctx)
	if err == nil {
		return nil
	}
	return r.after(ctx, begin, err, op)
}

// after goes on after the first try, which began at begin and returned err.
func (r *Retry) after(ctx context.Context, begin time.Duration, err error, op func(context.Context) error) error {
	for try := 1; err != nil && !errors.Is(err, seq.ErrSkip); try++ {
		if end := seq.ContextError(ctx); end != nil {
			return interrupted(try, begin, end, err)
		}
		d, again := r.next(try, clock()-begin, err)
		if !again {
			return gaveUp(try, begin, err)
		}
		if r.OnRetry != nil {
			r.OnRetry(RetryEvent{Attempt: try, Err: err, Sleep: d})
		}
		if end := r.sleep(ctx, d); end != nil {
			return interrupted(try, begin, end, err)
		}
		err = op(ctx)
	}
	return err
}

func (r Retry) check() {
	if r.MaxElapsed < 0 {
		panic(fmt.Sprintf("control.Retry: MaxElapsed must not be below 0, got %v", r.MaxElapsed))
	}
}

// next says how long to sleep after a try that failed with err, or that there is
// not to be another one.
func (r *Retry) next(try int, elapsed time.Duration, err error) (d time.Duration, again bool) {
	limit := r.Attempts
	if limit == 0 {
		limit = 5
	}
	if limit > 0 && try >= limit || isPermanent(err) || r.If != nil && !r.If(err) {
		return 0, false
	}
	var asked *retryAfterError
	switch {
	case errors.As(err, &asked):
		d = asked.after
	case r.Backoff != nil:
		d = r.Backoff(try)
	default:
		d = defaultBackoff(try)
	}
	d = max(d, 0)
	return d, r.MaxElapsed == 0 || d <= r.MaxElapsed-elapsed
}

// sleep sleeps for d, with the gate closed. It returns ctx's error when ctx ends.
//
// The gate is closed for d from a moment later than the timer was started, and
// opened right after the sleep: nothing gets through before the sleep is over, and
// the next try through the same gate finds it open, unless others keep it closed.
func (r *Retry) sleep(ctx context.Context, d time.Duration) error {
	if r.Pause == nil || d <= 0 {
		return sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	until := r.Pause.hold(d)
	defer r.Pause.unhold(until)
	return await(ctx, t)
}

// gaveUp is the error after the last of several tries.
func gaveUp(tries int, begin time.Duration, last error) error {
	if tries == 1 {
		return last
	}
	return &retryError{tries: tries, elapsed: clock() - begin, last: last}
}

// interrupted is the error after ctx has ended.
func interrupted(tries int, begin time.Duration, end, last error) error {
	if tries == 1 && (last == end || errors.Is(end, last)) {
		return end // the try itself has seen the end of ctx
	}
	return &interruptedError{retryError{tries: tries, elapsed: clock() - begin, last: last}, end}
}

// A retryError is the failure of all tries. It wraps the last one's error alone,
// so that an error about one item stays one.
type retryError struct {
	tries   int
	elapsed time.Duration
	last    error
}

func (e *retryError) Error() string {
	return fmt.Sprintf("%s: last error: %v", e.count(), e.last)
}

func (e *retryError) Unwrap() error { return e.last }

// count says how many tries took how long.
func (e *retryError) count() string {
	noun := "tries"
	if e.tries == 1 {
		noun = "try"
	}
	return fmt.Sprintf("%d %s in %v", e.tries, noun, readable(e.elapsed))
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

// An interruptedError is the end of ctx between two tries.
type interruptedError struct {
	retryError
	end error
}

func (e *interruptedError) Error() string {
	return fmt.Sprintf("%s: %v; last error: %v", e.count(), e.end, e.last)
}

func (e *interruptedError) Unwrap() []error { return []error{e.end, e.last} }
