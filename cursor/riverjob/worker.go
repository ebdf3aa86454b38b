package riverjob

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"example.com/pipeline/cursor"
)

// Config says how a [Worker] works. The zero value works.
type Config struct {
	// Slice is how long a worker works on a range before it gives it back to River: 1 ms
	// to 24 h, 0 means 30 s. It is over with the next item after that.
	Slice time.Duration

	// Timeout is River's limit for a slice with all that belongs to it, after which
	// its ctx ends: at most 48 h, and longer than Slice by 1 s at least. 0 means Slice
	// and once more the same, or 30 s if that is longer. It stands in for river.Config.JobTimeout. River's rescuer
	// lets a job alone for that long, whatever its settings. Where ranges have an output
	// (Job.Sink), it must leave the time to copy a range's, once that is finished.
	Timeout time.Duration
}

const (
	maxSlice = 24 * time.Hour
	// What River waits for before it looks at a job again that nobody here can do.
	strangeJob = 10 * time.Second
	// And while this process stops.
	stoppingJob = time.Second
)

// A Worker is River's worker for ranges. Each attempt of a River job is one slice of
// work on its range; then the job snoozes for no time, so that it queues behind the
// others, and goes on. What becomes of an attempt:
//
//   - The range is finished: the job is completed.
//   - The slice is over, or the worker stops: the job snoozes for no time. That counts
//     as no attempt.
//   - Another worker has the range: the job snoozes until the other one's lease may have
//     run out. That is what a job meets that was rescued while its first worker is alive.
//   - Another worker took the range over meanwhile: the job snoozes. Nothing is
//     reported: whoever has the range now will.
//   - This process does not know the job: it snoozes for 10 s, for a process that does.
//     Give jobs that not all processes know a queue of their own.
//   - It has no plan any more: the job is cancelled.
//   - Anything else is an error, and River tries again by its retry policy.
type Worker struct {
	river.WorkerDefaults[Args]

	store   *Store
	jobs    map[string]Planned
	slice   time.Duration
	timeout time.Duration

	mu      sync.Mutex // guards what follows
	stopped bool
	slices  map[*func()]struct{} // what ends each slice under way
}

// NewWorker returns a worker for jobs. It panics where two have the same name, one has
// no Work, or the slice is not shorter than the timeout.
func NewWorker(s *Store, cfg Config, jobs ...Planned) *Worker {
	if s == nil {
		panic("riverjob.NewWorker: the store must not be nil")
	}
	if cfg.Slice == 0 {
		cfg.Slice = 30 * time.Second
	}
	if cfg.Slice < time.Millisecond || cfg.Slice > maxSlice {
		panic(fmt.Sprintf("riverjob.NewWorker: Slice must be 1ms to %v, got %v", maxSlice, cfg.Slice))
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = cfg.Slice + max(cfg.Slice, 30*time.Second)
	}
	if cfg.Timeout < cfg.Slice+time.Second || cfg.Timeout > 2*maxSlice {
		panic(fmt.Sprintf("riverjob.NewWorker: Timeout must be longer than Slice (%v) by 1s at least, and at most %v, got %v", cfg.Slice, 2*maxSlice, cfg.Timeout))
	}
	w := &Worker{store: s, jobs: map[string]Planned{}, slice: cfg.Slice, timeout: cfg.Timeout, slices: map[*func()]struct{}{}}
	for _, j := range jobs {
		j.check("NewWorker")
		if _, twice := w.jobs[j.name()]; twice {
			panic(fmt.Sprintf("riverjob.NewWorker: each job must have a name of its own, got %q twice", j.name()))
		}
		w.jobs[j.name()] = j
	}
	return w
}

// Timeout implements [river.Worker].
func (w *Worker) Timeout(*river.Job[Args]) time.Duration { return w.timeout }

// Work implements [river.Worker].
func (w *Worker) Work(ctx context.Context, job *river.Job[Args]) error {
	j, known := w.jobs[job.Args.Job]
	switch {
	case w.isStopped():
		return river.JobSnooze(stoppingJob)
	case !known:
		return river.JobSnooze(strangeJob)
	}
	// Whoever works around this method may have set a limit of their own.
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= w.slice {
		return fmt.Errorf("riverjob: a slice takes %v, and this job's ctx ends in %v; let no middleware shorten the worker's Timeout, or make Config.Slice shorter",
			w.slice, time.Until(deadline).Round(time.Millisecond))
	}
	return w.verdict(ctx, j.run(ctx, w, job.Args))
}

// verdict says what River is to make of the end of a slice. It is never nil where the
// range may not be finished: River's job of a worker that was fenced off may by now be
// running elsewhere, and would be completed.
func (w *Worker) verdict(ctx context.Context, err error) error {
	var locked *cursor.LockedError
	switch {
	case err == nil:
		return nil
	case err == errGoesOn:
		return river.JobSnooze(0)
	case errors.As(err, &locked):
		// By two clocks, so it may be anything.
		return river.JobSnooze(min(max(time.Until(locked.Until), time.Second), min(w.store.lease, time.Hour)+time.Second))
	case errors.Is(err, cursor.ErrFenced):
		return river.JobSnooze(stoppingJob)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return river.JobSnooze(0) // River stops at once; where somebody cancelled the job, River cancels it all the same
	}
	return err
}

// Stop has the slices under way end after the item that they are at, as if their time
// were over, and lets none begin. Call it before River's Stop, which waits for them:
//
//	<-ctx.Done() // SIGTERM
//	worker.Stop()
//	err := client.Stop(context.Background())
//
// It does not wait, and cannot be taken back.
func (w *Worker) Stop() {
	w.mu.Lock()
	w.stopped = true
	ends := make([]func(), 0, len(w.slices))
	for end := range w.slices {
		ends = append(ends, *end)
	}
	w.mu.Unlock()
	for _, end := range ends {
		end()
	}
}

func (w *Worker) isStopped() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopped
}

// begin has end called when the slice that begins now is over. The caller calls done
// when it has ended.
func (w *Worker) begin(end func()) (done func()) {
	w.mu.Lock()
	w.slices[&end] = struct{}{}
	stopped := w.stopped
	w.mu.Unlock()
	if stopped {
		end()
	}
	timer := time.AfterFunc(w.slice, end)
	return func() {
		timer.Stop()
		w.mu.Lock()
		delete(w.slices, &end)
		w.mu.Unlock()
	}
}
