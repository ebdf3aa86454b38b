package cursor_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

// A job is stopped gracefully at every instant there is, and run again to its end: each
// item is consumed once, in order, whatever had been pulled; what has begun finishes,
// nothing begins after the stop, and a run that is stopped ends without an error.
func TestTrackStopsAtEveryInstant(t *testing.T) {
	const items, n, window = 40, 4, 16
	type ints = iter.Seq2[int, error]
	type mapper = func(context.Context, int) (int, error)
	for name, pipeline := range map[string]func(ctx context.Context, in ints, call mapper) ints{
		"MapConcurrent": func(ctx context.Context, in ints, call mapper) ints {
			return seq.MapConcurrent(ctx, in, n, call, seq.Window(window))
		},
		"MapKeyed": func(ctx context.Context, in ints, call mapper) ints {
			return seq.MapKeyed(ctx, in, n, func(v int) int { return v % 3 }, call, seq.Window(window))
		},
		"two in a row": func(ctx context.Context, in ints, call mapper) ints {
			return seq.MapConcurrent(ctx, seq.MapConcurrent(ctx, in, n, call, seq.Window(window)), 2, call)
		},
		"FlatMapConcurrent": func(ctx context.Context, in ints, call mapper) ints {
			return seq.FlatMapConcurrent(ctx, in, n, func(ctx context.Context, v int) ints {
				return func(yield func(int, error) bool) { yield(call(ctx, v)) }
			}, seq.Window(window))
		},
	} {
		for _, gated := range []bool{true, false} { // otherwise nothing but the loop ends the source
			t.Run(fmt.Sprintf("%s, gated=%t", name, gated), func(t *testing.T) {
				stops, last := 0, time.Duration(0)
				for at := time.Millisecond / 2; ; at += time.Millisecond {
					interrupted := false
					synctest.Test(t, func(t *testing.T) {
						store := cursor.NewMemStore()
						var consumed []int
						for stopAt := at; ; stopAt = time.Hour {
							var stopped atomic.Bool
							ctx := seq.WithStop(t.Context(), func() error {
								if stopped.Load() {
									return seq.ErrStopped
								}
								return nil
							})
							timer := time.AfterFunc(stopAt, func() { stopped.Store(true) })
							c, err := cursor.Open[int](ctx, store, "job")
							if err != nil {
								t.Fatal(err)
							}
							source := func(yield func(int, error) bool) {
								first := 0
								if p := c.Position(); p != nil {
									first = *p + 1
								}
								for i := first; i < items; i++ {
									if !yield(i, nil) || gated && stopped.Load() {
										return
									}
								}
							}
							call := func(ctx context.Context, v int) (int, error) {
								if stopped.Load() {
									t.Errorf("%v: item %d begins after the stop", at, v)
								}
								time.Sleep(time.Duration(3+v*7%5) * time.Millisecond)
								if ctx.Err() != nil {
									t.Errorf("%v: item %d is cut off", at, v)
								}
								return v, nil
							}
							begin := time.Now()
							for v, err := range cursor.Track(ctx, pipeline(ctx, source, call), c, cursor.Every{Items: 7}, self) {
								if err != nil {
									t.Errorf("%v: error %v", at, err)
									continue // a consumer that goes on
								}
								consumed = append(consumed, v)
								time.Sleep(time.Millisecond)
							}
							if stopped.Load() {
								interrupted = true
								// The calls in flight, of one stage after the other, and the results that there are.
								if took := time.Since(begin) - at; took > (2*7+window+2*n)*time.Millisecond {
									t.Errorf("the run went on for %v after the stop", took)
								}
								if err := c.Finish(context.Background()); !errors.Is(err, seq.ErrStopped) || c.Finished() {
									t.Errorf("%v: Finish after a stop: %v", at, err)
								}
							} else if err := c.Finish(ctx); err != nil {
								t.Errorf("%v: Finish: %v", at, err)
							}
							if n := len(consumed); n > 0 && *c.Position() != consumed[n-1] {
								t.Errorf("%v: the position is %d, consumed was %d", at, *c.Position(), consumed[n-1])
							}
							timer.Stop()
							if err := c.Close(); err != nil {
								t.Error(err)
							}
							if c.Finished() {
								break
							}
						}
						if want := slices.Collect(func(yield func(int) bool) {
							for i := range items {
								yield(i)
							}
						}); !slices.Equal(consumed, want) {
							t.Errorf("stopped at %v: consumed %v", at, consumed)
						}
					})
					if t.Failed() {
						return
					}
					if !interrupted {
						break
					}
					stops, last = stops+1, at
				}
				if stops < items {
					t.Errorf("only %d stops, until %v", stops, last)
				}
			})
		}
	}
}

