package cursor_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/internal/fsys"
	"example.com/pipeline/seq"
)

// A format writes the lines of a test through one of the writers that there are.
type format struct {
	name   string
	faults bool // with a fault at every step, which takes its time
	open   func(f *cursor.File) (line func(i int) error)
	text   func(t *testing.T, data []byte) string // what a reader of the file sees
}

func asIs(_ *testing.T, data []byte) string { return string(data) }

func gunzip(t *testing.T, data []byte) string {
	t.Helper()
	if len(data) == 0 {
		return ""
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

// fields is a line of the test, which is longer than any buffer once.
func fields(i int) []string {
	n := 3 * i
	if i == 2 {
		n = 100 << 10
	}
	return []string{strconv.Itoa(i), strings.Repeat("x", n)}
}

// A zipped ends its member at each mark, as a member must end where the file can be cut off,
// and makes none of nothing.
type zipped struct {
	*gzip.Writer
	begun bool
}

func (z *zipped) Write(p []byte) (int, error) {
	z.begun = true
	return z.Writer.Write(p)
}

func newZipped(f *cursor.File) *zipped {
	z := &zipped{Writer: gzip.NewWriter(f)}
	f.BeforeMark(func() error {
		if !z.begun {
			return nil
		}
		z.begun = false
		err := z.Close()
		z.Reset(f)
		return err
	})
	return z
}

var formats = []format{
	{"csv.Writer", true, func(f *cursor.File) func(int) error {
		w := csv.NewWriter(f.Buffered())
		return func(i int) error { return w.Write(fields(i)) }
	}, asIs},
	{"bufio.Writer", false, func(f *cursor.File) func(int) error {
		w := bufio.NewWriter(f.Buffered())
		return func(i int) error {
			w.WriteString(fields(i)[0])
			w.WriteByte(',')
			w.Write([]byte(fields(i)[1]))
			_, err := w.WriteRune('\n')
			return err
		}
	}, asIs},
	{"larger bufio.Writer", false, func(f *cursor.File) func(int) error {
		w := bufio.NewWriterSize(f.Buffered(), 1<<20)
		f.BeforeMark(w.Flush)
		return func(i int) error {
			_, err := fmt.Fprintln(w, fields(i))
			return err
		}
	}, asIs},
	{"json.Encoder", false, func(f *cursor.File) func(int) error {
		e := json.NewEncoder(f.Buffered())
		return func(i int) error { return e.Encode(fields(i)) }
	}, asIs},
	{"tabwriter.Writer", false, func(f *cursor.File) func(int) error {
		w := tabwriter.NewWriter(f.Buffered(), 0, 8, 1, ' ', 0)
		f.BeforeMark(w.Flush)
		return func(i int) error {
			_, err := fmt.Fprintf(w, "%d\t%s\t|\n", i, fields(i)[1])
			return err
		}
	}, asIs},
	{"gzip.Writer", false, func(f *cursor.File) func(int) error {
		zip := newZipped(f)
		return func(i int) error {
			_, err := fmt.Fprintln(zip, fields(i))
			return err
		}
	}, gunzip},
	{"csv.Writer on gzip.Writer", true, func(f *cursor.File) func(int) error {
		w := csv.NewWriter(newZipped(f))
		f.BeforeMark(func() error { w.Flush(); return w.Error() })
		return func(i int) error { return w.Write(fields(i)) }
	}, gunzip},
	{"File and Buffered in turn", true, func(f *cursor.File) func(int) error {
		return func(i int) error {
			fmt.Fprint(f.Buffered(), i, " ")
			fmt.Fprint(f, fields(i)[1])
			_, err := fmt.Fprintln(f.Buffered())
			return err
		}
	}, asIs},
}

// A bufferedRun writes lines in a folder of its own.
type bufferedRun struct {
	format
	opts  []cursor.FileOption
	dir   string
	items int
	every int
	body  func(i int) error // after the line, while the item is in hand; may be nil
}

func (r bufferedRun) output() string { return filepath.Join(r.dir, "out") }

func (r bufferedRun) run() (err error) {
	ctx := context.Background()
	store, err := cursor.NewFileStore(filepath.Join(r.dir, "state"))
	if err != nil {
		return err
	}
	f, err := cursor.OpenFile(r.output(), r.opts...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	c, err := cursor.Open[int](ctx, store, "job", cursor.Attach("out", f))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	line := r.format.open(f)
	for i, err := range cursor.Track(ctx, seq.Of(numbers(c.Position(), r.items)...), c, cursor.Every{Items: r.every}, self) {
		if err != nil {
			return err
		}
		if err := line(i); err != nil {
			return err
		}
		if r.body != nil {
			if err := r.body(i); err != nil {
				return err
			}
		}
	}
	return c.Finish(ctx)
}

// killed goes on in a copy of what a killed process would leave at this moment.
func (r bufferedRun) killed(t *testing.T, want, when string) {
	t.Helper()
	from := r.dir
	r.dir, r.body = filepath.Join(t.TempDir(), "copy"), nil
	if err := os.CopyFS(r.dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	r.finish(t, want, when)
}

func (r bufferedRun) finish(t *testing.T, want, when string) {
	t.Helper()
	if err := r.run(); err != nil {
		t.Fatalf("%s: the next run: %v", when, err)
	}
	if got := string(readFile(t, r.output())); got != want {
		t.Fatalf("%s: the file has %d bytes, want %d; as text %d, want %d:\n%.300q\nwant\n%.300q",
			when, len(got), len(want), len(r.text(t, []byte(got))), len(r.text(t, []byte(want))), got, want)
	}
}

// TestBufferedIsOneRun breaks every format off at every item, and kills it there, and gives
// the disk a fault at every second step of some: resumed, the file is byte for byte that of one run.
func TestBufferedIsOneRun(t *testing.T) {
	const items = 5
	fault := func(*fsys.Step) error { return nil } // or the error of this step
	remove := fsys.SetHook(func(s *fsys.Step) error {
		if err := fault(s); err != nil || s.Op == fsys.OpSync || s.Op == fsys.OpSyncDir {
			return err
		}
		return s.Do()
	})
	defer remove()
	for _, form := range formats {
		for every := 1; every <= 3; every++ {
			t.Run(fmt.Sprintf("%s,every=%d", form.name, every), func(t *testing.T) {
				whole := bufferedRun{format: form, dir: t.TempDir(), items: items, every: every}
				if err := whole.run(); err != nil {
					t.Fatal(err)
				}
				want := string(readFile(t, whole.output()))
				for i := range items {
					if !strings.Contains(form.text(t, []byte(want)), fields(i)[1]) {
						t.Fatalf("line %d is not in the file of a whole run", i)
					}
				}
				for at := range items {
					r := whole
					r.dir = t.TempDir()
					r.body = func(i int) error {
						if i == at {
							r.killed(t, want, fmt.Sprint("killed at ", at))
							return errBoom // with a line that may be in the buffer
						}
						return nil
					}
					if err := r.run(); !errors.Is(err, errBoom) {
						t.Fatal(err)
					}
					r.body = nil
					r.finish(t, want, fmt.Sprint("broken off at ", at))
				}
				for step, through := rand.IntN(2), every != 2 || !form.faults; !through; step += 2 {
					r := whole
					r.dir = t.TempDir()
					n := 0
					fault = func(s *fsys.Step) error {
						if n++; n-1 != step {
							return nil
						}
						_ = s.DoPart(s.Len / 2)
						return syscall.EIO
					}
					err := r.run()
					fault = func(*fsys.Step) error { return nil }
					through = n <= step
					if through != (err == nil) {
						t.Fatalf("a fault at step %d of %d: %v", step, n, err)
					}
					r.finish(t, want, fmt.Sprint("a fault at step ", step))
				}
			})
		}
	}
}

// TestBufferedCompressed is the same with a File that compresses: its content is one run's.
func TestBufferedCompressed(t *testing.T) {
	for _, form := range formats[:2] {
		r := bufferedRun{format: form, opts: []cursor.FileOption{cursor.Gzip()}, dir: t.TempDir(), items: 7, every: 2}
		if err := r.run(); err != nil {
			t.Fatal(err)
		}
		want := gunzip(t, readFile(t, r.output()))
		for at := range r.items {
			r.dir = t.TempDir()
			r.body = func(i int) error {
				if i == at {
					return errBoom
				}
				return nil
			}
			if err := r.run(); !errors.Is(err, errBoom) {
				t.Fatal(err)
			}
			r.body = nil
			if err := r.run(); err != nil {
				t.Fatal(err)
			}
			if got := gunzip(t, readFile(t, r.output())); got != want {
				t.Errorf("%s broken off at %d: %d bytes, want %d", form.name, at, len(got), len(want))
			}
		}
	}
}
