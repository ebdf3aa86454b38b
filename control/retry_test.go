package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// failing returns an op that fails with errs, one after the other, then succeeds.
// It counts its calls.
func failing(calls *int, errs ...error) func(context.Context) error {
	return func(context.Context) error {
		*calls++
		if *calls <= len(errs) {
			return errs[*calls-1]
		}
		return nil
	}
}

func always(err error) func(context.Context) error {
	return func(context.Context) error { return err }
}

func TestRetry(t *testing.T) {
	second := Constant(time.Second)
	errOther := errors.New("other")
	linear := func(attempt int) time.Duration { return time.Duration(attempt) * time.Second }
	tests := []struct {
		name  string
		retry Retry
		errs  []error // of the first calls
		calls int
		took  time.Duration
		want  string // of the error; empty means success
	}{
		{"success", Retry{}, nil, 1, 0, ""},
		{"third time lucky", Retry{Backoff: second}, []error{errBoom, errBoom}, 3, 2 * time.Second, ""},
		{"5 tries by default", Retry{Backoff: second}, repeat(errBoom, 9), 5, 4 * time.Second, "5 tries in 4s: last error: boom"},
		{"Attempts", Retry{Attempts: 2, Backoff: second}, repeat(errBoom, 9), 2, time.Second, "2 tries in 1s: last error: boom"},
		{"one attempt", Retry{Attempts: 1, Backoff: second}, repeat(errBoom, 9), 1, 0, "boom"},
		{"no limit", Retry{Attempts: -1, Backoff: second}, repeat(errBoom, 99), 100, 99 * time.Second, ""},
		{"Backoff counts from 1", Retry{Backoff: linear}, repeat(errBoom, 9), 5, 10 * time.Second, "5 tries in 10s: last error: boom"},
		{"a Backoff below 0", Retry{Backoff: func(int) time.Duration { return -time.Hour }}, repeat(errBoom, 9), 5, 0, "5 tries in 0s: last error: boom"},
		{"MaxElapsed is met exactly", Retry{Attempts: -1, Backoff: second, MaxElapsed: 3 * time.Second}, repeat(errBoom, 9), 4, 3 * time.Second, "4 tries in 3s: last error: boom"},
		{"MaxElapsed is never slept past", Retry{Attempts: -1, Backoff: second, MaxElapsed: 3500 * time.Millisecond}, repeat(errBoom, 9), 4, 3 * time.Second, "4 tries in 3s: last error: boom"},
		{"MaxElapsed and RetryAfter", Retry{Backoff: second, MaxElapsed: time.Minute}, []error{RetryAfter(errBoom, time.Hour)}, 1, 0, "boom"},
		{"RetryAfter", Retry{Backoff: second}, []error{RetryAfter(errBoom, 20*time.Second), errBoom}, 3, 21 * time.Second, ""},
		{"RetryAfter, wrapped", Retry{Backoff: second}, []error{fmt.Errorf("call: %w", RetryAfter(errBoom, 20*time.Second))}, 2, 20 * time.Second, ""},
		{"RetryAfter 0", Retry{Backoff: second}, []error{RetryAfter(errBoom, 0), RetryAfter(errBoom, -time.Hour)}, 3, 0, ""},
		{"Permanent", Retry{Backoff: second}, []error{Permanent(errBoom)}, 1, 0, "boom"},
		{"Permanent, wrapped, later", Retry{Backoff: second}, []error{errOther, fmt.Errorf("call: %w", Permanent(errBoom))}, 2, time.Second, "2 tries in 1s: last error: call: boom"},
		{"Permanent before RetryAfter", Retry{}, []error{Permanent(RetryAfter(errBoom, time.Hour))}, 1, 0, "boom"},
		{"Permanent before If", Retry{If: func(error) bool { return true }}, []error{Permanent(errBoom)}, 1, 0, "boom"},
		{"If", Retry{Backoff: second, If: func(err error) bool { return err != errBoom }}, []error{errOther, errBoom}, 2, time.Second, "2 tries in 1s: last error: boom"},
		{"a context error of the op's own", Retry{Backoff: second}, []error{context.Canceled, context.DeadlineExceeded}, 3, 2 * time.Second, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls, begin := 0, time.Now()
				err := tt.retry.Do(t.Context(), failing(&calls, tt.errs...))
				if took := time.Since(begin); calls != tt.calls || took != tt.took {
					t.Errorf("%d calls in %v, want %d in %v", calls, took, tt.calls, tt.took)
				}
				switch {
				case tt.want == "" && err != nil:
					t.Errorf("error: %v", err)
				case tt.want != "" && (err == nil || err.Error() != tt.want):
					t.Errorf("error: %v, want %s", err, tt.want)
				case tt.want != "" && !errors.Is(err, errBoom):
					t.Error("the error is not what is behind it")
				}
			})
		})
	}
}

