package control

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// fixed is a build function for a source that does not look at its context.
func fixed(in intStream) func(context.Context) intStream {
	return func(context.Context) intStream { return in }
}

func isIdle(err error) bool {
	return errors.Is(err, ErrTimeout) && errors.Is(err, context.DeadlineExceeded) && !seq.IsItemError(err)
}

func TestIdleTimeout(t *testing.T) {
	for name, tt := range map[string]struct {
		in    []event
		body  time.Duration
		items int
		idle  time.Duration // when the error comes; 0: never
	}{
		"a lively source":             {[]event{{2 * s, 1, nil}, {4 * s, 2, nil}, {6 * s, end, nil}}, 0, 2, 0},
		"at the start":                {[]event{{4 * s, 1, nil}}, 0, 0, 3 * s},
		"in the middle":               {[]event{{2 * s, 1, nil}, {6 * s, 2, nil}}, 0, 1, 5 * s},
		"before the end":              {[]event{{2 * s, 1, nil}, {6 * s, end, nil}}, 0, 1, 5 * s},
		"an item error is a sign":     {[]event{{2 * s, 0, errItem}, {4 * s, 1, nil}, {4 * s, end, nil}}, 0, 2, 0},
		"the body's time is its own":  {[]event{{0, 1, nil}, {11 * s, 2, nil}, {12 * s, end, nil}}, 10 * s, 2, 0},
		"the wait begins after it":    {[]event{{0, 1, nil}, {14 * s, 2, nil}}, 10 * s, 1, 13 * s},
		"the source goes on meantime": {[]event{{0, 1, nil}, {0, 2, nil}, {0, 3, nil}}, 10 * s, 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := timeline(IdleTimeout(t.Context(), 3*s, fixed(script(tt.in...))), tt.body)
				if tt.idle > 0 {
					if n := len(got) - 1; n != tt.items || got[n].at != tt.idle || !isIdle(got[n].err) {
						t.Errorf("got %v, want %d items and the idle error at %v", got, tt.items, tt.idle)
					}
				} else if len(got) != tt.items || got[len(got)-1].err != nil {
					t.Errorf("got %v, want %d items", got, tt.items)
				}
			})
		})
	}
}

// The pair that comes at the very moment counts, whatever comes first on the day.
func TestIdleTimeoutAtTheVeryMoment(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			in := script(event{3 * s, 1, nil}, event{6 * s, 2, nil}, event{8 * s, 3, nil}, event{20 * s, 4, nil})
			got := timeline(IdleTimeout(t.Context(), 3*s, fixed(in)), 0)
			for i, e := range got[:len(got)-1] {
				if e.v != i+1 || e.err != nil {
					t.Errorf("got %v", got)
				}
			}
			if last := got[len(got)-1]; !isIdle(last.err) || last.at%s != 0 {
				t.Errorf("got %v", got)
			}
		})
	}
}

// The error comes at once; the source's context ends by it, and a source that does not
// look is waited for after the error.
func TestIdleTimeoutEndsItsSource(t *testing.T) {
	for _, looks := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var cause error
			var ended bool
			build := func(ctx context.Context) intStream {
				return func(func(int, error) bool) {
					if looks {
						<-ctx.Done()
					} else {
						time.Sleep(time.Hour)
					}
					cause, ended = context.Cause(ctx), true
				}
			}
			begin := time.Now()
			for _, err := range IdleTimeout(t.Context(), 3*s, build) {
				if took := time.Since(begin); took != 3*s || !isIdle(err) {
					t.Errorf("%v after %v", err, took)
				}
				synctest.Wait()
				if ended != looks {
					t.Error("the error came before or after it should, compared to the source's end")
				}
			}
			if !ended || !isIdle(cause) {
				t.Errorf("ended %t with cause %v; want true, the idle error", ended, cause)
			}
			if took := time.Since(begin); looks != (took == 3*s) {
				t.Errorf("the loop took %v", took)
			}
		})
	}
}

// However the loop ends, the source's context has ended by then.
func TestIdleTimeoutCancelsWhenTheLoopEnds(t *testing.T) {
	for name, body := range map[string]func(){"break": nil, "panic": func() { panic("body") }} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var source context.Context
				build := func(ctx context.Context) intStream {
					source = ctx
					return seq.FromFunc(ctx, func(ctx context.Context) (int, error) {
						return 1, sleep(ctx, s)
					})
				}
				got := panicOf(func() {
					for range IdleTimeout(t.Context(), time.Hour, build) {
						if body == nil {
							break
						}
						body()
					}
				})
				if source.Err() != context.Canceled || (got != nil) != (body != nil) {
					t.Errorf("the source's context: %v; panic %v", source.Err(), got)
				}
			})
		})
	}
}

func TestIdleTimeoutEndOfContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("cause")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 4*s, cause)
		defer cancel()
		got := timeline(IdleTimeout(ctx, 3*s, fixed(script(event{2 * s, 1, nil}, event{9 * s, 2, nil}))), 0)
		if len(got) != 2 || got[1].at != 4*s || !errors.Is(got[1].err, cause) || errors.Is(got[1].err, ErrTimeout) {
			t.Errorf("got %v, want ctx's error at 4s", got)
		}
	})
}

func TestIdleTimeoutPanicsOnNilStream(t *testing.T) {
	got := panicOf(func() {
		for range IdleTimeout(t.Context(), s, fixed(nil)) {
		}
	})
	if p, ok := got.(*seq.PanicError); !ok || p.Value != "control.IdleTimeout: build must not return nil" {
		t.Errorf("panic %v", got)
	}
}

func ExampleIdleTimeout() {
	messages := func(ctx context.Context) iter.Seq2[string, error] {
		sent := false
		return seq.FromFunc(ctx, func(ctx context.Context) (string, error) {
			if !sent {
				sent = true
				return "hello", nil
			}
			<-ctx.Done() // nobody sends anything any more
			return "", ctx.Err()
		})
	}
	for m, err := range IdleTimeout(context.Background(), 5*time.Millisecond, messages) {
		if err != nil {
			fmt.Println(err, errors.Is(err, ErrTimeout))
			return
		}
		fmt.Println(m)
	}
	// Output:
	// hello
	// control.IdleTimeout: the source gave nothing for 5ms true
}
