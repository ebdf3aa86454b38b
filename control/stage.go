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
