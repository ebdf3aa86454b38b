package paging

import (
	"context"
	"errors"
	"time"
)

// fetchPage fetches a page under the retry policy. An error that more tries would not
// mend is in the page.
func (r *run[T, P]) fetchPage(req Request[T, P]) (pg Page[T, P], err error) {
	t := &tries[T, P]{run: r, req: req, broken: r.broken, turn: make(chan struct{}, 1)}
	r.broken = nil
	if r.Config.Retry == nil {
		err = t.try(r.fetchCtx)
		return t.page, err
	}
	kept := false
	defer func() {
		t.end()
		if !kept {
			t.page.close() // Retry has panicked, or thrown away a page that was read
		}
	}()
	if err = r.Config.Retry(r.fetchCtx, t.try); err != nil {
		return pg, err
	}
	t.end()
	if !t.fetched {
		return pg, errors.New("cursor: Retry returned no error, but no page was read")
	}
	kept = true
	return t.page, nil
}

// Tries are those to fetch one page. A policy may make them in any goroutine, and more of
// them than it needs.
type tries[T, P any] struct {
	run *run[T, P]
	req Request[T, P]

	turn    chan struct{} // the right to what follows
	broken  error         // of the page before, which broke off: that was the first try at its rest
	page    Page[T, P]
	fetched bool
	over    bool // the policy has returned
}

func (t *tries[T, P]) try(ctx context.Context) error {
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-t.turn }()
	if t.over {
		return errors.New("cursor: Retry called its function after it had returned")
	}
	if err := t.broken; err != nil {
		t.broken = nil
		return err
	}
	if t.fetched {
		return nil
	}
	began := time.Now()
	got, err := t.run.Fetch(ctx, t.req)
	if err != nil {
		return err
	}
	got.Stats = Stats{Rows: len(got.Items), Limit: t.req.Limit, Took: time.Since(began)}
	t.page, t.fetched = got, true
	return nil
}

// end waits for a try that the policy has not waited for, and allows no other.
func (t *tries[T, P]) end() {
	t.turn <- struct{}{}
	t.over = true
	<-t.turn
}
