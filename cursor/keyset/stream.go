package keyset

import (
	"context"
	"database/sql"
	"iter"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/internal/paging"
)

// What pages are where a PageConfig leaves it to this package. A page costs some tenths
// of a millisecond beside its rows. What a loop keeps in memory should be small, and what
// passes through an open statement need not be.
const (
	keptRows     = 4_000
	openRows     = 64_000
	pageBytes    = 16 << 20
	hold         = 100 * time.Millisecond
	targetOfHold = 2 // a page is to be read in this part of Hold
)

// checkPage panics where a query is built with pages that make no sense.
func checkPage(stage string, c cursor.PageConfig) {
	pageConfig(c, false).Check(stage)
}

// pageConfig returns how pages are read. open is whether they may be open.
func pageConfig(c cursor.PageConfig, open bool) paging.Config {
	p := paging.Config{Size: c.Size, Min: c.Min, Max: c.Max, Target: c.Target, Bytes: c.Bytes, Prefetch: c.Prefetch, Follow: c.Follow, Retry: c.Retry}
	if c.OnPage != nil {
		p.OnPage = func(s paging.Stats) { c.OnPage(cursor.PageStats(s)) }
	}
	if p.Target == 0 {
		p.Target = holdOf(c) / targetOfHold
		if p.Target <= 0 {
			p.Target = hold / targetOfHold
		}
	}
	p.Doubling = p.Max == 0
	if p.Max == 0 {
		p.Max = max(keptRows, p.Size, p.Min)
	}
	if open && c.Hold >= 0 {
		p.OpenMax = p.Max
		if c.Max == 0 {
			p.OpenMax = max(openRows, p.Max)
		}
	}
	return p
}

// holdOf returns how long a loop may hold a page's statement open; negative means not
// at all.
func holdOf(c cursor.PageConfig) time.Duration {
	if c.Hold == 0 {
		return hold
	}
	return c.Hold
}

// stream returns the rows of a query behind a position.
func stream[T, P any](ctx context.Context, spec *spec, page cursor.PageConfig, after, until *P, newReader func(*spec) *reader[T, P]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		spec := *spec // of this loop
		if !spec.sharesPool() {
			page.Prefetch = 0 // a connection serves one statement at a time, and the body's may be open
		}
		r := newReader(&spec)
		r.until, r.page = until, page
		p := paging.Pager[T, P]{After: after, Config: pageConfig(page, spec.streams()), Fetch: r.fetch, Reuse: true, Keep: r.reuse, Free: r.end}
		p.Stream(ctx)(yield)
	}
}

// streams reports whether pages may be open: where there is a pool that has another
// connection for the loop's body, and a database that lets others write meanwhile.
func (s *spec) streams() bool {
	pool, ok := s.db.(*sql.DB)
	return ok && s.dialect.streams && pool.Stats().MaxOpenConnections != 1
}

// firstPage reads a page of one row and throws it away.
func firstPage[T, P any](ctx context.Context, spec *spec, until *P, newReader func(*spec) *reader[T, P]) error {
	r := newReader(spec)
	r.until = until
	defer r.end()
	pg, err := r.fetch(ctx, paging.Request[T, P]{Limit: 1})
	if err != nil {
		return err
	}
	return pg.Err
}
