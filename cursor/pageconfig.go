package cursor

import (
	"context"
	"fmt"
	"time"
)

// PageStats describes a page that was read.
type PageStats struct {
	Rows  int           // on the page
	Limit int           // asked for
	Took  time.Duration // query and scan time, of the try that succeeded
}

// PageConfig says how pages are read. Its zero value reads pages of 1000, the
// next one when the last is consumed, and ends at the end.
type PageConfig struct {
	// Size is how many items the first page has, and every page when the size
	// does not adapt. 0 means 1000; it is brought between Min and Max.
	Size int

	// Min and Max bound the size when it adapts, in items. Min 0 means 1; Max 0
	// means Size, so that the size does not adapt.
	Min, Max int

	// Target is the query and scan time that a page should take. After each full
	// page the size follows it, by a factor of two at most. The time that the
	// consumer takes does not count. 0 means that the size does not adapt.
	Target time.Duration

	// Bytes bounds what the rows of a page hold, where that is known: for the rows of
	// [Table], and where [Query].Bytes tells it. A page ends early with the row that
	// reaches the bound, and the next ones ask for fewer rows, so that they have about half
	// of it. Where the rows come from a pool, the rest of a statement that is cut
	// short is not transferred, at the price of the connection; in a transaction it is.
	// With Prefetch there are two pages at a time. 0 means 32 MB (32 << 20).
	Bytes int64

	// Prefetch is the part of a page, 0 to 1, after whose consumption the next page
	// is fetched while the consumer works on. 0.5 suits most. 0 means that a page
	// is fetched when all of the last one is consumed.
	Prefetch float64

	// Follow goes on at the end of the source: it asks for more every Follow.
	// 0 means that the stream ends at the end of the source.
	Follow time.Duration

	// Retry is put around the fetch of each page, and gets the context to fetch
	// under. The Do method of a retry policy fits. A row that cannot be scanned is
	// not the page's failure and is not retried. nil means one try.
	Retry func(ctx context.Context, op func(context.Context) error) error

	// OnPage is told of each page before its first item is handed over, in the
	// loop's goroutine. nil means nobody is.
	OnPage func(PageStats)
}

// check panics where a stage is built with a configuration that makes no sense.
func (c PageConfig) check(stage string) {
	fail := func(format string, args ...any) {
		panic("cursor." + stage + ": " + fmt.Sprintf(format, args...))
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

// firstSize returns the size of the first page.
func (c PageConfig) firstSize() int {
	size := c.Size
	if size == 0 {
		size = 1000
	}
	return c.bound(size)
}

// nextSize returns the size of the page after one that was read as s says.
func (c PageConfig) nextSize(s PageStats) int {
	if c.Max == 0 || c.Target == 0 || s.Rows < s.Limit {
		return s.Limit // a page that is not full says little about the source
	}
	size := 2 * s.Limit
	if s.Took > 0 {
		wanted := float64(s.Limit) * float64(c.Target) / float64(s.Took)
		size = int(min(max(wanted, float64(s.Limit)/2), float64(size)))
	}
	return c.bound(size)
}

// bound brings size between Min and Max.
func (c PageConfig) bound(size int) int {
	if c.Max > 0 {
		size = min(size, c.Max)
	}
	return max(size, c.Min, 1)
}

// prefetchAt returns how many of n items are consumed when the next page is
// fetched.
func (c PageConfig) prefetchAt(n int) int {
	if c.Prefetch == 0 {
		return n
	}
	return min(max(int(c.Prefetch*float64(n)), 1), n)
}
