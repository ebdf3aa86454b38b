package control

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

const ms = time.Millisecond

// The timeline of the doc comment.
func TestSampleTimeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := script(event{s, 1, nil}, event{2 * s, 2, nil}, event{4 * s, 3, nil}, event{10 * s, 4, nil}, event{11 * s, end, nil})
		stage := Sample(t.Context(), in, 3*s)
		for range 2 {
			wantEvents(t, timeline(stage, 0), event{3 * s, 2, nil}, event{6 * s, 3, nil}, event{11 * s, 4, nil})
		}
	})
}

func TestSampleErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := script(event{s, 1, nil}, event{2 * s, 0, errItem}, event{4 * s, 2, nil}, event{5 * s, 0, errFinal}, event{6 * s, 3, nil})
		wantEvents(t, timeline(Sample(t.Context(), in, 3*s), 0),
			event{2 * s, 0, errItem}, event{3 * s, 1, nil}, event{5 * s, 2, nil}, event{5 * s, 0, errFinal})
	})
}

// While the body runs, items are replaced; what is the latest then comes at once.
func TestSampleSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []event
		for i := range 20 {
			events = append(events, event{time.Duration(i) * s, i, nil})
		}
		got := timeline(Sample(t.Context(), script(events...), 2500*ms), 7100*ms)
		wantEvents(t, got, event{2500 * ms, 2, nil}, event{9600 * ms, 9, nil}, event{16700 * ms, 16, nil}, event{23800 * ms, 19, nil})
	})
}

// An item error waits for the body, and the source for the item error.
func TestSampleItemErrorsAreNeverLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := func(yield func(int, error) bool) {
			for range 50 {
				if !yield(0, errItem) {
					return
				}
			}
		}
		if got := timeline(Sample(t.Context(), in, s), 300*ms); len(got) != 50 {
			t.Errorf("%d item errors of 50", len(got))
		}
	})
}

func TestSampleEndOfContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("cause")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 1500*ms, cause)
		defer cancel()
		begin := time.Now()
		in := script(event{s, 1, nil}, event{9 * s, 2, nil}) // does not look at ctx
		for v, err := range Sample(ctx, in, 3*s) {
			if at := time.Since(begin); v != 0 || at != 1500*ms || !errors.Is(err, cause) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v: %v, %v; want ctx's error at 1.5s", at, v, err)
			}
		}
		if at := time.Since(begin); at != 9*s {
			t.Errorf("the loop ended at %v, want it to wait for its source until 9s", at)
		}
	})
}

// Whatever ends the loop: the source has ended before it, and a panic surfaces.
func TestSampleIsJoined(t *testing.T) {
	boom := errors.New("boom")
	source := func(ended *bool, fail func()) intStream {
		return func(yield func(int, error) bool) {
			defer func() { *ended = true }()
			for i := 0; ; i++ {
				time.Sleep(s)
				if i == 4 {
					fail()
				}
				if !yield(i, nil) {
					return
				}
			}
		}
	}
	for name, tt := range map[string]struct {
		fail func() // in the source, at 5 s
		body func()
		want any
	}{
		"break":                    {func() {}, nil, nil},
		"panic in the source":      {func() { panic(boom) }, func() {}, boom},
		"panic in both":            {func() { panic(boom) }, func() { time.Sleep(3 * s); panic("body") }, "body"},
		"panic during the join":    {func() { panic(boom) }, nil, boom},
		"panic in the body":        {func() {}, func() { panic("body") }, "body"},
		"panic while in the body":  {func() { panic(boom) }, func() { time.Sleep(time.Minute) }, boom},
		"panic before the timer":   {func() { panic(boom) }, func() { time.Sleep(0) }, boom},
		"an error before the join": {func() {}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ended bool
				every := 2500 * ms
				if name == "panic during the join" {
					every = 4500 * ms
				}
				got := panicOf(func() {
					for range Sample(t.Context(), source(&ended, tt.fail), every) {
						if tt.body == nil {
							break
						}
						tt.body()
					}
				})
				if p, ok := got.(*seq.PanicError); ok {
					got = p.Unwrap()
				}
				if got != tt.want || !ended {
					t.Errorf("panic %v, source ended %t; want %v, true", got, ended, tt.want)
				}
			})
		})
	}
}

// In any schedule the samples are a subsequence that ends with the last item, and no
// two of them lie in the same period.
func TestSampleRandomSchedules(t *testing.T) {
	seed := rand.Uint64()
	for i := range 500 {
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		synctest.Test(t, func(t *testing.T) {
			var events []event
			at := time.Duration(0)
			for v := range 1 + rnd.IntN(40) {
				at += time.Duration(rnd.IntN(2000)) * ms
				e := event{at: at, v: v}
				if rnd.IntN(5) == 0 {
					e.err = &seq.ItemError{Item: v, Err: errFinal}
				}
				events = append(events, e)
			}
			var items, errs, last int
			for _, e := range events {
				if e.err != nil {
					errs++
				} else {
					items, last = items+1, e.v
				}
			}
			body := time.Duration(rnd.IntN(3000)) * ms
			prev := -1
			for v, err := range Sample(t.Context(), script(events...), time.Duration(1+rnd.IntN(3000))*ms) {
				time.Sleep(body)
				if err != nil {
					errs--
					continue
				}
				if v <= prev {
					t.Errorf("%d after %d", v, prev)
				}
				prev = v
			}
			if errs != 0 || items > 0 && prev != last {
				t.Errorf("%d errors lost; the last item was %d, want %d (seed %d, %d)", errs, prev, last, seed, i)
			}
		})
	}
}

func ExampleSample() {
	// The source is done long before the first minute is over. What it gave last is
	// passed on at once.
	for n, err := range Sample(context.Background(), seq.Of(1, 2, 3), time.Minute) {
		fmt.Println(n, err)
	}
	// Output: 3 <nil>
}
