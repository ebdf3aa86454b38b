package control

import (
	"context"
	"errors"
	"sync"
	"time"

	"example.com/pipeline/seq"
)

// A Breaker is a [Policy] that stops calling a service that fails, as described by
// Michael Nygard, Release It! (2007). It counts the calls of a sliding time window
// in constant memory. When too many of them have failed it opens and refuses calls
// with an error that Is [ErrOpen] and the last failure, or holds them up. After a
// while it is half open and lets some trial calls through, which decide whether it
// closes or opens again.
//
// A call that panics or leaves by Goexit has failed. The result of a call that
// began before the state last changed does not count any more.
//
// A Breaker is safe for concurrent use, and needs no closing.
type Breaker struct {
	cfg     BreakerConfig
	changes announcements[stateChange]

	// lane is open while the breaker is closed and nobody waits.
	lane lane

	mu    sync.Mutex
	state BreakerState
	epoch uint32 // counts the changes of state from 1
	line  line   // who is held up

	calls window        // closed: the calls of the last cfg.Window, but for those in lane
	row   int           // closed: the last so many calls have failed, but for those in lane
	tick  time.Duration // closed: when a timer empties lane, on clock

	until  time.Duration // open: the end of that, on clock
	outage *outage       // open and half open: why

	running, passed int // half open: trial calls
}

type stateChange struct{ from, to BreakerState }

// NewBreaker returns a closed Breaker. It panics where a value of cfg is below 0,
// or the rate above 1.
func NewBreaker(cfg BreakerConfig) *Breaker {
	cfg = cfg.withDefaults()
	b := &Breaker{cfg: cfg, epoch: 1}
	if tell := cfg.OnChange; tell != nil {
		b.changes.tell = func(c stateChange) { tell(c.from, c.to) }
	}
	b.calls.init(cfg.Window)
	b.setPass()
	return b
}

// State returns the state as of now.
func (b *Breaker) State() BreakerState {
	defer b.changes.deliver()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance()
	return b.state
}

// Reset closes the breaker, with nothing counted: neither what was, nor what comes
// of the calls that are being made now.
func (b *Breaker) Reset() {
	defer b.changes.deliver()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.change(BreakerClosed)
}

// Trip opens the breaker for OpenFor from now on, whatever state it is in.
func (b *Breaker) Trip() {
	defer b.changes.deliver()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open(&outage{})
}

// Do calls op where the breaker lets it through.
func (b *Breaker) Do(ctx context.Context, op func(context.Context) error) error {
	if err := ended(ctx); err != nil {
		return err
	}
	epoch, err := b.admit(ctx)
	if err != nil {
		return err
	}
	return b.run(ctx, op, epoch)
}

func (b *Breaker) bind([]Policy) Policy { return b }

// admit lets a call through, maybe after a wait, or says why not.
func (b *Breaker) admit(ctx context.Context) (epoch uint32, err error) {
	if epoch := b.lane.epoch(); epoch != 0 {
		return epoch, nil
	}
	if epoch, err = b.admitNow(); err == nil || !b.cfg.Hold {
		return epoch, err
	}
	return b.wait(ctx)
}

// wait holds a call up until it is let through.
func (b *Breaker) wait(ctx context.Context) (epoch uint32, err error) {
	defer func() { // also where a method of ctx panics: the line may be empty now
		b.mu.Lock()
		defer b.mu.Unlock()
		b.setPass()
	}()
	waiting, over := waitUnder(ctx)
	defer over()
	err = b.line.enter(waiting, &b.mu, func() (ok bool, retry time.Duration) {
		epoch, ok, retry = b.turn()
		return ok, retry
	})
	if err != nil {
		return 0, notMade(ctx)
	}
	return epoch, nil
}

// admitNow lets a call through, or says why it must not be made now.
func (b *Breaker) admitNow() (epoch uint32, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.line.empty() { // otherwise it would jump the queue
		epoch, ok, _ := b.turn()
		if ok {
			return epoch, nil
		}
	}
	refused := &openError{outage: b.outage}
	if b.state == BreakerOpen {
		refused.retry = until(b.until, clock())
	}
	return 0, refused
}

// turn says whether a call may be made, and counts it as a trial if it is one. If
// it may not, retry is when an open breaker will let trials through. b.mu is held.
func (b *Breaker) turn() (epoch uint32, ok bool, retry time.Duration) {
	b.advance()
	switch {
	case b.state == BreakerOpen:
		return 0, false, until(b.until, clock())
	case b.state == BreakerHalfOpen && b.running+b.passed >= b.cfg.HalfOpen:
		return 0, false, 0 // whoever settles a trial wakes the line
	case b.state == BreakerHalfOpen:
		b.running++
	}
	return b.epoch, true, 0
}

// What a call says about the service.
type verdict int

const (
	silent verdict = iota // nothing: it was not made, its caller left, or Ignore says so
	succeeded
	failed
)

