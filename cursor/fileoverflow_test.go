package cursor_test

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

// TestForgottenBuffer writes through a buffer that nobody flushes, until it is full.
func TestForgottenBuffer(t *testing.T) {
	row := []string{"a row", strings.Repeat("x", 90)}
	for name, open := range map[string]func(f *cursor.File) (write func() error){
		"csv.Writer": func(f *cursor.File) func() error {
			w := csv.NewWriter(f)
			return func() error { return w.Write(row) }
		},
		"fmt.Fprintln": func(f *cursor.File) func() error {
			w := bufio.NewWriter(f)
			return func() error { _, err := fmt.Fprintln(w, row); return err }
		},
		"bytes": func(f *cursor.File) func() error {
			w := bufio.NewWriter(f)
			return func() error { return w.WriteByte('x') }
		},
		"runes": func(f *cursor.File) func() error {
			w := bufio.NewWriter(f)
			return func() error { _, err := w.WriteRune('€'); return err }
		},
		"io.MultiWriter": func(f *cursor.File) func() error {
			w := bufio.NewWriter(io.MultiWriter(io.Discard, f))
			return func() error { _, err := w.WriteString("a row\n"); return err }
		},
		"two buffers": func(f *cursor.File) func() error {
			w := bufio.NewWriterSize(bufio.NewWriter(f), 64<<10)
			return func() error { return csv.NewWriter(w).Write(row) }
		},
		"one larger than Buffered's": func(f *cursor.File) func() error {
			w := bufio.NewWriterSize(f.Buffered(), 128<<10)
			return func() error { return csv.NewWriter(w).Write(row) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, f, _ := fileJob(t)
			write := open(f)
			var got error
			for _, err := range cursor.Track(t.Context(), seq.Of(numbers(nil, 100_000)...), c, cursor.Every{Items: 3}, self) {
				if err != nil {
					got = err
					break
				}
				if err := write(); err != nil {
					t.Fatal(err)
				}
			}
			if !errors.Is(got, cursor.ErrUnflushed) || !strings.Contains(got.Error(), "Buffered") || !strings.Contains(got.Error(), "Discard") {
				t.Errorf("the loop ended with %v", got)
			}
			if err := c.Finish(t.Context()); !errors.Is(err, cursor.ErrUnflushed) {
				t.Errorf("Finish: %v", err)
			}
			if _, err := f.Write(nil); !errors.Is(err, cursor.ErrUnflushed) {
				t.Errorf("Write: %v", err)
			}
		})
	}
}

// TestForgottenBufferByHand is the same without Track.
func TestForgottenBufferByHand(t *testing.T) {
	c, f, _ := fileJob(t)
	w := bufio.NewWriter(f)
	if _, err := w.WriteString(strings.Repeat("x", 5000)); err != nil {
		t.Fatal(err)
	}
	if err := c.Commit(t.Context(), 1); !errors.Is(err, cursor.ErrUnflushed) {
		t.Errorf("Commit: %v", err)
	}
	if err := c.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Commit(t.Context(), 1); err != nil {
		t.Errorf("Commit after Reset: %v", err)
	}
}

// TestOverflowIsProof writes items of any size in every way that a bufio.Writer has, flushed
// or not. Where every item is flushed there must be no error, and where there is one, bytes
// of the item must be missing.
func TestOverflowIsProof(t *testing.T) {
	const rounds = 1000
	f, _ := unattached(t)
	r := rand.New(rand.NewPCG(1, 2))
	size := func() int { // mostly about a multiple of the buffer
		if r.IntN(3) == 0 {
			return r.IntN(20)
		}
		return max(0, r.IntN(4)*4096+r.IntN(9)-4)
	}
	text := strings.Repeat("x", 1<<16)
	flagged := 0
	for round := range rounds {
		if err := f.Restore(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		var to io.Writer = f
		var sizes []int
		var buffers []*bufio.Writer
		if r.IntN(4) == 0 {
			to = f.Buffered()
		}
		if r.IntN(4) == 0 {
			to = io.MultiWriter(io.Discard, to)
		}
		for range 1 + r.IntN(2) {
			n := []int{16, 4096, 4096, 4096, 5000, 64 << 10, 70_000}[r.IntN(7)]
			b := bufio.NewWriterSize(to, n)
			sizes, buffers, to = append(sizes, n), append(buffers, b), b
		}
		w := buffers[len(buffers)-1]
		flush := r.IntN(2) == 0
		var ways []string
		for range 1 + r.IntN(4) {
			n := size()
			way := r.IntN(6)
			ways = append(ways, fmt.Sprint(way, ":", n))
			switch way {
			case 0:
				w.WriteString(text[:n])
			case 1:
				w.Write([]byte(text[:n]))
			case 2:
				for range n {
					w.WriteByte('x')
				}
			case 3:
				for range n / 3 {
					w.WriteRune('€')
				}
			case 4:
				w.ReadFrom(strings.NewReader(text[:n]))
			case 5:
				io.Copy(w, bytes.NewReader([]byte(text[:n])))
			}
		}
		if flush {
			for i := len(buffers) - 1; i >= 0; i-- {
				buffers[i].Flush()
			}
		}
		f.Mark()
		held := 0
		for _, b := range buffers {
			if b != f.Buffered() {
				held += b.Buffered()
			}
		}
		_, err := f.Sync(t.Context())
		if err != nil && !errors.Is(err, cursor.ErrUnflushed) {
			t.Fatal(err)
		}
		if err != nil && held == 0 {
			t.Fatalf("round %d: buffers of %d, written %v, flushed %t: an error though nothing is held: %v", round, sizes, ways, flush, err)
		}
		if err != nil {
			flagged++
		}
	}
	if flagged < rounds/20 {
		t.Errorf("only %d of %d were found", flagged, rounds)
	}
	t.Logf("%d of %d were found", flagged, rounds)
}

// TestFlushedEachItem: whoever flushes by hand, with each item, has done nothing wrong.
func TestFlushedEachItem(t *testing.T) {
	c, f, path := fileJob(t)
	w := csv.NewWriter(f)
	want := 0
	for i, err := range cursor.Track(t.Context(), seq.Of(numbers(nil, 200)...), c, cursor.Every{Items: 3}, self) {
		if err != nil {
			t.Fatal(err)
		}
		row := []string{fmt.Sprint(i), strings.Repeat("y", i*100)}
		want += len(row[0]) + len(row[1]) + 2
		w.Write(row)
		w.Flush()
	}
	if got := len(content(t, path, false)); got != want {
		t.Errorf("the file has %d bytes, want %d", got, want)
	}
}
