package cursor

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"example.com/pipeline/seq"
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
	closeErr error // what Close returns
}

// A doubt is a save whose outcome is not known: one whose call failed in a way
// that does not say, or one in a transaction that had not ended.
type doubt struct{ tx *sql.Tx }

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
			c.letGo()
			err = errors.Join(err, lease.Release(ctx))
		}
	}()

	if err := c.take(); err != nil { // before anything is changed, the record and outputs included
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

// begin takes the turn, which the caller gives back by end.
func (c *checkpoint) begin(ctx context.Context) error {
	if err := seq.ContextError(ctx); err != nil {
		return err
	}
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return seq.ContextError(ctx)
	}
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	err := c.dead
	if closed {
		err = fmt.Errorf("the checkpoint of job %q: %w", c.job, ErrClosed)
	}
	if err != nil {
		c.end()
	}
	return err
}

func (c *checkpoint) end() { <-c.turn }

// commit syncs the participants and saves the record with change applied. Where
// mark is false the participants' own last marks hold.
func (c *checkpoint) commit(ctx context.Context, mark bool, change func(*Record) error) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	defer c.end()
	if err := c.resolve(ctx); err != nil {
		return err
	}
	r := c.record.clone()
	if err := c.sync(ctx, mark, &r); err != nil {
		return err
	}
	if err := change(&r); err != nil {
		return err
	}
	return c.save(ctx, r)
}

// failed keeps an error that ends all commits.
func (c *checkpoint) failed(err error) error {
	if errors.Is(err, ErrFsync) || errors.Is(err, ErrFenced) {
		c.dead = err
	}
	return err
}

// next completes r as the record after base and returns how many of the items
// added it has in it.
func (c *checkpoint) next(r *Record) (added int64) {
	added = c.added.Load()
	r.Format = recordFormat
	r.Fingerprint = c.fingerprint
	r.Items += added
	r.Seq++
	r.SavedAt = time.Now().UTC()
	return added
}

// save saves r as the record after the one whose Seq it has.
func (c *checkpoint) save(ctx context.Context, r Record) error {
	added := c.next(&r)
	if err := c.lease.Save(ctx, r); err != nil {
		err = fmt.Errorf("cursor: commit job %q: %w", c.job, err)
		if c.failed(err); c.dead == nil {
			c.setDoubt(&doubt{})
		}
		return err
	}
	c.added.Add(-added)
	c.setRecord(r)
	return nil
}

func (c *checkpoint) commitTx(ctx context.Context, tx *sql.Tx, change func(*Record)) error {
	lease, ok := c.lease.(TxLease)
	if !ok {
		return fmt.Errorf("cursor: commit job %q in a transaction: the store (%T) is not in the database; use sqlstore", c.job, c.lease)
	}
	if err := c.begin(ctx); err != nil {
		return err
	}
	defer c.end()
	r, err := c.baseInTx(ctx, lease, tx)
	if err != nil {
		return err
	}
	if err := c.sync(ctx, true, &r); err != nil {
		return err
	}
	change(&r)
	added := c.next(&r)
	c.setDoubt(&doubt{tx})
	if err := lease.SaveTx(ctx, tx, r); err != nil {
		return c.failed(fmt.Errorf("cursor: commit job %q in a transaction: %w", c.job, err))
	}
	c.added.Add(-added)
	return nil
}

// baseInTx returns the record that a save within tx follows. It asks tx itself
// where that is in doubt: another connection would not see what an earlier CommitTx
// in tx has saved, and the pool may have no other connection.
func (c *checkpoint) baseInTx(ctx context.Context, lease TxLease, tx *sql.Tx) (Record, error) {
	d := c.doubt
	if d == nil {
		return c.record.clone(), nil
	}
	if d.tx != nil && d.tx != tx && !ended(d.tx) {
		return Record{}, c.errOpenTx()
	}
	r, err := lease.LoadTx(ctx, tx)
	if err != nil {
		return Record{}, c.failed(fmt.Errorf("cursor: commit job %q in a transaction: %w", c.job, err))
	}
	if d.tx != tx {
		if err := c.settle(r); err != nil {
			return Record{}, err
		}
	}
	return r.clone(), nil
}

