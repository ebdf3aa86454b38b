package seq_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// twoCauses is an error of another package that joins two.
type twoCauses struct{ a, b error }

func (e twoCauses) Error() string   { return "both" }
func (e twoCauses) Unwrap() []error { return []error{e.a, e.b} }

func TestIsItemError(t *testing.T) {
	item := &seq.ItemError{Item: 1, Err: errCallback}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errCallback, false},
		{item, true},
		{fmt.Errorf("a: %w", fmt.Errorf("b: %w", item)), true},
		{&seq.ItemError{Item: 1}, true},
		{errors.Join(item), false},
		{errors.Join(item, item), false},
		{fmt.Errorf("a: %w", errors.Join(item)), false},
		{fmt.Errorf("%w and %w", item, errCallback), false},
		{twoCauses{item, item}, false},
		{&seq.ItemError{Item: 1, Err: errors.Join(item, errCallback)}, true},
		{&seq.PanicError{Value: "no error"}, false},
		{(*seq.ItemError)(nil), false},
	} {
		if got := seq.IsItemError(c.err); got != c.want {
			t.Errorf("%#v: got %v", c.err, got)
		}
	}
}

func TestFailedItem(t *testing.T) {
	inner := &seq.ItemError{Item: "origin", Err: errCallback}
	middle := &seq.ItemError{Item: 2, Err: fmt.Errorf("parsing: %w", inner)}
	outer := fmt.Errorf("saving: %w", &seq.ItemError{Item: "result", Err: middle})
	if s, ok := seq.FailedItem[string](outer); s != "origin" || !ok {
		t.Errorf("string: got %q, %v", s, ok)
	}
	if n, ok := seq.FailedItem[int](outer); n != 2 || !ok {
		t.Errorf("int: got %v, %v", n, ok)
	}
	if f, ok := seq.FailedItem[float64](outer); f != 0 || ok {
		t.Errorf("float64: got %v, %v", f, ok)
	}
	if v, ok := seq.FailedItem[any](outer); v != "origin" || !ok {
		t.Errorf("any: got %v, %v", v, ok)
	}
	if s, ok := seq.FailedItem[string](errors.Join(inner)); s != "" || ok {
		t.Errorf("joined: got %q, %v", s, ok)
	}
	if s, ok := seq.FailedItem[string](nil); s != "" || ok {
		t.Errorf("nil: got %q, %v", s, ok)
	}
}

func TestItemErrorUnwraps(t *testing.T) {
	err := fmt.Errorf("a: %w", &seq.ItemError{Item: 1, Err: fmt.Errorf("b: %w", errCallback)})
	var item *seq.ItemError
	if !errors.Is(err, errCallback) || !errors.As(err, &item) || item.Item != 1 {
		t.Errorf("got %v, %v", err, item)
	}
}

// A foreignContext is not one of package context's.
type foreignContext struct {
	context.Context
	err error
}

func (c foreignContext) Err() error { return c.err }

// notComparable is an error that == panics at.
type notComparable []error

func (e notComparable) Error() string { return "not comparable" }

func TestContextError(t *testing.T) {
	ended := func(cause error) context.Context {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(cause)
		return ctx
	}
	expired := func(cause error) context.Context {
		ctx, cancel := context.WithDeadlineCause(context.Background(), time.Now().Add(-1), cause)
		t.Cleanup(cancel)
		return ctx
	}
	item := &seq.ItemError{Item: 1, Err: errCallback}
	background := context.Background()
	for _, c := range []struct {
		ctx  context.Context
		text string
	}{
		{ended(nil), "context canceled"},
		{ended(errCause), "context canceled: shutting down"},
		{ended(item), "context canceled: item 1: callback failed"},
		{ended(fmt.Errorf("wrapped: %w", item)), "context canceled: wrapped: item 1: callback failed"},
		{ended(errors.Join(item)), "context canceled: item 1: callback failed"},
		{ended(notComparable{}), "context canceled: not comparable"},
		{expired(nil), "context deadline exceeded"},
		{expired(errCause), "context deadline exceeded: shutting down"},
		{foreignContext{background, errFinal}, "final"},
		{foreignContext{background, item}, "item 1: callback failed"},
		{foreignContext{background, errors.Join(item)}, "item 1: callback failed"},
		{foreignContext{background, notComparable{}}, "not comparable"},
		{foreignContext{ended(errCause), errFinal}, "final: shutting down"},
	} {
		err := seq.ContextError(c.ctx)
		if err == nil || err.Error() != c.text {
			t.Errorf("got %v, want %v", err, c.text)
			continue
		}
		for _, err := range []error{err, fmt.Errorf("wrapped: %w", err)} {
			_, plain := c.ctx.Err().(notComparable)
			_, plainCause := context.Cause(c.ctx).(notComparable)
			if !plain && !errors.Is(err, c.ctx.Err()) || !plainCause && !errors.Is(err, context.Cause(c.ctx)) {
				t.Errorf("%v Is not %v or %v", err, c.ctx.Err(), context.Cause(c.ctx))
			}
			var asItem *seq.ItemError
			if seq.IsItemError(err) || errors.As(err, &asItem) {
				t.Errorf("%v passes for an item error", err)
			}
		}
	}
	if err := seq.ContextError(background); err != nil {
		t.Errorf("got %v while ctx has not ended", err)
	}
	var timeout interface{ Timeout() bool }
	if err := seq.ContextError(expired(errCause)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v is no timeout", err)
	}
	var cause notComparable
	if err := seq.ContextError(ended(notComparable{errFinal})); !errors.As(err, &cause) || cause[0] != errFinal {
		t.Errorf("the cause cannot be had from %v", err)
	}
}

