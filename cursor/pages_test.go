package cursor_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

// A book is a paginated source: the numbers 1 to n. It notes what it is asked.
type book struct {
	n     int
	asked []string // "after:limit"
	open  int      // fetches under way
	slow  time.Duration
}

func (b *book) fetch(ctx context.Context, after *int, limit int) ([]int, error) {
	b.open++
	defer func() { b.open-- }()
	from := 0
	if after != nil {
		from = *after
	}
	b.asked = append(b.asked, fmt.Sprintf("%d:%d", from, limit))
	if b.slow > 0 {
		select {
		case <-time.After(b.slow):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	var items []int
	for i := from + 1; i <= b.n && len(items) < limit; i++ {
		items = append(items, i)
	}
	return items, nil
}

func (b *book) pages(ctx context.Context, after *int, cfg cursor.PageConfig) iter.Seq2[int, error] {
	return cursor.Pages(ctx, after, b.fetch, self, cfg)
}

func upTo(first, last int) []int {
	var all []int
	for i := first; i <= last; i++ {
		all = append(all, i)
	}
	return all
}

func TestPagesReadsAll(t *testing.T) {
	for _, test := range []struct {
		n, after int
		cfg      cursor.PageConfig
		asked    string
	}{
		{7, 0, cursor.PageConfig{Size: 3}, "0:3 3:3 6:3"},
		{6, 0, cursor.PageConfig{Size: 3}, "0:3 3:3 6:3"}, // a full page may have another behind it
		{0, 0, cursor.PageConfig{Size: 3}, "0:3"},
		{7, 5, cursor.PageConfig{Size: 3}, "5:3"},
		{1200, 0, cursor.PageConfig{}, "0:1000 1000:1000"},
		{7, 0, cursor.PageConfig{Size: 3, Prefetch: 0.5}, "0:3 3:3 6:3"},
		{3, 0, cursor.PageConfig{Size: 1, Prefetch: 1}, "0:1 1:1 2:1 3:1"},
		{3, 0, cursor.PageConfig{Size: 9, Max: 2}, "0:2 2:2"},
		{3, 0, cursor.PageConfig{Size: 1, Min: 2}, "0:2 2:2"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &book{n: test.n}
			after := &test.after
			if test.after == 0 {
				after = nil
			}
			stream := b.pages(t.Context(), after, test.cfg)
			if len(b.asked) > 0 {
				t.Fatal("a page was fetched before the loop")
			}
			for range 2 { // the second loop reads the same
				b.asked = nil
				got, err := seq.Collect(stream)
				if err != nil || !slices.Equal(got, upTo(test.after+1, test.n)) {
					t.Errorf("%+v: got %v, %v", test, got, err)
				}
				if asked := strings.Join(b.asked, " "); asked != test.asked {
					t.Errorf("%+v: asked for %s", test, asked)
				}
			}
		})
	}
}

// TestPagesPrefetch shows when the next page is fetched: at the part consumed, one
// page at most, and while the consumer works.
func TestPagesPrefetch(t *testing.T) {
	for _, test := range []struct {
		part float64
		at   int // items consumed when the second page is asked for
	}{{0, 10}, {0.5, 5}, {1, 10}, {0.01, 1}, {0.99, 9}} {
		synctest.Test(t, func(t *testing.T) {
			b := &book{n: 100}
			consumed := 0
			for i, err := range b.pages(t.Context(), nil, cursor.PageConfig{Size: 10, Prefetch: test.part}) {
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // what has been started gets as far as it can
				if pages := len(b.asked) - consumed/10; consumed%10 < test.at && pages != 1 || consumed%10 >= test.at && pages != 2 {
					t.Fatalf("part %v: %d consumed, item %d in hand: asked for %v", test.part, consumed, i, b.asked)
				}
				if consumed++; consumed == 30 {
					break
				}
			}
			if b.open != 0 {
				t.Error("a fetch outlived the loop")
			}
		})
	}
}

// TestPagesLeave leaves the loop in every way while a page is fetched that does not
// end before its context does.
func TestPagesLeave(t *testing.T) {
	const first = 4
	for _, test := range []struct {
		name  string
		leave func()
		want  any
	}{
		{"panic", func() { panic("body") }, "body"},
		{"Goexit", runtime.Goexit, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan any, 1)
				var open bool
				go func() {
					defer func() { ended <- recover() }()
					stream := cursor.Pages(t.Context(), nil, func(ctx context.Context, after *int, limit int) ([]int, error) {
						if after == nil {
							return upTo(1, first), nil
						}
						open = true
						<-ctx.Done()
						time.Sleep(time.Second) // it takes its time to clean up
						open = false
						panic("fetch")
					}, self, cursor.PageConfig{Size: first, Prefetch: 0.25})
					for i := range stream {
						synctest.Wait()
						if i == 3 {
							test.leave()
						}
					}
				}()
				if got := <-ended; got != test.want {
					t.Errorf("got %v, want %v", got, test.want)
				}
				if open {
					t.Error("the fetch outlived the loop")
				}
			})
		})
	}
	t.Run("break", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				p, ok := recover().(*seq.PanicError)
				if !ok || p.Value != "fetch" {
					t.Errorf("got %v, want the panic of fetch", p)
				}
			}()
			for i := range cursor.Pages(t.Context(), nil, func(ctx context.Context, after *int, limit int) ([]int, error) {
				if after == nil {
					return upTo(1, first), nil
				}
				<-ctx.Done()
				panic("fetch")
			}, self, cursor.PageConfig{Size: first, Prefetch: 0.25}) {
				synctest.Wait() // the fetch has begun
				if i == 3 {
					break
				}
			}
		})
	})
}

