package riverjob_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/riverqueue/river"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/cursor/riverjob"
	"example.com/pipeline/seq"
)

func TestManyPlannersAtOnceMakeOnePlan(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 1000)
	job := riverjob.Job[row, int64]{Name: "one plan", Source: p.source()}
	client := p.client(t, nil)
	var wg sync.WaitGroup
	var ours atomic.Int32
	for i := range 6 {
		wg.Go(func() {
			mine, err := job.Plan(context.Background(), p.Store, client, 8+i, nil)
			if err != nil {
				t.Error(err)
			}
			if mine {
				ours.Add(1)
			}
		})
	}
	wg.Wait()
	if ours.Load() != 1 {
		t.Errorf("got %d plans", ours.Load())
	}
	ranges := p.int(t, "SELECT ranges FROM pipeline_plans")
	if n := p.int(t, "SELECT count(*) FROM pipeline_ranges"); n != ranges || n < 8 {
		t.Errorf("got %d ranges of %d", n, ranges)
	}
	if n := p.int(t, "SELECT count(DISTINCT args) FROM river_job WHERE args->>'job' = 'one plan'"); n != ranges {
		t.Errorf("got %d jobs for %d ranges", n, ranges)
	}
	if n := p.int(t, "SELECT count(*) FROM river_job"); n != ranges {
		t.Errorf("got %d jobs for %d ranges", n, ranges)
	}
	if n := p.int(t, "SELECT total FROM pipeline_plans"); n != 1000 {
		t.Errorf("got %d rows planned", n)
	}
	// Bounds follow each other without a gap.
	if n := p.int(t, `SELECT count(*) FROM pipeline_ranges a JOIN pipeline_ranges b ON b.number = a.number + 1 AND b.after = a.until`); n != ranges-1 {
		t.Errorf("got %d bounds that meet", n)
	}
	if n := p.int(t, `SELECT count(*) FROM river_job WHERE args - 'job' - 'range' <> '{}' OR metadata->>'range' IS NULL`); n != 0 {
		t.Errorf("got %d jobs with other arguments, or without a word for people", n)
	}
}

func TestAPlanOfAnotherQueryIsRefused(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 10)
	client := p.client(t, nil)
	plan(t, p, riverjob.Job[row, int64]{Name: "j", Source: p.source()}, 2)
	q := p.query()
	q.Where = "id > 5"
	other := riverjob.Job[row, int64]{Name: "j", Source: riverjob.FromQuery(q), Work: export}
	if _, err := other.Plan(context.Background(), p.Store, client, 2, nil); !errors.Is(err, cursor.ErrMismatch) {
		t.Errorf("got %v", err)
	}
	// Nor does a worker read other rows than were planned.
	w := riverjob.NewWorker(p.Store, riverjob.Config{}, other)
	err := w.Work(context.Background(), &river.Job[riverjob.Args]{Args: riverjob.Args{Job: "j"}})
	if !errors.Is(err, cursor.ErrMismatch) {
		t.Errorf("the worker: got %v", err)
	}
	if err := p.Drop(context.Background(), "j"); err != nil {
		t.Fatal(err)
	}
	plan(t, p, other, 2)
}

func TestAPlanIsWholeOrNotThere(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 100)
	job := riverjob.Job[row, int64]{Name: "j", Source: p.source()}
	// River refuses the jobs, after the plan and its ranges are stored.
	_, err := job.Plan(context.Background(), p.Store, p.client(t, nil), 4, &river.InsertOpts{Priority: 9})
	if err == nil {
		t.Fatal("got a plan with a priority that River does not have")
	}
	for _, table := range []string{"pipeline_plans", "pipeline_ranges", "river_job"} {
		if n := p.int(t, "SELECT count(*) FROM "+table); n != 0 {
			t.Errorf("%s has %d rows", table, n)
		}
	}
	plan(t, p, job, 4)
}

func TestPlanOfAnEmptyTable(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 0)
	sink := newBucket()
	job := riverjob.Job[row, int64]{Name: "empty", Source: p.source(), Work: export, Sink: sink}
	plan(t, p, job, 64)
	w := riverjob.NewWorker(p.Store, riverjob.Config{}, job)
	start(t, w, p.client(t, w))
	until(t, "the export", p.finished(t, "empty"))
	if parts, err := p.Parts(context.Background(), "empty"); err != nil || len(parts) != 1 || len(parts[0].Objects) != 1 {
		t.Errorf("got %+v, %v", parts, err)
	}
}

func TestBoundsComeBackExactly(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	exec(t, p.pool, "CREATE TABLE big (id BIGINT PRIMARY KEY)",
		"INSERT INTO big SELECT 9223372036854775807 - i FROM generate_series(0, 9) i")
	table, err := keyset.OpenTable(context.Background(), p.DB(), keyset.Postgres, "big")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := map[int64]int{}
	job := riverjob.Job[keyset.Row, keyset.Key]{Name: "big", Source: riverjob.FromTable(table),
		Work: func(ctx context.Context, s *riverjob.Slice[keyset.Row, keyset.Key]) error {
			for r, err := range s.Tracked(ctx) {
				if err != nil {
					return err
				}
				mu.Lock()
				seen[r.Values[0].(int64)]++
				mu.Unlock()
			}
			return nil
		}}
	plan(t, p, job, 5)
	w := riverjob.NewWorker(p.Store, riverjob.Config{}, job)
	stop := start(t, w, p.client(t, w))
	until(t, "the job", p.finished(t, "big"))
	stop()
	if len(seen) != 10 {
		t.Errorf("got %d rows: %v", len(seen), seen)
	}
}

