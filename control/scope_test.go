package control

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// Inside a Scope a stage joins a source that only the Scope's context ends. A panic or
// Goexit of a later stage unwinds into that join: it must end the Scope first.
func TestStagesInsideAScope(t *testing.T) {
	stages := map[string]func(ctx context.Context, in intStream) intStream{
		"Sample": func(ctx context.Context, in intStream) intStream { return Sample(ctx, in, time.Second) },
		"Heartbeat": func(ctx context.Context, in intStream) intStream {
			return Heartbeat(ctx, in, time.Second, func(Beat) {})
		},
		"IdleTimeout": func(ctx context.Context, in intStream) intStream {
			return IdleTimeout(ctx, time.Hour, func(context.Context) intStream { return in })
		},
		"Heartbeat, beating": func(ctx context.Context, in intStream) intStream {
			return Heartbeat(ctx, in, time.Second, func(Beat) { panic("in the stage") })
		},
	}
	for name, stage := range stages {
		for way, leave := range map[string]func(){
			"panic": func() { panic("behind the stage") }, "goexit": runtime.Goexit,
		} {
			t.Run(name+"/"+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					freed := false
					scoped := seq.Scope(t.Context(), func(ctx context.Context) intStream {
						source := func(yield func(int, error) bool) {
							if name == "Heartbeat, beating" || yield(1, nil) {
								<-ctx.Done()
								freed = true
							}
						}
						return seq.Tap(stage(ctx, source), func(int, error) { leave() })
					})
					leaves(t, name, func() { seq.Drain(scoped) })
					// The other stages do not read ahead: their source has not been asked again.
					if want := name == "Sample" || name == "Heartbeat, beating"; freed != want {
						t.Errorf("the source was freed: %t, want %t", freed, want)
					}
				})
			})
		}
	}
}

// The tries of a Hedge, and what renews a key, are joined the same way.
func TestCallsInsideAScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scoped := seq.Scope(t.Context(), func(ctx context.Context) intStream {
			var tries atomic.Int32
			call := Hedge(func(context.Context, int) (int, error) {
				if tries.Add(1) == 2 {
					panic("in a try")
				}
				<-ctx.Done() // the Scope's, not its own
				return 0, ctx.Err()
			}, time.Second, 2)
			return seq.Map(seq.Of(1), func(n int) (int, error) { return call(ctx, n) })
		})
		leaves(t, "Hedge", func() { seq.Drain(scoped) })
	})
}

// So they are where it is a method of an error that panics, while another try runs.
func TestHedgeErrorThatPanicsInsideAScope(t *testing.T) {
	for way, leave := range waysToLeave {
		synctest.Test(t, func(t *testing.T) {
			scoped := seq.Scope(t.Context(), func(ctx context.Context) intStream {
				var tries atomic.Int32
				call := Hedge(func(context.Context, int) (int, error) {
					if tries.Add(1) == 2 {
						return 0, badError{leave: leave, is: true}
					}
					<-ctx.Done()
					return 0, ctx.Err()
				}, time.Second, 2)
				return seq.Map(seq.Of(1), func(n int) (int, error) { return call(ctx, n) })
			})
			leaves(t, way, func() { seq.Drain(scoped) })
		})
	}
}
