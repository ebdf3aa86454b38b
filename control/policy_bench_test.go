package control

import (
	"context"
	"testing"
	"time"
)

func TestSuccessAllocations(t *testing.T) {
	fn := func(_ context.Context, n int) (int, error) { return n, nil }
	ctx := t.Context()
	tests := []struct {
		name string
		call func(context.Context, int) (int, error)
		most float64
	}{
		{"Retry and Breaker", Wrap(fn, Retry{}, NewBreaker(BreakerConfig{})), 2},
		{"the same with OnChange", Wrap(fn, Retry{}, NewBreaker(BreakerConfig{OnChange: func(_, _ BreakerState) {}})), 2},
		{"Retry, Breaker and Timeout", Wrap(fn, Retry{}, NewBreaker(BreakerConfig{}), Timeout(time.Minute)), 6}, // 4 of them by context.WithTimeout
		{"InFlight, Adaptive, Rate and Gate", Wrap(fn, NewInFlight(1), NewAdaptive(AdaptiveConfig{}), Rate(freely{}), new(Gate)), 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := testing.AllocsPerRun(1000, func() { tt.call(ctx, 1) }); got > tt.most {
				t.Errorf("%v allocations, want at most %v", got, tt.most)
			}
		})
	}
}

func BenchmarkPolicies(b *testing.B) {
	fn := func(_ context.Context, n int) (int, error) { return n, nil }
	breaker := func() *Breaker { return NewBreaker(BreakerConfig{}) }
	calls := []struct {
		name string
		call func(context.Context, int) (int, error)
	}{
		{"bare", fn},
		{"context.WithTimeout", func(ctx context.Context, n int) (int, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			return fn(ctx, n)
		}},
		{"Retry", Wrap(fn, Retry{})},
		{"Breaker", Wrap(fn, breaker())},
		{"Retry+Breaker", Wrap(fn, Retry{}, breaker())},
		{"Timeout", Wrap(fn, Timeout(time.Minute))},
		{"Retry+Breaker+Timeout", Wrap(fn, Retry{}, breaker(), Timeout(time.Minute))},
		{"InFlight", Wrap(fn, NewInFlight(8))},
		{"Adaptive", Wrap(fn, NewAdaptive(AdaptiveConfig{}))},
		{"Gate", Wrap(fn, new(Gate))},
	}
	for _, c := range calls {
		b.Run(c.name, func(b *testing.B) {
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				c.call(ctx, 1)
			}
		})
	}
}
