package seq

import (
	"errors"
	"iter"
)

// The stages of this file call their source with a closure rather than range
// over it. A range loop panics at a source that goes on after its yield returned
// false; these stages end by themselves, so that one bad source does not make the
// stages behind it break the contract. The price is the same: one flag.

// Map yields fn of each item. An error of fn becomes an [*ItemError] of the item,
// [ErrSkip] drops it.
//
// Ends: with in, or at a final error of in.
// Owns: nothing.
// Reads ahead: nothing.
// Reuse: as often as in.
func Map[T, U any](in iter.Seq2[T, error], fn func(T) (U, error)) iter.Seq2[U, error] {
	checkStream("Map", in)
	checkFunc("Map", "fn", fn == nil)
	return func(yield func(U, error) bool) {
		ended := false
		in(func(v T, err error) bool {
			if ended {
				return false
			}
			if err != nil {
				ended = !pass(yield, err)
				return !ended
			}
			u, err := fn(v)
			if err != nil {
				ended = !fail(yield, v, err)
			} else {
				ended = !yield(u, nil)
			}
			return !ended
		})
	}
}

// Filter yields the items that keep returns true for.
//
// Ends: with in, or at a final error of in.
// Owns: nothing.
// Reads ahead: nothing.
// Reuse: as often as in.
func Filter[T any](in iter.Seq2[T, error], keep func(T) bool) iter.Seq2[T, error] {
	checkStream("Filter", in)
	checkFunc("Filter", "keep", keep == nil)
	return func(yield func(T, error) bool) {
		ended := false
		in(func(v T, err error) bool {
			if ended {
				return false
			}
			if err != nil {
				ended = !pass(yield, err)
			} else if keep(v) {
				ended = !yield(v, nil)
			}
			return !ended
		})
	}
}

// FlatMap yields the items of the stream that fn makes of each item, one stream
// after the other. fn must not return nil. Item errors of a sub-stream pass, a
// final one ends the whole stream.
//
// Ends: with in, or at a final error of in or of a sub-stream.
// Owns: nothing.
// Reads ahead: nothing; a sub-stream is used up before the next item is pulled.
// Reuse: as often as in and the sub-streams.
func FlatMap[T, U any](in iter.Seq2[T, error], fn func(T) iter.Seq2[U, error]) iter.Seq2[U, error] {
	checkStream("FlatMap", in)
	checkFunc("FlatMap", "fn", fn == nil)
	return func(yield func(U, error) bool) {
		ended := false
		each := func(u U, err error) bool {
			if ended {
				return false
			}
			if err != nil {
				ended = !pass(yield, err)
			} else {
				ended = !yield(u, nil)
			}
			return !ended
		}
		in(func(v T, err error) bool {
			if ended {
				return false
			}
			if err != nil {
				ended = !pass(yield, err)
				return !ended
			}
			sub := fn(v)
			if sub == nil {
				panic("seq.FlatMap: fn must not return a nil stream")
			}
			sub(each)
			return !ended
		})
	}
}

// Flatten yields the items of each slice, one slice after the other.
//
// Ends: with in, or at a final error of in.
// Owns: nothing.
// Reads ahead: nothing; a slice is used up before the next one is pulled.
// Reuse: as often as in.
func Flatten[T any](in iter.Seq2[[]T, error]) iter.Seq2[T, error] {
	checkStream("Flatten", in)
	return func(yield func(T, error) bool) {
		ended := false
		in(func(items []T, err error) bool {
			if ended {
				return false
			}
			if err != nil {
				ended = !pass(yield, err)
				return !ended
			}
			for _, v := range items {
				if !yield(v, nil) {
					ended = true
					return false
				}
			}
			return true
		})
	}
}

// Take yields the first n items. It pulls these n and not one more: where n is
// 0, the source is not even started. Errors before the n-th item pass and do not
// count.
//
// Ends: after n items, with in, or at a final error of in.
// Owns: nothing.
// Reads ahead: nothing.
// Reuse: as often as in.
func Take[T any](in iter.Seq2[T, error], n int) iter.Seq2[T, error] {
	checkStream("Take", in)
	checkAtLeast("Take", "n", n, 0)
	return func(yield func(T, error) bool) {
		if n == 0 {
			return
		}
		left, ended := n, false
		in(func(v T, err error) bool {
			if ended {
				return false
			}
			if err != nil {
				ended = !pass(yield, err)
				return !ended
			}
			left--
			ended = left == 0 // before yield: a source that goes on finds it shut
			if !yield(v, nil) {
				ended = true
			}
			return !ended
		})
	}
}

// Skip drops the first n items and yields the rest. Errors pass, also those among
// the first n items, and do not count.
//
// Ends: with in, or at a final error of in.
// Owns: nothing.
// Reads ahead: nothing.
// Reuse: as often as in.
func Skip[T any](in iter.Seq2[T, error], n int) iter.Seq2[T, error] {
	checkStream("Skip", in)
	checkAtLeast("Skip", "n", n, 0)
	return func(yield func(T, error) bool) {
		left, ended := n, false
		in(func(v T, err error) bool {
			if ended {
				return false
			}
			if err != nil {
				ended = !pass(yield, err)
			} else if left > 0 {
				left--
			} else {
				ended = !yield(v, nil)
			}
			return !ended
		})
	}
}

