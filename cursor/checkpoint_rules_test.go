package cursor_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/cursor"
)

// stores runs a test on each store of this package.
func stores(t *testing.T, test func(t *testing.T, store cursor.Store)) {
	t.Run("file", func(t *testing.T) { test(t, newFileStore(t, t.TempDir())) })
	t.Run("mem", func(t *testing.T) { test(t, cursor.NewMemStore()) })
}

// roundTrip commits a position and opens the job anew.
func roundTrip[P any](t *testing.T, pos P) P {
	t.Helper()
	store := newFileStore(t, t.TempDir())
	c, err := cursor.Open[P](t.Context(), store, "job")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Commit(t.Context(), pos); err != nil {
		t.Fatalf("commit %v: %v", pos, err)
	}
	c.Close()
	if c, err = cursor.Open[P](t.Context(), store, "job"); err != nil {
		t.Fatalf("open at %v: %v", pos, err)
	}
	defer c.Close()
	return *c.Position()
}

// wantSame wants positions to come back as they were.
func wantSame[P comparable](t *testing.T, positions ...P) {
	t.Helper()
	for _, pos := range positions {
		if got := roundTrip(t, pos); got != pos {
			t.Errorf("%#v came back as %#v", pos, got)
		}
	}
}

type place struct {
	Day time.Time
	ID  int64
	tag string
}

func TestPositionsComeBack(t *testing.T) {
	wantSame(t, 0, -1, math.MaxInt64, math.MinInt64, 1<<53+1)
	wantSame(t, uint64(math.MaxUint64))
	wantSame(t, "", "é😀\x00<&>\u2028\\\"", strings.Repeat("long", 10_000))
	wantSame(t, [16]byte{0xff, 1, 2})
	wantSame(t, 0.1, math.MaxFloat64, math.SmallestNonzeroFloat64)
	for _, b := range [][]byte{nil, {}, {0, 0xff, 10}} {
		if got := roundTrip(t, b); string(got) != string(b) || (got == nil) != (b == nil) {
			t.Errorf("%#v came back as %#v", b, got)
		}
	}
	zone := time.FixedZone("somewhere", 3600)
	for _, when := range []time.Time{time.Now(), time.Now().UTC(), {}, time.Date(2024, 10, 27, 2, 30, 0, 123456789, zone)} {
		if got := roundTrip(t, when); !got.Equal(when) {
			t.Errorf("%v came back as %v", when, got)
		}
		if got := roundTrip(t, place{Day: when, ID: 1<<53 + 1}); !got.Day.Equal(when) || got.ID != 1<<53+1 {
			t.Errorf("%v came back in %v", when, got)
		}
	}
}

// refused commits a position that JSON would change: an error, and the position
// before it stands.
func refused[P any](t *testing.T, good, bad P) {
	t.Helper()
	c, err := cursor.Open[P](t.Context(), cursor.NewMemStore(), "job")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Commit(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if err := c.Commit(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "cannot be stored") {
		t.Errorf("commit %#v: %v", bad, err)
	}
	if c.Items(); c.Position() == nil {
		t.Errorf("after %#v was refused there is no position", bad)
	}
	if err := c.Commit(t.Context(), good); err != nil {
		t.Errorf("after %#v was refused: %v", bad, err)
	}
}

func TestPositionsThatCannotBeStored(t *testing.T) {
	refused(t, "good", "bad \xff")
	refused(t, 1, math.NaN())
	refused(t, 1, math.Inf(1))
	refused(t, place{ID: 1}, place{ID: 1, tag: "not exported"})
	refused(t, []any{"a"}, []any{int64(1)})
	refused(t, time.Unix(0, 0), time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC))
	refused(t, map[string]string{"a": "b"}, map[string]string{"a": "\xff"})
	refused(t, time.Unix(0, 0), time.Date(2024, 1, 1, 0, 0, 0, 0, time.FixedZone("odd", 3601)))
}

