package cursor

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/pipeline/seq"
)

// A Checkpoint is a job's durable progress: the position up to which its items
// are consumed, and the state of the participants at that position. [Open] makes
// one, and holds the job until Close: no other runner can open it meanwhile.
//
// What a checkpoint promises, in three cases:
//   - At least once for any sink. After a crash the items since the last commit
//     come again.
//   - Exactly once for a [File]: its length is saved with the position, and a
//     resumed run cuts off what was written after that.
//   - Exactly once for rows in a SQL database: CommitTx saves the position in the
//     transaction that writes the rows.
//
// Most programs let [Track] do the commits. A program that calls Commit itself
// gives it the position of the last item whose work is done.
//
// A failed commit leaves the last checkpoint as it was, and the next commit may
// succeed. There are two exceptions, after which every commit returns the same
// error: [ErrFenced], because the job is another runner's, and [ErrFsync], because
// nobody knows what is on the disk. The run must end then; the next one resumes
// from the last checkpoint.
//
// A Checkpoint is safe for concurrent use, but for the order of things: a commit
// covers what its participants were given before it.
type Checkpoint[P any] struct{ core *checkpoint }

// An OpenOption changes what [Open] does.
type OpenOption func(*openConfig)

type openConfig struct {
	fingerprint string
	checkPrint  bool
	discard     bool
	wait        waitOption
	attached    []attachment
}

type attachment struct {
	name string
	Participant
}

// Attach saves p's state with the position, under name, and puts it back when the
// job is resumed. A job must be resumed with the participants it was saved with.
// The caller closes p, after the checkpoint.
func Attach(name string, p Participant) OpenOption {
	switch {
	case name == "" || strings.HasPrefix(name, reservedPrefix):
		panic(fmt.Sprintf("cursor.Attach: the name must not be empty nor begin with %q, got %q", reservedPrefix, name))
	case p == nil:
		panic("cursor.Attach: the participant must not be nil")
	}
	return func(c *openConfig) {
		for _, a := range c.attached {
			if a.name == name {
				panic(fmt.Sprintf("cursor.Open: each participant must have a name of its own, got %q twice", name))
			}
		}
		c.attached = append(c.attached, attachment{name, p})
	}
}

// WithFingerprint says what the positions are positions in; [Query.Fingerprint]
// gives it for a query. A checkpoint with another fingerprint is refused with
// [ErrMismatch]. Without this option nothing is compared. A fingerprint must be UTF-8
// without NUL.
func WithFingerprint(f string) OpenOption {
	return func(c *openConfig) { c.fingerprint, c.checkPrint = f, true }
}

// Discard starts afresh, whatever is stored, also where that is damaged or of
// another query. It does not take the job from a runner that has it.
func Discard() OpenOption { return func(c *openConfig) { c.discard = true } }

// cleanupTime is how long a commit, a release or a read may take when the
// context that it belongs to has already ended.
const cleanupTime = 5 * time.Second

