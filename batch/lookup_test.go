package batch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/batch"
	"example.com/pipeline/seq"
	"github.com/google/go-cmp/cmp"
)

// names is a fetch that remembers what it was asked for.
type names struct{ calls [][]int }

func (n *names) fetch(_ context.Context, keys []int) (map[int]string, error) {
	n.calls = append(n.calls, slices.Clone(keys))
	found := map[int]string{99: "unasked"}
	for _, k := range keys {
		if k != 4 {
			found[k] = fmt.Sprint("n", k)
		}
	}
	slices.Sort(keys)
	return found, nil
}

func label(x int, name string) (string, error) { return fmt.Sprint(x, "=", name), nil }

// mod10 is the key of an item.
func mod10(x int) int { return x % 10 }

func TestLookup(t *testing.T) {
	var n names
	in := seq.Concat(seq.Map(seq.Of(3, 1, 13, -1, 4, 5, -2, 5), func(x int) (int, error) {
		if x < 0 {
			return 0, fmt.Errorf("bad %d", x)
		}
		return x, nil
	}), seq.Fail[int](errFinal))
	got := describe(batch.Lookup(t.Context(), in, 4, time.Hour, mod10, n.fetch, label))
	want := "[3=n3 1=n1 13=n3 item -1: bad -1 item 4: batch: not found: key 4 5=n5 item -2: bad -2 5=n5 final error]"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if d := cmp.Diff([][]int{{3, 1}, {4, 5}}, n.calls); d != "" {
		t.Errorf("fetched: -want +got\n%s", d)
	}
}

// What goes wrong for an item is an ItemError of it.
func TestLookupFailures(t *testing.T) {
	errFetch, errMerge := errors.New("down"), errors.New("cannot merge")
	calls := 0
	fetch := func(_ context.Context, keys []int) (map[int]string, error) {
		switch calls++; calls {
		case 1:
			return map[int]string{1: "x"}, errFetch
		case 2:
			return nil, fmt.Errorf("wrapped: %w", seq.ErrSkip)
		case 3:
			return nil, nil
		}
		return map[int]string{7: "seven", 8: "eight", 9: "nine"}, nil
	}
	merge := func(x int, name string) (string, error) {
		switch x {
		case 7:
			return "unused", errMerge
		case 8:
			return "unused", seq.ErrSkip
		}
		return name, nil
	}
	type result struct {
		item int
		err  error
	}
	var got []result
	for v, err := range batch.Lookup(t.Context(), seq.Of(1, 2, 3, 4, 5, 6, 7, 8, 9), 2, time.Hour, identity[int], fetch, merge) {
		if err == nil {
			if v != "nine" {
				t.Errorf("got %q", v)
			}
			continue
		}
		item, ok := seq.FailedItem[int](err)
		if !ok || v != "" {
			t.Errorf("item %q, error %v: want an ItemError alone", v, err)
		}
		got = append(got, result{item, errors.Unwrap(err)})
	}
	if len(got) != 5 {
		t.Fatalf("got %v", got)
	}
	for i, want := range []result{{1, errFetch}, {2, errFetch}, {5, batch.ErrNotFound}, {6, batch.ErrNotFound}, {7, errMerge}} {
		if got[i].item != want.item || !errors.Is(got[i].err, want.err) {
			t.Errorf("error %d is %v, want %v", i, got[i], want)
		}
	}
}

// An item error with nothing before it does not wait, one behind items waits with
// them; a batch of errors alone is no reason to fetch.
func TestLookupIsPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n names
		in := arrivals(
			arrival[int]{err: errItem},
			arrival[int]{after: ms, item: 1},
			arrival[int]{after: ms, err: errItem},
			arrival[int]{after: ms, item: 2},
			arrival[int]{after: 20 * ms, err: errItem},
			arrival[int]{after: ms, err: errItem},
		)
		var got []string
		start := time.Now()
		for v, err := range batch.Lookup(t.Context(), in, 10, 10*ms, identity[int], n.fetch, label) {
			if err != nil {
				v = "error"
			}
			got = append(got, fmt.Sprint(time.Since(start), " ", v))
		}
		want := []string{"0s error", "11ms 1=n1", "11ms error", "11ms 2=n2", "23ms error", "24ms error"}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
		if len(n.calls) != 1 {
			t.Errorf("fetched %v", n.calls)
		}
	})
}

// The error of ctx comes at once, even while a fetch that does not look at ctx
// runs; the loop then waits for it. A loop that is left ends the fetch's ctx.
func TestLookupCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		time.AfterFunc(time.Second, func() { cancel(cause) })
		start := time.Now()
		fetched := false
		fetch := func(context.Context, []int) (map[int]string, error) {
			time.Sleep(time.Minute)
			fetched = true
			return nil, nil
		}
		outputs := 0
		for _, err := range batch.Lookup(ctx, seq.Of(1, 2, 3), 2, time.Hour, identity[int], fetch, label) {
			outputs++
			if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) || time.Since(start) != time.Second {
				t.Errorf("got %v after %v, want the error of ctx after 1 s", err, time.Since(start))
			}
		}
		if outputs != 1 || !fetched || time.Since(start) != time.Minute {
			t.Errorf("%d outputs, the fetch had ended: %v, the loop ended after %v", outputs, fetched, time.Since(start))
		}
	})
}

// The end of ctx in the body drops what is held.
func TestLookupCutInBody(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var n names
	var got []string
	for v, err := range batch.Lookup(ctx, seq.Of(1, 2, 3), 3, time.Hour, identity[int], n.fetch, label) {
		got = append(got, fmt.Sprint(v, err))
		cancel()
	}
	if d := cmp.Diff([]string{"1=n1<nil>", "context canceled"}, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}
