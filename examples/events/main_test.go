//go:build unix

package main

import (
	"bufio"
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The test binary is the program where this variable is set.
const beProgram = "EVENTS_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(beProgram) != "" {
		os.Exit(start())
	}
	os.Exit(m.Run())
}

// A process is one run of the program.
type process struct {
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr bytes.Buffer
	url    string // to push to
}

// launch starts the program and waits until it has the job.
func launch(t *testing.T, args ...string) *process {
	t.Helper()
	p := begin(t, args...)
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %s", err, p.stderr.String())
	}
	_, p.url, _ = strings.Cut(strings.TrimSpace(line), "post to ")
	return p
}

func begin(t *testing.T, args ...string) *process {
	t.Helper()
	p := new(process)
	p.cmd = exec.Command(os.Args[0], append([]string{"-lease=200ms", "-tick=20ms"}, args...)...)
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

// terminate asks the program to end, which it does in peace.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	if code, printed := p.end(t); code != 0 || !strings.Contains(printed, "events are stored") {
		t.Errorf("exit code %d: %s", code, printed)
	}
}

// A world is an API that lists 30 events more each time it is asked, and a sender that
// pushes others, one of three of which is listed as well, until they are accepted.
type world struct {
	api      *httptest.Server
	to       atomic.Pointer[string] // where to push
	over     atomic.Bool            // nothing more is to happen
	sending  sync.WaitGroup
	mu       sync.Mutex
	listed   int
	accepted []string
}

func newWorld(t *testing.T) *world {
	w := new(world)
	asked := 0
	w.api = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if asked++; asked%5 == 1 {
			http.Error(rw, "not now", http.StatusServiceUnavailable)
			return
		}
		if !w.over.Load() {
			w.listed += 30
		}
		after, _ := strconv.Atoi(r.FormValue("after"))
		limit, _ := strconv.Atoi(r.FormValue("limit"))
		page := []listing{}
		for n := after + 1; n <= min(after+limit, w.listed); n++ {
			page = append(page, listing{int64(n), fmt.Sprintf("event-%d", n)})
		}
		json.NewEncoder(rw).Encode(page)
	}))
	t.Cleanup(w.api.Close)
	return w
}

// push pushes events until the world is over, each until it is accepted, and every tenth
// twice.
func (w *world) push() {
	for i := 1; !w.over.Load(); i++ {
		id := fmt.Sprintf("pushed-%d", i)
		if i%3 == 0 {
			id = fmt.Sprintf("event-%d", i/3)
		}
		for times := 1 + i%10/9; times > 0; {
			if response, err := http.Post(*w.to.Load(), "text/plain", strings.NewReader(id)); err == nil {
				response.Body.Close()
				if response.StatusCode == http.StatusAccepted {
					w.mu.Lock()
					w.accepted = append(w.accepted, id)
					w.mu.Unlock()
					times--
					continue
				}
			}
			time.Sleep(5 * time.Millisecond) // it is down
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// sent is what there is to store, as far as the ticks have come.
func (w *world) sent(ticks int64) map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := map[string]bool{}
	for n := range ticks {
		sent[fmt.Sprintf("tick-%d", n+1)] = true
	}
	for n := range w.listed {
		sent[fmt.Sprintf("event-%d", n+1)] = true
	}
	for _, id := range w.accepted {
		sent[id] = true
	}
	return sent
}

// last is the last event that is listed.
func (w *world) last() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int64(w.listed)
}

// A table is what the program has stored.
type table struct{ *sql.DB }

func openTable(t *testing.T) (db table, flag string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "events.db")
	opened, err := sql.Open("sqlite", "file:"+filepath.ToSlash(path)+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	return table{opened}, "-db=" + path
}

// job is what the record has.
func (db table) job(t *testing.T) (at positions, items int) {
	t.Helper()
	var position string
	if err := db.QueryRow("SELECT items, COALESCE(position, '{}') FROM pipeline_checkpoints").Scan(&items, &position); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(position), &at); err != nil {
		t.Fatal(err)
	}
	return at, items
}

