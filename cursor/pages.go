package cursor

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"example.com/pipeline/seq"
)

// ErrDuplicateKey says that two rows in a row have the same position, so that
// nothing can be read "after" one of them without losing the other. The stream
// ends before the first of the two: a position from it does not skip the second.
var ErrDuplicateKey = errors.New("cursor: two rows have the same position")

// ErrStalled says that a page ended where it was to begin: the source does not
// move on, and asking again would never end.
var ErrStalled = errors.New("cursor: the page does not move on")

// Pages streams anything that can be read page by page after a position: an HTTP
// API with a since or starting_after parameter, a log, a table behind a function
// of yours. For a database there is [Query].
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
	cfg.check("Pages")
	equal := equalFor[P]()
	p := pager[T, P]{
		after: clone(after),
		cfg:   cfg,
		fetch: func(ctx context.Context, after *P, limit int, _ []T) (page[T, P], error) {
			items, err := fetch(ctx, clone(after), limit)
			if err != nil {
				return page[T, P]{}, err
			}
			pg := page[T, P]{items: items, more: len(items) >= limit}
			pg.place(after, len(items), position, equal)
			return pg, nil
		},
	}
	return p.stream(ctx)
}

// clone copies what p points to, so that nobody else can change it.
func clone[P any](p *P) *P {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

// A page is what was read in one go.
type page[T, P any] struct {
	items []T
	last  *P        // position to read on after; nil means that the page did not move it
	more  bool      // whether there may be another page
	err   error     // final, to be yielded after the items
	stats PageStats // filled by the pager
	room  room      // for the bytes of a query's rows
}

// place finds out where the page ends, and cuts it short where its positions allow
// no safe way on. The page may have items past its limit: they are looked at, and
// left to the next page.
func (pg *page[T, P]) place(after *P, limit int, position func(T) P, equal func(a, b P) bool) {
	if len(pg.items) == 0 {
		return
	}
	n := min(len(pg.items), limit)
	last := position(pg.items[n-1])
	if after != nil && equal(*after, last) {
		pg.fail(0, fmt.Errorf("%w: it was to begin behind %s and ends there", ErrStalled, clip(last)))
		return
	}
	if i := duplicate(after, pg.items, position, equal); i >= 0 {
		// Of two rows with one position neither may be handed over: the consumer
		// would store the position of the first and never see the second.
		pos := position(pg.items[i])
		pg.fail(max(i-1, 0), errDuplicate(pos))
		return
	}
	pg.items, pg.last = pg.items[:n], &last
}

func errDuplicate(pos any) error {
	return fmt.Errorf("%w: %s; the key must be unique", ErrDuplicateKey, clip(pos))
}

// duplicate returns the index of the first item with the position of the one before
// it, -1 if there is none. Before the first item stands the position after.
func duplicate[T, P any](after *P, items []T, position func(T) P, equal func(a, b P) bool) int {
	prev := position(items[0])
	if after != nil && equal(*after, prev) {
		return 0
	}
	for i := 1; i < len(items); i++ {
		pos := position(items[i])
		if equal(prev, pos) {
			return i
		}
		prev = pos
	}
	return -1
}

// fail cuts the page to its first n items and ends the stream after them.
func (pg *page[T, P]) fail(n int, err error) {
	pg.items, pg.err, pg.more = pg.items[:n], err, false
}

// clip prints a position for an error message.
func clip(v any) string {
	const limit = 120
	s := fmt.Sprintf("%v", v)
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return s
}

// A pager turns a function that reads one page into a stream. It knows nothing of
// what is read.
type pager[T, P any] struct {
	after *P
	cfg   PageConfig
	fetch func(ctx context.Context, after *P, limit int, buf []T) (page[T, P], error)
	reuse bool // fetch appends to buf, so that its pages can serve as buffers again
}

// stream returns the stream of the pager's items.
func (p pager[T, P]) stream(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		fetchCtx, cancel := p.fetchContext(ctx)
		r := &pageRun[T, P]{pager: p, ctx: ctx, fetchCtx: fetchCtx, limit: p.cfg.firstSize()}
		returned := false
		defer func() {
			cancel()
			if r.ahead == nil || r.ahead.task == nil {
				return
			}
			if returned {
				r.ahead.task.Join()
			} else {
				r.ahead.task.Wait() // nothing may cover up a panic that is on its way
			}
		}()
		if err := r.run(yield); err != nil {
			var zero T
			yield(zero, err)
		}
		returned = true
	}
}

// fetchContext returns the context to fetch under. It ends with the loop, unless ctx
// cannot end and a fetch is only one page of a database away from its own end: then
// there is nothing to gain by telling it, and drivers watch a context that can end by
// a goroutine for each statement, which costs a tenth of the time of a page.
func (p *pager[T, P]) fetchContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.reuse && p.cfg.Retry == nil && ctx.Done() == nil {
		return ctx, func() {}
	}
	return context.WithCancel(ctx)
}

// A pageRun is one loop over a pager's stream.
type pageRun[T, P any] struct {
	pager[T, P]
	ctx      context.Context // the consumer's
	fetchCtx context.Context // ends with the loop, too
	limit    int             // of the next page
	ahead    *fetching[T, P] // the page that is being fetched, nil if none is
	spare    [][]T           // buffers whose items have been consumed
}

