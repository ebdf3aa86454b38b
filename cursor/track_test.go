package cursor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

// A recorder is a participant that remembers what was done with it. It is not safe
// for concurrent use, so the race detector sees whether Track keeps to its word.
type recorder struct {
	done, marked int // items
	calls        []string
	syncErr      error
	onSync       func(ctx context.Context)
}

func (r *recorder) Mark() { r.marked = r.done; r.calls = append(r.calls, "mark") }

func (r *recorder) Sync(ctx context.Context) (json.RawMessage, error) {
	r.calls = append(r.calls, "sync")
	if r.onSync != nil {
		r.onSync(ctx)
	}
	return json.RawMessage(fmt.Sprint(r.marked)), r.syncErr
}

func (r *recorder) Restore(_ context.Context, state json.RawMessage) error {
	r.done = 0
	if state != nil {
		if err := json.Unmarshal(state, &r.done); err != nil {
			return err
		}
	}
	r.marked = r.done
	return nil
}

// A spied is a store that writes down each record that is saved.
type spied struct {
	store *cursor.MemStore
	saves []cursor.Record
	at    []time.Time
	err   error // of the next saves
}

type spyLease struct {
	cursor.Lease
	spied *spied
}

func (s *spied) Acquire(ctx context.Context, job string) (cursor.Lease, error) {
	l, err := s.store.Acquire(ctx, job)
	return &spyLease{l, s}, err
}

func (l *spyLease) Save(ctx context.Context, r cursor.Record) error {
	if l.spied.err != nil {
		return l.spied.err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	l.spied.saves = append(l.spied.saves, r)
	l.spied.at = append(l.spied.at, time.Now())
	return l.Lease.Save(ctx, r)
}

// positions returns the positions that were saved, in order.
func (s *spied) positions() string {
	var all []string
	for _, r := range s.saves {
		all = append(all, string(r.Position))
	}
	return strings.Join(all, " ")
}

// tracked opens a job with a recorder in a store that writes down what it saves.
func tracked(t *testing.T) (*cursor.Checkpoint[int], *spied, *recorder) {
	t.Helper()
	s, r := &spied{store: cursor.NewMemStore()}, &recorder{}
	c, err := cursor.Open[int](context.Background(), s, "job", cursor.Attach("recorder", r))
	if err != nil {
		t.Fatal(err)
	}
	return c, s, r
}

var errBoom = errors.New("boom")

// TestTrackCommits checks after which items Track commits, and what belongs to a
// commit: the items before the one in hand, and their work alone.
func TestTrackCommits(t *testing.T) {
	for name, test := range map[string]struct {
		every cursor.Every
		in    iter.Seq2[int, error]
		body  func(i int, err error) bool // whether to go on
		saved string
	}{
		"by number":  {cursor.Every{Items: 3}, seq.Of(0, 1, 2, 3, 4, 5, 6), nil, "2 5 6"},
		"to the end": {cursor.Every{Items: 3}, seq.Of(0, 1, 2, 3, 4, 5), nil, "2 5"},
		"nothing":    {cursor.Every{Items: 3}, seq.Of[int](), nil, ""},
		"break": {cursor.Every{Items: 3}, seq.Of(0, 1, 2, 3, 4, 5),
			func(i int, _ error) bool { return i < 4 }, "2 3"},
		"break at the first": {cursor.Every{Items: 3}, seq.Of(0, 1), func(int, error) bool { return false }, ""},
		"default":            {cursor.Every{}, seq.Of(numbers(nil, 2500)...), nil, "999 1999 2499"},
		"final error": {cursor.Every{Items: 3}, seq.Concat(seq.Of(0, 1), seq.Fail[int](errBoom)),
			func(_ int, err error) bool { return err == nil }, "1"},
		"final error, passed over": {cursor.Every{Items: 3}, seq.Concat(seq.Of(0, 1), seq.Fail[int](errBoom)),
			func(int, error) bool { return true }, "1"},
		"item error, then an item": {cursor.Every{Items: 2}, itemErrors(1, 5),
			func(int, error) bool { return true }, "2 4"},
		"item error, the last": {cursor.Every{Items: 9}, itemErrors(2, 3),
			func(int, error) bool { return true }, "1"},
		"item error, break": {cursor.Every{Items: 9}, itemErrors(2, 4),
			func(_ int, err error) bool { return err == nil }, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s, r := tracked(t)
				for i, err := range cursor.Track(t.Context(), test.in, c, test.every, self) {
					if err == nil {
						r.done++
					}
					if test.body == nil && err != nil {
						t.Fatal(err)
					}
					if test.body != nil && !test.body(i, err) {
						break
					}
				}
				if got := s.positions(); got != test.saved {
					t.Errorf("saved at %q, want %q", got, test.saved)
				}
				for _, save := range s.saves {
					if state := string(save.States["recorder"]); state != fmt.Sprint(save.Items) {
						t.Errorf("the save at %s has %d items, and the work of %s", save.Position, save.Items, state)
					}
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// itemErrors yields n items from 0 on, with an item error in the place of one.
func itemErrors(bad, n int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			var err error
			if i == bad {
				err = &seq.ItemError{Item: i, Err: errBoom}
			}
			if !yield(i, err) {
				return
			}
		}
	}
}

// TestTrackPhase wants a resumed run to commit at the items where an undisturbed one
// would.
func TestTrackPhase(t *testing.T) {
	c, s, _ := tracked(t)
	for i := range cursor.Track(t.Context(), seq.Of(numbers(nil, 20)...), c, cursor.Every{Items: 5}, self) {
		if i == 7 {
			break
		}
	}
	for _, err := range cursor.Track(t.Context(), seq.Of(numbers(c.Position(), 20)...), c, cursor.Every{Items: 5}, self) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := s.positions(); got != "4 6 9 14 19" {
		t.Errorf("saved at %s", got)
	}
}

// TestTrackInterval lets time pass, in the body and in the source.
func TestTrackInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s, r := tracked(t)
		defer c.Close()
		start := time.Now()
		slow := func(yield func(int, error) bool) {
			for i := range 6 {
				switch i {
				case 2:
					time.Sleep(25 * time.Second) // idle: 1 is committed meanwhile, once
				case 4:
					time.Sleep(time.Second)
				}
				if !yield(i, nil) {
					return
				}
			}
		}
		for i, err := range cursor.Track(t.Context(), slow, c, cursor.Every{Interval: 10 * time.Second}, self) {
			if err != nil {
				t.Fatal(err)
			}
			r.done++
			if i == 3 {
				time.Sleep(15 * time.Second) // the body: 3 itself is committed when it is done
			}
		}
		var at []string
		for _, when := range s.at {
			at = append(at, when.Sub(start).String())
		}
		if got, want := s.positions()+" at "+strings.Join(at, " "), "1 3 5 at 10s 40s 41s"; got != want {
			t.Errorf("saved %s, want %s", got, want)
		}
	})
}

