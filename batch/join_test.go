package batch_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/batch"
	"example.com/pipeline/seq"
	"github.com/google/go-cmp/cmp"
)

// tell describes what a Join yields: a group, a partial group or an error.
func tell(g batch.Group[int, int], err error) string {
	if part, ok := seq.FailedItem[batch.Group[int, int]](err); ok {
		if !errors.Is(err, batch.ErrIncomplete) || g.Items != nil {
			return fmt.Sprintf("item %v beside error %v", g, err)
		}
		return fmt.Sprintf("partial %d: %v of %v", part.Key, part.Items, part.From)
	}
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d: %v of %v", g.Key, g.Items, g.From)
}

// cutText is the error of a ctx that was cancelled while so many groups were pending.
func cutText(pending int) string {
	s := "s"
	if pending == 1 {
		s = ""
	}
	return fmt.Sprintf("batch: cut short with %d group%s pending: context canceled", pending, s)
}

// hundreds is the key of an item.
func hundreds(x int) int { return x / 100 }

// Groups come out as they get complete, in the order of the streams; duplicates
// wait for the next group of their key; what is left comes out at the end.
func TestJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := arrivals(arrival[int]{0, 101, nil}, arrival[int]{2 * ms, 102, nil}, arrival[int]{2 * ms, 201, nil}, arrival[int]{2 * ms, 301, nil})
		b := arrivals(arrival[int]{5 * ms, 211, nil}, arrival[int]{2 * ms, 111, nil}, arrival[int]{2 * ms, 311, nil}, arrival[int]{err: errItem})
		c := arrivals(arrival[int]{ms, 121, nil}, arrival[int]{20 * ms, 122, nil}, arrival[int]{ms, 221, nil})
		join := batch.Join(t.Context(), batch.JoinConfig{}, hundreds, a, b, c)
		for range 2 { // with no state between the loops
			var got []string
			start := time.Now()
			for g, err := range join {
				got = append(got, fmt.Sprint(time.Since(start), " ", tell(g, err)))
			}
			want := []string{
				"7ms 1: [101 111 121] of [0 1 2]",
				`9ms item "x": item error`,
				"22ms 2: [201 211 221] of [0 1 2]",
				"22ms partial 1: [102 122] of [0 2]",
				"22ms partial 3: [301 311] of [0 1]",
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		}
	})
}

// A stream that is ahead waits for one that is late, however late that is: every
// group is complete, and no more is held than MaxPending allows.
func TestJoinFarAhead(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ n, pending int }{{3, 2}, {3, 1}, {65_537, 0}, {150_000, 64}} {
		synctest.Test(t, func(t *testing.T) {
			given := [2]int{}
			ahead := seq.Tap(numbers(tc.n), func(int, error) { given[0]++ })
			late := seq.Tap(seq.Concat(func(func(int, error) bool) { time.Sleep(time.Hour) }, numbers(tc.n)), func(x int, _ error) {
				given[1]++
				if x%(tc.n/3) == 0 {
					time.Sleep(time.Minute)
				}
			})
			most := max(1, tc.pending/2)
			if tc.pending == 0 {
				most = 65_536 / 2
			}
			whole := 0
			for p, err := range batch.Join2(t.Context(), batch.JoinConfig{MaxPending: tc.pending}, ahead, late, identity[int], identity[int]) {
				if err != nil {
					t.Fatalf("%d items, MaxPending %d: %v", tc.n, tc.pending, err)
				}
				if p.Left != whole || p.Right != whole {
					t.Fatalf("pair %d is %v", whole, p)
				}
				whole++
				if whole%1000 == 0 {
					synctest.Wait()
					if ahead := given[0] - whole; ahead > most {
						t.Fatalf("the stream that is ahead has given %d more than have come out, want %d at most", ahead, most)
					}
				}
			}
			if whole != tc.n {
				t.Errorf("%d pairs of %d", whole, tc.n)
			}
		})
	}
}

// What a join keeps of 300,000 pairs does not grow with them.
func TestJoinMemory(t *testing.T) {
	var heap [2]uint64
	n := 0
	join := batch.Join2(t.Context(), batch.JoinConfig{MaxPending: 64}, numbers(300_001), numbers(300_001), identity[int], identity[int])
	for _, err := range join {
		if err != nil {
			t.Fatal(err)
		}
		if n == 1000 || n == 300_000 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			heap[min(1, n/10_000)] = m.HeapAlloc
		}
		n++
	}
	if heap[1] > heap[0]+100_000 {
		t.Errorf("%d bytes are in use after 1,000 pairs, %d after 300,000", heap[0], heap[1])
	}
}

