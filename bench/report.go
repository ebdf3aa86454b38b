package main

import (
	"bufio"
	"cmp"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// report writes everything as Markdown; with charts beside it or not.
func report(b *bench, machine string, results []*result, took time.Duration, charts bool) string {
	var w strings.Builder
	fmt.Fprintf(&w, "# Benchmarks: this library and its peers\n\nMade by `go -C bench run .` on %s in %v", time.Now().UTC().Format("2 January 2006"), took.Round(time.Second))
	if b.scale < 1 {
		fmt.Fprintf(&w, ", with little work and few rounds: rough numbers")
	}
	fmt.Fprintf(&w, ".\n%s\n\n", machine)
	fmt.Fprintf(&w, "All contestants of a table run in one process and take turns, in another order each round; a cell is the median of %d rounds, with the smallest and the largest in brackets. "+
		"All come to the same digest of results, in the same order where that is promised, or the run fails. "+
		"Trust the ratios: they are of one run on one machine. \"Times the best peer\" is about the first row of each table, this library in its default form, and its speed: above 1 it is faster. "+
		"Within %.0f %% counts as even.\n\n", b.rounds, 100*even)
	losses(&w, results)
	summary(&w, results)
	for _, r := range results {
		r.write(&w, charts)
	}
	if len(b.notes) > 0 {
		w.WriteString("## Left out\n\n")
		for _, n := range b.notes {
			fmt.Fprintf(&w, "- %s\n", n)
		}
		w.WriteString("\n")
	}
	versions(&w, results)
	return w.String()
}

// summary has a line for every column that can be compared.
func summary(w *strings.Builder, results []*result) {
	w.WriteString("## Where we stand\n\n| work | | this library | best peer | | times the best peer | part of the limit |\n|---|---|--:|---|--:|--:|--:|\n")
	for _, r := range results {
		for j, col := range r.columns {
			s, ok := r.standing(j)
			if !ok || s.best == nil {
				continue
			}
			mark := ""
			if s.lost() {
				mark = " (behind)"
			} else if !s.won() {
				mark = " (even)"
			}
			fmt.Fprintf(w, "| [%s](#%s) | %s | %s %s | %s | %s %s | %s%s | %s |\n", r.id, r.id, col.name,
				number(s.ours.median), col.unit, s.bestName, number(s.best.median), col.unit, ratio(s.againstBest), mark, ratio(s.againstTop))
		}
	}
	w.WriteString("\n")
}

// losses says of every column that was lost why: a sentence for each reason, with all
// that was lost for it.
func losses(w *strings.Builder, results []*result) {
	w.WriteString("## Where we are behind, and why\n\n")
	lost := map[string][]string{} // what, by reason
	var reasons []string          // in order
	for _, r := range results {
		for j, col := range r.columns {
			s, ok := r.standing(j)
			if !ok || !s.lost() {
				continue
			}
			why := reason(r.id, col.name)
			if lost[why] == nil {
				reasons = append(reasons, why)
			}
			lost[why] = append(lost[why], fmt.Sprintf("[%s, %s](#%s) (%s is %s times as fast)", r.title, col.name, r.id, s.bestName, ratio(1/s.againstBest)))
		}
	}
	for _, why := range reasons {
		fmt.Fprintf(w, "- %s It is so in: %s.\n", why, strings.Join(lost[why], "; "))
	}
	if len(reasons) == 0 {
		w.WriteString("Nowhere in this run.\n")
	}
	w.WriteString("\n")
}

// write appends the table of a result.
func (r *result) write(w *strings.Builder, charts bool) {
	fmt.Fprintf(w, "<a id=\"%s\"></a>\n\n## %s\n\n%s\n\n", r.id, r.title, r.about)
	if charts {
		fmt.Fprintf(w, "![%s](%s)\n\n", r.title, chartName(r))
	}
	header, rule := "|", "|---|"
	for j, col := range r.columns {
		header += fmt.Sprintf(" | %s, %s", col.name, col.unit)
		rule += "--:|"
		if r.counted(j) {
			header += " | allocs"
			rule += "--:|"
		}
	}
	fmt.Fprintf(w, "%s |\n%s\n", header, rule)
	for i, row := range r.rows {
		name := row.name
		if i == 0 {
			name = "**" + name + "**"
		}
		fmt.Fprintf(w, "| %s", name)
		for j, c := range row.cells {
			fmt.Fprintf(w, " | %s", r.cellText(j, c))
			switch {
			case !r.counted(j):
			case c == nil:
				w.WriteString(" | ")
			default:
				fmt.Fprintf(w, " | %.2f", c.allocs)
			}
		}
		w.WriteString(" |\n")
	}
	r.ratios(w)
	w.WriteString("\n")
}

// cellText is a median with its range.
func (r *result) cellText(j int, c *cell) string {
	if c == nil || c.median < 0 {
		return "–"
	}
	if c.min == c.max {
		return number(c.median)
	}
	return fmt.Sprintf("%s (%s–%s)", number(c.median), number(c.min), number(c.max))
}

// counted reports whether allocations were counted in a column.
func (r *result) counted(j int) bool {
	return slices.ContainsFunc(r.rows, func(row row) bool { return row.cells[j] != nil && row.cells[j].allocs >= 0 })
}

// ratios appends the lines that compare.
func (r *result) ratios(w *strings.Builder) {
	for _, line := range []struct {
		name string
		of   func(standing) float64
	}{
		{"times " + r.base, func(s standing) float64 { return s.againstBase }},
		{"times the best peer", func(s standing) float64 { return s.againstBest }},
		{"part of the limit", func(s standing) float64 { return s.againstTop }},
	} {
		text, any := "| *"+line.name+"*", false
		for j := range r.columns {
			cell := "–"
			if s, ok := r.standing(j); ok && line.of(s) > 0 {
				any = true
				cell = "*" + ratio(line.of(s)) + "*"
			}
			text += " | " + cell
			if r.counted(j) {
				text += " | "
			}
		}
		if any {
			w.WriteString(text + " |\n")
		}
	}
}

// versions lists the modules that took part.
func versions(w *strings.Builder, results []*result) {
	used := map[string]bool{"modernc.org/sqlite": true, "github.com/jackc/pgx/v5": true, moduleGobreaker: true}
	for _, r := range results {
		for _, row := range r.rows {
			used[row.module] = true
		}
	}
	w.WriteString("## Versions\n\n")
	info, ok := debug.ReadBuildInfo()
	if !ok {
		w.WriteString("unknown\n")
		return
	}
	for _, m := range slices.SortedFunc(slices.Values(info.Deps), func(a, b *debug.Module) int { return cmp.Compare(a.Path, b.Path) }) {
		if used[m.Path] {
			version := m.Version
			if m.Replace != nil {
				version = "of this repository"
			}
			fmt.Fprintf(w, "- %s %s\n", m.Path, version)
		}
	}
	for _, c := range clients {
		if out, err := exec.Command(c.program, "--version").Output(); err == nil {
			line, _, _ := strings.Cut(string(out), "\n")
			fmt.Fprintf(w, "- %s: %s\n", c.program, line)
		}
	}
}

// describeMachine says what this run is on, before it makes a load of its own.
func describeMachine() string {
	text := fmt.Sprintf("%s, %s/%s, GOMAXPROCS %d", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if key, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(key) == "model name" {
				text += ", " + strings.TrimSpace(value)
				break
			}
		}
	}
	if kernel, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		text += ", Linux " + strings.TrimSpace(string(kernel))
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		first, _, _ := strings.Cut(string(load), " ")
		text += ", load at the start " + first
	}
	return text + "."
}

// number writes three digits that matter, and no more than the reader needs.
func number(v float64) string {
	switch abs := math.Abs(v); {
	case abs >= 1000:
		return thousands(v)
	case abs >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case abs >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// thousands writes a whole number with commas.
func thousands(v float64) string {
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func ratio(v float64) string {
	if v == 0 {
		return "–"
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}
