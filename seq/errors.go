package seq

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// ErrSkip, returned by a callback, drops the item: it is no failure, and the
// stream goes on with the next one. A wrapped ErrSkip does the same.
//
// It works in every callback of this package that returns an error, the sinks'
// too; [Catch] uses it to swallow an error.
var ErrSkip = errors.New("seq: skip this item")

// An ItemError says which item a stage could not process. The stream goes on
// after it, if the consumer goes on. [errors.Is] and [errors.As] see through it.
//
// Each stage names its own input: where two stages are nested, the chain holds
// one ItemError each, and [FailedItem] finds the innermost item of a type.
type ItemError struct {
	Item any   // what the stage was given
	Err  error // why it failed
}

// Error returns the text of the cause, preceded by the item in at most 80 bytes. The
// item looks as %v shows it, but for strings, which are quoted, and byte slices, in
// hexadecimal. Of a func, a chan or a pointer inside the item it shows the type, never
// an address.
func (e *ItemError) Error() string {
	return fmt.Sprintf("item %s: %v", clip(e.Item), e.Err)
}

// Unwrap returns the cause.
func (e *ItemError) Unwrap() error { return e.Err }

// IsItemError reports whether err is about one item, so that the stream goes on
// after it: its chain of single Unwraps holds an [*ItemError]. Every other error
// is final. An error that joins several is final, whatever it joins.
func IsItemError(err error) bool { return innerItemError(err) != nil }

// innerItemError returns the first *ItemError in err's chain of single Unwraps.
func innerItemError(err error) *ItemError {
	for err != nil {
		switch e := err.(type) {
		case *ItemError:
			return e
		case *contextError:
			return nil // has no Unwrap either; said here because As depends on it
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return nil
		}
		err = u.Unwrap()
	}
	return nil
}

// pass yields an error in its position and reports whether the stream goes on: not
// after a final error, and not when the consumer has left.
func pass[T any](yield func(T, error) bool, err error) bool {
	var zero T
	return yield(zero, err) && IsItemError(err)
}

// fail yields the error that a callback returned for item and reports whether the
// stream goes on. ErrSkip yields nothing.
func fail[T any](yield func(T, error) bool, item any, err error) bool {
	return errors.Is(err, ErrSkip) || pass(yield, &ItemError{item, err})
}

// asFinal returns err so that it is final: the error of a whole stream must not
// pass for that of one item only because one is its cause.
func asFinal(err error) error {
	if IsItemError(err) {
		return errors.Join(err)
	}
	return err
}

// ofSameItem returns err so that it is about the item of failed: as it is where its
// chain still holds failed, otherwise within ItemErrors of the same items.
func ofSameItem(failed *ItemError, err error) error {
	for e := innerItemError(err); e != nil; e = innerItemError(e.Err) {
		if e == failed {
			return err
		}
	}
	if inner := innerItemError(failed.Err); inner != nil {
		err = ofSameItem(inner, err)
	}
	return &ItemError{failed.Item, err}
}

// FailedItem returns the item of the innermost [*ItemError] in err's chain that
// holds a T. The innermost one is the item as it was where the failure happened;
// ask for the type that entered the pipeline to retry from the origin.
func FailedItem[T any](err error) (item T, ok bool) {
	for e := innerItemError(err); e != nil; e = innerItemError(e.Err) {
		if v, is := e.Item.(T); is {
			item, ok = v, true
		}
	}
	return item, ok
}

// A PanicError carries a panic from the goroutine where it happened to the
// goroutine that runs the loop, where it is panicked anew.
type PanicError struct {
	Value any    // what was passed to panic
	Stack []byte // of the goroutine that panicked, as from [debug.Stack]
}

// Error returns the panic's value and the stack of the goroutine it happened in.
func (e *PanicError) Error() string {
	return fmt.Sprintf("panic: %s\n\n%s", panicText(e.Value), e.Stack)
}

// Unwrap returns the panic's value where it is an error, otherwise nil.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// newPanicError makes a PanicError of a recovered value. One that has already
// crossed a goroutine stays as it is, so that a chain of stages wraps it once.
func newPanicError(value any) *PanicError {
	if e, ok := value.(*PanicError); ok {
		return e
	}
	return &PanicError{Value: value, Stack: debug.Stack()}
}

// ContextError returns the error with which a stage reports the end of ctx, or
// nil while ctx has not ended. It Is both ctx.Err() and [context.Cause] of ctx,
// and it is final whatever the cause is: it never is nor holds an [*ItemError].
func ContextError(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	cause := context.Cause(ctx)
	// The two errors of the standard library need no cover. Those of a foreign
	// context may be anything, an ItemError or one that == panics at.
	if (err == context.Canceled || err == context.DeadlineExceeded) && cause == err {
		return err
	}
	return &contextError{err, cause}
}

// A contextError is the end of a context together with its cause. It has no
// Unwrap: Is and As look at both, so that As can refuse an ItemError, which
// would turn the end of everything into the failure of one item.
type contextError struct{ err, cause error }

func (e *contextError) Error() string {
	err, cause := fmt.Sprint(e.err), fmt.Sprint(e.cause) // not by Error, which may panic
	if cause == err {
		return err
	}
	return err + ": " + cause
}

func (e *contextError) Is(target error) bool {
	return errors.Is(e.err, target) || errors.Is(e.cause, target)
}

func (e *contextError) As(target any) bool {
	if _, ok := target.(**ItemError); ok {
		return false
	}
	return errors.As(e.err, target) || errors.As(e.cause, target)
}
