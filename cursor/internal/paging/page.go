package paging

import (
	"context"
	"errors"
	"fmt"

	"example.com/pipeline/seq"
)

// The errors of positions, which package cursor passes on under its own name.
var (
	ErrDuplicateKey = errors.New("cursor: two rows have the same position")
	ErrStalled      = errors.New("cursor: the page does not move on")
)

// A Page is what was fetched in one go: all of a page, or, where it is open, what of
// it there is already.
type Page[T, P any] struct {
	Items []T
	Last  *P         // position to read on after; nil means that the page did not move it
	More  bool       // whether there may be another page
	Done  bool       // no more is to come, even if the source is followed
	Err   error      // final, to be yielded after the items
	Rest  Rest[T, P] // what is still to be read; nil where the page is whole
	Stats Stats      // filled by the pager: of what there is already
}

// close closes what is open of the page.
func (pg *Page[T, P]) close() {
	if pg.Rest != nil {
		pg.Rest.Close()
	}
}

// A Rest is the rest of an open page: its items are handed over while its statement is
// open.
type Rest[T, P any] interface {
	// Begin is called in the loop's goroutine before the first item is handed over.
	Begin(ctx context.Context)

	// Next returns the next items, which are valid until the call after it, or none
	// where the page has ended. After an error the page has ended, too, and another one
	// may be fetched behind Last.
	Next(ctx context.Context) (items []T, err error)

	// Last returns the position of the last item that was returned.
	Last() *P

	// End says how the page has ended, once Next has returned no items or an error, and it
	// was closed. s counts the time since the fetch. taken is whether the loop held it for
	// too long, so that its rest was read beside the loop's body.
	End() (s Stats, more, taken bool, err error)

	// Close ends the page, whatever has come of it, and waits for all that it started.
	Close()
}

// Place finds out where a page ends that was read whole, and cuts it short where its
// positions allow no safe way on. The page may have items past its limit: they are
// looked at, and left to the next page.
func (pg *Page[T, P]) Place(after *P, limit int, position func(*T) P, equal func(a, b P) bool) {
	if len(pg.Items) == 0 {
		return
	}
	n := min(len(pg.Items), limit)
	last := position(&pg.Items[n-1])
	if after != nil && equal(*after, last) {
		pg.Fail(0, ErrorStalled(last))
		return
	}
	if i := Duplicate(after, pg.Items, position, equal); i >= 0 {
		// Of two rows with one position neither may be handed over: the consumer
		// would store the position of the first and never see the second.
		pos := position(&pg.Items[i])
		pg.Fail(max(i-1, 0), ErrorDuplicate(pos))
		return
	}
	pg.Items, pg.Last = pg.Items[:n], &last
}

// Fail cuts the page to its first n items and ends the stream after them.
func (pg *Page[T, P]) Fail(n int, err error) {
	pg.Items, pg.Err, pg.More = pg.Items[:n], err, false
}

// Duplicate returns the index of the first item with the position of the one before
// it, -1 if there is none. Before the first item stands the position after.
func Duplicate[T, P any](after *P, items []T, position func(*T) P, equal func(a, b P) bool) int {
	prev := position(&items[0])
	if after != nil && equal(*after, prev) {
		return 0
	}
	for i := 1; i < len(items); i++ {
		pos := position(&items[i])
		if equal(prev, pos) {
			return i
		}
		prev = pos
	}
	return -1
}

// ErrorDuplicate is the error of two rows with the position pos.
func ErrorDuplicate(pos any) error {
	return fmt.Errorf("%w: %s; the key must be unique", ErrDuplicateKey, Clip(pos))
}

// ErrorStalled is the error of a page that was to begin behind pos and ends there.
func ErrorStalled(pos any) error {
	return fmt.Errorf("%w: it was to begin behind %s and ends there", ErrStalled, Clip(pos))
}

// Clip prints a position for an error message.
func Clip(v any) string {
	const limit = 120
	s := fmt.Sprintf("%v", v)
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return s
}

// Final makes sure that an error ends the stream: no page comes after a fetch that
// failed, whatever it failed with.
func Final(err error) error {
	if err != nil && seq.IsItemError(err) {
		return &finalError{err}
	}
	return err
}

// A finalError holds an error that is about one item, and is final itself: its
// Unwrap is that of a joined error.
type finalError struct{ err error }

func (e *finalError) Error() string   { return e.err.Error() }
func (e *finalError) Unwrap() []error { return []error{e.err} }
