package cursor_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"example.com/pipeline/cursor"
)

// Words of a file are counted line by line. The second run seeks to where the first one was
// broken off; no line is counted twice.
func ExampleLines() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "poem.txt")
	if err := os.WriteFile(path, []byte("so much depends\nupon\n\na red wheel\nbarrow"), 0o666); err != nil {
		panic(err)
	}
	store, err := cursor.NewFileStore(filepath.Join(dir, "state"))
	if err != nil {
		panic(err)
	}

	count := func(breakAt int) {
		file, err := os.Open(path)
		if err != nil {
			panic(err)
		}
		defer file.Close()
		words := &sum{} // a Participant, which is saved with the position
		job, err := cursor.Open[int64](ctx, store, "words", cursor.Attach("words", words))
		if err != nil {
			panic(err)
		}
		defer job.Close()
		lines := cursor.Lines(ctx, file, job.Position())
		for l, err := range cursor.Track(ctx, lines, job, cursor.Every{Items: 2}, func(l cursor.Line) int64 { return l.Offset }) {
			if err != nil {
				panic(err)
			}
			words.total += len(strings.Fields(l.Text))
			if breakAt--; breakAt == 0 {
				break // in the midst of this line's work: it comes again
			}
		}
		fmt.Println(job.Items(), "lines up to byte", *job.Position(), "with", words.marked, "words")
	}

	count(4)
	count(0)
	// Output:
	// 3 lines up to byte 22 with 4 words
	// 5 lines up to byte 40 with 8 words
}
