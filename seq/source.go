package seq

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// Of streams the items given. It does not copy them: Of(s...) is a stream over
// the slice s itself.
//
// Ends: after the last item.
// Owns: nothing.
// Reads ahead: nothing.
// Reuse: any number of times.
func Of[T any](items ...T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, v := range items {
			if !yield(v, nil) {
				return
			}
		}
	}
}

// From makes a stream of a sequence that cannot fail, such as [slices.Values] or
// [maps.Keys].
//
// Ends: with in.
// Owns: nothing.
// Reads ahead: nothing.
// Reuse: as often as in.
func From[T any](in iter.Seq[T]) iter.Seq2[T, error] {
	checkFunc("From", "in", in == nil)
	return func(yield func(T, error) bool) {
		ended := false
		in(func(v T) bool {
			if ended {
				return false
			}
			ended = !yield(v, nil)
			return !ended
		})
	}
}

// FromChan streams what is sent on ch, until ch is closed. Nobody is told when
// the loop ends early: whoever sends on ch must watch a context of its own.
//
// The end of ctx comes before items that are ready; they stay in ch.
//
// Ends: when ch is closed, or when ctx ends.
// Owns: nothing; it does not close ch.
// Reads ahead: nothing beyond ch's own buffer.
// Reuse: a second loop goes on with what is still in ch.
func FromChan[T any](ctx context.Context, ch <-chan T) iter.Seq2[T, error] {
	checkContext("FromChan", ctx)
	if ch == nil {
		panic("seq.FromChan: ch must not be nil")
	}
	return func(yield func(T, error) bool) {
		for {
			// Asked by itself first, since select picks at random.
			if err := ContextError(ctx); err != nil {
				pass(yield, err)
				return
			}
			select {
			case v, ok := <-ch:
				if !ok || !yield(v, nil) {
					return
				}
			case <-ctx.Done():
			}
		}
	}
}

// FromFunc streams what next returns, one call an item, each made when the loop
// asks for an item. What is beside an error is not used. An error of next means:
//
//   - one that Is [ErrSkip]: there is no item this time, next is called again;
//   - an item error, see [IsItemError]: it is yielded, and next is called again
//     if the consumer goes on;
//   - [io.EOF] itself: the end, without an error;
//   - any other: the final error of the stream.
//
// An error that wraps io.EOF is not the end: clients return one where the connection
// broke off. [io.ErrUnexpectedEOF] is not, either. So a retry around next must neither
// try the end again nor wrap it:
//
//	next := func(ctx context.Context) (page Page, err error) {
//		end := false
//		err = retry.Do(ctx, func(ctx context.Context) (err error) {
//			page, err = client.Next(ctx)
//			if end = err == io.EOF; end {
//				return nil
//			}
//			return err
//		})
//		if end {
//			return page, io.EOF
//		}
//		return page, err
//	}
//
// Any error that next returns after ctx has ended gives way to the one that
// reports the end of ctx, io.EOF too: whether next was cut off cannot be told. An
// item that next returns is yielded even then, so that none is lost.
//
// next runs in the loop's own goroutine, so it has to watch its context itself if
// it can block for long.
//
// Ends: at io.EOF itself or another final error of next, or when ctx ends.
// Owns: nothing.
// Reads ahead: nothing.
// Reuse: a second loop goes on calling next.
func FromFunc[T any](ctx context.Context, next func(context.Context) (T, error)) iter.Seq2[T, error] {
	checkContext("FromFunc", ctx)
	checkFunc("FromFunc", "next", next == nil)
	return func(yield func(T, error) bool) {
		for {
			if err := ContextError(ctx); err != nil {
				pass(yield, err)
				return
			}
			v, err := next(ctx)
			if err == nil {
				if !yield(v, nil) {
					return
				}
				continue
			}
			if ctx.Err() != nil || errors.Is(err, ErrSkip) {
				continue
			}
			if err == io.EOF || !pass(yield, err) {
				return
			}
		}
	}
}

// Lines streams the lines of r, without their endings: \n or \r\n. Lines may be
// of any length and need not be valid UTF-8; the last one needs no ending. When
// reading fails in the middle of a line, what there is of it is yielded before
// the error.
//
// Lines reads r in blocks. After an early end of the loop r stands somewhere
// behind the last line that was yielded, unless r is a [*bufio.Reader]: that one is
// used as it is, so another loop, or the caller, goes on with the next line.
//
// Ends: at io.EOF itself, or at any other error of r, which is final.
// Owns: nothing; it does not close r.
// Reads ahead: one block of r, no line.
// Reuse: only as r can be read again, for example after Seek.
func Lines(r io.Reader) iter.Seq2[string, error] {
	if r == nil {
		panic("seq.Lines: r must not be nil")
	}
	return func(yield func(string, error) bool) {
		// A buffer of this loop's own: one that stayed from the loop before would
		// hold stale lines after a Seek.
		buf, ok := r.(*bufio.Reader)
		if !ok {
			buf = bufio.NewReaderSize(r, 64<<10)
		}
		for {
			line, err := buf.ReadString('\n')
			if line != "" && !yield(trimEnding(line), nil) {
				return
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				pass(yield, asFinal(err))
				return
			}
		}
	}
}

// trimEnding cuts \n or \r\n off, and like [bufio.ScanLines] a \r at the end of
// the input, where its \n may be what is missing.
func trimEnding(line string) string {
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
}

// Ticks streams the time every so often, the first time after one period. Like
// a [time.Ticker] it drops ticks for a slow consumer: at most one waits.
//
// Ends: when ctx ends.
// Owns: a ticker; it is stopped when the loop ends.
// Reads ahead: at most one tick.
// Reuse: any number of times; each loop has a ticker of its own.
func Ticks(ctx context.Context, every time.Duration) iter.Seq2[time.Time, error] {
	checkContext("Ticks", ctx)
	if every <= 0 {
		panic(fmt.Sprintf("seq.Ticks: every must be positive, got %v", every))
	}
	return func(yield func(time.Time, error) bool) {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		FromChan(ctx, ticker.C)(yield)
	}
}

// Fail is the stream that yields err and nothing else.
//
// Ends: after err.
// Owns: nothing.
// Reads ahead: nothing.
// Reuse: any number of times.
func Fail[T any](err error) iter.Seq2[T, error] {
	if err == nil {
		panic("seq.Fail: err must not be nil")
	}
	return func(yield func(T, error) bool) { pass(yield, err) }
}
