package riverjob_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/riverjob"
)

// steal is what another worker does when the lease of a range has run out.
func (p *place) steal(t *testing.T, job string, number int) *cursor.Checkpoint[int64] {
	t.Helper()
	for {
		exec(t, p.pool, "UPDATE pipeline_checkpoints SET lease_until = 1 WHERE job = '"+riverjob.CheckpointName(job, number)+"'")
		c, err := cursor.Open[int64](context.Background(), p.Checkpoints(), riverjob.CheckpointName(job, number),
			cursor.Attach("part", nothing{}))
		if errors.Is(err, cursor.ErrLocked) {
			continue // it was renewed in between
		}
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

// nothing is a participant in the place of a part.
type nothing struct{ cursor.Participant }

func (nothing) Restore(context.Context, json.RawMessage) error { return nil }

// A worker whose range was taken by another one, while it was suspended, writes nothing
// more once it wakes, and leaves River's job to the other one.
func TestAWorkerThatLostItsRangeWritesNothingMore(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"before a row is written", "before a commit"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, riverjob.LeaseFor(90*time.Millisecond))
			p.rows(t, 100)
			sink := newBucket()
			var taken *cursor.Checkpoint[int64]
			handled := 0
			job := riverjob.Job[row, int64]{Name: "lost", Source: p.source(), Sink: sink, Every: cursor.Every{Items: 10}}
			job.Work = func(ctx context.Context, s *riverjob.Slice[row, int64]) error {
				for r, err := range s.Tracked(ctx) {
					if err != nil {
						return err
					}
					handled++
					fmt.Fprintf(s.Part, "%d,%s\n", r.id, r.name)
					if handled == 10 && when == "before a commit" || handled == 15 && when != "before a commit" {
						taken = p.steal(t, "lost", 0)
						time.Sleep(60 * time.Millisecond) // suspended
					}
				}
				return nil
			}
			plan(t, p, job, 1)
			w := riverjob.NewWorker(p.Store, riverjob.Config{}, job)
			err := w.Work(context.Background(), &river.Job[riverjob.Args]{Args: riverjob.Args{Job: "lost"}})
			var snooze *river.JobSnoozeError
			if !errors.As(err, &snooze) {
				t.Errorf("got %v, where River's job must go on", err)
			}
			if want := map[string]int{"before a commit": 10}[when]; want != 0 && handled != want || want == 0 && handled != 15 {
				t.Errorf("%d rows were handled", handled)
			}
			if n := len(sink.names()); when == "before a commit" && n != 0 || when != "before a commit" && n != 1 {
				t.Errorf("got %d objects", n)
			}
			if err := taken.Close(); err != nil {
				t.Error(err)
			}
			// The next one begins behind the last commit, and the part is whole.
			for range 100 {
				if err := w.Work(context.Background(), &river.Job[riverjob.Args]{Args: riverjob.Args{Job: "lost"}}); err == nil {
					break
				}
			}
			if got := p.content(t, "lost", sink); got != p.want(t) {
				t.Errorf("got %d bytes", len(got))
			}
		})
	}
}

// A second runner of a range, such as River's rescuer makes, waits for the first one.
func TestARescuedDuplicateWaits(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 50)
	sink := newBucket()
	job := riverjob.Job[row, int64]{Name: "twice", Source: p.source(), Sink: sink}
	var second error
	job.Work = func(ctx context.Context, s *riverjob.Slice[row, int64]) error {
		if second == nil {
			second = riverjob.NewWorker(p.Store, riverjob.Config{}, job).Work(ctx, &river.Job[riverjob.Args]{Args: riverjob.Args{Job: "twice"}})
		}
		return export(ctx, s)
	}
	plan(t, p, job, 1)
	w := riverjob.NewWorker(p.Store, riverjob.Config{}, job)
	if err := w.Work(context.Background(), &river.Job[riverjob.Args]{Args: riverjob.Args{Job: "twice"}}); err != nil {
		t.Fatal(err)
	}
	var snooze *river.JobSnoozeError
	if !errors.As(second, &snooze) || snooze.Duration < 20*time.Second || snooze.Duration > 31*time.Second {
		t.Errorf("the second runner: got %v", second)
	}
	// After the end another one is done at once, and writes nothing.
	begun := sink.begun
	if err := w.Work(context.Background(), &river.Job[riverjob.Args]{Args: riverjob.Args{Job: "twice"}}); err != nil || sink.begun != begun {
		t.Errorf("after the end: %v, %d uploads", err, sink.begun-begun)
	}
	if got := p.content(t, "twice", sink); got != p.want(t) {
		t.Errorf("got %s", got)
	}
}

