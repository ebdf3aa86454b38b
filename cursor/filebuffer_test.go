package cursor_test

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/internal/fsys"
	"example.com/pipeline/seq"
)

// TestBuffersDoNotStack holds the standard library to what [cursor.File.Buffered] builds on: a
// bufio.Writer is taken as it is by whoever buffers with one.
func TestBuffersDoNotStack(t *testing.T) {
	f := openFile(t, filepath.Join(t.TempDir(), "out"), nil)
	b := f.Buffered()
	for _, size := range []int{0, 1, 4096, 64 << 10} {
		if bufio.NewWriterSize(b, size) != b {
			t.Errorf("NewWriterSize of %d makes another buffer", size)
		}
	}
	if bufio.NewWriter(b) != b || f.Buffered() != b {
		t.Error("there are two buffers")
	}
	if err := csv.NewWriter(b).Write([]string{"a", "b"}); err != nil || b.Buffered() != len("a,b\n") {
		t.Errorf("a csv.Writer has a buffer of its own: %d bytes, %v", b.Buffered(), err)
	}
	if err := xml.NewEncoder(b).EncodeToken(xml.Comment("c")); err != nil || b.Buffered() <= len("a,b\n") {
		t.Errorf("an xml.Encoder has a buffer of its own: %d bytes, %v", b.Buffered(), err)
	}
}

// unattached opens a file that no job has.
func unattached(t *testing.T) (*cursor.File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out")
	return openFile(t, path, nil), path
}

// fileJob opens a job whose file is attached.
func fileJob(t *testing.T) (*cursor.Checkpoint[int], *cursor.File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out")
	f, err := cursor.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	c, err := cursor.Open[int](context.Background(), cursor.NewMemStore(), "job", cursor.Attach("out", f))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, f, path
}

// TestBufferedItemInHand leaves half a line in the buffer: a commit that does not mark leaves
// it there, one that marks takes it along, and Close writes it behind what is committed.
func TestBufferedItemInHand(t *testing.T) {
	c, f, path := fileJob(t)
	for i, err := range cursor.Track(t.Context(), seq.Of(1, 2), c, cursor.Every{Items: 1}, self) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(f.Buffered(), "half a line of %d", i)
		if i == 2 {
			break
		}
		fmt.Fprintln(f.Buffered())
	}
	if got := content(t, path, false); got != "half a line of 1\n" || *c.Position() != 1 {
		t.Fatalf("at %d the file is %q", *c.Position(), got)
	}
	if err := c.Commit(t.Context(), 2); err != nil { // the program says that 2 is done
		t.Fatal(err)
	}
	if got := content(t, path, false); got != "half a line of 1\nhalf a line of 2" {
		t.Errorf("after Commit the file is %q", got)
	}
	fmt.Fprint(f.Buffered(), ", and more")
	if err := errors.Join(c.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path, false); got != "half a line of 1\nhalf a line of 2, and more" {
		t.Errorf("after Close the file is %q", got)
	}
	if _, err := f.Buffered().WriteString("x"); !errors.Is(err, cursor.ErrClosed) {
		t.Errorf("a write after Close: %v", err)
	}
}

