package batch_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"example.com/pipeline/batch"
	"example.com/pipeline/seq"
	"github.com/google/go-cmp/cmp"
)

// The largest duration and the largest number never end, and 1 ns ends at once. These
// tests stand outside of bubbles: the clock there begins in the year 2000, so that a
// sum that overflows would not be seen.
const (
	forever = time.Duration(math.MaxInt64)
	all     = math.MaxInt
)

// Batches are cut by nothing but their end where the limits are the largest there are.
func TestLargestLimits(t *testing.T) {
	ctx := t.Context()
	one := func(int) int { return 1 }
	heavy := func(int) int { return math.MaxInt }
	for name, tc := range map[string]struct {
		in   batches
		want string
	}{
		"Size":                {batch.Size(numbers(3), all), "[[0 1 2]]"},
		"Window":              {batch.Window(ctx, numbers(3), all, forever), "[[0 1 2]]"},
		"Window, almost":      {batch.Window(ctx, numbers(3), all-1, forever-1), "[[0 1 2]]"},
		"Debounce":            {batch.Debounce(ctx, numbers(3), all, forever), "[[0 1 2]]"},
		"Debounce, almost":    {batch.Debounce(ctx, numbers(3), all-1, forever-1), "[[0 1 2]]"},
		"Batches":             {batch.Batches(ctx, numbers(3), batch.Limits[int]{Items: all, Weigh: one, Weight: all, Wait: forever, Quiet: forever}), "[[0 1 2]]"},
		"Batches, Wait":       {batch.Batches(ctx, numbers(3), batch.Limits[int]{Wait: forever}), "[[0 1 2]]"},
		"Batches, Quiet":      {batch.Batches(ctx, numbers(3), batch.Limits[int]{Quiet: forever}), "[[0 1 2]]"},
		"Batches, MaxInt":     {batch.Batches(ctx, numbers(3), batch.Limits[int]{Weigh: heavy, Weight: all}), "[[0] [1] [2]]"},
		"Batches, over 1":     {batch.Batches(ctx, numbers(3), batch.Limits[int]{Weigh: heavy, Weight: 1}), "[[0] [1] [2]]"},
		"Batches, one by one": {batch.Batches(ctx, numbers(3), batch.Limits[int]{Items: 1, Wait: forever}), "[[0] [1] [2]]"},
		"Window, one by one":  {batch.Window(ctx, numbers(3), 1, 1), "[[0] [1] [2]]"},
	} {
		got, err := seq.Collect(tc.in)
		if d := cmp.Diff(tc.want, fmt.Sprint(got)); d != "" || err != nil {
			t.Errorf("%s: %v; -want +got\n%s", name, err, d)
		}
	}
}

// The shortest times hand over what there is, with the source idle.
func TestShortestTimes(t *testing.T) {
	for name, build := range map[string]func(ctx context.Context, in ints) batches{
		"Window":   func(ctx context.Context, in ints) batches { return batch.Window(ctx, in, all, 1) },
		"Debounce": func(ctx context.Context, in ints) batches { return batch.Debounce(ctx, in, all, 1) },
		"Batches, Wait": func(ctx context.Context, in ints) batches {
			return batch.Batches(ctx, in, batch.Limits[int]{Wait: 1, Quiet: forever})
		},
		"Batches, Quiet": func(ctx context.Context, in ints) batches {
			return batch.Batches(ctx, in, batch.Limits[int]{Wait: forever, Quiet: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for items, err := range build(ctx, endless(ctx, 1)) {
				if err == nil {
					cancel()
				}
				if err != nil && !errors.Is(err, context.Canceled) || err == nil && len(items) != 1 {
					t.Errorf("%v, %v", items, err)
				}
			}
		})
	}
}

// Groups wait for ever with the largest TTL, and as many as come with the largest
// MaxPending; with a TTL of 1 ns the lone one goes at once.
func TestExtremeJoins(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg   batch.JoinConfig
		whole int
	}{
		"zero":                {batch.JoinConfig{}, 100},
		"TTL":                 {batch.JoinConfig{TTL: forever}, 100},
		"TTL, almost":         {batch.JoinConfig{TTL: forever - 1, Sweep: 1}, 100},
		"Sweep":               {batch.JoinConfig{TTL: 1, Sweep: forever}, 100},
		"TTL and Sweep":       {batch.JoinConfig{TTL: forever, Sweep: forever}, 100},
		"Sweep alone":         {batch.JoinConfig{Sweep: forever}, 100},
		"MaxPending":          {batch.JoinConfig{MaxPending: all}, 100},
		"MaxPending 1":        {batch.JoinConfig{MaxPending: 1}, 100},
		"MaxPending and time": {batch.JoinConfig{TTL: forever, Sweep: 1, MaxPending: all}, 100},
	} {
		whole := 0
		for _, err := range batch.Join2(t.Context(), tc.cfg, numbers(100), numbers(100), identity[int], identity[int]) {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			whole++
		}
		if whole != tc.whole {
			t.Errorf("%s: %d pairs, want %d", name, whole, tc.whole)
		}
		pairs := seq.Map(numbers(200), func(x int) (int, error) { return x / 2, nil })
		gathered, err := seq.Count(batch.Gather(t.Context(), pairs, tc.cfg, identity[int], func(group []int) bool { return len(group) == 2 }))
		if gathered != 100 || err != nil {
			t.Errorf("%s: %d groups gathered, %v", name, gathered, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err := range batch.Gather(ctx, endless(ctx, 1), batch.JoinConfig{TTL: 1}, identity[int], three) {
		if !errors.Is(err, batch.ErrIncomplete) && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		cancel()
	}
}

// What is remembered for ever is never forgotten, and with 1 ns at once.
func TestExtremeMemories(t *testing.T) {
	once := []int{1, 2, 3}
	for _, tc := range []struct {
		cfg  batch.DedupConfig
		want []int
	}{
		{batch.DedupConfig{}, once},
		{batch.DedupConfig{TTL: forever}, once},
		{batch.DedupConfig{TTL: forever - 1, Capacity: all}, once},
		{batch.DedupConfig{Capacity: all}, once},
		{batch.DedupConfig{Capacity: 1}, []int{1, 2, 3, 1}},
	} {
		got, err := seq.Collect(batch.Dedup(seq.Of(1, 2, 2, 3, 3, 1), identity[int], tc.cfg))
		if d := cmp.Diff(tc.want, got); d != "" || err != nil {
			t.Errorf("%+v: %v; -want +got\n%s", tc.cfg, err, d)
		}
	}
	for _, tc := range []struct {
		cfg     batch.LoaderConfig
		fetches int64
	}{
		{batch.LoaderConfig{}, 2},
		{batch.LoaderConfig{MaxBatch: 1, Wait: forever, Capacity: all, TTL: forever}, 1},
		{batch.LoaderConfig{MaxBatch: 1, Wait: forever - 1, Capacity: 1, TTL: forever - 1}, 1},
		{batch.LoaderConfig{MaxBatch: all, Wait: 1, Capacity: 1}, 1},
		{batch.LoaderConfig{MaxBatch: all, Wait: 1}, 2},
	} {
		l := batch.NewLoader(t.Context(), echo, tc.cfg)
		for range 2 {
			if v, err := l.Load(t.Context(), 7); v != 7 || err != nil {
				t.Errorf("%+v: %d, %v", tc.cfg, v, err)
			}
		}
		if got := l.Stats().Fetches; got != tc.fetches {
			t.Errorf("%+v: %d fetches, want %d", tc.cfg, got, tc.fetches)
		}
	}
}
