package cursor

import (
	"context"
	"iter"

	"example.com/pipeline/cursor/internal/paging"
)

// ErrDuplicateKey says that two rows in a row have the same position, so that
// nothing can be read "after" one of them without losing the other. The stream
// ends before the first of the two: a position from it does not skip the second.
var ErrDuplicateKey = paging.ErrDuplicateKey

// ErrStalled says that a page ended where it was to begin: the source does not
// move on, and asking again would never end.
var ErrStalled = paging.ErrStalled

// Pages streams anything that can be read page by page after a position: an HTTP
// API with a since or starting_after parameter, a log, a table behind a function
// of yours. For a database there is package keyset.
//
// fetch gets the position to read after, nil at the start, and how many items to
// return. A page with fewer items is the last one, unless cfg.Follow is set.
// position tells where an item stands; it must differ from item to item. Two
// equal positions in a row end the stream with [ErrDuplicateKey], and a page that
// ends where it was to begin ends it with [ErrStalled]. Positions are compared for
// equality only; their order is the source's business.
//
// fetch and position run in a goroutine of their own, while the loop's body works
// if cfg.Prefetch is set; where the loop waits for them and ctx cannot end, they run
// in the loop's. An error of fetch is final and comes after the items of
// the pages before it.
//
// Ends: with the first page that is not full, at an error of fetch, or when ctx ends.
// Owns: one goroutine while a page is fetched; it has exited when the loop has.
// Reads ahead: the rest of the page, and with Prefetch one more page.
// Reuse: as often as the source can be read again.
func Pages[T, P any](ctx context.Context, after *P,
	fetch func(ctx context.Context, after *P, limit int) ([]T, error),
	position func(T) P, cfg PageConfig) iter.Seq2[T, error] {
	if fetch == nil {
		panic("cursor.Pages: fetch must not be nil")
	}
	if position == nil {
		panic("cursor.Pages: position must not be nil")
	}
	config := cfg.config()
	config.Check("cursor.Pages")
	equal := paging.EqualFor[P]()
	p := paging.Pager[T, P]{
		After:  paging.Clone(after),
		Config: config,
		Fetch: func(ctx context.Context, r paging.Request[T, P]) (pg paging.Page[T, P], err error) {
			if pg.Items, err = fetch(ctx, paging.Clone(r.After), r.Limit); err != nil {
				return pg, err
			}
			pg.More = len(pg.Items) >= r.Limit
			pg.Place(r.After, len(pg.Items), func(item *T) P { return position(*item) }, equal)
			return pg, nil
		},
	}
	return p.Stream(ctx)
}
