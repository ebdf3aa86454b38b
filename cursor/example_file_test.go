package cursor_test

import (
	"compress/gzip"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

// A csv.Writer over Buffered needs no Flush: broken off at any item and resumed, the file has
// every row once.
func ExampleFile_Buffered() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "squares.csv")
	store := cursor.NewMemStore()

	export := func(breakAt int) {
		file, err := cursor.OpenFile(path)
		if err != nil {
			panic(err)
		}
		defer file.Close()
		job, err := cursor.Open[int](ctx, store, "squares", cursor.Attach("file", file))
		if err != nil {
			panic(err)
		}
		defer job.Close()
		rows := csv.NewWriter(file.Buffered())
		first := 1
		if pos := job.Position(); pos != nil {
			first = *pos + 1
		}
		var rest []int
		for n := first; n <= 5; n++ {
			rest = append(rest, n)
		}
		for n, err := range cursor.Track(ctx, seq.Of(rest...), job, cursor.Every{Items: 3}, func(n int) int { return n }) {
			if err != nil {
				panic(err)
			}
			rows.Write([]string{strconv.Itoa(n), strconv.Itoa(n * n)})
			if n == breakAt {
				return
			}
		}
	}

	export(3)
	export(0)
	text, err := os.ReadFile(path)
	fmt.Print(string(text), err)
	// Output:
	// 1,1
	// 2,4
	// 3,9
	// 4,16
	// 5,25
	// <nil>
}

// A writer that holds bytes in a way of its own is flushed before each Mark, to where another
// one can go on: here a gzip member for each item.
func ExampleFile_BeforeMark() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "lines.gz")
	file, err := cursor.OpenFile(path)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	job, err := cursor.Open[int](ctx, cursor.NewMemStore(), "lines", cursor.Attach("file", file))
	if err != nil {
		panic(err)
	}
	defer job.Close()

	zip := gzip.NewWriter(file)
	file.BeforeMark(func() error {
		err := zip.Close()
		zip.Reset(file)
		return err
	})
	for n, err := range cursor.Track(ctx, seq.Of(1, 2, 3), job, cursor.Every{}, func(n int) int { return n }) {
		if err != nil {
			panic(err)
		}
		fmt.Fprintln(zip, "line", n)
	}

	data, err := os.Open(path)
	if err != nil {
		panic(err)
	}
	defer data.Close()
	lines, err := gzip.NewReader(data)
	if err != nil {
		panic(err)
	}
	text, err := io.ReadAll(lines)
	fmt.Print(string(text), err)
	// Output:
	// line 1
	// line 2
	// line 3
	// <nil>
}
