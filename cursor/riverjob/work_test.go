package riverjob_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"example.com/pipeline/batch"
	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/riverjob"
	"example.com/pipeline/seq"
)

// slow works like export, one row each millisecond, so that slices end in the midst.
func slow(ctx context.Context, s *riverjob.Slice[row, int64]) error {
	return slowly(ctx, s, func() {})
}

// slowly does so, too, and calls fn once it has done some rows.
func slowly(ctx context.Context, s *riverjob.Slice[row, int64], fn func()) error {
	n := 0
	for r, err := range s.Tracked(ctx) {
		if err != nil {
			return err
		}
		if n++; n == 10 {
			fn()
		}
		time.Sleep(time.Millisecond)
		fmt.Fprintf(s.Part, "%d,%s\n", r.id, r.name)
	}
	return nil
}

func TestEveryRowIsInThePartsOnce(t *testing.T) {
	t.Parallel()
	folder, err := riverjob.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, sink := range map[string]riverjob.Sink{"folder": folder, "object store": newBucket()} {
		for _, separate := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, separate %t", name, separate), func(t *testing.T) {
				t.Parallel()
				p := newPlace(t)
				p.rows(t, 600)
				job := riverjob.Job[row, int64]{Name: fmt.Sprint("a.b/", separate), Source: p.source(), Work: slow, Sink: sink, Suffix: ".csv",
					Separate: separate, Every: cursor.Every{Interval: 10 * time.Millisecond}}
				plan(t, p, job, 5)
				w := riverjob.NewWorker(p.Store, riverjob.Config{Slice: 40 * time.Millisecond}, job)
				stop := start(t, w, p.client(t, w))
				until(t, "the export", p.finished(t, job.Name))
				stop()
				if got, want := p.content(t, job.Name, sink), p.want(t); got != want {
					t.Errorf("got %d bytes, want %d", len(got), len(want))
				}
				if n := p.int(t, "SELECT min((metadata->>'snoozes')::int) FROM river_job"); n < 1 {
					t.Errorf("a range was done in %d slices and one: nothing was cut", n)
				}
				if n := p.int(t, "SELECT sum(items) FROM pipeline_checkpoints"); n != 600 {
					t.Errorf("got %d items", n)
				}
				if n := p.int(t, "SELECT count(*) FROM river_job WHERE state = 'completed' AND errors IS NULL"); n != 5 {
					t.Errorf("River has %d of 5 jobs completed", n)
				}
				parts, err := p.Parts(context.Background(), job.Name)
				if err != nil {
					t.Fatal(err)
				}
				objects := 0
				for _, part := range parts {
					objects += len(part.Objects)
				}
				if !separate && objects != 5 || separate && objects <= 5 {
					t.Errorf("got %d objects in 5 parts", objects)
				}
				if n, err := p.Sweep(context.Background(), job.Name, sink); err != nil || n != 0 {
					t.Errorf("sweep: %d objects were left behind, %v", n, err)
				}
			})
		}
	}
}

// A table-to-table copy with CommitTx: exactly once without any sink.
func TestCopyWithCommitTx(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 300)
	exec(t, p.pool, "CREATE TABLE dst (id BIGINT, name TEXT)") // no key: a second insert would stay
	var tries atomic.Int32
	job := riverjob.Job[row, int64]{Name: "copy", Source: p.source(), Work: func(ctx context.Context, s *riverjob.Slice[row, int64]) error {
		for rows, err := range batch.Size(s.Stream(ctx), 20) {
			if err != nil {
				return err
			}
			tx, err := p.DB().BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			s.Checkpoint.AddItems(len(rows))
			if err := s.Checkpoint.CommitTx(ctx, tx, rows[len(rows)-1].id); err != nil {
				return err
			}
			for _, r := range rows {
				if _, err := tx.ExecContext(ctx, "INSERT INTO dst VALUES ($1, $2)", r.id, r.name); err != nil {
					return err
				}
			}
			if tries.Add(1)%4 == 0 {
				return errors.New("the work fails now and then")
			}
			if err := tx.Commit(); err != nil {
				return err
			}
		}
		return nil
	}}
	plan(t, p, job, 4)
	w := riverjob.NewWorker(p.Store, riverjob.Config{Slice: 20 * time.Millisecond}, job)
	start(t, w, p.client(t, w))
	until(t, "the copy", p.finished(t, "copy"))
	if n := p.int(t, "SELECT count(*) FROM dst"); n != 300 {
		t.Errorf("got %d rows", n)
	}
	if n := p.int(t, "SELECT count(*) FROM (SELECT * FROM src EXCEPT SELECT * FROM dst) x"); n != 0 {
		t.Errorf("%d rows are missing", n)
	}
}

