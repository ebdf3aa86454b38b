package seq

import (
	"errors"
	"sync"
	"sync/atomic"
)

// This file is what a graceful stop means for the engine: see [WithStop].

// A crew is what the consumer of a loop over [MapConcurrent], [MapUnordered] or
// [MapKeyed] has to do with a graceful stop.
//
// Each worker asks before it calls fn. The first item that it may not begin it hands
// over as an error, and with that it leaves. So when all have left no call is in flight
// and none will be: there is nothing to count for each call. Then the consumer buries
// what is still waiting, which is to hand over the errors of these items itself.
//
// Errors that say that an item is not done are kept back until all workers have
// left. Where order is kept the consumer waits with the first one in its hand; the
// results that come before have been yielded. Where it is not, the consumer lays them on
// a shelf, so that the results of the calls in flight come first. The shelf is no larger
// than the window: what is on it has not given its credit back.
type crew struct {
	live    atomic.Int32 // workers that have not left, and the source while it places an error
	bury    func() bool  // hands over the error of an item that waits, if there is one
	shelves bool         // order is not kept

	// The consumer's own:
	closing bool    // the workers that sleep have been told to leave
	settled bool    // it was halted with no worker left
	shelf   []error // errors that wait until then
	late    error   // one of them, to be yielded now
}

// hire starts a worker.
func (o *ordered[T, U]) hire(work func()) {
	o.live.Add(1)
	o.start(func() {
		work()
		o.gone()
	})
}

// gone says that a worker has left, or that the source has placed an error.
func (o *ordered[T, U]) gone() {
	if o.live.Add(-1) == 0 && o.halt != nil {
		o.consumer.wake()
	}
}

// mayCall reports why a call may not begin; where it may it is counted, until called.
// Both are for stages with a halt.
func (g *group) mayCall() (why error) {
	if g.scope == nil {
		return g.halt()
	}
	g.scope.beginCall() // before the question: whoever leaves the scope sees it
	if why = g.halt(); why != nil {
		g.scope.endCall()
	}
	return why
}

func (g *group) called() { g.scope.endCall() }

// nudge wakes the consumer where there is no worker for the item that has come.
func (o *ordered[T, U]) nudge() {
	if o.halt != nil && o.live.Load() == 0 {
		o.consumer.wake()
	}
}

// isSettled reports whether no call is in flight and none will be.
func (o *ordered[T, U]) isSettled() bool {
	if !o.settled && o.halted() {
		if !o.closing {
			o.closing = true
			o.pool.close()
		}
		o.settled = o.live.Load() == 0
	}
	return o.settled
}

// defers keeps back an error that says that an item is not done, until no call is in
// flight: in its hand where order is kept, on the shelf where it is not. There it
// reports that it has.
func (o *ordered[T, U]) defers(err error) bool {
	if !o.halted() || !errors.Is(err, ErrStopped) {
		return false
	}
	if o.shelves { // also where no call is in flight: the results of some may be behind err
		o.shelf = append(o.shelf, err)
		return true
	}
	for !o.over() && !o.isSettled() {
		o.consumer.sleep(func() bool { return o.live.Load() == 0 || o.failed.Load() }, o.outer.Done())
	}
	return false
}

// clear sees to an item that is not done, once it is settled that no call is in flight.
// It is false where there is none.
func (o *ordered[T, U]) clear() bool {
	if len(o.shelf) > 0 {
		o.late = o.shelf[0]
		o.shelf = o.shelf[1:]
		return true
	}
	return o.bury()
}

// clears reports whether clear may have something to do.
func (o *ordered[T, U]) clears() bool {
	return o.halted() && o.live.Load() == 0 && (!o.settled || len(o.shelf) > 0 || o.pool.any())
}

// letFinish waits for the calls in flight where the consumer leaves after a graceful
// stop: not where a panic, or the end of ctx, cuts them.
func (o *ordered[T, U]) letFinish() {
	if o.inBody || !o.halted() {
		return
	}
	o.backlog.close()
	o.pool.close()
	for !o.over() && o.live.Load() > 0 {
		o.consumer.sleep(func() bool { return o.live.Load() == 0 || o.failed.Load() }, o.outer.Done())
	}
}

// A shelf is where [FlatMapUnordered] keeps the errors of items that are not begun until
// no stream goes on, so that what the streams yield comes first. Such an item counts as a
// stream until its error is taken, so there are no more of them than there may be streams.
type shelf struct {
	giveBack func()

	working atomic.Int32 // streams that go on
	some    atomic.Int32 // errors that wait
	mu      sync.Mutex
	errs    []error
}

// begin says that a stream begins. It is false where it may not; the error of its item is
// kept then.
func (s *shelf) begin(refusal func() error, item any) bool {
	s.working.Add(1) // before the question: a stream that begins is seen to
	why := refusal()
	if why == nil {
		return true
	}
	s.keep(notBegun(item, why))
	s.working.Add(-1)
	return false
}

func (s *shelf) keep(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, err)
	s.some.Store(int32(len(s.errs)))
}

// end says that a stream has ended. It reports whether the errors can come.
func (s *shelf) end() bool {
	s.working.Add(-1)
	return s.ready()
}

// ready reports whether there are errors and nothing that they have to wait for. What was
// ready can be taken, but need not be ready at the next look: while an item is being
// refused it counts as a stream.
func (s *shelf) ready() bool { return s != nil && s.some.Load() > 0 && s.working.Load() == 0 }

// take takes all errors.
func (s *shelf) take() []error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	errs := s.errs
	s.errs = nil
	s.some.Store(0)
	for range errs {
		s.giveBack()
	}
	return errs
}

// emitAll yields errors. It is false where the consumer has left.
func emitAll[T any](g *group, yield func(T, error) bool, errs []error) bool {
	var none T
	for _, err := range errs {
		if g.over() {
			return true
		}
		if !emit(g, yield, none, err) {
			return false
		}
	}
	return true
}
