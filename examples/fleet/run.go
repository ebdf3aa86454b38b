package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"example.com/pipeline/cursor/riverjob"
)

// run is the program that is started by hand: it plans, watches over the workers, and
// looks at the parts.
func run(ctx context.Context, out io.Writer, args []string) (err error) {
	c, err := parse(out, args)
	if err != nil {
		return err
	}
	p, err := open(ctx, c, 3)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	fmt.Fprintf(out, "schema %s, parts in %s\n", c.Schema, c.Out)
	if err := p.prepare(ctx); err != nil {
		return errors.Join(err, p.end(ctx, out, false))
	}
	done, err := p.export(ctx, out)
	return errors.Join(err, p.end(ctx, out, done && err == nil))
}

// end removes what was made, or says how to go on.
func (p *place) end(ctx context.Context, out io.Writer, done bool) error {
	if done && !p.Keep {
		return p.remove(context.WithoutCancel(ctx))
	}
	fmt.Fprintf(out, "kept: schema %s, parts in %s\n", p.Schema, p.Out)
	if !done {
		fmt.Fprintf(out, "go on with -schema %s -out %s\n", p.Schema, p.Out)
	}
	return nil
}

// export has the table exported, and reports whether it is whole.
func (p *place) export(ctx context.Context, out io.Writer) (done bool, err error) {
	client, err := river.NewClient(riverpgxv5.New(p.pool), &river.Config{Schema: p.Schema, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return false, err
	}
	// Each kill before a commit costs its ranges an attempt.
	ours, err := p.job(nil).Plan(ctx, p.store, client, p.Ranges, &river.InsertOpts{MaxAttempts: 1000})
	if err != nil {
		return false, err
	}
	if !ours {
		fmt.Fprintln(out, "the export is planned already; it goes on")
	}

	workers, err := newFleet(ctx, p.config)
	if err != nil {
		return false, err
	}
	watched := p.watch(ctx, out, workers)
	if err := errors.Join(watched, workers.stop()); err != nil {
		return false, err
	}
	return true, p.verify(ctx, out, workers)
}

// watch keeps the workers up until the export is done.
func (p *place) watch(ctx context.Context, out io.Writer, workers *fleet) error {
	const often = 250 * time.Millisecond
	tick := time.NewTicker(often)
	defer tick.Stop()
	kill, stopKilling := every(p.Kill)
	defer stopKilling()
	freeze, stopFreezing := every(p.Freeze)
	defer stopFreezing()
	var said, answered = time.Time{}, time.Now()
	var rows int64 // when it last got on
	deaths := 0    // until then
	// On a slow machine a worker that is killed so often may never come to its first commit.
	var atKill, atFreeze int64 = -1, -1
	for {
		if err := workers.fill(p.Workers); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.New("fleet: interrupted; what was committed stays")
		case <-kill:
			if rows > atKill {
				workers.kill()
				atKill = rows
			}
			continue
		case <-freeze:
			if rows > atFreeze {
				workers.freeze(2 * p.Lease)
				atFreeze = rows
			}
			continue
		case <-tick.C:
		}
		st, err := p.store.Status(ctx, jobName)
		switch {
		case err != nil && ctx.Err() == nil && time.Since(answered) < time.Minute:
			continue // the database may be restarting
		case err != nil:
			return err
		}
		answered = time.Now()
		if st.Finished() || time.Since(said) >= time.Second {
			said = answered
			p.say(out, st, workers)
		}
		if st.Finished() {
			return nil
		}
		_, _, _, died := workers.counts()
		switch {
		case st.Rows > rows:
			rows, deaths = st.Rows, died
		case died-deaths > 10*p.Workers:
			return fmt.Errorf("fleet: %d workers have ended by themselves since it last got on", died-deaths)
		}
	}
}

// every returns a channel that ticks, or never does.
func every(d time.Duration) (<-chan time.Time, func()) {
	if d == 0 {
		return nil, func() {}
	}
	t := time.NewTicker(d)
	return t.C, t.Stop
}

func (p *place) say(out io.Writer, st riverjob.Status, workers *fleet) {
	running, killed, frozen, died := workers.counts()
	fmt.Fprintf(out, "%3d of %d ranges, %d of %d rows (%d %%), %.0f rows/s", st.Done, st.Ranges, st.Rows, st.Total, 100*st.Rows/max(st.Total, 1), st.Rate)
	if st.Remaining > 0 {
		fmt.Fprintf(out, ", %v to go", st.Remaining)
	}
	fmt.Fprintf(out, "; %d workers at %d ranges", running, st.Running)
	if killed > 0 {
		fmt.Fprintf(out, ", %d killed", killed)
	}
	if frozen > 0 {
		fmt.Fprintf(out, ", %d suspended", frozen)
	}
	if died > 0 {
		fmt.Fprintf(out, ", %d ended by themselves", died)
	}
	fmt.Fprintln(out)
	const most = 3 // it is a line each
	for i, f := range st.Failing {
		if i == most {
			fmt.Fprintf(out, "    and %d more\n", len(st.Failing)-most)
			break
		}
		fmt.Fprintf(out, "    range %d, attempt %d, %s: %s\n", f.Number, f.Attempt, f.State, f.Error)
	}
}