// Rescue frees what a dead worker had, and nothing else.
func TestRescueFreesWhatADeadWorkerHad(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 80)
	job := riverjob.Job[row, int64]{Name: "dead", Source: p.source(), Work: export, Sink: newBucket()}
	plan(t, p, job, 8)
	w := riverjob.NewWorker(p.Store, riverjob.Config{Slice: time.Minute}, job) // and a timeout of 2 min
	// What River's jobs 1 to 8 are at: running since some seconds, with a checkpoint.
	set := func(number int, running, lease, saved string, attempt int) {
		exec(t, p.pool, fmt.Sprintf(`UPDATE river_job SET state = 'running', attempt = %d, max_attempts = 5, attempted_at = now() - interval '%s' WHERE args->>'range' = '%d'`,
			attempt, running, number))
		if lease != "" {
			exec(t, p.pool, fmt.Sprintf(`INSERT INTO pipeline_checkpoints (job, fingerprint, holder, owner, lease_until, saved_at) VALUES ('dead#%d', '', 'h', 'o',
				EXTRACT(EPOCH FROM now() + interval '%s') * 1000000, CASE WHEN '%s' = '' THEN '' ELSE (now() - nullif('%s', '')::interval)::text END)`, number, lease, saved, saved))
		}
	}
	set(0, "50 s", "-1 s", "20 s", 1)    // killed after a commit
	set(1, "50 s", "-1 s", "", 1)        // killed before its first one
	set(2, "50 s", "-1 s", "60 s", 5)    // killed without one, at its last attempt
	set(3, "50 s", "10 s", "20 s", 1)    // alive
	set(4, "1 s", "-20 s", "60 s", 1)    // just begun, its lease is an earlier one's
	set(5, "40 s", "-3 min", "3 min", 1) // killed before it had the lease
	set(6, "40 s", "", "", 1)            // the same, the first time
	set(7, "60 s", "-3 min", "20 s", 1)  // its slice has ended, and River is being told
	want := map[int]string{0: "available 0 errors 0", 1: "available 1 errors 1", 2: "discarded 5 errors 1", 3: "running 1 errors 0", 4: "running 1 errors 0",
		5: "available 1 errors 1", 6: "available 1 errors 1", 7: "running 1 errors 0"}
	for i, freed := range []int{5, 0} {
		if n, err := w.Rescue(context.Background()); err != nil || n != freed {
			t.Errorf("call %d: freed %d, %v", i+1, n, err)
		}
	}
	for number, text := range want {
		var got string
		if err := p.pool.QueryRow(context.Background(), `SELECT state || ' ' || attempt || ' errors ' || COALESCE(cardinality(errors), 0) FROM river_job
			WHERE args->>'range' = $1::int::text`, number).Scan(&got); err != nil || got != text {
			t.Errorf("range %d: got %q, %v, want %q", number, got, err, text)
		}
	}
	// River reads the errors that Rescue wrote.
	list, err := p.client(t, nil).JobList(context.Background(), river.NewJobListParams())
	if err != nil || len(list.Jobs) != 8 {
		t.Fatalf("got %v, %v", list, err)
	}
	// What is left is done by those that are alive.
	exec(t, p.pool, "UPDATE pipeline_checkpoints SET owner = '', lease_until = 0", "DELETE FROM pipeline_checkpoints",
		"UPDATE river_job SET state = 'available', finalized_at = NULL, max_attempts = 9")
	start(t, w, p.client(t, w))
	until(t, "the job", p.finished(t, "dead"))
}

