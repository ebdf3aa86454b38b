package riverjob_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/riverjob"
)

// A tally counts the statements of a pool.
type tally struct{ n atomic.Int64 }

func (c *tally) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.n.Add(1)
	return ctx
}

func (c *tally) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// What the package's documentation says about the statements of a slice and a commit is
// so: both are counted, the reading of rows apart.
func TestWhatASliceAsksOfTheDatabase(t *testing.T) {
	t.Parallel()
	dsn := os.Getenv(dsnVariable)
	if dsn == "" {
		t.Skipf("no PostgreSQL: set %s", dsnVariable)
	}
	var count tally
	p := newPlaceAt(t, dsn, &count)
	p.rows(t, 100)
	reads := p.source()
	commits := 1
	slice := int64(0)
	job := riverjob.Job[row, int64]{Name: "tally", Source: reads, Work: func(ctx context.Context, s *riverjob.Slice[row, int64]) error {
		for i := range commits {
			if err := s.Checkpoint.Commit(ctx, int64(i)+slice*1000); err != nil {
				return err
			}
		}
		return nil // more to come
	}}
	plan(t, p, job, 1)
	w := riverjob.NewWorker(p.Store, riverjob.Config{}, job)
	statements := func() int64 {
		slice++
		before := count.n.Load()
		if err := w.Work(context.Background(), &river.Job[riverjob.Args]{Args: riverjob.Args{Job: "tally"}}); err == nil {
			t.Fatal("got the end of the range")
		}
		return count.n.Load() - before
	}
	if got := statements(); got != sliceStatements+1 {
		t.Errorf("a slice with one commit takes %d statements, the documentation says %d and one", got, sliceStatements)
	}
	commits = 5
	if got := statements(); got != sliceStatements+5 {
		t.Errorf("a slice with five commits takes %d statements, the documentation says %d and five", got, sliceStatements)
	}
}

// sliceStatements are those of a slice without its commits and the reading of its rows:
// look for the range, make its row, take it, ask for the lease's name, begin an epoch,
// load, sample, release; and eight of the source's, for its fingerprint.
const sliceStatements = 8 + 8

// BenchmarkFigures measures what the documentation's page on growth says, on a server of
// its own: run it once, with -benchtime 1x -v, and read what it logs.
func BenchmarkFigures(b *testing.B) {
	s := newServer(b, "shared_preload_libraries=pg_stat_statements", "track_io_timing=off", "autovacuum=on", "checkpoint_timeout=1h")
	p := newPlaceAt(b, s.dsn, nil)
	exec(b, p.pool, "CREATE EXTENSION pg_stat_statements")
	const rows, ranges = 300_000, 20
	p.rows(b, rows)
	q := p.query()
	q.Page = cursor.PageConfig{}
	folder, err := riverjob.OpenFolder(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	var slices atomic.Int64
	job := riverjob.Job[row, int64]{Name: "figures", Source: riverjob.FromQuery(q), Sink: folder, Every: cursor.Every{Items: 1500},
		Work: func(ctx context.Context, s *riverjob.Slice[row, int64]) error {
			slices.Add(1)
			return export(ctx, s)
		}}
	wal := func() (n int64) {
		if err := p.pool.QueryRow(context.Background(), "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn").Scan(&n); err != nil {
			b.Fatal(err)
		}
		return n
	}
	exec(b, p.pool, "SELECT pg_stat_statements_reset()")
	w0 := wal()
	plan(b, p, job, ranges)
	w1 := wal()
	report := func(what string) {
		b.Log(what)
		list, err := p.pool.Query(context.Background(), `SELECT calls, round(total_exec_time::numeric, 1)::text, wal_bytes::text, regexp_replace(left(query, 110), '\s+', ' ', 'g')
			FROM pg_stat_statements WHERE calls > 1 OR total_exec_time > 1 ORDER BY total_exec_time DESC LIMIT 40`)
		if err != nil {
			b.Fatal(err)
		}
		defer list.Close()
		for list.Next() {
			var calls int64
			var ms, bytes, text string
			if err := list.Scan(&calls, &ms, &bytes, &text); err != nil {
				b.Fatal(err)
			}
			b.Logf("%7d calls %9s ms %9s bytes  %s", calls, ms, bytes, strings.TrimSpace(text))
		}
	}
	report(fmt.Sprintf("plan of %d ranges: %d bytes of WAL", ranges, w1-w0))
	exec(b, p.pool, "SELECT pg_stat_statements_reset()")
	w := riverjob.NewWorker(p.Store, riverjob.Config{Slice: 30 * time.Millisecond}, job)
	stop := start(b, w, p.client(b, w, func(c *river.Config) { c.FetchCooldown, c.FetchPollInterval = 100*time.Millisecond, time.Second }))
	until(b, "the export", p.finished(b, "figures"))
	stop()
	w2 := wal()
	commits := p.int(b, "SELECT sum(seq) FROM pipeline_checkpoints")
	report(fmt.Sprintf("work: %d rows, %d slices, %d commits, %d bytes of WAL", rows, slices.Load(), commits, w2-w1))
}
