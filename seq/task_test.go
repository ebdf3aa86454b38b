package seq_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

func panicHere(value any) { panic(value) }

func TestTaskJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finished := false
		task := seq.Go(t.Context(), func() { time.Sleep(time.Second); finished = true })
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
	task := seq.Go(t.Context(), func() { panicHere(errCallback) })
	err, ok := panicOf(task.Join).(*seq.PanicError)
	if !ok || err.Value != errCallback || !errors.Is(err, errCallback) || !strings.Contains(string(err.Stack), "panicHere") {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(err.Error(), "panic: callback failed") || !strings.Contains(err.Error(), "panicHere") {
		t.Errorf("text %q", err.Error())
	}
	task.Wait() // keeps it to itself
	outer := seq.Go(t.Context(), task.Join)
	if again := panicOf(outer.Join); again != err {
		t.Errorf("joined through two goroutines: got %v, want the same *PanicError", again)
	}
}

func TestTaskPanicValues(t *testing.T) {
	if err := panicOf(seq.Go(t.Context(), func() { panicHere("text") }).Join).(*seq.PanicError); err.Value != "text" || err.Unwrap() != nil {
		t.Errorf("got %v", err)
	}
	var nilPanic *runtime.PanicNilError
	if err, _ := panicOf(seq.Go(t.Context(), func() { panicHere(nil) }).Join).(*seq.PanicError); !errors.As(err, &nilPanic) {
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
		"Goexit in another task":  func() { seq.Go(t.Context(), runtime.Goexit).Join() },
		"Goexit of the test's":    func() { func() { runtime.Goexit() }() },
		"Goexit, deferred return": func() { defer func() {}(); runtime.Goexit() },
	} {
		returned := false
		outer := seq.Go(t.Context(), func() {
			seq.Go(t.Context(), fn).Join()
			returned = true
		})
		outer.Wait()
		if returned {
			t.Errorf("%s: Join returned", name)
		}
	}
	task := seq.Go(t.Context(), func() { defer panicHere("later"); runtime.Goexit() })
	if err, _ := panicOf(task.Join).(*seq.PanicError); err == nil || err.Value != "later" {
		t.Errorf("panic during Goexit: got %v", err)
	}
}

func TestTaskRecoveredPanicIsNone(t *testing.T) {
	task := seq.Go(t.Context(), func() { defer func() { _ = recover() }(); panic("recovered") })
	if got := panicOf(task.Join); got != nil {
		t.Errorf("got %v", got)
	}
}

// left are the ways to leave a loop's body so that the stack unwinds.
var left = map[string]func(){
	"panic":               func() { panic("body") },
	"Goexit":              runtime.Goexit,
	"panic during Goexit": func() { defer panic("body"); runtime.Goexit() },
	"runtime error":       func() { var p *int; *p = 1 },
}

// joined are the ways in which a stage may join its task.
var joined = map[string]func(task *seq.Task){
	"Join": (*seq.Task).Join,
	"Wait": (*seq.Task).Wait,
	"both": func(task *seq.Task) { task.Wait(); task.Join() },
	"deep": func(task *seq.Task) { deep(200, task.Join) },
}

func deep(n int, fn func()) {
	if n > 0 {
		deep(n-1, fn)
		return
	}
	fn()
}

// TestTaskJoinEndsScopes: a stage inside two Scopes waits for a goroutine that only
// the outer Scope's context frees, while a later stage's panic passes through.
func TestTaskJoinEndsScopes(t *testing.T) {
	for leaving, leave := range left {
		for joining, join := range joined {
			for frames, run := range map[string]func(func()){
				"plain":                       func(loop func()) { loop() },
				"in a deferred call":          func(loop func()) { defer loop() },
				"while a panic is on its way": func(loop func()) { panicOf(func() { defer loop(); panic("outer") }) },
				"during Goexit":               func(loop func()) { defer loop(); runtime.Goexit() },
				"200 frames deep":             func(loop func()) { deep(200, loop) },
			} {
				t.Run(leaving+"/"+joining+"/"+frames, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						freed := false
						loop := func() {
							defer func() { _ = recover() }()
							seq.Drain(seq.Scope(t.Context(), func(outer context.Context) ints {
								return seq.Scope(outer, func(inner context.Context) ints {
									own := func(yield func(int, error) bool) {
										task := seq.Go(inner, func() { <-outer.Done(); freed = true })
										defer join(task)
										yield(1, nil)
									}
									return seq.Tap(own, func(int, error) { leave() })
								})
							}))
							t.Error("the loop returned")
						}
						seq.Go(t.Context(), func() { run(loop) }).Wait()
						if !freed {
							t.Error("not joined")
						}
					})
				})
			}
		}
	}
}

// TestTaskJoinInDeferredCall: a loop that is run by a panic or Goexit, in a deferred
// call, is not itself being unwound: it ends no Scope, and passes on what its task did.
func TestTaskJoinInDeferredCall(t *testing.T) {
	for leaving, leave := range left {
		t.Run(leaving, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var joinedTo any
				var items []int
				var err error
				cleanUp := func() {
					items, err = seq.Collect(seq.Scope(t.Context(), func(ctx context.Context) ints {
						return func(yield func(int, error) bool) {
							task := seq.Go(ctx, func() { time.Sleep(time.Second) })
							if !yield(1, nil) {
								return
							}
							task.Join()
							yield(2, nil)
						}
					}))
					joinedTo = panicOf(seq.Go(t.Context(), func() { panic("task") }).Join)
				}
				seq.Go(t.Context(), func() { defer cleanUp(); leave() }).Wait()
				if len(items) != 2 || err != nil {
					t.Errorf("got %v, %v, want two items", items, err)
				}
				if p, ok := joinedTo.(*seq.PanicError); !ok || p.Value != "task" {
					t.Errorf("Join: got %v, want the panic of the task", joinedTo)
				}
			})
		})
	}
}