// What looks like an error of its own to a worker that lost its range is none of River's
// business: it would count as an attempt of the one that has it.
func TestAnErrorAfterTheRangeWasLostIsNotRivers(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 10)
	var taken *cursor.Checkpoint[int64]
	job := riverjob.Job[row, int64]{Name: "blame", Source: p.source(), Sink: newBucket(), Work: func(context.Context, *riverjob.Slice[row, int64]) error {
		taken = p.steal(t, "blame", 0)
		return errors.New("the files are gone")
	}}
	plan(t, p, job, 1)
	err := work(riverjob.NewWorker(p.Store, riverjob.Config{}, job), "blame", 0)
	var snooze *river.JobSnoozeError
	if !errors.As(err, &snooze) {
		t.Errorf("got %v", err)
	}
	if err := taken.Close(); err != nil {
		t.Error(err)
	}
}

// However long the lease, the second runner looks again within the hour.
func TestTheLongestLease(t *testing.T) {
	t.Parallel()
	p := newPlace(t, riverjob.LeaseFor(math.MaxInt64))
	p.rows(t, 10)
	var second error
	job := riverjob.Job[row, int64]{Name: "long", Source: p.source(), Sink: newBucket()}
	job.Work = func(ctx context.Context, s *riverjob.Slice[row, int64]) error {
		second = work(riverjob.NewWorker(p.Store, riverjob.Config{}, job), "long", 0)
		return export(ctx, s)
	}
	plan(t, p, job, 1)
	w := riverjob.NewWorker(p.Store, riverjob.Config{}, job)
	if err := work(w, "long", 0); err != nil {
		t.Fatal(err)
	}
	var snooze *river.JobSnoozeError
	if !errors.As(second, &snooze) || snooze.Duration > time.Hour+time.Second || snooze.Duration < time.Hour {
		t.Errorf("got %v", second)
	}
	if n, err := w.Rescue(context.Background()); n != 0 || err != nil {
		t.Errorf("rescue: got %d, %v", n, err)
	}
}

// Somebody cancels a River job in the midst of a slice: what was done is committed, and
// the job stays cancelled until it is requeued.
func TestACancelledJobStaysCancelled(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 2000)
	sink := newBucket()
	began := make(chan struct{}, 10)
	job := riverjob.Job[row, int64]{Name: "cancelled", Source: p.source(), Sink: sink, Work: func(ctx context.Context, s *riverjob.Slice[row, int64]) error {
		return slowly(ctx, s, func() { began <- struct{}{} })
	}}
	plan(t, p, job, 1)
	w := riverjob.NewWorker(p.Store, riverjob.Config{}, job)
	client := p.client(t, w)
	start(t, w, client)
	<-began
	if _, err := client.JobCancel(context.Background(), int64(p.int(t, "SELECT id FROM river_job"))); err != nil {
		t.Fatal(err)
	}
	until(t, "the end of the job", func() bool { return p.int(t, "SELECT count(*) FROM river_job WHERE state = 'cancelled'") == 1 })
	if n := p.int(t, "SELECT count(*) FROM pipeline_checkpoints WHERE owner = '' AND items > 0 AND status = 'running'"); n != 1 {
		t.Error("what was done is not committed, or the range not let go")
	}
	if st, err := p.Status(context.Background(), "cancelled"); err != nil || len(st.Failing) != 1 || st.Failing[0].State != "cancelled" {
		t.Errorf("got %+v, %v", st, err)
	}
	if n, err := p.Requeue(context.Background(), client, "cancelled", nil); n != 1 || err != nil {
		t.Errorf("requeue: got %d, %v", n, err)
	}
	until(t, "the export", p.finished(t, "cancelled"))
	if got := p.content(t, "cancelled", sink); got != p.want(t) {
		t.Errorf("got %d bytes", len(got))
	}
}