// run makes a call that has been let through.
func (b *Breaker) run(ctx context.Context, op func(context.Context) error, epoch uint32) (err error) {
	v := silent
	defer func() {
		b.settle(epoch, v, err)
		b.changes.deliver()
	}()
	b.changes.deliver() // that this is a trial; if OnChange panics, it has not been made
	if err := ended(ctx); err != nil {
		return err
	}
	v, err = failed, errBroken
	err = op(ctx)
	v = b.judge(ctx, err)
	return err
}

// errBroken is the error of a call that did not return.
var errBroken = errors.New("the call panicked")

// judge says what err means for the service.
func (b *Breaker) judge(ctx context.Context, err error) verdict {
	if err == nil {
		return succeeded
	}
	end := endingOf(ctx)
	seen := withEnding(ctx, end, err)
	switch {
	case isRefused(err), b.cfg.Ignore != nil && b.cfg.Ignore(seen):
		return silent
	case errors.Is(err, seq.ErrSkip):
		return succeeded
	case end == callerLeft:
		return silent
	case b.cfg.IsFailure == nil || b.cfg.IsFailure(seen):
		return failed
	}
	return succeeded
}

// settle counts the end of a call.
func (b *Breaker) settle(epoch uint32, v verdict, err error) {
	if v == succeeded && b.lane.count(epoch) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case epoch != b.epoch: // it tells of times gone by
	case b.state == BreakerHalfOpen:
		b.settleTrial(v, err)
	case v != silent:
		b.count(v == failed, err)
	}
}

// count counts a call of a closed breaker, and opens it where that is due. b.mu is
// held.
func (b *Breaker) count(failure bool, err error) {
	now := clock()
	b.addSuccesses(b.lane.stop())
	calls, failures := b.calls.add(now, failure)
	if failure {
		b.row++
	} else {
		b.row = 0
	}
	if b.cfg.Consecutive > 0 && b.row >= b.cfg.Consecutive {
		b.open(&outage{row: b.row, last: err})
		return
	}
	if calls >= b.cfg.MinCalls && failures > 0 && float64(failures)/float64(calls) >= b.cfg.FailureRate {
		b.open(&outage{calls: calls, failures: failures, window: b.cfg.Window, last: err})
		return
	}
	// Successes need no look at the clock for the rest of the bucket where they can
	// but lower the rate: not where one of them may be what MinCalls waits for.
	if (failures == 0 || calls >= b.cfg.MinCalls) && b.calls.width >= leastBucket {
		b.setTick(now)
		b.lane.start()
	}
}

// setTick sees to it that a timer fires at the end of the current bucket, or before.
// It fires a nanosecond early, so that in a bubble of testing/synctest a call at the
// very end always finds that done. The one for b.tick is pending unless that is over,
// or beyond the bucket, as it is where the clock has been set back by the begin of a
// bubble. b.mu is held.
func (b *Breaker) setTick(now time.Duration) {
	end := b.calls.begin + b.calls.width
	if now >= b.tick || b.tick > end {
		b.tick = end - 1
		time.AfterFunc(b.tick-now, b.endBucket)
	}
}

// endBucket runs at the end of a bucket. The next success begins another one. It
// does no harm where that has happened already: the next success starts the lane
// again.
func (b *Breaker) endBucket() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addSuccesses(b.lane.stop())
}

// addSuccesses counts n successes that the lane has counted. b.mu is held.
func (b *Breaker) addSuccesses(n int) {
	if n > 0 {
		b.calls.addSuccesses(n)
		b.row = 0
	}
}

// settleTrial counts the end of a trial call. b.mu is held.
func (b *Breaker) settleTrial(v verdict, err error) {
	b.running--
	switch v {
	case failed:
		b.open(&outage{last: err})
	case succeeded:
		if b.passed++; b.passed == b.cfg.HalfOpen {
			b.change(BreakerClosed)
		}
	case silent:
		b.line.wake() // another call can be the trial
	}
}

// advance makes an open breaker half open when it is time. b.mu is held.
func (b *Breaker) advance() {
	if b.state == BreakerOpen && clock() >= b.until {
		b.running, b.passed = 0, 0
		b.change(BreakerHalfOpen)
	}
}

// open opens the breaker. b.mu is held.
func (b *Breaker) open(why *outage) {
	b.outage, b.until = why, later(clock(), b.cfg.OpenFor)
	b.change(BreakerOpen)
}

// change begins a new epoch. Who is first in line looks at it: at the latest when
// the time comes, and at once where it can go on. b.mu is held.
func (b *Breaker) change(to BreakerState) {
	if to != b.state {
		b.changes.add(stateChange{b.state, to})
	}
	b.state = to
	b.epoch++
	b.calls.clear()
	b.row = 0
	if to == BreakerClosed {
		b.outage = nil
	}
	b.setPass()
	b.line.wake()
}

// setPass opens the lane where every call may go on at once: not past those who
// are still held up, though the breaker has closed. An open lane stays so until the
// state changes, since nobody who comes to a closed breaker with an empty line is
// held up. b.mu is held.
func (b *Breaker) setPass() {
	var epoch uint32
	if b.state == BreakerClosed && b.line.empty() {
		epoch = b.epoch
	}
	if b.lane.epoch() != epoch {
		b.lane.open(epoch)
	}
}
