// Copy copies a table of one database into another, each row exactly once, and can be
// killed at any moment; started again, it goes on.
//
//	go -C examples run ./copy
//
// It makes a SQLite database of 100,000 orders and copies them into a second one. The
// table there has no key on purpose: a row that came twice would stay there twice, and the
// program says at the end whether one did.
//
// There is no cursor.Track in it. Track saves the position after the loop's body has
// written, and a kill between the two brings the rows again: that is for a cursor.File,
// which is cut off, and for what may happen twice. Here the loop commits by itself: each
// batch in one transaction with the position of its last row, as in write below.
//
// Three things make it hold. The job's store (package sqlstore) is in the database that
// the rows go to; they may come from anywhere. A transaction has its batch whole. And no
// error of one is passed over: where the answer to a commit is lost, nobody knows whether
// the rows are there, but the next run does, for it asks for the position.
//
// To try next:
//
//   - -rate 10000, which takes ten seconds, and kill -9 in the midst, or Ctrl-C: what was
//     read is committed. A second Ctrl-C cuts it off, which harms nothing.
//   - start it again when it is done: it copies what has come to the table since then.
//   - start it twice at once: the second one waits, since it cannot know whether the
//     first one is dead, and ends with an error when that is still there.
//   - -from and -to: orders (id, customer, cents) of a PostgreSQL (postgres://...), a
//     MariaDB (mysql://user@tcp(host:port)/name) or a SQLite file, into a table
//     orders_copy of another, which is made.
//
// The exit code is 0 where the table is copied, 1 where that failed, 2 where the flags are
// wrong, 3 where it was interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"example.com/pipeline/batch"
	"example.com/pipeline/control"
	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/sqlstore"
)

func main() { os.Exit(start()) }

func start() int {
	c := config{out: os.Stdout, gate: new(control.Gate)}
	flag.StringVar(&c.from, "from", "", "the database that has the orders; by default a demo")
	flag.StringVar(&c.to, "to", "", "the database to copy them into; by default a SQLite file in the folder of the demo")
	flag.IntVar(&c.rows, "rows", 100_000, "rows of the demo; each number is a demo of its own")
	flag.IntVar(&c.batch, "batch", 500, "rows in a transaction")
	flag.Float64Var(&c.rate, "rate", 0, "rows a second, at most; 0 means no limit")
	flag.DurationVar(&c.lease, "lease", 10*time.Second, "how long the job of a run that was killed stays taken")
	flag.Parse()
	if c.rows < 1 || c.batch < 1 || c.batch > 5000 || c.rate < 0 || c.lease < time.Millisecond || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "copy: -rows and -lease must be positive, -batch 1 to 5000, -rate not negative, and there are no arguments")
		return 2
	}
	ctx, stop := control.Interruptible(context.Background(), c.gate)
	defer stop()
	switch err := run(ctx, c); {
	case errors.Is(err, control.ErrStopped):
		fmt.Fprintln(os.Stderr, "copy: interrupted; start it again to go on")
		return 3
	case err != nil:
		fmt.Fprintln(os.Stderr, "copy:", err)
		return 1
	}
	return 0
}

type config struct {
	from, to    string
	rows, batch int
	rate        float64
	lease       time.Duration
	out         io.Writer
	gate        *control.Gate
}

// copyOrders is what this program is about.
func copyOrders(ctx context.Context, c config, source, target database) (err error) {
	store := sqlstore.New(target.DB, target.dialect, sqlstore.LeaseFor(c.lease))
	if err := store.Migrate(ctx); err != nil {
		return err
	}
	q := orders(source)
	job, err := cursor.Open[int64](ctx, store, "copy orders", cursor.WithFingerprint(q.Fingerprint()),
		cursor.WaitFor(2*c.lease, func(held *cursor.LockedError) { fmt.Fprintln(os.Stderr, "copy: waiting:", held) }))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, job.Close()) }()
	// What is inserted from now on is for the next run, also when this one is resumed.
	if q.Until, err = job.Until(ctx, q.Latest); err != nil {
		return err
	}
	before := job.Items()
	fmt.Fprintf(c.out, "%d rows are copied\n", before)

	rows := control.Gated(ctx, q.Stream(ctx, job.Position()), c.gate)
	if c.rate > 0 {
		rows = control.RateLimit(ctx, rows, control.NewPacer(c.rate))
	}
	rows = control.Progress(rows, control.ProgressConfig{}, func(r control.Report) {
		fmt.Fprintf(c.out, "%d rows, %.0f a second\n", before+r.Items, r.Rate)
	})
	for rows, err := range batch.Size(rows, c.batch) {
		if err != nil {
			return err
		}
		if err := write(ctx, target, job, rows); err != nil {
			return err
		}
	}
	return job.Finish(ctx) // where it was interrupted, this says so
}

// write puts rows and the position of the last one into the target: both, or neither.
func write(ctx context.Context, target database, job *cursor.Checkpoint[int64], rows []order) error {
	tx, err := target.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after Commit it does nothing
	if err := insert(ctx, tx, target.dialect, "orders_copy", rows); err != nil {
		return err
	}
	job.AddItems(len(rows))
	if err := job.CommitTx(ctx, tx, rows[len(rows)-1].id); err != nil {
		return err
	}
	return tx.Commit()
}