func TestOpenMisuse(t *testing.T) {
	store := cursor.NewMemStore()
	wantPanic(t, "cursor.Open: the position must be of a type", func() { cursor.Open[*int](t.Context(), store, "job") })
	wantPanic(t, "cursor.Open: the position must be of a type", func() { cursor.Open[any](t.Context(), store, "job") })
	wantPanic(t, "cursor.Open: the store must not be nil", func() { cursor.Open[int](t.Context(), nil, "job") })
	wantPanic(t, "cursor.Attach: the name", func() { cursor.Attach("", &recorder{}) })
	wantPanic(t, "cursor.Attach: the name", func() { cursor.Attach("cursor:until", &recorder{}) })
	wantPanic(t, "cursor.Attach: the participant", func() { cursor.Attach("a", nil) })
	wantPanic(t, "cursor.Open: each participant", func() {
		cursor.Open[int](t.Context(), store, "job", cursor.Attach("a", &recorder{}), cursor.Attach("a", &recorder{}))
	})
	for _, job := range []string{"", "a\nb", "\xff", strings.Repeat("x", 513)} {
		if _, err := cursor.Open[int](t.Context(), store, job); err == nil {
			t.Errorf("Open of job %q succeeded", job)
		}
	}
	if _, err := cursor.Open[int](t.Context(), store, "job", cursor.WithFingerprint("\xff")); err == nil {
		t.Error("Open with a fingerprint of invalid UTF-8 succeeded")
	}
}

