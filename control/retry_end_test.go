package control

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// Gate.Stop ends a retry whose tries would go on for long: one that sleeps wakes, and
// one that is at a try makes no further one. So a drain does not hang.
func TestRetryLetsGoAfterStop(t *testing.T) {
	const forever = -1
	type policies = func(g *Gate, r Retry) []Policy
	tests := []struct {
		name     string
		pause    bool
		policies policies
	}{
		{"Pause", true, func(g *Gate, r Retry) []Policy { return []Policy{r} }},
		{"a gate inside", false, func(g *Gate, r Retry) []Policy { return []Policy{r, g} }},
		{"further inside", false, func(g *Gate, r Retry) []Policy {
			return []Policy{r, NewBreaker(BreakerConfig{}), WaitAtMost(time.Hour, g), Timeout(time.Hour)}
		}},
		{"both", true, func(g *Gate, r Retry) []Policy { return []Policy{r, g} }},
		{"two gates", true, func(g *Gate, r Retry) []Policy { return []Policy{r, new(Gate), g} }},
		{"a retry in another", false, func(g *Gate, r Retry) []Policy { return []Policy{Retry{Attempts: -1}, r, g} }},
	}
	for _, tt := range tests {
		for _, sleeps := range []time.Duration{10 * time.Second, 0} {
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := new(Gate)
					r := Retry{Attempts: forever, Backoff: Constant(sleeps)}
					if tt.pause {
						r.Pause = g
					}
					tries := 0
					call := Wrap(func(context.Context, int) (int, error) { tries++; time.Sleep(time.Second); return 0, errBoom },
						tt.policies(g, r)...)
					stopAt := 15 * time.Second // in a sleep of 10s, or at the end of a try
					time.AfterFunc(stopAt, g.Stop)
					begin := time.Now()
					_, err := call(t.Context(), 0)
					if took := time.Since(begin); took < stopAt || took > stopAt+time.Second || tries == 0 {
						t.Errorf("took %v and %d tries, want the end at once when the gate stops at %v", took, tries, stopAt)
					}
					if !errors.Is(err, ErrStopped) || !errors.Is(err, errBoom) || errors.Is(err, ErrRefused) {
						t.Errorf("error %v; want ErrStopped and the last try's, and not that no call was made", err)
					}
					g.mu.Lock()
					defer g.mu.Unlock()
					if len(g.watches) != 0 || len(g.holds) != 0 {
						t.Errorf("%d watches and %d holds are left", len(g.watches), len(g.holds))
					}
				})
			})
		}
	}
}

// The pipeline of the README drains: what is in flight fails for ever, and the loop
// ends all the same.
func TestRetryDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, g := t.Context(), new(Gate)
		call := Wrap(func(context.Context, int) (int, error) { return 0, errBoom }, Retry{Attempts: -1, Pause: g})
		time.AfterFunc(time.Minute, g.Stop)
		begin := time.Now()
		for _, err := range seq.MapConcurrent(ctx, Gated(ctx, seq.Of(1, 2, 3, 4, 5), g), 4, call) {
			if !errors.Is(err, ErrStopped) || !seq.IsItemError(err) {
				t.Errorf("error %v", err)
			}
		}
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("drained after %v, want 1m", took)
		}
	})
}

// A sleep that would outlast ctx's deadline is not begun, as with MaxElapsed, and
// nothing is paused for it.
func TestRetryDoesNotSleepPastTheDeadline(t *testing.T) {
	tests := []struct {
		name     string
		deadline time.Duration
		sleep    time.Duration
		tries    int
		took     time.Duration
		want     string
	}{
		{"past it", 5 * time.Minute, 10 * time.Minute, 1, 0, "boom"},
		{"exactly to it", 5 * time.Minute, 5 * time.Minute, 1, 0, "boom"},
		{"until just before", 5 * time.Minute, 5*time.Minute - 1, 2, 5*time.Minute - 1, "2 tries in 5m0s: last error: boom"},
		{"a later one", 25 * time.Second, 10 * time.Second, 3, 20 * time.Second, "3 tries in 20s: last error: boom"},
		{"the longest", time.Minute, 1<<63 - 1, 1, 0, "boom"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
				defer cancel()
				g, tries, events := new(Gate), 0, 0
				begin := time.Now()
				r := Retry{Attempts: -1, Backoff: Constant(tt.sleep), Pause: g, OnRetry: func(RetryEvent) { events++ }}
				err := r.Do(ctx, func(context.Context) error { tries++; return errBoom })
				if took := time.Since(begin); took != tt.took || tries != tt.tries || events != tt.tries-1 || g.Paused() {
					t.Errorf("%d tries and %d events in %v, paused %t; want %d tries in %v", tries, events, took, g.Paused(), tt.tries, tt.took)
				}
				if err == nil || err.Error() != tt.want || !errors.Is(err, errBoom) {
					t.Errorf("error %v, want %s", err, tt.want)
				}
			})
		})
	}
}

// A success counts although ctx has ended.
func TestSuccessAfterTheEndOfContext(t *testing.T) {
	for name, call := range map[string]func(func(context.Context, int) (int, error)) func(context.Context, int) (int, error){
		"Retry": func(fn func(context.Context, int) (int, error)) func(context.Context, int) (int, error) {
			return Wrap(fn, Retry{})
		},
		"Hedge": func(fn func(context.Context, int) (int, error)) func(context.Context, int) (int, error) {
			return Hedge(fn, time.Hour, 2)
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		got, err := call(func(context.Context, int) (int, error) { cancel(); return 7, nil })(ctx, 0)
		if got != 7 || err != nil {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}
