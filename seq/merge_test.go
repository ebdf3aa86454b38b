package seq_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// at yields v after d.
func at(d time.Duration, v int) ints {
	return func(yield func(int, error) bool) {
		time.Sleep(d)
		yield(v, nil)
	}
}

// Merge yields what comes when it comes, whoever is idle.
func TestMergeYieldsAsItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := seq.Concat(at(3*time.Second, 3), at(4*time.Second, 7))
		b := seq.Concat(at(time.Second, 1), at(time.Second, 2), at(3*time.Second, 5))
		start := time.Now()
		var got []int
		for v, err := range seq.Merge(t.Context(), a, seq.Of[int](), b) {
			if d := time.Since(start); err != nil || d != time.Duration(v)*time.Second {
				t.Errorf("got %v, %v after %v", v, err, d)
			}
			got = append(got, v)
		}
		if !slices.Equal(got, []int{1, 2, 3, 5, 7}) {
			t.Errorf("got %v", got)
		}
	})
}

// A final error of one stream ends the whole, and lets go of the others.
func TestMergeEndsAtAFinalError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		final := errors.New("end")
		endless := func(yield func(int, error) bool) {
			for yield(1, nil) {
				time.Sleep(time.Second)
			}
		}
		failing := seq.Concat(at(time.Minute, 2), seq.Fail[int](final))
		var last error
		for _, err := range seq.Merge(t.Context(), endless, failing) {
			last = err
		}
		if last != final {
			t.Errorf("ended with %v", last)
		}
	})
}

// Streams that always have something get their turn, one after the other.
func TestMergeIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		constant := func(v int) ints {
			return func(yield func(int, error) bool) {
				for yield(v, nil) {
				}
			}
		}
		counts := make([]int, 3)
		for v := range seq.Take(seq.Merge(t.Context(), constant(0), constant(1), constant(2)), 480) {
			counts[v]++
			synctest.Wait() // so that all of them have something
		}
		for i, n := range counts {
			if n < 160-16 || n > 160+16 {
				t.Errorf("%d of 480 items came from stream %d", n, i)
			}
		}
	})
}

func TestMergeOfNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wantPairs(t, seq.Merge[int](t.Context()))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		wantPairs(t, seq.Merge[int](ctx), "final error: context canceled")
	})
}

// While the body works the source does, too.
func TestBufferOverlapsSourceAndBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := func(yield func(int, error) bool) {
			for i := range 10 {
				time.Sleep(time.Second)
				if !yield(i, nil) {
					return
				}
			}
		}
		start := time.Now()
		for range seq.Buffer(t.Context(), source, 1) {
			time.Sleep(time.Second)
		}
		if d := time.Since(start); d != 11*time.Second {
			t.Errorf("took %v", d)
		}
	})
}
