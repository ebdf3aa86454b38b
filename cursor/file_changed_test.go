package cursor_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"example.com/pipeline/cursor"
)

// TestFileChangedWhileWritten does to an output what other programs do to the files they
// find, between all the ways in which bytes get to it.
func TestFileChangedWhileWritten(t *testing.T) {
	eachFormat(t, func(t *testing.T, zip bool, opts ...cursor.FileOption) {
		for name, change := range map[string]func(path string) error{
			"truncated":   func(path string) error { return os.Truncate(path, 0) },
			"cut":         func(path string) error { return os.Truncate(path, 3) },
			"lengthened":  func(path string) error { return os.Truncate(path, 1<<20) },
			"appended to": func(path string) error { return appendText(path, "somebody's\n") },
			"removed":     os.Remove,
			"replaced":    func(path string) error { return errors.Join(os.Remove(path), os.WriteFile(path, []byte("x"), 0o666)) },
			"renamed":     func(path string) error { return os.Rename(path, path+".1") },
			"rotated": func(path string) error {
				return errors.Join(os.Rename(path, path+".1"), os.WriteFile(path, nil, 0o666))
			},
			"copytruncated": func(path string) error { return errors.Join(copyFile(path, path+".1"), os.Truncate(path, 0)) },
		} {
			for _, size := range []int{0, 10, 1200 << 10} { // nothing more, what stays in a buffer, what does not
				if size > 10 && name != "copytruncated" && name != "appended to" {
					continue
				}
				t.Run(fmt.Sprint(name, ", then ", size), func(t *testing.T) {
					dir := t.TempDir()
					path, store := filepath.Join(dir, "out"), newFileStore(t, filepath.Join(dir, "state"))
					f, err := cursor.OpenFile(path, opts...)
					if err != nil {
						t.Fatal(err)
					}
					defer f.Close()
					c, err := openJob(t, store, "job", f)
					if err != nil {
						t.Fatal(err)
					}
					write(t, f, "committed, and long enough to be cut\n")
					if err := c.Commit(t.Context(), 1); err != nil {
						t.Fatal(err)
					}
					first, err := os.Open(path) // wherever it goes
					if err != nil {
						t.Fatal(err)
					}
					defer first.Close()
					if err := change(path); err != nil {
						t.Fatal(err)
					}
					changed, _ := os.ReadFile(path) // it may be gone
					moved := contentOf(t, first)
					_, werr := f.Write(incompressible(size))
					for range 2 {
						err := c.Commit(t.Context(), 2)
						if !errors.Is(errors.Join(werr, err), cursor.ErrOutputChanged) || err == nil || *c.Position() != 1 {
							t.Errorf("commit: %v, at %d", err, *c.Position())
						}
					}
					c.Close()
					f.Close()
					if now, _ := os.ReadFile(path); !bytes.Equal(now, changed) {
						t.Errorf("the file was %d bytes and is %d", len(changed), len(now))
					}
					if now := contentOf(t, first); !bytes.Equal(now, moved) {
						t.Errorf("the file that was begun was %d bytes and is %d", len(moved), len(now))
					}
				})
			}
		}
	})
}

func contentOf(t *testing.T, f *os.File) []byte {
	t.Helper()
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Close is the first that comes upon a file which others have moved away.
func TestCloseOfAMovedFile(t *testing.T) {
	eachFormat(t, func(t *testing.T, _ bool, opts ...cursor.FileOption) {
		path := filepath.Join(t.TempDir(), "out")
		f := openFile(t, path, nil, opts...)
		write(t, f, "committed\n")
		f.Mark()
		syncFile(t, f)
		write(t, f, "not committed\n")
		want := readFile(t, path)
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); !errors.Is(err, cursor.ErrOutputChanged) {
			t.Errorf("Close: %v", err)
		}
		if got := readFile(t, path+".1"); !bytes.Equal(got, want) {
			t.Errorf("the file was %d bytes and is %d", len(want), len(got))
		}
	})
}

// Discard changes nothing where one of several outputs is another run's.
func TestDiscardOfALockedFile(t *testing.T) {
	dir := t.TempDir()
	store := newFileStore(t, filepath.Join(dir, "state"))
	open := func(text string) error {
		a, b := openOutput(t, filepath.Join(dir, "a")), openOutput(t, filepath.Join(dir, "b"))
		defer a.Close()
		defer b.Close()
		c, err := cursor.Open[int](t.Context(), store, "job", cursor.Attach("a", a), cursor.Attach("b", b), cursor.Discard())
		if err != nil {
			return err
		}
		defer c.Close()
		write(t, a, text)
		write(t, b, text)
		return c.Commit(t.Context(), 7)
	}
	if err := open("first"); err != nil {
		t.Fatal(err)
	}
	before, err := cursor.Inspect(t.Context(), store, "job")
	if err != nil {
		t.Fatal(err)
	}
	other := openOutput(t, filepath.Join(dir, "b"))
	defer other.Close()
	if err := other.TryLock(); err != nil {
		t.Fatal(err)
	}
	if err := open("second"); !errors.Is(err, cursor.ErrLocked) {
		t.Errorf("Open: %v", err)
	}
	after, err := cursor.Inspect(t.Context(), store, "job")
	if err != nil || after.Seq != before.Seq || string(after.Position) != "7" {
		t.Errorf("the record is %+v, %v, and was %+v", after, err, before)
	}
	if got := content(t, filepath.Join(dir, "a"), false); got != "first" {
		t.Errorf("a has %q", got)
	}
}

func openOutput(t *testing.T, path string) *cursor.File {
	t.Helper()
	f, err := cursor.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func appendText(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o666)
}

// incompressible returns bytes that gzip cannot make fewer.
func incompressible(n int) []byte {
	data := make([]byte, n)
	state := uint32(1)
	for i := range data {
		state = state*1664525 + 1013904223
		data[i] = byte(state >> 24)
	}
	return data
}
