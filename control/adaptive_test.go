package control

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// A server serves capacity calls at a time in base each. With more of them in
// flight each takes longer, so that its throughput stays what it is.
type server struct {
	base     time.Duration
	capacity atomic.Int64
	inFlight atomic.Int64
	spread   func() float64 // of the time a call takes; nil means that there is none
	rejects  bool           // what is beyond the capacity, instead of serving it slowly
}

var errFull = errors.New("503")

func (s *server) call(ctx context.Context) error {
	n, c := s.inFlight.Add(1), s.capacity.Load()
	defer s.inFlight.Add(-1)
	if s.rejects && n > c {
		return errFull
	}
	d := float64(s.base) * max(1, float64(n)/float64(c))
	if s.spread != nil {
		d *= s.spread()
	}
	return sleep(ctx, time.Duration(d))
}

// A phase is some calls in a row, as their server saw them.
type phase struct {
	calls      int
	throughput float64       // calls served a second
	latency    time.Duration // mean
}

// A load is 200 callers, always at it, through a policy.
type load struct {
	policy Policy
	server *server
}

// run makes n calls, one after the other has ended, and measures those served.
func (l load) run(ctx context.Context, n int) phase {
	const callers = 200
	var begun, served atomic.Int64
	var latency atomic.Int64
	begin := time.Now()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for begun.Add(1) <= int64(n) {
				l.policy.Do(ctx, func(ctx context.Context) error {
					begin := time.Now()
					err := l.server.call(ctx)
					if err == nil {
						served.Add(1)
						latency.Add(int64(time.Since(begin)))
					}
					return err
				})
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	return phase{n, float64(served.Load()) / took.Seconds(), time.Duration(latency.Load() / max(served.Load(), 1))}
}

// TestAdaptiveSimulation holds the limit against the best fixed one, which is the
// server's capacity c: c/base calls a second at a latency of base. Of each phase of
// 6,000 calls the first 3,000 are for finding it.
func TestAdaptiveSimulation(t *testing.T) {
	const ms = time.Millisecond
	type phases []struct {
		base     time.Duration
		capacity int64
	}
	varying := func(by float64) func() float64 {
		return func() float64 { return 1 - by + 2*by*rand.Float64() }
	}
	tests := []struct {
		name    string
		spread  func() float64
		rejects bool
		phases  phases
	}{
		{"4", nil, false, phases{{10 * ms, 4}}},
		{"16", nil, false, phases{{10 * ms, 16}}},
		{"64", nil, false, phases{{10 * ms, 64}}},
		{"grows", nil, false, phases{{10 * ms, 4}, {10 * ms, 16}, {10 * ms, 64}}},
		{"shrinks", nil, false, phases{{10 * ms, 64}, {10 * ms, 16}, {10 * ms, 4}}},
		{"jumps", nil, false, phases{{10 * ms, 4}, {10 * ms, 64}, {10 * ms, 4}}},
		{"microseconds", nil, false, phases{{20 * time.Microsecond, 16}, {20 * time.Microsecond, 64}}},
		{"seconds", nil, false, phases{{7 * time.Second, 16}, {7 * time.Second, 4}}},
		{"becomes slower", nil, false, phases{{10 * ms, 16}, {15 * ms, 16}, {100 * ms, 16}}},
		{"becomes faster", nil, false, phases{{10 * ms, 16}, {7 * ms, 16}, {1 * ms, 16}}},
		{"latencies vary by a quarter", varying(0.25), false, phases{{10 * ms, 4}, {10 * ms, 64}, {10 * ms, 16}}},
		{"rejects", nil, true, phases{{10 * ms, 16}, {10 * ms, 64}, {10 * ms, 4}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := &server{spread: tt.spread, rejects: tt.rejects}
				policy := NewAdaptive(AdaptiveConfig{IsOverload: func(err error) bool { return err == errFull }})
				for i, p := range tt.phases {
					srv.base = p.base
					srv.capacity.Store(p.capacity)
					load{policy, srv}.run(t.Context(), 3000)
					got := load{policy, srv}.run(t.Context(), 3000)
					throughput := got.throughput * p.base.Seconds() / float64(p.capacity)
					latency := got.latency.Seconds() / p.base.Seconds()
					t.Logf("phase %d: limit %d, throughput %.2f, latency %.2f", i, policy.Limit(), throughput, latency)
					if throughput < 0.9 {
						t.Errorf("phase %d: %.2f of the best throughput, want 0.9", i, throughput)
					}
					if latency > 1.5 {
						t.Errorf("phase %d: %.2f times the best latency, want 1.5 at most", i, latency)
					}
				}
			})
		})
	}
}

func TestAdaptiveStaysWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &server{base: 10 * time.Millisecond}
		srv.capacity.Store(64)
		var limits []int
		policy := NewAdaptive(AdaptiveConfig{Min: 3, Max: 20, OnChange: func(n int) { limits = append(limits, n) }})
		if got := policy.Limit(); got != 3 {
			t.Errorf("begins at %d, want Min", got)
		}
		load{policy, srv}.run(t.Context(), 3000)
		if got := policy.Limit(); got != 20 {
			t.Errorf("limit %d, want Max", got)
		}
		srv.capacity.Store(1)
		load{policy, srv}.run(t.Context(), 3000)
		if got := policy.Limit(); got > 5 {
			t.Errorf("limit %d, want about Min", got)
		}
		if len(limits) < 5 || limits[0] != 6 || limits[1] != 12 || limits[2] != 20 || limits[len(limits)-1] != policy.Limit() {
			t.Errorf("changes: %v", limits)
		}
	})
}

// Without enough callers to reach the limit there is no telling whether more would
// do: the limit stays.
func TestAdaptiveDoesNotGrowUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := NewAdaptive(AdaptiveConfig{Min: 4})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for range 1000 {
					policy.Do(t.Context(), func(ctx context.Context) error { return sleep(ctx, time.Millisecond) })
				}
			})
		}
		wg.Wait()
		if got := policy.Limit(); got != 4 {
			t.Errorf("limit %d, want 4", got)
		}
	})
}

func TestAdaptiveJudges(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name       string
		ctx        context.Context
		isOverload func(error) bool
		err        error
		want       outcome
	}{
		{"success", t.Context(), nil, nil, served},
		{"ErrSkip", t.Context(), nil, seq.ErrSkip, served},
		{"failure", t.Context(), nil, errBoom, unknown},
		{"timeout", t.Context(), nil, &timeoutError{1, errBoom}, rejected},
		{"deadline", t.Context(), nil, context.DeadlineExceeded, rejected},
		{"the caller gave up", ended, nil, context.DeadlineExceeded, unknown},
		{"IsOverload", t.Context(), func(err error) bool { return err == errBoom }, errBoom, rejected},
		{"IsOverload and who gave up", ended, func(error) bool { return true }, errBoom, unknown},
	}
	for _, tt := range tests {
		if got := NewAdaptive(AdaptiveConfig{IsOverload: tt.isOverload}).judge(tt.ctx, tt.err); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestAdaptiveCallbacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var policy *Adaptive
		calls := 0
		policy = NewAdaptive(AdaptiveConfig{Max: 4, OnChange: func(int) {
			if calls++; calls == 1 {
				panic("in OnChange")
			}
			policy.Limit()
			policy.Do(t.Context(), always(nil))
		}})
		panics := 0
		for range 500 {
			func() {
				defer func() {
					if recover() != nil {
						panics++
					}
				}()
				policy.Do(t.Context(), func(ctx context.Context) error { return sleep(ctx, time.Millisecond) })
			}()
		}
		if panics != 1 || calls < 1 || policy.running != 0 {
			t.Errorf("%d panics, %d calls of OnChange, %d running", panics, calls, policy.running)
		}
	})
}

func TestAdaptiveWaitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := NewAdaptive(AdaptiveConfig{Max: 1})
		done := make(chan struct{})
		go func() {
			defer close(done)
			policy.Do(t.Context(), func(ctx context.Context) error { return sleep(ctx, time.Minute) })
		}()
		synctest.Wait()
		cause := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		begin := time.Now()
		err := policy.Do(ctx, always(nil))
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, cause) || time.Since(begin) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		<-done
	})
}

func ExampleNewAdaptive() {
	// Give it more workers than the service can ever use: it finds out how many
	// calls at once make sense, and follows when that changes.
	adaptive := NewAdaptive(AdaptiveConfig{Max: 64})
	call := Wrap(func(_ context.Context, n int) (int, error) { return n * n, nil }, adaptive)
	ctx := context.Background()
	fmt.Println(seq.Collect(seq.MapConcurrent(ctx, seq.Of(1, 2, 3), 64, call)))
	// Output: [1 4 9] <nil>
}

func ExampleAdaptive_Limit() {
	adaptive := NewAdaptive(AdaptiveConfig{Min: 2, Initial: 4, Max: 64})
	fmt.Println(adaptive.Limit(), "calls at once to begin with")
	// Output: 4 calls at once to begin with
}