// TakeWhile yields items until keep returns false for one; that one is pulled and
// dropped. Errors before it pass.
//
// Ends: at the first item not to keep, with in, or at a final error of in.
// Owns: nothing.
// Reads ahead: nothing.
// Reuse: as often as in.
func TakeWhile[T any](in iter.Seq2[T, error], keep func(T) bool) iter.Seq2[T, error] {
	checkStream("TakeWhile", in)
	checkFunc("TakeWhile", "keep", keep == nil)
	return func(yield func(T, error) bool) {
		ended := false
		in(func(v T, err error) bool {
			if ended {
				return false
			}
			if err != nil {
				ended = !pass(yield, err)
			} else {
				ended = !keep(v) || !yield(v, nil)
			}
			return !ended
		})
	}
}

// SkipWhile drops items until skip returns false for one, and yields that one and the
// rest; skip is not asked again. Errors pass, also those among the dropped items.
//
// Ends: with in, or at a final error of in.
// Owns: nothing.
// Reads ahead: nothing.
// Reuse: as often as in.
func SkipWhile[T any](in iter.Seq2[T, error], skip func(T) bool) iter.Seq2[T, error] {
	checkStream("SkipWhile", in)
	checkFunc("SkipWhile", "skip", skip == nil)
	return func(yield func(T, error) bool) {
		skipping, ended := true, false
		in(func(v T, err error) bool {
			if ended {
				return false
			}
			if err != nil {
				ended = !pass(yield, err)
				return !ended
			}
			if skipping = skipping && skip(v); !skipping {
				ended = !yield(v, nil)
			}
			return !ended
		})
	}
}

// Scan yields after each item what fn has made of all items so far: fn gets the
// result before, at first init, and the item. init itself is not yielded.
//
// Each loop begins with init. Where A is a map or another reference, fn must not
// change what init refers to if the stream is to be ranged twice.
//
// Ends: with in, or at a final error of in.
// Owns: nothing.
// Reads ahead: nothing.
// Reuse: as often as in.
func Scan[T, A any](in iter.Seq2[T, error], init A, fn func(A, T) A) iter.Seq2[A, error] {
	checkStream("Scan", in)
	checkFunc("Scan", "fn", fn == nil)
	return func(yield func(A, error) bool) {
		acc, ended := init, false
		in(func(v T, err error) bool {
			if ended {
				return false
			}
			if err != nil {
				ended = !pass(yield, err)
			} else {
				acc = fn(acc, v)
				ended = !yield(acc, nil)
			}
			return !ended
		})
	}
}

// Tap shows each pair to see before the consumer gets it: for logs and counters.
// The item beside an error is zero.
//
// Ends: with in, or at a final error of in.
// Owns: nothing.
// Reads ahead: nothing.
// Reuse: as often as in.
func Tap[T any](in iter.Seq2[T, error], see func(T, error)) iter.Seq2[T, error] {
	checkStream("Tap", in)
	checkFunc("Tap", "see", see == nil)
	return func(yield func(T, error) bool) {
		ended := false
		in(func(v T, err error) bool {
			if ended {
				return false
			}
			if err != nil {
				var zero T
				see(zero, err)
				ended = !pass(yield, err)
			} else {
				see(v, nil)
				ended = !yield(v, nil)
			}
			return !ended
		})
	}
}

// Catch asks handle what to do about each error, and yields items untouched. What
// handle returns takes the place of the error:
//
//   - an item and nil: the item;
//   - [ErrSkip]: nothing;
//   - another error: that error. It is of the same kind as the one before. For an
//     item error it is an [*ItemError] of the same item, so a retry that fails
//     once more can be caught and routed again; wrapping is only done where needed.
//     For a final error it is final.
//
// The stream goes on after an item error. After a final one it ends, whatever
// handle returned: an item is its last, and with ErrSkip it ends as if all were
// well, so be sure which error that is.
//
// handle is not asked about an item error that Is [ErrStopped], which passes as it is: such
// an item has not failed, and a value in its place would be taken for its result.
//
// Ends: with in, or after a final error of in was handled.
// Owns: nothing.
// Reads ahead: nothing.
// Reuse: as often as in.
func Catch[T any](in iter.Seq2[T, error], handle func(error) (T, error)) iter.Seq2[T, error] {
	checkStream("Catch", in)
	checkFunc("Catch", "handle", handle == nil)
	return func(yield func(T, error) bool) {
		ended := false
		in(func(v T, err error) bool {
			if ended {
				return false
			}
			if err == nil {
				ended = !yield(v, nil)
				return !ended
			}
			failed := innerItemError(err)
			if failed != nil && errors.Is(err, ErrStopped) {
				ended = !yield(v, err)
				return !ended
			}
			ended = failed == nil
			v, err = handle(err)
			switch {
			case err == nil:
				ended = !yield(v, nil) || ended
			case errors.Is(err, ErrSkip):
			case failed == nil:
				pass(yield, asFinal(err))
			default:
				ended = !pass(yield, ofSameItem(failed, err))
			}
			return !ended
		})
	}
}
