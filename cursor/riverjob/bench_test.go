package riverjob_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/riverjob"
	"example.com/pipeline/seq"
)

// BenchmarkWorkersThatWait is work that waits on something else than this machine: a
// call of 1 ms a row, 16 in flight, by one worker and by two. Look at the metric rows/s:
// two reach twice what one does, as long as the machine has time left.
func BenchmarkWorkersThatWait(b *testing.B) {
	rows := 40_000
	if text := os.Getenv("RIVERJOB_ROWS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			b.Fatal(err)
		}
		rows = n
	}
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			p := newPlace(b)
			p.rows(b, rows)
			q := p.query()
			q.Page = cursor.PageConfig{Prefetch: 0.5}
			job := riverjob.Job[row, int64]{Name: "wait", Source: riverjob.FromQuery(q), Work: func(ctx context.Context, s *riverjob.Slice[row, int64]) error {
				called := seq.MapConcurrent(ctx, s.Stream(ctx), 16, func(_ context.Context, r row) (row, error) {
					time.Sleep(time.Millisecond)
					return r, nil
				})
				return seq.Drain(cursor.Track(ctx, called, s.Checkpoint, s.Every(), func(r row) int64 { return r.id }))
			}}
			took := time.Duration(0)
			for b.Loop() {
				b.StopTimer()
				if err := p.Drop(context.Background(), "wait"); err != nil {
					b.Fatal(err)
				}
				plan(b, p, job, 8)
				var stops []func()
				ready := time.Now()
				for range workers {
					w := riverjob.NewWorker(p.Store, riverjob.Config{Slice: 500 * time.Millisecond}, job)
					stops = append(stops, start(b, w, p.client(b, w, func(c *river.Config) {
						c.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 1}}
					})))
				}
				b.StartTimer()
				until(b, "the calls", func() bool {
					return p.int(b, "SELECT count(*) FROM pipeline_checkpoints WHERE status = 'finished'") == 8
				})
				took += time.Since(ready)
				b.StopTimer()
				for _, stop := range stops {
					stop()
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(rows)*float64(b.N)/took.Seconds(), "rows/s")
		})
	}
}
