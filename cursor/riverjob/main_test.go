package riverjob_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/cursor/riverjob"
)

const dsnVariable = "PIPELINE_POSTGRES"

// A place is a schema of a test's own.
type place struct {
	*riverjob.Store
	pool   *pgxpool.Pool
	schema string
}

func newPlace(t testing.TB, opts ...riverjob.Option) *place {
	t.Helper()
	dsn := os.Getenv(dsnVariable)
	if dsn == "" {
		t.Skipf("no PostgreSQL: set %s, such as postgres://postgres@127.0.0.1:5432/test?sslmode=disable", dsnVariable)
	}
	return newPlaceAt(t, dsn, nil, opts...)
}

func newPlaceAt(t testing.TB, dsn string, tracer pgx.QueryTracer, opts ...riverjob.Option) *place {
	t.Helper()
	ctx := context.Background()
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	schema := "riverjob_" + strings.ToLower(rand.Text()[:12])
	cfg.MaxConns = 10
	cfg.ConnConfig.RuntimeParams["search_path"] = schema
	cfg.ConnConfig.Tracer = tracer
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	exec(t, pool, "CREATE SCHEMA "+schema)
	t.Cleanup(func() {
		if _, err := pool.Exec(context.Background(), "DROP SCHEMA "+schema+" CASCADE"); err != nil {
			t.Error(err)
		}
	})
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: schema, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		t.Fatal(err)
	}
	store := riverjob.New(pool, append([]riverjob.Option{riverjob.Schema(schema)}, opts...)...)
	t.Cleanup(func() { store.Close() })
	if err := store.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	return &place{store, pool, schema}
}

func exec(t testing.TB, pool *pgxpool.Pool, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := pool.Exec(context.Background(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func (p *place) int(t testing.TB, query string, args ...any) (n int) {
	t.Helper()
	if err := p.pool.QueryRow(context.Background(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// rows makes a table src with n rows, ids with gaps.
func (p *place) rows(t testing.TB, n int) {
	t.Helper()
	exec(t, p.pool, "CREATE TABLE src (id BIGINT PRIMARY KEY, name TEXT NOT NULL)",
		fmt.Sprintf("INSERT INTO src SELECT i * 3, 'name ' || i FROM generate_series(1, %d) i", n))
}

// A row is one of src.
type row struct {
	id   int64
	name string
}

func (p *place) source() riverjob.Source[row, int64] {
	return riverjob.FromQuery(p.query())
}

func (p *place) query() keyset.Query[row, int64] {
	return keyset.Query[row, int64]{
		DB: p.DB(), Dialect: keyset.Postgres, Select: "id, name", From: "src", Key: []string{"id"},
		Scan:     func(rows *sql.Rows) (r row, err error) { err = rows.Scan(&r.id, &r.name); return r, err },
		Position: func(r row) int64 { return r.id },
		Page:     cursor.PageConfig{Size: 50, Max: 50},
	}
}

// quickly retries at once.
type quickly struct{}

func (quickly) NextRetry(*rivertype.JobRow) time.Time {
	return time.Now().Add(20 * time.Millisecond)
}

// client returns a client that works with w, or only inserts where w is nil.
func (p *place) client(t testing.TB, w *riverjob.Worker, change ...func(*river.Config)) *riverjob.Client {
	t.Helper()
	cfg := &river.Config{Schema: p.schema, Logger: slog.New(slog.DiscardHandler)}
	if w != nil {
		cfg.Workers = river.NewWorkers()
		river.AddWorker(cfg.Workers, w)
		cfg.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 4}}
		cfg.FetchCooldown, cfg.FetchPollInterval = 5*time.Millisecond, 40*time.Millisecond
		cfg.RetryPolicy = quickly{}
		cfg.TestOnly = true
	}
	for _, c := range change {
		c(cfg)
	}
	client, err := river.NewClient(riverpgxv5.New(p.pool), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// start runs a client until the test ends, or stop is called.
func start(t testing.TB, w *riverjob.Worker, client *riverjob.Client) (stop func()) {
	t.Helper()
	if err := client.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		w.Stop()
		if err := client.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// until waits until the database says so. It polls: the database has no fake clock.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(3 * time.Minute) // far from what it takes, also on a busy machine
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within three minutes", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (p *place) finished(t testing.TB, job string) func() bool {
	return func() bool {
		st, err := p.Status(context.Background(), job)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range st.Failing {
			if f.State == string(rivertype.JobStateDiscarded) || f.State == string(rivertype.JobStateCancelled) {
				t.Fatalf("job %q: River has given up range %d after %d attempts: %s", job, f.Number, f.Attempt, f.Error)
			}
		}
		return st.Finished()
	}
}

func plan[T, P any](t testing.TB, p *place, j riverjob.Job[T, P], n int) {
	t.Helper()
	// Each error of a range is an attempt, over its whole life: on a busy machine slices are
	// small and there are many of them, and River's own 25 are not for work that fails now and then.
	ours, err := j.Plan(context.Background(), p.Store, p.client(t, nil), n, &river.InsertOpts{MaxAttempts: 1000})
	if err != nil || !ours {
		t.Fatalf("plan: got %v, %v", ours, err)
	}
}

// content reads all parts of a job, in order.
func (p *place) content(t testing.TB, job string, sink riverjob.Sink) string {
	t.Helper()
	parts, err := p.Parts(context.Background(), job)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, part := range parts {
		r := part.Open(context.Background(), sink)
		if _, err := io.Copy(&b, r); err != nil {
			t.Fatalf("part %d: %v", part.Number, err)
		}
		r.Close()
	}
	return b.String()
}

// want is what an export of src is.
func (p *place) want(t testing.TB) string {
	t.Helper()
	var text string
	if err := p.pool.QueryRow(context.Background(), `SELECT COALESCE(string_agg(id || ',' || name || E'\n', '' ORDER BY id), '') FROM src`).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

// export writes the rows to the part, as lines.
func export(ctx context.Context, s *riverjob.Slice[row, int64]) error {
	for r, err := range s.Tracked(ctx) {
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(s.Part, "%d,%s\n", r.id, r.name); err != nil {
			return err
		}
	}
	return nil
}
