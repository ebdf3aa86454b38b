//go:build unix

package examples_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// slowCalls is a second file of the README's program. With SLOW its calls wait for the end
// of the standard input. They say when they begin and how they end.
const slowCalls = `package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"example.com/pipeline/control"
	"example.com/pipeline/seq"
)

var (
	mu       sync.Mutex
	released = make(chan bool)
)

func say(format string, args ...any) {
	mu.Lock()
	defer mu.Unlock()
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

func watch(gate *control.Gate) {
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(released)
	}()
	go func() {
		for ctx := control.WithGate(context.Background(), gate); seq.Stopped(ctx) == nil; {
			time.Sleep(time.Millisecond)
		}
		say("stopped")
	}()
}

func slow(ctx context.Context, id int) error {
	if os.Getenv("SLOW") == "" {
		return nil
	}
	say("begin %d", id)
	select {
	case <-released:
		say("end %d", id)
		return nil
	case <-ctx.Done():
		say("cut %d", id)
		return ctx.Err()
	}
}
`

// slowed builds the README's program with calls that can be held up and do not fail.
func slowed(t *testing.T) (path string) {
	t.Helper()
	_, blocks := readme(t)
	folder := module(t)
	i := slices.IndexFunc(blocks, func(b block) bool { return b.kind == "go" && strings.HasPrefix(b.text, "package main\n") })
	program := blocks[i].text
	for _, edit := range [][2]string{
		{"gate := new(control.Gate)\n", "gate := new(control.Gate)\n\twatch(gate)\n"},
		{"func call(_ context.Context, id int) (line, error) {\n",
			"func call(ctx context.Context, id int) (line, error) {\n\tif err := slow(ctx, id); err != nil {\n\t\treturn line{}, err\n\t}\n"},
		{"rand.IntN(100) == 0", "rand.IntN(100) < 0"},
		{"control.Timeout(time.Second)", "control.Timeout(time.Hour)"},
	} {
		if strings.Count(program, edit[0]) != 1 {
			t.Fatalf("README.md:%d: %q is not once in the program", blocks[i].line, edit[0])
		}
		program = strings.Replace(program, edit[0], edit[1], 1)
	}
	write(t, filepath.Join(folder, "slowed", "main.go"), program)
	write(t, filepath.Join(folder, "slowed", "slow.go"), slowCalls)
	run(t, folder, "go", "build", "-o", "slowed/", "./slowed")
	return filepath.Join(folder, "slowed", "slowed")
}

// A process is a run of the program.
type process struct {
	t       *testing.T
	cmd     *exec.Cmd
	release io.Closer // lets the calls go on
	printed bytes.Buffer
	says    *bufio.Scanner
	said    []string
}

func start(ctx context.Context, t *testing.T, path, slow string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.CommandContext(ctx, path)}
	p.cmd.Dir = filepath.Dir(path)
	p.cmd.Env = append(os.Environ(), "SLOW="+slow)
	p.cmd.Stdout = &p.printed
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.release = in
	out, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.says = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// waitFor waits until the process has said so many things that begin with word.
func (p *process) waitFor(word string, n int) {
	p.t.Helper()
	for p.count(word) < n {
		if !p.says.Scan() {
			p.t.Fatalf("the process ended after %q", p.said)
		}
		p.said = append(p.said, p.says.Text())
	}
}

func (p *process) count(word string) (n int) {
	for _, line := range p.said {
		if strings.HasPrefix(line, word) {
			n++
		}
	}
	return n
}

func (p *process) interrupt() { p.cmd.Process.Signal(syscall.SIGINT) }

// exit waits for the end and returns the exit code.
func (p *process) exit() int {
	p.t.Helper()
	for p.says.Scan() {
		p.said = append(p.said, p.says.Text())
	}
	err := p.cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		p.t.Fatal(err)
	} else if ok {
		return exit.ExitCode()
	}
	return 0
}

// The README's program at Ctrl-C: the calls in flight finish, whatever it had pulled no
// other begins, and it ends without an error with their lines committed. A second Ctrl-C
// cuts the calls. The next run does the rest, and each line is there once.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // should it hang
	defer cancel()
	path := slowed(t)
	const flight = 8 // calls at a time
	lines := func() (ids []string) {
		data, err := os.ReadFile(filepath.Join(filepath.Dir(path), "lines.csv"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			id, _, _ := strings.Cut(line, ",")
			ids = append(ids, id)
		}
		return ids
	}
	want := func(n int) (ids []string) {
		for i := range n {
			ids = append(ids, fmt.Sprint(i+1))
		}
		return ids
	}

	p := start(ctx, t, path, "yes")
	p.waitFor("begin", flight)
	p.interrupt()
	p.waitFor("stopped", 1)
	p.release.Close()
	if code := p.exit(); code != 0 || p.count("begin") != flight || p.count("end") != flight || p.printed.String() != fmt.Sprintln(flight, "lines") {
		t.Errorf("interrupted: exit code %d, printed %q, said %q", code, p.printed.String(), p.said)
	}
	if got := lines(); !slices.Equal(got, want(flight)) {
		t.Errorf("interrupted: the lines are %v", got)
	}

	p = start(ctx, t, path, "yes")
	p.waitFor("begin", flight)
	p.interrupt()
	p.waitFor("stopped", 1)
	p.interrupt()
	if code := p.exit(); code != 1 || p.count("begin") != flight || p.count("cut") != flight ||
		!strings.Contains(p.said[len(p.said)-1], "interrupted a second time") {
		t.Errorf("interrupted twice: exit code %d, said %q", code, p.said)
	}
	p.release.Close()

	p = start(ctx, t, path, "")
	if code := p.exit(); code != 0 || p.printed.String() != "500 lines\n" {
		t.Errorf("the next run: exit code %d, printed %q, said %q", code, p.printed.String(), p.said)
	}
	if got := lines(); !slices.Equal(got, want(500)) {
		t.Errorf("the lines are %v", got)
	}
}
