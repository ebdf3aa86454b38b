package cursor

import (
	"context"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"example.com/pipeline/seq"
)

// Every says how often [Track] commits: after so many items or so much time,
// whichever is first. The zero value means 1000 items or 5 s. Where one field is
// set, a zero in the other switches that one off.
type Every struct {
	Items    int           // counted over all runs, so that a resumed run commits where the first would have
	Interval time.Duration // also while the source idles
}

func (e Every) withDefaults() Every {
	if e == (Every{}) {
		return Every{Items: 1000, Interval: 5 * time.Second}
	}
	return e
}

// Track passes in through and commits to c what the loop has consumed. It stands
// last, right before the range statement:
//
//	for row, err := range cursor.Track(ctx, rows, job, cursor.Every{}, position) {
//		if err != nil {
//			return err
//		}
//		write(row)
//	}
//
// Consumed means pulled past: when the loop comes back for the next item, the one
// before is done. There is no call to acknowledge it. The item in hand at a break,
// a return, an error or a panic is not consumed: the next run begins with it.
//
// Track commits as often as every says, before it passes on a final error of in, at
// the end of in, and on an early end. On an early end, or where ctx has ended, that
// commit runs under a context of its own for at most 5 s; Close returns its error,
// since the loop is over. After a panic or a Goexit nothing is committed. A commit
// that fails in the midst of the loop or at the end of in is yielded as the final
// error. While the loop waits for an item that does not come, the interval still
// commits what was consumed before.
//
// A position is kept until the next one is consumed. One whose type has a method
// CopyFrom(P) on its pointer, as keyset.Key has, is copied for that, so that in may use
// its memory again.
//
// Where several sources are merged, a position is a struct with a field for each: how far
// every one of them is. seq.Scan carries it along with the items, see the example Merged.
//
// Items must come in the order of their positions, as they do through every
// stage that keeps the order. An item error that the consumer passes over does not
// move the position by itself; the next item that is consumed does, and covers
// the failed item: it will not come again. What the body writes to a [File] for a failed
// item is covered at the same moment as the item is, so it stands there once: where no
// commit has covered it, it is cut off when the job is resumed, the item comes again, and so
// does its line. That holds for the last item, too, which [Checkpoint.Finish] covers.
//
// The body may write to a File with anything that keeps nothing back between two items.
// A csv.Writer, and whatever else has a buffer, writes to [File.Buffered], or is flushed
// through [File.BeforeMark]; otherwise rows of items that are committed are lost.
//
// A second loop over the same open checkpoint takes the participants as they are. After a loop
// that was left, that is with the work on the item in hand: where the second loop gets that
// item again, as it does from c.Position on, close the checkpoint first and open the job anew.
//
// An error that Is [seq.ErrStopped] is about an item that is not done, because the
// pipeline was stopped gracefully: nothing may be consumed behind it. So it is the end. Where
// ctx is one that has been stopped ([seq.Stopped]), as that of control.Interruptible is, the
// loop ends as it does with in: without an error, and with what was consumed committed; the
// next run begins with that item. Otherwise the error is the last pair, whatever
// the consumer does about it.
//
// Track does not look at c.Finished, and does not call c.Finish: only the caller
// knows whether the end of in is the end of the job. Finish refuses after a loop that may
// have ended because of a graceful stop.
//
// Ends: with in, at a final error of in, at the first item that is not done because of a graceful stop, at a commit that fails, or when ctx ends.
// Owns: one goroutine where every has an interval; it has exited when the loop has.
// Reads ahead: nothing.
// Reuse: as often as in; one loop at a time.
func Track[T, P any](ctx context.Context, in iter.Seq2[T, error], c *Checkpoint[P], every Every, position func(T) P) iter.Seq2[T, error] {
	switch {
	case in == nil:
		panic("cursor.Track: the stream must not be nil")
	case c == nil:
		panic("cursor.Track: the checkpoint must not be nil")
	case position == nil:
		panic("cursor.Track: position must not be nil")
	case every.Items < 0 || every.Interval < 0:
		panic(fmt.Sprintf("cursor.Track: Every must not be negative, got %+v", every))
	}
	every = every.withDefaults()
	return func(yield func(T, error) bool) {
		t := &tracker[P]{ctx: ctx, c: c.core, every: every}
		if copier, ok := any(&t.pos).(interface{ CopyFrom(P) }); ok {
			t.copyPos = copier.CopyFrom
		}
		track(t, in, position, yield)
	}
}

// track runs one loop. A panic and a Goexit, in the body or in in, are the ways out
// of it that leave clean false.
func track[T, P any](t *tracker[P], in iter.Seq2[T, error], position func(T) P, yield func(T, error) bool) {
	clean := false
	t.start()
	defer func() { t.stop(clean) }()

	var zero T
	over, left, stopped := false, false, false
	for item, err := range in {
		t.enter()
		if stopped = t.isStop(err); stopped {
			break
		}
		if final := t.final(err); final != nil {
			yield(zero, final)
			over = true
			break
		}
		if err != nil {
			left = !yield(zero, err)
		} else {
			pos := position(item) // now: the body may change the item, and in may reuse it
			if left = !yield(item, nil); !left {
				t.consume(pos)
			}
		}
		if left {
			break
		}
		if final := t.final(nil); final != nil {
			yield(zero, final)
			over = true
			break
		}
		t.leave()
	}
	switch {
	case left:
		t.c.endedEarly(t.commitLate())
	case !over:
		if !stopped {
			t.enter()
		}
		t.c.noteStop(seq.Stopped(t.ctx))
		if t.ctx.Err() == nil {
			t.commit(t.ctx)
		}
		if final := t.final(nil); final != nil {
			yield(zero, final)
		}
	}
	clean = true
}

