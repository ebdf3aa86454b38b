package cursor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/pipeline/seq"
)

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

// items returns the number of items committed, and those already counted for the
// next commit.
func (c *checkpoint) items() int64 { return c.committed().Items + c.added.Load() }

func (c *checkpoint) setRecord(r Record) {
	c.doubt = nil
	c.mu.Lock()
	defer c.mu.Unlock()
	c.record, c.inDoubt, c.earlyErr = r, false, nil
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

// cleanupContext returns a context for what has to be done after ctx has ended.
func cleanupContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
}
