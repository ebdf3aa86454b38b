package seq

import (
	"context"
	"fmt"
	"iter"
)

// A Stage transforms one stream into another. It is an alias: any function of
// this shape is one, and the stages of this library become one by closing over
// their arguments.
type Stage[T, U any] = func(iter.Seq2[T, error]) iter.Seq2[U, error]

// Pipe sends in through the stages from first to last.
//
// Ends, Owns, Reads ahead, Reuse: as its stages do; Pipe adds nothing.
func Pipe[T any](in iter.Seq2[T, error], stages ...Stage[T, T]) iter.Seq2[T, error] {
	checkStream("Pipe", in)
	for i, stage := range stages {
		if stage == nil {
			panic(fmt.Sprintf("seq.Pipe: stage %d must not be nil", i))
		}
		in = stage(in)
	}
	return in
}

// Then joins two stages of different types into one.
//
// Ends, Owns, Reads ahead, Reuse: as the two stages do; Then adds nothing.
func Then[A, B, C any](first Stage[A, B], second Stage[B, C]) Stage[A, C] {
	checkFunc("Then", "first", first == nil)
	checkFunc("Then", "second", second == nil)
	return func(in iter.Seq2[A, error]) iter.Seq2[C, error] { return second(first(in)) }
}

// checkStream panics where a stage is built on a nil stream.
func checkStream[T any](stage string, in iter.Seq2[T, error]) {
	if in == nil {
		panic("seq." + stage + ": the stream must not be nil")
	}
}

// checkStreams panics where a stage is built on several streams and one is nil.
func checkStreams[T any](stage string, ins []iter.Seq2[T, error]) {
	for i, in := range ins {
		if in == nil {
			panic(fmt.Sprintf("seq.%s: stream %d must not be nil", stage, i))
		}
	}
}

// checkContext panics where a stage is built with a nil context.
func checkContext(stage string, ctx context.Context) {
	if ctx == nil {
		panic("seq." + stage + ": ctx must not be nil")
	}
}

// checkFunc panics where a stage is built with a nil callback.
func checkFunc(stage, name string, isNil bool) {
	if isNil {
		panic("seq." + stage + ": " + name + " must not be nil")
	}
}

// checkAtLeast panics where a stage is built with a number below its minimum.
func checkAtLeast(stage, name string, n, least int) {
	if n < least {
		panic(fmt.Sprintf("seq.%s: %s must be at least %d, got %d", stage, name, least, n))
	}
}
