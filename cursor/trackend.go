package cursor

import (
	"errors"
	"fmt"

	"example.com/pipeline/seq"
)

// reset says so where the checkpoint was reset since the loop began: the outputs do not
// have its items any more.
func (t *tracker[P]) reset() error {
	if t.c.resets.Load() == t.resets {
		return nil
	}
	return fmt.Errorf("cursor: commit job %q: it was reset while this loop was running; begin a new loop from the start", t.c.job)
}

// isStop reports whether err ends the loop in peace, because ctx was stopped.
func (t *tracker[P]) isStop(err error) bool {
	return err != nil && errors.Is(err, seq.ErrStopped) && seq.Stopped(t.ctx) != nil && t.ctx.Err() == nil
}

// final returns the error that the stream ends with here, or nil where it goes on;
// err is what in has yielded. The end of in and that of ctx are preceded by a last
// commit, so that the consumer who is told of them has all that it did on record.
func (t *tracker[P]) final(err error) error {
	if err == nil || seq.IsItemError(err) {
		switch end := seq.ContextError(t.ctx); {
		case end != nil:
			err = end
		case t.err != nil || err == nil || !errors.Is(err, seq.ErrStopped):
			return t.err
		}
	}
	if late := t.commitLate(); late != nil {
		return errors.Join(err, late)
	}
	return err
}

// noteStop keeps why the last loop may have ended before its end, or nil.
func (c *checkpoint) noteStop(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = why
}

// stop returns what noteStop has kept.
func (c *checkpoint) stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped
}