// A rescuer that takes every job for stuck, whenever it looks: each range has several
// runners at once, and River hears of its jobs from workers that no longer have them. No
// row is lost or doubled, and no range is left alone.
func TestARescuerThatIsAlwaysWrong(t *testing.T) {
	t.Parallel()
	p := newPlace(t, riverjob.LeaseFor(time.Second))
	p.rows(t, 1200)
	sink := newBucket()
	job := riverjob.Job[row, int64]{Name: "wrong", Source: p.source(), Work: slow, Sink: sink, Every: cursor.Every{Interval: 20 * time.Millisecond}}
	plan(t, p, job, 4)
	for range 2 {
		w := riverjob.NewWorker(p.Store, riverjob.Config{Slice: 100 * time.Millisecond}, job)
		start(t, w, p.client(t, w))
	}
	rescued := 0
	until(t, "the export", func() bool {
		tag, err := p.pool.Exec(context.Background(), `UPDATE river_job SET state = 'available'
			WHERE id IN (SELECT id FROM river_job WHERE state = 'running' FOR UPDATE SKIP LOCKED)`) // River locks several, in an order of its own
		if err != nil {
			t.Fatal(err)
		}
		rescued += int(tag.RowsAffected())
		time.Sleep(20 * time.Millisecond)
		return p.finished(t, "wrong")()
	})
	if rescued == 0 {
		t.Error("there was nothing to rescue")
	}
	if got, want := p.content(t, "wrong", sink), p.want(t); got != want {
		t.Errorf("got %d bytes, want %d, after %d rescues", len(got), len(want), rescued)
	}
	if n := p.int(t, "SELECT sum(items) FROM pipeline_checkpoints"); n != 1200 {
		t.Errorf("got %d items", n)
	}
	until(t, "River's jobs to be completed", func() bool {
		return p.int(t, "SELECT count(*) FROM river_job WHERE state = 'completed' AND errors IS NULL") == 4
	})
}

// A job is dropped and planned anew while a worker is at a range: what that one does no
// longer counts, and the new plan is worked on from its start.
func TestDropInTheMidst(t *testing.T) {
	t.Parallel()
	p := newPlace(t, riverjob.LeaseFor(300*time.Millisecond))
	p.rows(t, 500)
	sink := newBucket()
	began := make(chan struct{}, 10)
	job := riverjob.Job[row, int64]{Name: "dropped", Source: p.source(), Sink: sink, Every: cursor.Every{Items: 50},
		Work: func(ctx context.Context, s *riverjob.Slice[row, int64]) error {
			return slowly(ctx, s, func() { began <- struct{}{} })
		}}
	plan(t, p, job, 1)
	w := riverjob.NewWorker(p.Store, riverjob.Config{}, job)
	start(t, w, p.client(t, w))
	<-began
	if err := p.Drop(context.Background(), "dropped"); err != nil {
		t.Fatal(err)
	}
	if err := p.Drop(context.Background(), "dropped"); err != nil {
		t.Errorf("a second time: %v", err)
	}
	exec(t, p.pool, "UPDATE src SET name = 'new ' || id")
	plan(t, p, job, 3)
	until(t, "the new export", p.finished(t, "dropped"))
	if got := p.content(t, "dropped", sink); got != p.want(t) {
		t.Errorf("got %d bytes", len(got))
	}
	if n := p.int(t, "SELECT sum(items) FROM pipeline_checkpoints"); n != 500 {
		t.Errorf("got %d items", n)
	}
	until(t, "River's jobs to end", func() bool { return p.int(t, "SELECT count(*) FROM river_job WHERE finalized_at IS NULL") == 0 })
}
