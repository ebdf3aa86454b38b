package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A child that has its memory measured is this test's program, too.
func TestMain(m *testing.M) {
	if childMain() {
		return
	}
	// Under the race detector a process waits for a second before it exits.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	os.Exit(m.Run())
}

func small(t *testing.T) *bench {
	return &bench{rounds: 1, scale: 0.002, until: time.Now(), temp: t.TempDir(), say: t.Logf}
}

// TestSameWork runs every contestant of every part, on little work. The run fails
// where two of a race come to different results, or to another order where that is
// promised; see TestDigestTells.
func TestSameWork(t *testing.T) {
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			results, err := p.run(small(t))
			if err != nil {
				t.Fatal(err)
			}
			if len(results) == 0 {
				t.Fatal("no results")
			}
			for _, r := range results {
				checkResult(t, r)
			}
			checkOutput(t, results)
		})
	}
}

// checkResult expects at least one of ours in each column, and one peer where any column
// is ranked, with sensible numbers.
func checkResult(t *testing.T, r *result) {
	t.Helper()
	if r.rows[0].role != ours {
		t.Errorf("%s: the first contestant is %s, which is none of ours", r.id, r.rows[0].name)
	}
	ranked := slices.ContainsFunc(r.columns, func(c column) bool { return !c.noRank })
	for j, col := range r.columns {
		count := map[role]int{}
		for _, row := range r.rows {
			if len(row.cells) != len(r.columns) {
				t.Fatalf("%s: %s has %d cells in %d columns", r.id, row.name, len(row.cells), len(r.columns))
			}
			c := row.cells[j]
			if c == nil {
				continue
			}
			count[row.role]++
			if !col.noRank && !(c.min > 0 && c.min <= c.median && c.median <= c.max) {
				t.Errorf("%s, %s: %s has %v", r.id, col.name, row.name, *c)
			}
		}
		if count[ours] == 0 || ranked && count[peer] == 0 {
			t.Errorf("%s, %s: %d of ours, %d peers", r.id, col.name, count[ours], count[peer])
		}
	}
}

// checkOutput writes report and charts, and expects whole SVG files with every name.
func checkOutput(t *testing.T, results []*result) {
	t.Helper()
	dir := t.TempDir()
	if err := writeCharts(dir, results); err != nil {
		t.Fatal(err)
	}
	text := report(small(t), "a machine", results, time.Second, true)
	for _, r := range results {
		svg, err := os.ReadFile(filepath.Join(dir, chartName(r)))
		if err != nil {
			t.Fatal(err)
		}
		shown := textOf(t, svg)
		for _, want := range append([]string{r.title}, names(r)...) {
			if !slices.Contains(shown, want) {
				t.Errorf("%s: the chart does not say %q", r.id, want)
			}
			if !strings.Contains(text, want) {
				t.Errorf("%s: the report does not say %q", r.id, want)
			}
		}
	}
}

func names(r *result) (names []string) {
	for _, row := range r.rows {
		names = append(names, row.name)
	}
	return names
}

// textOf reads an SVG file and returns its texts.
func textOf(t *testing.T, svg []byte) (texts []string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return texts
		}
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := token.(xml.CharData); ok {
			texts = append(texts, strings.TrimSpace(string(data)))
		}
	}
}

func contestantOf(name string, r role, values []int, err error) contestant {
	return contestant{name, "", r, func() (o outcome, _ error) {
		for _, v := range values {
			o.sum.inOrder(v)
		}
		return o, err
	}}
}

// TestDigestTells has contestants that do other work than the first.
func TestDigestTells(t *testing.T) {
	for name, tc := range map[string]struct {
		values []int
		err    error
		fails  bool
	}{
		"the same":      {values: []int{1, 2, 3}},
		"another order": {values: []int{2, 1, 3}, fails: true},
		"one missing":   {values: []int{1, 2}, fails: true},
		"one twice":     {values: []int{1, 2, 3, 3}, fails: true},
		"another value": {values: []int{1, 2, 4}, fails: true},
		"an error":      {values: []int{1, 2, 3}, err: errors.New("no"), fails: true},
	} {
		_, err := small(t).race(race{name: "r", items: 3, contestants: []contestant{
			contestantOf("first", ours, []int{1, 2, 3}, nil),
			contestantOf("second", peer, tc.values, tc.err),
		}})
		if (err != nil) != tc.fails || err != nil && !strings.Contains(err.Error(), "second") {
			t.Errorf("%s: %v", name, err)
		}
	}
	var a, b, c digest
	for _, v := range []int{1, 2, 3} {
		a.anyOrder(v)
	}
	for _, v := range []int{3, 1, 2} {
		b.anyOrder(v)
	}
	for _, v := range []int{3, 1, 1} {
		c.anyOrder(v)
	}
	if a != b || a == c {
		t.Errorf("digests in any order: %x, %x and %x", a, b, c)
	}
}

