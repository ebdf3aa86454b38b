package cursor

import (
	"context"
	"fmt"
	"iter"

	"example.com/pipeline/cursor/internal/paging"
)

// A Token is a position in a source that names its pages by opaque tokens: the
// page that an item is on, and the item's index there.
type Token struct {
	Page  string // as fetch was given it; "" is the first page
	Index int    // from 0
}

// AtToken is an item together with its position.
type AtToken[T any] struct {
	Item T
	At   Token
}

// Tokens streams a source whose pages are named by opaque tokens, such as the
// next_page_token of an HTTP API. fetch gets the token of a page and returns its
// items and the token of the next page, "" at the end. A page may be empty.
//
// After a restart the page of the last position is fetched again and the items
// up to it are passed over. That is exact as long as the source gives the same
// page for the same token; where it does not, or where tokens expire, start
// afresh. A page that names itself as the next one ends the stream with
// [ErrStalled].
//
// Ends: after the page whose next token is "", at an error of fetch, or when ctx ends.
// Owns: one goroutine while a page is fetched; it has exited when the loop has.
// Reads ahead: the rest of the page.
// Reuse: as often as the source gives the same pages.
func Tokens[T any](ctx context.Context, after *Token,
	fetch func(ctx context.Context, page string) (items []T, next string, err error)) iter.Seq2[AtToken[T], error] {
	if fetch == nil {
		panic("cursor.Tokens: fetch must not be nil")
	}
	p := paging.Pager[AtToken[T], Token]{
		After: paging.Clone(after),
		Fetch: func(ctx context.Context, r paging.Request[AtToken[T], Token]) (paging.Page[AtToken[T], Token], error) {
			at := Token{Index: -1}
			if r.After != nil {
				at = *r.After
			}
			return tokenPage(ctx, at, fetch)
		},
	}
	return p.Stream(ctx)
}

// tokenPage fetches the page of a token and numbers the items behind its index.
func tokenPage[T any](ctx context.Context, at Token,
	fetch func(ctx context.Context, page string) ([]T, string, error)) (paging.Page[AtToken[T], Token], error) {
	var pg paging.Page[AtToken[T], Token]
	items, next, err := fetch(ctx, at.Page)
	if err != nil {
		return pg, err
	}
	for i := max(at.Index+1, 0); i < len(items); i++ {
		pg.Items = append(pg.Items, AtToken[T]{items[i], Token{at.Page, i}})
	}
	pg.More = next != ""
	pg.Last = &Token{Page: next, Index: -1}
	if pg.More && next == at.Page {
		pg.Err = fmt.Errorf("%w: the page %q names itself as the next page", ErrStalled, next)
	}
	return pg, nil
}
