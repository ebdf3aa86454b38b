package seq

import (
	"errors"
	"iter"
)

// Collect returns the items of in. It stops at the first error of either kind and
// returns it with the items that came before.
func Collect[T any](in iter.Seq2[T, error]) ([]T, error) {
	checkStream("Collect", in)
	var items []T
	for v, err := range in {
		if err != nil {
			return items, err
		}
		items = append(items, v)
	}
	return items, nil
}

// CollectAll returns the items of in and goes past item errors, which it returns
// joined by [errors.Join]. A final error is joined to them as the last. All errors
// are kept, so use a loop of your own where there may be millions.
func CollectAll[T any](in iter.Seq2[T, error]) ([]T, error) {
	checkStream("CollectAll", in)
	var items []T
	var errs []error
	for v, err := range in {
		if err == nil {
			items = append(items, v)
			continue
		}
		errs = append(errs, err)
		if !IsItemError(err) {
			break
		}
	}
	return items, errors.Join(errs...)
}

// ForEach calls fn with each item. It stops at the first error of in, which it
// returns untouched, or of fn, which it returns as an [*ItemError] of the item.
// fn goes on to the next item by returning nil or [ErrSkip].
func ForEach[T any](in iter.Seq2[T, error], fn func(T) error) error {
	checkStream("ForEach", in)
	checkFunc("ForEach", "fn", fn == nil)
	for v, err := range in {
		if err != nil {
			return err
		}
		if err := fn(v); err != nil && !errors.Is(err, ErrSkip) {
			return &ItemError{v, err}
		}
	}
	return nil
}

// Reduce returns what fn has made of all items: fn gets the result so far, at
// first init, and the item. It stops at the first error of in, which it returns
// untouched, or of fn, which it returns as an [*ItemError] of the item; the result
// beside it is that of the items before. Where fn returns [ErrSkip], the result
// stays as it was.
func Reduce[T, A any](in iter.Seq2[T, error], init A, fn func(A, T) (A, error)) (A, error) {
	checkStream("Reduce", in)
	checkFunc("Reduce", "fn", fn == nil)
	acc := init
	for v, err := range in {
		if err != nil {
			return acc, err
		}
		next, err := fn(acc, v)
		if err == nil {
			acc = next
		} else if !errors.Is(err, ErrSkip) {
			return acc, &ItemError{v, err}
		}
	}
	return acc, nil
}

// First returns the first item and true. It pulls that one and not one more.
// Where an error of either kind comes before, it returns that and false; where in
// is empty, false and no error.
func First[T any](in iter.Seq2[T, error]) (T, bool, error) {
	checkStream("First", in)
	var zero T
	for v, err := range in {
		if err != nil {
			return zero, false, err
		}
		return v, true, nil
	}
	return zero, false, nil
}

// Count returns the number of items. It stops at the first error of either kind
// and returns it with the number of items that came before.
func Count[T any](in iter.Seq2[T, error]) (int, error) {
	checkStream("Count", in)
	n := 0
	for _, err := range in {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// Drain runs the stream for what its stages do and drops the items. It stops at
// the first error of either kind and returns it.
func Drain[T any](in iter.Seq2[T, error]) error {
	checkStream("Drain", in)
	_, err := Count(in)
	return err
}
