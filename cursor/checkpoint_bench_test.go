package cursor_test

import (
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

// BenchmarkCommit is a commit of a file store, alone and with an output that has grown
// by 100 KB. It reports the median, since the disk's worst cases are not ours.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{0, 100 << 10} {
		b.Run(fmt.Sprintf("output=%dKB", size>>10), func(b *testing.B) {
			dir := b.TempDir()
			var opts []cursor.OpenOption
			var out *cursor.File
			if size > 0 {
				var err error
				if out, err = cursor.OpenFile(filepath.Join(dir, "out")); err != nil {
					b.Fatal(err)
				}
				defer out.Close()
				opts = append(opts, cursor.Attach("out", out))
			}
			c, err := cursor.Open[int](b.Context(), newFileStore(b, dir), "job", opts...)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			data := make([]byte, size)
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				if out != nil {
					if _, err := out.Write(data); err != nil {
						b.Fatal(err)
					}
				}
				start := time.Now()
				if err := c.Commit(b.Context(), i); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/commit(median)")
		})
	}
}

// BenchmarkTrack is what Track costs an item, against the loop without it.
func BenchmarkTrack(b *testing.B) {
	numbers := func(n int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := range n {
				if !yield(i, nil) {
					return
				}
			}
		}
	}
	b.Run("bare loop", func(b *testing.B) {
		n, err := seq.Count(numbers(b.N))
		if n != b.N || err != nil {
			b.Fatal(n, err)
		}
	})
	for name, every := range map[string]cursor.Every{"by number": {Items: 1 << 40}, "by number or time": {Items: 1 << 40, Interval: time.Hour}} {
		b.Run(name, func(b *testing.B) {
			c, err := cursor.Open[int](b.Context(), cursor.NewMemStore(), "job")
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			if n, err := seq.Count(cursor.Track(b.Context(), numbers(b.N), c, every, self)); n != b.N || err != nil {
				b.Fatal(n, err)
			}
		})
	}
}

// BenchmarkFileWrite is a line of 100 bytes, with a mark after each.
func BenchmarkFileWrite(b *testing.B) {
	out, err := cursor.OpenFile(filepath.Join(b.TempDir(), "out"))
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	line := make([]byte, 100)
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if _, err := out.Write(line); err != nil {
			b.Fatal(err)
		}
		out.Mark()
	}
}
