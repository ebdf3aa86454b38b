package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"example.com/pipeline/examples/export/encode"
	_ "modernc.org/sqlite" // what the tests write with is not what the program reads with
)

// asProgram makes the test binary run the program instead of the tests.
const asProgram = "EXPORT_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	var err error
	if builtFolder, err = os.MkdirTemp("", "export-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	defer os.RemoveAll(builtFolder)
	// Parallel tests mostly wait: for leases, for rates, for the disk.
	if err := flag.Set("test.parallel", "4"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	return m.Run()
}

// A result is what is left of a run.
type result struct {
	code           int // -1: killed by a signal
	stdout, stderr string
}

var (
	builtFolder string
	builtFor    sync.Map // the names of the tests that have called useBuilt
)

// built is the program as users build it, and its path.
var built = sync.OnceValues(func() (string, error) {
	path := filepath.Join(builtFolder, "export")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Env = append(os.Environ(), "GOFLAGS=")
	out, err := build.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, err
})

// useBuilt makes a test and its subtests run the program as users build it, where
// others run the test binary. A test that starts it again and again would otherwise
// spend its time starting the race detector.
func useBuilt(t testing.TB) {
	t.Helper()
	if _, err := built(); err != nil {
		t.Fatal(err)
	}
	builtFor.Store(t.Name(), true)
}

// programPath is what command runs.
func programPath(t testing.TB) string {
	test, _, _ := strings.Cut(t.Name(), "/")
	if _, ok := builtFor.Load(test); ok {
		path, _ := built()
		return path
	}
	return os.Args[0]
}

// command is the program, to be run in a folder. What it says and what is in the folder is
// searched for secrets when the test ends.
func command(t testing.TB, dir string, args ...string) *exec.Cmd {
	cmd := exec.Command(programPath(t), args...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = newOutput(), newOutput()
	searchAtEnd(t, cmd)
	// The race detector would let each program sleep for a second before it ends.
	cmd.Env = append(os.Environ(), asProgram+"=1", "PWD="+dir, "GORACE=atexit_sleep_ms=0")
	return cmd
}

// execute runs a command to its end.
func execute(t testing.TB, cmd *exec.Cmd) result {
	t.Helper()
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	r := result{cmd.ProcessState.ExitCode(), fmt.Sprint(cmd.Stdout), fmt.Sprint(cmd.Stderr)}
	if strings.Contains(r.stderr, "DATA RACE") || strings.Contains(r.stderr, "goroutine ") {
		t.Fatalf("the program broke:\n%s", r.stderr)
	}
	return r
}

func runIn(t testing.TB, dir string, args ...string) result {
	t.Helper()
	return execute(t, command(t, dir, args...))
}

// mustRun is a run that must end with an exit code and say something.
func mustRun(t testing.TB, dir string, code int, says string, args ...string) result {
	t.Helper()
	r := runIn(t, dir, args...)
	if r.code != code || !strings.Contains(r.stdout+r.stderr, says) {
		t.Fatalf("%q: exit code %d, want %d and %q\nstdout: %s\nstderr: %s", args, r.code, code, says, r.stdout, r.stderr)
	}
	if code == exitDone && r.stderr != "" || strings.Contains(r.stderr, "&{") {
		t.Fatalf("%q: exit code %d with this for the user: %s", args, r.code, r.stderr)
	}
	return r
}

// newDemo makes a database with so many orders and returns its data source name.
func newDemo(t testing.TB, rows int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "demo.db")
	if err := makeDemo(context.Background(), path, rows); err != nil {
		t.Fatal(err)
	}
	return "sqlite:" + path
}

// openSQLite opens a database for the test to write to.
func openSQLite(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", strings.TrimPrefix(dsn, "sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// newSQLite makes a database with the statements' tables.
func newSQLite(t testing.TB, statements ...string) string {
	t.Helper()
	dsn := "sqlite:" + filepath.Join(t.TempDir(), "test.db")
	db := openSQLite(t, dsn)
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	db.Close()
	return dsn
}

// read returns a file's content, decompressed if its name says so.
func read(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	for compression, ending := range encode.Compressions {
		if compression != "" && strings.HasSuffix(path, ending) {
			if r, err = encode.Decompress(compression, f); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
		}
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return string(data)
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

// same compares long texts without printing them.
func same(t testing.TB, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	around := func(s string) string { return s[max(0, i-100):min(len(s), i+100)] }
	t.Fatalf("%s: %d bytes, want %d; they differ at %d:\n got … %q\nwant … %q", what, len(got), len(want), i, around(got), around(want))
}

// An output is what a running program has said so far.
type output struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{} // closed when there is more
}

func newOutput() *output { return &output{more: make(chan struct{})} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.more)
	o.more = make(chan struct{})
	return o.text.Write(b)
}

func (o *output) read() (text string, more <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.more
}

func (o *output) String() string { text, _ := o.read(); return text }

// A running program.
type running struct {
	*exec.Cmd
	stdout, stderr *output
	ended          chan struct{}
}

// start starts the program, and returns when it has said something.
func start(t testing.TB, says, dir string, args ...string) *running {
	t.Helper()
	r := startCommand(t, command(t, dir, args...))
	r.wait(t, r.stdout, says)
	return r
}

// startCommand starts a command.
func startCommand(t testing.TB, cmd *exec.Cmd) *running {
	t.Helper()
	r := &running{cmd, cmd.Stdout.(*output), cmd.Stderr.(*output), make(chan struct{})}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		r.Wait()
		close(r.ended)
	}()
	t.Cleanup(func() { r.end(os.Kill) })
	return r
}

// startSlow starts an export that will not end by itself, and returns when it has
// written rows.
func startSlow(t testing.TB, dir string, args ...string) *running {
	t.Helper()
	r := start(t, "rows/s", dir, args...)
	if text := r.stdout.String(); strings.Contains(text, "done:") {
		t.Fatalf("the export is through before anybody could come upon it; give it more rows or a smaller -rate: %s", text)
	}
	return r
}

// wait returns when the program has said something.
func (r *running) wait(t testing.TB, out *output, what string) {
	t.Helper()
	for {
		text, more := out.read()
		if strings.Contains(text, what) {
			return
		}
		select {
		case <-more:
		case <-r.ended:
			if text, _ := out.read(); !strings.Contains(text, what) {
				t.Fatalf("the program has ended and not said %q, only %q and %q", what, r.stdout, r.stderr)
			}
			return
		}
	}
}

// end sends a signal and returns the exit code, -1 where the signal killed it.
func (r *running) end(sig os.Signal) int {
	r.Process.Signal(sig)
	<-r.ended
	return r.ProcessState.ExitCode()
}
