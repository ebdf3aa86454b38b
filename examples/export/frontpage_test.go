package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"example.com/pipeline/cursor"
)

// TestFrontPage does what README.md shows: a run that is killed, and the same command
// again. What the program says is what stands there, but for figures and paths, and the
// file is byte for byte that of a run that nobody killed.
func TestFrontPage(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(readme), "```console\n")
	shown, _, _ = strings.Cut(shown, "```")
	var args, want []string
	for line := range strings.Lines(shown) {
		line = strings.TrimSuffix(line, "\n")
		if flags, ok := strings.CutPrefix(line, "$ go -C examples run ./export"); ok {
			args = append(args, strings.TrimSuffix(flags, " &"))
		} else if !strings.HasPrefix(line, "$ ") {
			want = append(want, line)
		}
	}
	if len(args) != 2 || len(want) < 4 {
		t.Fatalf("README.md shows the runs %q with %q", args, want)
	}

	dir := t.TempDir()
	first := start(t, " rows/s", dir, strings.Fields(args[0])...)
	got := strings.Split(first.stdout.String(), "\n")[:len(want)-2]
	waitForCommit(t, dir) // which a slow machine may not have come to yet
	if code := first.end(os.Kill); code != -1 {
		t.Errorf("the first run was to be killed, and ended with %d: %s", code, first.stderr)
	}
	second := mustRun(t, dir, exitDone, "going on with", strings.Fields(args[1])...)
	for line := range strings.SplitSeq(strings.TrimSpace(second.stdout), "\n") {
		if !strings.Contains(line, " rows (") { // it has such lines where the machine is slow
			got = append(got, line)
		}
	}
	same(t, "what the runs say", figureless(got), figureless(want))

	whole := t.TempDir()
	demo := filepath.Join(dir, ".pipeline-state", "demo-1000000.db")
	mustRun(t, whole, exitDone, "done: 1,000,000 rows", "-dsn="+demo, "-table=orders")
	if out, err := exec.Command("cmp", filepath.Join(dir, "orders.csv"), filepath.Join(whole, "orders.csv")).CombinedOutput(); err != nil {
		t.Errorf("the file is not that of one run: %s", out)
	}
}

// waitForCommit waits until rows are on record.
func waitForCommit(t *testing.T, dir string) {
	t.Helper()
	store, err := cursor.NewFileStore(filepath.Join(dir, ".pipeline-state"))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		jobs, err := cursor.Jobs(t.Context(), store)
		if err != nil {
			t.Fatal(err)
		}
		for _, job := range jobs {
			if r, err := cursor.Inspect(t.Context(), store, job); err == nil && r.Items > 0 {
				return
			}
		}
	}
	t.Error("nothing was committed within a minute")
}

var (
	figures = regexp.MustCompile(`[\d,]*\d`)
	folder  = regexp.MustCompile(`sqlite:\S*/`)
	timing  = regexp.MustCompile(`, \d+s left`)
)

// figureless is what lines say without what differs from run to run.
func figureless(lines []string) string {
	text := timing.ReplaceAllString(strings.Join(lines, "\n"), "")
	return figures.ReplaceAllString(folder.ReplaceAllString(text, "sqlite:"), "9")
}
