package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"example.com/pipeline/seq"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// A progress shows how far the export is: as a bar on a terminal, otherwise in plain
// lines. The partitions count their rows with an atomic add, the rest happens beside them
// a few times a second.
type progress struct {
	voice
	tally                // rows of earlier runs too
	total   atomic.Int64 // 0: not known
	about   bool         // total is an estimate
	before  int64        // rows of earlier runs
	start   time.Time
	stop    chan struct{}
	display *seq.Task
}

// newProgress counts on from the rows of earlier runs.
func newProgress(v voice, before int64) *progress {
	p := &progress{voice: v, before: before, start: time.Now(), stop: make(chan struct{})}
	p.came.Store(before)
	p.rows.Store(before)
	return p
}

// Start shows the progress until Stop.
func (p *progress) Start(ctx context.Context) {
	p.start = time.Now()
	show := p.lines
	if p.json == nil && isTerminal(p.to) {
		show = p.bar
	}
	p.display = seq.Go(ctx, show)
}

// Stop ends the display and waits until it is gone.
func (p *progress) Stop() {
	close(p.stop)
	p.display.Wait()
}

// isTerminal reports whether a bar can be drawn; a terminal may have no size.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	return err == nil && width > 0
}

// Rate is in rows a second, of this run alone.
func (p *progress) Rate() float64 {
	return float64(p.rows.Load()-p.before) / max(time.Since(p.start).Seconds(), 1e-3)
}

// Left is the time that the rest will take at the rate so far; 0 while unknown.
func (p *progress) Left() time.Duration {
	rest, rate := p.total.Load()-p.rows.Load(), p.Rate()
	if rest <= 0 || rate < 1 {
		return 0
	}
	seconds := min(float64(rest)/rate, 1e9)
	return time.Duration(seconds * float64(time.Second)).Round(time.Second)
}

// lines prints a line each second, then, so that the log of a long export stays
// short, at every tenth more of the time.
func (p *progress) lines() {
	wait := time.Second
	for {
		select {
		case <-p.stop:
			return
		case <-time.After(wait):
		}
		wait = max(time.Second, time.Since(p.start)/10)
		p.event("progress", p.figures(), "%s", p.line())
	}
}

// figures are those of line; total is 0 where it is not known.
func (p *progress) figures() []any {
	return []any{"rows", p.rows.Load(), "total", p.total.Load(), "estimated", p.about, "rows_per_second", int64(p.Rate()), "seconds_left", int64(p.Left().Seconds())}
}

func (p *progress) line() string {
	rows, total := p.rows.Load(), p.total.Load()
	s := thousands(rows) + " rows"
	if total > 0 {
		about := ""
		if p.about {
			about = "about "
		}
		s = fmt.Sprintf("%s of %s%s rows (%d %%)", thousands(rows), about, thousands(total), min(rows*100/total, 100))
	}
	s += fmt.Sprintf(", %s rows/s", thousands(int64(p.Rate())))
	if left := p.Left(); left > 0 {
		s += fmt.Sprintf(", %v left", left)
	}
	return s
}

// bar draws until stop. The bar is dropped at the end: the last line says the same.
func (p *progress) bar() {
	bars := mpb.New(mpb.WithOutput(p.to), mpb.WithWidth(64), mpb.WithAutoRefresh(), mpb.WithRefreshRate(100*time.Millisecond))
	bar := bars.New(0, mpb.BarStyle(), mpb.BarRemoveOnComplete(),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return " " + p.line() })))
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			bar.Abort(true)
			bars.Wait()
			return
		case <-tick.C:
			bar.SetTotal(max(p.total.Load(), p.rows.Load()+1), false)
			bar.SetCurrent(p.rows.Load())
		}
	}
}

// countOf writes how many of a thing there are.
func countOf(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return thousands(n) + " " + thing
}

// thousands writes n with a comma between each three digits.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
