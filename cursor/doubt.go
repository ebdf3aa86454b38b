package cursor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// A doubt is a save whose outcome is not known: one whose call failed in a way
// that does not say, or one in a transaction that had not ended.
type doubt struct{ tx *sql.Tx }

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

func (c *checkpoint) setDoubt(d *doubt) {
	c.doubt = d
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inDoubt = true
}
