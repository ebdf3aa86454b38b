package seq_test

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"

	"example.com/pipeline/seq"
)

// watched is a source of items that says how far it got and that it was left.
type watched struct {
	items   []int
	atEnd   error // yielded after the items
	onLeave any   // panicked with when the source is left
	pulled  int
	left    int
}

func (w *watched) stream() iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		defer func() {
			w.left++
			if w.onLeave != nil {
				panic(w.onLeave)
			}
		}()
		for _, v := range w.items {
			w.pulled++
			if !yield(v, nil) {
				return
			}
		}
		if w.atEnd != nil {
			yield(0, w.atEnd)
		}
	}
}

func TestConcatStartsOneAfterTheOther(t *testing.T) {
	for _, c := range []struct {
		atEnd error
		take  int
		want  string
	}{
		{nil, 2, "[1 2] <nil> 0"},
		{nil, 9, "[1 2 3] <nil> 1"},
		{errFinal, 9, "[1 2] final 0"},
	} {
		a, b := &watched{items: []int{1, 2}, atEnd: c.atEnd}, &watched{items: []int{3}}
		got, err := seq.Collect(seq.Take(seq.Concat(a.stream(), b.stream()), c.take))
		if got := fmt.Sprint(got, err, b.left); got != c.want {
			t.Errorf("got %v, want %v", got, c.want)
		}
	}
	if n, err := seq.Count(seq.Concat[int]()); n != 0 || err != nil {
		t.Errorf("nothing: got %d, %v", n, err)
	}
}

// TestStreamListsAreCopied: a caller may use its slice of streams for something else.
func TestStreamListsAreCopied(t *testing.T) {
	ins := []iter.Seq2[int, error]{seq.Of(1), seq.Of(2)}
	concat, merged := seq.Concat(ins...), seq.MergeSorted(cmp.Compare, ins...)
	clear(ins)
	for _, s := range []iter.Seq2[int, error]{concat, merged} {
		if got, err := seq.Collect(s); !slices.Equal(got, []int{1, 2}) || err != nil {
			t.Errorf("got %v, %v", got, err)
		}
	}
}

func TestMergeSortedIsStable(t *testing.T) {
	type card struct{ Key, Stream, Nth int }
	var ins []iter.Seq2[card, error]
	var want []card
	for i := range 7 {
		var cards []card
		for j := range 50 {
			cards = append(cards, card{j * (i + 1) / 10, i, j})
		}
		want = append(want, cards...)
		ins = append(ins, seq.Of(cards...))
	}
	byKey := func(a, b card) int { return cmp.Compare(a.Key, b.Key) }
	slices.SortStableFunc(want, byKey)
	got, err := seq.Collect(seq.MergeSorted(byKey, ins...))
	if err != nil {
		t.Error(err)
	}
	wantSame(t, "merged", got, want)
}

// TestMergeSortedHoldsOneAStream checks the pulls after each item.
func TestMergeSortedHoldsOneAStream(t *testing.T) {
	a, b := &watched{items: []int{1, 2, 5, 6}}, &watched{items: []int{3, 4, 7, 8}}
	yielded := map[bool]int{}
	for v, err := range seq.MergeSorted(cmp.Compare, a.stream(), b.stream()) {
		if err != nil {
			t.Fatal(err)
		}
		yielded[slices.Contains(a.items, v)]++
		if a.pulled > yielded[true]+1 || b.pulled > yielded[false]+1 {
			t.Errorf("at %d: pulled %d and %d, yielded %v", v, a.pulled, b.pulled, yielded)
		}
	}
	if a.pulled != 4 || b.pulled != 4 {
		t.Errorf("pulled %d and %d", a.pulled, b.pulled)
	}
}

// TestPulledStreamsAreLeft leaves MergeSorted and Zip in every way. No stream may be
// left running, and what was panicked with first arrives, whatever the streams'
// own clean-up panics with.
func TestPulledStreamsAreLeft(t *testing.T) {
	leave := map[string]struct {
		body   func()
		atEnd  error
		in     func() // called by the stage's callback
		want   any
		goexit bool
	}{
		"break":          {},
		"body panics":    {body: func() { panic("body") }, want: "body"},
		"body Goexit":    {body: runtime.Goexit, goexit: true},
		"callback panic": {in: func() { panic("callback") }, want: "callback"},
	}
	type build = func(a, b iter.Seq2[int, error], in func()) iter.Seq2[int, error]
	for stage, build := range map[string]build{
		"MergeSorted": func(a, b iter.Seq2[int, error], in func()) iter.Seq2[int, error] {
			return seq.MergeSorted(func(a, b int) int { in(); return cmp.Compare(a, b) }, a, b)
		},
		"Zip": func(a, b iter.Seq2[int, error], in func()) iter.Seq2[int, error] {
			return seq.Zip(a, b, func(a, b int) (int, error) { in(); return a + b, nil })
		},
	} {
		for way, c := range leave {
			for _, onLeave := range []any{nil, "clean-up"} {
				t.Run(fmt.Sprint(stage, "/", way, "/", onLeave), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { // finds coroutines that were left
						a, b := &watched{items: []int{1, 2}}, &watched{items: []int{1, 2}, onLeave: onLeave}
						in := c.in
						if in == nil {
							in = func() {}
						}
						var got any
						task := seq.Go(t.Context(), func() {
							got = panicOf(func() {
								for range build(a.stream(), b.stream(), in) {
									if c.body != nil {
										c.body()
									}
									break
								}
							})
						})
						ended := panicOf(task.Wait)
						want := c.want
						if want == nil && !c.goexit {
							want = onLeave // after a plain break it must not be lost
						}
						if got != want || ended != nil || a.left != 1 || b.left != 1 {
							t.Errorf("panicked with %v, want %v; left %d and %d times", got, want, a.left, b.left)
						}
					})
				})
			}
		}
	}
}

