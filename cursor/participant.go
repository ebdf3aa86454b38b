package cursor

import (
	"context"
	"encoding/json"
)

// A Participant is state that is saved with the position and put back with it:
// an output file, a running sum, a window of recent items. [Attach] adds it to a
// checkpoint. [File] is one.
//
// A checkpoint calls its methods one at a time, and never while the loop's body
// runs; [Track] may call Sync from a goroutine of its own while the consumer waits
// for the next item.
type Participant interface {
	// Mark says that what was done so far belongs to consumed items. Track calls
	// it after every item: it must be quick.
	Mark()
	// Sync makes all up to the last Mark durable and returns a description of it,
	// as JSON. What came after the last Mark, the work on the item in hand, must
	// not be in the description. Nothing is lost if the save that follows fails:
	// the next Sync describes the new state.
	//
	// An error that Is [ErrFsync] ends the run. After any other error the
	// commit has failed, and a later one may succeed.
	Sync(ctx context.Context) (json.RawMessage, error)
	// Restore puts back the state that Sync described; a nil state says to start
	// afresh. It is called before any work is done, and by Reset.
	Restore(ctx context.Context, state json.RawMessage) error
}
