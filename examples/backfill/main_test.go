//go:build unix

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/pipeline/cursor"
)

// The test binary is the program where this variable is set.
const beProgram = "BACKFILL_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(beProgram) != "" {
		os.Exit(start())
	}
	os.Exit(m.Run())
}

const rows = 120

// A process is one run of the program on a folder.
type process struct {
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr bytes.Buffer
}

func launch(t *testing.T, folder string, args ...string) *process {
	t.Helper()
	p := new(process)
	p.cmd = exec.Command(os.Args[0], append([]string{"-state", folder, "-rows", fmt.Sprint(rows), "-down", "100ms", "-busy", "0.002", "-rate", "300"}, args...)...)
	p.cmd.Env = append(os.Environ(), beProgram+"=1")
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewReader(stdout)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	return p
}

// end waits for the end and returns the exit code, -1 after a kill, and what was
// printed since the line that was read last.
func (p *process) end(t *testing.T) (code int, printed string) {
	t.Helper()
	all, err := io.ReadAll(p.stdout)
	if err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode(), string(all) + p.stderr.String()
}

// line reads the first line, which the program prints when it is about to begin.
func (p *process) line(t *testing.T) string {
	t.Helper()
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %s", err, p.stderr.String())
	}
	return line
}

// charged returns how often the service has charged for each row.
func charged(t *testing.T, folder string) map[int64]int {
	t.Helper()
	db, err := openSQLite(filepath.Join(folder, fmt.Sprintf("backfill-%d", rows), "service.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	found, err := db.Query("SELECT row, count(*) FROM charges GROUP BY row")
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	times := make(map[int64]int)
	for found.Next() {
		var row int64
		var n int
		if err := found.Scan(&row, &n); err != nil {
			t.Fatal(err)
		}
		times[row] = n
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return times
}

func answers(t *testing.T, folder string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, fmt.Sprintf("backfill-%d", rows), "answers.csv"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// checkDone looks at what the service counts, and at the file.
func checkDone(t *testing.T, folder string) {
	t.Helper()
	times := charged(t, folder)
	var want strings.Builder
	for id := int64(1); id <= rows; id++ {
		if times[id] != 1 {
			t.Errorf("row %d was charged %d times", id, times[id])
		}
		fmt.Fprintf(&want, "%d,score %d\n", id, id*7919%100)
	}
	if got := answers(t, folder); len(times) != rows || got != want.String() {
		t.Errorf("%d rows charged, and the answers are\n%s", len(times), got)
	}
}

// Killed at random moments and started again, the job charges for every row once and
// has every answer once.
func TestKilledAtRandom(t *testing.T) {
	folder := t.TempDir()
	for kill := range 5 {
		p := launch(t, folder)
		switch kill {
		case 0: // anywhere, also while the databases are made
		case 1: // when a part of the job is committed
			p.line(t)
			store, err := cursor.NewFileStore(filepath.Join(folder, fmt.Sprintf("backfill-%d", rows)))
			if err != nil {
				t.Fatal(err)
			}
			waiting := time.Now()
			for {
				record, err := cursor.Inspect(t.Context(), store, "backfill")
				if err != nil || time.Since(waiting) > time.Minute {
					t.Fatalf("no commit in a minute: %v", err)
				}
				if record.Items > 0 {
					break
				}
				time.Sleep(time.Millisecond)
			}
		case 2:
			var done int
			if line := p.line(t); !strings.Contains(line, " rows are done") {
				t.Logf("done after 2 kills: %s", line)
			} else if _, err := fmt.Sscanf(line, "%d of", &done); err != nil || done == 0 {
				t.Errorf("after a kill in the midst: %s", line)
			}
		default:
			p.line(t)
		}
		time.Sleep(rand.N(300 * time.Millisecond))
		p.cmd.Process.Kill()
		p.end(t)
	}
	if code, printed := launch(t, folder).end(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, printed)
	}
	checkDone(t, folder)
}

// Asked to terminate, the program finishes what it has called for: what was charged is
// in the file and committed, unless a call failed, which is not tried again then. A second run at the same time is refused; the next one
// completes the job, and one more finds nothing to do.
func TestTerminated(t *testing.T) {
	folder := t.TempDir()
	p := launch(t, folder, "-rate", "10") // slow enough to be there for all that follows
	first := p.line(t)
	if code, printed := launch(t, folder).end(t); code != 1 || !strings.Contains(printed, "locked by another runner") {
		t.Errorf("a second run: exit code %d: %s", code, printed)
	}
	page, err := http.Get(strings.TrimSpace(first[strings.Index(first, "http"):]))
	if err != nil {
		t.Fatal(err)
	}
	defer page.Body.Close()
	if page.StatusCode != http.StatusOK {
		t.Errorf("the page: %s", page.Status)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	code, printed := p.end(t)
	if code != 3 || !strings.Contains(printed, "Start it again") {
		t.Fatalf("exit code %d: %s", code, printed)
	}
	failed := strings.Contains(printed, "failed")
	if n, lines := len(charged(t, folder)), strings.Count(answers(t, folder), "\n"); lines > n || lines < n && !failed || n == rows {
		t.Errorf("%d rows charged, %d answers, a call failed: %t", n, lines, failed)
	}
	for _, want := range []string{"changed nothing\n", "nothing to do"} {
		if code, printed := launch(t, folder).end(t); code != 0 || !strings.Contains(printed, want) {
			t.Fatalf("exit code %d, no %q in: %s", code, want, printed)
		}
		checkDone(t, folder)
	}
	if code, printed := launch(t, folder, "-restart").end(t); code != 0 || !strings.Contains(printed, "charged 120 times for 120") {
		t.Errorf("restarted: exit code %d: %s", code, printed)
	}
	checkDone(t, folder)
}

func TestWrongFlags(t *testing.T) {
	for _, args := range [][]string{{"-rows", "0"}, {"-rate", "0"}, {"more"}} {
		if code, printed := launch(t, t.TempDir(), args...).end(t); code != 2 {
			t.Errorf("%v: exit code %d: %s", args, code, printed)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for value, want := range map[string][2]time.Duration{
		"3": {3 * time.Second, 3 * time.Second}, "0": {0, 0},
		"": {time.Second, time.Second}, "soon": {time.Second, time.Second}, "-1": {time.Second, time.Second},
		in(5 * time.Second): {3 * time.Second, 5 * time.Second}, in(-time.Hour): {0, 0},
		// What nobody waits for: it is capped, however large it is.
		in(time.Hour): {longestPause, longestPause}, "86400": {longestPause, longestPause}, "9223372037": {longestPause, longestPause},
	} {
		header := http.Header{"Retry-After": {value}}
		if got := retryAfter(header); got < want[0] || got > want[1] {
			t.Errorf("%q: %v", value, got)
		}
	}
}
