package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/control"
)

// Each order takes the way that its failures ask for, whatever the number of lanes.
func TestWays(t *testing.T) {
	for _, lanes := range []int{1, 10} {
		synctest.Test(t, func(t *testing.T) {
			var out strings.Builder
			if err := run(t.Context(), &out, 40, lanes, new(control.Gate)); err != nil {
				t.Fatal(err)
			}
			got := out.String()
			const again = "retry → task1 → task2 → print\n"
			wants := []string{"39 orders printed, 1 given up\n", "given up:  item order 33: 3 tries "}
			for id := 1; id <= 40; id++ {
				way := " → task1 → task2 → print\n"
				switch {
				case id == 33:
					continue
				case id%7 == 0:
					way = " → task1 failed → " + again
				case id%11 == 0:
					way = " → task1 → task2 failed → retry → task1 → task2 failed → " + again
				}
				for _, line := range strings.SplitAfter(got, "\n") {
					if strings.HasPrefix(line, fmt.Sprintf("order %3d: lane ", id)) {
						if _, rest, _ := strings.Cut(line, "lane "); !strings.HasSuffix(line, way) || len(rest) != len("0"+way) {
							t.Errorf("%d lanes: %q, want it to end in %q", lanes, line, way)
						}
						way = ""
					}
				}
				if way != "" {
					t.Errorf("%d lanes: order %d is missing", lanes, id)
				}
			}
			for _, want := range wants {
				if !strings.Contains(got, want) {
					t.Errorf("%d lanes: no %q in\n%s", lanes, want, got)
				}
			}
		})
	}
}

// Stopped, the line ends without an error, and no order that was begun is lost.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := new(control.Gate)
		read, write := io.Pipe()
		go func() {
			write.CloseWithError(run(t.Context(), write, 0, 10, gate))
		}()
		time.AfterFunc(time.Second, gate.Stop)
		orders, seen, last := 0, make(map[int]bool), ""
		lines := bufio.NewScanner(read)
		for lines.Scan() {
			last = lines.Text()
			var id int
			if n, _ := fmt.Sscanf(strings.TrimPrefix(last, "given up:  item "), "order %d:", &id); n == 1 {
				orders++
				seen[id] = true
			}
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
		for id := 1; id <= orders; id++ {
			if !seen[id] {
				t.Errorf("order %d is missing", id)
			}
		}
		if want := " orders printed, 1 given up"; orders < 100 || !strings.HasSuffix(last, want) {
			t.Errorf("%d orders, and at the end %q", orders, last)
		}
	})
}

// The end of the context is an error, also while a retry sleeps.
func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := run(ctx, io.Discard, 0, 10, new(control.Gate)); err == nil {
			t.Error("no error")
		}
	})
}
