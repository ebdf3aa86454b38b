package cursor_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"example.com/pipeline/cursor"
)

// A plain is a compressor that does not compress: a member is its text in brackets. It
// fails where broken says so.
type plain struct {
	w      io.Writer
	begun  bool
	broken *error
}

func (p *plain) Reset(w io.Writer) { p.w, p.begun = w, false }

func (p *plain) Write(b []byte) (int, error) {
	if *p.broken != nil {
		return 0, *p.broken
	}
	if !p.begun {
		p.begun = true
		io.WriteString(p.w, "[")
	}
	return p.w.Write(b)
}

func (p *plain) Close() error {
	if *p.broken != nil {
		return *p.broken
	}
	if !p.begun {
		io.WriteString(p.w, "[")
	}
	_, err := io.WriteString(p.w, "]")
	return err
}

// TestCompress puts any compressor in the place of gzip: a member a commit, and none of
// what was not committed.
func TestCompress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	var broken error
	option := cursor.Compress(func(w io.Writer) cursor.Compressor { return &plain{w: w, broken: &broken} })
	f := openFile(t, path, nil, option)
	empty := syncFile(t, f)
	f.Close()
	if got := string(readFile(t, path)); got != "[]" {
		t.Errorf("a file of nothing is %q", got)
	}
	f = openFile(t, path, empty, option)
	for _, text := range []string{"a", "b"} {
		write(t, f, text)
		f.Mark()
		write(t, f, text+"!")
		f.Mark()
		syncFile(t, f)
	}
	write(t, f, "c")
	f.Mark()
	state := syncFile(t, f)
	write(t, f, "in hand")
	f.Close()
	f = openFile(t, path, state, option)
	if got := string(readFile(t, path)); got != "[][aa!][bb!][c]" {
		t.Errorf("the file is %q", got)
	}

	// Another compressor, or none, is not let at the file.
	f.Close()
	for _, other := range [][]cursor.FileOption{nil, {cursor.Gzip()}} {
		f, err := cursor.OpenFile(path, other...)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Restore(t.Context(), state); !errors.Is(err, cursor.ErrMismatch) || !strings.Contains(err.Error(), "plain") {
			t.Errorf("another compressor: %v", err)
		}
		f.Close()
	}

	// What it cannot compress is not committed.
	f = openFile(t, path, state, option)
	write(t, f, "lost")
	broken = errors.New("broken")
	f.Mark()
	if _, err := f.Sync(t.Context()); !errors.Is(err, broken) {
		t.Errorf("commit of what could not be compressed: %v", err)
	}
	if _, err := f.Write([]byte("more")); !errors.Is(err, broken) {
		t.Errorf("a write after it: %v", err)
	}
	f.Close()
	broken = nil
	openFile(t, path, state, option)
	if got := string(readFile(t, path)); got != "[][aa!][bb!][c]" {
		t.Errorf("the file is %q", got)
	}
}

// TestGzipIsCompress writes the same file both ways.
func TestGzipIsCompress(t *testing.T) {
	var files [][]byte
	for _, option := range []cursor.FileOption{cursor.Gzip(), cursor.Compress(func(w io.Writer) cursor.Compressor { return gzip.NewWriter(w) })} {
		path := filepath.Join(t.TempDir(), "out")
		f := openFile(t, path, nil, option)
		for range 3 {
			write(t, f, strings.Repeat("text", 1<<20))
			f.Mark()
			syncFile(t, f)
		}
		f.Close()
		files = append(files, readFile(t, path))
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Errorf("%d and %d bytes, which differ", len(files[0]), len(files[1]))
	}
}
