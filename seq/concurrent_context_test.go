package seq_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// When ctx ends the consumer is told at once, with the cause, although the source and
// the callbacks are blocked; they are waited for afterwards.
func TestEndOfContextIsToldAtOnce(t *testing.T) {
	cause := &seq.ItemError{Item: 1, Err: errBad}
	for _, s := range concurrentStages {
		for _, blocked := range []string{"source", "callback"} {
			if blocked == "callback" && !s.callback {
				continue
			}
			t.Run(s.name+"/"+blocked, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithCancelCause(t.Context())
					time.AfterFunc(time.Second, func() { cancel(cause) })
					release := make(chan struct{})
					time.AfterFunc(time.Minute, func() { close(release) })
					in, fn := upTo(3, nil), same
					if blocked == "source" {
						in = seq.Concat(in, func(func(int, error) bool) { <-release })
					} else {
						fn = func(_ context.Context, v int) (int, error) { <-release; return v, errBad }
					}
					start := time.Now()
					var told []error
					for v, err := range s.stage(ctx, in, fn) {
						if err == nil {
							if blocked == "callback" {
								t.Errorf("got item %d", v)
							}
							continue
						}
						told = append(told, err)
						if d := time.Since(start); d != time.Second {
							t.Errorf("told after %v: %v", d, err)
						}
					}
					if len(told) != 1 {
						t.Fatalf("got errors %v, want one", told)
					}
					var item *seq.ItemError
					if err := told[0]; !errors.Is(err, context.Canceled) || !errors.Is(err, errBad) || !errors.Is(err, cause) || errors.As(err, &item) {
						t.Errorf("the error is %v", err)
					}
					if d := time.Since(start); d != time.Minute {
						t.Errorf("the loop ended after %v, before all had", d)
					}
				})
			})
		}
	}
}

// Nothing is started behind a ctx that has ended.
func TestContextEndedBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, s := range concurrentStages {
		source := func(func(int, error) bool) { t.Errorf("%s: the source was started", s.name) }
		wantPairs(t, s.stage(ctx, source, same), "final error: context canceled")
	}
}

// A lookCtx calls look when it is asked whether it has ended, before it tells what was
// so until then.
type lookCtx struct {
	context.Context
	look func()
}

func (c lookCtx) Err() error {
	err := c.Context.Err()
	c.look()
	return err
}

// A callback that is interrupted just after the consumer has looked at ctx does not get
// its error in before that of ctx.
func TestErrorsOfInterruptedCallbacksAreDropped(t *testing.T) {
	lanes := concurrentStages[0]
	lanes.name = "Fork with callbacks in its lanes"
	lanes.stage = func(ctx context.Context, in ints, fn func(context.Context, int) (int, error)) ints {
		return seq.Fork(ctx, in, 2, func(int) seq.Stage[int, int] {
			return func(in ints) ints { return seq.Map(in, func(v int) (int, error) { return fn(ctx, v) }) }
		})
	}
	for _, s := range append(slices.Clone(concurrentStages), lanes) {
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var waiting atomic.Int32 // callbacks
				loop := self()
				looking := lookCtx{ctx, func() {
					if self() == loop && waiting.Load() > 0 {
						cancel()
						time.Sleep(time.Second) // until the callback's error is there
					}
				}}
				wait := func(ctx context.Context, v int) (int, error) {
					waiting.Add(1)
					<-ctx.Done()
					return v, ctx.Err()
				}
				in := upTo(1, nil)
				if !s.callback { // then the source's is the callback
					in = seq.Map(in, func(v int) (int, error) { return wait(ctx, v) })
				}
				// As ctx ends at the consumer's look, this source goes on until then.
				in = seq.Concat(in, func(func(int, error) bool) { <-ctx.Done() })
				time.AfterFunc(time.Minute, cancel)
				wantPairs(t, s.stage(looking, in, wait), "final error: context canceled")
			})
		})
	}
}

// self returns the first words of the caller's stack, which name the goroutine.
func self() string {
	buf := make([]byte, 40)
	name, _, _ := bytes.Cut(buf[:runtime.Stack(buf, false)], []byte(" ["))
	return string(name)
}

// A foreignCtx owes nothing to package context, not even its error.
type foreignCtx struct {
	done chan struct{}
	err  atomic.Pointer[error]
}

func (c *foreignCtx) Deadline() (time.Time, bool) { return time.Time{}, false }

func (c *foreignCtx) Done() <-chan struct{} { return c.done }

func (c *foreignCtx) Value(any) any { return nil }

func (c *foreignCtx) Err() error {
	if err := c.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (c *foreignCtx) end(err error) {
	c.err.Store(&err)
	close(c.done)
}

func TestForeignContext(t *testing.T) {
	for name, end := range map[string]error{
		"plain":          errBad,
		"item error":     &seq.ItemError{Item: 1, Err: errBad},
		"not comparable": uncomparable{[]int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told := func(stage string, stream ints, end error) {
					var last error
					for _, err := range stream {
						if last != nil {
							t.Errorf("%s: %v comes after %v", stage, err, last)
						}
						last = err
					}
					var item *seq.ItemError
					if last == nil || seq.IsItemError(last) || errors.As(last, &item) || last.Error() != end.Error() {
						t.Errorf("%s: ended with %v", stage, last)
					}
				}
				for _, s := range concurrentStages {
					ctx := &foreignCtx{done: make(chan struct{})}
					time.AfterFunc(time.Second, func() { ctx.end(end) })
					told(s.name, s.stage(ctx, silent(ctx, 3), same), end)
				}
				ctx := &foreignCtx{done: make(chan struct{})}
				time.AfterFunc(time.Second, func() { ctx.end(end) })
				told("Scope", seq.Scope(ctx, func(ctx context.Context) ints {
					return seq.Buffer(ctx, silent(ctx, 3), 1)
				}), end)
			})
		})
	}
}

// A ctx whose methods panic ends the loop by that panic, once, and everything with it.
func TestContextThatPanics(t *testing.T) {
	for _, s := range concurrentStages {
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, when := range []int32{1, 2, 5, 20} {
					var asked atomic.Int32
					ctx := lookCtx{t.Context(), func() {
						if asked.Add(1) == when {
							panic("ctx")
						}
					}}
					end := endOf(func() { seq.Drain(s.stage(ctx, upTo(100, nil), same)) })
					if end.panic != "ctx" && asked.Load() >= when {
						t.Errorf("at call %d it ended with %v", when, end)
					}
				}
			})
		})
	}
}

// A valueCtx is a foreign context whose Value panics from some moment on.
type valueCtx struct {
	context.Context
	broken *atomic.Bool
}

func (c valueCtx) Value(key any) any {
	if c.broken.Load() {
		panic("ctx.Value")
	}
	return c.Context.Value(key)
}

// A worker's panic comes out although the context cannot be cancelled without one.
func TestPanicBehindAContextThatPanics(t *testing.T) {
	for _, s := range concurrentStages {
		if !s.callback {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := valueCtx{t.Context(), new(atomic.Bool)}
				end := endOf(func() {
					seq.Drain(s.stage(ctx, upTo(100, nil), func(ctx context.Context, v int) (int, error) {
						if v == 1 {
							panic("callback")
						}
						return v, nil
					}))
				})
				if end.panic != "callback" {
					t.Errorf("ended with %v", end)
				}
				end = endOf(func() {
					for range s.stage(ctx, upTo(100, nil), same) {
						ctx.broken.Store(true)
					}
				})
				if end.goexit || end.panic != nil && end.panic != "ctx.Value" {
					t.Errorf("ended with %v", end)
				}
			})
		})
	}
}