func (c *checkpoint) errOpenTx() error {
	return fmt.Errorf("cursor: commit job %q: the transaction of the last CommitTx must have been committed or rolled back first", c.job)
}

// resolve finds out from the store how the save in doubt ended.
func (c *checkpoint) resolve(ctx context.Context) error {
	if c.doubt == nil {
		return nil
	}
	if c.doubt.tx != nil && !ended(c.doubt.tx) {
		return c.errOpenTx()
	}
	r, err := c.lease.Load(ctx)
	if err != nil {
		return c.failed(fmt.Errorf("cursor: job %q: find out how the last commit ended: %w", c.job, err))
	}
	return c.settle(r)
}

// settle takes r, read from the store, for the record after a doubt.
func (c *checkpoint) settle(r Record) error {
	if err := c.check(r); err != nil {
		return fmt.Errorf("%w: job %q: %w", ErrCorrupt, c.job, err)
	}
	if c.doubt.tx == nil && r.Seq > c.record.Seq {
		c.added.Add(c.record.Items - r.Items) // the save was done after all, with these in it
	}
	c.setRecord(r)
	return nil
}

// ended reports whether tx was committed or rolled back, without a word to the
// database: a foreign statement is refused by a transaction, but one that has
// ended says so first.
func ended(tx *sql.Tx) bool {
	_, err := tx.Stmt(new(sql.Stmt)).Exec()
	return errors.Is(err, sql.ErrTxDone)
}

// items returns the number of items committed, and those already counted for the
// next commit.
func (c *checkpoint) items() int64 { return c.committed().Items + c.added.Load() }

func (c *checkpoint) setRecord(r Record) {
	c.doubt = nil
	c.mu.Lock()
	defer c.mu.Unlock()
	c.record, c.inDoubt, c.earlyErr = r, false, nil
}

func (c *checkpoint) setDoubt(d *doubt) {
	c.doubt = d
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inDoubt = true
}

// committed returns the last record known to be saved. A doubt is resolved where
// that is possible at once; a commit that runs meanwhile is not waited for.
func (c *checkpoint) committed() Record {
	c.mu.Lock()
	r, ask := c.record, c.inDoubt && !c.closed
	c.mu.Unlock()
	if !ask {
		return r
	}
	select {
	case c.turn <- struct{}{}:
	default:
		return r
	}
	defer c.end()
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
	defer cancel()
	if c.dead == nil {
		_ = c.resolve(ctx) // the next commit will report it
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.record
}

// until returns the saved bound, or finds it and saves it. Nobody waits for find.
func (c *checkpoint) until(ctx context.Context, find func() (json.RawMessage, error)) (json.RawMessage, error) {
	bound, err := c.saveUntil(ctx, nil)
	if err != nil || bound != nil {
		return bound, err
	}
	if bound, err = find(); err != nil || bound == nil {
		return nil, err
	}
	return c.saveUntil(ctx, bound)
}

// saveUntil returns the saved bound; where there is none, it saves this one, unless it is
// nil.
func (c *checkpoint) saveUntil(ctx context.Context, bound json.RawMessage) (json.RawMessage, error) {
	if err := c.begin(ctx); err != nil {
		return nil, err
	}
	defer c.end()
	if err := c.resolve(ctx); err != nil {
		return nil, err
	}
	if saved, ok := c.record.States[untilState]; ok || bound == nil {
		return saved, nil
	}
	r := c.record.clone()
	if !begun(r) { // the participants have not been saved yet
		r.States = c.fresh()
	}
	if r.States == nil {
		r.States = map[string]json.RawMessage{}
	}
	r.States[untilState] = bound
	return bound, c.save(ctx, r)
}

func (c *checkpoint) reset(ctx context.Context) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	defer c.end()
	if err := c.resolve(ctx); err != nil {
		return err
	}
	c.resets.Add(1)
	c.added.Store(0)
	if err := c.save(ctx, Record{Seq: c.record.Seq, States: c.fresh()}); err != nil {
		return err
	}
	if _, err := c.restore(ctx, true); err != nil {
		c.dead = err // an output may be half reset: only Open can tell
		return err
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
	c.letGo()
	err = errors.Join(err, c.lease.Release(ctx))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeErr = err
	return err
}

// cleanupContext returns a context for what has to be done after ctx has ended.
func cleanupContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
}
