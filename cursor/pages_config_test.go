package cursor_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

func TestPagesFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{n: 5}
		began := time.Now()
		var at []time.Duration
		for i, err := range cursor.Pages(t.Context(), nil, func(ctx context.Context, after *int, limit int) ([]int, error) {
			if time.Since(began) > 150*time.Second {
				b.n = 8
			}
			return b.fetch(ctx, after, limit)
		}, self, cursor.PageConfig{Size: 2, Follow: time.Minute, Prefetch: 0.5}) {
			if err != nil {
				t.Fatal(err)
			}
			at = append(at, time.Since(began))
			if i == 8 {
				break
			}
		}
		if want := []time.Duration{0, 0, 0, 0, 0, 3 * time.Minute, 3 * time.Minute, 3 * time.Minute}; !slices.Equal(at, want) {
			t.Errorf("items came at %v", at)
		}
		// After a page that is not full there is a pause, after a full one there is none.
		if asked := strings.Join(b.asked, " "); asked != "0:2 2:2 4:2 5:2 5:2 5:2 7:2" {
			t.Errorf("asked for %s", asked)
		}
	})
}

func TestPagesRefusesPositions(t *testing.T) {
	for _, test := range []struct {
		name  string
		pages [][]int
		want  error
		got   []int
	}{
		{"the same page again", [][]int{{1, 2, 3}, {1, 2, 3}}, cursor.ErrStalled, []int{1, 2, 3}},
		{"the last item again", [][]int{{1, 2, 3}, {3}}, cursor.ErrStalled, []int{1, 2, 3}},
		{"a page that begins at its position", [][]int{{1, 2, 3}, {3, 4, 5}}, cursor.ErrDuplicateKey, []int{1, 2, 3}},
		{"two in a page", [][]int{{1, 2, 2}}, cursor.ErrDuplicateKey, []int{1}}, // neither: a position from one would skip the other
		{"two at the start", [][]int{{1, 1, 2}}, cursor.ErrDuplicateKey, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				got, err := seq.Collect(cursor.Pages(t.Context(), nil, func(context.Context, *int, int) ([]int, error) {
					calls++
					return test.pages[calls-1], nil
				}, self, cursor.PageConfig{Size: 3}))
				if !errors.Is(err, test.want) || !slices.Equal(got, test.got) {
					t.Errorf("got %v, %v; want %v, %v", got, err, test.got, test.want)
				}
			})
		})
	}
}

func TestPagesRetry(t *testing.T) {
	type mark struct{}
	synctest.Test(t, func(t *testing.T) {
		failures := 0
		var got []int
		for i, err := range cursor.Pages(t.Context(), nil, func(ctx context.Context, after *int, limit int) ([]int, error) {
			if ctx.Value(mark{}) == nil {
				t.Error("fetch did not get the policy's context")
			}
			if failures++; failures%3 != 0 {
				return nil, errors.New("flaky")
			}
			return (&book{n: 5}).fetch(ctx, after, limit)
		}, self, cursor.PageConfig{Size: 2, Prefetch: 0.5, Retry: func(ctx context.Context, op func(context.Context) error) error {
			for {
				if err := op(context.WithValue(ctx, mark{}, true)); err == nil {
					return nil
				}
				time.Sleep(time.Second)
			}
		}}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, i)
		}
		if !slices.Equal(got, upTo(1, 5)) || failures != 9 {
			t.Errorf("got %v after %d tries", got, failures)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		_, err := seq.Collect((&book{n: 1}).pages(t.Context(), nil, cursor.PageConfig{
			Retry: func(context.Context, func(context.Context) error) error { return nil }}))
		if err == nil {
			t.Error("a policy that called nothing passed for an empty page")
		}
	})
}

