package batch_test

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/batch"
	"example.com/pipeline/seq"
	"github.com/google/go-cmp/cmp"
)

// collected returns the batches as text.
func collected(t *testing.T, in batches) []string {
	t.Helper()
	var got []string
	for items, err := range in {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(items))
	}
	return got
}

func TestBatchesLimits(t *testing.T) {
	self := identity[int]
	for name, tc := range map[string]struct {
		limits batch.Limits[int]
		items  []int
		want   []string
	}{
		"by weight": {batch.Limits[int]{Weigh: self, Weight: 10}, []int{4, 5, 2, 8, 1, 1},
			[]string{"[4 5]", "[2 8]", "[1 1]"}},
		"a heavier item goes alone": {batch.Limits[int]{Weigh: self, Weight: 10}, []int{1, 11, 2, 3, 99, 98, 10, 0, 4},
			[]string{"[1]", "[11]", "[2 3]", "[99]", "[98]", "[10]", "[0 4]"}},
		"weights that overflow together": {batch.Limits[int]{Weigh: self, Weight: math.MaxInt}, []int{math.MaxInt - 1, 2, 5, math.MaxInt, 7, math.MaxInt},
			[]string{fmt.Sprint([]int{math.MaxInt - 1}), "[2 5]", fmt.Sprint([]int{math.MaxInt}), "[7]", fmt.Sprint([]int{math.MaxInt})}},
		"by number or weight": {batch.Limits[int]{Items: 2, Weigh: self, Weight: 10}, []int{1, 1, 1, 9, 5, 6},
			[]string{"[1 1]", "[1 9]", "[5]", "[6]"}},
		"with its last": {batch.Limits[int]{Last: func(x int) bool { return x < 0 }}, []int{1, 2, -1, -1, 3},
			[]string{"[1 2 -1]", "[-1]", "[3]"}},
		"a last one that does not fit": {batch.Limits[int]{Weigh: self, Weight: 10, Last: func(x int) bool { return x == 7 }}, []int{6, 7, 1},
			[]string{"[6]", "[7]", "[1]"}},
		"by number alone": {batch.Limits[int]{Items: 2}, []int{1, 2, 3}, []string{"[1 2]", "[3]"}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, collected(t, batch.Batches(t.Context(), seq.Of(tc.items...), tc.limits))); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

// Where items never stop coming, Wait hands over what Quiet would hold for ever.
func TestBatchesQuietAndWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steady := func(yield func(int, error) bool) {
			for i := range 100 {
				time.Sleep(50 * ms)
				if !yield(i, nil) {
					return
				}
			}
			time.Sleep(time.Hour)
		}
		start := time.Now()
		var got []string
		for items, err := range batch.Batches(t.Context(), steady, batch.Limits[int]{Quiet: 100 * ms, Wait: 975 * ms}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(time.Since(start), " ", len(items)))
		}
		// The first item of each comes 50 ms after the last of the one before.
		want := []string{"1.025s 20", "2.025s 20", "3.025s 20", "4.025s 20", "5.025s 20"}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
	})
}

// A batch that only Wait bounds does not grow for as long as the body runs.
func TestBatchesSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		given := 0
		steady := func(yield func(int, error) bool) {
			for yield(given, nil) {
				given++
				time.Sleep(ms)
			}
		}
		n := 0
		for items, err := range batch.Batches(t.Context(), steady, batch.Limits[int]{Wait: time.Second}) {
			if err != nil || len(items) > 1001 || items[0] != n {
				t.Fatalf("%d items from %d on, %v, want 1,000 from %d on", len(items), items[0], err, n)
			}
			n += len(items)
			time.Sleep(time.Hour)
			synctest.Wait()
			if given > n+1001 {
				t.Fatalf("%d items are held", given-n)
			}
			if n > 10_000 {
				break
			}
		}
	})
}

// A weight below 0 is a mistake that the loop panics with.
func TestBatchesNegativeWeight(t *testing.T) {
	defer func() {
		want := "batch.Batches: Weigh must return at least 0, got -3"
		if p, ok := recover().(*seq.PanicError); !ok || p.Value != want {
			t.Errorf("panicked with %v, want a PanicError of %q", p, want)
		}
	}()
	l := batch.Limits[int]{Weigh: func(int) int { return -3 }, Weight: 1}
	_, err := seq.Collect(batch.Batches(t.Context(), seq.Of(1), l))
	t.Errorf("no panic, error %v", err)
}

// A batch takes the memory of what it holds, however much it might hold.
func TestSmallBatchesTakeLittle(t *testing.T) {
	l := batch.Limits[int]{Items: 1 << 30, Last: func(int) bool { return true }}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if n, err := seq.Count(batch.Batches(t.Context(), numbers(1000), l)); n != 1000 || err != nil {
		t.Fatal(n, err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 500_000 {
		t.Errorf("1,000 batches of one integer took %d bytes", took)
	}
}

// Batches that were closed and the one that is collected come out before a final error.
func TestBatchesFinalError(t *testing.T) {
	l := batch.Limits[int]{Weigh: identity[int], Weight: 10}
	var got []string
	for items, err := range batch.Batches(t.Context(), seq.Concat(seq.Of(6, 7, 8), seq.Fail[int](errFinal)), l) {
		if errors.Is(err, errFinal) {
			got = append(got, "final error")
			continue
		}
		got = append(got, fmt.Sprint(items))
	}
	if d := cmp.Diff([]string{"[6]", "[7]", "[8]", "final error"}, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}
