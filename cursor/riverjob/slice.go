package riverjob

import (
	"context"
	"iter"
	"reflect"
	"sync/atomic"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

// A Slice is a bounded piece of work on a range, from its last commit on.
type Slice[T, P any] struct {
	Job            string
	Number, Ranges int // of the range, from 0, and how many there are
	After, Until   *P  // the range's bounds

	// Checkpoint is the range's. Its commits are fenced: once another worker has the
	// range they fail with [cursor.ErrFenced], and nothing that was done since the last
	// one counts. Work must not close it, and need not call Finish.
	Checkpoint *cursor.Checkpoint[P]

	// Part is where the range's output is written, nil without a Sink.
	Part *Part

	job     Job[T, P]
	guard   *guard
	start   *P          // the position at the slice's start
	stopped func() bool // the worker is to stop
	over    atomic.Bool // the slice's time is over, or the worker stops

	// What the last loop over Stream has come to.
	ended  atomic.Bool  // the range was read to its end
	whole  atomic.Bool  // nobody broke off: the stream ended by itself, without an error
	pulled atomic.Int64 // items handed over
	last   P            // the position of the last one; not to be read before Work has returned
}

// end ends the slice, after the item in hand.
func (s *Slice[T, P]) end() { s.over.Store(true) }

// Stream streams the items behind the last commit. It ends at the range's end, and
// without an error when the slice is over. Stages may stand behind it: what they
// hold then comes out first. Commit what was consumed: with [cursor.Track], or with
// CommitTx after each batch. Where a slice commits nothing and Work returns nil, it is
// committed as a whole: there may have been nothing for Work in it. However short the slice,
// there is an item in it.
//
// Before an item is handed over, and the database has not been heard of for a third of
// the lease, Stream asks whether the range is still this worker's. Where it is not, it
// ends with [cursor.ErrFenced].
//
// Ends: at the range's end, when the slice is over, at an error, or when ctx ends.
// Owns: what the source does.
// Reads ahead: what the source does.
// Reuse: as often as the source, one loop at a time, from the last commit on.
func (s *Slice[T, P]) Stream(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		s.ended.Store(false)
		s.whole.Store(false)
		s.pulled.Store(0)
		if s.stopped() {
			s.whole.Store(true)
			return
		}
		keep := func(pos P) { s.last = pos }
		if copier, ok := any(&s.last).(interface{ CopyFrom(P) }); ok {
			keep = copier.CopyFrom // the source may use the position's memory again
		}
		var zero T
		for item, err := range s.job.Source.Stream(ctx, s.from(), s.Until) {
			if err == nil {
				if err := s.guard.check(ctx); err != nil {
					yield(zero, err)
					return
				}
				keep(s.job.Source.Position(item))
				s.pulled.Add(1)
			}
			switch {
			case !yield(item, err):
				return
			case err != nil && !seq.IsItemError(err):
				return
			case s.over.Load():
				s.whole.Store(true)
				return
			}
		}
		s.ended.Store(true)
		s.whole.Store(true)
	}
}

// from returns where to begin: at the last commit, or at the range's start.
func (s *Slice[T, P]) from() *P {
	if p := s.Checkpoint.Position(); p != nil {
		return p
	}
	return s.After
}

// Tracked is Stream with the commits of [cursor.Track], as often as the job's Every
// says. Where other stages stand between, put Track behind them, as [Slice.Every] says.
//
// Ends: as Stream does, and at a commit that fails.
// Owns: what Stream does, and one goroutine.
// Reads ahead: what Stream does.
// Reuse: as Stream.
func (s *Slice[T, P]) Tracked(ctx context.Context) iter.Seq2[T, error] {
	return cursor.Track(ctx, s.Stream(ctx), s.Checkpoint, s.Every(), s.job.Source.Position)
}

// Every returns how often to commit, for [cursor.Track].
func (s *Slice[T, P]) Every() cursor.Every {
	if s.job.Every == (cursor.Every{}) {
		return cursor.Every{Interval: 5 * time.Second}
	}
	return s.job.Every
}

// Over reports whether the slice is to end, for work that does not come back to its
// stream for long.
func (s *Slice[T, P]) Over() bool { return s.over.Load() }

// Moved reports whether anything was committed in this slice.
func (s *Slice[T, P]) Moved() bool { return !reflect.DeepEqual(s.start, s.Checkpoint.Position()) }

// Confirm returns an error that Is [cursor.ErrFenced] where another worker has taken the
// range, as far as is known; it asks the database where that was longer than a third of
// the lease ago. It is for work that writes where nothing refuses a worker that was
// suspended: between this call and the write it can be suspended all the same, so it
// makes damage rare, not impossible.
func (s *Slice[T, P]) Confirm(ctx context.Context) error { return s.guard.check(ctx) }
