//go:build unix

package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

func TestInterruptible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, signals, released := new(Gate), make(chan os.Signal), 0
		var ctx context.Context
		ctx, stop := interruptible(t.Context(), g, signals, func() {
			if released++; ctx.Err() != nil {
				t.Error("the context ended while a third signal would still have been caught")
			}
		})
		if seq.Stopped(ctx) != nil || ctx.Err() != nil {
			t.Error("stopped before a signal")
		}
		signals <- os.Interrupt
		synctest.Wait()
		if seq.Stopped(ctx) != ErrStopped || ctx.Err() != nil || released != 0 {
			t.Errorf("after one signal: %v, %v, released %d times", seq.Stopped(ctx), ctx.Err(), released)
		}
		signals <- syscall.SIGTERM
		synctest.Wait()
		if cause := context.Cause(ctx); !errors.Is(cause, ErrInterrupted) || !strings.HasSuffix(cause.Error(), "terminated") || released != 1 {
			t.Errorf("after two: %v, released %d times", cause, released)
		}
		stop()
		stop()
		if released != 1 {
			t.Errorf("released %d times", released)
		}
	})
}

// Without a signal nothing is stopped, and nothing is left of it.
func TestInterruptibleEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, end := range map[string]func(stop, outer func()){
			"by stop":    func(stop, _ func()) { stop() },
			"of the ctx": func(_, outer func()) { outer() },
		} {
			g, released := new(Gate), 0
			outer, cancel := context.WithCancel(t.Context())
			ctx, stop := interruptible(outer, g, make(chan os.Signal), func() { released++ })
			end(stop, cancel)
			synctest.Wait()
			if context.Cause(ctx) != context.Canceled || seq.Stopped(ctx) != nil || released != 1 {
				t.Errorf("%s: %v, %v, released %d times", name, context.Cause(ctx), seq.Stopped(ctx), released)
			}
			stop()
			cancel()
		}
	})
}

// A real process: the first signal stops it, the second ends its ctx, the third kills it.
func TestInterruptibleProcess(t *testing.T) {
	if os.Getenv("PIPELINE_INTERRUPTED") != "" {
		g := new(Gate)
		ctx, _ := Interruptible(context.Background(), g)
		fmt.Println("ready")
		for seq.Stopped(ctx) == nil {
			time.Sleep(time.Millisecond)
		}
		fmt.Println("stopped", ctx.Err())
		<-ctx.Done()
		fmt.Println("ended", context.Cause(ctx))
		select {}
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		if signal.Ignored(sig) { // as in the background of a script; what is caught here is not ignored in the process
			caught := make(chan os.Signal, 1)
			signal.Notify(caught, sig)
			defer signal.Stop(caught)
		}
		if got := endedBy(interruptThrice(t, sig)); got != sig {
			t.Errorf("the process was ended by %v, want %v", got, sig)
		}
	}
}

// A process that began with SIGINT ignored: it counts twice, and does not kill.
func TestInterruptibleInTheBackground(t *testing.T) {
	signal.Ignore(syscall.SIGINT)
	defer signal.Reset(syscall.SIGINT)
	cmd := interruptThrice(t, syscall.SIGINT)
	cmd.Process.Signal(syscall.SIGTERM)
	if got := endedBy(cmd); got != syscall.SIGTERM {
		t.Errorf("the process was ended by %v, want %v", got, syscall.SIGTERM)
	}
}

// interruptThrice starts a process and sends it three signals, each when it has said what
// the one before did.
func interruptThrice(t *testing.T, sig syscall.Signal) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestInterruptibleProcess$")
	cmd.Env = append(os.Environ(), "PIPELINE_INTERRUPTED=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	for _, want := range []string{"ready", "stopped <nil>", "ended control: interrupted a second time: " + sig.String()} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("%v: the process says %q, want %q", sig, lines.Text(), want)
		}
		cmd.Process.Signal(sig)
	}
	return cmd
}

// endedBy returns the signal that a process ends by, -1 if it is none.
func endedBy(cmd *exec.Cmd) syscall.Signal {
	cmd.Wait()
	return cmd.ProcessState.Sys().(syscall.WaitStatus).Signal()
}

func ExampleInterruptible() {
	gate := new(Gate)
	ctx, stop := Interruptible(context.Background(), gate)
	defer stop()
	for n, err := range Gated(ctx, seq.Of(1, 2, 3), gate) {
		fmt.Println(n, err)
		if n == 2 {
			syscall.Kill(os.Getpid(), syscall.SIGINT) // as Ctrl-C does
			for seq.Stopped(ctx) == nil {
				time.Sleep(time.Millisecond)
			}
		}
	}
	// Output:
	// 1 <nil>
	// 2 <nil>
}
