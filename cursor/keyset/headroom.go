package keyset

import (
	"runtime/debug"
	"sync"
)

// Rows that pass through a loop die at once, and next to nothing else is alive. The garbage
// collector, which runs when the heap has doubled, would run every few milliseconds then,
// and take a sixth of the time. So loops that have read many small rows, and are to read
// more, hold memory that is never touched. It counts as alive, and the machine gives none
// for it; what it costs is the garbage that is let lie, about as much again.
const (
	headroomBytes = 12 << 20
	headroomAfter = 16_000   // rows that a loop has read
	headroomRow   = 1 << 10  // bytes of a row on average, at most
	headroomLimit = 64 << 20 // with a lower memory limit there is none
)

// shared is the headroom of all loops of the process.
var shared struct {
	mu    sync.Mutex
	loops int
	bytes []byte
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
	if shared.loops++; shared.loops == 1 {
		shared.bytes = make([]byte, headroomBytes)
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
		shared.bytes = nil
	}
}

// passed notes rows that have been read. more is whether the loop is to read more of them
// at once.
func (r *reader[T, P]) passed(rows int, bytes int64, more bool) {
	r.rows += rows
	if small := bytes <= int64(rows)*headroomRow; !more || !small {
		r.headroom.release()
	} else if r.rows >= headroomAfter {
		r.headroom.hold()
	}
}

// end is called at the end of a loop.
func (r *reader[T, P]) end() {
	r.headroom.release()
	if r.free != nil {
		r.free()
	}
}