// TestMismatch opens a job as another one than it was saved as. Nothing is held after
// the refusal, and Discard starts afresh.
func TestMismatch(t *testing.T) {
	stores(t, func(t *testing.T, store cursor.Store) {
		open := func(opts ...cursor.OpenOption) (*cursor.Checkpoint[int], error) {
			return cursor.Open[int](t.Context(), store, "job", opts...)
		}
		c, err := open(cursor.WithFingerprint("one"), cursor.Attach("a", &recorder{}))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Commit(t.Context(), 7); err != nil {
			t.Fatal(err)
		}
		c.Close()
		a := cursor.Attach("a", &recorder{})
		for name, opts := range map[string][]cursor.OpenOption{
			"another query":        {a, cursor.WithFingerprint("two")},
			"no participant":       {cursor.WithFingerprint("one")},
			"another participant":  {cursor.WithFingerprint("one"), cursor.Attach("b", &recorder{})},
			"one participant more": {cursor.WithFingerprint("one"), a, cursor.Attach("b", &recorder{})},
		} {
			if _, err := open(opts...); !errors.Is(err, cursor.ErrMismatch) || !strings.Contains(err.Error(), "discard") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := cursor.Open[string](t.Context(), store, "job", a); !errors.Is(err, cursor.ErrMismatch) {
			t.Errorf("another type: %v", err)
		}
		type renamed struct{ ID int }
		if _, err := cursor.Open[renamed](t.Context(), store, "job", a); !errors.Is(err, cursor.ErrMismatch) {
			t.Errorf("a struct: %v", err)
		}
		if c, err = open(a); err != nil || *c.Position() != 7 {
			t.Fatalf("without a fingerprint: %v", err)
		}
		if err := c.Commit(t.Context(), 8); err != nil { // keeps the fingerprint
			t.Fatal(err)
		}
		c.Close()
		if _, err := open(a, cursor.WithFingerprint("two")); !errors.Is(err, cursor.ErrMismatch) {
			t.Errorf("another query, later: %v", err)
		}
		r := &recorder{done: 99}
		if c, err = open(cursor.Attach("b", r), cursor.WithFingerprint("two"), cursor.Discard()); err != nil {
			t.Fatal(err)
		}
		if c.Position() != nil || c.Items() != 0 || r.done != 0 {
			t.Errorf("discarded, the position is %v, with %d items and %d done", c.Position(), c.Items(), r.done)
		}
		c.Close()
		if c, err = open(a); err != nil || c.Position() != nil { // Discard has been saved
			t.Fatalf("after Discard: %v", err)
		}
		c.Close()
	})
}

// TestFinishAndReset goes through the end of a job, and what can follow it.
func TestFinishAndReset(t *testing.T) {
	stores(t, func(t *testing.T, store cursor.Store) {
		r := &recorder{}
		open := func() *cursor.Checkpoint[int] {
			t.Helper()
			c, err := cursor.Open[int](t.Context(), store, "job", cursor.Attach("r", r))
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		c := open()
		if c.Finished() || c.Position() != nil {
			t.Error("a new job is finished or has a position")
		}
		if err := c.Finish(t.Context()); err != nil { // there was nothing to do
			t.Fatal(err)
		}
		if !c.Finished() || c.Position() != nil {
			t.Error("finished without an item: not finished, or with a position")
		}
		r.done = 5
		c.AddItems(5)
		if err := c.Commit(t.Context(), 5); err != nil {
			t.Fatal(err)
		}
		if c.Finished() {
			t.Error("finished after a Commit")
		}
		r.done = 6 // a footer
		if err := c.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if c = open(); !c.Finished() || *c.Position() != 5 || c.Items() != 5 || r.done != 6 {
			t.Errorf("opened anew: %t, %v, %d items, %d done", c.Finished(), *c.Position(), c.Items(), r.done)
		}
		*c.Position() = 99 // the caller's own copy
		if *c.Position() != 5 {
			t.Error("the position was changed from outside")
		}
		if err := c.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c.Finished() || c.Position() != nil || c.Items() != 0 || r.done != 0 {
			t.Errorf("after Reset: %t, %v, %d items, %d done", c.Finished(), c.Position(), c.Items(), r.done)
		}
		if _, err := store.Acquire(t.Context(), "job"); !errors.Is(err, cursor.ErrLocked) {
			t.Errorf("Reset let the job go: %v", err)
		}
		c.Close()
		if c = open(); c.Finished() || c.Position() != nil {
			t.Error("Reset was not saved")
		}
		c.Close()
		for name, err := range map[string]error{"Commit": c.Commit(t.Context(), 1), "Finish": c.Finish(t.Context()), "Reset": c.Reset(t.Context())} {
			if !errors.Is(err, cursor.ErrClosed) {
				t.Errorf("%s after Close: %v", name, err)
			}
		}
	})
}

// TestUntil keeps the bound of the first run until the job is finished or reset.
func TestUntil(t *testing.T) {
	stores(t, func(t *testing.T, store cursor.Store) {
		var c *cursor.Checkpoint[int]
		reopen := func() {
			t.Helper()
			if c != nil {
				c.Close()
			}
			var err error
			if c, err = cursor.Open[int](t.Context(), store, "job", cursor.Attach("r", &recorder{})); err != nil {
				t.Fatal(err)
			}
		}
		until := func(latest *int, fail error) (int, error) {
			t.Helper()
			bound, err := c.Until(t.Context(), func(context.Context) (*int, error) { return latest, fail })
			if bound == nil {
				return -1, err
			}
			return *bound, err
		}
		want := func(latest *int, want int) {
			t.Helper()
			if got, err := until(latest, nil); got != want || err != nil {
				t.Errorf("the bound is %d, want %d, %v", got, want, err)
			}
		}
		ten, twenty := 10, 20
		reopen()
		if _, err := until(nil, errBoom); !errors.Is(err, errBoom) {
			t.Errorf("the error of latest: %v", err)
		}
		want(nil, -1) // no rows
		want(&ten, 10)
		reopen() // killed before the first commit
		want(&twenty, 10)
		if err := c.Commit(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		reopen()
		want(&twenty, 10)
		if err := c.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		want(&twenty, 20)
		if err := c.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		want(&ten, 10)
		c.Close()
	})
}

// TestFailedCommit lets participants and the store fail: the old checkpoint stands,
// and the next commit succeeds, with all the items counted once.
func TestFailedCommit(t *testing.T) {
	c, s, r := tracked(t)
	commit := func(pos int) error {
		c.AddItems(1)
		return c.Commit(t.Context(), pos)
	}
	if err := commit(1); err != nil {
		t.Fatal(err)
	}
	for i, fail := range []func(error){func(err error) { r.syncErr = err }, func(err error) { s.err = err }} {
		fail(errBoom)
		if err := commit(2 + i); !errors.Is(err, errBoom) {
			t.Fatalf("got %v", err)
		}
		if *c.Position() != 1 || c.Items() != 1 {
			t.Errorf("after a failed commit the position is %d, with %d items", *c.Position(), c.Items())
		}
		fail(nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Commit(ctx, 4); !errors.Is(err, context.Canceled) {
		t.Errorf("under a context that has ended: %v", err)
	}
	if err := commit(5); err != nil || *c.Position() != 5 || c.Items() != 4 {
		t.Errorf("the next commit: %v, the position is %d, with %d items", err, *c.Position(), c.Items())
	}
}

// A doubtful store saves and then says that it failed.
type doubtful struct{ *spied }

type doubtfulLease struct{ cursor.Lease }

func (s doubtful) Acquire(ctx context.Context, job string) (cursor.Lease, error) {
	l, err := s.spied.Acquire(ctx, job)
	return doubtfulLease{l}, err
}

func (l doubtfulLease) Save(ctx context.Context, r cursor.Record) error {
	if err := l.Lease.Save(ctx, r); err != nil {
		return err
	}
	if r.Seq%2 == 1 {
		return errBoom
	}
	return nil
}

// TestDoubtfulCommit wants the checkpoint to find out that a save was done whose
// call failed, and to count its items once.
func TestDoubtfulCommit(t *testing.T) {
	s := doubtful{&spied{store: cursor.NewMemStore()}}
	c, err := cursor.Open[int](t.Context(), s, "job")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 4 {
		c.AddItems(10)
		if err := c.Commit(t.Context(), i); (err != nil) != (i%2 == 0) {
			t.Fatalf("commit %d: %v", i, err)
		}
		if *c.Position() != i || c.Items() != int64(10*(i+1)) {
			t.Errorf("after commit %d the position is %d, with %d items", i, *c.Position(), c.Items())
		}
	}
}

// TestRestoreFails lets a participant fail or panic while the job is opened: the job is
// free afterwards.
func TestRestoreFails(t *testing.T) {
	stores(t, func(t *testing.T, store cursor.Store) {
		for _, fail := range []func() error{func() error { return errBoom }, func() error { panic(errBoom) }} {
			func() {
				defer func() {
					if v := recover(); v != nil && v != errBoom {
						t.Errorf("the panic is %v", v)
					}
				}()
				if _, err := cursor.Open[int](t.Context(), store, "job", cursor.Attach("r", failing(fail))); !errors.Is(err, errBoom) {
					t.Errorf("got %v", err)
				}
			}()
			l, err := store.Acquire(t.Context(), "job")
			if err != nil {
				t.Fatalf("the job is still held: %v", err)
			}
			l.Release(t.Context())
		}
	})
}

type failing func() error

func (failing) Mark()                                            {}
func (failing) Sync(context.Context) (json.RawMessage, error)    { return []byte("null"), nil }
func (f failing) Restore(context.Context, json.RawMessage) error { return f() }

// TestCommitWaitsItsTurn lets two commits run at once, one of which does not want to
// wait.
func TestCommitWaitsItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s, r := tracked(t)
		r.onSync = func(context.Context) { time.Sleep(10 * time.Second) }
		first := make(chan error)
		go func() { first <- c.Commit(t.Context(), 1) }()
		synctest.Wait()
		if c.Position() != nil || c.Finished() {
			t.Error("a position while the first commit is under way")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Commit(ctx, 2); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the second commit: %v", err)
		}
		if err := <-first; err != nil || s.positions() != "1" {
			t.Errorf("the first commit: %v, saved %s", err, s.positions())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestNothingHeldAfterRefusal wants a file to be open to others after Open was refused.
func TestNothingHeldAfterRefusal(t *testing.T) {
	dir := t.TempDir()
	holder, err := cursor.Open[int](t.Context(), newFileStore(t, dir), "job")
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	out := filepath.Join(dir, "out")
	f, err := cursor.OpenFile(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := cursor.Open[int](t.Context(), newFileStore(t, dir), "job", cursor.Attach("out", f)); !errors.Is(err, cursor.ErrLocked) {
		t.Fatal(err)
	}
	openFile(t, out, nil)
}
