package cursor

import (
	"context"
	"encoding/json"
)

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
