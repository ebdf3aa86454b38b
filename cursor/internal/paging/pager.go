// Package paging turns a function that fetches one page into a stream. It is what
// cursor.Pages, cursor.Tokens and the queries of package keyset share, and knows
// nothing of what is read.
package paging

import (
	"context"
	"iter"
	"time"

	"example.com/pipeline/seq"
)

// A Request asks for a page.
type Request[T, P any] struct {
	After *P  // the position to read after; nil at the start
	Limit int // how many items
	Open  bool
	Buf   []T // to append to, where the pager has Reuse set; its length is 0
	// Loop is the context of the loop, for what goes on after the fetch.
	Loop context.Context
}

// A Pager turns Fetch into a stream.
type Pager[T, P any] struct {
	After  *P
	Config Config

	// Fetch fetches a page. Where the request is Open it may return a page with a Rest.
	Fetch func(ctx context.Context, r Request[T, P]) (Page[T, P], error)

	// Reuse says that Fetch appends to the buffer of its request, so that pages can
	// serve as buffers again.
	Reuse bool

	// Keep says that Fetch wants to find in its buffer what the items there were.
	Keep bool

	// Free is told of the end of each loop; or nil.
	Free func()
}

// Stream returns the stream of the pager's items.
func (p Pager[T, P]) Stream(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		fetchCtx, cancel := p.fetchContext(ctx)
		r := &run[T, P]{Pager: p, ctx: ctx, fetchCtx: fetchCtx, limit: p.Config.firstSize()}
		defer r.leave(cancel)
		if err := r.run(yield); err != nil {
			var zero T
			yield(zero, err)
		}
	}
}

// fetchContext returns the context to fetch under. It ends with the loop, unless ctx
// cannot end and no fetch goes on beside the loop's body: then nobody is there to tell
// it, and drivers watch a context that can end by a goroutine for each statement, which
// costs a tenth of the time of a page.
func (p *Pager[T, P]) fetchContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.Reuse && p.Config.Retry == nil && p.Config.Prefetch == 0 && ctx.Done() == nil {
		return ctx, func() {}
	}
	return context.WithCancel(ctx)
}

// A run is one loop over a pager's stream.
type run[T, P any] struct {
	Pager[T, P]
	ctx      context.Context // the consumer's
	fetchCtx context.Context // ends with the loop, too
	limit    int             // of the next page
	pace     pace
	ahead    *fetching[T, P] // the page that is being fetched, nil if none is
	rest     Rest[T, P]      // of the page in hand, nil where that is whole
	broken   error           // of an open page: the next fetch goes on behind it
	spare    [][]T           // buffers whose items have been consumed
}

// A fetching is a page on its way. The fields are the task's until it is done.
type fetching[T, P any] struct {
	task *seq.Task // nil where the page has been fetched in the loop's goroutine
	page Page[T, P]
	err  error
}

// leave ends what the loop has started, whatever way it is left.
func (r *run[T, P]) leave(cancel context.CancelFunc) {
	if r.Free != nil {
		defer r.Free()
	}
	defer cancel() // also when Close passes on a panic
	if r.rest != nil {
		r.rest.Close() // while its statement may still be ended in good order
	}
	cancel()
	f := r.ahead
	if f == nil {
		return
	}
	defer func() { f.page.close() }()
	if f.task != nil {
		f.task.Join()
	}
}

// run yields everything up to the final error, which it returns; nil at the end of
// the source and when the consumer has left.
//
// The order of events: a page is awaited; its items are yielded one by one; when
// the consumer comes back from the item that the prefetch waits for, the next
// fetch begins, and goes on beside the consumer. Where the page is open, its rest is
// yielded run by run. A page that is not full is followed by no fetch, or, in Follow
// mode, by one after a pause.
func (r *run[T, P]) run(yield func(T, error) bool) error {
	if err := seq.ContextError(r.ctx); err != nil {
		return err
	}
	r.startNow()
	for {
		pg, err := r.await()
		if err != nil {
			return err
		}
		if pg.Last != nil {
			r.After = pg.Last
		}
		var goOn bool
		if pg.Rest == nil {
			goOn, err = r.handOver(&pg, yield)
		} else {
			goOn, err = r.handOverOpen(&pg, yield)
		}
		if !goOn || err != nil {
			return err
		}
		switch {
		case pg.Err != nil:
			return pg.Err
		case r.ahead != nil: // the prefetch is under way
		case pg.More:
			r.startNow()
		case r.Config.Follow > 0 && !pg.Done:
			if err := r.pause(); err != nil {
				return err
			}
			r.startNow()
		default:
			return nil
		}
	}
}

// read notes that all of a page has been read.
func (r *run[T, P]) read(s Stats) {
	if r.Config.OnPage != nil {
		r.Config.OnPage(s)
	}
}

