package seq_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

func panicHere(value any) { panic(value) }

func TestTaskJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finished := false
		task := seq.Go(func() { time.Sleep(time.Second); finished = true })
		select {
		case <-task.Done():
			t.Error("done before it ended")
		default:
		}
		task.Join()
		task.Join() // may be joined again
		task.Wait()
		<-task.Done()
		if !finished {
			t.Error("Join did not wait")
		}
	})
}

func TestTaskJoinPassesPanicOn(t *testing.T) {
	task := seq.Go(func() { panicHere(errCallback) })
	err, ok := panicOf(task.Join).(*seq.PanicError)
	if !ok || err.Value != errCallback || !errors.Is(err, errCallback) || !strings.Contains(string(err.Stack), "panicHere") {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(err.Error(), "panic: callback failed") || !strings.Contains(err.Error(), "panicHere") {
		t.Errorf("text %q", err.Error())
	}
	task.Wait() // keeps it to itself
	outer := seq.Go(task.Join)
	if again := panicOf(outer.Join); again != err {
		t.Errorf("joined through two goroutines: got %v, want the same *PanicError", again)
	}
}

func TestTaskPanicValues(t *testing.T) {
	if err := panicOf(seq.Go(func() { panicHere("text") }).Join).(*seq.PanicError); err.Value != "text" || err.Unwrap() != nil {
		t.Errorf("got %v", err)
	}
	var nilPanic *runtime.PanicNilError
	if err, _ := panicOf(seq.Go(func() { panicHere(nil) }).Join).(*seq.PanicError); !errors.As(err, &nilPanic) {
		t.Errorf("panic(nil): got %v", err)
	}
}

// TestTaskJoinPassesGoexitOn: also where a panic was on its way before Goexit took
// over. Where it is the other way round, the panic is what arrives.
func TestTaskJoinPassesGoexitOn(t *testing.T) {
	for name, fn := range map[string]func(){
		"Goexit":                  runtime.Goexit,
		"Goexit during a panic":   func() { defer runtime.Goexit(); panic("lost") },
		"recovered, then Goexit":  func() { defer runtime.Goexit(); defer func() { _ = recover() }(); panic("lost") },
		"Goexit in another task":  func() { seq.Go(runtime.Goexit).Join() },
		"Goexit of the test's":    func() { func() { runtime.Goexit() }() },
		"Goexit, deferred return": func() { defer func() {}(); runtime.Goexit() },
	} {
		returned := false
		outer := seq.Go(func() {
			seq.Go(fn).Join()
			returned = true
		})
		outer.Wait()
		if returned {
			t.Errorf("%s: Join returned", name)
		}
	}
	task := seq.Go(func() { defer panicHere("later"); runtime.Goexit() })
	if err, _ := panicOf(task.Join).(*seq.PanicError); err == nil || err.Value != "later" {
		t.Errorf("panic during Goexit: got %v", err)
	}
}

func TestTaskRecoveredPanicIsNone(t *testing.T) {
	task := seq.Go(func() { defer func() { _ = recover() }(); panic("recovered") })
	if got := panicOf(task.Join); got != nil {
		t.Errorf("got %v", got)
	}
}
