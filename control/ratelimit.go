package control

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"example.com/pipeline/seq"
)

// RateLimit lets items through as l gives tokens for them. Nothing is lost: while
// there is no token the loop waits, so the pull stops, and with it the source.
//
// With a [golang.org/x/time/rate.Limiter] of burst 1 the items are evenly spaced;
// with burst b up to b of them pass at once after a time of rest. Each item takes
// its token when it has been pulled, immediately before it is handed on. A token
// taken ahead of the pull would grow old while the source blocks, and let two
// items through at once after it; and the last one would be taken for nothing, which
// matters where several pipelines share l. Errors pass at once and take none.
//
// A sleep cannot be shorter than the timer's resolution, about 1 ms on most
// machines. That is what bounds a rate.Limiter of burst 1: it waits once for each
// item, so asked for 20,000 a second it gives some 1,000 to 2,000, in silence. Use a
// [Pacer] for rates above a few hundred a second: it spaces evenly, too, but catches
// up with what its sleeps took too long, so that it holds its mean.
//
// After the Stop of a gate that is in ctx ([WithGate]) nothing waits for a token: an item
// that has none comes out as an [*seq.ItemError] that Is [ErrStopped]. Where that must not
// be, since what comes here is done already, give RateLimit a context without a gate.
//
// Where l reports an error of its own, as a rate.Limiter of burst 0 does, the stream
// ends with it. The limiter is not shown the deadline of ctx, so that it waits until
// ctx has in fact ended instead of giving up early with an error that is not ctx's.
//
// Ends: with in, at a final error of in or of l, or when ctx ends: it looks at ctx while it waits and between items, but cannot interrupt a source that blocks.
// Owns: no goroutine; it runs in the consumer's.
// Reads ahead: nothing; it waits with the one item in hand that the consumer asked for.
// Reuse: as often as in; l goes on where the last loop left it.
func RateLimit[T any](ctx context.Context, in iter.Seq2[T, error], l Limiter) iter.Seq2[T, error] {
	needContext("RateLimit", ctx)
	needStream("RateLimit", in)
	need(!isNil(l), "RateLimit", "the limiter must not be nil")
	return func(yield func(T, error) bool) {
		var none T
		if err := seq.ContextError(ctx); err != nil {
			yield(none, err)
			return
		}
		under, over := waitUnder(ctx)
		defer over()
		waiting := endless{under}
		for v, err := range in {
			if err == nil {
				if end := token(ctx, &waiting, l); end == ErrStopped {
					v, err = none, &seq.ItemError{Item: v, Err: end}
				} else if end != nil {
					yield(none, end)
					return
				}
			}
			if !yield(v, err) || isFinal(err) {
				return
			}
			if end := seq.ContextError(ctx); end != nil {
				yield(none, end)
				return
			}
		}
	}
}

// token waits for a token of l, under waiting in the place of ctx. It returns ErrStopped
// where a gate has ended that wait. Any other error is final, whatever l's is: the join
// sees to that.
func token(ctx context.Context, waiting *endless, l Limiter) error {
	err := l.Wait(waiting)
	if end := seq.ContextError(ctx); end != nil {
		return end
	}
	if err != nil && waiting.Err() != nil {
		return ErrStopped
	}
	if err != nil {
		return fmt.Errorf("control.RateLimit: the limiter gives no tokens: %w", errors.Join(err))
	}
	return nil
}

// endless is a context that does not say when it will end. It ends all the same.
type endless struct{ context.Context }

func (endless) Deadline() (time.Time, bool) { return time.Time{}, false }