// A backfill: calls for each row, several in flight, behind them Track.
func TestCallsInFlightEndWithTheSlice(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 400)
	var calls atomic.Int64
	job := riverjob.Job[row, int64]{Name: "calls", Source: p.source(), Work: func(ctx context.Context, s *riverjob.Slice[row, int64]) error {
		called := seq.MapConcurrent(ctx, s.Stream(ctx), 8, func(ctx context.Context, r row) (row, error) {
			calls.Add(1)
			time.Sleep(time.Millisecond)
			return r, nil
		})
		return seq.Drain(cursor.Track(ctx, called, s.Checkpoint, s.Every(), func(r row) int64 { return r.id }))
	}}
	plan(t, p, job, 3)
	w := riverjob.NewWorker(p.Store, riverjob.Config{Slice: 10 * time.Millisecond}, job)
	stop := start(t, w, p.client(t, w))
	until(t, "the backfill", p.finished(t, "calls"))
	stop()
	if calls.Load() != 400 {
		t.Errorf("got %d calls for 400 rows, and nothing failed", calls.Load())
	}
}

func TestAnErrorIsRiversAndTheCheckpointStays(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 100)
	sink := newBucket()
	var broken atomic.Bool
	broken.Store(true)
	job := riverjob.Job[row, int64]{Name: "fails", Source: p.source(), Sink: sink, Every: cursor.Every{Items: 1},
		Work: func(ctx context.Context, s *riverjob.Slice[row, int64]) error {
			for r, err := range s.Tracked(ctx) {
				if err != nil {
					return err
				}
				fmt.Fprintf(s.Part, "%d,%s\n", r.id, r.name)
				if r.id == 60 && broken.Load() {
					return errors.New("row 60 is broken")
				}
			}
			return nil
		}}
	client := p.client(t, nil)
	if _, err := job.Plan(context.Background(), p.Store, client, 4, &river.InsertOpts{MaxAttempts: 2}); err != nil {
		t.Fatal(err)
	}
	w := riverjob.NewWorker(p.Store, riverjob.Config{}, job)
	stop := start(t, w, p.client(t, w))
	var st riverjob.Status
	until(t, "the range to be discarded", func() bool {
		var err error
		if st, err = p.Status(context.Background(), "fails"); err != nil {
			t.Fatal(err)
		}
		return st.Done == 3 && len(st.Failing) == 1 && st.Failing[0].State == "discarded"
	})
	if f := st.Failing[0]; f.Number != 0 || f.Error != "row 60 is broken" || f.Attempt != 2 || f.At.IsZero() || !f.Next.IsZero() {
		t.Errorf("got %+v", f)
	}
	if st.Rows != 75+19 || st.Total != 100 || st.Ranges != 4 || st.Finished() {
		t.Errorf("got %+v", st)
	}
	if _, err := p.Sweep(context.Background(), "fails", sink); err == nil {
		t.Error("got a sweep of a job that is not finished")
	}
	broken.Store(false)
	for want := 1; want >= 0; want-- { // the second time there is nothing to do
		if n, err := p.Requeue(context.Background(), client, "fails", nil); err != nil || n != want {
			t.Errorf("requeue: got %d, %v, want %d", n, err, want)
		}
	}
	until(t, "the export", p.finished(t, "fails"))
	stop()
	if got := p.content(t, "fails", sink); got != p.want(t) {
		t.Errorf("got %s", got)
	}
	st, err := p.Status(context.Background(), "fails")
	if err != nil || len(st.Failing) != 0 || st.Rate <= 0 || st.Remaining != 0 {
		t.Errorf("got %+v, %v", st, err)
	}
}

func TestALoopThatIsBrokenOffIsAnError(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 100)
	job := riverjob.Job[row, int64]{Name: "lazy", Source: p.source(), Work: func(ctx context.Context, s *riverjob.Slice[row, int64]) error {
		for range s.Stream(ctx) {
			break
		}
		return nil
	}}
	plan(t, p, job, 1)
	w := riverjob.NewWorker(p.Store, riverjob.Config{}, job)
	err := w.Work(context.Background(), &river.Job[riverjob.Args]{Args: riverjob.Args{Job: "lazy"}})
	if err == nil || !strings.Contains(err.Error(), "committed nothing") {
		t.Errorf("got %v", err)
	}
}

