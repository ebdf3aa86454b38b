package control

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// TestScopeEndsWhileUnwinding: a panic or Goexit passes through a stage that joins a
// goroutine inside a Scope, whose context alone frees the source.
func TestScopeEndsWhileUnwinding(t *testing.T) {
	const s = time.Second
	source := func(ctx context.Context) intStream {
		return func(yield func(int, error) bool) {
			if yield(1, nil) {
				<-ctx.Done()
			}
		}
	}
	for name, stage := range map[string]func(ctx context.Context, leave func()) intStream{
		"Sample": func(ctx context.Context, leave func()) intStream {
			return seq.Tap(Sample(ctx, source(ctx), s), func(int, error) { leave() })
		},
		"Heartbeat": func(ctx context.Context, leave func()) intStream {
			return seq.Tap(Heartbeat(ctx, source(ctx), s, func(Beat) {}), func(int, error) { leave() })
		},
		"Heartbeat, beat": func(ctx context.Context, leave func()) intStream {
			return Heartbeat(ctx, source(ctx), s, func(Beat) { leave() })
		},
		"IdleTimeout": func(ctx context.Context, leave func()) intStream {
			idle := IdleTimeout(ctx, s, func(context.Context) intStream { return source(ctx) })
			return seq.Tap(idle, func(int, error) { leave() })
		},
		"Progress": func(ctx context.Context, leave func()) intStream {
			buffered := seq.Buffer(ctx, source(ctx), 1)
			return seq.Tap(Progress(buffered, ProgressConfig{}, func(Report) {}), func(int, error) { leave() })
		},
		"Throttle": func(ctx context.Context, leave func()) intStream {
			return seq.Tap(Throttle(seq.Buffer(ctx, source(ctx), 1), s), func(int, error) { leave() })
		},
	} {
		for way, leave := range map[string]func(){"panic": func() { panic("later stage") }, "Goexit": runtime.Goexit} {
			t.Run(name+"/"+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var got any
					loop := seq.Go(t.Context(), func() {
						defer func() { got = recover() }()
						seq.Drain(seq.Scope(t.Context(), func(ctx context.Context) intStream { return stage(ctx, leave) }))
						t.Error("the loop returned")
					})
					loop.Wait()
					if p, ok := got.(*seq.PanicError); ok {
						got = p.Value
					}
					if way == "panic" && got != "later stage" {
						t.Errorf("got panic %v", got)
					}
				})
			})
		}
	}
}
