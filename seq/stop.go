package seq

import (
	"context"
	"errors"
)

// ErrStopped says that an item is not done because of a graceful stop: it was not
// begun, or not tried again. It is no failure of the item. See [WithStop].
var ErrStopped = errors.New("seq: stopped before this item was begun")

// WithStop returns a context that can stop a pipeline gracefully: what has begun
// finishes, and nothing new begins. stopped is asked before each callback. While it
// returns nil the pipeline goes on; from its first error on it must not return nil
// again. It is called by many goroutines at once and for each item: an atomic load is
// what it should cost. Package control makes one of a gate.
//
// What happens from then on, to stages that have this context or one derived from it:
//
//   - [MapConcurrent], [MapUnordered], [MapKeyed] and [ForEachConcurrent] begin no
//     call, [FlatMapConcurrent] and [FlatMapUnordered] no stream, and [Fork] gives no
//     item to a lane. What has begun finishes, and comes out as ever.
//   - An item that was pulled and not begun comes out as an [*ItemError] that Is
//     ErrStopped and the error of stopped: in its position where order is kept, and
//     never before the calls that the stage has begun have returned. No item is lost in
//     silence.
//   - Where the consumer leaves meanwhile, calls in flight are not cancelled: they
//     finish, and then the loop ends. The end of ctx cuts them, as ever. Streams of a flat
//     map, which may have no end, are left as ever.
//   - Nothing ends the source but its own end. So put a gate in front of it that ends it,
//     or leave the loop; what is pulled until then is not begun either.
//   - [Branch], [Broadcast], [Merge], [Buffer] and all synchronous stages pass on what
//     there is. [Catch] is not asked about an error that Is ErrStopped.
//
// The context that a callback gets does not stop: what happens within a call that has
// begun finishes, too. The streams of FlatMapConcurrent and FlatMapUnordered are a part
// of the pipeline, and their context stops.
//
// Where ctx has such a context around it, the pipeline stops as soon as one of them
// says so. A stopped of nil takes them all away: stages under it finish what they get.
func WithStop(ctx context.Context, stopped func() error) context.Context {
	checkContext("WithStop", ctx)
	if outer := haltOf(ctx); outer != nil && stopped != nil {
		inner := stopped
		stopped = func() error {
			if err := outer(); err != nil {
				return err
			}
			return inner()
		}
	}
	return context.WithValue(ctx, haltKey{}, stopped)
}

// Stopped returns nil while work may begin under ctx. After a graceful stop it returns
// an error that Is [ErrStopped]. See [WithStop].
func Stopped(ctx context.Context) error {
	if halt := haltOf(ctx); halt != nil {
		if err := halt(); err != nil {
			return asStopped(err)
		}
	}
	return nil
}

// haltKey is the key of the func() error of WithStop in a context.
type haltKey struct{}

func haltOf(ctx context.Context) func() error {
	halt, _ := ctx.Value(haltKey{}).(func() error)
	return halt
}

// leaveStop returns ctx for a callback, which finishes whatever is stopped.
func leaveStop(ctx context.Context) context.Context {
	if haltOf(ctx) == nil {
		return ctx
	}
	return WithStop(ctx, nil)
}

// notBegun is what the consumer gets for an item whose callback was not called.
func notBegun[T any](item T, why error) error { return &ItemError{item, asStopped(why)} }

// asStopped returns err so that it Is ErrStopped.
func asStopped(err error) error {
	if errors.Is(err, ErrStopped) {
		return err
	}
	return &stoppedError{err}
}

// A stoppedError is the error of a func given to WithStop.
type stoppedError struct{ err error }

func (e *stoppedError) Error() string        { return e.err.Error() }
func (e *stoppedError) Is(target error) bool { return target == ErrStopped }
func (e *stoppedError) Unwrap() error        { return e.err }