// TestReopenedInOneProcess leaves a loop and goes on with the job opened anew, and the File
// still open: the half line of the item in hand is dropped, be it in the buffer or in the file.
func TestReopenedInOneProcess(t *testing.T) {
	for name, flush := range map[string]bool{"in the buffer": false, "in the file": true} {
		f, path := unattached(t)
		store := cursor.NewMemStore()
		w := csv.NewWriter(f.Buffered()) // one for both
		for _, breakAt := range []int{2, -1} {
			c, err := cursor.Open[int](t.Context(), store, "job", cursor.Attach("out", f))
			if err != nil {
				t.Fatal(err)
			}
			for i, err := range cursor.Track(t.Context(), seq.Of(numbers(c.Position(), 4)...), c, cursor.Every{Items: 3}, self) {
				if err != nil {
					t.Fatal(err)
				}
				w.Write([]string{"line", fmt.Sprint(i)})
				if i == breakAt {
					break
				}
			}
			if flush {
				w.Flush()
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if got := content(t, path, false); got != "line,0\nline,1\nline,2\nline,3\n" {
			t.Errorf("%s: the file is %q", name, got)
		}
	}
}

// A tally is a participant that writes to a file when it is marked.
type tally struct {
	recorder
	to io.Writer
}

func (p *tally) Mark() {
	p.recorder.Mark()
	fmt.Fprintln(p.to, "tally", len(p.calls))
}

// TestMarksInOrder: what the Mark of a participant writes to a File that was attached after it
// is in the same commit.
func TestMarksInOrder(t *testing.T) {
	f, path := unattached(t)
	c, err := cursor.Open[int](t.Context(), cursor.NewMemStore(), "job", cursor.Attach("tally", &tally{to: f.Buffered()}), cursor.Attach("out", f))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i, err := range cursor.Track(t.Context(), seq.Of(1, 2), c, cursor.Every{Items: 2}, self) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(f.Buffered(), "item", i)
	}
	if got := content(t, path, false); got != "item 1\ntally 1\nitem 2\ntally 2\n" {
		t.Errorf("the file is %q", got)
	}
}

// TestBufferedWhileIdle commits by the interval, from Track's goroutine, while the loop waits.
func TestBufferedWhileIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f, path := fileJob(t)
		in := seq.Tap(seq.Of(1, 2, 3), func(int, error) { time.Sleep(3 * time.Second) })
		for i, err := range cursor.Track(t.Context(), in, c, cursor.Every{Interval: time.Second}, self) {
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			for j := range i - 1 {
				want += fmt.Sprintln("line", j+1)
			}
			if got := content(t, path, false); got != want {
				t.Errorf("at item %d the file is %q, want %q", i, got, want)
			}
			fmt.Fprintln(f.Buffered(), "line", i)
		}
		if err := errors.Join(c.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestBufferedUnattached: Close writes out what is in the buffer of a File without a checkpoint.
func TestBufferedUnattached(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	for i := range 2 {
		f, err := cursor.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(f.Buffered(), "text")
		if err := f.Close(); (err == nil) != (i == 0) {
			t.Errorf("close %d: %v", i, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if _, err := f.Buffered().WriteString("x"); !errors.Is(err, cursor.ErrClosed) {
			t.Error(err)
		}
	}
	if got := content(t, path, false); got != "text" {
		t.Errorf("the file is %q", got)
	}
}

// TestWriteBeforeOpen: Open would drop what was written before it, a header say.
func TestWriteBeforeOpen(t *testing.T) {
	for name, opts := range map[string][]cursor.OpenOption{"": nil, "discard": {cursor.Discard()}} {
		for _, to := range []func(*cursor.File) io.Writer{
			func(f *cursor.File) io.Writer { return f },
			func(f *cursor.File) io.Writer { return f.Buffered() },
		} {
			path := filepath.Join(t.TempDir(), "out")
			f, err := cursor.OpenFile(path)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(to(f), "a header")
			_, err = cursor.Open[int](t.Context(), cursor.NewMemStore(), "job", append(opts, cursor.Attach("out", f))...)
			if err == nil || !strings.Contains(err.Error(), "write to it after Open") {
				t.Errorf("%s: %v", name, err)
			}
			f.Close()
			if got := content(t, path, false); got != "" {
				t.Errorf("the file that was refused has %q", got)
			}
		}
	}
}

// TestBufferedFullDisk: a flush at the Mark that fails ends the commit, and a Restore makes
// the buffer new.
func TestBufferedFullDisk(t *testing.T) {
	c, f, path := fileJob(t)
	b := f.Buffered()
	fmt.Fprintln(b, "a line")
	if err := c.Commit(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	remove := fsys.SetHook(func(s *fsys.Step) error {
		if s.Op == fsys.OpWrite {
			return syscall.ENOSPC
		}
		return s.Do()
	})
	b.Write(make([]byte, 300<<10))
	remove()
	for range 2 {
		if err := c.Commit(t.Context(), 2); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("Commit: %v", err)
		}
	}
	if _, err := b.WriteString("x"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a write after the failed one: %v", err)
	}
	if *c.Position() != 1 {
		t.Errorf("the position is %d", *c.Position())
	}
	if err := c.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(b, "another")
	if err := c.Commit(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path, false); got != "another\n" {
		t.Errorf("the file is %q", got)
	}
}

// TestBeforeMark looks at when the functions are called, and in which order.
func TestBeforeMark(t *testing.T) {
	c, f, _ := fileJob(t)
	var calls []string
	for _, name := range []string{"first", "second"} {
		f.BeforeMark(func() error { calls = append(calls, name); return nil })
	}
	expect := func(what, want string) {
		t.Helper()
		if got := strings.Join(calls, " "); got != want {
			t.Errorf("%s: called %q, want %q", what, got, want)
		}
		calls = nil
	}
	for i, err := range cursor.Track(t.Context(), seq.Of(1, 2, 3), c, cursor.Every{Items: 2}, self) {
		if err != nil {
			t.Fatal(err)
		}
		if i == 3 {
			break
		}
	}
	expect("two items consumed, one in hand", "second first second first")
	if err := c.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("Finish", "second first")
	if err := c.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("Reset", "")
	if err := errors.Join(c.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	f.Mark()
	expect("Close, and a Mark after it", "")
	mustPanic(t, "cursor.BeforeMark: flush must not be nil", func() { f.BeforeMark(nil) })
}

func mustPanic(t *testing.T, want string, fn func()) {
	t.Helper()
	defer func() {
		if got := recover(); got != want {
			t.Errorf("panic: %v, want %s", got, want)
		}
	}()
	fn()
}

// TestBeforeMarkFails: an error, a panic and a Goexit end the commit; the old checkpoint stands.
func TestBeforeMarkFails(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error":  func() error { return errBoom },
		"panic":  func() error { panic(errBoom) },
		"Goexit": func() error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			c, f, path := fileJob(t)
			var flush func() error
			f.BeforeMark(func() error { return flush() })
			flush = func() error { _, err := fmt.Fprintln(f, "flushed"); return err }
			if err := c.Commit(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			flush = fail
			var got error
			seq.Go(context.Background(), func() {
				defer func() { _ = recover() }()
				for _, err := range cursor.Track(t.Context(), seq.Of(2, 3, 4), c, cursor.Every{Items: 1}, self) {
					if got = err; err != nil {
						break
					}
				}
			}).Wait()
			if name == "error" && !errors.Is(got, errBoom) {
				t.Errorf("Track ended with %v", got)
			}
			flush = func() error { return nil } // once is enough: nobody knows what went missing
			if err := c.Commit(t.Context(), 4); err == nil || name == "error" && !errors.Is(err, errBoom) {
				t.Errorf("the next Commit: %v", err)
			}
			if _, err := f.Write(nil); err == nil {
				t.Error("a write after the failed one succeeded")
			}
			if *c.Position() != 1 {
				t.Errorf("the position is %d", *c.Position())
			}
			if err := errors.Join(c.Close(), f.Close()); err != nil {
				t.Error(err)
			}
			if got := content(t, path, false); got != "flushed\n" {
				t.Errorf("the file is %q", got)
			}
		})
	}
}
