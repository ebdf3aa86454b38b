package cursor_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"example.com/pipeline/cursor"
)

// openJob opens a job with an output.
func openJob(t *testing.T, store cursor.Store, job string, f *cursor.File, opts ...cursor.OpenOption) (*cursor.Checkpoint[int], error) {
	t.Helper()
	c, err := cursor.Open[int](t.Context(), store, job, append(opts, cursor.Attach("out", f))...)
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// TestFileOfTwoJobs attaches one File to a second job, while the first is open and
// after it was closed. Nothing is lost by the attempt, not even by one that would
// discard what is stored.
func TestFileOfTwoJobs(t *testing.T) {
	stores(t, func(t *testing.T, store cursor.Store) {
		path := filepath.Join(t.TempDir(), "out")
		f, err := cursor.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		other, err := openJob(t, store, "b", openFile(t, filepath.Join(t.TempDir(), "other"), nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Commit(t.Context(), 7); err != nil {
			t.Fatal(err)
		}
		other.Close()

		a, err := openJob(t, store, "a", f)
		if err != nil {
			t.Fatal(err)
		}
		write(t, f, "one\n")
		if err := a.Commit(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		refuse := func(state string) {
			t.Helper()
			for _, opts := range [][]cursor.OpenOption{nil, {cursor.Discard()}} {
				_, err := openJob(t, store, "b", f, opts...)
				if err == nil || !strings.Contains(err.Error(), state) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), `"out"`) {
					t.Errorf("open b: %v", err)
				}
			}
		}
		refuse(`attached to the open checkpoint of job "a"; open a File for each job`)
		if _, err := openJob(t, store, "a", f); !errors.Is(err, cursor.ErrLocked) {
			t.Errorf("open a while it is open: %v", err)
		}
		write(t, f, "two\n")
		if err := a.Commit(t.Context(), 2); err != nil {
			t.Error(err)
		}
		write(t, f, "not committed\n")
		a.Close()
		refuse(`that of job "a"; open a File for each job`)

		if a, err = openJob(t, store, "a", f); err != nil {
			t.Fatalf("open a again: %v", err)
		}
		write(t, f, "three\n")
		if err := a.Commit(t.Context(), 3); err != nil {
			t.Error(err)
		}
		a.Close()
		f.Close()
		if got := content(t, path, false); got != "one\ntwo\nthree\n" {
			t.Errorf("the output is %q", got)
		}
		if _, err := openJob(t, store, "a", f); !errors.Is(err, cursor.ErrClosed) {
			t.Errorf("open a with a closed file: %v", err)
		}
		if other, err := openJob(t, store, "b", openFile(t, filepath.Join(t.TempDir(), "other"), nil)); err != nil || *other.Position() != 7 {
			t.Errorf("job b: %v", err)
		}
	})
}

// TestFileAfterOpenFailed lets Open fail before and after the File has been restored:
// it is not taken by the failure.
func TestFileAfterOpenFailed(t *testing.T) {
	store := cursor.NewMemStore()
	f, err := cursor.OpenFile(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := cursor.Open[int](t.Context(), store, "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Commit(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := openJob(t, store, "a", f); !errors.Is(err, cursor.ErrMismatch) {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	if _, err := openJob(t, store, "b", f, cursor.Attach("bad", failing(func() error { return boom }))); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if _, err := openJob(t, store, "b", f); err != nil {
		t.Errorf("after two failures: %v", err)
	}
}

func TestFileAttachedTwice(t *testing.T) {
	store := cursor.NewMemStore()
	f, err := cursor.OpenFile(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	wantPanic(t, "cursor.Open: a File must be attached once", func() { openJob(t, store, "a", f, cursor.Attach("again", f)) })
	if _, err := openJob(t, store, "a", f); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}

// A described participant returns whatever it is told to from Sync.
type described struct{ state json.RawMessage }

func (*described) Mark()                                                {}
func (d *described) Sync(context.Context) (json.RawMessage, error)      { return d.state, nil }
func (d *described) Restore(_ context.Context, s json.RawMessage) error { d.state = s; return nil }

// TestStateThatIsNoJSON wants an error that names the participant, the old
// checkpoint as it was, and the next commit to succeed.
func TestStateThatIsNoJSON(t *testing.T) {
	stores(t, func(t *testing.T, store cursor.Store) {
		good, bad := &described{}, &described{}
		open := func() *cursor.Checkpoint[int] {
			c, err := cursor.Open[int](t.Context(), store, "job", cursor.Attach("a good one", good), cursor.Attach("odd", bad))
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		c := open()
		good.state, bad.state = []byte(`[1]`), []byte(`{"n":1}`)
		if err := c.Commit(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		for _, state := range []string{"", "nil", "{", "1 2", "\"\xff\"", "NaN", "\x00"} {
			good.state, bad.state = []byte(`[2]`), json.RawMessage(state)
			if state == "nil" {
				bad.state = nil
			}
			err := c.Commit(t.Context(), 2)
			if err == nil || !strings.Contains(err.Error(), `"odd": its state is`) || !strings.Contains(err.Error(), `"job"`) {
				t.Errorf("state %q: %v", state, err)
			}
			if got := *c.Position(); got != 1 {
				t.Errorf("state %q: the position is %d", state, got)
			}
			c.Close()
			c = open()
			if string(good.state) != `[1]` || string(bad.state) != `{"n":1}` || *c.Position() != 1 {
				t.Fatalf("state %q: resumed with %s and %s at %d", state, good.state, bad.state, *c.Position())
			}
		}
		bad.state = nil
		if err := c.Commit(t.Context(), 3); err == nil {
			t.Error("no error")
		}
		bad.state = []byte("null")
		if err := c.Commit(t.Context(), 3); err != nil {
			t.Errorf("the next commit: %v", err)
		}
		c.Close()
		if open().Close(); bad.state != nil {
			t.Errorf("null came back as %s", bad.state)
		}
	})
}
