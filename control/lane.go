package control

import (
	"sync/atomic"
	"time"
)

// A lane lets calls through a closed [Breaker] and counts those that succeed, with
// neither the breaker's mutex nor a look at the clock. The breaker opens it only
// while no success can lead to a verdict, and tells it apart from its window:
//
//   - The first success of a bucket of the window takes the slow path, which reads
//     the clock and sets a timer for the end of that bucket.
//   - Until then all successes belong to that bucket: the lane counts them.
//   - The timer, or a failure before it, adds them to the bucket. A timer that is
//     late, since the machine is busy, makes the bucket as much longer.
//
// One word holds it all, so that no success is counted for another epoch than the
// one its call was let through in: the epoch in the upper half (0: the lane is
// closed), then a bit that says whether successes are counted, then their number.
// All methods but epoch and count are called with the breaker's mutex held.
type lane struct{ word atomic.Uint64 }

const (
	laneCounts uint64 = 1 << 31
	laneFull   uint64 = laneCounts - 1
)

// leastBucket is the shortest bucket that is worth a timer. Timers come a
// millisecond late or so, which shall be little beside it.
const leastBucket = 10 * time.Millisecond

// epoch returns the epoch of a call that may go through now, or 0.
func (l *lane) epoch() uint32 { return uint32(l.word.Load() >> 32) }

// count counts a success of a call that was let through in epoch. It reports
// whether it did; otherwise the success is to be settled under the mutex.
func (l *lane) count(epoch uint32) bool {
	for {
		w := l.word.Load()
		if uint32(w>>32) != epoch || w&laneCounts == 0 || w&laneFull == laneFull {
			return false
		}
		if l.word.CompareAndSwap(w, w+1) {
			return true
		}
	}
}

// open opens the lane for the calls of epoch, or closes it if that is 0. What it
// has counted is forgotten.
func (l *lane) open(epoch uint32) { l.word.Store(uint64(epoch) << 32) }

// start has successes counted from now on, where the lane is open.
func (l *lane) start() {
	if l.epoch() != 0 {
		l.word.Or(laneCounts)
	}
}

// stop ends that and returns how many successes were counted.
func (l *lane) stop() int {
	return int(l.word.Swap(uint64(l.epoch())<<32) & laneFull)
}
