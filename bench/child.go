package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// What has its memory measured runs in a process of its own: this program again,
// told by the environment what to do.
const childVariable = "PIPELINE_BENCH_TASK"

// A task is what a child does.
type task struct {
	Kind      string // "map" or "export"
	Contender string
	System    string // of a database: "sqlite" or "postgres"
	Source    string // data source name
	Table     string
	Out       string // file to write
	Rows      int
}

// An answer is what a child found.
type answer struct {
	Sum     digest
	Value   float64
	Seconds float64
	PeakMB  float64 // peak resident memory; negative where the system does not tell
}

// childMain does the task that the environment holds, if any, and tells whether
// there was one.
func childMain() (was bool) {
	text := os.Getenv(childVariable)
	if text == "" {
		return false
	}
	var t task
	err := json.Unmarshal([]byte(text), &t)
	var a answer
	if err == nil {
		start := time.Now()
		switch t.Kind {
		case "map":
			a, err = mapInChild(t)
		case "export":
			a, err = exportInChild(t)
		default:
			err = fmt.Errorf("unknown kind of task %q", t.Kind)
		}
		a.Seconds = time.Since(start).Seconds()
		a.PeakMB = peakMB("self")
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(a)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// child has a process of its own do t.
func (b *bench) child(t task) (a answer, err error) {
	self, err := os.Executable()
	if err != nil {
		return a, err
	}
	text, err := json.Marshal(t)
	if err != nil {
		return a, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return a, fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	whole := time.Since(start)
	err = json.Unmarshal(stdout.Bytes(), &a)
	if t.Kind == "export" { // beside programs, whose start and end count
		a.Seconds = whole.Seconds()
	}
	return a, err
}

// client runs somebody else's program and watches its memory.
func client(cmd *exec.Cmd) (a answer, err error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return a, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	// The peak that wait(2) reports includes this process's own, from before the
	// other program took its place; so it is read while that runs.
	pid := strconv.Itoa(cmd.Process.Pid)
	tick := time.NewTicker(20 * time.Millisecond) // to look more often takes time from the program
	defer tick.Stop()
	a.PeakMB = -1
	for {
		select {
		case err := <-ended:
			a.Seconds = time.Since(start).Seconds()
			if err != nil {
				err = fmt.Errorf("%s: %w: %s", cmd.Path, err, strings.TrimSpace(stderr.String()))
			}
			return a, err
		case <-tick.C:
			a.PeakMB = max(a.PeakMB, peakMB(pid))
		}
	}
}

// peakMB returns the peak resident memory of a process, or -1 where that is not
// to be had. It is that of the program which runs in it now: unlike the number of
// getrusage(2) it does not include what ran there before.
func peakMB(process string) float64 {
	status, err := os.ReadFile("/proc/" + process + "/status")
	if err != nil {
		return -1
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			if err != nil {
				return -1
			}
			return kb / 1024
		}
	}
	return -1
}

func unknownContender(t task) error {
	return errors.New("unknown contender " + strconv.Quote(t.Contender))
}

// A counter counts what is pulled from it.
type counter struct {
	n    atomic.Int64
	rows int
}

func newCounter(rows int) *counter { return &counter{rows: rows} }

func (c *counter) count(yield func(int, error) bool) {
	for v, err := range numbers(c.rows) {
		c.n.Add(1)
		if !yield(v, err) {
			return
		}
	}
}
