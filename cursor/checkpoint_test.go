package cursor_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

// numbers streams the numbers after the position up to n.
func numbers(after *int, n int) []int {
	first := 0
	if after != nil {
		first = *after + 1
	}
	var all []int
	for i := first; i < n; i++ {
		all = append(all, i)
	}
	return all
}

func self(i int) int { return i }

// TestResume breaks off a run and resumes it, on every store.
func TestResume(t *testing.T) {
	files, err := cursor.NewFileStore(filepath.Join(t.TempDir(), "state", "of", "jobs"))
	if err != nil {
		t.Fatal(err)
	}
	for name, store := range map[string]cursor.Store{"file": files, "mem": cursor.NewMemStore()} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out")
			run := func(stopAt int) {
				f, err := cursor.OpenFile(path)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				c, err := cursor.Open[int](t.Context(), store, "job", cursor.Attach("out", f))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				in := seq.Of(numbers(c.Position(), 25)...)
				for i, err := range cursor.Track(t.Context(), in, c, cursor.Every{Items: 10}, self) {
					if err != nil {
						t.Fatal(err)
					}
					fmt.Fprintln(f, i)
					if i == stopAt {
						return
					}
				}
				if err := c.Finish(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			run(13)
			run(20)
			run(-1)
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			for i := range 25 {
				want += fmt.Sprintln(i)
			}
			if string(got) != want {
				t.Errorf("the output is %q, want %q", got, want)
			}
		})
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