// TestMergeSortedFinalError: the streams that have not ended are left.
func TestMergeSortedFinalError(t *testing.T) {
	a, b := &watched{items: []int{1}, atEnd: errFinal}, &watched{items: []int{2, 3}}
	got, err := seq.Collect(seq.MergeSorted(cmp.Compare, a.stream(), b.stream()))
	if !slices.Equal(got, []int{1}) || err != errFinal || a.left != 1 || b.left != 1 {
		t.Errorf("got %v, %v; left %d and %d times", got, err, a.left, b.left)
	}
}

func TestMergeSortedSourcePanics(t *testing.T) {
	a := &watched{items: []int{2}}
	bad := func(yield func(int, error) bool) { yield(1, nil); panic("source") }
	var got []int
	value := panicOf(func() {
		for v := range seq.MergeSorted(cmp.Compare, a.stream(), bad) {
			got = append(got, v)
		}
	})
	if value != "source" || !slices.Equal(got, []int{1}) || a.left != 1 {
		t.Errorf("got %v, panic %v, left %d times", got, value, a.left)
	}
}

func TestZipLengths(t *testing.T) {
	for _, c := range []struct {
		a, b             []int
		want             []int
		pulledA, pulledB int
	}{
		{nil, nil, nil, 0, 0},
		{nil, []int{1}, nil, 0, 0},
		{[]int{1}, nil, nil, 1, 0},
		{[]int{1, 2, 3}, []int{10, 20}, []int{11, 22}, 3, 2},
		{[]int{1, 2}, []int{10, 20, 30}, []int{11, 22}, 2, 2},
	} {
		a, b := &watched{items: c.a}, &watched{items: c.b}
		add := func(a, b int) (int, error) { return a + b, nil }
		got, err := seq.Collect(seq.Zip(a.stream(), b.stream(), add))
		if !slices.Equal(got, c.want) || err != nil || a.pulled != c.pulledA || b.pulled != c.pulledB {
			t.Errorf("%v and %v: got %v, %v after %d and %d pulls", c.a, c.b, got, err, a.pulled, b.pulled)
		}
	}
}

func TestZipJoinErrorHoldsBoth(t *testing.T) {
	s := seq.Zip(seq.Of(1, 2), seq.Of("a", "b"), func(int, string) (bool, error) { return true, errCallback })
	n := 0
	for v, err := range s {
		n++
		both, ok := seq.FailedItem[seq.Pair[int, string]](err)
		if want := (seq.Pair[int, string]{A: n, B: []string{"a", "b"}[n-1]}); both != want || !ok || v || !errors.Is(err, errCallback) {
			t.Errorf("got %v, %v, %v", v, err, both)
		}
	}
	if n != 2 {
		t.Errorf("got %d errors", n)
	}
}

// TestNoStreams: what is made of no stream at all is empty.
func TestNoStreams(t *testing.T) {
	for name, in := range map[string]ints{
		"Of":          seq.Of[int](),
		"Concat":      seq.Concat[int](),
		"MergeSorted": seq.MergeSorted(cmp.Compare[int]),
		"Merge":       seq.Merge[int](t.Context()),
		"Zip":         seq.Zip(seq.Of[int](), seq.Of[int](), func(a, b int) (int, error) { return a + b, nil }),
	} {
		for range 2 {
			if n, err := seq.Count(in); n != 0 || err != nil {
				t.Errorf("%s: got %d items, %v", name, n, err)
			}
		}
	}
}

// TestNumbersOfAnySize: 0 and the largest number do what they say.
func TestNumbersOfAnySize(t *testing.T) {
	three := seq.Of(1, 2, 3)
	for name, c := range map[string]struct {
		in   ints
		want int
	}{
		"Take 0":            {seq.Take(three, 0), 0},
		"Take 1":            {seq.Take(three, 1), 1},
		"Take MaxInt":       {seq.Take(three, math.MaxInt), 3},
		"Skip 0":            {seq.Skip(three, 0), 3},
		"Skip 1":            {seq.Skip(three, 1), 2},
		"Skip MaxInt":       {seq.Skip(three, math.MaxInt), 0},
		"Skip all but one":  {seq.Skip(repeat(1_000_000, 1), 999_999), 1},
		"Take after MaxInt": {seq.Take(seq.Skip(three, math.MaxInt), math.MaxInt), 0},
	} {
		for range 2 {
			if n, err := seq.Count(c.in); n != c.want || err != nil {
				t.Errorf("%s: got %d items, %v, want %d", name, n, err, c.want)
			}
		}
	}
}
