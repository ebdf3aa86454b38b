package cursor

import (
	"context"
	"time"

	"example.com/pipeline/cursor/internal/paging"
)

// PageStats describes a page that was read.
type PageStats struct {
	Rows  int           // on the page
	Limit int           // asked for
	Took  time.Duration // query and scan time, of the try that succeeded
}

// PageConfig says how pages are read, here and in package keyset. Its zero value reads
// the next page when the last one is consumed, and ends at the end.
type PageConfig struct {
	// Size is how many items the first page has, and every page when the size
	// does not adapt. 0 means 1000; it is brought between Min and Max.
	Size int

	// Min and Max bound the size when it adapts, in items. Min 0 means 1. Max 0 means that
	// the pages of [Pages] have Size, and that package keyset chooses: 4,000 rows, 64,000
	// where they are handed over while they are read, and Size if that is more. Max = Size
	// switches adapting off.
	Min, Max int

	// Target is the query and scan time that a page should take. After each full
	// page the size follows it, by a factor of two at most. The time that the
	// consumer takes does not count. 0 means that the pages of [Pages] do not adapt, and
	// half of Hold in package keyset.
	Target time.Duration

	// Hold is for package keyset: how long the loop may keep a page's statement open.
	// After that the rest of the page is read into memory beside the loop's body, and the
	// connection is free. 0 means 100 ms; negative means that every page is read whole
	// before its first row is handed over.
	Hold time.Duration

	// Bytes is for package keyset: it bounds what the rows of a page hold, where that is
	// known: for the rows of a Table, and where Query.Bytes tells it. A page ends early
	// with the row that reaches the bound, and the next ones ask for fewer rows, so that
	// they have about half of it. Where the rows come from a pool, the rest of a statement
	// that is cut short is not transferred, at the price of the connection; in a
	// transaction it is. With Prefetch there are two pages at a time. 0 means 16 MB
	// (16 << 20).
	Bytes int

	// Prefetch is the part of a page, 0 to 1, after whose consumption the next page
	// is fetched while the consumer works on. 0.5 suits most. 0 means that a page
	// is fetched when all of the last one is consumed. Package keyset passes it over where
	// the loop is so quick that the next page is handed over while it is read.
	Prefetch float64

	// Follow goes on at the end of the source: it asks for more every Follow.
	// 0 means that the stream ends at the end of the source.
	Follow time.Duration

	// Retry is put around the fetch of each page, and gets the context to fetch
	// under. The Do method of a retry policy fits. Where a page breaks off after rows of
	// it were handed over, that counts as the first try of a page that goes on behind
	// them. A row that cannot be scanned is not the page's failure and is not retried. It
	// may call op in any goroutine: tries are made one at a time, none after the first that
	// succeeds, and all have ended when the next page is fetched. nil means one try.
	Retry func(ctx context.Context, op func(context.Context) error) error

	// OnPage is told of each page when all of it has been read, in the loop's goroutine:
	// before its first item is handed over, or, where items are handed over while they are
	// read, after the last, also where the page breaks off there. nil means nobody is.
	OnPage func(PageStats)
}

// config returns c for the pages of this package.
func (c PageConfig) config() paging.Config {
	p := paging.Config{Size: c.Size, Min: c.Min, Max: c.Max, Target: c.Target, Bytes: c.Bytes, Prefetch: c.Prefetch, Follow: c.Follow, Retry: c.Retry}
	if c.OnPage != nil {
		p.OnPage = func(s paging.Stats) { c.OnPage(PageStats(s)) }
	}
	return p
}
