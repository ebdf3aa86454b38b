package main

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/control"
)

// enrich runs the program in a bubble and returns the numbers that it printed.
func enrich(t *testing.T, c config, gate *control.Gate) (n numbers) {
	t.Helper()
	var out strings.Builder
	if err := run(t.Context(), &out, c, gate); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	last := strings.Join(lines[len(lines)-2:], "\n")
	var took string
	if _, err := fmt.Sscanf(last, "%d orders enriched, %d of an unknown customer, in %s\n"+
		"%d loads, %d of them from the cache, made %d fetches of %d keys: %d fetches saved",
		&n.enriched, &n.unknown, &took, &n.loads, &n.hits, &n.fetches, &n.keys, &n.saved); err != nil {
		t.Fatalf("%v in\n%s", err, out.String())
	}
	return n
}

type numbers struct{ enriched, unknown, loads, hits, fetches, keys, saved int }

func TestSaves(t *testing.T) {
	for _, test := range []struct {
		config
		keys, fetches int // at most; each key once, where all are kept
	}{
		{config{2000, 32, 1000}, 300 + 4, 300}, // the unknown one is not kept
		{config{2000, 32, 0}, 2000, 1000},
		{config{200, 1, 1000}, 200, 200},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := enrich(t, test.config, new(control.Gate))
			if n.enriched+n.unknown != test.orders || n.unknown != test.orders/500 || n.loads != test.orders {
				t.Errorf("%+v: %+v", test.config, n)
			}
			if n.keys > test.keys || n.fetches > test.fetches || n.saved != n.loads-n.fetches {
				t.Errorf("%+v: %+v, want at most %d keys and %d fetches", test.config, n, test.keys, test.fetches)
			}
			if kept := n.hits > 0; kept != (test.cache > 0) {
				t.Errorf("%+v: %d hits", test.config, n.hits)
			}
		})
	}
}

// Stopped, the program finishes what it has begun.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := new(control.Gate)
		time.AfterFunc(time.Second, gate.Stop)
		n := enrich(t, config{1_000_000, 4, 0}, gate)
		if n.enriched == 0 || n.enriched+n.unknown != n.loads || n.loads == 1_000_000 {
			t.Errorf("%+v", n)
		}
	})
}

func TestUnknownCustomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		if err := run(t.Context(), &out, config{500, 32, 100}, new(control.Gate)); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); !strings.Contains(got, "not found") || !strings.Contains(got, "order 1 is customer 19's\n") {
			t.Errorf("printed\n%s", got)
		}
	})
}
