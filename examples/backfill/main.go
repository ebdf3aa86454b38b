// Backfill is a batch script of the kind that is written in an afternoon and runs for a
// day: it calls an HTTP API for each of 600 rows of a database and writes the answers
// to a file. It can be killed at any moment; started again, it goes on.
//
//	go -C examples run ./backfill
//
// The service is made for this program, runs inside of it, and is not a good one: it
// takes 250 calls a second and answers more of them with 429, it does so for no reason,
// too, it is slow at times, and it is down for 2 of every 5 seconds. What it charges for
// it writes down in a database of its own, which survives a kill. In the end the
// program prints what the service counts: one charge for every row, however often a
// call was made.
//
// What sees to that, from the inside out: each try has a time limit; the tries keep a
// rate; a breaker holds them while the service is down; a retry sleeps as long as
// Retry-After says, and meanwhile a gate keeps the whole job standing still; the
// Idempotency-Key of a row is the same in each try and each run; and the checkpoint
// covers a row when the file has its answer. The page whose address is printed shows
// where the job is stuck.
//
// To try next:
//
//   - kill it (kill -9) in the midst and start it again, or interrupt it with Ctrl-C:
//     the calls in flight are finished and committed, but for what comes behind one
//     that fails: that is not tried again. A second Ctrl-C is as a kill.
//   - start it twice at once: the second one ends with an error.
//   - -rate 400: more than the service takes. -slow 0.2: slow it. -down 5s: break it.
//   - -restart when it is done: all of it again.
//
// The exit code is 0 where the job is done, 1 where it failed, 2 where the flags are
// wrong, 3 where it was interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"example.com/pipeline/control"
)

type config struct {
	rows    int
	rate    float64
	folder  string
	addr    string
	restart bool
	service moods
}

func main() { os.Exit(start()) }

func start() int {
	var c config
	flag.IntVar(&c.rows, "rows", 600, "number of rows; each number is a job of its own")
	flag.Float64Var(&c.rate, "rate", 150, "calls a second, at most")
	flag.StringVar(&c.folder, "state", ".pipeline-state", "folder for the databases, the checkpoint and the answers")
	flag.StringVar(&c.addr, "addr", "127.0.0.1:0", "address of the page; port 0 means any that is free")
	flag.BoolVar(&c.restart, "restart", false, "start afresh, whatever was done")
	flag.Float64Var(&c.service.busy, "busy", 0.004, "the part of calls that the service answers with 429 for no reason")
	flag.Float64Var(&c.service.slow, "slow", 0.01, "the part of calls that it is too slow for")
	flag.DurationVar(&c.service.down, "down", 2*time.Second, "how long it is down, after one and a half times as long without a rest")
	flag.Parse()
	if c.rows < 1 || c.rate <= 0 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "backfill: -rows must be at least 1, -rate positive, and there are no arguments")
		return 2
	}
	c.folder = filepath.Join(c.folder, fmt.Sprintf("backfill-%d", c.rows))

	terminated, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	gate := new(control.Gate)
	context.AfterFunc(terminated, func() {
		stop() // the next signal has its usual effect
		fmt.Fprintln(os.Stderr, "backfill: finishing the calls in flight; a second signal ends it at once")
		gate.Stop()
	})
	// The job's own context does not end with the signal: it is drained, not cut.
	err := run(context.Background(), os.Stdout, c, gate)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, control.ErrStopped):
		fmt.Fprintln(os.Stderr, "backfill: interrupted; what is done is committed. Start it again to go on.")
		return 3
	}
	fmt.Fprintln(os.Stderr, "backfill:", err)
	return 1
}
