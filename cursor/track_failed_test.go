package cursor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

// A failingRun passes over items that fail, with a line for each in its file.
type failingRun struct {
	dir    string
	every  int
	finish bool
	body   func(i int) error // after the line of i, which may be a failed item's
}

func (r failingRun) run() (err error) {
	ctx := context.Background()
	store, err := cursor.NewFileStore(filepath.Join(r.dir, "state"))
	if err != nil {
		return err
	}
	f, err := cursor.OpenFile(filepath.Join(r.dir, "out"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	c, err := cursor.Open[int](ctx, store, "job", cursor.Attach("out", f))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	items := seq.Map(seq.Of(numbers(c.Position(), 10)...), func(i int) (int, error) {
		switch i {
		case 0, 3, 4, 9:
			return 0, errBoom
		}
		return i, nil
	})
	for i, err := range cursor.Track(ctx, items, c, cursor.Every{Items: r.every}, self) {
		if failed, ok := seq.FailedItem[int](err); ok {
			i = failed
			fmt.Fprintln(f.Buffered(), "failed", i)
		} else if err != nil {
			return err
		} else {
			fmt.Fprintln(f.Buffered(), "done", i)
		}
		if err := r.body(i); err != nil {
			return err
		}
	}
	if r.finish {
		return c.Finish(ctx)
	}
	return nil
}

// TestTrackFailedItemsStandOnce writes a line for each item, also for those that failed and
// were passed over. Broken off or killed at any of them, the run that is resumed comes to a
// file with each line once; also where the last item has failed, which nothing covers.
func TestTrackFailedItemsStandOnce(t *testing.T) {
	const want = "failed 0\ndone 1\ndone 2\nfailed 3\nfailed 4\ndone 5\ndone 6\ndone 7\ndone 8\nfailed 9\n"
	goOn := func(int) error { return nil }
	for every := 1; every <= 3; every++ {
		for _, finish := range []bool{false, true} {
			for at := range 10 {
				r := failingRun{dir: t.TempDir(), every: every, finish: finish}
				again := func(dir, when string) {
					t.Helper()
					r := failingRun{dir: dir, every: every, finish: finish, body: goOn}
					for n := range 2 {
						if err := r.run(); err != nil {
							t.Fatal(err)
						}
						if got := string(readFile(t, filepath.Join(dir, "out"))); got != want {
							t.Fatalf("every %d, finish %t, %s at %d, run %d: the file is %q", every, finish, when, at, n, got)
						}
						if finish {
							break // only what is not finished is begun again
						}
					}
				}
				r.body = func(i int) error {
					if i < at {
						return nil
					}
					killed := filepath.Join(t.TempDir(), "killed")
					if err := os.CopyFS(killed, os.DirFS(r.dir)); err != nil {
						return err
					}
					again(killed, "killed")
					return errBoom
				}
				if err := r.run(); !errors.Is(err, errBoom) {
					t.Fatal(err)
				}
				again(r.dir, "broken off")
			}
		}
	}
}