// TestTrackWaitsForTheTimer begins a slow commit while the source idles, and lets the
// source come back in its midst: the body must not run before the commit has ended.
func TestTrackWaitsForTheTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s, r := tracked(t)
		defer c.Close()
		r.onSync = func(context.Context) { time.Sleep(4 * time.Second) }
		in := func(yield func(int, error) bool) {
			if yield(0, nil) {
				time.Sleep(7 * time.Second) // the commit takes from 5 to 9
				yield(1, nil)
			}
		}
		start := time.Now()
		for i, err := range cursor.Track(t.Context(), in, c, cursor.Every{Interval: 5 * time.Second}, self) {
			if err != nil {
				t.Fatal(err)
			}
			r.done++
			if at := time.Since(start); i == 1 && at != 9*time.Second {
				t.Errorf("item 1 came after %v", at)
			}
		}
		if got := s.positions(); got != "0 1" {
			t.Errorf("saved at %s", got)
		}
	})
}

// TestTrackReadsNothingAhead counts what is pulled.
func TestTrackReadsNothingAhead(t *testing.T) {
	c, _, _ := tracked(t)
	pulled := 0
	in := seq.Tap(seq.Of(numbers(nil, 10)...), func(int, error) { pulled++ })
	for i := range cursor.Track(t.Context(), in, c, cursor.Every{}, self) {
		if pulled != i+1 {
			t.Fatalf("at item %d, %d were pulled", i, pulled)
		}
		if i == 4 {
			break
		}
	}
	if pulled != 5 {
		t.Errorf("%d items were pulled", pulled)
	}
}

// TestTrackTakesThePositionFirst lets the body and the source change the item.
func TestTrackTakesThePositionFirst(t *testing.T) {
	c, s, _ := tracked(t)
	item := &struct{ id int }{}
	in := func(yield func(*struct{ id int }, error) bool) {
		for i := range 3 {
			if item.id = i; !yield(item, nil) {
				return
			}
			item.id = -1
		}
	}
	for item := range cursor.Track(t.Context(), in, c, cursor.Every{Items: 1}, func(v *struct{ id int }) int { return v.id }) {
		item.id = 99
	}
	if got := s.positions(); got != "0 1 2" {
		t.Errorf("saved at %s", got)
	}
}

// TestTrackMarksEachItem wants the order of the calls to a participant.
func TestTrackMarksEachItem(t *testing.T) {
	c, _, r := tracked(t)
	for range cursor.Track(t.Context(), seq.Of(0, 1, 2), c, cursor.Every{Items: 2}, self) {
		r.calls = append(r.calls, "body")
	}
	want := []string{"body", "mark", "body", "mark", "sync", "body", "mark", "sync"}
	if !slices.Equal(r.calls, want) {
		t.Errorf("the calls are %v, want %v", r.calls, want)
	}
}

func TestTrackMisuse(t *testing.T) {
	c, _, _ := tracked(t)
	for want, build := range map[string]func(){
		"cursor.Track: the stream must not be nil":     func() { cursor.Track(t.Context(), nil, c, cursor.Every{}, self) },
		"cursor.Track: the checkpoint must not be nil": func() { cursor.Track(t.Context(), seq.Of(1), nil, cursor.Every{}, self) },
		"cursor.Track: position must not be nil":       func() { cursor.Track[int, int](t.Context(), seq.Of(1), c, cursor.Every{}, nil) },
		"cursor.Track: Every must not be negative":     func() { cursor.Track(t.Context(), seq.Of(1), c, cursor.Every{Items: -1}, self) },
	} {
		wantPanic(t, want, build)
	}
}

// wantPanic runs fn, which must panic with a message that begins so.
func wantPanic(t *testing.T, want string, fn func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := fmt.Sprint(recover()); !strings.HasPrefix(got, want) {
			t.Errorf("the panic is %q, want %q", got, want)
		}
	}()
	fn()
}
