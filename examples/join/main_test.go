package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/control"
)

func join(t *testing.T, c config, gate *control.Gate) string {
	t.Helper()
	var out strings.Builder
	if err := run(t.Context(), &out, c, gate); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := join(t, config{20, 50 * time.Millisecond, 10 * time.Second}, new(control.Gate))
		for id := 1; id <= 20; id++ {
			want := fmt.Sprintf("product %2d: price of %d, stock of %d, reviews of %d\n", id, id, id, id)
			if id == 7 {
				want = "product  7: incomplete, has price of 7, stock of 7\n"
			}
			if strings.Count(got, want) != 1 {
				t.Errorf("no %q", want)
			}
		}
		if !strings.HasSuffix(got, "19 pages complete, 1 incomplete\n") || !strings.Contains(got, "item 7: no reviews\n") {
			t.Errorf("printed\n%s", got)
		}
	})
}

// A page that is older than its time to live comes out as it is, and nothing is lost.
func TestTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := join(t, config{10, 200 * time.Millisecond, 100 * time.Millisecond}, new(control.Gate))
		for _, what := range []string{"price", "stock", "reviews"} {
			want := 10
			if what == "reviews" {
				want-- // those of 7
			}
			if n := strings.Count(got, what+" of "); n != want {
				t.Errorf("%d parts with %s, want %d", n, what, want)
			}
		}
		if !strings.Contains(got, "0 pages complete") {
			t.Errorf("printed\n%s", got)
		}
	})
}

func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := new(control.Gate)
		time.AfterFunc(time.Second, gate.Stop)
		got := join(t, config{0, 50 * time.Millisecond, 10 * time.Second}, gate)
		if complete := strings.Count(got, ", reviews of "); complete < 100 ||
			!strings.HasSuffix(got, fmt.Sprintf("\n%d pages complete, 1 incomplete\n", complete)) {
			t.Errorf("at the end %q", got[max(0, len(got)-200):])
		}
	})
}

// At the end of its context the program leaves nothing running: the bubble would say.
func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := run(ctx, io.Discard, config{0, 50 * time.Millisecond, time.Second}, new(control.Gate)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}
