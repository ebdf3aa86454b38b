package seq_test

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"runtime"
	"slices"
	"testing"

	"example.com/pipeline/seq"
)

// syncStages are the synchronous stages with arguments that let items through.
var syncStages = []struct {
	name  string
	stage seq.Stage[int, int]
}{
	{"Map", func(in iter.Seq2[int, error]) iter.Seq2[int, error] {
		return seq.Map(in, func(v int) (int, error) { return v, nil })
	}},
	{"Filter", func(in iter.Seq2[int, error]) iter.Seq2[int, error] {
		return seq.Filter(in, func(int) bool { return true })
	}},
	{"FlatMap", func(in iter.Seq2[int, error]) iter.Seq2[int, error] {
		one := func(yield func(int, error) bool) { yield(1, nil) }
		return seq.FlatMap(in, func(v int) iter.Seq2[int, error] { return one })
	}},
	{"Flatten", func(in iter.Seq2[int, error]) iter.Seq2[int, error] {
		return seq.Flatten(seq.Map(in, func(v int) ([]int, error) { return ones[:v], nil }))
	}},
	{"Take", func(in iter.Seq2[int, error]) iter.Seq2[int, error] { return seq.Take(in, math.MaxInt) }},
	{"Skip", func(in iter.Seq2[int, error]) iter.Seq2[int, error] { return seq.Skip(in, 0) }},
	{"TakeWhile", func(in iter.Seq2[int, error]) iter.Seq2[int, error] {
		return seq.TakeWhile(in, func(int) bool { return true })
	}},
	{"SkipWhile", func(in iter.Seq2[int, error]) iter.Seq2[int, error] {
		return seq.SkipWhile(in, func(int) bool { return false })
	}},
	{"Scan", func(in iter.Seq2[int, error]) iter.Seq2[int, error] {
		return seq.Scan(in, 0, func(_, v int) int { return v })
	}},
	{"Tap", func(in iter.Seq2[int, error]) iter.Seq2[int, error] {
		return seq.Tap(in, func(int, error) {})
	}},
	{"Catch", func(in iter.Seq2[int, error]) iter.Seq2[int, error] {
		return seq.Catch(in, func(err error) (int, error) { return 0, err })
	}},
	{"Concat", func(in iter.Seq2[int, error]) iter.Seq2[int, error] { return seq.Concat(seq.Of[int](), in) }},
	{"MergeSorted", func(in iter.Seq2[int, error]) iter.Seq2[int, error] {
		return seq.MergeSorted(compareOctets, seq.Of[int](), in)
	}},
	{"Zip", func(in iter.Seq2[int, error]) iter.Seq2[int, error] {
		return seq.Zip(in, repeat(math.MaxInt, 1), func(v, _ int) (int, error) { return v, nil })
	}},
	{"Zip second", func(in iter.Seq2[int, error]) iter.Seq2[int, error] {
		return seq.Zip(repeat(math.MaxInt, 1), in, func(_, v int) (int, error) { return v, nil })
	}},
	{"Pipe", func(in iter.Seq2[int, error]) iter.Seq2[int, error] { return seq.Pipe(in) }},
}

var ones = []int{1, 1, 1, 1}

// repeat yields v n times, without an allocation an item.
func repeat(n, v int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for range n {
			if !yield(v, nil) {
				return
			}
		}
	}
}

func eachSyncStage(t *testing.T, check func(t *testing.T, stage seq.Stage[int, int])) {
	for _, s := range syncStages {
		t.Run(s.name, func(t *testing.T) { check(t, s.stage) })
	}
}

// TestSyncNoAllocationPerItem compares 10 items with 1010: what a loop allocates
// must not depend on the number of items.
func TestSyncNoAllocationPerItem(t *testing.T) {
	eachSyncStage(t, func(t *testing.T, stage seq.Stage[int, int]) {
		run := func(n int) float64 {
			s := stage(repeat(n, 1))
			return testing.AllocsPerRun(20, func() {
				if got, err := seq.Count(s); got != n || err != nil {
					t.Fatalf("got %d items and %v, want %d", got, err, n)
				}
			})
		}
		if few, many := run(10), run(1010); many > few+1 {
			t.Errorf("%v allocations for 10 items, %v for 1010", few, many)
		}
	})
}

