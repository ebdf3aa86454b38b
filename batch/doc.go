// Package batch gathers the items of a stream: into batches by number and time,
// into requests for many keys at once, into groups of what belongs together. It
// also drops what came before.
//
// Its stages keep the contract of package [example.com/pipeline/seq].
package batch

import (
	"context"
	"fmt"
	"iter"
	"time"
)

func checkContext(stage string, ctx context.Context) {
	if ctx == nil {
		panic("batch." + stage + ": ctx must not be nil")
	}
}

func checkStream[T any](stage string, in iter.Seq2[T, error]) {
	if in == nil {
		panic("batch." + stage + ": the stream must not be nil")
	}
}

func checkFunc(stage, name string, isNil bool) {
	if isNil {
		panic("batch." + stage + ": " + name + " must not be nil")
	}
}

func checkAtLeast(stage, name string, n, least int) {
	if n < least {
		panic(fmt.Sprintf("batch.%s: %s must be at least %d, got %d", stage, name, least, n))
	}
}

// checkPositive panics where a duration that a stage needs is missing.
func checkPositive(stage, name string, d time.Duration) {
	if d <= 0 {
		panic(fmt.Sprintf("batch.%s: %s must be positive, got %v", stage, name, d))
	}
}

// checkNotNegative panics where a duration is negative that may be zero.
func checkNotNegative(stage, name string, d time.Duration) {
	if d < 0 {
		panic(fmt.Sprintf("batch.%s: %s must not be negative, got %v", stage, name, d))
	}
}
