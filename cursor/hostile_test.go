//go:build unix

package cursor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

// hostile opens a job in files with a committed line.
func hostile(t *testing.T) (c *cursor.Checkpoint[int], f *cursor.File, state, out string) {
	t.Helper()
	dir := t.TempDir()
	state, out = filepath.Join(dir, "state"), filepath.Join(dir, "out")
	f, err := cursor.OpenFile(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if c, err = openJob(t, newFileStore(t, state), "job", f); err != nil {
		t.Fatal(err)
	}
	write(t, f, "one\n")
	if err := c.Commit(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	return c, f, state, out
}

// TestOutputReplacedBySomethingElse puts other things in the place of the output, during
// a run and between two. None of them is written to, and none is taken for the output.
func TestOutputReplacedBySomethingElse(t *testing.T) {
	for name, replace := range map[string]func(path, other string) error{
		"a symlink to another file": func(path, other string) error { return os.Symlink(other, path) },
		"a dangling symlink":        func(path, other string) error { return os.Symlink(other+" that is not there", path) },
		"a folder":                  func(path, _ string) error { return os.Mkdir(path, 0o777) },
		"a FIFO":                    func(path, _ string) error { return syscall.Mkfifo(path, 0o666) },
		"nothing":                   func(string, string) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			c, f, state, out := hostile(t)
			other := filepath.Join(t.TempDir(), "other")
			if err := os.WriteFile(other, []byte("somebody else's\n"), 0o666); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(out); err != nil {
				t.Fatal(err)
			}
			if err := replace(out, other); err != nil {
				t.Fatal(err)
			}
			write(t, f, "two\n")
			if err := c.Commit(t.Context(), 2); !errors.Is(err, cursor.ErrOutputChanged) || *c.Position() != 1 {
				t.Errorf("commit: %v, at %d", err, *c.Position())
			}
			c.Close()
			f.Close()
			if f, err := cursor.OpenFile(out); err == nil {
				defer f.Close()
				if _, err := openJob(t, newFileStore(t, state), "job", f); !errors.Is(err, cursor.ErrOutputChanged) {
					t.Errorf("the next run: %v", err)
				}
			}
			if got := content(t, other, false); got != "somebody else's\n" {
				t.Errorf("the other file is %q", got)
			}
		})
	}
}

// TestStateFolderGone removes or moves the folder of the checkpoints during a run.
func TestStateFolderGone(t *testing.T) {
	for name, remove := range map[string]func(string) error{
		"removed":   os.RemoveAll,
		"moved":     func(dir string) error { return os.Rename(dir, dir+" moved") },
		"made anew": func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o777)) },
		"lock replaced": func(dir string) error {
			return errors.Join(os.Remove(dir+"/job.lock"), os.WriteFile(dir+"/job.lock", nil, 0o666))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, f, state, _ := hostile(t)
			if err := remove(state); err != nil {
				t.Fatal(err)
			}
			write(t, f, "two\n")
			if err := c.Commit(t.Context(), 2); !errors.Is(err, cursor.ErrFenced) || *c.Position() != 1 {
				t.Errorf("commit: %v, at %d", err, *c.Position())
			}
			if err := c.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// TestTooLate does after Close what belongs before it.
func TestTooLate(t *testing.T) {
	c, f, state, out := hostile(t)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, f, "after Close\n")
	ctx := t.Context()
	for name, err := range map[string]error{
		"Commit": c.Commit(ctx, 2), "Finish": c.Finish(ctx), "Reset": c.Reset(ctx),
		"Until": func() error {
			_, err := c.Until(ctx, func(context.Context) (*int, error) { t.Error("latest was asked"); return nil, nil })
			return err
		}(),
	} {
		if !errors.Is(err, cursor.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.Close()
	f, err := cursor.OpenFile(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if c, err = openJob(t, newFileStore(t, state), "job", f); err != nil || *c.Position() != 1 || content(t, out, false) != "one\n" {
		t.Errorf("the next run: %v, the output is %q", err, content(t, out, false))
	}
}

// TestCloseDuringCommits closes a checkpoint while others commit to it: what Commit says
// is so is found by the next run.
func TestCloseDuringCommits(t *testing.T) {
	c, f, state, out := hostile(t)
	var mu sync.Mutex
	last, busy := 1, make(chan struct{})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				mu.Lock()
				pos := last + 1
				err := c.Commit(t.Context(), pos)
				if err == nil {
					if last = pos; last == 10 {
						close(busy)
					}
				}
				mu.Unlock()
				if err != nil {
					if !errors.Is(err, cursor.ErrClosed) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	<-busy
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	group.Wait()
	f.Close()
	f, err := cursor.OpenFile(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if c, err = openJob(t, newFileStore(t, state), "job", f); err != nil || *c.Position() != last {
		t.Errorf("the next run: %v, want position %d", err, last)
	}
}

// TestResetInTheLoop forgets what a loop has consumed while it goes on: it must not
// commit a position behind items that the output no longer has.
func TestResetInTheLoop(t *testing.T) {
	for _, stop := range []bool{false, true} {
		c, f, _, _ := hostile(t)
		var end error
		for i, err := range cursor.Track(t.Context(), seq.Of(numbers(nil, 10)...), c, cursor.Every{Items: 4}, self) {
			if end = err; err != nil {
				break
			}
			write(t, f, "line\n")
			if i == 5 {
				if err := c.Reset(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if i == 6 && stop {
				break
			}
		}
		if stop == (end != nil) || c.Position() != nil {
			t.Errorf("stopped %t: %v, the position is %v", stop, end, c.Position())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
