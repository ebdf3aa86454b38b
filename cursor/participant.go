package cursor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// A Participant is state that is saved with the position and put back with it:
// an output file, a running sum, a window of recent items. [Attach] adds it to a
// checkpoint. [File] is one.
//
// A checkpoint calls its methods one at a time, and never while the loop's body
// runs; [Track] may call Sync from a goroutine of its own while the consumer waits
// for the next item. Several participants are marked in the order in which they were attached,
// so one whose Mark writes to a File stands before it; all are marked before the first is
// synced.
type Participant interface {
	// Mark says that what was done so far belongs to consumed items. Track calls
	// it after every item: it must be quick. An error that it comes upon is for the next
	// Sync to return.
	Mark()
	// Sync makes all up to the last Mark durable and returns a description of it,
	// as JSON; null where there is nothing to put back. What came after the last Mark, the work on the item in hand, must
	// not be in the description. Nothing is lost if the save that follows fails:
	// the next Sync describes the new state.
	//
	// An error that Is [ErrFsync] ends the run. After any other error, or a
	// description that is not JSON, the commit has failed, and a later one may
	// succeed.
	Sync(ctx context.Context) (json.RawMessage, error)
	// Restore puts back the state that Sync described; a nil state, which is also
	// what becomes of null, says to start afresh. It is called before any work is done, and by Reset.
	// A participant with a File in it gives ctx to the File's Restore.
	Restore(ctx context.Context, state json.RawMessage) error
}

// An exclusive participant can be in one checkpoint only. [File] is one: two
// checkpoints would cut it to two lengths.
type exclusive interface {
	acquire(c *checkpoint) error
	release(c *checkpoint)
	begun() json.RawMessage // its state before anything is done
}

// A restoring goes with the context of a Restore to the [File] that it is for, also through
// a participant that has the File in it.
type restoring struct {
	known  bool // the job's record has the participant
	afresh bool // the job is discarded or reset
	output bool // a File says so: from now on it will have bytes, which a record must vouch for
}

type restoringKey struct{}

// acquireParticipants makes the participants this checkpoint's own, as far as they mind.
func (c *checkpoint) acquireParticipants() error {
	for _, a := range c.attached {
		if p, ok := a.Participant.(exclusive); ok {
			if err := p.acquire(c); err != nil {
				return fmt.Errorf("cursor: open job %q: attach %q: %w", c.job, a.name, err)
			}
		}
	}
	return nil
}

// releaseParticipants gives them back.
func (c *checkpoint) releaseParticipants() {
	for _, a := range c.attached {
		if p, ok := a.Participant.(exclusive); ok {
			p.release(c)
		}
	}
}

// restore puts the participants to where the record has them. It reports whether a File
// is among them that the record does not know.
func (c *checkpoint) restore(ctx context.Context, afresh bool) (unknown bool, err error) {
	for _, a := range c.attached {
		state, known := c.record.States[a.name]
		if bytes.Equal(state, []byte("null")) {
			state = nil
		}
		r := &restoring{known: known, afresh: afresh}
		if err := a.Restore(context.WithValue(ctx, restoringKey{}, r), state); err != nil {
			return false, fmt.Errorf("cursor: open job %q: restore %q: %w", c.job, a.name, err)
		}
		unknown = unknown || r.output && !known
	}
	return unknown, nil
}

// fresh returns the participants' states before anything is done.
func (c *checkpoint) fresh() map[string]json.RawMessage {
	states := map[string]json.RawMessage{}
	for _, a := range c.attached {
		states[a.name] = json.RawMessage("null")
		if p, ok := a.Participant.(exclusive); ok {
			states[a.name] = p.begun()
		}
	}
	return states
}

// sync brings the participants' states into r.
func (c *checkpoint) sync(ctx context.Context, mark bool, r *Record) error {
	if mark {
		for _, a := range c.attached {
			a.Mark()
		}
	}
	states := map[string]json.RawMessage{}
	if bound, ok := r.States[untilState]; ok {
		states[untilState] = bound
	}
	for _, a := range c.attached {
		state, err := a.Sync(ctx)
		if err != nil {
			return c.failed(fmt.Errorf("cursor: commit job %q: sync %q: %w", c.job, a.name, err))
		}
		if err := checkState(state); err != nil {
			return fmt.Errorf("cursor: commit job %q: sync %q: %w", c.job, a.name, err)
		}
		states[a.name] = state
	}
	r.States = states
	return nil
}

// checkState refuses what no store could keep. No state at all is refused, too: it
// would be kept as a null, and the next run would start the participant afresh
// behind the items that are done.
func checkState(state json.RawMessage) error {
	switch {
	case len(state) == 0:
		return errors.New("its state is empty, where JSON is wanted; a participant that has nothing to put back returns null")
	case !utf8.Valid(state):
		return fmt.Errorf("its state is not valid UTF-8, as JSON must be: %.100q", state)
	case !json.Valid(state):
		return fmt.Errorf("its state is not valid JSON: %.100q", state)
	}
	return nil
}
