package cursor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// Names of states that begin so are the checkpoint's own.
const (
	reservedPrefix = "cursor:"
	untilState     = reservedPrefix + "until"
)

// A checkpoint is a [Checkpoint] without the type of its positions, which are
// JSON here.
type checkpoint struct {
	job         string
	lease       Lease
	attached    []attachment
	fingerprint string
	check       func(Record) error // whether the record's position fits
	added       atomic.Int64       // items counted and not yet in a record
	resets      atomic.Int64       // so that a loop notices

	// turn is the right to work on the lease and the participants. It is a
	// channel rather than a mutex, so that a caller whose context ends need not
	// wait, and so that the wait is one that testing/synctest can see.
	turn  chan struct{}
	doubt *doubt // of the last save's outcome, nil if none; guarded by turn
	dead  error  // ends all commits; guarded by turn

	mu       sync.Mutex // guards what follows; never held during a call to elsewhere
	record   Record     // the last one known to be saved
	inDoubt  bool       // doubt is not nil
	closed   bool
	earlyErr error // of a commit that no loop could be told of
	stopped  error // the graceful stop that may have ended the last loop of Track
	closeErr error // what Close returns
}

func openCheckpoint(ctx context.Context, store Store, job string, cfg openConfig, check func(Record) error) (_ *checkpoint, err error) {
	if err := CheckJob(job); err != nil {
		return nil, err
	}
	if f := cfg.fingerprint; !utf8.ValidString(f) || strings.ContainsRune(f, 0) {
		return nil, fmt.Errorf("cursor: open job %q: the fingerprint must be UTF-8 without NUL, got %.100q", job, f)
	}
	lease, err := store.Acquire(ctx, job)
	if err != nil {
		return nil, err
	}
	c := &checkpoint{
		job: job, lease: lease, attached: cfg.attached, fingerprint: cfg.fingerprint, check: check,
		turn: make(chan struct{}, 1),
	}
	opened := false
	defer func() { // also when a participant panics
		if !opened {
			ctx, cancel := cleanupContext(ctx)
			defer cancel()
			c.releaseParticipants()
			err = errors.Join(err, lease.Release(ctx))
		}
	}()

	if err := c.acquireParticipants(); err != nil { // before anything is changed, the record and outputs included
		return nil, err
	}
	if err := c.load(ctx, cfg); err != nil {
		return nil, err
	}
	unknown, err := c.restore(ctx, cfg.discard)
	if err != nil {
		return nil, err
	}
	if unknown {
		// Before a byte is written: when this run is killed before its first commit, the
		// next one must know the output for the job's own.
		if err := c.save(ctx, Record{Seq: c.record.Seq, States: c.fresh()}); err != nil {
			return nil, err
		}
	}
	opened = true
	return c, nil
}

// load reads the record and makes sure that it is this job's to resume.
func (c *checkpoint) load(ctx context.Context, cfg openConfig) error {
	r, err := c.lease.Load(ctx)
	if cfg.discard {
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return wrapCorrupt(c.job, err)
		}
		if err == nil && r.Seq == 0 {
			return nil // nothing is stored
		}
		// The old record must be gone before an output is emptied: a crash between
		// the two would otherwise leave a record of an output that is no more.
		return c.save(ctx, Record{Seq: r.Seq, States: c.fresh()})
	}
	if err == nil {
		err = checkFormat(r)
	}
	if err != nil {
		return wrapCorrupt(c.job, err)
	}
	if r.Seq == 0 {
		return nil
	}
	if err := c.matches(r, cfg); err != nil && begun(r) {
		return fmt.Errorf("cursor: open job %q: %w; resume it as it was started, or discard it and start afresh", c.job, err)
	}
	if !cfg.checkPrint {
		c.fingerprint = r.Fingerprint
	}
	c.record = r
	return nil
}

// begun reports whether a record has anything that belongs to a query or to
// participants. That of a job whose first run was killed before its first commit has not.
func begun(r Record) bool {
	return len(r.Position) > 0 || r.Finished || r.States[untilState] != nil
}

// matches says why a record is not of what is being opened.
func (c *checkpoint) matches(r Record, cfg openConfig) error {
	if cfg.checkPrint && r.Fingerprint != cfg.fingerprint {
		return fmt.Errorf("%w: it is of another query (fingerprint %q, now %q)", ErrMismatch, r.Fingerprint, cfg.fingerprint)
	}
	if err := c.check(r); err != nil {
		return fmt.Errorf("%w: its position %s is of another type: %w", ErrMismatch, r.Position, err)
	}
	var saved, now []string
	for name := range r.States {
		if !strings.HasPrefix(name, reservedPrefix) {
			saved = append(saved, name)
		}
	}
	for _, a := range c.attached {
		now = append(now, a.name)
	}
	slices.Sort(saved)
	slices.Sort(now)
	if !slices.Equal(saved, now) {
		return fmt.Errorf("%w: it has the participants %q, now %q", ErrMismatch, saved, now)
	}
	return nil
}

// endedEarly keeps the error of a commit that no loop could be told of.
func (c *checkpoint) endedEarly(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.earlyErr = err
}

func (c *checkpoint) close() error {
	c.turn <- struct{}{} // a commit under way ends first
	defer c.end()
	c.mu.Lock()
	closed, err := c.closed, c.earlyErr
	c.closed = true
	c.mu.Unlock()
	if closed {
		return c.closeErr
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
	defer cancel()
	c.releaseParticipants()
	err = errors.Join(err, c.lease.Release(ctx))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeErr = err
	return err
}
