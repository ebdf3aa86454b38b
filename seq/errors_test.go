package seq_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
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
