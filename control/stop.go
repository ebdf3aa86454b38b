package control

import (
	"context"
	"errors"
	"slices"

	"example.com/pipeline/seq"
)

// WithGate returns ctx with g in it. What gets that context, or one derived from it, is
// stopped by [Gate.Stop]: what has begun finishes, and nothing new begins.
//
//   - The stages of package seq ask before each call of fn; what they have pulled
//     and not begun comes out as an error that Is [ErrStopped] ([seq.WithStop] has the
//     rules), and the stages of package batch that make calls do the same.
//   - Policies do not wait and do not try again: a [Retry] that sleeps, and a call that
//     waits for an [InFlight], an [Adaptive], a [Rate], a [Breaker] with Hold, another gate or
//     an [Idempotent] key end at once with ErrStopped, and [Hedge] begins no other try. A
//     call that need not wait is made: whether the item may begin was asked by the stage.
//   - [Gated], [Until] and [RateLimit] end their stream or give no token any more.
//   - cursor.Track ends the loop at the first item that is not done, without an error, and
//     commits what was consumed before: the next run begins there.
//
// To pause g does nothing to them; that needs [Gated] and g as a [Policy]. Nor does Stop
// end a source: put Gated in front of it, or [Until] around it.
//
// An item whose fn makes several governed calls can be cut between two of them. Put the
// policies around the whole of fn where that matters, or give the second call a context
// without a gate.
//
// A gate that is in ctx already stays; the Stop of one of them will do. A g of nil takes
// all of them away: what gets that context finishes, whatever is stopped.
func WithGate(ctx context.Context, g *Gate) context.Context {
	needContext("WithGate", ctx)
	if g == nil {
		return context.WithValue(seq.WithStop(ctx, nil), gatesKey{}, []*Gate(nil))
	}
	return context.WithValue(seq.WithStop(ctx, g.refusal), gatesKey{}, append(slices.Clip(gatesIn(ctx)), g))
}

// gatesKey is the key of the gates in a context, a []*Gate.
type gatesKey struct{}

func gatesIn(ctx context.Context) []*Gate {
	gates, _ := ctx.Value(gatesKey{}).([]*Gate)
	return gates
}

func anyStopped(gates []*Gate) bool {
	return slices.ContainsFunc(gates, func(g *Gate) bool { return g.stopped.Load() })
}

// waitUnder returns a context to wait under in the place of ctx: it ends with ctx, and at
// the Stop of a gate that is in ctx, or of one of more. Where there is none it is ctx. over
// is to be called after the wait, and waitEnded says why that has ended.
func waitUnder(ctx context.Context, more ...*Gate) (waiting context.Context, over func()) {
	gates := gatesIn(ctx)
	if len(gates)+len(more) == 0 {
		return ctx, func() {}
	}
	waiting, cancel := context.WithCancel(ctx)
	forget := make([]func(), 0, len(gates)+len(more))
	for _, gates := range [][]*Gate{gates, more} {
		for _, g := range gates {
			forget = append(forget, g.afterStop(cancel))
		}
	}
	return waiting, func() {
		for _, f := range forget {
			f()
		}
		cancel()
	}
}

// waitEnded returns the error of ctx, or ErrStopped where a gate has been stopped that is
// in ctx or one of more.
func waitEnded(ctx context.Context, more ...*Gate) error {
	if err := seq.ContextError(ctx); err != nil {
		return err
	}
	if anyStopped(gatesIn(ctx)) || anyStopped(more) {
		return ErrStopped
	}
	return nil
}

// notMade is waitEnded as the error of a call that was not made.
func notMade(ctx context.Context) error {
	if err := ended(ctx); err != nil {
		return err
	}
	return waitEnded(ctx)
}

// A stop is that of the gates that end a stream.
type stop struct {
	ctx   context.Context
	gates []*Gate
}

// stopOf is the Stop of g or of a gate that is in ctx.
func stopOf(ctx context.Context, g *Gate) stop {
	return stop{ctx, append(slices.Clip(gatesIn(ctx)), g)}
}

// asked reports whether the stream is to end before the next pull.
func (s stop) asked() bool { return anyStopped(s.gates) }

// ends reports whether a final error of the source is but the echo of the stop. The end of
// ctx is not, whatever its cause is.
func (s stop) ends(err error) bool {
	return isFinal(err) && errors.Is(err, ErrStopped) && s.cut()
}

// cut reports whether the stop, and not the end of ctx, is what has ended a wait.
func (s stop) cut() bool { return s.asked() && s.ctx.Err() == nil }
