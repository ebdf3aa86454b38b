package keyset

import "example.com/pipeline/cursor/internal/paging"

// A circle notices positions that come again: pages that do not move on in the database's
// order, whatever the cause, would have no end. It keeps one position at a time, the one
// at the last power of two of pages, which every circle comes back to (Brent 1980).
type circle[P any] struct {
	last, kept  *P
	pages, next int
}

// comesAgain reports whether a page begins where an earlier one did. One that begins where
// the page before did is read again.
func (c *circle[P]) comesAgain(after *P, equal func(a, b P) bool) bool {
	if after == nil || c.last != nil && equal(*after, *c.last) {
		return false
	}
	c.last = after
	if c.kept != nil && equal(*after, *c.kept) {
		return true
	}
	if c.pages++; c.pages > c.next {
		c.kept, c.next = after, 2*c.pages
	}
	return false
}

// stalled refuses a page that begins where an earlier one did.
func (r *reader[T, P]) stalled(after *P) error {
	if r.circle.comesAgain(after, r.equal) {
		return &rowError{paging.ErrorStalled(*after)}
	}
	return nil
}
