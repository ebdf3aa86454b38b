package control

import (
	"context"
	"fmt"

	"golang.org/x/sync/semaphore"
)

// InFlight is a [Policy] that lets at most n calls run at once, of all functions
// and pipelines that share it. The others wait, first come first served; a call
// whose ctx ends while it waits is not made, nor is one whose gate is stopped then
// ([WithGate]).
//
// One call must not pass through the same InFlight twice: it could wait for itself.
type InFlight struct{ slots *semaphore.Weighted }

// NewInFlight returns an InFlight for n calls at once. n must be at least 1.
func NewInFlight(n int) *InFlight {
	if n < 1 {
		panic(fmt.Sprintf("control.NewInFlight: n must be at least 1, got %d", n))
	}
	return &InFlight{semaphore.NewWeighted(int64(n))}
}

// Do waits for a slot, then calls op.
func (f *InFlight) Do(ctx context.Context, op func(context.Context) error) error {
	if err := ended(ctx); err != nil {
		return err
	}
	if !f.slots.TryAcquire(1) {
		if err := f.wait(ctx); err != nil {
			return err
		}
	}
	defer f.slots.Release(1)
	if err := ended(ctx); err != nil {
		return err
	}
	return op(ctx)
}

func (f *InFlight) wait(ctx context.Context) error {
	waiting, over := waitUnder(ctx)
	defer over()
	if f.slots.Acquire(waiting, 1) != nil {
		return notMade(ctx)
	}
	return nil
}

func (f *InFlight) bind([]Policy) Policy { return f }