// What goes before its time says why.
// What a short stream has given stays until a long one comes to it, however much the long
// one has that is in no other.
func TestJoinEndedStreamKeepsItsGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		few := func(yield func(int, error) bool) {
			_ = yield(1, nil) && yield(2, nil)
		}
		many := func(yield func(int, error) bool) {
			time.Sleep(time.Second)
			for i := range 1000 {
				if !yield(100+i, nil) {
					return
				}
			}
			_ = yield(2, nil) && yield(1, nil)
		}
		key := func(v int) int { return v }
		matches, incomplete := 0, 0
		for g, err := range batch.Join(t.Context(), batch.JoinConfig{MaxPending: 6}, key, few, many) {
			switch {
			case err == nil:
				matches++
			case errors.Is(err, batch.ErrIncomplete):
				if g, _ = seq.FailedItem[batch.Group[int, int]](err); g.Key < 100 {
					t.Errorf("incomplete: %v", err)
				}
				incomplete++
			default:
				t.Fatal(err)
			}
		}
		if matches != 2 || incomplete != 1000 {
			t.Errorf("got %d matches and %d incomplete groups, want 2 and 1000", matches, incomplete)
		}
	})
}

func TestJoinErrors(t *testing.T) {
	var got []string
	for _, err := range batch.Join(t.Context(), batch.JoinConfig{MaxPending: 2}, hundreds, seq.Of(100, 200, 300, 400), seq.Of(311)) {
		if err == nil {
			t.Error("a group is complete")
			continue
		}
		got = append(got, err.Error())
	}
	want := []string{
		// 100 and 311 are held, and both streams are held up.
		"item {1 [100] [0]}: batch: incomplete group: key 1 has items of 1 of 2 streams: " +
			"it was the oldest when every stream was held up by its part of MaxPending; a larger MaxPending holds more",
		// Now 200, and 311 is older than that; then its stream is at its end.
		"item {3 [311] [1]}: batch: incomplete group: key 3 has items of 1 of 2 streams: " +
			"it was the oldest when every stream was held up by its part of MaxPending; a larger MaxPending holds more",
		"item {2 [200] [0]}: batch: incomplete group: key 2 has items of 1 of 2 streams: a stream that has nothing for it has ended",
		"item {3 [300] [0]}: batch: incomplete group: key 3 has items of 1 of 2 streams: a stream that has nothing for it has ended",
		"item {4 [400] [0]}: batch: incomplete group: key 4 has items of 1 of 2 streams: a stream that has nothing for it has ended",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// The same streams make the same groups at any speed, complete and incomplete ones,
// also where keys are in different orders, come twice or are missing.
func TestJoinSpeedDoesNotMatter(t *testing.T) {
	t.Parallel()
	for seed := range seeds(t, 100) {
		r := rand.New(rand.NewPCG(seed, 13))
		cfg := batch.JoinConfig{MaxPending: 1 + r.IntN(12)}
		streams := make([][]int, 1+r.IntN(4))
		for i := range streams {
			for n := range r.IntN(60) {
				streams[i] = append(streams[i], 100*(n/2+r.IntN(6))+10*i)
			}
		}
		outcome := func() (out []string) {
			synctest.Test(t, func(t *testing.T) {
				ins := make([]ints, len(streams))
				for i, items := range streams {
					pace := time.Duration(r.IntN(3)) * time.Second // 0 is as fast as it can
					var list []arrival[int]
					for _, item := range items {
						list = append(list, arrival[int]{after: pace * time.Duration(r.IntN(4)), item: item})
					}
					ins[i] = arrivals(list...)
				}
				body := time.Duration(r.IntN(2)) * time.Second
				for g, err := range batch.Join(t.Context(), cfg, hundreds, ins...) {
					out = append(out, tell(g, err))
					time.Sleep(body)
				}
			})
			slices.Sort(out)
			return out
		}
		want := outcome()
		for range 4 {
			if got := outcome(); !slices.Equal(got, want) {
				t.Fatalf("seed %d, MaxPending %d, streams %v: at two speeds\n%s", seed, cfg.MaxPending, streams, cmp.Diff(want, got))
			}
		}
	}
}

// Many items of one key from one stream queue in order, and fast enough for any
// number of them.
func TestJoinDuplicates(t *testing.T) {
	const n = 50_000
	left := seq.Map(numbers(n), func(x int) (int, error) { return x, nil })
	right := seq.Map(numbers(n), func(x int) (int, error) { return n + x, nil })
	next := 0
	for g, err := range batch.Join(t.Context(), batch.JoinConfig{MaxPending: n}, func(int) string { return "k" }, left, right) {
		if err != nil {
			t.Fatal(err)
		}
		if g.Items[0] != next || g.Items[1] != n+next {
			t.Fatalf("group %d is %v", next, g)
		}
		next++
	}
	if next != n {
		t.Errorf("%d groups, want %d", next, n)
	}
}

func TestJoinTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := func() (ints, ints) {
			return arrivals(arrival[int]{0, 100, nil}, arrival[int]{3 * time.Second, 200, nil}, arrival[int]{time.Minute, 300, nil}),
				arrivals(arrival[int]{9 * time.Second, 301, nil})
		}
		for _, tc := range []struct {
			sweep time.Duration
			body  time.Duration
			want  string
		}{
			{0, 0, "10s partial 1: [100] of [0], 13s partial 2: [200] of [0], 19s partial 3: [301] of [1], 1m3s partial 3: [300] of [0]"},
			{4 * time.Second, 0, "10s partial 1: [100] of [0], 14s partial 2: [200] of [0], 19s partial 3: [301] of [1], 1m3s partial 3: [300] of [0]"},
			{0, 7 * time.Second, "10s partial 1: [100] of [0], 17s partial 2: [200] of [0], 24s partial 3: [301] of [1], 1m3s partial 3: [300] of [0]"},
		} {
			a, b := in()
			var got []string
			start := time.Now()
			for g, err := range batch.Join(t.Context(), batch.JoinConfig{TTL: 10 * time.Second, Sweep: tc.sweep}, hundreds, a, b) {
				got = append(got, fmt.Sprint(time.Since(start), " ", tell(g, err)))
				time.Sleep(tc.body)
			}
			if d := cmp.Diff(strings.Split(tc.want, ", "), got); d != "" {
				t.Errorf("sweep %v, body %v: -want +got\n%s", tc.sweep, tc.body, d)
			}
		}
	})
}

