package cursor_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

// TestEveryLimits runs loops with the largest and the least numbers, and with one field
// set alone, which switches the other off.
func TestEveryLimits(t *testing.T) {
	const long = time.Duration(math.MaxInt64)
	for name, test := range map[string]struct {
		every cursor.Every
		saves int // of 3 items a minute apart
	}{
		"never":                {cursor.Every{Items: math.MaxInt, Interval: long}, 1}, // the end
		"items, never":         {cursor.Every{Items: math.MaxInt}, 1},
		"an interval, never":   {cursor.Every{Interval: long}, 1},
		"each item":            {cursor.Every{Items: 1}, 3},
		"each item, and never": {cursor.Every{Items: 1, Interval: long}, 3},
		"each millisecond":     {cursor.Every{Interval: time.Millisecond}, 3},
		"every two items":      {cursor.Every{Items: 2}, 2},
		"the default":          {cursor.Every{}, 3}, // 5 s
	} {
		run := func(t *testing.T, pause time.Duration, saves int) {
			s := &spied{store: cursor.NewMemStore()}
			c, err := cursor.Open[int](t.Context(), s, "job")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			in := seq.Map(seq.Of(1, 2, 3), func(i int) (int, error) { time.Sleep(pause); return i, nil })
			for _, err := range cursor.Track(t.Context(), in, c, test.every, self) {
				if err != nil {
					t.Fatal(err)
				}
			}
			if *c.Position() != 3 || saves > 0 && len(s.saves) != saves {
				t.Errorf("%s: at %d after the saves %v, want %d", name, *c.Position(), s.positions(), saves)
			}
		}
		synctest.Test(t, func(t *testing.T) { run(t, time.Minute, test.saves) })
		run(t, 0, 0) // by the real clock, to which a large number can be too much
	}
}

// TestParticipantsOfTheRecord opens a job with participants more and fewer than were
// saved, in every state that a record can be in.
func TestParticipantsOfTheRecord(t *testing.T) {
	stores(t, func(t *testing.T, store cursor.Store) {
		with := func(names ...string) (opts []cursor.OpenOption) {
			for _, name := range names {
				opts = append(opts, cursor.Attach(name, &recorder{}))
			}
			return opts
		}
		for name, save := range map[string]func(c *cursor.Checkpoint[int]) error{
			"committed": func(c *cursor.Checkpoint[int]) error { return c.Commit(t.Context(), 1) },
			"finished":  func(c *cursor.Checkpoint[int]) error { return c.Finish(t.Context()) },
			"bounded": func(c *cursor.Checkpoint[int]) error {
				_, err := c.Until(t.Context(), func(context.Context) (*int, error) { n := 9; return &n, nil })
				return err
			},
		} {
			for _, saved := range [][]string{nil, {"a"}, {"a", "b"}} {
				job := name
				for _, s := range saved {
					job += s
				}
				c, err := cursor.Open[int](t.Context(), store, job, with(saved...)...)
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(save(c), c.Close()); err != nil {
					t.Fatal(err)
				}
				for _, now := range [][]string{nil, {"a"}, {"b"}, {"a", "b"}, {"a", "b", "c"}} {
					c, err := cursor.Open[int](t.Context(), store, job, with(now...)...)
					if err == nil {
						c.Close()
					}
					same := len(now) == len(saved) && (len(now) != 1 || now[0] == saved[0])
					if same != (err == nil) || err != nil && !errors.Is(err, cursor.ErrMismatch) {
						t.Errorf("%s with %q, opened with %q: %v", name, saved, now, err)
					}
				}
			}
		}
	})
}

// TestLatestMayUseTheCheckpoint asks for the bound in a function that looks at the
// checkpoint, and commits to it: nothing is locked meanwhile.
func TestLatestMayUseTheCheckpoint(t *testing.T) {
	c, err := cursor.Open[int](t.Context(), cursor.NewMemStore(), "job")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	bound, err := c.Until(t.Context(), func(ctx context.Context) (*int, error) {
		n := 9
		return &n, c.Commit(ctx, 4)
	})
	if err != nil || *bound != 9 || *c.Position() != 4 {
		t.Errorf("the bound is %v, %v", bound, err)
	}
	if again, err := c.Until(t.Context(), nilLatest(t)); err != nil || *again != 9 {
		t.Errorf("asked again: %v, %v", again, err)
	}
}

func nilLatest(t *testing.T) func(context.Context) (*int, error) {
	return func(context.Context) (*int, error) { t.Error("latest was asked again"); return nil, nil }
}

// A prober looks at its checkpoint and at its file in each call.
type prober struct {
	c **cursor.Checkpoint[int]
	f *cursor.File
}

func (p prober) look() {
	if *p.c != nil {
		(*p.c).Position()
		(*p.c).Items()
		(*p.c).Finished()
		(*p.c).AddItems(0)
	}
}

func (p prober) Mark() { p.look() }
func (p prober) Sync(context.Context) (json.RawMessage, error) {
	p.look()
	_, err := p.f.Write([]byte("x"))
	return json.RawMessage("null"), err
}
func (p prober) Restore(context.Context, json.RawMessage) error { p.look(); return nil }

// TestParticipantMayAskTheCheckpoint calls what can be called from within a participant.
func TestParticipantMayAskTheCheckpoint(t *testing.T) {
	f := openFile(t, t.TempDir()+"/log", nil)
	var c *cursor.Checkpoint[int]
	p := prober{&c, f}
	c, err := cursor.Open[int](t.Context(), cursor.NewMemStore(), "job", cursor.Attach("p", p))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 3 {
		if err := c.Commit(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
}