// A tracker counts what one loop has consumed and commits it, either in the loop's
// goroutine or, while that one waits for in, in the timer's. Whoever has the turn
// may touch pos and what follows it.
//
// The loop has the turn from the moment in hands it a pair until it goes back to
// in. When the timer fires it sets due, then tries to take the turn. If the loop
// has it, the loop will commit: it looks at due once more after it has let go of
// the turn, so either the timer gets the turn or the loop sees due.
type tracker[P any] struct {
	ctx   context.Context
	c     *checkpoint
	every Every

	resets int64 // of c when the loop began

	timer  *seq.Task // nil where there is no interval
	ticker *time.Ticker
	cancel context.CancelFunc // ends the timer
	turn   atomic.Int32
	free   chan struct{} // a token when the timer has let go of the turn
	due    atomic.Bool   // the interval is over

	pos       P       // of the last item consumed
	copyPos   func(P) // sets pos where a position may lie in memory that in uses again; or nil
	dirty     bool    // it is not committed
	uncounted int64   // items consumed and not yet told to the checkpoint
	left      int64   // items until the next commit by number
	err       error   // of a commit
}

// Who has a tracker's turn.
const (
	nobody int32 = iota
	theLoop
	theTimer
)

func (t *tracker[P]) start() {
	t.resets = t.c.resets.Load()
	t.c.noteStop(nil)
	if n := int64(t.every.Items); n > 0 {
		t.left = n - t.c.items()%n
	}
	if t.every.Interval == 0 {
		return
	}
	ctx, cancel := context.WithCancel(t.ctx)
	t.cancel = cancel
	t.ticker = time.NewTicker(t.every.Interval)
	t.free = make(chan struct{}, 1)
	t.timer = seq.Go(ctx, func() { t.tick(ctx) })
}

// stop ends the timer and waits for it. After a panic in the loop that panic goes
// on, whatever the timer's end was.
func (t *tracker[P]) stop(clean bool) {
	if t.timer == nil {
		return
	}
	t.cancel()
	t.ticker.Stop()
	if clean {
		t.timer.Join()
	} else {
		t.timer.Wait()
	}
}

// tick is the timer's goroutine.
func (t *tracker[P]) tick(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.ticker.C:
		}
		t.due.Store(true)
		if !t.turn.CompareAndSwap(nobody, theTimer) {
			continue
		}
		t.commit(ctx)
		t.turn.Store(nobody)
		select {
		case t.free <- struct{}{}:
		default: // the loop has not fetched the last token, and will look again
		}
	}
}

// enter takes the turn for the loop. A commit of the timer under way ends first;
// where it has panicked, the panic goes on here.
func (t *tracker[P]) enter() {
	if t.timer == nil {
		return
	}
	for !t.turn.CompareAndSwap(nobody, theLoop) {
		select {
		case <-t.free:
		case <-t.timer.Done():
			t.timer.Join()
			return // it has ended in peace, because ctx has
		}
	}
}

// leave lets the timer commit while in is at work.
func (t *tracker[P]) leave() {
	if t.timer == nil {
		return
	}
	t.turn.Store(nobody)
	if t.due.Load() && t.turn.CompareAndSwap(nobody, theLoop) {
		t.commit(t.ctx)
		t.turn.Store(nobody)
	}
}

// consume notes that the body has come back from the item at pos.
func (t *tracker[P]) consume(pos P) {
	if t.copyPos != nil {
		t.copyPos(pos)
	} else {
		t.pos = pos
	}
	t.dirty = true
	t.uncounted++
	t.left--
	for _, a := range t.c.attached {
		a.Mark()
	}
	if t.left == 0 || t.due.Load() {
		t.commit(t.ctx)
	}
	if t.left == 0 {
		t.left = int64(t.every.Items)
	}
}

// commit commits what was consumed and keeps the error. A commit that failed is not
// tried again until the loop ends.
func (t *tracker[P]) commit(ctx context.Context) {
	t.due.Store(false)
	if !t.dirty || t.err != nil {
		return
	}
	if t.err = t.save(ctx); t.err == nil && t.ticker != nil {
		t.ticker.Reset(t.every.Interval)
	}
}

// commitLate commits when the loop is over or ctx has ended.
func (t *tracker[P]) commitLate() error {
	if !t.dirty || t.reset() != nil {
		return nil // after Reset nothing of this loop is to be kept
	}
	ctx, cancel := cleanupContext(t.ctx)
	defer cancel()
	return t.save(ctx)
}

func (t *tracker[P]) save(ctx context.Context) error {
	pos, err := encodePosition(t.pos)
	if err != nil {
		return err
	}
	if err := t.reset(); err != nil {
		return err // and count nothing of it
	}
	t.c.added.Add(t.uncounted)
	t.uncounted = 0
	err = t.c.commit(ctx, false, func(r *Record) error {
		r.Position, r.Finished = pos, false
		return t.reset() // under the checkpoint's turn
	})
	t.dirty = err != nil
	return err
}