// handOver yields the items of a page that is whole, and starts the prefetch on the
// way. It reports false when the consumer has left.
func (r *run[T, P]) handOver(pg *Page[T, P], yield func(T, error) bool) (bool, error) {
	r.limit = r.Config.nextSize(pg.Stats, r.Config.Max)
	r.read(pg.Stats)
	prefetchAt := -1
	if pg.More {
		prefetchAt = r.Config.prefetchAt(len(pg.Items))
	}
	began := time.Now()
	for i := range pg.Items {
		if !yield(pg.Items[i], nil) {
			return false, nil
		}
		if r.ctx.Err() != nil {
			return false, seq.ContextError(r.ctx)
		}
		if n := i + 1; n == prefetchAt && n < len(pg.Items) {
			so := time.Since(began) / time.Duration(n) * time.Duration(len(pg.Items))
			if !r.mayOpen() || !r.pace.opensAfter(so, pg.Stats.Took) {
				r.start()
			}
		}
	}
	r.pace.kept(time.Since(began), pg.Stats.Took)
	if r.Reuse {
		if !r.Keep {
			// So that what they hold can be freed while the next page is read. There may be a
			// row behind them, which was looked at.
			clear(pg.Items[:cap(pg.Items)])
		}
		r.spare = append(r.spare, pg.Items[:0])
	}
	return true, nil
}

// handOverOpen yields the items of an open page, run by run.
func (r *run[T, P]) handOverOpen(pg *Page[T, P], yield func(T, error) bool) (bool, error) {
	rest := pg.Rest
	r.rest = rest
	rest.Begin(r.ctx)
	for items := pg.Items; len(items) > 0; {
		for i := range items {
			if !yield(items[i], nil) {
				return false, nil
			}
			if r.ctx.Err() != nil {
				return false, seq.ContextError(r.ctx)
			}
		}
		var err error
		items, err = rest.Next(r.ctx)
		if err != nil {
			if end := seq.ContextError(r.ctx); end != nil {
				return false, end
			}
			r.end(pg)
			if r.Config.Retry == nil {
				return false, Final(err)
			}
			r.broken, pg.More, pg.Err = err, true, nil
			return true, nil
		}
	}
	r.limit = r.Config.nextSize(r.end(pg), r.most())
	return true, nil
}

// end notes the end of an open page.
func (r *run[T, P]) end(pg *Page[T, P]) Stats {
	rest := r.rest
	r.rest = nil
	rest.Close()
	stats, more, taken, err := rest.End()
	stats.Took += pg.Stats.Took
	r.After, pg.More, pg.Err = rest.Last(), more, err
	r.pace.opened(taken)
	r.read(stats)
	return stats
}

// mayOpen reports whether there can be open pages at all.
func (r *run[T, P]) mayOpen() bool { return r.Config.OpenMax > 0 }

// most returns how many items the next page may have.
func (r *run[T, P]) most() int {
	if r.mayOpen() && r.pace.quick() && r.Config.Max > 0 {
		return max(r.Config.Max, r.Config.OpenMax)
	}
	return r.Config.Max
}

// start begins to fetch the next page, beside the consumer.
func (r *run[T, P]) start() {
	f := &fetching[T, P]{}
	req := r.request()
	req.Open = false
	f.task = seq.Go(r.ctx, func() { f.page, f.err = r.fetchPage(req) })
	r.ahead = f
}

// startNow is start where the consumer waits for the page. It needs a goroutine only
// if ctx can end meanwhile.
func (r *run[T, P]) startNow() {
	f := &fetching[T, P]{}
	r.ahead = f
	req := r.request()
	if r.ctx.Done() != nil {
		f.task = seq.Go(r.ctx, func() { f.page, f.err = r.fetchPage(req) })
		return
	}
	f.page, f.err = r.fetchPage(req)
}

func (r *run[T, P]) request() Request[T, P] {
	req := Request[T, P]{After: r.After, Limit: r.limit, Loop: r.fetchCtx, Open: r.mayOpen() && r.pace.quick()}
	if n := len(r.spare); n > 0 {
		req.Buf, r.spare = r.spare[n-1], r.spare[:n-1]
	}
	return req
}

// await returns the page that is being fetched. It gives up when ctx ends, even
// if fetch does not; the end of the loop then waits for fetch.
func (r *run[T, P]) await() (Page[T, P], error) {
	f := r.ahead
	if f.task != nil {
		select {
		case <-f.task.Done():
		case <-r.ctx.Done():
			return Page[T, P]{}, seq.ContextError(r.ctx)
		}
		f.task.Join()
	}
	if err := seq.ContextError(r.ctx); err != nil {
		return Page[T, P]{}, err
	}
	r.ahead = nil
	return f.page, Final(f.err)
}

// pause waits until it is time to ask for more.
func (r *run[T, P]) pause() error {
	timer := time.NewTimer(r.Config.Follow)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.ctx.Done():
		return seq.ContextError(r.ctx)
	}
}