// TestMapsStopAtErrors has work fail, and the source.
func TestMapsStopAtErrors(t *testing.T) {
	bad := errors.New("bad")
	work := func(v int) (int, error) {
		if v == 50 {
			return 0, bad
		}
		return v, nil
	}
	source := func(yield func(int, error) bool) {
		for v := range numbers(20) {
			if !yield(v, nil) {
				return
			}
		}
		yield(0, bad)
	}
	for _, m := range slices.Concat(orderedMaps[int](), unorderedMaps[int](), mapLimits[int]()) {
		for _, n := range []int{1, 8} {
			if err := m.run(n, numbers(1000), work, func(int) {}); !errors.Is(err, bad) {
				t.Errorf("%s, %d workers: an error of the work became %v", m.name, n, err)
			}
			if err := m.run(n, source, work, func(int) {}); !errors.Is(err, bad) {
				t.Errorf("%s, %d workers: an error of the source became %v", m.name, n, err)
			}
		}
	}
}

// made returns a result of one column with the given medians.
func made(col column, medians ...float64) *result {
	r := &result{table: table{id: "made", title: "Made up"}, columns: []column{col}}
	roles := []role{ours, peer, peer, limit}
	for i, m := range medians {
		r.rows = append(r.rows, row{contestant{name: string(rune('a' + i)), role: roles[i]}, []*cell{{m, m, m, -1}}})
	}
	return r
}

func TestStanding(t *testing.T) {
	for name, tc := range map[string]struct {
		r           *result
		best        string
		times, part float64
		lost, won   bool
	}{
		"faster":      {made(column{unit: "ns"}, 10, 40, 20, 5), "c", 2, 0.5, false, true},
		"slower":      {made(column{unit: "ns"}, 40, 20, 30, 10), "b", 0.5, 0.25, true, false},
		"even":        {made(column{unit: "ns"}, 10, 10.2, 11, 10), "b", 1.02, 1, false, false},
		"more wins":   {made(column{unit: "%", higher: true}, 90, 45, 30, 100), "b", 2, 0.9, false, true},
		"more, loses": {made(column{unit: "%", higher: true}, 45, 30, 90, 100), "c", 0.5, 0.45, true, false},
	} {
		s, ok := tc.r.standing(0)
		if !ok || s.bestName != tc.best || s.againstBest != tc.times || s.againstTop != tc.part || s.lost() != tc.lost || s.won() != tc.won {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if _, ok := made(column{noRank: true}, 1, 2).standing(0); ok {
		t.Error("a column without ranks was compared")
	}
}

// TestLossesAreNamed: a loss cannot go unseen, explained or not.
func TestLossesAreNamed(t *testing.T) {
	lost, won := made(column{name: "x", unit: "ns"}, 40, 20), made(column{name: "x", unit: "ns"}, 20, 40)
	b := small(t)
	if text := report(b, "", []*result{lost}, 0, false); !strings.Contains(text, "- "+notExplained+" It is so in: [Made up, x](#made) (b is 2.00 times as fast).") || !strings.Contains(text, "(behind)") {
		t.Errorf("an unexplained loss is not named:\n%s", text)
	}
	reasons["made/x"] = "It was made up."
	defer delete(reasons, "made/x")
	if text := report(b, "", []*result{lost}, 0, false); !strings.Contains(text, "It was made up.") || strings.Contains(text, notExplained) {
		t.Errorf("an explained loss is not:\n%s", text)
	}
	if text := report(b, "", []*result{won}, 0, false); !strings.Contains(text, "Nowhere in this run.") || strings.Contains(text, "(behind)") {
		t.Errorf("a win counts as a loss:\n%s", text)
	}
}

func TestArguments(t *testing.T) {
	for args, want := range map[string]string{
		"-parts nothing": `there is no "nothing"`,
		"more":           `unknown argument "more"`,
	} {
		if err := run(strings.Fields(args), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
	t.Chdir(t.TempDir())
	var stdout bytes.Buffer
	if err := run([]string{"-quick", "-parts", "seq"}, &stdout, io.Discard); err != nil || !strings.Contains(stdout.String(), "seq.Map, Filter, Map") {
		t.Errorf("%v\n%s", err, stdout.String())
	}
	if written, err := os.ReadDir("."); err != nil || len(written) != 0 {
		t.Errorf("a run of one part wrote %v, %v", written, err)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0.756: "0.76", 9.5: "9.50", 52.04: "52.0", 519.6: "520", 1234567: "1,234,567"} {
		if got := number(v); got != want {
			t.Errorf("%v: %q instead of %q", v, got, want)
		}
	}
}
