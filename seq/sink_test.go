package seq_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"example.com/pipeline/seq"
)

var (
	errFinal = errors.New("final")
	errItem  = &seq.ItemError{Item: 9, Err: errors.New("bad item")}
)

// TestSinksStopAtFirstError runs each sink over two items, an error of either kind
// and more, and over two items alone.
func TestSinksStopAtFirstError(t *testing.T) {
	for _, stop := range []error{errFinal, errItem, nil} {
		source := script{{1, nil}, {2, nil}}
		pulls := 2
		if stop != nil {
			source = append(source, pair{99, stop}, pair{3, nil})
			pulls = 3
		}
		pulled := 0
		s := source.stream(&pulled, false)
		check := func(name, got, want string, err error) {
			if got != want || err != stop || pulled != pulls {
				t.Errorf("%s at %v: got %v, %v after %d pulls; want %v", name, stop, got, err, pulled, want)
			}
			pulled = 0
		}
		items, err := seq.Collect(s)
		check("Collect", fmt.Sprint(items), "[1 2]", err)
		n, err := seq.Count(s)
		check("Count", fmt.Sprint(n), "2", err)
		check("Drain", "", "", seq.Drain(s))
		sum, err := seq.Reduce(s, 10, func(a, v int) (int, error) { return a + v, nil })
		check("Reduce", fmt.Sprint(sum), "13", err)
		var seen []int
		err = seq.ForEach(s, func(v int) error { seen = append(seen, v); return nil })
		check("ForEach", fmt.Sprint(seen), "[1 2]", err)
	}
}

func TestSinksCallbackErrors(t *testing.T) {
	callback := func(v int) error {
		switch v {
		case 2:
			return fmt.Errorf("not this one: %w", seq.ErrSkip)
		case 4:
			return errCallback
		}
		return nil
	}
	check := func(name string, err error, pulled int) {
		if item, ok := seq.FailedItem[int](err); !ok || item != 4 || !errors.Is(err, errCallback) || pulled != 4 {
			t.Errorf("%s: got %v after %d pulls", name, err, pulled)
		}
	}
	source := script{{1, nil}, {2, nil}, {3, nil}, {4, nil}, {5, nil}}
	pulled := 0
	err := seq.ForEach(source.stream(&pulled, false), callback)
	check("ForEach", err, pulled)
	pulled = 0
	sum, err := seq.Reduce(source.stream(&pulled, false), 0, func(a, v int) (int, error) {
		if err := callback(v); err != nil {
			return 1000, err // must not count
		}
		return a + v, nil
	})
	check("Reduce", err, pulled)
	if sum != 4 {
		t.Errorf("Reduce: got %d, want the sum of 1 and 3", sum)
	}
}

func TestCollectAll(t *testing.T) {
	other := fmt.Errorf("wrapped: %w", &seq.ItemError{Item: 8, Err: errCallback})
	for _, c := range []struct {
		source script
		items  []int
		errs   []error
	}{
		{script{}, nil, nil},
		{script{{1, nil}, {2, nil}}, []int{1, 2}, nil},
		{script{{9, errItem}, {1, nil}, {9, other}, {2, nil}}, []int{1, 2}, []error{errItem, other}},
		{script{{9, errItem}, {1, nil}, {9, errFinal}, {2, nil}}, []int{1}, []error{errItem, errFinal}},
	} {
		items, err := seq.CollectAll(func(yield func(int, error) bool) {
			for _, p := range c.source { // goes on after a final error, if it is let
				if !yield(p.v, p.err) {
					return
				}
			}
		})
		var errs []error
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			errs = joined.Unwrap()
		}
		if !slices.Equal(items, c.items) || !slices.Equal(errs, c.errs) || (err == nil) != (c.errs == nil) {
			t.Errorf("%v: got %v, %v", c.source, items, err)
		}
	}
}

func TestFirst(t *testing.T) {
	for _, c := range []struct {
		source script
		want   string
	}{
		{script{}, "0 false <nil> 0"},
		{script{{7, nil}, {8, nil}}, "7 true <nil> 1"},
		{script{{7, nil}, {8, errFinal}}, "7 true <nil> 1"},
		{script{{7, errFinal}, {8, nil}}, "0 false final 1"},
		{script{{7, errItem}, {8, nil}}, "0 false item 9: bad item 1"},
	} {
		pulled := 0
		v, ok, err := seq.First(c.source.stream(&pulled, false))
		if got := fmt.Sprint(v, ok, err, pulled); got != c.want {
			t.Errorf("%v: got %s, want %s", c.source, got, c.want)
		}
	}
}
