// Events gathers what happens in three places into one table: a ticker, events that are
// pushed to it by POST, and an API that it asks for what is new, a page at a time.
//
//	go -C examples run ./events
//
// Without arguments it makes an API and a sender of its own and runs until it is
// interrupted. The three are merged; what comes twice, since the API lists what was
// pushed, too, is dropped; and what comes within 200 ms is written together.
//
// The position is a struct with a field for each source that can be asked again: how far
// the ticks and the API are stored. Events keep their order within a source on their way
// through Merge, Dedup and Window, so the last one of a source in a batch says how far it
// is. The struct is saved in the transaction that writes the batch (CommitTx), so after a
// kill every source goes on where the table ends.
//
// SIGTERM, or Ctrl-C, ends the sources and nothing else (control.Until): each of them at
// once, be it in the midst of a wait, and what they have handed over is written before the
// program ends. So no event is lost that was answered with 202 Accepted; what comes later
// is answered with 503, and its sender tries again. A kill -9 loses what was accepted and
// is not written yet, some 200 ms of it: a source that cannot be asked again has no
// position.
//
// To try next: kill -9 and start it again, and see that no tick is missing. Flags: -api
// and -listen for sources of your own, -db.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"example.com/pipeline/batch"
	"example.com/pipeline/control"
	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/cursor/sqlstore"
	"example.com/pipeline/seq"
)

func main() { os.Exit(start()) }

func start() int {
	var c config
	flag.StringVar(&c.db, "db", ".pipeline-state/events.db", "SQLite database of the events")
	flag.StringVar(&c.api, "api", "", "address of an API that answers GET ?after=N&limit=M; by default the demo's")
	flag.StringVar(&c.listen, "listen", "127.0.0.1:0", "address to be posted to; port 0 means any that is free")
	flag.DurationVar(&c.tick, "tick", 100*time.Millisecond, "time between two ticks")
	flag.DurationVar(&c.lease, "lease", 5*time.Second, "how long the job of a run that was killed stays taken")
	flag.Parse()
	if c.tick <= 0 || c.lease < time.Millisecond || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "events: -tick and -lease must be positive, and there are no arguments")
		return 2
	}
	gate := new(control.Gate)
	ctx, stop := control.Interruptible(context.Background(), gate)
	defer stop()
	if err := run(ctx, c, gate); err != nil {
		fmt.Fprintln(os.Stderr, "events:", err)
		return 1
	}
	return 0
}

// An event is stored once under its id.
type event struct {
	id string
	positions
}

// positions say how far each source is; in an event, that of its own source alone.
type positions struct{ Tick, API int64 }

// gather is what this program is about.
func gather(ctx context.Context, c config, gate *control.Gate, db *sql.DB, pushed <-chan event) (err error) {
	store := sqlstore.New(db, keyset.SQLite, sqlstore.LeaseFor(c.lease))
	if err := store.Migrate(ctx); err != nil {
		return err
	}
	job, err := cursor.Open[positions](ctx, store, "events",
		cursor.WaitFor(2*c.lease, func(held *cursor.LockedError) { fmt.Fprintln(os.Stderr, "events: waiting:", held) }))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, job.Close()) }()
	var from positions
	if p := job.Position(); p != nil {
		from = *p
	}
	fmt.Printf("%d events are stored, up to %+v; post to %s\n", job.Items(), from, c.listen)

	all := seq.Merge(ctx,
		control.Until(ctx, gate, func(ctx context.Context) stream { return ticks(ctx, c.tick, from.Tick) }),
		control.Until(ctx, gate, func(ctx context.Context) stream { return listed(ctx, c.api, from.API) }),
		control.Until(ctx, gate, func(ctx context.Context) stream { return seq.FromChan(ctx, pushed) }))
	fresh := batch.Dedup(all, func(e event) string { return e.id }, batch.DedupConfig{Capacity: 10_000})
	fresh = control.Progress(fresh, control.ProgressConfig{}, func(r control.Report) {
		fmt.Printf("%d events more, %.0f a second\n", r.Items, r.Rate)
	})
	at := from // of its own: a source may begin when the loop has begun
	for events, err := range batch.Window(ctx, fresh, 500, 200*time.Millisecond) {
		if err != nil {
			return err
		}
		for _, e := range events {
			at = positions{max(at.Tick, e.Tick), max(at.API, e.API)}
		}
		if err := write(ctx, db, job, events, at); err != nil {
			return err
		}
	}
	return nil
}

// write stores events and how far the sources are: both, or neither.
func write(ctx context.Context, db *sql.DB, job *cursor.Checkpoint[positions], events []event, at positions) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after Commit it does nothing
	var ids []any
	for _, e := range events {
		ids = append(ids, e.id)
	}
	// Dedup has forgotten what came before the last start: the table has not.
	result, err := tx.ExecContext(ctx, "INSERT INTO events (id) VALUES (?)"+strings.Repeat(", (?)", len(ids)-1)+" ON CONFLICT DO NOTHING", ids...)
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err != nil {
		return err
	}
	job.AddItems(int(n))
	if err := job.CommitTx(ctx, tx, at); err != nil {
		return err
	}
	return tx.Commit()
}
