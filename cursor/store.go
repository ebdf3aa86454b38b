package cursor

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// What can be wrong with a checkpoint. The errors of this package that are
// found with [errors.Is] to be one of these say more: which job, which file, and
// what to do.
var (
	// ErrLocked: another runner holds the job, or the output. [LockedError] says who.
	ErrLocked = errors.New("cursor: locked by another runner")
	// ErrFenced: another runner took the job over; this one must end. Nothing
	// that it did since its last commit counts.
	ErrFenced = errors.New("cursor: another runner took the job over")
	// ErrCorrupt: the checkpoint is damaged or of a newer format.
	ErrCorrupt = errors.New("cursor: the checkpoint cannot be read")
	// ErrMismatch: the checkpoint is of another query, or of other outputs.
	ErrMismatch = errors.New("cursor: the checkpoint belongs to something else")
	// ErrOutputChanged: the output is not what the checkpoint says it was.
	ErrOutputChanged = errors.New("cursor: the output was changed")
	// ErrUnflushed: a buffer that is not [File.Buffered] holds bytes of items that count as done.
	ErrUnflushed = errors.New("cursor: the output lacks what a buffer still holds")
	// ErrFsync: the system could not make something durable. What was written
	// since the last commit may be lost, and asking again would say nothing: the
	// kernel reports such a failure once and then forgets it. The run must end.
	ErrFsync = errors.New("cursor: fsync failed")
	// ErrClosed: the checkpoint, the lease or the file was closed before.
	ErrClosed = errors.New("cursor: already closed")
)

// A LockedError says who holds a job, or an output. It Is [ErrLocked].
type LockedError struct {
	Job    string    // "" where it is an output that is held
	Output string    // its path; "" where it is a job
	Holder string    // who, in words: process, host and since when
	Until  time.Time // when the job becomes free if the holder is dead; zero: when the holder ends
}

// Error names the job or the output, its holder, and when it becomes free.
func (e *LockedError) Error() string {
	if e.Output != "" {
		return fmt.Sprintf("%v: output %s is being written by %s; wait until it ends, or write to another file", ErrLocked, e.Output, e.Holder)
	}
	s := fmt.Sprintf("%v: job %q is held by %s", ErrLocked, e.Job, e.Holder)
	if e.Until.IsZero() {
		return s + "; wait until it ends, or end it"
	}
	return s + "; if that runner is dead, the job is free at " + e.Until.Format(time.RFC3339)
}

// Unwrap returns [ErrLocked].
func (e *LockedError) Unwrap() error { return ErrLocked }

// A Store keeps the records of jobs. [NewFileStore] and [NewMemStore] make one,
// package sqlstore has another, and package cursortest checks one of your own.
type Store interface {
	// Acquire gives the job to the caller alone, or fails with [ErrLocked] at
	// once; it never waits for another runner. The job's name is one that
	// [CheckJob] accepts, and names that differ in a single byte are different jobs.
	Acquire(ctx context.Context, job string) (Lease, error)
}

// A Lease is a job in one runner's hands. [Checkpoint] calls its methods one at
// a time.
type Lease interface {
	// Load returns the job's record, the zero Record where there is none. A
	// record that cannot be read is [ErrCorrupt]; beside that error the record's
	// Seq is set where it is known, so that the record can be replaced.
	Load(ctx context.Context) (Record, error)
	// Save replaces the record: once it returns nil, the record survives a crash.
	// r.Seq must be one more than that of the record replaced. Where it is not,
	// or where the lease was lost, nothing is saved: [ErrFenced]. After any other
	// error the old record stands, unless Load says otherwise.
	Save(ctx context.Context, r Record) error
	// Release frees the job for others. It does no harm to a runner that took
	// the job over.
	Release(ctx context.Context) error
}

// A TxLease is a [Lease] whose records are in the database that the rows are
// written to, so that both can be saved in one transaction.
type TxLease interface {
	Lease
	// SaveTx is Save within tx: the record is replaced if and when tx commits.
	SaveTx(ctx context.Context, tx *sql.Tx, r Record) error
	// LoadTx is Load within tx.
	LoadTx(ctx context.Context, tx *sql.Tx) (Record, error)
}

// An Inspector is a [Store] that can be looked into while others run its jobs. The stores
// of this library are Inspectors. [Inspect], [Jobs] and [Holder] call its methods.
type Inspector interface {
	// Inspect returns the record of a job as Load does, without a lease.
	Inspect(ctx context.Context, job string) (Record, error)
	// Jobs returns the names of the jobs that have a record, in any order. Where some
	// names cannot be read, it returns the others beside an error that Is [ErrCorrupt].
	Jobs(ctx context.Context) ([]string, error)
	// Holder says who holds a job, in a LockedError that is no error here; nil where it is free.
	Holder(ctx context.Context, job string) (*LockedError, error)
}

// A Record is what a [Store] keeps of a job. Only [Checkpoint] makes sense of it;
// a store brings back each field as it was given.
type Record struct {
	Format      int    // of the record; a newer one is refused
	Fingerprint string // of the query, see [WithFingerprint]
	Position    json.RawMessage
	States      map[string]json.RawMessage // of the participants, by name
	Items, Seq  int64                      // items committed; number of saves
	Finished    bool
	SavedAt     time.Time // by the runner's clock, in UTC
}

// recordFormat is the format of the records that this version writes.
const recordFormat = 1

// clone copies r with all that it points to.
func (r Record) clone() Record {
	r.Position = slices.Clone(r.Position)
	r.States = maps.Clone(r.States)
	for name, state := range r.States {
		r.States[name] = slices.Clone(state)
	}
	return r
}

const maxJobLen = 512

// CheckJob says what is wrong with the name of a job: it must be 1 to 512 bytes
// of UTF-8 without control characters. Everything else is allowed, slashes and
// dots too.
func CheckJob(job string) error {
	switch {
	case job == "":
		return errors.New("cursor: the job's name must not be empty")
	case len(job) > maxJobLen:
		return fmt.Errorf("cursor: the job's name must have at most %d bytes, got %d", maxJobLen, len(job))
	case !utf8.ValidString(job):
		return fmt.Errorf("cursor: the job's name must be UTF-8, got %q", job)
	case strings.ContainsFunc(job, unicode.IsControl):
		return fmt.Errorf("cursor: the job's name must have no control characters, got %q", job)
	}
	return nil
}
