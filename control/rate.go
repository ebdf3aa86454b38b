package control

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/sync/semaphore"

	"example.com/pipeline/seq"
)

// A Limiter says when the next call may be made: Wait returns nil when it may,
// and an error when it never will or when ctx ends. A *[Pacer] is one, and so is
// a *rate.Limiter of golang.org/x/time/rate.
type Limiter interface {
	Wait(ctx context.Context) error
}

// Rate makes each call wait for l first. Where l refuses, as a rate.Limiter does at
// once if the token would come after ctx's deadline, the call is not made: the error
// Is [ErrRefused] and l's error. A wait ends at the Stop of a gate that is in ctx
// ([WithGate]), with [ErrStopped]; of another limiter than a Pacer no call gets a token
// from then on.
//
// Inside of [Retry] every try waits, outside only the first one does. Keep it outside of
// [Timeout], which would give to the wait what the call is to have. The same goes for a
// limiter that fn itself waits for: a Timeout around fn counts that wait.
func Rate(l Limiter) Policy {
	if isNil(l) {
		panic("control.Rate: the limiter must not be nil")
	}
	return rated{l}
}

type rated struct{ limiter Limiter }

func (r rated) Do(ctx context.Context, op func(context.Context) error) error {
	if err := ended(ctx); err != nil {
		return err
	}
	err := r.wait(ctx)
	if end := ended(ctx); end != nil {
		return end
	}
	if err != nil && errors.Is(err, ErrStopped) && anyStopped(gatesIn(ctx)) {
		return ErrStopped
	}
	if err != nil {
		return &refusedError{fmt.Errorf("control.Rate: the call was not made: %w", err)}
	}
	return op(ctx)
}

func (r rated) wait(ctx context.Context) error {
	if p, ok := r.limiter.(*Pacer); ok {
		return p.Wait(ctx) // which looks at the gates itself, where it has to wait
	}
	waiting, over := waitUnder(ctx)
	defer over()
	err := r.limiter.Wait(waiting)
	if err != nil && waiting.Err() != nil {
		if end := waitEnded(ctx); end != nil {
			return end
		}
	}
	return err
}

func (r rated) bind([]Policy) Policy { return r }

// A Pacer is a [Limiter] that spaces calls evenly and holds its mean where the
// spacing is finer than what the operating system's timers can do.
//
// It keeps a schedule: a call that comes late, because a timer was late or the
// caller was busy, goes at once, and those after it make up for the delay. What is
// almost 2 ms behind is forgotten, so that what goes at once is no more than 2 ms
// worth of calls, or a single one where that is more.
// A rate limiter with a burst of 1 forgets at once and thus falls behind: asked
// for 20,000 a second it reaches less than 2,000 where a sleep takes 1 ms.
//
// Callers go first come, first served. A wait that ends with its context takes
// nothing from the schedule. A Pacer is made by [NewPacer], safe for concurrent
// use by any number of pipelines, and needs no closing.
type Pacer struct {
	turn  *semaphore.Weighted // its holder waits for the next slot, the others for their turn
	every time.Duration       // between two slots
	part  float64             // of a nanosecond, what every has been rounded down by

	// The holder's of turn alone:
	begun bool
	next  time.Duration // the next slot, on clock
	frac  float64       // the parts of nanoseconds that next is behind
}

// catchUp is how late a slot may be taken. Timers are up to 1.1 ms late where they
// count in milliseconds, so it has to be above that for the mean to hold. It is
// below 2 ms because the slot that is due goes along with those made up for: at
// 1,000 a second there are 2 at once, at 20,000 there are 39.
const catchUp = 1900 * time.Microsecond

// NewPacer returns a Pacer for perSecond calls a second, which must be above 0 and
// at most 1e9. The first call goes at once.
func NewPacer(perSecond float64) *Pacer {
	if !(perSecond > 0 && perSecond <= 1e9) { // NaN is not
		panic(fmt.Sprintf("control.NewPacer: perSecond must be above 0 and at most 1e9, got %v", perSecond))
	}
	// A slot further away than this, 73 years, does not come; sums must not overflow.
	const longest = float64(math.MaxInt64 / 4)
	whole, part := math.Modf(min(1e9/perSecond, longest))
	return &Pacer{turn: semaphore.NewWeighted(1), every: time.Duration(whole), part: part}
}

// Wait waits for the next slot and takes it. When ctx ends first it returns the
// error of [seq.ContextError] and takes none; so it does with [ErrStopped] when a gate that
// is in ctx is stopped while it waits.
func (p *Pacer) Wait(ctx context.Context) error {
	if ctx.Err() != nil {
		return seq.ContextError(ctx)
	}
	if !p.turn.TryAcquire(1) {
		return p.waitInLine(ctx)
	}
	defer p.turn.Release(1)
	if p.due() > 0 {
		return p.waitForSlot(ctx)
	}
	p.take()
	return nil
}

// waitInLine is Wait where another call is the holder of turn.
func (p *Pacer) waitInLine(ctx context.Context) error {
	waiting, over := waitUnder(ctx)
	defer over()
	if err := p.turn.Acquire(waiting, 1); err != nil {
		return waitEnded(ctx)
	}
	defer p.turn.Release(1)
	return p.wait(ctx, waiting)
}

// waitForSlot is the wait of the holder of turn.
func (p *Pacer) waitForSlot(ctx context.Context) error {
	waiting, over := waitUnder(ctx)
	defer over()
	return p.wait(ctx, waiting)
}

// wait is waitForSlot under waiting in the place of ctx.
func (p *Pacer) wait(ctx, waiting context.Context) error {
	// Look again after the sleep: if it took much longer than it was to, what is
	// more than catchUp behind is forgotten before this slot is taken.
	for d := p.due(); d > 0; d = p.due() {
		if sleep(waiting, d) != nil {
			return waitEnded(ctx)
		}
	}
	p.take()
	return nil
}

// due returns how long it is to the next slot, 0 or less where it is there.
func (p *Pacer) due() time.Duration {
	now := clock()
	if !p.begun {
		p.begun, p.next = true, now
	}
	// The upper bound is for a clock that was set back, as one bubble of
	// testing/synctest sees it after another.
	p.next = min(max(p.next, now-catchUp), now+p.every+1)
	return p.next - now
}

// take moves on to the slot after next, without losing the parts of nanoseconds
// that make up the mean.
func (p *Pacer) take() {
	p.next += p.every
	if p.frac += p.part; p.frac >= 1 {
		p.next++
		p.frac--
	}
}