// TestPagesAdapts shows that the size follows the time of the fetch alone.
func TestPagesAdapts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		perItem := time.Millisecond
		for i, err := range cursor.Pages(t.Context(), nil, func(ctx context.Context, after *int, limit int) ([]int, error) {
			time.Sleep(time.Duration(limit) * perItem)
			return (&book{n: 2000}).fetch(ctx, after, limit)
		}, self, cursor.PageConfig{Size: 50, Min: 20, Max: 400, Target: 200 * time.Millisecond, OnPage: func(s cursor.PageStats) {
			sizes = append(sizes, s.Limit)
			if s.Took != time.Duration(s.Limit)*perItem {
				t.Errorf("%+v took something else", s)
			}
			switch len(sizes) {
			case 4: // the source slows down
				perItem = 50 * time.Millisecond
			case 9: // and is fast again
				perItem = 10 * time.Microsecond
			}
		}}) {
			if err != nil {
				t.Fatal(err)
			}
			if i%10 == 0 {
				time.Sleep(time.Minute) // a slow consumer changes nothing
			}
		}
		if want := []int{50, 100, 200, 200, 200, 100, 50, 25, 20, 20, 40, 80, 160, 320, 400, 400}; !slices.Equal(sizes, want) {
			t.Errorf("got %v", sizes)
		}
	})
}

func TestPagesMisuse(t *testing.T) {
	fetch := (&book{}).fetch
	for want, build := range map[string]func(){
		"cursor.Pages: fetch must not be nil":                     func() { cursor.Pages(t.Context(), nil, nil, self, cursor.PageConfig{}) },
		"cursor.Pages: position must not be nil":                  func() { cursor.Pages[int, int](t.Context(), nil, fetch, nil, cursor.PageConfig{}) },
		"cursor.Pages: Size must not be negative, got -1":         func() { cursor.Pages(t.Context(), nil, fetch, self, cursor.PageConfig{Size: -1}) },
		"cursor.Pages: Bytes must not be negative, got -1":        func() { cursor.Pages(t.Context(), nil, fetch, self, cursor.PageConfig{Bytes: -1}) },
		"cursor.Pages: Min must be at most Max, got 3 and 2":      func() { cursor.Pages(t.Context(), nil, fetch, self, cursor.PageConfig{Min: 3, Max: 2}) },
		"cursor.Pages: Prefetch must be between 0 and 1, got 1.5": func() { cursor.Pages(t.Context(), nil, fetch, self, cursor.PageConfig{Prefetch: 1.5}) },
		"cursor.Pages: Follow must not be negative, got -1s":      func() { cursor.Pages(t.Context(), nil, fetch, self, cursor.PageConfig{Follow: -time.Second}) },
		"cursor.Tokens: fetch must not be nil":                    func() { cursor.Tokens[int](t.Context(), nil, nil) },
	} {
		func() {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("got %v, want %s", got, want)
				}
			}()
			build()
		}()
	}
}

// TestTokens reads pages that are named by tokens, and goes on from every position.
func TestTokens(t *testing.T) {
	pages := map[string][]int{"": {1, 2, 3}, "b": {}, "c": {4}, "d": {5, 6}}
	next := map[string]string{"": "b", "b": "c", "c": "d"}
	fetch := func(_ context.Context, page string) ([]int, string, error) { return pages[page], next[page], nil }
	synctest.Test(t, func(t *testing.T) {
		all, err := seq.Collect(cursor.Tokens(t.Context(), nil, fetch))
		if err != nil || len(all) != 6 {
			t.Fatalf("got %v, %v", all, err)
		}
		for i, from := range all {
			rest, err := seq.Collect(cursor.Tokens(t.Context(), &from.At, fetch))
			if err != nil || !slices.Equal(rest, all[i+1:]) {
				t.Errorf("behind %+v: got %v, %v", from, rest, err)
			}
		}
		got, err := seq.Collect(cursor.Tokens(t.Context(), nil, func(_ context.Context, page string) ([]int, string, error) {
			return []int{1}, "same", nil
		}))
		if !errors.Is(err, cursor.ErrStalled) || len(got) != 2 {
			t.Errorf("got %v, %v", got, err)
		}
		boom := errors.New("boom")
		if _, err := seq.Collect(cursor.Tokens(t.Context(), nil, func(context.Context, string) ([]int, string, error) {
			return nil, "", boom
		})); err != boom {
			t.Errorf("got %v", err)
		}
	})
}