// waitFor waits until the record has it.
func (db table) waitFor(t *testing.T, has func(at positions, items int) bool) {
	t.Helper()
	for since := time.Now(); !has(db.job(t)); time.Sleep(20 * time.Millisecond) {
		if time.Since(since) > time.Minute {
			at, items := db.job(t)
			t.Fatalf("after a minute: %+v, %d items", at, items)
		}
	}
}

// check compares the table with what was sent and with the record.
func (db table) check(t *testing.T, w *world) {
	t.Helper()
	at, items := db.job(t)
	rows, err := db.Query("SELECT id FROM events")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	stored := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		stored[id] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	sent := w.sent(at.Tick)
	if diff := cmp.Diff(sent, stored); diff != "" || items != len(stored) || at.API != w.last() {
		t.Errorf("%d items, %d stored, up to %+v of %d; -sent +stored:\n%s", items, len(stored), at, w.last(), diff)
	}
}

// Terminated in the midst, the program has stored all that it accepted, and the sources
// go on where it ended: after a second run, which is terminated as well, all that was
// sent is stored, each once.
func TestTerminated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	db, flag := openTable(t)
	p := launch(t, flag, "-api", w.api.URL)
	w.to.Store(&p.url)
	w.sending.Go(w.push)
	db.waitFor(t, func(at positions, _ int) bool { return at.Tick > 5 && at.API > 50 })
	p.terminate(t)
	first, items := db.job(t)
	w.mu.Lock()
	accepted := len(w.accepted)
	for _, id := range w.accepted {
		var n int
		if err := db.QueryRow("SELECT count(*) FROM events WHERE id = ?", id).Scan(&n); err != nil || n != 1 {
			t.Errorf("%s was accepted, and is stored %d times: %v", id, n, err)
		}
	}
	w.mu.Unlock()
	if accepted == 0 || int(first.Tick) >= items {
		t.Errorf("%d accepted, %d items up to %+v", accepted, items, first)
	}

	p = launch(t, flag, "-api", w.api.URL)
	w.to.Store(&p.url)
	db.waitFor(t, func(at positions, _ int) bool { return at.Tick > first.Tick+5 && at.API > first.API+50 })
	w.over.Store(true)
	w.sending.Wait()
	db.waitFor(t, func(at positions, _ int) bool { return at.API == w.last() })
	p.terminate(t)
	db.check(t, w)
	if len(w.accepted) <= accepted {
		t.Errorf("%d accepted, as many as before", accepted)
	}
}

// Killed three times, it loses nothing that it can ask for again.
func TestKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	db, flag := openTable(t)
	var last positions
	for range 3 {
		p := launch(t, flag, "-api", w.api.URL)
		db.waitFor(t, func(at positions, _ int) bool { return at.Tick > last.Tick && at.API > last.API })
		time.Sleep(rand.N(100 * time.Millisecond))
		p.cmd.Process.Kill()
		p.end(t)
		last, _ = db.job(t)
	}
	p := launch(t, flag, "-api", w.api.URL)
	w.over.Store(true)
	db.waitFor(t, func(at positions, _ int) bool { return at.Tick > last.Tick && at.API == w.last() })
	p.terminate(t)
	db.check(t, w)
}

// Without sources of others it has its own.
func TestDemo(t *testing.T) {
	t.Parallel()
	db, flag := openTable(t)
	p := launch(t, flag)
	db.waitFor(t, func(at positions, items int) bool { return at.Tick > 0 && at.API > 0 && items > 50 })
	p.terminate(t)
}

func TestWrongFlags(t *testing.T) {
	for _, args := range [][]string{{"-tick", "0"}, {"more"}} {
		if code, printed := begin(t, args...).end(t); code != 2 {
			t.Errorf("%v: exit code %d: %s", args, code, printed)
		}
	}
}
