package cursor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/pipeline/cursor"
)

// eachFormat runs a test on plain files and on gzip ones.
func eachFormat(t *testing.T, test func(t *testing.T, zip bool, opts ...cursor.FileOption)) {
	t.Run("plain", func(t *testing.T) { test(t, false) })
	t.Run("gzip", func(t *testing.T) { test(t, true, cursor.Gzip()) })
}

// TestRefusedFileIsNotTouched refuses a file in every way there is. Not a byte of it may
// be another one afterwards, whatever the program still calls.
func TestRefusedFileIsNotTouched(t *testing.T) {
	eachFormat(t, func(t *testing.T, zip bool, opts ...cursor.FileOption) {
		other := []cursor.FileOption{cursor.Gzip()}
		if zip {
			other = nil
		}
		for name, refuse := range map[string]struct {
			change func(t *testing.T, path, state string) // between the runs
			opts   []cursor.FileOption                    // of the second
			open   []cursor.OpenOption
			want   error
		}{
			"other bytes": {want: cursor.ErrOutputChanged, opts: opts, change: func(t *testing.T, path, _ string) {
				data := readFile(t, path)
				data[len(data)-1]++
				overwrite(t, path, data)
			}},
			"shorter": {want: cursor.ErrOutputChanged, opts: opts, change: func(t *testing.T, path, _ string) {
				overwrite(t, path, readFile(t, path)[:3])
			}},
			"empty": {want: cursor.ErrOutputChanged, opts: opts, change: func(t *testing.T, path, _ string) {
				overwrite(t, path, nil)
			}},
			"another format":      {want: cursor.ErrMismatch, opts: other},
			"another query":       {want: cursor.ErrMismatch, opts: opts, open: []cursor.OpenOption{cursor.WithFingerprint("other")}},
			"another participant": {want: cursor.ErrMismatch, opts: opts, open: []cursor.OpenOption{cursor.Attach("sum", &recorder{})}},
			"a damaged record": {want: cursor.ErrCorrupt, opts: opts, change: func(t *testing.T, _, state string) {
				overwrite(t, filepath.Join(state, "job.checkpoint"), []byte("damaged"))
			}},
			"no record": {want: cursor.ErrOutputChanged, opts: opts, change: func(t *testing.T, _, state string) {
				if err := os.RemoveAll(state); err != nil {
					t.Fatal(err)
				}
			}},
			"locked": {want: cursor.ErrLocked, opts: opts, change: func(t *testing.T, path, state string) {
				f, err := cursor.OpenFile(path, opts...)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { f.Close() })
				if err := f.Restore(t.Context(), stateOf(t, state, "out")); err != nil {
					t.Fatal(err)
				}
			}},
			"a job that is held": {want: cursor.ErrLocked, opts: opts, change: func(t *testing.T, _, state string) {
				lease, err := newFileStore(t, state).Acquire(t.Context(), "job")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { lease.Release(context.Background()) })
			}},
		} {
			t.Run(name, func(t *testing.T) {
				dir := t.TempDir()
				path, state := filepath.Join(dir, "out"), filepath.Join(dir, "state")
				runOnce(t, path, state, "some lines of text\n", opts...)
				if refuse.change != nil {
					refuse.change(t, path, state)
				}
				before := readFile(t, path)
				f, err := cursor.OpenFile(path, refuse.opts...)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := openJob(t, newFileStore(t, state), "job", f, refuse.open...); !errors.Is(err, refuse.want) {
					t.Errorf("the second run was let in: %v", err)
				}
				if _, err := io.WriteString(f, "a line of one who does not look at errors\n"); err == nil {
					t.Error("a refused file can be written to")
				}
				f.Mark()
				if _, err := f.Sync(t.Context()); err == nil {
					t.Error("a refused file can be committed")
				}
				f.Close()
				if after := readFile(t, path); !bytes.Equal(after, before) {
					t.Errorf("the file was %q and is %q", before, after)
				}
			})
		}
	})
}

