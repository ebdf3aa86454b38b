// Package batch gathers what single items waste: rows into bulk inserts, keys into
// one query, results into groups of what belongs together. And it drops what has
// come before.
//
//   - [Size], [Window] and [Debounce] make slices of items, by number alone, by
//     number and age, or by number and silence; [Batches] by weight, too, and by what an
//     item says. [Uniq] drops repetitions within one.
//   - [Dedup] drops repetitions within a stream, as far back as its memory goes.
//   - [Loader] is for workers: each loads one key, and all share few requests and a
//     cache. [Lookup] is for a stream: it asks for the keys of many items at once.
//   - [Gather] waits for all items of one key in one stream, [Join] and [Join2] for
//     what several streams have for one key.
//
// The stages keep the contract of package [example.com/pipeline/seq]. All memory is
// bounded, and what a bound or a time limit pushes out of a join comes out as an
// error that holds it. Time is that of package time, so all of it can be tested in
// a [testing/synctest] bubble, a Loader if it is made in it.
package batch

import (
	"context"
	"fmt"
	"iter"
	"strings"
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

// name prints a key for an error message: enough to recognize it.
func name(key any) string {
	const most = 80
	if text, ok := key.(string); ok {
		return clip(text, most)
	}
	return clip(fmt.Sprint(key), most)
}

// clip cuts a text after so many bytes.
func clip(text string, most int) string {
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// plural prints a number of things.
func plural(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprint(n, " ", thing)
}
