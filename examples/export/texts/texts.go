// Package texts makes strings of what a driver reads, for the drivers of this program.
package texts

import "strings"

// Texts makes strings that share memory. Its zero value is ready to use.
//
// Most texts of a row are short. Of those, many are copied into one piece of memory; one
// that is kept keeps its neighbours, so a piece is small, and long texts share none.
type Texts struct {
	piece strings.Builder
	grow  int
}

const (
	pieceSize = 2 << 10
	longText  = pieceSize / 8
)

// Of returns b as a string.
func (t *Texts) Of(b []byte) string {
	if len(b) > longText {
		return string(b)
	}
	if t.piece.Cap()-t.piece.Len() < len(b) {
		t.grow = min(max(2*t.grow, longText), pieceSize)
		t.piece.Reset()
		t.piece.Grow(t.grow)
	}
	at := t.piece.Len()
	t.piece.Write(b)
	return t.piece.String()[at:]
}