// TestSyncErrorsUntouched checks that both kinds of error arrive as the very same
// value, beside a zero item, and that a final one is the end.
func TestSyncErrorsUntouched(t *testing.T) {
	eachSyncStage(t, func(t *testing.T, stage seq.Stage[int, int]) {
		item := fmt.Errorf("while reading: %w", &seq.ItemError{Item: 7, Err: errCallback})
		final := errors.New("final")
		source := script{{1, nil}, {99, item}, {1, nil}, {99, final}}
		want := []pair{{1, nil}, {0, item}, {1, nil}, {0, final}}
		if stage(repeat(0, 0)) == nil {
			t.Fatal("no stream")
		}
		var got []pair
		for v, err := range stage(source.stream(nil, false)) {
			got = append(got, pair{v, err})
		}
		if got[1].v == 99 { // Pipe without stages is the source itself
			want[1].v, want[3].v = 99, 99
		}
		wantSame(t, "pairs", got, want)
	})
}

// TestSyncTwoLoopsAtOnce interleaves two loops over the same stream.
func TestSyncTwoLoopsAtOnce(t *testing.T) {
	eachSyncStage(t, func(t *testing.T, stage seq.Stage[int, int]) {
		s := stage(seq.Of(1, 1, 1))
		next1, stop1 := iter.Pull2(s)
		defer stop1()
		next2, stop2 := iter.Pull2(s)
		defer stop2()
		for i := range 4 {
			v1, err1, ok1 := next1()
			v2, err2, ok2 := next2()
			if ok1 != (i < 3) || ok2 != ok1 || v1 != v2 || err1 != nil || err2 != nil {
				t.Errorf("round %d: got %v %v %v and %v %v %v", i, v1, err1, ok1, v2, err2, ok2)
			}
		}
	})
}

// TestSyncPanics checks that a panic of the source and of the body pass as
// themselves, and that the source is left on the way.
func TestSyncPanics(t *testing.T) {
	eachSyncStage(t, func(t *testing.T, stage seq.Stage[int, int]) {
		closed := 0
		source := func(yield func(int, error) bool) {
			defer func() { closed++ }()
			if yield(1, nil) {
				panic("source")
			}
		}
		if got := panicOf(func() { seq.Drain(stage(source)) }); got != "source" {
			t.Errorf("source panics: got %v", got)
		}
		body := func() {
			for range stage(source) {
				panic(errCallback)
			}
		}
		if got := panicOf(body); got != errCallback {
			t.Errorf("body panics: got %v", got)
		}
		done := seq.Go(t.Context(), func() {
			for range stage(source) {
				runtime.Goexit()
			}
		})
		done.Wait()
		if closed != 3 {
			t.Errorf("the source was left %d times, want 3", closed)
		}
	})
}

// panicOf returns what f panics with, or nil.
func panicOf(f func()) (value any) {
	defer func() { value = recover() }()
	f()
	return nil
}

func TestTakePullsNoneForZero(t *testing.T) {
	source := func(yield func(int, error) bool) { t.Error("the source was started") }
	if n, err := seq.Count(seq.Take(source, 0)); n != 0 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}