// TestPagesErrorInPosition shows that what goes wrong ahead waits for its turn.
func TestPagesErrorInPosition(t *testing.T) {
	boom := errors.New("boom")
	for _, test := range []struct {
		name string
		fail error
	}{
		{"plain", boom},
		{"item error", &seq.ItemError{Item: 3, Err: boom}},
		{"skip", errors.Join(seq.ErrSkip, boom)},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []int
				var last error
				for i, err := range cursor.Pages(t.Context(), nil, func(_ context.Context, after *int, _ int) ([]int, error) {
					if after != nil {
						return nil, test.fail
					}
					return upTo(1, 4), nil
				}, self, cursor.PageConfig{Size: 4, Prefetch: 0.5}) {
					if last != nil {
						t.Fatal("a pair after the final error")
					}
					if err != nil {
						last = err
						continue
					}
					got = append(got, i)
				}
				if !slices.Equal(got, upTo(1, 4)) || !errors.Is(last, boom) || seq.IsItemError(last) {
					t.Errorf("got %v, then %v", got, last)
				}
			})
		})
	}
}

func TestPagesPanicInPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []int
		defer func() {
			p, ok := recover().(*seq.PanicError)
			if !ok || p.Value != "fetch" || len(got) != 4 {
				t.Errorf("got %v after %v", p, got)
			}
		}()
		for i := range cursor.Pages(t.Context(), nil, func(_ context.Context, after *int, _ int) ([]int, error) {
			if after != nil {
				panic("fetch")
			}
			return upTo(1, 4), nil
		}, self, cursor.PageConfig{Size: 4, Prefetch: 0.25}) {
			got = append(got, i)
		}
	})
}

// TestPagesGoexit shows that Goexit in fetch ends the loop's goroutine.
func TestPagesGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		returned := false
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range cursor.Pages(t.Context(), nil, func(context.Context, *int, int) ([]int, error) {
				runtime.Goexit()
				return nil, nil
			}, self, cursor.PageConfig{}) {
			}
			returned = true
		}()
		<-done
		if returned {
			t.Error("the loop went on")
		}
	})
}

func TestPagesContext(t *testing.T) {
	cause := errors.New("cause")
	check := func(t *testing.T, err error) {
		t.Helper()
		if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
			t.Errorf("got %v", err)
		}
	}
	t.Run("before", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(cause)
			b := &book{n: 5}
			_, err := seq.Collect(b.pages(ctx, nil, cursor.PageConfig{}))
			check(t, err)
			if len(b.asked) > 0 {
				t.Error("a page was fetched")
			}
		})
	})
	t.Run("between items", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			got := 0
			for i, err := range (&book{n: 5}).pages(ctx, nil, cursor.PageConfig{}) {
				if err != nil {
					check(t, err)
					continue
				}
				if got = i; i == 3 {
					cancel(cause)
				}
			}
			if got != 3 {
				t.Errorf("the last item was %d", got)
			}
		})
	})
	t.Run("while fetch does not look at it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			release := make(chan struct{})
			began := time.Now()
			time.AfterFunc(time.Second, func() { cancel(cause) })
			time.AfterFunc(time.Hour, func() { close(release) })
			for _, err := range cursor.Pages(ctx, nil, func(context.Context, *int, int) ([]int, error) {
				<-release
				return nil, nil
			}, self, cursor.PageConfig{}) {
				check(t, err)
				if took := time.Since(began); took != time.Second {
					t.Errorf("the error came after %v", took)
				}
			}
			if took := time.Since(began); took != time.Hour {
				t.Errorf("the loop ended after %v, before its fetch", took)
			}
		})
	})
	t.Run("in Follow", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(150*time.Second, func() { cancel(cause) })
			got, err := seq.Collect((&book{n: 5}).pages(ctx, nil, cursor.PageConfig{Follow: time.Minute}))
			check(t, err)
			if len(got) != 5 {
				t.Errorf("got %v", got)
			}
		})
	})
}
