package riverjob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"example.com/pipeline/cursor"
)

// A Job is work on all of a source, in ranges: what to read, and what to do with it. It
// is a plain value that each process makes alike. One process, or all of them, call
// [Job.Plan]; those that work give it to [NewWorker].
type Job[T, P any] struct {
	// Name of the job, the same everywhere: see [CheckName].
	Name string

	// Source is what is read. Its Stream is called for one range at a time, for as many
	// ranges at once as River runs jobs in this process.
	Source Source[T, P]

	// Work works on a slice of a range: it reads the items from [Slice.Tracked], or
	// from [Slice.Stream] where it commits by itself, until the stream ends, and
	// returns nil then. The stream ends at the end of the range, when the slice's time is
	// over, and when the worker stops; Work need not tell one from the other, since it is
	// called again for what is left. So nil says: all that the stream gave is done, be it
	// that it was passed over.
	//
	// An error goes to River, which tries again later, from the last commit on. So does
	// a panic. Work must end soon after its ctx.
	Work func(ctx context.Context, s *Slice[T, P]) error

	// Every says how often [Slice.Tracked] commits within a slice. The zero value means
	// every 5 s, and not by number, since all workers share one database. At the end of a
	// slice it commits in any case. To an object store each commit is an object, and the
	// record has a line for each: make the Interval there as long as the slice.
	Every cursor.Every

	// Sink is where [Slice.Part] goes, for jobs that write output; nil for others.
	Sink Sink

	// Suffix ends the names of the objects in the sink, such as ".csv".
	Suffix string

	// Separate leaves the objects that a range was written as apart, one or more for
	// each slice, which are then read through [StoredPart.Open]: one of them may have
	// more bytes than count. Otherwise they are copied into one when the range is
	// finished, and that is what it should be, to its last byte.
	Separate bool

	// Attach returns what else is to be saved and put back with a range's position, by
	// name, or nil. It is called at the start of each slice. Participants that are
	// an io.Closer are closed at its end.
	Attach func(job string, number int) (map[string]cursor.Participant, error)
}

// check panics where the job cannot be run by anybody.
func (j Job[T, P]) check(fn string) {
	fail := func(format string, args ...any) {
		panic(fmt.Sprintf("riverjob.%s: %s", fn, fmt.Sprintf(format, args...)))
	}
	if err := CheckName(j.Name); err != nil {
		fail("the job's Name must be one that CheckName accepts, got %q: %v", j.Name, err)
	}
	switch {
	case j.Source.Fingerprint == nil || j.Source.Split == nil || j.Source.Stream == nil || j.Source.Position == nil:
		fail("Source must have Fingerprint, Split, Stream and Position: job %q", j.Name)
	case j.Work == nil && fn == "NewWorker":
		fail("Work must not be nil: job %q", j.Name)
	case j.Every.Items < 0 || j.Every.Interval < 0:
		fail("Every must not be negative, got %+v: job %q", j.Every, j.Name)
	case strings.ContainsAny(j.Suffix, "/\\\x00"):
		fail("Suffix must have no slashes, got %q: job %q", j.Suffix, j.Name)
	}
}

// Planned is a [Job] of any types, for [NewWorker].
type Planned interface {
	name() string
	check(fn string)
	run(ctx context.Context, w *Worker, args Args) error
}

func (j Job[T, P]) name() string { return j.Name }

// errGoesOn is the end of a slice after which there is more of the range.
var errGoesOn = errors.New("riverjob: the range goes on")

// join joins two errors, of which errGoesOn is none.
func join(err, more error) error {
	switch {
	case more == nil:
		return err
	case err == errGoesOn:
		return more
	}
	return errors.Join(err, more)
}

// partState is the name of the part's state in the checkpoint.
const partState = "part"

