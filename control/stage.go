package control

import (
	"context"
	"fmt"
	"iter"
	"time"

	"example.com/pipeline/seq"
)

// needStream panics where a stage is built on a nil stream.
func needStream[T any](stage string, in iter.Seq2[T, error]) {
	need(in != nil, stage, "the stream must not be nil")
}

// needContext panics where a stage is built with a nil context.
func needContext(stage string, ctx context.Context) {
	need(ctx != nil, stage, "ctx must not be nil")
}

// needPositive panics where a stage is built with a duration that is none.
func needPositive(stage, name string, d time.Duration) {
	need(d > 0, stage, fmt.Sprintf("%s must be positive, got %v", name, d))
}

// need panics where what the text says does not hold.
func need(holds bool, stage, what string) {
	if !holds {
		panic("control." + stage + ": " + what)
	}
}

// isFinal reports whether the stream ends with err.
func isFinal(err error) bool { return err != nil && !seq.IsItemError(err) }

// A body is the loop's body. It remembers whether it is running, which tells a
// stage that is being unwound whether the body itself panicked.
type body[T any] struct {
	yield   func(T, error) bool
	running bool
}

func (b *body[T]) run(v T, err error) bool {
	b.running = true
	goOn := b.yield(v, err)
	b.running = false
	return goOn
}

// fail runs the body with an error.
func (b *body[T]) fail(err error) bool {
	var none T
	return b.run(none, err)
}

// join waits for t and passes on how it ended, but nothing covers up a panic or
// Goexit of the body itself.
func (b *body[T]) join(t *seq.Task) {
	if b.running {
		t.Wait()
		return
	}
	t.Join()
}

// stop stops p and passes on how it ended, but nothing covers up a panic of the body
// itself.
func (b *body[T]) stop(p *seq.Puller[T]) {
	if b.running {
		// What is recovered is Stop's panic. The body's goes on after this has returned.
		defer func() { _ = recover() }()
	}
	p.Stop()
}