func repeat(err error, n int) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}

func TestRetryTakesErrSkipForNoFailure(t *testing.T) {
	calls := 0
	err := Retry{}.Do(t.Context(), failing(&calls, fmt.Errorf("%w: empty", seq.ErrSkip)))
	if calls != 1 || !errors.Is(err, seq.ErrSkip) {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func TestRetryEndsWithContext(t *testing.T) {
	cause := errors.New("enough")
	tests := []struct {
		name  string
		after time.Duration // of the cancellation
		op    func(context.Context) error
		want  string
	}{
		{"in a sleep", 1500 * time.Millisecond, always(errBoom), "1 try in 1.5s: context canceled: enough; last error: boom"},
		{"in a later sleep", 15 * time.Second, always(errBoom), "2 tries in 15s: context canceled: enough; last error: boom"},
		{"in a try that sees it", time.Second, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, "context canceled: enough"},
		{"in a try that does not", time.Second, func(context.Context) error { time.Sleep(2 * time.Second); return errBoom }, "1 try in 2s: context canceled: enough; last error: boom"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(tt.after, func() { cancel(cause) })
				begin := time.Now()
				err := Retry{Backoff: Constant(10 * time.Second)}.Do(ctx, tt.op)
				if err == nil || err.Error() != tt.want {
					t.Errorf("error: %v, want %s", err, tt.want)
				}
				if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
					t.Errorf("%v is not the end of ctx", err)
				}
				if strings.Contains(tt.want, "boom") && !errors.Is(err, errBoom) {
					t.Errorf("%v is not the last error", err)
				}
				if took := time.Since(begin); took > max(tt.after, 2*time.Second) {
					t.Errorf("took %v, want the end at once", took)
				}
			})
		})
	}
}

func TestRetryEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []string
		g := new(Gate)
		var r Retry
		r = Retry{Attempts: 3, Pause: g, Backoff: func(n int) time.Duration { return time.Duration(n) * time.Second },
			OnRetry: func(e RetryEvent) {
				events = append(events, fmt.Sprintf("%d %v %v", e.Attempt, e.Err, e.Sleep))
				// A callback may call whatever it likes.
				if err := r.Do(t.Context(), always(nil)); err != nil {
					t.Error(err)
				}
				if err := g.Wait(t.Context()); err != nil {
					t.Error(err)
				}
			}}
		r.Do(t.Context(), always(errBoom))
		if got := strings.Join(events, ", "); got != "1 boom 1s, 2 boom 2s" {
			t.Errorf("events: %s", got)
		}
		r.OnRetry = func(RetryEvent) { panic("in OnRetry") }
		if got := mustPanic(t, func() { r.Do(t.Context(), always(errBoom)) }); got != "in OnRetry" {
			t.Errorf("panicked with %s", got)
		}
		if g.Paused() {
			t.Error("the panic left the gate closed")
		}
	})
}

// The tries of a retry that sleeps with the gate closed pass through that gate
// themselves, whether it is around the retry or inside of it.
func TestRetryPauseWithTheGateInTheChain(t *testing.T) {
	for _, name := range []string{"outside", "inside", "both"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := new(Gate)
				policies := []Policy{Retry{Backoff: Constant(time.Second), Pause: g}}
				if name != "inside" {
					policies = append([]Policy{g}, policies...)
				}
				if name != "outside" {
					policies = append(policies, g)
				}
				calls, begin := 0, time.Now()
				op := failing(&calls, errBoom, errBoom)
				call := Wrap(func(ctx context.Context, _ int) (int, error) { return 0, op(ctx) }, policies...)
				if _, err := call(t.Context(), 0); err != nil {
					t.Error(err)
				}
				if took := time.Since(begin); took != 2*time.Second {
					t.Errorf("took %v, want no more than the sleeps, 2s", took)
				}
			})
		})
	}
}

// A retry that is cancelled while it sleeps does not leave the pipeline asleep.
func TestRetryPauseEndsWithTheSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(Gate)
		call := Wrap(func(context.Context, int) (int, error) { return 0, RetryAfter(errBoom, time.Hour) }, Retry{Pause: g})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		waiter := make(chan time.Duration)
		begin := time.Now()
		go func() {
			time.Sleep(1)
			g.Wait(context.Background())
			waiter <- time.Since(begin)
		}()
		_, err := call(ctx, 0)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, errBoom) {
			t.Errorf("error: %v", err)
		}
		if took := <-waiter; took != time.Second {
			t.Errorf("the gate was closed for %v, want 1s", took)
		}
	})
}

