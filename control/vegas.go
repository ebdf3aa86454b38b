package control

import "math"

// vegas finds how many calls can be in flight before they begin to queue up in
// the service. It is the algorithm of TCP Vegas (Brakmo, O'Malley and Peterson,
// SIGCOMM 1994), which Netflix's concurrency-limits brought to calls: the part of
// the latency that is above that of an unloaded service is time in a queue, so the
// same part of the calls in flight is the length of that queue. The limit grows
// while the queue is short and shrinks when it is long.
//
// Three things are taken from elsewhere. What the limit is compared by is relative
// to the limit, as in Netflix's Gradient2. The latency of the unloaded service is
// measured anew now and then, with the limit lowered until no queue can be left, as
// BBR does (Cardwell et al., ACM Queue 2016): remembered forever it would be wrong
// when the service changes, forgotten slowly it would drift up with the queue. And
// an overloaded service that says so makes the limit shrink by a constant factor
// (AIMD; Chiu and Jain 1989), once a round.
//
// Time goes by in rounds. A round's latency is the mean of the calls that began in
// it, so that it tells of one limit and not of the one before.
//
// It is pure arithmetic without a lock or a clock.
type vegas struct {
	min, max int
	limit    int
	base     float64 // latency without a queue; 0 before the first round
	starting bool    // slow start: the limit doubles until there is a queue

	round sample
	id    int // of the round
	since int // rounds since the last probe
	saved int // the limit to go back to after this probe; 0 where this is none
}

// sample is the latencies of a round.
type sample struct {
	skip      int // calls that do not count yet: a raised limit is not filled at once
	n         int
	sum, sum2 float64
	full      bool // the limit was reached
}

const (
	shortQueue = 1.0 / 12 // of the calls in flight: below it the limit grows
	longQueue  = 1.0 / 4  // above it the limit shrinks
	growth     = 1.0 / 5  // of the limit, in a round
	drain      = 2.0 / 3  // of the limit, in a probe: more than takes away a queue of longQueue
	backOff    = 0.9      // of the limit, after an overload
	probeEvery = 24       // rounds
	fewCalls   = 24       // make a round at least,
	manyCalls  = 120      // and at most, where the limit itself is not above that
	precision  = 0.03     // standard error of the mean, relative to it, that a round aims at
)

func newVegas(least, most, initial int) vegas {
	return vegas{min: least, max: most, limit: initial, starting: true}
}

// reached notes that as many calls as allowed are in flight. Without that there is
// no telling whether more would do.
func (v *vegas) reached() { v.round.full = true }

// succeeded counts a call of a round, and its latency.
func (v *vegas) succeeded(round int, latency float64) {
	if round != v.id {
		return
	}
	r := &v.round
	if r.skip > 0 {
		r.skip--
		return
	}
	r.n++
	r.sum += latency
	r.sum2 += latency * latency
	if r.enough(v.limit) {
		v.decide()
	}
}

// overloaded counts a call of a round that the service had no room for.
func (v *vegas) overloaded(round int) {
	if round != v.id {
		return // the limit has changed since that call began
	}
	v.starting, v.saved = false, 0
	v.set(float64(v.limit) * backOff)
	v.begin()
}

// enough reports whether the mean is worth something: a call for each one in
// flight, and more where latencies vary.
func (r *sample) enough(limit int) bool {
	if r.n < max(fewCalls, limit) {
		return false
	}
	if r.n >= max(manyCalls, limit) {
		return true
	}
	n, mean := float64(r.n), r.mean()
	variance := max(r.sum2/n-mean*mean, 0)
	return math.Sqrt(variance/n) <= precision*mean
}

func (r *sample) mean() float64 { return r.sum / float64(r.n) }

// decide ends a round.
func (v *vegas) decide() {
	mean, full, before := v.round.mean(), v.round.full, v.limit
	switch {
	case v.saved > 0 && v.queue(mean) <= longQueue:
		v.base = mean
		v.limit, v.saved, v.since = v.saved, 0, 0
	case v.saved > 0:
		v.saved = 0
		v.adjust(mean, full)
	case v.since >= probeEvery:
		v.saved = v.limit
		v.set(float64(v.limit) * drain)
	default:
		v.since++
		v.adjust(mean, full)
	}
	v.begin()
	if v.limit > before {
		v.round.skip = v.limit
	}
}

// queue returns which part of the calls in flight waits.
func (v *vegas) queue(mean float64) float64 {
	return max(1-v.base/mean, 0)
}

// adjust moves the limit by what a round says of the queue.
func (v *vegas) adjust(mean float64, full bool) {
	switch {
	case v.base == 0:
		v.base = mean
	case mean < 0.9*v.base:
		v.base, v.since = mean, probeEvery // the service has become faster: look how fast
		return
	}
	limit := float64(v.limit)
	switch queue := v.queue(mean); {
	case queue > longQueue && v.limit == v.min:
		// It cannot be a queue of ours: the service has become slower.
		v.base, v.starting = mean, true
	case queue > longQueue:
		v.starting = false
		v.set(limit * (1 - queue) * (1 + shortQueue))
	case queue >= shortQueue:
		v.starting = false
	case !full:
	case v.starting:
		v.set(2 * limit)
	default:
		v.set(limit + max(1, limit*growth))
	}
}

func (v *vegas) set(limit float64) {
	if limit >= float64(v.max) { // which may be more than an int holds
		v.limit = v.max
		return
	}
	v.limit = max(int(limit), v.min)
}

func (v *vegas) begin() {
	v.round = sample{}
	v.id++
}