// A brokenError panics in every method.
type brokenError struct{}

func (brokenError) Error() string { panic("no text") }
func (brokenError) Is(error) bool { panic("no Is") }
func (brokenError) As(any) bool   { panic("no As") }
func (brokenError) Unwrap() error { panic("no Unwrap") }

// TestTextsOfBrokenErrors: the text of an error can be had whatever its cause does.
func TestTextsOfBrokenErrors(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(brokenError{})
	for _, err := range []error{
		&seq.ItemError{Item: 1, Err: brokenError{}},
		&seq.ItemError{Item: brokenError{}, Err: errCallback},
		&seq.PanicError{Value: brokenError{}},
		seq.ContextError(ctx),
	} {
		if text := err.Error(); !strings.Contains(text, "PANIC=Error method: no text") {
			t.Errorf("%T: %q", err, text)
		}
	}
}

// TestBrokenErrorsHangNothing: an error whose methods panic does so in the loop's
// goroutine, whether it comes from the source or a callback, and whatever the stage has
// started has ended then, also inside a Scope.
func TestBrokenErrorsHangNothing(t *testing.T) {
	type build = func(ctx context.Context, in ints, fn func(int) error) ints
	stages := map[string]build{
		"FromFunc": func(ctx context.Context, _ ints, fn func(int) error) ints {
			return seq.FromFunc(ctx, func(context.Context) (int, error) { return 0, brokenError{} })
		},
		"MapConcurrent": func(ctx context.Context, in ints, fn func(int) error) ints {
			return seq.MapConcurrent(ctx, in, 2, func(_ context.Context, x int) (int, error) { return x, fn(x) })
		},
		"MapUnordered": func(ctx context.Context, in ints, fn func(int) error) ints {
			return seq.MapUnordered(ctx, in, 2, func(_ context.Context, x int) (int, error) { return x, fn(x) })
		},
		"FlatMapConcurrent": func(ctx context.Context, in ints, fn func(int) error) ints {
			return seq.FlatMapConcurrent(ctx, in, 2, func(_ context.Context, x int) ints {
				return seq.Map(seq.Of(x), func(x int) (int, error) { return x, fn(x) })
			})
		},
		"Buffer": func(ctx context.Context, in ints, _ func(int) error) ints { return seq.Buffer(ctx, in, 2) },
		"Merge": func(ctx context.Context, in ints, _ func(int) error) ints {
			return seq.Merge(ctx, in, func(yield func(int, error) bool) { <-ctx.Done() })
		},
		"Fork": func(ctx context.Context, in ints, fn func(int) error) ints {
			return seq.Fork(ctx, in, 2, func(int) seq.Stage[int, int] {
				return func(in ints) ints { return seq.Map(in, func(x int) (int, error) { return x, fn(x) }) }
			})
		},
		"Branch": func(ctx context.Context, in ints, fn func(int) error) ints {
			lane := func(in ints) ints { return seq.Map(in, func(x int) (int, error) { return x, fn(x) }) }
			return seq.Branch(ctx, in, func(x int, _ error) int { return x % 2 }, lane, lane)
		},
		"Broadcast": func(ctx context.Context, in ints, fn func(int) error) ints {
			lane := func(in ints) ints { return seq.Map(in, func(x int) (int, error) { return x, fn(x) }) }
			return seq.Broadcast(ctx, in, lane, lane)
		},
		"Pull": func(ctx context.Context, in ints, _ func(int) error) ints {
			return func(yield func(int, error) bool) {
				p := seq.Pull(in, 2)
				defer p.Stop()
				for {
					v, err, ok := p.Next(ctx)
					if !ok || !yield(v, err) {
						return
					}
				}
			}
		},
	}
	for _, s := range syncStages {
		stages[s.name] = func(_ context.Context, in ints, fn func(int) error) ints {
			return s.stage(seq.Map(in, func(x int) (int, error) { return x, fn(x) }))
		}
	}
	for name, stage := range stages {
		for _, from := range []string{"source", "callback"} {
			if from == "callback" && (name == "Pull" || name == "Buffer" || name == "Merge" || name == "FromFunc") {
				continue // they have none
			}
			t.Run(name+"/"+from, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					got := panicOf(func() {
						for _, err := range seq.Scope(t.Context(), func(ctx context.Context) ints {
							in := func(yield func(int, error) bool) {
								for i := 1; i < 4; i++ {
									if !yield(i, nil) {
										return
									}
								}
								if from == "source" && !yield(0, brokenError{}) {
									return
								}
								<-ctx.Done()
							}
							fn := func(x int) error {
								if x == 2 && from == "callback" {
									return brokenError{}
								}
								return nil
							}
							return stage(ctx, in, fn)
						}) {
							if err != nil {
								return // Pull and Buffer hand the error over as it is
							}
						}
					})
					if p, ok := got.(*seq.PanicError); ok {
						got = p.Value
					}
					if got != nil && got != "no Unwrap" && got != "no Is" {
						t.Errorf("got panic %v", got)
					}
				})
			})
		}
	}
}