// run works on one slice. It returns nil when the range is finished, and errGoesOn when
// it is to go on.
func (j Job[T, P]) run(ctx context.Context, w *Worker, args Args) (err error) {
	s, closers, err := j.open(ctx, w, args)
	defer func() { // after the checkpoint, which was deferred later
		for _, c := range slices.Backward(closers) {
			err = join(err, c.Close())
		}
	}()
	if err != nil {
		return err
	}
	c := s.Checkpoint
	defer func() { err = s.guard.blame(ctx, join(err, c.Close())) }()
	if c.Finished() {
		return nil
	}

	before := c.Items()
	defer w.begin(s.end)()
	err = j.Work(ctx, s)
	if s.Moved() {
		_ = w.store.sample(ctx, j.Name) // for the rate; the next slice does it otherwise
	}
	if err != nil {
		return err
	}
	if rows := c.Items(); rows != before {
		// For people: where no job of River's runs, there is nowhere to put it.
		_ = river.MetadataSet(ctx, "rows", rows)
	}
	if s.whole.Load() && !s.Moved() {
		// A filter has let nothing through, or Work has left the commit to us.
		c.AddItems(int(s.pulled.Load()))
	}
	switch {
	case s.ended.Load():
		return j.finish(ctx, s)
	case s.Moved():
		return errGoesOn
	case s.whole.Load() && s.pulled.Load() == 0:
		return errGoesOn // the worker was stopped before it began
	case s.whole.Load():
		if err := c.Commit(ctx, s.last); err != nil {
			return err
		}
		return errGoesOn
	}
	return fmt.Errorf("riverjob: job %q, range %d: Work broke its loop off, has committed nothing, and returned no error: "+
		"the next slice would do the same again", j.Name, args.Range)
}

// open opens the range's checkpoint, and with it the range.
func (j Job[T, P]) open(ctx context.Context, w *Worker, args Args) (_ *Slice[T, P], closers []io.Closer, err error) {
	stored, err := w.store.loadRange(ctx, args)
	if errors.Is(err, ErrNoPlan) {
		err = river.JobCancel(err)
	}
	if err != nil {
		return nil, nil, err
	}
	fingerprint, err := j.fingerprint(ctx)
	if err == nil {
		err = samePlan(j.Name, stored.fingerprint, fingerprint)
	}
	if err != nil {
		return nil, nil, err
	}
	s := &Slice[T, P]{Job: j.Name, Number: args.Range, Ranges: stored.ranges,
		job: j, guard: newGuard(w.store, CheckpointName(j.Name, args.Range)), stopped: w.isStopped}
	if s.After, err = decodeBound[P](stored.after); err == nil {
		s.Until, err = decodeBound[P](stored.until)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: job %q, range %d: %w", cursor.ErrMismatch, j.Name, args.Range, err)
	}

	// The time of the plan is in it so that nothing of an older plan is taken over.
	options := []cursor.OpenOption{cursor.WithFingerprint(fmt.Sprintf("%s of %s", fingerprint, stored.plannedAt.UTC().Format(time.RFC3339Nano)))}
	if j.Sink != nil {
		s.Part = &Part{ctx: ctx, sink: j.Sink, prefix: objectPrefix(j.Name, args.Range), suffix: j.Suffix, check: s.guard.check}
		closers = append(closers, s.Part)
		options = append(options, cursor.Attach(partState, s.Part))
	}
	if j.Attach != nil {
		more, err := j.Attach(j.Name, args.Range)
		for name, p := range more {
			if c, ok := p.(io.Closer); ok {
				closers = append(closers, c)
			}
			options = append(options, cursor.Attach(name, p))
		}
		if err != nil {
			return nil, closers, err
		}
	}
	s.Checkpoint, err = cursor.Open[P](ctx, s.guard, s.guard.name, options...)
	if err == nil {
		s.start = s.Checkpoint.Position()
	}
	return s, closers, err
}

// finish ends the range. The order is safe to be killed in: the objects that the record
// names are there, whole, before it is saved, and those that it does not name any more
// are removed after that.
func (j Job[T, P]) finish(ctx context.Context, s *Slice[T, P]) error {
	var old []string
	if s.Part != nil && !j.Separate {
		var err error
		if old, err = s.Part.join(ctx); errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("riverjob: job %q, range %d: its objects could not be copied into one in time; make Config.Timeout longer, or set Separate: %w", j.Name, s.Number, err)
		} else if err != nil {
			return err
		}
	}
	if err := s.Checkpoint.Finish(ctx); err != nil {
		return err
	}
	for _, name := range old {
		_ = j.Sink.Remove(ctx, name) // Sweep finds what is left
	}
	return nil
}