func overwrite(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// runOnce writes a text to an output, and commits it at position 1.
func runOnce(t *testing.T, path, state, text string, opts ...cursor.FileOption) {
	t.Helper()
	f, err := cursor.OpenFile(path, opts...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := openJob(t, newFileStore(t, state), "job", f, cursor.WithFingerprint("query"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, f, text)
	if err := errors.Join(c.Commit(t.Context(), 1), c.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// stateOf returns what a job's record has of a participant.
func stateOf(t testing.TB, dir, name string) json.RawMessage {
	t.Helper()
	r, err := cursor.Inspect(t.Context(), newFileStore(t, dir), "job")
	if err != nil {
		t.Fatal(err)
	}
	return r.States[name]
}

// TestFileWithoutRecord attaches a file that has something in it to a job that was
// never saved: not a byte is lost, unless by Discard.
func TestFileWithoutRecord(t *testing.T) {
	eachFormat(t, func(t *testing.T, zip bool, opts ...cursor.FileOption) {
		stores(t, func(t *testing.T, store cursor.Store) {
			path := filepath.Join(t.TempDir(), "out")
			overwrite(t, path, []byte("of years\n"))
			for _, wrapped := range []bool{false, true} {
				f, err := cursor.OpenFile(path, opts...)
				if err != nil {
					t.Fatal(err)
				}
				var p cursor.Participant = f
				if wrapped {
					p = around{f}
				}
				_, err = cursor.Open[int](t.Context(), store, "job", cursor.Attach("out", p))
				if !errors.Is(err, cursor.ErrOutputChanged) || !strings.Contains(err.Error(), "Discard") || !strings.Contains(err.Error(), path) {
					t.Errorf("wrapped %t: %v", wrapped, err)
				}
				f.Close()
				if got := string(readFile(t, path)); got != "of years\n" {
					t.Fatalf("wrapped %t: the file is %q", wrapped, got)
				}
			}
			if r, err := cursor.Inspect(t.Context(), store, "job"); r.Seq != 0 || err != nil {
				t.Errorf("the refused run has saved %+v, %v", r, err)
			}
			f, err := cursor.OpenFile(path, opts...)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			c, err := openJob(t, store, "job", f, cursor.Discard())
			if err != nil {
				t.Fatal(err)
			}
			write(t, f, "new\n")
			if err := c.Commit(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			c.Close()
			f.Close()
			if got := content(t, path, zip); got != "new\n" {
				t.Errorf("the file is %q", got)
			}
		})
	})
}

// An around is a participant with a File in it.
type around struct{ f *cursor.File }

func (a around) Mark()                                             { a.f.Mark() }
func (a around) Sync(ctx context.Context) (json.RawMessage, error) { return a.f.Sync(ctx) }
func (a around) Restore(ctx context.Context, s json.RawMessage) error {
	return a.f.Restore(ctx, s)
}

// TestFileBeforeTheFirstCommit writes more than fits into any buffer and ends without a
// commit, as a killed run does: the next one knows the bytes for its own job's and begins
// anew. Another job, and another file of the same job, do not.
func TestFileBeforeTheFirstCommit(t *testing.T) {
	eachFormat(t, func(t *testing.T, zip bool, opts ...cursor.FileOption) {
		stores(t, func(t *testing.T, store cursor.Store) {
			for _, wrapped := range []bool{false, true} {
				for _, first := range [][]cursor.OpenOption{nil, {cursor.Discard()}} {
					job := fmt.Sprint("job ", wrapped, len(first))
					path := filepath.Join(t.TempDir(), "out")
					begin := func(job, path string, open ...cursor.OpenOption) (*cursor.Checkpoint[int], *cursor.File, error) {
						f, err := cursor.OpenFile(path, opts...)
						if err != nil {
							t.Fatal(err)
						}
						t.Cleanup(func() { f.Close() })
						var p cursor.Participant = f
						if wrapped {
							p = around{f}
						}
						c, err := cursor.Open[int](t.Context(), store, job, append(open, cursor.Attach("out", p))...)
						return c, f, err
					}
					if len(first) > 0 {
						overwrite(t, path, []byte("to be discarded"))
					}
					c, f, err := begin(job, path, first...)
					if err != nil {
						t.Fatal(err)
					}
					write(t, f, strings.Repeat("not committed\n", 1000))
					c.Close()
					f.Close()
					if len(readFile(t, path)) == 0 {
						t.Fatal("nothing was written")
					}
					if _, f, err := begin("another "+job, path); !errors.Is(err, cursor.ErrOutputChanged) {
						t.Errorf("another job: %v", err)
					} else {
						f.Close()
					}
					if !wrapped {
						foreign := filepath.Join(t.TempDir(), "foreign")
						overwrite(t, foreign, []byte("somebody's"))
						if _, _, err := begin(job, foreign); !errors.Is(err, cursor.ErrOutputChanged) || string(readFile(t, foreign)) != "somebody's" {
							t.Errorf("another file: %v, it is %q", err, readFile(t, foreign))
						}
					}
					if c, f, err = begin(job, path, cursor.WithFingerprint("another query is no harm yet")); err != nil {
						t.Fatalf("the next run: %v", err)
					}
					write(t, f, "committed\n")
					if err := c.Commit(t.Context(), 1); err != nil {
						t.Fatal(err)
					}
					c.Close()
					f.Close()
					if got := content(t, path, zip); got != "committed\n" {
						t.Errorf("the file is %q", got)
					}
				}
			}
		})
	})
}

// TestFileOfNothing opens a job again and again that has nothing to write, with a commit
// and without: each time it works, and what is committed is what is in the file.
func TestFileOfNothing(t *testing.T) {
	eachFormat(t, func(t *testing.T, zip bool, opts ...cursor.FileOption) {
		stores(t, func(t *testing.T, store cursor.Store) {
			path := filepath.Join(t.TempDir(), "out")
			for i, end := range []func(c *cursor.Checkpoint[int]) error{
				func(*cursor.Checkpoint[int]) error { return nil },
				func(*cursor.Checkpoint[int]) error { return nil },
				func(c *cursor.Checkpoint[int]) error { return c.Finish(t.Context()) },
				func(*cursor.Checkpoint[int]) error { return nil },
				func(c *cursor.Checkpoint[int]) error { return c.Finish(t.Context()) },
			} {
				f, err := cursor.OpenFile(path, opts...)
				if err != nil {
					t.Fatal(err)
				}
				c, err := openJob(t, store, "job", f)
				if err != nil {
					t.Fatalf("run %d: %v", i, err)
				}
				if err := errors.Join(end(c), c.Close(), f.Close()); err != nil {
					t.Errorf("run %d: %v", i, err)
				}
				if got := content(t, path, zip); got != "" {
					t.Errorf("run %d: the file has %q", i, got)
				}
				r, err := cursor.Inspect(t.Context(), store, "job")
				if err != nil {
					t.Fatal(err)
				}
				var s struct{ Size int }
				if err := json.Unmarshal(r.States["out"], &s); err != nil || i >= 2 && s.Size != len(readFile(t, path)) {
					t.Errorf("run %d: the record has %s, the file %d bytes, %v", i, r.States["out"], len(readFile(t, path)), err)
				}
			}
		})
	})
}
