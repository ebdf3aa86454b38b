package control

import (
	"context"
	"testing"
	"time"
)

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