// TestTaskJoinCoversNothingUp: what passes through a deferred Join goes on, however the
// task has ended.
func TestTaskJoinCoversNothingUp(t *testing.T) {
	for ending, fn := range map[string]func(){
		"return": func() {}, "panic": func() { panic("task") }, "Goexit": runtime.Goexit,
	} {
		got := panicOf(func() {
			defer seq.Go(t.Context(), fn).Join()
			panic("body")
		})
		if got != "body" {
			t.Errorf("task ends by %s: got %v, want the body's panic", ending, got)
		}
		var value any
		returned := false
		outer := seq.Go(t.Context(), func() {
			defer func() { value = recover() }()
			defer seq.Go(t.Context(), fn).Join()
			runtime.Goexit()
			returned = true
		})
		outer.Wait()
		if value != nil || returned {
			t.Errorf("task ends by %s during Goexit: got panic %v", ending, value)
		}
	}
}

// TestTaskFailureEndsScopes: a task has panicked while the loop's goroutine still waits
// for another one, which only the Scope's context frees.
func TestTaskFailureEndsScopes(t *testing.T) {
	for name, fn := range map[string]func(){"panic": func() { panic("task") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				loop := seq.Go(t.Context(), func() {
					seq.Drain(seq.Scope(t.Context(), func(ctx context.Context) ints {
						return func(yield func(int, error) bool) {
							blocked := seq.Go(ctx, func() { <-ctx.Done() })
							failing := seq.Go(ctx, fn)
							blocked.Join()
							failing.Join()
						}
					}))
					t.Error("the loop returned")
				})
				loop.Wait()
			})
		})
	}
}

// TestTaskScopesStay: a join that nothing passes through ends no Scope.
func TestTaskScopesStay(t *testing.T) {
	for joining, join := range joined {
		synctest.Test(t, func(t *testing.T) {
			items, err := seq.Collect(seq.Scope(t.Context(), func(ctx context.Context) ints {
				return func(yield func(int, error) bool) {
					func() {
						defer join(seq.Go(ctx, func() { time.Sleep(time.Second) }))
					}()
					yield(1, seq.ContextError(ctx))
				}
			}))
			if len(items) != 1 || err != nil {
				t.Errorf("%s: got %v, %v", joining, items, err)
			}
		})
	}
}

// A panickyContext is not one of package context's, and panics once the loop is over.
type panickyContext struct {
	context.Context
	done   chan struct{}
	broken atomic.Bool
}

func (c *panickyContext) Done() <-chan struct{} { return c.done }

func (c *panickyContext) Value(key any) any {
	if c.broken.Load() {
		panic("Value")
	}
	return c.Context.Value(key)
}

// TestTaskWithForeignContext: methods of a context that panic neither keep a join from
// waiting, nor a Scope from ending, nor come in place of the first panic.
func TestTaskWithForeignContext(t *testing.T) {
	for _, from := range []string{"body", "task"} {
		t.Run(from, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				foreign := &panickyContext{Context: t.Context(), done: make(chan struct{})}
				defer func() { // ends the goroutine by which package context watches it, and which asks it for a value
					foreign.broken.Store(false)
					close(foreign.done)
				}()
				joined := false
				got := panicOf(func() {
					seq.Drain(seq.Scope(t.Context(), func(outer context.Context) ints {
						foreign.Context = outer
						return seq.Scope(foreign, func(inner context.Context) ints {
							own := func(yield func(int, error) bool) {
								blocked := seq.Go(inner, func() { <-outer.Done(); joined = true })
								defer blocked.Join()
								if from == "task" {
									seq.Go(inner, func() { foreign.broken.Store(true); panic("task") }).Join()
								}
								yield(1, nil)
							}
							return seq.Tap(own, func(int, error) { foreign.broken.Store(true); panic("body") })
						})
					}))
				})
				if p, ok := got.(*seq.PanicError); ok {
					got = p.Value
				}
				// What ends the Scope last is the Scope's own deferred call, whose panic takes over.
				if !joined || got != from && got != "Value" {
					t.Errorf("joined %v, got panic %v", joined, got)
				}
			})
		})
	}
}

// TestPullerStopEndsScopes: a deferred Stop is a join, too.
func TestPullerStopEndsScopes(t *testing.T) {
	for leaving, leave := range left {
		t.Run(leaving, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				freed := false
				loop := seq.Go(t.Context(), func() {
					defer func() { _ = recover() }()
					seq.Drain(seq.Scope(t.Context(), func(ctx context.Context) ints {
						return func(yield func(int, error) bool) {
							source := seq.Pull(func(yield func(int, error) bool) {
								yield(1, nil)
								<-ctx.Done()
								freed = true
							}, 1)
							defer source.Stop()
							source.Next(ctx)
							leave()
						}
					}))
					t.Error("the loop returned")
				})
				loop.Wait()
				if !freed {
					t.Error("not joined")
				}
			})
		})
	}
}

// BenchmarkGo is the price of a task beside that of a goroutine and a channel.
func BenchmarkGo(b *testing.B) {
	b.Run("goroutine", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			done := make(chan struct{})
			go func() { close(done) }()
			<-done
		}
	})
	b.Run("task", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			seq.Go(b.Context(), func() {}).Join()
		}
	})
}
