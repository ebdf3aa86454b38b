package keyset

import (
	"runtime/debug"
	"sync"
	"weak"
)

// Rows that pass through a loop die at once, and next to nothing else is alive. The garbage
// collector, which runs when the heap has doubled, would run every few milliseconds then,
// and take a sixth of the time. So loops that have read many small rows, and are to read
// more, hold memory that nobody uses. It counts as alive, and the machine need not give it;
// what it costs is the garbage that is let lie, about as much again.
const (
	headroomBytes = 12 << 20
	headroomAfter = 16_000   // rows that a loop has read
	headroomRow   = 1 << 10  // bytes of a row on average, at most, where they are known
	headroomLimit = 64 << 20 // with a lower memory limit there is none
)

type room [headroomBytes]byte

// shared is the headroom of all loops of the process.
var shared struct {
	mu    sync.Mutex
	loops int
	room  *room
	last  weak.Pointer[room] // to be held again where the collector has not come yet
}

// A headroom is a loop's part in what all share.
type headroom struct{ held bool }

func (h *headroom) hold() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if h.held || debug.SetMemoryLimit(-1) < headroomLimit {
		return
	}
	h.held = true
	if shared.loops++; shared.loops > 1 {
		return
	}
	if shared.room = shared.last.Value(); shared.room == nil {
		shared.room = new(room)
		shared.last = weak.Make(shared.room)
	}
}

func (h *headroom) release() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if !h.held {
		return
	}
	h.held = false
	if shared.loops--; shared.loops == 0 {
		shared.room = nil
	}
}

// passed notes rows that have been read. more is whether the loop is to read more of them
// at once.
func (r *reader[T, P]) passed(rows int, bytes int64, more bool) {
	r.rows += rows
	switch most := int64(rows) * headroomRow; {
	case !more || bytes > 2*most:
		r.headroom.release()
	case bytes <= most && r.rows >= headroomAfter:
		r.headroom.hold()
	}
}

// end is called at the end of a loop.
func (r *reader[T, P]) end() {
	r.headroom.release()
	r.free()
}
