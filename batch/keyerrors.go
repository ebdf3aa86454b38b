package batch

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// ErrNotFound says that fetch left a key out of its result. What [Loader] and
// [Lookup] return Is ErrNotFound and names the key.
var ErrNotFound = errors.New("batch: not found")

// A notFoundError is ErrNotFound for one key.
type notFoundError struct{ key any }

func (e *notFoundError) Error() string { return fmt.Sprintf("%v: key %s", ErrNotFound, name(e.key)) }
func (e *notFoundError) Unwrap() error { return ErrNotFound }

// KeyErrors says which keys failed, and why. As the error of a [Loader]'s or a
// [Lookup]'s fetch, alone or wrapped, it fails the keys that it names; the others are
// served from the map that fetch returns with it, and those that neither names are not
// found. A key whose error is nil has not failed. [Loader.LoadMany] returns one for the
// keys that could not be had.
//
// Where the error that fetch returns joins KeyErrors with other errors, keys that are
// neither named nor found fail with all of it: what else went wrong may be the reason.
type KeyErrors[K comparable] map[K]error

// keyErrorsShown is how many keys the text of KeyErrors names.
const keyErrorsShown = 5

// Error says how many keys failed, and names the first few of them with their errors, in
// the order of the keys where they are numbers or strings.
func (e KeyErrors[K]) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "batch: %s failed: ", plural(len(e), "key"))
	for i, f := range e.sorted() {
		if i == keyErrorsShown {
			fmt.Fprintf(&text, "; and %d more", len(e)-i)
			break
		}
		if i > 0 {
			text.WriteString("; ")
		}
		reason := "not found"
		if _, ours := f.err.(*notFoundError); !ours {
			reason = clip(fmt.Sprint(f.err), 200)
		}
		fmt.Fprintf(&text, "key %s: %s", name(f.key), reason)
	}
	return text.String()
}

// Unwrap returns the errors, in the order of the keys.
func (e KeyErrors[K]) Unwrap() []error {
	var errs []error
	for _, f := range e.sorted() {
		if f.err != nil {
			errs = append(errs, f.err)
		}
	}
	return errs
}

type keyError[K comparable] struct {
	key K
	err error
}

// sorted returns the entries in an order that is always the same: numbers and strings
// by their value, other keys by their text.
func (e KeyErrors[K]) sorted() []keyError[K] {
	list := make([]keyError[K], 0, len(e))
	for key, err := range e {
		list = append(list, keyError[K]{key, err})
	}
	slices.SortFunc(list, func(a, b keyError[K]) int {
		x, y := reflect.ValueOf(a.key), reflect.ValueOf(b.key)
		if x.IsValid() && y.IsValid() && x.Kind() == y.Kind() {
			switch {
			case x.CanInt():
				return cmp.Compare(x.Int(), y.Int())
			case x.CanUint():
				return cmp.Compare(x.Uint(), y.Uint())
			case x.CanFloat():
				return cmp.Compare(x.Float(), y.Float())
			case x.Kind() == reflect.String:
				return cmp.Compare(x.String(), y.String())
			}
		}
		return cmp.Compare(fmt.Sprint(a.key), fmt.Sprint(b.key))
	})
	return list
}

// splitKeyErrors takes an error of fetch apart: the keys that failed by themselves, and
// what the other keys that were not found fail with, nil where that is ErrNotFound. It
// is false where err is about all keys. It calls methods of err.
func splitKeyErrors[K comparable](err error) (failed KeyErrors[K], rest error, ok bool) {
	if !errors.As(err, &failed) {
		return nil, err, false
	}
	for e := err; ; {
		if _, alone := e.(KeyErrors[K]); alone {
			return failed, nil, true
		}
		u, single := e.(interface{ Unwrap() error })
		if !single {
			return failed, err, true
		}
		e = u.Unwrap()
	}
}