// TestRetryPausesThePipeline puts the whole pipeline to sleep with one failing
// call: while it sleeps no item is pulled and no other call begins.
func TestRetryPausesThePipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const items, workers = 200, 16
		ctx, g := t.Context(), new(Gate)
		var asleep atomic.Int32 // retries that sleep
		var mu sync.Mutex
		type nap struct{ from, to time.Time }
		var sleeps []nap
		// Whatever begins at an instant when others still sleep is a violation. A begin at
		// the same instant as a sleep's end is fine, and as its begin, too: OnRetry is
		// called before the gate is closed.
		begins := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			for _, n := range sleeps {
				if now := time.Now(); now.After(n.from) && now.Before(n.to) {
					t.Errorf("%s begins %v before a sleep is over", what, time.Until(n.to))
				}
			}
		}
		source := func(yield func(int, error) bool) {
			for i := range items {
				begins("a pull")
				if !yield(i, nil) {
					return
				}
			}
		}
		tries := make([]atomic.Int32, items)
		call := Wrap(func(_ context.Context, i int) (int, error) {
			begins("a call")
			try := tries[i].Add(1)
			time.Sleep(time.Duration(i%5+1) * time.Millisecond)
			if i%40 == 7 && try < 3 {
				return 0, RetryAfter(errBoom, time.Duration(i)*time.Millisecond)
			}
			return i, nil
		}, Retry{Pause: g, OnRetry: func(e RetryEvent) {
			asleep.Add(1)
			mu.Lock()
			defer mu.Unlock()
			sleeps = append(sleeps, nap{time.Now(), time.Now().Add(e.Sleep)})
		}}, g)
		want := 0
		for got, err := range seq.MapConcurrent(ctx, Gated(ctx, source, g), workers, call) {
			if err != nil || got != want {
				t.Fatalf("got %d, %v; want %d", got, err, want)
			}
			want++
		}
		if want != items || asleep.Load() != 10 {
			t.Errorf("%d items, %d sleeps; want %d and 10", want, asleep.Load(), items)
		}
	})
}

func TestMarksOfNil(t *testing.T) {
	if err := Permanent(nil); err != nil {
		t.Errorf("Permanent(nil) = %v", err)
	}
	if err := RetryAfter(nil, time.Second); err != nil {
		t.Errorf("RetryAfter(nil) = %v", err)
	}
}

func TestReadable(t *testing.T) {
	for d, want := range map[time.Duration]string{
		3217 * time.Millisecond: "3.2s", 65300 * time.Millisecond: "1m5s", 12345 * time.Microsecond: "12ms", 1499: "1µs",
	} {
		if got := readable(d).String(); got != want {
			t.Errorf("readable(%d) = %s, want %s", d, got, want)
		}
	}
}

func ExampleRetry() {
	tries := 0
	call := Wrap(func(ctx context.Context, url string) (string, error) {
		tries++
		return "", errors.New("503 Service Unavailable")
	}, Retry{
		Attempts: 3,
		Backoff:  Constant(0),
		OnRetry:  func(e RetryEvent) { fmt.Println("try", e.Attempt, "failed:", e.Err) },
	})
	_, err := call(context.Background(), "https://example.com")
	fmt.Println(strings.HasPrefix(err.Error(), "3 tries in "), errors.Unwrap(err))
	// Output:
	// try 1 failed: 503 Service Unavailable
	// try 2 failed: 503 Service Unavailable
	// true 503 Service Unavailable
}

// A call that fails sends the whole pipeline to sleep: the source is gated by what
// Retry pauses.
func ExampleRetry_pause() {
	ctx, gate := context.Background(), new(Gate)
	failed := false
	call := Wrap(func(ctx context.Context, n int) (int, error) {
		if n == 2 && !failed {
			failed = true
			return 0, RetryAfter(errors.New("429 Too Many Requests"), time.Millisecond)
		}
		return n * n, nil
	}, Retry{Pause: gate})
	for square, err := range seq.MapConcurrent(ctx, Gated(ctx, seq.Of(1, 2, 3), gate), 1, call) {
		fmt.Println(square, err)
	}
	// Output:
	// 1 <nil>
	// 4 <nil>
	// 9 <nil>
}

func ExamplePermanent() {
	calls := 0
	err := Retry{}.Do(context.Background(), func(context.Context) error {
		calls++
		return Permanent(errors.New("404 Not Found"))
	})
	fmt.Println(calls, err)
	// Output: 1 404 Not Found
}