// A filter that lets next to nothing through: many slices have nothing to commit, and
// the range gets on all the same. So it does without any Track.
func TestSlicesInWhichThereIsNothingToDo(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 300)
	var calls, found atomic.Int64
	slowly := func(ctx context.Context, s *riverjob.Slice[row, int64]) iter.Seq2[row, error] {
		return seq.MapConcurrent(ctx, s.Stream(ctx), 2, func(_ context.Context, r row) (row, error) {
			calls.Add(1)
			time.Sleep(time.Millisecond)
			return r, nil
		})
	}
	sparse := riverjob.Job[row, int64]{Name: "sparse", Source: p.source(), Work: func(ctx context.Context, s *riverjob.Slice[row, int64]) error {
		few := seq.Filter(slowly(ctx, s), func(r row) bool { return r.id == 450 })
		return seq.ForEach(cursor.Track(ctx, few, s.Checkpoint, s.Every(), func(r row) int64 { return r.id }), func(row) error { found.Add(1); return nil })
	}}
	plain := riverjob.Job[row, int64]{Name: "plain", Source: p.source(), Work: func(ctx context.Context, s *riverjob.Slice[row, int64]) error {
		return seq.Drain(slowly(ctx, s))
	}}
	plan(t, p, sparse, 2)
	plan(t, p, plain, 2)
	w := riverjob.NewWorker(p.Store, riverjob.Config{Slice: 20 * time.Millisecond}, sparse, plain)
	stop := start(t, w, p.client(t, w))
	until(t, "both jobs", func() bool { return p.finished(t, "sparse")() && p.finished(t, "plain")() })
	stop()
	// The rows behind the one that was found are read again once, at most.
	if n := calls.Load(); found.Load() != 1 || n < 600 || n > 900 {
		t.Errorf("got %d calls for 2 times 300 rows, and %d rows found", n, found.Load())
	}
	if n := p.int(t, "SELECT sum(items) FROM pipeline_checkpoints WHERE job LIKE 'plain#%'"); n != 300 {
		t.Errorf("got %d items", n)
	}
	if n := p.int(t, "SELECT count(*) FROM river_job WHERE state = 'completed' AND errors IS NULL AND metadata ? 'snoozes'"); n != 4 {
		t.Errorf("%d of 4 ranges were done in several slices and without an error", n)
	}
}

func TestAPanicIsRiversAndLetsTheRangeGo(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 10)
	var once atomic.Bool
	sink := newBucket()
	job := riverjob.Job[row, int64]{Name: "panics", Source: p.source(), Sink: sink, Work: func(ctx context.Context, s *riverjob.Slice[row, int64]) error {
		if once.CompareAndSwap(false, true) {
			panic("once")
		}
		return export(ctx, s)
	}}
	plan(t, p, job, 1)
	w := riverjob.NewWorker(p.Store, riverjob.Config{}, job)
	start(t, w, p.client(t, w))
	until(t, "the job", p.finished(t, "panics"))
	if n := p.int(t, "SELECT count(*) FROM river_job WHERE errors[1]->>'error' = 'once'"); n != 1 {
		t.Error("River does not show the panic")
	}
}

// Stop ends the slices that are under way, long before their time, and what they have
// done is committed.
func TestStopDrains(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 4000)
	sink := newBucket()
	began := make(chan struct{}, 100)
	job := riverjob.Job[row, int64]{Name: "stops", Source: p.source(), Sink: sink, Work: func(ctx context.Context, s *riverjob.Slice[row, int64]) error {
		return slowly(ctx, s, func() { began <- struct{}{} })
	}}
	plan(t, p, job, 2)
	w := riverjob.NewWorker(p.Store, riverjob.Config{Slice: time.Hour}, job)
	client := p.client(t, w)
	stop := start(t, w, client)
	<-began
	<-began
	stop()
	if n := p.int(t, "SELECT count(*) FROM pipeline_checkpoints WHERE owner = '' AND items > 0 AND items < 2000"); n != 2 {
		t.Errorf("got %d of 2 ranges that were committed and let go", n)
	}
	if n := p.int(t, "SELECT count(*) FROM river_job WHERE state = 'available' AND attempt = 0 AND errors IS NULL"); n != 2 {
		t.Errorf("got %d of 2 jobs that can go on at once", n)
	}
	// Whoever calls a stopped worker is told to come back later.
	var snooze *river.JobSnoozeError
	if err := w.Work(context.Background(), &river.Job[riverjob.Args]{Args: riverjob.Args{Job: "stops"}}); !errors.As(err, &snooze) {
		t.Errorf("got %v", err)
	}
}

