package paging

import "time"

// A pace says whether the loop is quicker than the reading, so that a page may be
// open: its rows go to the loop while the statement runs.
type pace struct {
	streak int // pages in a row that the loop was quick with
	needed int // so many must there be, beyond one
}

// maxNeeded bounds needed: a loop that is slow now and then still has open pages most
// of the time.
const maxNeeded = 15

// quick reports whether the next page may be open.
func (p *pace) quick() bool { return p.streak > p.needed }

// kept notes the times of a page that was whole: the loop's and the reading's.
func (p *pace) kept(loop, reading time.Duration) {
	if loop < reading {
		p.streak++
	} else {
		p.streak = 0
	}
}

// opensAfter reports whether the next page may be open where these are the times of
// the page in hand.
func (p *pace) opensAfter(loop, reading time.Duration) bool {
	next := *p
	next.kept(loop, reading)
	return next.quick()
}

// opened notes the end of a page that was open. A loop that has held it for too long
// must be quick for a while before the next one is.
func (p *pace) opened(taken bool) {
	if taken {
		p.streak, p.needed = 0, min(2*p.needed+1, maxNeeded)
	}
}
