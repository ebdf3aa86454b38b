package batch_test

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/batch"
	"example.com/pipeline/seq"
	"github.com/google/go-cmp/cmp"
)

func identity[T any](v T) T { return v }

func TestDedup(t *testing.T) {
	for _, tc := range []struct {
		name     string
		in, want []int
		capacity int
	}{
		{"first of each", []int{3, 1, 3, 2, 1, 3}, []int{3, 1, 2}, 0},
		// 1 is seen again before 3 comes: 2 is the one seen longest ago.
		{"least recently seen goes first", []int{1, 2, 1, 3, 1, 2}, []int{1, 2, 3, 2}, 2},
		{"capacity 1", []int{1, 1, 2, 2, 1, 1}, []int{1, 2, 1}, 1},
		{"capacity beyond all entries", []int{1, 1}, []int{1}, math.MaxInt},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := seq.Collect(batch.Dedup(seq.Of(tc.in...), identity[int], batch.DedupConfig{Capacity: tc.capacity}))
			if d := cmp.Diff(tc.want, got); err != nil || d != "" {
				t.Errorf("error %v; -want +got\n%s", err, d)
			}
		})
	}
}

// The default is 65,536 keys: the first is still known after as many others less
// one, and new after as many.
func TestDedupDefaultCapacity(t *testing.T) {
	for others, want := range map[int]int{65_535: 65_536, 65_536: 65_538} {
		in := make([]int, 0, others+2)
		for i := range others + 1 {
			in = append(in, i)
		}
		got, err := seq.Count(batch.Dedup(seq.Of(append(in, 0)...), identity[int], batch.DedupConfig{}))
		if err != nil || got != want {
			t.Errorf("with %d keys between: %d items, %v, want %d", others, got, err, want)
		}
	}
}

func TestDedupTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := arrivals(
			arrival[int]{item: 1},
			arrival[int]{after: 6 * time.Second, item: 1},   // known
			arrival[int]{after: 4*time.Second - 1, item: 1}, // known for 1 ns more
			arrival[int]{after: 1, item: 1},                 // passed 10 s ago: new, whenever it was seen last
			arrival[int]{after: 10*time.Second - 1, item: 1},
			arrival[int]{after: 1, item: 1},
		)
		var at []time.Duration
		start := time.Now()
		for _, err := range batch.Dedup(in, identity[int], batch.DedupConfig{TTL: 10 * time.Second}) {
			if err != nil {
				t.Error(err)
			}
			at = append(at, time.Since(start))
		}
		if d := cmp.Diff([]time.Duration{0, 10 * time.Second, 20 * time.Second}, at); d != "" {
			t.Errorf("passed at: -want +got\n%s", d)
		}
	})
}

// Errors pass, and each loop remembers for itself.
func TestDedupErrorsAndReuse(t *testing.T) {
	in := seq.Concat(seq.Map(seq.Of(1, 1, 2, 2, 3), func(x int) (int, error) {
		if x == 2 {
			return 0, errors.New("no")
		}
		return x, nil
	}), seq.Fail[int](errFinal))
	out := batch.Dedup(in, identity[int], batch.DedupConfig{})
	for range 2 {
		var got []string
		for v, err := range out {
			got = append(got, fmt.Sprint(v, err))
		}
		if d := cmp.Diff([]string{"1 <nil>", "0 item 2: no", "0 item 2: no", "3 <nil>", "0 final error"}, got); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
	}
}

// A source that goes on after a final error is not listened to, whatever the consumer does.
func TestDedupEndsAtFinalError(t *testing.T) {
	source := func(yield func(int, error) bool) {
		_ = yield(1, nil) && yield(0, errItem) && yield(0, errFinal) && yield(2, nil)
	}
	var got []string
	for v, err := range batch.Dedup(source, identity[int], batch.DedupConfig{}) {
		got = append(got, fmt.Sprint(v, err))
	}
	want := []string{"1 <nil>", fmt.Sprint(0, errItem), fmt.Sprint(0, errFinal)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the stream differs (-want +got):\n%s", diff)
	}
}

// A million keys take at most 120 bytes each beyond the key, and no more once
// there have been two million.
func TestDedupMemory(t *testing.T) {
	const capacity = 1 << 18
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var full, after uint64
	before := heap()
	seen := 0
	for _, err := range batch.Dedup(numbers(2*capacity), identity[int], batch.DedupConfig{Capacity: capacity}) {
		if err != nil {
			t.Fatal(err)
		}
		switch seen++; seen {
		case capacity:
			full = heap() - before
		case 2 * capacity:
			after = heap() - before
		}
	}
	t.Logf("%d bytes a key of 8 bytes", full/capacity)
	if full/capacity > 120+8 {
		t.Errorf("%d bytes for %d keys of 8 bytes", full, capacity)
	}
	if after > full+full/100 {
		t.Errorf("%d bytes when full, %d after as many keys again", full, after)
	}
}

func TestUniq(t *testing.T) {
	in := []string{"b", "A", "a", "B", "c"}
	given := slices.Clone(in)
	got, err := batch.Uniq(func(s string) string { return string(s[0] | 0x20) })(in)
	if d := cmp.Diff([]string{"b", "A", "c"}, got); err != nil || d != "" {
		t.Errorf("error %v; -want +got\n%s", err, d)
	}
	got = append(got, "x")
	got[0] = "y"
	if !slices.Equal(in, given) {
		t.Errorf("the input became %v", in)
	}
	if got, err := batch.Uniq(identity[int])(nil); len(got) != 0 || err != nil {
		t.Errorf("of nil: %v, %v", got, err)
	}
}

// A NaN is not equal to itself: each passes.
func TestUniqOfNaN(t *testing.T) {
	got, _ := batch.Uniq(identity[float64])([]float64{math.NaN(), math.NaN(), 1, 1})
	if len(got) != 3 {
		t.Errorf("got %v, want two NaN and 1", got)
	}
}
