package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"example.com/pipeline/seq"
)

// ErrInterrupted is the cause with which the context of [Interruptible] ends at the
// second signal.
var ErrInterrupted = errors.New("control: interrupted")

// Interruptible makes a program stop gracefully at Ctrl-C, which is os.Interrupt, and at
// SIGTERM. It returns ctx with g in it, as [WithGate] does:
//
//	gate := new(control.Gate)
//	ctx, stop := control.Interruptible(context.Background(), gate)
//	defer stop()
//
// It is the second signal that cuts, and the third that kills:
//
//   - The first signal is [Gate.Stop]: the calls in flight finish, nothing else begins, and
//     the loop ends.
//   - The second one ends the context, with a cause that Is [ErrInterrupted]: the calls in
//     flight are cut, and the loop ends with an error.
//   - From the third one on signals have their usual effect, which is to end the process
//     (Ctrl-C does not, where the program was begun in the background of a script: os.Interrupt
//     is ignored there).
//
// What ends the source is up to the pipeline: [Gated] in front of one that goes on, [Until]
// around one that blocks. With neither, the loop ends at its first item that is not begun, if
// it leaves there or cursor.Track does.
//
// stop gives the signals their usual effect again, and ends the context. So does the end
// of ctx. Interruptible panics if ctx or g is nil.
func Interruptible(ctx context.Context, g *Gate) (context.Context, context.CancelFunc) {
	needContext("Interruptible", ctx)
	need(g != nil, "Interruptible", "the gate must not be nil")
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	return interruptible(ctx, g, signals, func() { signal.Stop(signals) })
}

// interruptible is Interruptible with signals that come from anywhere. release is called
// when they are not looked at any more: at the second one before the context ends, so that
// whoever sees the end can count on the third.
func interruptible(ctx context.Context, g *Gate, signals <-chan os.Signal, release func()) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(WithGate(ctx, g))
	release = sync.OnceFunc(release)
	watching := seq.Go(ctx, func() {
		defer release()
		for _, act := range []func(os.Signal){
			func(os.Signal) { g.Stop() },
			func(s os.Signal) { release(); cancel(fmt.Errorf("%w a second time: %v", ErrInterrupted, s)) },
		} {
			select {
			case s := <-signals:
				act(s)
			case <-ctx.Done():
				return
			}
		}
	})
	return ctx, sync.OnceFunc(func() {
		cancel(nil)
		watching.Join()
	})
}
