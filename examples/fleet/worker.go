package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"example.com/pipeline/cursor/riverjob"
	"example.com/pipeline/seq"
)

// workerVariable makes the program a worker, and says what with.
const workerVariable = "FLEET_WORKER"

// worker is a worker process: it works until it is told to end.
func worker(text string) error {
	var c config
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, terminate)
	defer stop()

	// Two for each range, and some for River and the rest.
	p, err := open(ctx, c, 2*c.Concurrency+3)
	if err != nil && ctx.Err() != nil {
		return nil // told to end before it had begun
	} else if err != nil {
		return err
	}
	defer p.close()
	count, err := openCounter(c.Out)
	if err != nil {
		return err
	}
	w := riverjob.NewWorker(p.store, riverjob.Config{Slice: c.Slice}, p.job(count))
	workers := river.NewWorkers()
	river.AddWorker(workers, w)
	client, err := river.NewClient(riverpgxv5.New(p.pool), &river.Config{
		Schema:      p.Schema,
		Queues:      map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: c.Concurrency}},
		Workers:     workers,
		RetryPolicy: everySecond{},
		Logger:      slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError + 1})),

		FetchPollInterval: 200 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	if err := client.Start(context.Background()); err != nil { // not ctx: Stop is to wait for the slices
		return err
	}
	rescuing := seq.Go(ctx, func() {
		_ = w.RescueEvery(ctx, nil) // where the database is down, the next time does
	})
	<-ctx.Done()
	w.Stop()
	rescuing.Join()
	return client.Stop(context.Background())
}

// everySecond tries a range that failed again after a second, for a database that comes
// back soon.
type everySecond struct{}

func (everySecond) NextRetry(*rivertype.JobRow) time.Time { return time.Now().Add(time.Second) }
