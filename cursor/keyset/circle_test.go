package keyset

import "testing"

// Circles of every length, with every way into them, are noticed in time.
func TestCircle(t *testing.T) {
	equal := func(a, b int) bool { return a == b }
	for way := range 40 {
		for length := 2; length < 40; length++ {
			var c circle[int]
			at := func(page int) *int {
				if page >= way {
					page = way + (page-way)%length
				}
				return &page
			}
			noticed := -1
			for page := 0; page < 6*(way+length) && noticed < 0; page++ {
				if c.comesAgain(nil, equal) {
					t.Fatal("no position comes again")
				}
				again := c.comesAgain(at(page), equal)
				if again {
					noticed = page
				} else if c.comesAgain(at(page), equal) {
					t.Fatalf("page %d, which is read twice, is taken for a circle", page)
				}
			}
			if noticed < way+length {
				t.Fatalf("a circle of %d behind %d pages is noticed at page %d", length, way, noticed)
			}
		}
	}
}
