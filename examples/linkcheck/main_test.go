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
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/pipeline/cursor"
)

// The test binary is the program where this variable is set.
const beProgram = "LINKCHECK_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(beProgram) != "" {
		os.Exit(start())
	}
	os.Exit(m.Run())
}

const total = 120

// A process is one run of the program, with hosts of its own.
type process struct {
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr bytes.Buffer
	hosts  *watched
}

// watched is the site, and sees how many calls each host gets at once.
type watched struct {
	site
	mu    sync.Mutex
	calls map[string]int
	most  map[string]int
	count int
}

func (w *watched) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	add := func(n int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.calls[r.Host] += n
		w.most[r.Host] = max(w.most[r.Host], w.calls[r.Host])
		w.count += max(n, 0)
	}
	add(1)
	defer add(-1)
	w.site.ServeHTTP(rw, r)
}

func launch(t *testing.T, folder string, args ...string) *process {
	t.Helper()
	hosts := &watched{calls: map[string]int{}, most: map[string]int{}}
	server := httptest.NewServer(hosts)
	t.Cleanup(server.Close)
	p := begin(t, append([]string{"-state", folder, "-proxy", server.URL, "-rate", "75"}, args...)...)
	p.hosts = hosts
	return p
}

func begin(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{hosts: new(watched)}
	p.cmd = exec.Command(os.Args[0], args...)
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

// checked reads the first line: how many links were checked before this run.
func (p *process) checked(t *testing.T) (n int) {
	t.Helper()
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %s", err, p.stderr.String())
	}
	if _, err := fmt.Sscanf(line, "%d links are checked", &n); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return n
}

// end waits for the end and returns the exit code, -1 after a kill, and what was
// printed. It looks at what the hosts have seen.
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
	p.hosts.mu.Lock()
	defer p.hosts.mu.Unlock()
	for host, n := range p.hosts.most {
		if n > 2 {
			t.Errorf("%s has got %d calls at once", host, n)
		}
	}
	return p.cmd.ProcessState.ExitCode(), string(all) + p.stderr.String()
}

// newFolder has a list of links, and returns the argument that names it.
func newFolder(t *testing.T) (folder, list string) {
	t.Helper()
	folder = t.TempDir()
	list = filepath.Join(folder, "links.txt")
	if err := os.WriteFile(list, demoList(total), 0o666); err != nil {
		t.Fatal(err)
	}
	return folder, "-list=" + list
}

func output(t *testing.T, folder string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, "links.csv"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Killed three times and interrupted once, the program writes what one run writes: each
// link once, in the order of the list, with its status.
func TestKilled(t *testing.T) {
	folder, list := newFolder(t)
	if code, printed := launch(t, folder, list).end(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, printed)
	}
	want := output(t, folder)
	if n := strings.Count(want, "\n"); n != total || !strings.HasPrefix(want, strings.ReplaceAll(`http://HOST/page/1,200
`, "HOST", hostOf(t, 1))) || !strings.Contains(want, "/page/17,404\n") || !strings.Contains(want, "/page/13,200\n") || !strings.Contains(want, "/page/31,503\n") {
		t.Fatalf("%d lines:\n%s", n, want)
	}

	folder, list = newFolder(t)
	last := 0
	for kill := range 4 {
		p := launch(t, folder, list)
		checked := p.checked(t)
		if checked < last || checked == total {
			t.Errorf("%d links are checked, %d were before", checked, last)
		}
		last = waitForMore(t, folder, checked)
		time.Sleep(rand.N(30 * time.Millisecond))
		if kill < 3 {
			p.cmd.Process.Kill()
			p.end(t)
			continue
		}
		p.cmd.Process.Signal(syscall.SIGINT)
		if code, printed := p.end(t); code != 3 || !strings.Contains(printed, "start it again") {
			t.Errorf("interrupted, exit code %d: %s", code, printed)
		}
	}
	// What was answered is written, and what is written is committed.
	written := strings.Count(output(t, folder), "\n")
	p := launch(t, folder, list)
	if checked := p.checked(t); checked != written || checked < last || checked == total {
		t.Errorf("%d links are checked, %d are written, of which %d before it was interrupted", checked, written, last)
	}
	if code, printed := p.end(t); code != 0 {
		t.Errorf("exit code %d: %s", code, printed)
	}
	if got := output(t, folder); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}

	// When it is done it asks for nothing, and -fresh asks for all.
	p = launch(t, folder, list)
	if code, printed := p.end(t); code != 0 || p.hosts.count != 0 {
		t.Errorf("when it is done, exit code %d after %d calls: %s", code, p.hosts.count, printed)
	}
	if err := os.WriteFile(strings.TrimPrefix(list, "-list="), demoList(8), 0o666); err != nil {
		t.Fatal(err)
	}
	p = launch(t, folder, list, "-fresh")
	if code, printed := p.end(t); code != 0 || p.hosts.count != 8 {
		t.Errorf("afresh, exit code %d after %d calls: %s", code, p.hosts.count, printed)
	}
}

// waitForMore waits until more links are checked for good, and returns how many.
func waitForMore(t *testing.T, folder string, checked int) int {
	t.Helper()
	store, err := cursor.NewFileStore(folder)
	if err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(5 * time.Millisecond) {
		record, err := cursor.Inspect(t.Context(), store, "linkcheck")
		if err != nil {
			t.Fatal(err)
		}
		if record.Items > int64(checked) {
			return int(record.Items)
		}
	}
	t.Fatalf("no more than %d links after a minute", checked)
	return 0
}

func hostOf(t *testing.T, n int) string {
	u, err := url.Parse(strings.Split(string(demoList(n)), "\n")[n-1])
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// Without a list of others it has its own, and asks itself.
func TestDemo(t *testing.T) {
	folder := t.TempDir()
	p := begin(t, "-state", folder)
	waitForMore(t, folder, p.checked(t))
	p.cmd.Process.Signal(syscall.SIGINT)
	if code, printed := p.end(t); code != 3 {
		t.Errorf("exit code %d: %s", code, printed)
	}
	if first, _, _ := strings.Cut(output(t, folder), "\n"); first != "http://"+hostOf(t, 1)+"/page/1,200" {
		t.Errorf("the file begins with %s", first)
	}
}

// A host that does not answer, and what is no URL, have a line, too.
func TestNoAnswer(t *testing.T) {
	folder, list := newFolder(t)
	const urls = "http://alpha.example/page/1\nhttp://beta.example/page/37\nnone at all\nhttp://[::1\n"
	if err := os.WriteFile(strings.TrimPrefix(list, "-list="), []byte(urls), 0o666); err != nil {
		t.Fatal(err)
	}
	const want = "http://alpha.example/page/1,200\nhttp://beta.example/page/37,no answer\nnone at all,no answer\nhttp://[::1,no answer\n"
	if code, printed := launch(t, folder, list).end(t); code != 0 || output(t, folder) != want {
		t.Errorf("exit code %d, %s: %s", code, printed, output(t, folder))
	}
}

func TestWrongFlags(t *testing.T) {
	for _, args := range [][]string{{"-rate", "0"}, {"more"}} {
		if code, printed := launch(t, t.TempDir(), args...).end(t); code != 2 {
			t.Errorf("%v: exit code %d: %s", args, code, printed)
		}
	}
}
