package seq_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.com/pipeline/seq"
)

func ExampleOf() {
	for v, err := range seq.Of("a", "b") {
		fmt.Println(v, err)
	}
	// Output:
	// a <nil>
	// b <nil>
}

func ExampleFrom() {
	items, err := seq.Collect(seq.From(slices.Values([]int{1, 2, 3})))
	fmt.Println(items, err)
	// Output: [1 2 3] <nil>
}

func ExampleFromChan() {
	ch := make(chan int, 2)
	ch <- 1
	ch <- 2
	close(ch)
	items, err := seq.Collect(seq.FromChan(context.Background(), ch))
	fmt.Println(items, err)
	// Output: [1 2] <nil>
}

// A function that returns one item a call, here a decoder's, becomes a stream.
func ExampleFromFunc() {
	in := strings.NewReader("3 1 4")
	next := func(context.Context) (int, error) {
		var n int
		_, err := fmt.Fscan(in, &n)
		return n, err // io.EOF at the end
	}
	items, err := seq.Collect(seq.FromFunc(context.Background(), next))
	fmt.Println(items, err)
	// Output: [3 1 4] <nil>
}

// What there is of a line that is cut off comes before the error.
func ExampleLines() {
	cut := io.MultiReader(strings.NewReader("one\r\ntwo\nthr"), brokenReader{})
	for line, err := range seq.Lines(cut) {
		fmt.Printf("%q %v\n", line, err)
	}
	// Output:
	// "one" <nil>
	// "two" <nil>
	// "thr" <nil>
	// "" connection reset
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func ExampleTicks() {
	n := 0
	for _, err := range seq.Take(seq.Ticks(context.Background(), time.Millisecond), 3) {
		if err != nil {
			fmt.Println(err)
		}
		n++
	}
	fmt.Println(n, "ticks")
	// Output: 3 ticks
}

// files makes a stream of what calls back, here [filepath.WalkDir]. A folder that cannot
// be read is an error about that folder: whoever ranges decides whether to go on.
func files(root string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			goOn := true
			if err != nil {
				goOn = yield("", &seq.ItemError{Item: path, Err: err})
			} else if !entry.IsDir() {
				goOn = yield(path, nil)
			}
			if !goOn { // the loop was left: yield must not be called again
				return fs.SkipAll
			}
			return nil
		})
	}
}

// A function that calls back becomes a stream: its callback yields, and says stop when
// the loop was left.
func Example_walkDir() {
	root, err := os.MkdirTemp("", "walk")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	for _, name := range []string{"a.txt", "b.txt", "c.txt"} {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
			log.Fatal(err)
		}
	}
	for path, err := range files(root) {
		fmt.Println(filepath.Base(path), err)
		if filepath.Base(path) == "b.txt" {
			break
		}
	}
	missing := seq.Drain(files(filepath.Join(root, "missing")))
	fmt.Println(seq.IsItemError(missing), errors.Is(missing, fs.ErrNotExist))
	// Output:
	// a.txt <nil>
	// b.txt <nil>
	// true true
}

// Fail lets a function that returns a stream report that there will be none.
func ExampleFail() {
	open := func(name string) iter.Seq2[string, error] {
		if name == "" {
			return seq.Fail[string](errors.New("no file name"))
		}
		return seq.Lines(strings.NewReader("contents of " + name))
	}
	fmt.Println(seq.Collect(open("")))
	fmt.Println(seq.Collect(open("a.txt")))
	// Output:
	// [] no file name
	// [contents of a.txt] <nil>
}
