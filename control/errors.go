package control

import (
	"context"
	"errors"

	"example.com/pipeline/seq"
)

var (
	// ErrRefused says that the call was not made: a breaker is open, a gate was
	// stopped, a limiter gave no token, [WaitAtMost] gave up, or ctx ended while the
	// call was still waiting for its turn. It stands beside the particular error,
	// such as [ErrOpen] or ctx's.
	//
	// A refused call is no try, no success and no failure. [Breaker] and [Adaptive]
	// do not count it, and what [Retry] and [Hedge] do about it is said there. This
	// goes by the error alone: what fn itself returns is taken at its word, too.
	ErrRefused = errors.New("control: the call was not made")

	// ErrTimeout says that a call, or a stream, took longer than it was given.
	// Such an error Is [context.DeadlineExceeded] as well.
	ErrTimeout = errors.New("control: timed out")

	// ErrOpen says that a [Breaker] is open. It Is [ErrRefused].
	ErrOpen error = refusal("control: the circuit is open")

	// ErrStopped says that a [Gate] was stopped. It Is [seq.ErrStopped], and
	// [ErrRefused], but for the error of a [Retry] that had made a try before.
	ErrStopped error = refusal("control: the gate was stopped")

	// ErrInProgress says that another process is working on the same key, in a
	// [KeyStore] that cannot wait for it. It Is [ErrRefused], and the call can be
	// tried again later.
	ErrInProgress error = refusal("control: the key is in progress elsewhere")
)

// A refusal is one particular reason not to make a call.
type refusal string

func (r refusal) Error() string { return string(r) }
func (r refusal) Is(target error) bool {
	return target == ErrRefused || target == seq.ErrStopped && r == ErrStopped
}

// A refusedError is the error of something else because of which a call was not
// made.
type refusedError struct{ err error }

func (e *refusedError) Error() string        { return e.err.Error() }
func (e *refusedError) Is(target error) bool { return target == ErrRefused }
func (e *refusedError) Unwrap() error        { return e.err }

// ended returns nil while ctx goes on, and afterwards ctx's error as that of a call
// that was not made.
func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return &refusedError{seq.ContextError(ctx)}
}

// isRefused reports whether err says that the call was not made.
func isRefused(err error) bool { return errors.Is(err, ErrRefused) }

// A madeError is an error that would say that a call was not made, where a part of
// it was: it Is what err is, but not ErrRefused.
type madeError struct{ err error }

func (e *madeError) Error() string { return e.err.Error() }
func (e *madeError) Is(target error) bool {
	return target != ErrRefused && errors.Is(e.err, target)
}
func (e *madeError) As(target any) bool { return errors.As(e.err, target) }