// Items that are always ready do not keep old groups from coming out.
func TestJoinTTLUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := seq.Concat(seq.Of(100), seq.Map(numbers(1000), func(x int) (int, error) { return 100 * (x + 2), nil }))
		b := seq.Map(numbers(1000), func(x int) (int, error) { return 100 * (x + 2), nil })
		var partial []string
		whole := 0
		start := time.Now()
		for g, err := range batch.Join(t.Context(), batch.JoinConfig{TTL: 99500 * ms, MaxPending: 32}, hundreds, a, b) {
			if err != nil {
				partial = append(partial, fmt.Sprint(time.Since(start), " ", tell(g, err)))
			} else {
				whole++
			}
			time.Sleep(time.Second)
		}
		if want := "[1m40s partial 1: [100] of [0]]"; whole != 1000 || fmt.Sprint(partial) != want {
			t.Errorf("%d groups and %v, want 1000 and %s", whole, partial, want)
		}
	})
}

// A final error of one stream ends the join; what is pending comes first.
func TestJoinFinalError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := arrivals(arrival[int]{0, 100, nil}, arrival[int]{2 * ms, 0, errFinal})
		b := arrivals(arrival[int]{ms, 200, nil}, arrival[int]{time.Hour, 100, nil})
		var got []string
		for g, err := range batch.Join(t.Context(), batch.JoinConfig{}, hundreds, a, b) {
			got = append(got, tell(g, err))
		}
		if d := cmp.Diff([]string{"partial 1: [100] of [0]", "partial 2: [200] of [1]", "final error"}, got); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
	})
}

// The error of ctx comes at once, is final whatever its cause is, and says what
// was dropped.
func TestJoinCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := &seq.ItemError{Item: 1, Err: errors.New("enough")}
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		time.AfterFunc(time.Second, func() { cancel(cause) })
		a := arrivals(arrival[int]{0, 100, nil}, arrival[int]{0, 200, nil}, arrival[int]{time.Hour, 300, nil})
		b := arrivals(arrival[int]{time.Hour, 100, nil})
		outputs := 0
		start := time.Now()
		for _, err := range batch.Join(ctx, batch.JoinConfig{TTL: time.Minute}, hundreds, a, b) {
			outputs++
			var item *seq.ItemError
			if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) || seq.IsItemError(err) || errors.As(err, &item) ||
				!strings.Contains(err.Error(), "2 groups") || time.Since(start) != time.Second {
				t.Errorf("got %v after %v", err, time.Since(start))
			}
		}
		if outputs != 1 {
			t.Errorf("%d outputs, want 1", outputs)
		}
	})
}

// The end of ctx while partial groups come out leaves the rest to the error.
func TestJoinCutInBody(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	for g, err := range batch.Join(ctx, batch.JoinConfig{}, hundreds, seq.Of(100, 200, 300), seq.Of[int]()) {
		got = append(got, tell(g, err))
		cancel()
	}
	if d := cmp.Diff([]string{"partial 1: [100] of [0]", "batch: cut short with 2 groups pending: context canceled"}, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestJoin2(t *testing.T) {
	type user struct{ id, name string }
	left := seq.Of(user{"a", "Ann"}, user{"b", "Bob"}, user{"a", "Al"})
	right := seq.Of(7, 1, 1)
	ids := map[int]string{1: "a", 7: "g"}
	var got []string
	for p, err := range batch.Join2(t.Context(), batch.JoinConfig{}, left, right,
		func(u user) string { return u.id }, func(n int) string { return ids[n] }) {
		if part, ok := seq.FailedItem[batch.Group[string, any]](err); ok {
			if !errors.Is(err, batch.ErrIncomplete) {
				t.Error(err)
			}
			got = append(got, fmt.Sprint(part.Key, part.Items, part.From))
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(p.Key, p.Left, p.Right))
	}
	slices.Sort(got)
	if d := cmp.Diff([]string{"a{a Al} 1", "a{a Ann} 1", "b[{b Bob}] [0]", "g[7] [1]"}, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}
