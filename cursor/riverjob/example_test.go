package riverjob_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"example.com/pipeline/batch"
	"example.com/pipeline/control"
	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/cursor/riverjob"
	"example.com/pipeline/seq"
)

// An Order is a row of the table orders.
type Order struct {
	ID   int64
	Note string
}

func orders(db *sql.DB) riverjob.Source[Order, int64] {
	return riverjob.FromQuery(keyset.Query[Order, int64]{
		DB: db, Dialect: keyset.Postgres,
		Select: "id, note", From: "orders", Key: []string{"id"},
		Scan:     func(rows *sql.Rows) (o Order, err error) { err = rows.Scan(&o.ID, &o.Note); return o, err },
		Position: func(o Order) int64 { return o.ID },
	})
}

// A worker program, of which any number may run on any number of machines: it plans the
// export if nobody has yet, works until SIGTERM, and may be killed at any time.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	store := riverjob.New(pool)
	defer store.Close()
	folder, err := riverjob.OpenFolder("/mnt/shared/orders")
	if err != nil {
		log.Fatal(err)
	}
	export := riverjob.Job[Order, int64]{
		Name: "orders", Source: orders(store.DB()), Sink: folder, Suffix: ".csv",
		Work: func(ctx context.Context, s *riverjob.Slice[Order, int64]) error {
			for o, err := range s.Tracked(ctx) {
				if err != nil {
					return err
				}
				if _, err := fmt.Fprintf(s.Part, "%d,%q\n", o.ID, o.Note); err != nil {
					return err
				}
			}
			return nil
		},
	}

	worker := riverjob.NewWorker(store, riverjob.Config{}, export)
	workers := river.NewWorkers()
	river.AddWorker(workers, worker)
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Queues:  map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 4}},
		Workers: workers,
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := export.Plan(ctx, store, client, 64, &river.InsertOpts{MaxAttempts: 100}); err != nil {
		log.Fatal(err)
	}
	if err := client.Start(context.Background()); err != nil { // not ctx, which would cut the slices off
		log.Fatal(err)
	}
	_ = worker.RescueEvery(ctx, nil) // until SIGTERM
	worker.Stop()
	if err := client.Stop(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// A backfill: a call for each row, 16 in flight. A call that was made and not yet
// committed is made again after a kill, so it has a key.
func ExampleSlice_Stream_backfill() {
	var store *riverjob.Store // of riverjob.New
	var call func(context.Context, Order) (Order, error)
	key := func(o Order) string { return fmt.Sprint("order ", o.ID) }
	call = control.Wrap(control.Idempotent(call, store.Checkpoints(), key), control.Retry{})
	_ = riverjob.Job[Order, int64]{
		Name: "backfill", Source: orders(store.DB()),
		Work: func(ctx context.Context, s *riverjob.Slice[Order, int64]) error {
			called := seq.MapConcurrent(ctx, s.Stream(ctx), 16, call)
			return seq.Drain(cursor.Track(ctx, called, s.Checkpoint, s.Every(), func(o Order) int64 { return o.ID }))
		},
	}
}

// A copy into a table of the same PostgreSQL: the rows and the position are one
// transaction, so each row is copied exactly once.
func ExampleSlice_Stream_copy() {
	var store *riverjob.Store // of riverjob.New
	write := func(ctx context.Context, s *riverjob.Slice[Order, int64], orders []Order) error {
		tx, err := store.DB().BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		s.Checkpoint.AddItems(len(orders))
		if err := s.Checkpoint.CommitTx(ctx, tx, orders[len(orders)-1].ID); err != nil {
			return err
		}
		for _, o := range orders {
			if _, err := tx.ExecContext(ctx, "INSERT INTO archive (id, note) VALUES ($1, $2)", o.ID, o.Note); err != nil {
				return err
			}
		}
		return tx.Commit()
	}
	_ = riverjob.Job[Order, int64]{
		Name: "archive", Source: orders(store.DB()),
		Work: func(ctx context.Context, s *riverjob.Slice[Order, int64]) error {
			return seq.ForEach(batch.Size(s.Stream(ctx), 500), func(orders []Order) error { return write(ctx, s, orders) })
		},
	}
}

func ExampleStore_Status() {
	var store *riverjob.Store // of riverjob.New
	for {
		st, err := store.Status(context.Background(), "orders")
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d of %d ranges, %d rows, %.0f a second, %v to go\n", st.Done, st.Ranges, st.Rows, st.Rate, st.Remaining)
		for _, f := range st.Failing {
			fmt.Printf("range %d: attempt %d: %s\n", f.Number, f.Attempt, f.Error)
		}
		if st.Finished() {
			return
		}
		time.Sleep(time.Second)
	}
}