func TestStrangersAndDroppedJobs(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 10)
	job := riverjob.Job[row, int64]{Name: "known", Source: p.source(), Work: export}
	w := riverjob.NewWorker(p.Store, riverjob.Config{}, job)
	work := func(name string) error {
		return w.Work(context.Background(), &river.Job[riverjob.Args]{Args: riverjob.Args{Job: name}})
	}
	var snooze *river.JobSnoozeError
	if err := work("unknown"); !errors.As(err, &snooze) || snooze.Duration != 10*time.Second {
		t.Errorf("unknown: got %v", err)
	}
	var cancel *river.JobCancelError
	if err := work("known"); !errors.As(err, &cancel) || !errors.Is(err, riverjob.ErrNoPlan) {
		t.Errorf("without a plan: got %v", err)
	}
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	if err := w.Work(ctx, &river.Job[riverjob.Args]{Args: riverjob.Args{Job: "known"}}); err == nil || !strings.Contains(err.Error(), "a slice takes 30s") {
		t.Errorf("with a short ctx: got %v", err)
	}
	if _, err := p.Status(context.Background(), "unknown"); !errors.Is(err, riverjob.ErrNoPlan) {
		t.Errorf("status: got %v", err)
	}
	if _, err := p.Parts(context.Background(), "unknown"); !errors.Is(err, riverjob.ErrNoPlan) {
		t.Errorf("parts: got %v", err)
	}
	if _, err := p.Requeue(context.Background(), p.client(t, nil), "unknown", nil); !errors.Is(err, riverjob.ErrNoPlan) {
		t.Errorf("requeue: got %v", err)
	}
}

func TestWorkersAreChecked(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 1)
	job := riverjob.Job[row, int64]{Name: "j", Source: p.source(), Work: export}
	idle := job
	idle.Work = nil
	for _, c := range []struct {
		cfg  riverjob.Config
		jobs []riverjob.Planned
		want string
	}{
		{riverjob.Config{Slice: -1}, nil, "Slice must be 1ms to 24h0m0s, got -1ns"},
		{riverjob.Config{Slice: math.MaxInt64}, nil, "Slice must be"},
		{riverjob.Config{Slice: time.Minute, Timeout: time.Minute}, nil, "Timeout must be longer than Slice (1m0s)"},
		{riverjob.Config{Timeout: math.MaxInt64}, nil, "Timeout must be longer than Slice"},
		{riverjob.Config{}, []riverjob.Planned{job, job}, `each job must have a name of its own, got "j" twice`},
		{riverjob.Config{}, []riverjob.Planned{idle}, `Work must not be nil: job "j"`},
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.HasPrefix(got, "riverjob.NewWorker: "+c.want) {
					t.Errorf("got %q, want %q", got, c.want)
				}
			}()
			riverjob.NewWorker(p.Store, c.cfg, c.jobs...)
		}()
	}
	if got := riverjob.NewWorker(p.Store, riverjob.Config{Slice: 24 * time.Hour}).Timeout(nil); got != 48*time.Hour {
		t.Errorf("got a timeout of %v", got)
	}
	if got := riverjob.NewWorker(p.Store, riverjob.Config{}).Timeout(nil); got != time.Minute {
		t.Errorf("got a timeout of %v", got)
	}
}

// River's StopAndCancel ends the ctx of the slices: what was done is committed, and no
// attempt is lost.
func TestStopAndCancelLosesNothing(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 4000)
	began := make(chan struct{}, 100)
	job := riverjob.Job[row, int64]{Name: "cut", Source: p.source(), Sink: newBucket(), Work: func(ctx context.Context, s *riverjob.Slice[row, int64]) error {
		return slowly(ctx, s, func() { began <- struct{}{} })
	}}
	plan(t, p, job, 1)
	client := p.client(t, riverjob.NewWorker(p.Store, riverjob.Config{}, job))
	if err := client.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	<-began
	if err := client.StopAndCancel(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := p.int(t, "SELECT count(*) FROM pipeline_checkpoints WHERE owner = '' AND items >= 9 AND items < 4000"); n != 1 {
		t.Error("what was done is not committed, or the range not let go")
	}
	if n := p.int(t, "SELECT count(*) FROM river_job WHERE state = 'available' AND attempt = 0 AND errors IS NULL"); n != 1 {
		t.Error("the job cannot go on at once")
	}
}
