package control

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// TestRandomSchedules runs calls through random policies, with random failures,
// panics, cancellations and pauses. synctest proves that none of them hangs and
// that no goroutine is left; the schedule checks the rest itself.
func TestRandomSchedules(t *testing.T) {
	const schedules = 4000
	for seed := range uint64(schedules) {
		synctest.Test(t, func(t *testing.T) {
			s := newSchedule(seed)
			s.run(t.Context())
			s.check()
			if len(s.wrong) > 0 {
				t.Errorf("seed %d: %s: %v", seed, s.names, s.wrong[0])
			}
		})
		if t.Failed() {
			return
		}
	}
}

// A schedule is a few callers of one function behind some policies.
type schedule struct {
	rand     *rand.Rand // guarded by mu, as all that is not a policy
	policies []Policy
	names    []string
	limit    int // of calls at once; 0 means that there is none

	gate     *Gate
	inFlight *InFlight
	slots    int64
	adaptive *Adaptive
	breaker  *Breaker

	mu      sync.Mutex
	running int
	good    map[int]bool // items whose last call has succeeded
	wrong   []string
}

func newSchedule(seed uint64) *schedule {
	s := &schedule{rand: rand.New(rand.NewPCG(seed, 5)), gate: new(Gate), good: make(map[int]bool)}
	candidates := []func(){
		func() {
			s.add(Retry{Attempts: 1 + s.rand.IntN(4), Backoff: Exponential(time.Millisecond, 8*time.Millisecond),
				Pause: s.gate, OnRetry: func(RetryEvent) { s.gate.Paused() }})
		},
		func() {
			s.breaker = NewBreaker(BreakerConfig{MinCalls: 1 + s.rand.IntN(4), OpenFor: 5 * time.Millisecond, HalfOpen: 1 + s.rand.IntN(2),
				Hold: s.rand.IntN(2) == 0, OnChange: func(_, _ BreakerState) { s.breaker.State() }})
			s.add(s.breaker)
		},
		func() {
			s.slots = int64(1 + s.rand.IntN(3))
			s.inFlight = NewInFlight(int(s.slots))
			s.bound(int(s.slots))
			s.add(s.inFlight)
		},
		func() {
			most := 1 + s.rand.IntN(4)
			s.adaptive = NewAdaptive(AdaptiveConfig{Max: most, OnChange: func(int) { s.adaptive.Limit() }})
			s.bound(most)
			s.add(s.adaptive)
		},
		func() { s.add(Rate(NewPacer(float64(200 + s.rand.IntN(5000))))) },
		func() { s.add(Timeout(time.Duration(1+s.rand.IntN(20)) * time.Millisecond)) },
		func() { s.add(s.gate) },
	}
	s.rand.Shuffle(len(candidates), func(i, j int) { candidates[i], candidates[j] = candidates[j], candidates[i] })
	for _, add := range candidates[:1+s.rand.IntN(len(candidates))] {
		add()
	}
	return s
}

func (s *schedule) add(p Policy) {
	s.policies = append(s.policies, p)
	s.names = append(s.names, fmt.Sprintf("%T", p))
}

func (s *schedule) bound(n int) {
	if s.limit == 0 || n < s.limit {
		s.limit = n
	}
}

// some returns a random number below n.
func (s *schedule) some(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rand.IntN(n)
}

func (s *schedule) complain(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

// run makes the calls, with somebody at the gate meanwhile.
func (s *schedule) run(ctx context.Context) {
	call := Wrap(s.fn, s.policies...)
	var callers sync.WaitGroup
	for item := range 4 + s.some(8) {
		callers.Go(func() {
			time.Sleep(time.Duration(s.some(4)) * time.Millisecond)
			s.caller(ctx, call, item)
		})
	}
	for range s.some(5) {
		time.Sleep(time.Duration(s.some(8)) * time.Millisecond)
		switch s.some(4) {
		case 0:
			s.gate.Pause()
		case 1:
			s.gate.Resume()
		default:
			s.gate.PauseFor(time.Duration(s.some(10)) * time.Millisecond)
		}
	}
	if s.some(4) == 0 {
		s.gate.Stop()
	}
	s.gate.Resume()
	callers.Wait()
}

// caller makes one call, which it may give up, and checks what came of it.
func (s *schedule) caller(ctx context.Context, call func(context.Context, int) (int, error), item int) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.some(3) == 0 {
		give := time.AfterFunc(time.Duration(s.some(20))*time.Millisecond, cancel)
		defer give.Stop()
	}
	got, err := -1, error(nil)
	returned := false
	v := inGoroutine(func() {
		got, err = call(ctx, item)
		returned = true
	})
	s.mu.Lock()
	good := s.good[item]
	s.mu.Unlock()
	switch {
	case v != nil && v != errBoom:
		s.complain("panic: %v", v)
	case !returned: // fn panicked or called Goexit
	case err == nil && (got != item || !good):
		s.complain("item %d: got %d without an error, succeeded %t", item, got, good)
	case err != nil && !s.known(err):
		s.complain("item %d: %v", item, err)
	}
}

// known reports whether err is one that a schedule can come to.
func (s *schedule) known(err error) bool {
	for _, want := range []error{errBoom, context.Canceled, ErrTimeout, ErrOpen, ErrStopped, seq.ErrSkip} {
		if errors.Is(err, want) {
			return true
		}
	}
	return false
}

// fn is what the policies are around.
func (s *schedule) fn(ctx context.Context, item int) (int, error) {
	s.mu.Lock()
	s.running++
	if s.limit > 0 && s.running > s.limit {
		s.wrong = append(s.wrong, fmt.Sprintf("%d calls at once, limit %d", s.running, s.limit))
	}
	s.good[item] = false
	takes, heeds, what := s.rand.IntN(6), s.rand.IntN(4) > 0, s.rand.IntN(12)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.running--
	}()
	if !heeds {
		time.Sleep(time.Duration(takes) * time.Millisecond)
	} else if err := sleep(ctx, time.Duration(takes)*time.Millisecond); err != nil {
		return -2, err
	}
	switch what {
	case 0, 1, 2:
		return -3, errBoom
	case 3:
		return -4, RetryAfter(errBoom, time.Duration(takes)*time.Millisecond)
	case 4:
		return -5, Permanent(errBoom)
	case 5:
		return -6, seq.ErrSkip
	case 6:
		panic(errBoom)
	case 7:
		if takes == 0 {
			runtime.Goexit()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.good[item] = true
	return item, nil
}

// check looks at what the policies have kept after all calls have ended.
func (s *schedule) check() {
	if s.running != 0 {
		s.complain("%d calls still running", s.running)
	}
	if s.gate.crowd != nil || len(s.gate.holds) != 0 {
		s.complain("the gate keeps waiters or pauses")
	}
	if f := s.inFlight; f != nil && !f.slots.TryAcquire(s.slots) {
		s.complain("InFlight keeps a slot")
	}
	if a := s.adaptive; a != nil && (a.running != 0 || !a.line.empty()) {
		s.complain("Adaptive keeps %d slots, line empty %t", a.running, a.line.empty())
	}
	if b := s.breaker; b != nil && (!b.line.empty() || b.state == BreakerHalfOpen && b.running != 0) {
		s.complain("Breaker keeps %d trials, line empty %t", b.running, b.line.empty())
	}
}