// Open takes the job from the store, reads its record and puts the participants
// back to where the record has them. A job that is not stored yet starts afresh. Where
// a [File] is among the participants, that is saved at once, so that there is a record
// before the first byte.
//
// Errors: [ErrLocked], when another runner has the job, and has not freed it within the time
// that [WaitFor] gives; [ErrCorrupt], when the
// record is damaged or of a newer format; [ErrMismatch], when it is of another
// query or other participants; [ErrOutputChanged], when an output is not what the
// record says; and what else the store and the participants return. Nothing is
// lost by any of them, and nothing is held.
//
// P is the type of the positions: a number, a string, a time, bytes, a struct of
// these, or any other type that comes back from JSON as it was. Open panics where
// P is an interface or a pointer.
func Open[P any](ctx context.Context, store Store, job string, opts ...OpenOption) (*Checkpoint[P], error) {
	checkPositionType[P]("Open")
	if store == nil {
		panic("cursor.Open: the store must not be nil")
	}
	var cfg openConfig
	for _, opt := range opts {
		opt(&cfg)
	}
	c, err := cfg.wait.open(ctx, job, func() (*checkpoint, error) {
		return openCheckpoint(ctx, store, job, cfg, func(r Record) error {
			if len(r.Position) == 0 {
				return nil
			}
			_, err := decodePosition[P](r.Position)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return &Checkpoint[P]{c}, nil
}

// Position returns the last committed position, nil where there is none yet. The
// position is the caller's own copy. After CommitTx, when the transaction has
// ended, it asks the store how; until then, and where the store does not answer, it
// returns what is known to be committed.
func (c *Checkpoint[P]) Position() *P {
	r := c.core.committed()
	if len(r.Position) == 0 {
		return nil
	}
	pos, err := decodePosition[P](r.Position)
	if err != nil { // it was decoded when it was loaded or encoded
		panic(fmt.Sprintf("cursor.Position: the position must be one that was checked, got %s: %v", r.Position, err))
	}
	return &pos
}

// Items returns the number of items committed so far, over all runs: those that
// [Track] counted, and those that were told to AddItems.
func (c *Checkpoint[P]) Items() int64 { return c.core.committed().Items }

// AddItems counts n more items, to be saved by the next commit. It is for those who
// commit by themselves; Track counts its own.
func (c *Checkpoint[P]) AddItems(n int) { c.core.added.Add(int64(n)) }

// Commit marks and syncs the participants, then saves pos: every item up to pos,
// and all that the participants were given, is done. It returns when that is
// durable. A position that would not come back exactly as it is, such as a string
// of invalid UTF-8, is refused.
func (c *Checkpoint[P]) Commit(ctx context.Context, pos P) error {
	data, err := encodePosition(pos)
	if err != nil {
		return err
	}
	return c.core.commit(ctx, true, func(r *Record) error {
		r.Position, r.Finished = data, false
		return nil
	})
}

// CommitTx is Commit within tx, for exactly once: the position is saved if and when
// tx commits, together with the rows that were written in tx. The store must be in
// the same database as the rows, as package sqlstore's is.
//
// After a rollback the position is the one before, but the participants keep what they were
// given: with a [File] attached, close the checkpoint and open the job anew before the work is
// done again. Where the connection was lost
// while tx committed, nobody knows yet which of the two happened; the next commit
// finds out from the store, and so does Position. Start the next transaction after
// this one has ended.
func (c *Checkpoint[P]) CommitTx(ctx context.Context, tx *sql.Tx, pos P) error {
	if tx == nil {
		panic("cursor.CommitTx: the transaction must not be nil")
	}
	data, err := encodePosition(pos)
	if err != nil {
		return err
	}
	return c.core.commitTx(ctx, tx, func(r *Record) { r.Position, r.Finished = data, false })
}

// Until returns the job's upper bound. The first time it asks latest for it and
// saves it; a resumed run gets the saved one, so that it ends where the first would
// have. Pass [Query.Latest] for latest, and the result as the query's Until.
//
// Where latest returns nil, there being no rows, nothing is saved and Until returns
// nil. Finish and Reset forget the bound.
func (c *Checkpoint[P]) Until(ctx context.Context, latest func(context.Context) (*P, error)) (*P, error) {
	if latest == nil {
		panic("cursor.Until: latest must not be nil")
	}
	data, err := c.core.until(ctx, func() (json.RawMessage, error) {
		bound, err := latest(ctx)
		if err != nil || bound == nil {
			return nil, err
		}
		return encodePosition(*bound)
	})
	if err != nil || data == nil {
		return nil, err
	}
	bound, err := decodePosition[P](data)
	if err != nil {
		return nil, fmt.Errorf("%w: the saved bound %s does not fit: %w", ErrMismatch, data, err)
	}
	return &bound, nil
}

// Finish marks and syncs the participants and saves that the job is done. Call it
// after a loop that ended by itself, not after a break or an error. A later Commit
// takes it back, so that a finished job can go on from its position.
//
// After a graceful stop it saves nothing and returns an error that Is [seq.ErrStopped]:
// a loop of [Track] that ends then, without an error, need not have come to the end. So
// it does where ctx itself is stopped ([seq.Stopped]).
func (c *Checkpoint[P]) Finish(ctx context.Context) error {
	why := seq.Stopped(ctx)
	if why == nil {
		why = c.core.stop()
	}
	if why != nil && ctx.Err() == nil {
		return fmt.Errorf("cursor: finish job %q: its loop may have been stopped before the end: %w", c.core.job, why)
	}
	return c.core.commit(ctx, true, func(r *Record) error {
		r.Finished = true
		delete(r.States, untilState)
		return nil
	})
}

// Finished reports whether the job was saved as done.
func (c *Checkpoint[P]) Finished() bool { return c.core.committed().Finished }

// Reset starts the job afresh: it forgets the position, and the participants start
// afresh, too. The job stays this runner's. A loop of [Track] that is under way cannot
// go on: what it has consumed is forgotten, so its next commit is an error. The order is safe to crash in: first
// the record is saved, then the outputs are emptied.
func (c *Checkpoint[P]) Reset(ctx context.Context) error { return c.core.reset(ctx) }

// Close frees the job. It commits nothing; what was not committed will be done
// again by the next run. It returns the error of the commit that [Track] could
// not make on an early end, since a loop that has ended could not be told.
// Further calls do nothing and return the same. The participants stay open.
func (c *Checkpoint[P]) Close() error { return c.core.close() }

// wrapCorrupt adds to an error of an unreadable record what can be done.
func wrapCorrupt(job string, err error) error {
	if errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("cursor: open job %q: %w; put the record back from a copy, use the version that wrote it, or discard it and start afresh", job, err)
	}
	return fmt.Errorf("cursor: open job %q: %w", job, err)
}