func TestNamesAreChecked(t *testing.T) {
	for name, ok := range map[string]bool{"a": true, "orders/2026 é": true, "": false, "a\nb": false, "\xff": false,
		strings.Repeat("x", 400): true, strings.Repeat("x", 401): false} {
		if err := riverjob.CheckName(name); (err == nil) != ok {
			t.Errorf("%.20q: got %v", name, err)
		}
	}
	source := riverjob.Source[row, int64]{}
	for what, fn := range map[string]func(){
		"riverjob.New: the pool must not be nil":        func() { riverjob.New(nil) },
		"riverjob.Schema: the name must be":             func() { riverjob.Schema("a;b") },
		"riverjob.NewWorker: the store must not be nil": func() { riverjob.NewWorker(nil, riverjob.Config{}) },
		"riverjob.Plan: Source must have": func() {
			riverjob.Job[row, int64]{Name: "a", Source: source}.Plan(context.Background(), nil, nil, 1, nil)
		},
		"riverjob.Plan: the job's Name must be": func() { riverjob.Job[row, int64]{Source: source}.Plan(context.Background(), nil, nil, 1, nil) },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.HasPrefix(got, what) {
					t.Errorf("got %q, want %q", got, what)
				}
			}()
			fn()
		}()
	}
}

// A source of one's own: pages of an API, say. Nobody knows how many items it has.
func TestASourceOfOnesOwn(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	numbers := riverjob.Source[int, int]{
		Fingerprint: func(context.Context) (string, error) { return "the numbers to 1000", nil },
		Split: func(_ context.Context, n int) (ranges []keyset.Range[int], total int64, err error) {
			var after *int
			for i := range n {
				until := 1000 * (i + 1) / n
				ranges = append(ranges, keyset.Range[int]{After: after, Until: &until})
				after = &until
			}
			return ranges, 0, nil
		},
		Stream: func(ctx context.Context, after, until *int) iter.Seq2[int, error] {
			return cursor.Pages(ctx, after, func(_ context.Context, after *int, limit int) (page []int, err error) {
				from := 0
				if after != nil {
					from = *after
				}
				for i := from + 1; i <= *until && len(page) < limit; i++ {
					page = append(page, i)
				}
				return page, nil
			}, func(i int) int { return i }, cursor.PageConfig{})
		},
		Position: func(i int) int { return i },
	}
	var sum atomic.Int64
	job := riverjob.Job[int, int]{Name: "numbers", Source: numbers, Work: func(ctx context.Context, s *riverjob.Slice[int, int]) error {
		return seq.ForEach(s.Tracked(ctx), func(i int) error { sum.Add(int64(i)); return nil })
	}}
	plan(t, p, job, 7)
	w := riverjob.NewWorker(p.Store, riverjob.Config{}, job)
	stop := start(t, w, p.client(t, w))
	until(t, "the sum", p.finished(t, "numbers"))
	stop()
	st, err := p.Status(context.Background(), "numbers")
	if err != nil || st.Rows != 1000 || st.Total != 0 || st.Remaining != 0 || st.Done != 7 {
		t.Errorf("got %+v, %v", st, err)
	}
	if sum.Load() != 500500 {
		t.Errorf("got %d", sum.Load())
	}
	broken := job
	broken.Name = "broken"
	broken.Source.Fingerprint = func(context.Context) (string, error) { return "", nil }
	if _, err := broken.Plan(context.Background(), p.Store, p.client(t, nil), 1, nil); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("got %v", err)
	}
}

// The total is that of the query, up to its Until.
func TestTheTotalIsTheQuerys(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 100) // ids 3 to 300
	q := p.query()
	last := int64(200)
	q.Where, q.Until = "id % 2 = 0", &last
	up, err := q.Count(context.Background())
	q.Desc = true
	down, err2 := q.Count(context.Background())
	if up != 33 || down != 17 || err != nil || err2 != nil {
		t.Errorf("got %d and %d, %v, %v", up, down, err, err2)
	}
	q.Desc = false
	var sum atomic.Int64
	job := riverjob.Job[row, int64]{Name: "part", Source: riverjob.FromQuery(q), Work: func(ctx context.Context, s *riverjob.Slice[row, int64]) error {
		return seq.ForEach(s.Tracked(ctx), func(r row) error { sum.Add(1); return nil })
	}}
	plan(t, p, job, 4)
	w := riverjob.NewWorker(p.Store, riverjob.Config{}, job)
	stop := start(t, w, p.client(t, w))
	until(t, "the job", p.finished(t, "part"))
	stop()
	st, err := p.Status(context.Background(), "part")
	if err != nil || st.Total != 33 || st.Rows != 33 || sum.Load() != 33 {
		t.Errorf("got %+v, %d rows, %v", st, sum.Load(), err)
	}
}
