package cursor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/cursor"
)

// A leased is a store whose jobs are held by a runner that was killed, until a time.
type leased struct {
	*cursor.MemStore
	holders []cursor.LockedError // one after another
	asked   []time.Time
}

func (s *leased) Acquire(ctx context.Context, job string) (cursor.Lease, error) {
	now := time.Now()
	s.asked = append(s.asked, now)
	for _, held := range s.holders {
		if now.Before(held.Until) {
			return nil, fmt.Errorf("acquire: %w", &held)
		}
	}
	return s.MemStore.Acquire(ctx, job)
}

// TestWaitForAnotherRunner waits for one that ends, in the same process and store.
func TestWaitForAnotherRunner(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) cursor.Store{
		"MemStore": func(*testing.T) cursor.Store { return cursor.NewMemStore() },
		"FileStore": func(t *testing.T) cursor.Store {
			s, err := cursor.NewFileStore(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, ctx := open(t), t.Context()
				first, err := cursor.Open[int](ctx, store, "job")
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				time.AfterFunc(5*time.Second, func() { first.Close() })
				var told []cursor.LockedError
				second, err := cursor.Open[int](ctx, store, "job", cursor.WaitFor(time.Minute, func(held *cursor.LockedError) {
					told = append(told, *held)
				}))
				if err != nil {
					t.Fatal(err)
				}
				defer second.Close()
				if took := time.Since(begin); took < 5*time.Second || took > 6*time.Second {
					t.Errorf("it took %v to have a job that was freed after 5s", took)
				}
				if len(told) != 1 || told[0].Job != "job" || told[0].Holder == "" || !told[0].Until.IsZero() {
					t.Errorf("told of %+v, want the holder once", told)
				}
			})
		})
	}
}

// TestWaitForTheEnd: the time that is given is kept to the moment, also where ctx ends first.
func TestWaitForTheEnd(t *testing.T) {
	for name, test := range map[string]struct {
		d, ctx, took time.Duration
		told         int
		want         error
	}{
		"not at all":      {0, time.Hour, 0, 0, cursor.ErrLocked},
		"a moment":        {time.Nanosecond, time.Hour, time.Nanosecond, 1, cursor.ErrLocked},
		"for a while":     {12345 * time.Microsecond, time.Hour, 12345 * time.Microsecond, 1, cursor.ErrLocked},
		"long":            {100 * time.Minute, 200 * time.Minute, 100 * time.Minute, 1, cursor.ErrLocked},
		"ctx ends first":  {1<<63 - 1, 3210 * time.Millisecond, 3210 * time.Millisecond, 1, context.DeadlineExceeded},
		"ctx ended long":  {time.Minute, -time.Second, 0, 0, context.DeadlineExceeded},
		"ctx and d agree": {time.Second, time.Second, time.Second, 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := cursor.NewMemStore()
				holder, err := cursor.Open[int](t.Context(), store, "job")
				if err != nil {
					t.Fatal(err)
				}
				defer holder.Close()
				begin, told := time.Now(), 0
				ctx, cancel := context.WithTimeout(t.Context(), test.ctx)
				defer cancel()
				c, err := cursor.Open[int](ctx, store, "job", cursor.WaitFor(test.d, func(*cursor.LockedError) { told++ }))
				if c != nil || err == nil || test.want != nil && !errors.Is(err, test.want) {
					t.Errorf("Open: %v, want %v", err, test.want)
				}
				if took := time.Since(begin); took != test.took || told != test.told {
					t.Errorf("it took %v and told %d times, want %v and %d", took, told, test.took, test.told)
				}
			})
		})
	}
}

// TestWaitForALease has the job as soon as the lease of a dead runner ends, without asking all
// the time; one that takes it over in between is told of, too.
func TestWaitForALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		s := &leased{MemStore: cursor.NewMemStore(), holders: []cursor.LockedError{
			{Job: "job", Holder: "one", Until: begin.Add(30 * time.Second)},
			{Job: "job", Holder: "another", Until: begin.Add(90_250 * time.Millisecond)},
		}}
		var told []string
		c, err := cursor.Open[int](t.Context(), s, "job", cursor.WaitFor(5*time.Minute, func(held *cursor.LockedError) {
			told = append(told, fmt.Sprint(held.Holder, " at ", time.Since(begin).Round(time.Second), " until ", held.Until.Sub(begin)))
			held.Holder = "changed by the callback" // its own copy
		}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if late := time.Since(begin) - 90_250*time.Millisecond; late < 0 || late > 20*time.Millisecond {
			t.Errorf("it had the job %v after the lease's end", late)
		}
		if want := []string{"one at 0s until 30s", "another at 30s until 1m30.25s"}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		if n := len(s.asked); n > 100 {
			t.Errorf("it asked %d times in 90 s", n)
		}
		for i := range s.asked[1:] {
			if between := s.asked[i+1].Sub(s.asked[i]); between < 10*time.Millisecond || between > time.Second {
				t.Errorf("it asked again after %v", between)
			}
		}
	})
}

// TestWaitForAnOutput: the job is free, and its output not yet: runs close the one after the other.
func TestWaitForAnOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "out")
		first := openFile(t, path, nil)
		time.AfterFunc(3*time.Second, func() { first.Close() })
		f, err := cursor.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var told []cursor.LockedError
		c, err := cursor.Open[int](t.Context(), cursor.NewMemStore(), "job", cursor.Attach("out", f),
			cursor.WaitFor(time.Minute, func(held *cursor.LockedError) { told = append(told, *held) }))
		if err != nil {
			t.Fatal(err)
		}
		if len(told) != 1 || told[0].Output != path || !strings.Contains(told[0].Error(), path) {
			t.Errorf("told of %+v", told)
		}
		io.WriteString(f, "text")
		if err := errors.Join(c.Commit(t.Context(), 1), c.Close()); err != nil {
			t.Error(err)
		}
	})
}

// TestWaitForNothingElse: no other error is waited out, and a panic of the callback leaves nothing behind.
func TestWaitForNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, begin := cursor.NewMemStore(), time.Now()
		c, err := cursor.Open[int](t.Context(), store, "job", cursor.WithFingerprint("a"), cursor.WaitFor(time.Hour, nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Commit(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if v := recover(); v != errBoom {
					t.Errorf("panic: %v", v)
				}
			}()
			cursor.Open[int](t.Context(), store, "job", cursor.WaitFor(time.Hour, func(*cursor.LockedError) { panic(errBoom) }))
		}()
		if _, err := cursor.Open[int](t.Context(), store, "job", cursor.WaitFor(time.Second, nil)); !errors.Is(err, cursor.ErrLocked) {
			t.Errorf("Open without a callback: %v", err)
		}
		c.Close()
		if _, err := cursor.Open[int](t.Context(), store, "job", cursor.WithFingerprint("b"), cursor.WaitFor(time.Hour, nil)); !errors.Is(err, cursor.ErrMismatch) {
			t.Errorf("Open of another query: %v", err)
		}
		if took := time.Since(begin); took != time.Second {
			t.Errorf("it took %v", took)
		}
	})
	mustPanic(t, "cursor.WaitFor: d must not be negative, got -1ns", func() { cursor.WaitFor(-1, nil) })
}