// A fetching is a page on its way. The fields are the task's until it is done.
type fetching[T, P any] struct {
	task *seq.Task // nil where the page has been fetched in the loop's goroutine
	page page[T, P]
	err  error
}

// run yields everything up to the final error, which it returns; nil at the end of
// the source and when the consumer has left.
//
// The order of events: a page is awaited; its items are yielded one by one; when
// the consumer comes back from the item that the prefetch waits for, the next
// fetch begins, and goes on beside the consumer. A page that is not full is
// followed by no fetch, or, in Follow mode, by one after a pause.
func (r *pageRun[T, P]) run(yield func(T, error) bool) error {
	if err := seq.ContextError(r.ctx); err != nil {
		return err
	}
	r.startNow()
	for {
		pg, err := r.await()
		if err != nil {
			return err
		}
		if pg.last != nil {
			r.after = pg.last
		}
		r.limit = r.cfg.nextSize(pg.stats)
		if r.cfg.OnPage != nil {
			r.cfg.OnPage(pg.stats)
		}
		if goOn, err := r.handOver(pg, yield); !goOn || err != nil {
			return err
		}
		switch {
		case pg.err != nil:
			return pg.err
		case r.ahead != nil: // the prefetch is under way
		case pg.more:
			r.startNow()
		case r.cfg.Follow > 0:
			if err := r.pause(); err != nil {
				return err
			}
			r.startNow()
		default:
			return nil
		}
	}
}

// handOver yields the page's items, and starts the prefetch on the way. It reports
// false when the consumer has left.
func (r *pageRun[T, P]) handOver(pg page[T, P], yield func(T, error) bool) (bool, error) {
	prefetchAt := -1
	if pg.more {
		prefetchAt = r.cfg.prefetchAt(len(pg.items))
	}
	for i, item := range pg.items {
		if !yield(item, nil) {
			return false, nil
		}
		if r.ctx.Err() != nil {
			return false, seq.ContextError(r.ctx)
		}
		if i+1 == prefetchAt && i+1 < len(pg.items) {
			r.start()
		}
	}
	if r.reuse {
		clear(pg.items) // so that what they hold can be freed while the next page is read
		r.spare = append(r.spare, pg.items[:0])
	}
	return true, nil
}

// start begins to fetch the next page, beside the consumer.
func (r *pageRun[T, P]) start() {
	f := &fetching[T, P]{}
	after, limit, buf := r.after, r.limit, r.buffer()
	f.task = seq.Go(r.ctx, func() { f.page, f.err = r.fetchPage(after, limit, buf) })
	r.ahead = f
}

// startNow is start where the consumer waits for the page. It needs a goroutine only
// if ctx can end meanwhile.
func (r *pageRun[T, P]) startNow() {
	if r.ctx.Done() != nil {
		r.start()
		return
	}
	f := &fetching[T, P]{}
	f.page, f.err = r.fetchPage(r.after, r.limit, r.buffer())
	r.ahead = f
}

// buffer returns a page's buffer whose items have been consumed, or nil.
func (r *pageRun[T, P]) buffer() (buf []T) {
	if n := len(r.spare); n > 0 {
		buf, r.spare = r.spare[n-1], r.spare[:n-1]
	}
	return buf
}

// fetchPage fetches a page under the retry policy. An error that more tries would
// not mend is in the page.
func (r *pageRun[T, P]) fetchPage(after *P, limit int, buf []T) (page[T, P], error) {
	var pg page[T, P]
	fetched := false
	try := func(ctx context.Context) error {
		began := time.Now()
		got, err := r.fetch(ctx, after, limit, buf[:0])
		if err != nil {
			return err
		}
		got.stats = PageStats{Rows: len(got.items), Limit: limit, Took: time.Since(began)}
		pg, fetched = got, true
		return nil
	}
	if r.cfg.Retry == nil {
		err := try(r.fetchCtx)
		return pg, err
	}
	err := r.cfg.Retry(r.fetchCtx, try)
	if err == nil && !fetched {
		err = errors.New("cursor: Retry returned no error, but no page was read")
	}
	return pg, err
}

// await returns the page that is being fetched. It gives up when ctx ends, even
// if fetch does not; the end of the loop then waits for fetch.
func (r *pageRun[T, P]) await() (page[T, P], error) {
	f := r.ahead
	if f.task == nil {
		r.ahead = nil
		return f.page, final(f.err)
	}
	select {
	case <-f.task.Done():
	case <-r.ctx.Done():
		return page[T, P]{}, seq.ContextError(r.ctx)
	}
	r.ahead = nil
	f.task.Join()
	if err := seq.ContextError(r.ctx); err != nil {
		return page[T, P]{}, err
	}
	return f.page, final(f.err)
}

// pause waits until it is time to ask for more.
func (r *pageRun[T, P]) pause() error {
	timer := time.NewTimer(r.cfg.Follow)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.ctx.Done():
		return seq.ContextError(r.ctx)
	}
}

// final makes sure that an error ends the stream: no page comes after a fetch that
// failed, whatever it failed with.
func final(err error) error {
	if err != nil && seq.IsItemError(err) {
		return &finalError{err}
	}
	return err
}

// A finalError holds an error that is about one item, and is final itself: its
// Unwrap is that of a joined error.
type finalError struct{ err error }

func (e *finalError) Error() string   { return e.err.Error() }
func (e *finalError) Unwrap() []error { return []error{e.err} }
