package paging

import (
	"context"
	"fmt"
	"time"
)

// Stats describes a page that was read.
type Stats struct {
	Rows  int           // on the page
	Limit int           // asked for
	Took  time.Duration // query and scan time, of the try that succeeded
}

// A Config says how pages are read. The fields that have the same names as those of
// cursor.PageConfig are explained there.
type Config struct {
	Size, Min, Max int
	Target         time.Duration
	Bytes          int
	Prefetch       float64
	Follow         time.Duration
	Retry          func(ctx context.Context, op func(context.Context) error) error
	OnPage         func(Stats)

	// Doubling makes the sizes of pages that adapt Size times a power of two, so that
	// there are few different ones: a database keeps what it has prepared for each.
	Doubling bool

	// OpenMax bounds the size of a page that may be open, where that is more than Max;
	// 0 means that no page may be.
	OpenMax int
}

// Check panics where a stage is built with a configuration that makes no sense. stage
// is its full name.
func (c Config) Check(stage string) {
	fail := func(format string, args ...any) {
		panic(stage + ": " + fmt.Sprintf(format, args...))
	}
	switch {
	case c.Size < 0:
		fail("Size must not be negative, got %d", c.Size)
	case c.Min < 0:
		fail("Min must not be negative, got %d", c.Min)
	case c.Max < 0:
		fail("Max must not be negative, got %d", c.Max)
	case c.Max > 0 && c.Min > c.Max:
		fail("Min must be at most Max, got %d and %d", c.Min, c.Max)
	case c.Target < 0:
		fail("Target must not be negative, got %v", c.Target)
	case c.Bytes < 0:
		fail("Bytes must not be negative, got %d", c.Bytes)
	case !(c.Prefetch >= 0 && c.Prefetch <= 1): // in this form it catches NaN, too
		fail("Prefetch must be between 0 and 1, got %v", c.Prefetch)
	case c.Follow < 0:
		fail("Follow must not be negative, got %v", c.Follow)
	}
}

const defaultSize = 1000

// firstSize returns the size of the first page.
func (c Config) firstSize() int {
	size := c.Size
	if size == 0 {
		size = defaultSize
	}
	return c.bound(size, c.Max)
}

// nextSize returns the size of the page after one that was read as s says, which is to
// be at most most; 0 means that the size does not adapt.
func (c Config) nextSize(s Stats, most int) int {
	if most == 0 || c.Target == 0 {
		return s.Limit
	}
	if s.Rows < s.Limit { // a page that is not full says little about the source
		return c.bound(s.Limit, most)
	}
	size := double(s.Limit)
	if s.Took > 0 {
		wanted := float64(s.Limit) * float64(c.Target) / float64(s.Took)
		if c.Doubling {
			switch {
			case wanted < float64(s.Limit):
				size = s.Limit / 2
			case wanted < float64(size):
				size = s.Limit
			}
		} else {
			size = int(min(max(wanted, float64(s.Limit)/2), float64(size)))
		}
	}
	return c.bound(size, most)
}

// double returns 2*n, as far as there is such a number.
func double(n int) int {
	if 2*n < n {
		return n
	}
	return 2 * n
}

// bound brings size between Min and max, where 0 is no bound.
func (c Config) bound(size, most int) int {
	if most > 0 {
		size = min(size, most)
	}
	return max(size, c.Min, 1)
}

// prefetchAt returns how many of n items are consumed when the next page is fetched.
func (c Config) prefetchAt(n int) int {
	if c.Prefetch == 0 {
		return n
	}
	return min(max(int(c.Prefetch*float64(n)), 1), n)
}