// TestTakeOfIdleSource: a source that would block behind the n-th item is not asked.
func TestTakeOfIdleSource(t *testing.T) {
	source := func(yield func(int, error) bool) {
		if yield(1, nil) && yield(2, nil) {
			t.Error("a third item was pulled")
		}
	}
	if got, err := seq.Collect(seq.Take(source, 2)); !slices.Equal(got, []int{1, 2}) || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestMapItemErrorNamesItem(t *testing.T) {
	type record struct{ id int }
	s := seq.Map(seq.Of(record{7}), func(record) (string, error) { return "ignored", errCallback })
	for v, err := range s {
		item, ok := seq.FailedItem[record](err)
		if v != "" || !errors.Is(err, errCallback) || !ok || item.id != 7 {
			t.Errorf("got %q, %v", v, err)
		}
	}
}

func TestFlatMapNilStream(t *testing.T) {
	s := seq.FlatMap(seq.Of(1), func(int) iter.Seq2[int, error] { return nil })
	want := "seq.FlatMap: fn must not return a nil stream"
	if got := panicOf(func() { seq.Drain(s) }); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTapSeesFirst(t *testing.T) {
	final := errors.New("final")
	var log []string
	s := seq.Tap(script{{1, nil}, {99, final}}.stream(nil, false), func(v int, err error) {
		log = append(log, fmt.Sprint("tap ", v, err))
	})
	for v, err := range s {
		log = append(log, fmt.Sprint("loop ", v, err))
	}
	want := []string{"tap 1 <nil>", "loop 1 <nil>", "tap 0 final", "loop 0 final"}
	wantSame(t, "calls", log, want)
}

// TestCatchKeepsKind checks what becomes of handle's errors where they change kind.
func TestCatchKeepsKind(t *testing.T) {
	type a struct{ n int }
	other := &seq.ItemError{Item: "other", Err: errCallback}
	nested := &seq.ItemError{Item: a{1}, Err: &seq.ItemError{Item: 2, Err: errors.New("first try")}}
	catch := func(in, out error) error {
		s := seq.Catch(seq.Fail[int](in), func(error) (int, error) { return 0, out })
		_, err := seq.Collect(s)
		return err
	}

	err := catch(nested, errCallback)
	outer, ok1 := seq.FailedItem[a](err)
	inner, ok2 := seq.FailedItem[int](err)
	if !errors.Is(err, errCallback) || outer.n != 1 || inner != 2 || !ok1 || !ok2 {
		t.Errorf("retry failed: got %v", err)
	}
	for _, out := range []error{nested, fmt.Errorf("again: %w", nested), fmt.Errorf("again: %w", nested.Err)} {
		err := catch(nested, out)
		if outer, ok := seq.FailedItem[a](err); !ok || outer.n != 1 || len(itemErrors(err)) != 2 {
			t.Errorf("handle returned %v: got %v", out, err)
		}
	}
	if err := catch(nested, errors.Join(nested, errCallback)); !seq.IsItemError(err) || !errors.Is(err, errCallback) {
		t.Errorf("joined: got %v", err)
	}
	if err := catch(errors.New("final"), other); seq.IsItemError(err) || !errors.Is(err, other) {
		t.Errorf("final became %v", err)
	}
	if err := catch(errors.New("final"), errCallback); err != errCallback {
		t.Errorf("final became %v", err)
	}
}

// TestCatchEndsAfterFinal checks that whatever handle makes of a final error is the
// last of the stream, and that handle is not asked again.
func TestCatchEndsAfterFinal(t *testing.T) {
	for _, c := range []struct {
		v    int
		err  error
		want []pair
	}{
		{5, nil, []pair{{1, nil}, {5, nil}}},
		{5, fmt.Errorf("well: %w", seq.ErrSkip), []pair{{1, nil}}},
		{5, errCallback, []pair{{1, nil}, {0, errCallback}}},
	} {
		calls := 0
		source := script{{1, nil}, {0, errors.New("final")}, {2, nil}, {0, errors.New("more")}}
		s := seq.Catch(source.stream(nil, true), func(error) (int, error) { calls++; return c.v, c.err })
		var got []pair
		for v, err := range s {
			got = append(got, pair{v, err})
		}
		if calls != 1 {
			t.Errorf("handle returns %v, %v: %d calls", c.v, c.err, calls)
		}
		wantSame(t, fmt.Sprintf("handle returns %v, %v", c.v, c.err), got, c.want)
	}
}
