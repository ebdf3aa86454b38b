package control

import (
	"iter"
	"time"
)

// Throttle passes the first item of each period on and drops the others. A period
// of length every begins with the item that is passed on, so two such items are at
// least every apart. With every = 3 s (the numbers are items, x is dropped):
//
//	seconds   0  1  2  3  4  5  6  7  8  9
//	in        1  2     3     4        5  6
//	out       1  x     3     x        5  x
//
// It loses items on purpose: see [RateLimit] for the stage that does not, and
// [Sample] for the latest item of each period instead of the first. Errors are no
// items: they pass at once and begin no period.
//
// Ends: with in, or at a final error of in.
// Owns: no goroutine; it runs in the consumer's.
// Reads ahead: nothing; it pulls until there is an item to pass on.
// Reuse: as often as in.
func Throttle[T any](in iter.Seq2[T, error], every time.Duration) iter.Seq2[T, error] {
	needStream("Throttle", in)
	needPositive("Throttle", "every", every)
	return func(yield func(T, error) bool) {
		var begin time.Time // of the period; zero before the first one
		for v, err := range in {
			if err == nil {
				if !begin.IsZero() && time.Since(begin) < every {
					continue
				}
				begin = time.Now()
			}
			if !yield(v, err) || isFinal(err) {
				return
			}
		}
	}
}
