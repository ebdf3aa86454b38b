package control

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"example.com/pipeline/seq"
)

func TestRateLimitSpacing(t *testing.T) {
	for name, tt := range map[string]struct {
		l     Limiter
		items int
		body  time.Duration
		want  func(i int) time.Duration
	}{
		"burst 1 is evenly spaced": {rate.NewLimiter(10, 1), 200, 0, func(i int) time.Duration { return time.Duration(i) * 100 * ms }},
		"a burst passes at once":   {rate.NewLimiter(10, 5), 200, 0, func(i int) time.Duration { return max(0, time.Duration(i-4)) * 100 * ms }},
		"the body's time counts":   {rate.NewLimiter(10, 1), 20, 50 * ms, func(i int) time.Duration { return time.Duration(i) * 100 * ms }},
		"a slow body never waits":  {rate.NewLimiter(10, 1), 20, 130 * ms, func(i int) time.Duration { return time.Duration(i) * 130 * ms }},
		"a Pacer":                  {NewPacer(1000), 200, 0, func(i int) time.Duration { return time.Duration(i) * ms }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				events := timeline(RateLimit(t.Context(), upTo(tt.items), tt.l), tt.body)
				if len(events) != tt.items {
					t.Fatalf("%d items of %d", len(events), tt.items)
				}
				for i, e := range events {
					if e != (event{tt.want(i), i, nil}) {
						t.Fatalf("item %d: %v, want %v", i, e, tt.want(i))
					}
				}
			})
		})
	}
}

// upTo yields 0 to n-1.
func upTo(n int) intStream {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
	}
}

// A token is taken when the item is there: one that was taken ahead would let two
// items through at once after the source has blocked.
func TestRateLimitAfterTheSourceHasBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := script(event{at: 0, v: 1}, event{at: 10 * s, v: 2}, event{at: 10 * s, v: 3})
		got := timeline(RateLimit(t.Context(), in, rate.NewLimiter(1, 1)), 0)
		wantEvents(t, got, event{0, 1, nil}, event{10 * s, 2, nil}, event{11 * s, 3, nil})
	})
}

// No token is lost at the end of a stream, nor to errors.
func TestRateLimitTakesATokenForEachItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := rate.NewLimiter(1, 5)
		in := script(event{0, 1, nil}, event{0, 0, errItem}, event{0, 2, nil}, event{0, 0, errFinal})
		timeline(RateLimit(t.Context(), in, l), 0)
		timeline(RateLimit(t.Context(), in, l), 0)
		if got := l.Tokens(); got != 1 {
			t.Errorf("%v tokens left of 5 after twice 2 items", got)
		}
	})
}

// An empty bucket stops the source: it is asked for nothing while the stage waits.
func TestRateLimitStopsTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pulled []time.Duration
		begin := time.Now()
		in := seq.Tap(upTo(4), func(int, error) { pulled = append(pulled, time.Since(begin)) })
		timeline(RateLimit(t.Context(), in, rate.NewLimiter(1, 1)), 0)
		if got, want := fmt.Sprint(pulled), "[0s 0s 1s 2s]"; got != want {
			t.Errorf("pulled at %v, want %v", got, want)
		}
	})
}

func TestRateLimitEndsWithContext(t *testing.T) {
	cause := errors.New("cause")
	for name, tt := range map[string]struct {
		context func(context.Context) (context.Context, context.CancelFunc)
		body    time.Duration
		items   int
		at      time.Duration
	}{
		"while it waits": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeoutCause(ctx, 2500*time.Millisecond, cause)
		}, 0, 1, 2500 * time.Millisecond},
		"during the body": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeoutCause(ctx, s, cause)
		}, 5 * s, 1, 5 * s},
		"before the loop": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeoutCause(ctx, -1, cause)
		}, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := tt.context(t.Context())
				defer cancel()
				pulls := 0
				in := seq.Tap(upTo(10), func(int, error) { pulls++ })
				got := timeline(RateLimit(ctx, in, rate.NewLimiter(rate.Every(3*s), 1)), tt.body)
				if len(got) != tt.items+1 {
					t.Fatalf("got %v", got)
				}
				last := got[tt.items]
				if last.at != tt.at || last.v != 0 || !errors.Is(last.err, context.DeadlineExceeded) || !errors.Is(last.err, cause) {
					t.Errorf("ended with %v, want the deadline and its cause at %v", last, tt.at)
				}
				if name != "while it waits" && pulls != tt.items {
					t.Errorf("%d pulls", pulls)
				}
			})
		})
	}
}

func TestRateLimitEndsWithTheLimitersError(t *testing.T) {
	got := timeline(RateLimit(t.Context(), upTo(3), rate.NewLimiter(1, 0)), 0)
	if len(got) != 1 || got[0].err == nil || seq.IsItemError(got[0].err) {
		t.Errorf("a bucket that never holds a token: %v", got)
	}
	refused := limiterFunc(func(context.Context) error { return errItem })
	got = timeline(RateLimit(t.Context(), upTo(3), refused), 0)
	if len(got) != 1 || !errors.Is(got[0].err, errItem) || seq.IsItemError(got[0].err) {
		t.Errorf("an item error of the limiter: %v, want it as a final error", got)
	}
}

type limiterFunc func(context.Context) error

func (f limiterFunc) Wait(ctx context.Context) error { return f(ctx) }

func ExampleRateLimit() {
	// Three at once, then one every 10 ms, and nothing is lost.
	limiter := rate.NewLimiter(rate.Every(10*time.Millisecond), 3)
	begin := time.Now()
	var in iter.Seq2[int, error] = seq.Of(1, 2, 3, 4, 5)
	for n, err := range RateLimit(context.Background(), in, limiter) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(n, time.Since(begin) >= time.Duration(n-3)*10*time.Millisecond)
	}
	// Output:
	// 1 true
	// 2 true
	// 3 true
	// 4 true
	// 5 true
}
