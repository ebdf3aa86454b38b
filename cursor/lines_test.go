package cursor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

// texts are files that lines can end in in different ways.
var texts = []string{
	"", "\n", "a", "a\n", "a\nb", "a\r\nb\r\n", "a\r\nb\r", "\r\n\r\n", "\r", "a\rb\n", "\n\n\nx\n\n", "\xff\x00\n\xfe",
	strings.Repeat("x", 64<<10) + "\nshort\n" + strings.Repeat("y", 200_001) + "\r\nlast",
	strings.Repeat("z", 64<<10-2) + "\r\n" + strings.Repeat("z", 64<<10-1) + "\n\n",
}

// checkLines compares with seq.Lines, and goes on behind each line.
func checkLines(t *testing.T, text string) {
	t.Helper()
	want, err := seq.Collect(seq.Lines(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	r := strings.NewReader(text)
	all, err := seq.Collect(cursor.Lines(t.Context(), r, nil))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	end := int64(0)
	for i, l := range all {
		got = append(got, l.Text)
		if !strings.HasPrefix(text[end:], l.Text) || l.Offset <= end {
			t.Fatalf("line %d of %.100q ends at %d, the one before at %d", i, text, l.Offset, end)
		}
		end = l.Offset
	}
	if !slices.Equal(got, want) || end != int64(len(text)) {
		t.Fatalf("the lines of %.100q are %.100q up to %d, want %.100q up to %d", text, got, end, want, len(text))
	}
	for i, l := range all {
		rest, err := seq.Collect(cursor.Lines(t.Context(), r, &l.Offset))
		if err != nil || !slices.Equal(rest, all[i+1:]) {
			t.Fatalf("behind line %d of %.100q: %.100v, %v", i, text, rest, err)
		}
	}
}

func TestLines(t *testing.T) {
	for _, text := range texts {
		checkLines(t, text)
	}
}

func FuzzLines(f *testing.F) {
	for _, text := range texts {
		f.Add(text)
	}
	f.Fuzz(checkLines)
}

// TestLinesReuse leaves loops and begins them again: each seeks to its own beginning.
func TestLinesReuse(t *testing.T) {
	r := strings.NewReader("a\nb\nc\n")
	after := int64(2)
	lines := cursor.Lines(t.Context(), r, &after)
	after = 100 // the stream has its own copy
	for range 2 {
		for l, err := range lines {
			if l != (cursor.Line{Text: "b", Offset: 4}) || err != nil {
				t.Fatalf("got %v, %v", l, err)
			}
			break
		}
	}
	if got, err := seq.Collect(lines); len(got) != 2 || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestLinesInputChanged changes the file between two runs.
func TestLinesInputChanged(t *testing.T) {
	for _, test := range []struct {
		text  string
		after int64
		want  error
	}{
		{"one\ntwo\n", 4, nil},
		{"one\ntwo\n", 8, nil},
		{"one\ntwo\nthree", 8, nil},
		{"one\ntwo", 7, nil}, // the last line, without an ending
		{"one\n", 5, cursor.ErrInputChanged},
		{"", 1, cursor.ErrInputChanged},
		{"one\ntwo, and more\n", 7, cursor.ErrInputChanged}, // it has gone on
		{"one\ntwo\n", 7, cursor.ErrInputChanged},
		{"four\nfive\n", 4, cursor.ErrInputChanged}, // another file
		{"a\r\nb", 2, cursor.ErrInputChanged},       // in the midst of an ending
	} {
		got, err := seq.Collect(cursor.Lines(t.Context(), strings.NewReader(test.text), &test.after))
		if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) || err != nil && len(got) > 0 {
			t.Errorf("%q after %d: %v, %v", test.text, test.after, got, err)
		}
	}
}

// TestLinesTruncatedMeanwhile: a file that becomes shorter while it is read does not end in
// silence, and its cut line does not come out. One that grows is read to its end.
func TestLinesTruncatedMeanwhile(t *testing.T) {
	line := strings.Repeat("x", 99) + "\n"
	for name, test := range map[string]struct {
		size  int64
		lines int
		want  error
	}{
		"shorter": {100_050, 1000, cursor.ErrInputChanged},
		"longer":  {300_000, 3000, nil},
	} {
		path := filepath.Join(t.TempDir(), "in")
		if err := os.WriteFile(path, []byte(strings.Repeat(line, 2000)), 0o666); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		n := 0
		for _, err = range cursor.Lines(t.Context(), f, nil) {
			if err != nil {
				break
			}
			if n++; n == 1 {
				now := []byte(strings.Repeat(line, 3000))[:test.size]
				if err := os.WriteFile(path, now, 0o666); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n != test.lines || !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
			t.Errorf("%s: %d lines, %v", name, n, err)
		}
	}
}

// A seeker is a reader of which one call fails.
type seeker struct {
	io.Reader
	size int64
	errs []error // of the calls of Seek
}

func (s *seeker) Seek(int64, int) (int64, error) {
	err := s.errs[0]
	s.errs = s.errs[1:]
	return s.size, err
}

// TestLinesErrors: an error of r ends the stream, without the line that it cut off.
func TestLinesErrors(t *testing.T) {
	failed := &seq.ItemError{Item: 1, Err: errBoom}
	for name, test := range map[string]struct {
		r     *seeker
		lines int
		want  error
	}{
		"in a line":     {&seeker{io.MultiReader(strings.NewReader("a\nb\nc"), iotest.ErrReader(errBoom)), 6, []error{nil, nil}}, 2, errBoom},
		"an item error": {&seeker{io.MultiReader(strings.NewReader("a\n"), iotest.ErrReader(failed)), 6, []error{nil, nil}}, 1, errBoom},
		"not the end":   {&seeker{io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(fmt.Errorf("broken: %w", io.EOF))), 3, []error{nil, nil}}, 1, io.EOF},
		"unexpected":    {&seeker{io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(io.ErrUnexpectedEOF)), 3, []error{nil, nil}}, 1, io.ErrUnexpectedEOF},
		"the size":      {&seeker{strings.NewReader("a\n"), 2, []error{errBoom}}, 0, errBoom},
		"the seek":      {&seeker{strings.NewReader("a\n"), 2, []error{nil, errBoom}}, 0, errBoom},
	} {
		n, errs := 0, []error(nil)
		for _, err := range cursor.Lines(t.Context(), test.r, nil) {
			if err != nil {
				errs = append(errs, err)
				continue
			}
			n++
		}
		if n != test.lines || len(errs) != 1 || !errors.Is(errs[0], test.want) || seq.IsItemError(errs[0]) {
			t.Errorf("%s: %d lines, %v", name, n, errs)
		}
	}
	after := int64(2)
	for _, err := range cursor.Lines(t.Context(), &seeker{iotest.ErrReader(errBoom), 5, []error{nil, nil}}, &after) {
		if !errors.Is(err, errBoom) {
			t.Errorf("reading what is before: %v", err)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w.Close()
	if _, err := seq.Collect(cursor.Lines(t.Context(), r, nil)); err == nil {
		t.Error("a pipe cannot seek")
	}
	mustPanic(t, "cursor.Lines: r must not be nil", func() { cursor.Lines(t.Context(), nil, nil) })
	after = -1
	mustPanic(t, "cursor.Lines: after must not be negative, got -1", func() { cursor.Lines(t.Context(), r, &after) })
}

// TestLinesContext: the end of ctx is one final error, before the next line.
func TestLinesContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	n, errs := 0, []error(nil)
	for _, err := range cursor.Lines(ctx, strings.NewReader("a\nb\nc\n"), nil) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if n++; n == 2 {
			cancel(errBoom)
		}
	}
	if n != 2 || len(errs) != 1 || !errors.Is(errs[0], context.Canceled) || !errors.Is(errs[0], errBoom) {
		t.Errorf("%d lines, %v", n, errs)
	}
	for _, err := range cursor.Lines(ctx, &seeker{}, nil) { // whose Seek would panic
		if !errors.Is(err, errBoom) {
			t.Error(err)
		}
	}
}

// TestLinesResumed breaks a copy of a file off at every line, resumes it, and has the file.
func TestLinesResumed(t *testing.T) {
	const text = "one\n\ntwo, without the ending of the third\r\n" + "third"
	for at := range 4 {
		for every := 1; every <= 3; every++ {
			dir := t.TempDir()
			store := cursor.NewMemStore()
			run := func(breakAt int) {
				f, err := cursor.OpenFile(filepath.Join(dir, "out"))
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				c, err := cursor.Open[int64](t.Context(), store, "job", cursor.Attach("out", f))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				lines := cursor.Lines(t.Context(), strings.NewReader(text), c.Position())
				for l, err := range cursor.Track(t.Context(), lines, c, cursor.Every{Items: every}, func(l cursor.Line) int64 { return l.Offset }) {
					if err != nil {
						t.Fatal(err)
					}
					fmt.Fprintf(f, "%d %s\n", l.Offset, l.Text)
					if breakAt--; breakAt < 0 {
						return
					}
				}
				if c.Items() != 4 || *c.Position() != int64(len(text)) {
					t.Errorf("%d items up to %d", c.Items(), *c.Position())
				}
			}
			run(at)
			run(1 << 30)
			const want = "4 one\n5 \n43 two, without the ending of the third\n48 third\n"
			if got := string(readFile(t, filepath.Join(dir, "out"))); got != want {
				t.Errorf("broken off at %d, every %d: %q", at, every, got)
			}
		}
	}
}
