package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/time/rate"
	_ "modernc.org/sqlite"

	"example.com/pipeline/control"
	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

// A row is what there is to fill in.
type row struct {
	id   int64
	name string
}

// A filled row has its answer.
type filled struct {
	row
	answer string
}

// A job is one run of the program.
type job struct {
	config
	out        io.Writer
	gate       *control.Gate // stands in front of the rows
	monitor    *control.Monitor
	query      cursor.Query[row, int64]
	checkpoint *cursor.Checkpoint[int64]
	file       *cursor.File
	client     *client
}

func (j *job) say(format string, args ...any) { fmt.Fprintf(j.out, format+"\n", args...) }

// run does the job. Stopped by the gate it returns an error that Is control.ErrStopped.
func run(ctx context.Context, out io.Writer, c config, gate *control.Gate) (err error) {
	if err := os.MkdirAll(c.folder, 0o755); err != nil {
		return err
	}
	j := &job{config: c, out: out, gate: gate, monitor: control.NewMonitor()}
	path := filepath.Join(c.folder, "answers.csv")
	file, err := cursor.OpenFile(path)
	if err != nil {
		return err
	}
	j.file = file
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := j.open(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.checkpoint.Close()) }()

	rows, err := openRows(ctx, c.folder, c.rows)
	if err != nil {
		return err
	}
	defer rows.Close()
	j.query = rowsOf(rows)
	service, err := openService(ctx, c.folder, c.service, c.restart)
	if err != nil {
		return err
	}
	defer service.Close()

	page, err := serve(ctx, c.addr, j.monitor)
	if err != nil {
		return fmt.Errorf("%w (choose another address with -addr)", err)
	}
	defer page.Close()
	api, err := serve(ctx, "127.0.0.1:0", service)
	if err != nil {
		return err
	}
	defer api.Close()
	j.client = &client{http: &http.Client{}, url: api.url}
	defer j.client.http.CloseIdleConnections()

	if j.checkpoint.Finished() {
		j.say("nothing to do: all rows are filled; -restart does it again")
	} else {
		j.say("%d of %d rows are done; the pipeline is at %s", j.checkpoint.Items(), c.rows, page.url)
		if err := j.fill(ctx); err != nil {
			return err
		}
	}
	j.say("the answers are in %s", path)
	return service.summary(ctx, out, c.rows)
}

// open takes the job's checkpoint, and with it the job: a second run at the same time
// gets an error here.
func (j *job) open(ctx context.Context) error {
	store, err := cursor.NewFileStore(j.folder)
	if err != nil {
		return err
	}
	options := []cursor.OpenOption{cursor.Attach("answers", j.file)}
	if j.restart {
		options = append(options, cursor.Discard())
	}
	j.checkpoint, err = cursor.Open[int64](ctx, store, "backfill", options...)
	return err
}

// fill is what this program is about.
func (j *job) fill(ctx context.Context) error {
	for r, err := range j.pipeline(ctx) {
		if err != nil {
			return err // of an item, too: no row is left out, the next run begins with it
		}
		if _, err := fmt.Fprintf(j.file, "%d,%s\n", r.id, r.answer); err != nil {
			return err
		}
	}
	if j.gate.Wait(ctx) != nil {
		return fmt.Errorf("%d of %d rows are done: %w", j.checkpoint.Items(), j.rows, control.ErrStopped)
	}
	return j.checkpoint.Finish(ctx)
}

// pipeline reads rows behind the gate, calls the API for eight at a time, and
// commits what the loop has consumed.
func (j *job) pipeline(ctx context.Context) iter.Seq2[filled, error] {
	rows := control.Observe(j.monitor, "read rows",
		control.Gated(ctx, j.query.Stream(ctx, j.checkpoint.Position()), j.gate))
	answers := control.Observe(j.monitor, "call the API",
		seq.MapConcurrent(ctx, rows, 8, control.Wrap(j.client.fill, j.policies()...)))
	before := j.checkpoint.Items()
	answers = control.Progress(answers, control.ProgressConfig{Total: int64(j.rows) - before, Every: 2 * time.Second},
		func(r control.Report) {
			j.say("%d rows done, %.0f a second, %v to go", before+r.Items, r.Rate, r.Remaining.Round(time.Second))
		})
	return cursor.Track(ctx, answers, j.checkpoint, cursor.Every{Items: 20, Interval: time.Second},
		func(r filled) int64 { return r.id })
}

// policies govern each call, the first outermost.
func (j *job) policies() []control.Policy {
	seldom := rate.Sometimes{Interval: time.Second} // of calls that fail together one is enough to read
	return []control.Policy{
		control.Retry{
			Attempts:   -1,
			Backoff:    control.Exponential(50*time.Millisecond, time.Second),
			MaxElapsed: 20 * time.Second,
			Pause:      j.gate,
			OnRetry: func(e control.RetryEvent) {
				seldom.Do(func() {
					j.say("  try %d failed, all wait for %v: %v", e.Attempt, e.Sleep.Round(time.Millisecond), e.Err)
				})
			},
		},
		control.NewBreaker(control.BreakerConfig{
			Window:    500 * time.Millisecond,
			OpenFor:   300 * time.Millisecond,
			IsFailure: func(err error) bool { return !errors.Is(err, errBusy) }, // a service that says when is not in trouble
			OnChange:  func(from, to control.BreakerState) { j.say("  breaker: %v, was %v", to, from) },
			Hold:      true,
		}),
		control.Rate(control.NewPacer(j.rate)),
		control.Timeout(500 * time.Millisecond),
	}
}

// openRows opens the database with the rows, and makes it in one transaction where
// there is none.
func openRows(ctx context.Context, folder string, n int) (*sql.DB, error) {
	db, err := openSQLite(filepath.Join(folder, "rows.db"))
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, `BEGIN IMMEDIATE;
		CREATE TABLE IF NOT EXISTS customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
		WITH RECURSIVE ids(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids WHERE id < ?)
		INSERT INTO customers SELECT id, 'customer ' || id FROM ids WHERE true ON CONFLICT DO NOTHING;
		COMMIT`, n); err != nil {
		db.Close()
		return nil, fmt.Errorf("make the rows: %w", err)
	}
	return db, nil
}

func rowsOf(db *sql.DB) cursor.Query[row, int64] {
	return cursor.Query[row, int64]{
		DB: db, Dialect: cursor.SQLite,
		Select: "id, name", From: "customers", Key: []string{"id"},
		Scan: func(rows *sql.Rows) (r row, err error) {
			err = rows.Scan(&r.id, &r.name)
			return r, err
		},
		Position: func(r row) int64 { return r.id },
		Page:     cursor.PageConfig{Size: 100, Prefetch: 0.5}, // the next page when half of one is done
	}
}

// openSQLite opens a database for one connection, which waits for other processes.
func openSQLite(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(path)+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// A server is a handler that is being served.
type server struct {
	url     string
	http    *http.Server
	serving *seq.Task
}

func serve(ctx context.Context, addr string, handler http.Handler) (*server, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &server{url: "http://" + listener.Addr().String(), http: &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}}
	s.serving = seq.Go(ctx, func() { s.http.Serve(listener) })
	return s, nil
}

func (s *server) Close() {
	s.http.Close()
	s.serving.Join()
}
