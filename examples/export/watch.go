package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"example.com/pipeline/seq"
)

// errSilent ends a run in which nothing comes from the database.
var errSilent = errors.New("the database is silent")

// quiet is how long nothing may come before that is said.
const quiet = 10 * time.Second

// A tally counts rows. Between the two numbers a loop is at work on what has come, and the
// database need not answer: whoever reads what is written may be slow.
type tally struct {
	came atomic.Int64
	rows atomic.Int64 // written
}

// A watch looks whether the database answers, from the time that it is opened to the end. A
// connection can be cut so that neither side hears of it, and a statement can wait for a
// lock for hours. The zero watch tells nobody, and so does nil.
type watch struct {
	voice
	stall time.Duration // 0: wait for ever
	end   context.CancelCauseFunc
	stop  chan struct{}
	task  *seq.Task

	mu      sync.Mutex
	what    string        // is waited for; "" for nothing
	step    int           // changes with it
	rows    *tally        // of the rows that are waited for; nil for one answer
	slowest time.Duration // a row may take because the user has it so
}

// startWatch watches until Stop. Where nothing comes for the time stall, it ends the run.
func startWatch(ctx context.Context, v voice, stall time.Duration, end context.CancelCauseFunc) *watch {
	w := &watch{voice: v, stall: stall, end: end, stop: make(chan struct{})}
	w.task = seq.Go(ctx, func() { w.look(ctx) })
	return w
}

// Stop ends the watch and waits until it is gone.
func (w *watch) Stop() {
	close(w.stop)
	w.task.Wait()
}

// For says that an answer of the database is waited for.
func (w *watch) For(what string) { w.set(what, nil, 0) }

// ForRows says that rows are waited for.
func (w *watch) ForRows(what string, rows *tally, slowest time.Duration) { w.set(what, rows, slowest) }

// Rest says that the database is not waited for.
func (w *watch) Rest() { w.set("", nil, 0) }

func (w *watch) set(what string, rows *tally, slowest time.Duration) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.what, w.rows, w.slowest = what, rows, slowest
	w.step++
}

// look is the watch.
func (w *watch) look(ctx context.Context) {
	type state struct {
		step int
		came int64
	}
	var last state
	since, next := time.Now(), quiet
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.mu.Lock()
		what, rows, slowest, now := w.what, w.rows, w.slowest, state{step: w.step}
		w.mu.Unlock()
		busy := what == ""
		if rows != nil {
			written := rows.rows.Load() // first: so that what comes meanwhile is no work
			now.came = rows.came.Load()
			busy = now.came != written
		}
		if busy || now != last {
			last, since, next = now, time.Now(), quiet+3*slowest
			continue
		}
		thing := "answer"
		if rows != nil {
			thing = "row"
		}
		still := time.Since(since)
		if w.stall > 0 && still >= w.stall+3*slowest {
			w.end(fmt.Errorf("%w: no %s has come for %v, and -stall is %v (%s)", errSilent, thing, still.Round(time.Second), w.stall, what))
			return
		}
		if still >= next {
			w.event("silence", []any{"seconds", int(still.Seconds()), "waiting_for", what}, "no %s has come for %v: waiting for the database (%s)", thing, still.Round(time.Second), what)
			next *= 2
		}
	}
}
