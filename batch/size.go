package batch

import (
	"errors"
	"iter"

	"example.com/pipeline/seq"
)

// Size hands over batches of n items; only the last one may be smaller. An item
// error passes at once, ahead of the items that are being collected, and does
// not cut their batch. At the end of in, at its final error and at an error that Is
// [seq.ErrStopped] the batch that is being collected comes first: behind an item that a
// graceful stop left undone, what is done could not be counted as such any more.
//
// Nothing bounds how long Size holds an item while in is idle; [Window] does.
//
// Each batch is a slice of its own, which belongs to the consumer; it is one
// allocation where n is up to 16 or a batch came before. Size panics if n is less than 1 or in is nil.
//
// Ends: with in, or at a final error of in.
// Owns: nothing; in runs in the goroutine of the loop.
// Reads ahead: nothing beyond the batch that is being collected.
// Reuse: as often as in.
func Size[T any](in iter.Seq2[T, error], n int) iter.Seq2[[]T, error] {
	checkStream("Size", in)
	checkAtLeast("Size", "n", n, 1)
	return func(yield func([]T, error) bool) {
		var batch []T
		last := 0
		for v, err := range in {
			if err != nil {
				final := !seq.IsItemError(err)
				if len(batch) > 0 && (final || errors.Is(err, seq.ErrStopped)) {
					full := batch
					batch, last = nil, len(full)
					if !yield(full, nil) {
						return
					}
				}
				if !yield(nil, err) || final {
					return
				}
				continue
			}
			if batch == nil {
				batch = make([]T, 0, capacity(n, last))
			}
			batch = append(batch, v)
			if len(batch) == n {
				full := batch
				batch, last = nil, n
				if !yield(full, nil) {
					return
				}
			}
		}
		if len(batch) > 0 {
			yield(batch, nil)
		}
	}
}
