package cursor_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/internal/fsys"
)

// openFile opens an output and restores it.
func openFile(t *testing.T, path string, state json.RawMessage, opts ...cursor.FileOption) *cursor.File {
	t.Helper()
	f, err := cursor.OpenFile(path, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Restore(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	return f
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if n, err := io.WriteString(w, text); n != len(text) || err != nil {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(text), err)
	}
}

func syncFile(t *testing.T, f *cursor.File) json.RawMessage {
	t.Helper()
	state, err := f.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// content returns what is in a file, uncompressed where zip is set.
func content(t *testing.T, path string, zip bool) string {
	t.Helper()
	data := readFile(t, path)
	if !zip || len(data) == 0 {
		return string(data)
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestFileMark writes before and after the mark, in sizes below and above every
// buffer, and resumes from the state: all up to the mark is there, and nothing else.
func TestFileMark(t *testing.T) {
	for _, zip := range []bool{false, true} {
		for _, size := range []int{1, 100 << 10, 1100 << 10} {
			t.Run(fmt.Sprintf("gzip=%t,size=%d", zip, size), func(t *testing.T) {
				var opts []cursor.FileOption
				if zip {
					opts = append(opts, cursor.Gzip())
				}
				path := filepath.Join(t.TempDir(), "out")
				f := openFile(t, path, nil, opts...)
				item := func(c string) string { return strings.Repeat(c, size-1) + "\n" }
				want := ""
				state := syncFile(t, f)
				for _, c := range []string{"a", "b", "c"} {
					write(t, f, item(c))
					f.Mark()
					want += item(c)
					write(t, f, item("x")) // of the item in hand
					state = syncFile(t, f)
					if err := f.Close(); err != nil {
						t.Fatal(err)
					}
					if got := content(t, path, zip); got != want+item("x") {
						t.Fatalf("after Close the file has %d bytes, want %d", len(got), len(want)+size)
					}
					f = openFile(t, path, state, opts...)
					if got := content(t, path, zip); got != want {
						t.Fatalf("restored, the file has %d bytes, want %d", len(got), len(want))
					}
				}
				write(t, f, item("y"))
				f.Mark() // the item in hand is consumed by now
				write(t, f, item("z"))
				f.Mark()
				state = syncFile(t, f)
				f.Close()
				openFile(t, path, state, opts...)
				if got := content(t, path, zip); got != want+item("y")+item("z") {
					t.Fatalf("the file has %d bytes", len(got))
				}
			})
		}
	}
}

// TestGzipMembers counts the members: one a commit that had anything to add, and a
// valid empty file where there was nothing at all.
func TestGzipMembers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.gz")
	members := func() int { return bytes.Count(readFile(t, path), []byte{0x1f, 0x8b, 8, 0}) }
	f := openFile(t, path, nil, cursor.Gzip())
	for i := range 3 {
		for range 4 {
			write(t, f, "some text\n")
			f.Mark()
		}
		syncFile(t, f)
		f.Mark()
		syncFile(t, f)
		if got := content(t, path, true); got != strings.Repeat("some text\n", 4*(i+1)) || members() != i+1 {
			t.Errorf("after commit %d there are %d members: %q", i, members(), got)
		}
	}
	if err := f.Close(); err != nil || members() != 3 {
		t.Errorf("closed: %d members, %v", members(), err)
	}
	f = openFile(t, path, nil, cursor.Gzip())
	f.Mark()
	syncFile(t, f)
	if err := f.Close(); err != nil || members() != 1 || content(t, path, true) != "" {
		t.Errorf("an empty file: %d members, %v", members(), err)
	}
}

// TestOutputChanged changes the output behind the checkpoint's back.
func TestOutputChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	f := openFile(t, path, nil)
	write(t, f, "one\ntwo\n")
	f.Mark()
	state := syncFile(t, f)
	f.Close()
	for name, test := range map[string]struct {
		text string
		want error
	}{
		"as it was":       {"one\ntwo\n", nil},
		"longer":          {"one\ntwo\nthree", nil},
		"shorter":         {"one\ntwo", cursor.ErrOutputChanged},
		"empty":           {"", cursor.ErrOutputChanged},
		"other bytes":     {"one\nTwo\n", cursor.ErrOutputChanged},
		"another, longer": {"quite another file\n", cursor.ErrOutputChanged},
	} {
		if err := os.WriteFile(path, []byte(test.text), 0o666); err != nil {
			t.Fatal(err)
		}
		f, err := cursor.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		err = f.Restore(t.Context(), state)
		f.Close()
		want := test.text
		if test.want == nil {
			want = "one\ntwo\n"
		}
		if !errors.Is(err, test.want) || string(readFile(t, path)) != want {
			t.Errorf("%s: %v, the file is %q", name, err, readFile(t, path))
		}
	}
	for name, bad := range map[string]json.RawMessage{"no JSON": []byte("{"), "negative": []byte(`{"size":-1}`), "unknown": []byte(`{"length":1}`)} {
		f, err := cursor.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Restore(t.Context(), bad); !errors.Is(err, cursor.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		f.Close()
	}
	g, err := cursor.OpenFile(path, cursor.Gzip())
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if err := g.Restore(t.Context(), state); !errors.Is(err, cursor.ErrMismatch) {
		t.Errorf("with gzip: %v", err)
	}
}

// TestReplacedOutput replaces or removes the output during a run: a commit would
// describe a file that is no more.
func TestReplacedOutput(t *testing.T) {
	for _, replace := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "out")
		f := openFile(t, path, nil)
		write(t, f, "text")
		f.Mark()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if replace {
			if err := os.WriteFile(path, []byte("text"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := f.Sync(t.Context()); !errors.Is(err, cursor.ErrOutputChanged) {
			t.Errorf("replaced %t: %v", replace, err)
		}
	}
}

// TestOutputIsLocked opens one output twice.
func TestOutputIsLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	f := openFile(t, path, nil)
	write(t, f, "the first run's\n")
	f.Mark()
	syncFile(t, f)
	other, err := cursor.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Restore(t.Context(), nil); !errors.Is(err, cursor.ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("Restore: %v", err)
	}
	if _, err := other.Write([]byte("x")); err == nil {
		t.Error("Write to another run's output succeeded")
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	if got := content(t, path, false); got != "the first run's\n" {
		t.Errorf("the output is %q", got)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
	if _, err := f.Write(nil); !errors.Is(err, cursor.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
	openFile(t, path, nil)
}

// TestUnattachedFile writes without a checkpoint: to a new file that is all right,
// over one that has something in it it is not.
func TestUnattachedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	for i := range 2 {
		f, err := cursor.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, "text"); err == nil != (i == 0) {
			t.Errorf("write %d: %v", i, err)
		}
		f.Close()
	}
	if got := content(t, path, false); got != "text" {
		t.Errorf("the file is %q", got)
	}
}

func TestOpenFileErrors(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{"a folder": dir, "no folder": filepath.Join(dir, "no", "out"), "a device": os.DevNull} {
		if f, err := cursor.OpenFile(path); err == nil {
			f.Close()
			t.Errorf("%s: no error", name)
		} else if !strings.Contains(err.Error(), path) {
			t.Errorf("%s: the error does not name it: %v", name, err)
		}
	}
}

// TestFullDisk fills the disk in the midst of an item. The items before it can be
// committed; a commit that covers it is refused; when there is space again the next
// run goes on from there.
func TestFullDisk(t *testing.T) {
	for _, zip := range []bool{false, true} {
		t.Run(fmt.Sprintf("gzip=%t", zip), func(t *testing.T) {
			var opts []cursor.FileOption
			if zip {
				opts = append(opts, cursor.Gzip())
			}
			path := filepath.Join(t.TempDir(), "out")
			f := openFile(t, path, nil, opts...)
			write(t, f, "an item\n")
			f.Mark()
			state := syncFile(t, f)
			write(t, f, "another\n")
			f.Mark()

			full := true
			remove := fsys.SetHook(func(s *fsys.Step) error {
				if s.Op == fsys.OpWrite && full {
					_ = s.DoPart(min(3, s.Len))
					return syscall.ENOSPC
				}
				return s.Do()
			})
			defer remove()
			if _, err := f.Sync(t.Context()); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("Sync on a full disk: %v", err)
			}
			full = false
			state = syncFile(t, f)
			full = true

			large := make([]byte, 2<<20) // too large for any buffer, also compressed
			rand.NewChaCha8([32]byte{}).Read(large)
			if _, err := f.Write(large); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("Write on a full disk: %v", err)
			}
			full = false
			if _, err := f.Write([]byte("more")); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("Write after a failed one: %v", err)
			}
			if got := syncFile(t, f); string(got) != string(state) {
				t.Errorf("the state is %s, want that before the failed item, %s", got, state)
			}
			f.Mark() // as if the consumer had passed over the error
			if _, err := f.Sync(t.Context()); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("Sync of an item whose write failed: %v", err)
			}
			f.Close()
			openFile(t, path, state, opts...)
			if got := content(t, path, zip); got != "an item\nanother\n" {
				t.Errorf("the next run begins with %q", got)
			}
		})
	}
}
