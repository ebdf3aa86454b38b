package cursor_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

// TestTrackContext ends ctx in the body and while the source idles. What was
// consumed is committed although ctx has ended.
func TestTrackContext(t *testing.T) {
	for _, idle := range []bool{false, true} {
		t.Run(fmt.Sprintf("idle=%t", idle), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s, r := tracked(t)
				ctx, cancel := context.WithCancelCause(t.Context())
				in := func(yield func(int, error) bool) {
					for i := 0; yield(i, nil); i++ {
						if i == 2 && idle {
							time.AfterFunc(time.Second, func() { cancel(errBoom) })
							<-ctx.Done()
						}
					}
				}
				var errs []error
				last := -1
				for i, err := range cursor.Track(ctx, in, c, cursor.Every{}, self) {
					if err != nil {
						errs = append(errs, err)
						continue
					}
					last = i
					r.done++
					if i == 2 && !idle {
						cancel(errBoom)
					}
				}
				if len(errs) != 1 || !errors.Is(errs[0], context.Canceled) || !errors.Is(errs[0], errBoom) {
					t.Errorf("the errors are %v", errs)
				}
				if last != 2 || s.positions() != "2" {
					t.Errorf("the last item was %d, saved %s", last, s.positions())
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestTrackSilentEnd wants an error where the source ends in silence because ctx
// has: the caller would take the job for finished.
func TestTrackSilentEnd(t *testing.T) {
	c, _, _ := tracked(t)
	ctx, cancel := context.WithCancel(t.Context())
	in := func(yield func(int, error) bool) { yield(0, nil); cancel() }
	_, err := seq.Collect(cursor.Track(ctx, in, c, cursor.Every{}, self))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestTrackAfterPanic wants no commit after a panic or a Goexit, in the body or in the
// source, and the panic itself.
func TestTrackAfterPanic(t *testing.T) {
	body := func(do func()) func(*cursor.Checkpoint[int]) {
		return func(c *cursor.Checkpoint[int]) {
			for i := range cursor.Track(context.Background(), seq.Of(0, 1, 2), c, cursor.Every{Items: 5, Interval: time.Second}, self) {
				if i == 2 {
					do()
				}
			}
		}
	}
	source := func(do func()) func(*cursor.Checkpoint[int]) {
		return func(c *cursor.Checkpoint[int]) {
			in := func(yield func(int, error) bool) {
				if yield(0, nil) {
					do()
				}
			}
			for range cursor.Track(context.Background(), in, c, cursor.Every{}, self) {
			}
		}
	}
	for name, run := range map[string]func(*cursor.Checkpoint[int]){
		"panic in the body":    body(func() { panic(errBoom) }),
		"Goexit in the body":   body(runtime.Goexit),
		"panic in the source":  source(func() { panic(errBoom) }),
		"Goexit in the source": source(runtime.Goexit),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s, _ := tracked(t)
				var value any
				returned := false
				done := make(chan struct{})
				go func() {
					defer close(done)
					defer func() { value = recover() }()
					run(c)
					returned = true
				}()
				<-done
				if returned {
					t.Error("the loop returned")
				}
				if strings.HasPrefix(name, "panic") && value != errBoom {
					t.Errorf("the panic is %v", value)
				}
				if len(s.saves) > 0 {
					t.Errorf("saved %s", s.positions())
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestTrackPanicInTheTimer lets a participant panic in the timer's goroutine: the
// panic comes out of the loop.
func TestTrackPanicInTheTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, r := tracked(t)
		defer c.Close()
		r.onSync = func(context.Context) { panic(errBoom) }
		in := func(yield func(int, error) bool) {
			if yield(0, nil) {
				time.Sleep(time.Minute)
				yield(1, nil)
			}
		}
		defer func() {
			err, _ := recover().(error)
			if e, ok := err.(*seq.PanicError); !ok || !errors.Is(e, errBoom) {
				t.Errorf("the panic is %v", err)
			}
		}()
		for range cursor.Track(t.Context(), in, c, cursor.Every{}, self) {
		}
		t.Error("the loop ended without a panic")
	})
}

// TestTrackFailedCommit lets commits fail by number, by time, at the end and on an
// early end.
func TestTrackFailedCommit(t *testing.T) {
	type result struct {
		errs   []error
		closed error
		items  []int
	}
	run := func(t *testing.T, every cursor.Every, in iter.Seq2[int, error], stop int) (got result) {
		synctest.Test(t, func(t *testing.T) {
			c, s, _ := tracked(t)
			s.err = errBoom
			for i, err := range cursor.Track(t.Context(), in, c, every, self) {
				if err != nil {
					got.errs = append(got.errs, err)
					continue
				}
				got.items = append(got.items, i)
				if i == stop {
					break
				}
			}
			got.closed = c.Close()
			if again := c.Close(); !errors.Is(again, got.closed) && again != got.closed {
				t.Errorf("the second Close returned %v", again)
			}
		})
		return got
	}
	idle := func(yield func(int, error) bool) {
		if yield(0, nil) {
			time.Sleep(time.Minute)
			yield(1, nil)
		}
	}
	for name, test := range map[string]struct {
		every cursor.Every
		in    iter.Seq2[int, error]
		items int
	}{
		"by number":  {cursor.Every{Items: 2}, seq.Of(0, 1, 2, 3), 2},
		"by time":    {cursor.Every{Interval: time.Second}, idle, 1},
		"at the end": {cursor.Every{Items: 9}, seq.Of(0, 1, 2), 3},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, test.every, test.in, -1)
			if len(got.errs) != 1 || !errors.Is(got.errs[0], errBoom) || len(got.items) != test.items || got.closed != nil {
				t.Errorf("got %+v", got)
			}
		})
	}
	t.Run("early end", func(t *testing.T) {
		got := run(t, cursor.Every{Items: 9}, seq.Of(0, 1, 2), 1)
		if len(got.errs) != 0 || !errors.Is(got.closed, errBoom) {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("final error", func(t *testing.T) {
		final := errors.New("final")
		got := run(t, cursor.Every{Items: 9}, seq.Concat(seq.Of(0), seq.Fail[int](final)), -1)
		if len(got.errs) != 1 || !errors.Is(got.errs[0], errBoom) || !errors.Is(got.errs[0], final) || seq.IsItemError(got.errs[0]) {
			t.Errorf("got %+v", got)
		}
	})
}

// TestTrackEarlyEndTime wants a commit on an early end to be given up after 5 s.
func TestTrackEarlyEndTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, r := tracked(t)
		r.onSync = func(ctx context.Context) { <-ctx.Done(); r.syncErr = ctx.Err() }
		start := time.Now()
		for i := range cursor.Track(t.Context(), seq.Of(0, 1), c, cursor.Every{Items: 9}, self) {
			if i == 1 {
				break
			}
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("the loop ended after %v", took)
		}
		if err := c.Close(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close returned %v", err)
		}
	})
}