// Where ctx is not one that stops, an error that says that an item is not done is the last
// pair: nothing behind it is consumed, even if the consumer goes on.
func TestTrackEndsAtWhatIsNotDone(t *testing.T) {
	notDone := &seq.ItemError{Item: 3, Err: fmt.Errorf("a gate of the user's: %w", seq.ErrStopped)}
	in := func(yield func(int, error) bool) {
		_ = yield(1, nil) && yield(2, nil) && yield(0, &seq.ItemError{Item: 0, Err: errors.New("another")}) &&
			yield(0, notDone) && yield(4, nil) && yield(5, nil)
	}
	store := cursor.NewMemStore()
	c := open(t, store, "job")
	defer c.Close()
	var got []string
	for v, err := range cursor.Track(t.Context(), in, c, cursor.Every{}, self) {
		got = append(got, fmt.Sprint(v, " ", err))
		if err == notDone && *c.Position() != 2 {
			t.Errorf("the position is %v when the error comes", c.Position())
		}
	}
	if want := []string{"1 <nil>", "2 <nil>", "0 item 0: another", "0 " + notDone.Error()}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if c.Position() == nil || *c.Position() != 2 {
		t.Errorf("the position is %v, want 2", c.Position())
	}
	if err := c.Finish(t.Context()); err != nil { // nobody has asked this job to stop
		t.Errorf("Finish: %v", err)
	}
}

// The end of ctx is an error, also after a stop; and so is a commit that fails.
func TestTrackStoppedWithErrors(t *testing.T) {
	stopped := seq.WithStop(t.Context(), func() error { return seq.ErrStopped })
	notDone := seq.Fail[int](&seq.ItemError{Item: 3, Err: seq.ErrStopped})
	c := open(t, cursor.NewMemStore(), "job")
	defer c.Close()
	if err := seq.Drain(cursor.Track(stopped, seq.Concat(seq.Of(1), notDone), c, cursor.Every{}, self)); err != nil || *c.Position() != 1 {
		t.Errorf("stopped: %v at %v", err, c.Position())
	}
	if err := seq.Drain(cursor.Track(stopped, seq.Fail[int](seq.ErrStopped), c, cursor.Every{}, self)); err != nil {
		t.Errorf("the source was stopped: %v", err)
	}
	ended, cancel := context.WithCancelCause(stopped)
	cancel(seq.ErrStopped)
	for name, in := range map[string]iter.Seq2[int, error]{"an item": notDone, "the end": seq.Of[int](), "the source": seq.Fail[int](seq.ContextError(ended))} {
		if err := seq.Drain(cursor.Track(ended, in, c, cursor.Every{}, self)); !errors.Is(err, context.Canceled) || seq.IsItemError(err) {
			t.Errorf("ctx ended, %s: %v", name, err)
		}
	}
	unsaid := func(int) string { return "\xff" } // which no record can hold
	d, err := cursor.Open[string](t.Context(), cursor.NewMemStore(), "job")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := seq.Drain(cursor.Track(stopped, seq.Concat(seq.Of(1), notDone), d, cursor.Every{}, unsaid)); err == nil || errors.Is(err, seq.ErrStopped) {
		t.Errorf("a commit that fails: %v", err)
	}
}

// A graceful stop ends the loop without an error, and the next run begins with the first
// item that is not done.
func ExampleTrack_stopped() {
	store := cursor.NewMemStore()
	run := func(stopAt int) error {
		var stopped atomic.Bool // in a program: a control.Gate, and control.Interruptible
		ctx := seq.WithStop(context.Background(), func() error {
			if stopped.Load() {
				return seq.ErrStopped
			}
			return nil
		})
		job, err := cursor.Open[int](ctx, store, "squares")
		if err != nil {
			return err
		}
		defer job.Close()
		ids := cursor.Pages(ctx, job.Position(), func(_ context.Context, after *int, limit int) (page []int, _ error) {
			first := 1
			if after != nil {
				first = *after + 1
			}
			for id := first; id <= 6 && len(page) < limit; id++ {
				page = append(page, id)
			}
			return page, nil
		}, self, cursor.PageConfig{})
		done := seq.MapConcurrent(ctx, ids, 1, func(_ context.Context, id int) (int, error) {
			if id == stopAt {
				stopped.Store(true)
			}
			return id, nil
		})
		for id, err := range cursor.Track(ctx, done, job, cursor.Every{}, self) {
			if err != nil {
				return err
			}
			fmt.Print(id, " ")
		}
		return job.Finish(ctx)
	}
	fmt.Println(run(4))
	fmt.Println(run(0))
	// Output:
	// 1 2 3 4 cursor: finish job "squares": its loop may have been stopped before the end: seq: stopped before this item was begun
	// 5 6 <nil>
}

// open opens a job whose positions are numbers.
func open(t *testing.T, store cursor.Store, job string) *cursor.Checkpoint[int] {
	t.Helper()
	c, err := cursor.Open[int](t.Context(), store, job)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A graceful stop ends the wait for another runner, too.
func TestWaitForIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := cursor.NewMemStore()
		first := open(t, store, "job")
		defer first.Close()
		var stopped atomic.Bool
		ctx := seq.WithStop(t.Context(), func() error {
			if stopped.Load() {
				return seq.ErrStopped
			}
			return nil
		})
		time.AfterFunc(10*time.Second, func() { stopped.Store(true) })
		begin := time.Now()
		_, err := cursor.Open[int](ctx, store, "job", cursor.WaitFor(time.Hour, nil))
		if took := time.Since(begin); !errors.Is(err, seq.ErrStopped) || !errors.Is(err, cursor.ErrLocked) || took < 10*time.Second || took > 11*time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
}
