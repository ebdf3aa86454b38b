package riverjob_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/riverjob"
)

// The database goes away in the midst of the work, twice. River, the checkpoints and the
// source are all in it. The export ends whole, without any hand work.
func TestTheDatabaseRestartsInTheMidst(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := newPlaceAt(t, s.dsn, nil, riverjob.LeaseFor(500*time.Millisecond))
	p.rows(t, 1500)
	folder, err := riverjob.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	job := riverjob.Job[row, int64]{Name: "restarts", Source: p.source(), Work: slow, Sink: folder, Every: cursor.Every{Interval: 20 * time.Millisecond}}
	client := p.client(t, nil)
	if _, err := job.Plan(t.Context(), p.Store, client, 6, &river.InsertOpts{MaxAttempts: 1000}); err != nil {
		t.Fatal(err)
	}
	w := riverjob.NewWorker(p.Store, riverjob.Config{Slice: 100 * time.Millisecond}, job)
	stop := start(t, w, p.client(t, w))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	rescuing := make(chan struct{})
	go func() {
		defer close(rescuing)
		_ = w.RescueEvery(ctx, nil)
	}()
	for i, how := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} {
		until(t, "some progress", func() bool {
			st, err := p.Status(t.Context(), "restarts")
			return err == nil && st.Rows >= int64(300*(i+1))
		})
		s.stop(how)
		time.Sleep(100 * time.Millisecond) // so that somebody finds it down
		s.start(t)
	}
	until(t, "the export", func() bool {
		st, err := p.Status(t.Context(), "restarts")
		return err == nil && st.Finished()
	})
	if got, want := p.content(t, "restarts", folder), p.want(t); got != want {
		t.Errorf("got %d bytes, want %d", len(got), len(want))
	}
	if n := p.int(t, "SELECT sum(items) FROM pipeline_checkpoints"); n != 1500 {
		t.Errorf("got %d items", n)
	}
	cancel()
	<-rescuing
	stop()
}
