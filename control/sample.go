package control

import (
	"context"
	"iter"
	"sync"
	"time"

	"example.com/pipeline/seq"
)

// Sample passes on the latest item at the end of each period of length every, if
// one has come since the last. The source runs freely meanwhile; items that a later
// one replaces are dropped. The first period begins with the loop. With every = 3 s
// (the numbers are items; at 11 s the source ends):
//
//	seconds   0  1  2  3  4  5  6  7  8  9  10 11
//	in           1  2     3                  4
//	out                2        3              4
//
// The last item is never lost: what is held when the source ends, also with an
// error, is passed on at once. Errors are not sampled: an item error passes at once,
// ahead of the item that is held, and the source waits until it has been taken; a
// final error comes after what is held. While the loop's body runs nothing can be
// passed on; if a period ends meanwhile, the item that is the latest when the body
// returns comes at once.
//
// See [Throttle] for the first item of each period, and [RateLimit] to lose none.
//
// Ends: with in, at a final error of in, or at once when ctx ends.
// Owns: one goroutine, which runs in; it has exited when the loop has.
// Reads ahead: without end, but holds only one item and one error.
// Reuse: as often as in.
func Sample[T any](ctx context.Context, in iter.Seq2[T, error], every time.Duration) iter.Seq2[T, error] {
	needContext("Sample", ctx)
	needStream("Sample", in)
	needPositive("Sample", "every", every)
	return func(yield func(T, error) bool) {
		s := &sampler[T]{
			yield: yield,
			errs:  make(chan error),
			left:  make(chan struct{}),
		}
		if err := seq.ContextError(ctx); err != nil {
			s.fail(err)
			return
		}
		task := seq.Go(ctx, func() { in(s.put) })
		defer task.Join()
		defer s.leave()
		s.run(ctx, every, task)
	}
}

// A sampler is one loop over Sample.
type sampler[T any] struct {
	yield func(T, error) bool
	errs  chan error    // unbuffered: the source waits until its error is taken
	left  chan struct{} // closed when the consumer has left

	mu     sync.Mutex
	latest T
	held   bool // latest has come since the last take
	gone   bool // the consumer has left
}

// put is the yield of the source.
func (s *sampler[T]) put(v T, err error) bool {
	if err != nil {
		select {
		case s.errs <- err:
			return !isFinal(err)
		case <-s.left:
			return false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest, s.held = v, true
	return !s.gone
}

// take empties the sampler's hand.
func (s *sampler[T]) take() (v T, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok = s.latest, s.held
	var none T
	s.latest, s.held = none, false
	return v, ok
}

// leave tells the source that nobody takes anything any more.
func (s *sampler[T]) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	close(s.left)
}

// fail hands an error on.
func (s *sampler[T]) fail(err error) bool {
	var none T
	return s.yield(none, err)
}

// run is the consumer's side: it passes on what there is until the stream ends.
func (s *sampler[T]) run(ctx context.Context, every time.Duration, source *seq.Task) {
	period := time.NewTicker(every)
	defer period.Stop()
	for {
		var err error
		var ended bool
		select {
		case <-period.C:
		case err = <-s.errs:
			ended = isFinal(err)
		case <-source.Done():
			source.Join() // passes its panic on before anything else
			ended = true
		case <-ctx.Done():
		}
		// Whatever has happened, the end of ctx comes first.
		if end := seq.ContextError(ctx); end != nil {
			s.fail(end)
			return
		}
		if err == nil || ended {
			if v, ok := s.take(); ok && !s.yield(v, nil) {
				return
			}
		}
		if err != nil && !s.fail(err) {
			return
		}
		if ended {
			return
		}
	}
}
