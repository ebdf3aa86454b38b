package keyset

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/internal/paging"
	"example.com/pipeline/cursor/internal/sqlerr"
)

// ErrPosition says that the position of a row does not lead back to the row. The
// rows behind it would be missed, or come twice.
var ErrPosition = errors.New("keyset: a row is not found at its own position")

// A source is the rows of one statement. There are two: that of package sql, and that of
// the driver itself.
type source[T any] interface {
	// read appends rows to items until there are max of them, there are no more, or the
	// budget is used up. more is false where there are no more. An error that another
	// try would not mend is a *rowError.
	read(ctx context.Context, items []T, max int, budget *budget) (all []T, more bool, err error)

	// close closes the statement and gives its connection back.
	close() error
}

// A rowError is the error of a row that cannot be read, however often it is tried.
type rowError struct{ err error }

func (e *rowError) Error() string { return e.err.Error() }
func (e *rowError) Unwrap() error { return e.err }

// A reader reads the pages of one loop, one after another.
type reader[T, P any] struct {
	spec     *spec
	until    *P
	page     cursor.PageConfig
	position func(*T) P // a row may be large
	equal    func(a, b P) bool
	bytes    func(T) int // nil where they are not known
	reuse    bool        // the rows in a request's buffer lend their memory
	open     func(ctx context.Context, text string, args []any) (source[T], error)
	free     func() // what open has prepared; see end

	prepared bool
	checked  bool // a position has been found again
	known    bool // the catalog has been asked about the key, where that is needed
	moved    bool // rows have come since the catalog was asked
	fit      int  // rows of a page as their bytes allow, 0 if they do not matter
	largest  int  // rows that a page has had
	rows     int  // that have been read
	headroom headroom
	circle   circle[P]

	tried     int  // rows of the page that was last asked for
	most      int  // rows of a page as the server's time limit allows, 0 if that does not matter
	good      int  // pages that were read since then
	replanned bool // the page is read again since the server has asked for it
	ending    bool // all rows up to until have come, or come with the next pages
}

// fetch reads a page, or its first rows where it is open. What more tries would not mend
// is in the page's Err.
func (r *reader[T, P]) fetch(ctx context.Context, req paging.Request[T, P]) (paging.Page[T, P], error) {
	var first error
	for {
		pg, err := r.read(ctx, req)
		if err == nil {
			r.grow()
			return pg, nil
		}
		if state, _ := sqlerr.Code(err); first != nil && state == "25P02" {
			err = first // it was in a transaction, which ended with that
		}
		if bad := r.spec.noPosition(err); bad != nil {
			return refused(pg, &rowError{bad})
		}
		if r.mend(ctx, err) {
			first = err
			continue
		}
		if state, number := sqlerr.Code(err); r.known && (state != "" || number != 0) {
			// The server may have no way to compare a position with the key's new type.
			if bad := (*rowError)(nil); errors.As(r.knowAgain(ctx), &bad) {
				return refused(paging.Page[T, P]{}, &rowError{fmt.Errorf("%w (%w)", bad.err, err)})
			}
		}
		return pg, r.spec.explain(err)
	}
}

func (r *reader[T, P]) read(ctx context.Context, req paging.Request[T, P]) (pg paging.Page[T, P], err error) {
	if err := r.prepare(ctx); err != nil {
		return refused(pg, err)
	}
	if err := r.stalled(req.After); err != nil {
		return refused(pg, err)
	}
	ending, err := r.isEnding(ctx)
	if err != nil {
		return pg, err
	}
	limit := min(req.Limit, math.MaxInt-1)
	if r.most > 0 {
		limit = min(limit, r.most)
	}
	rows := limit + 1 // one past the page: it may have the position of the last
	if r.fit > 0 && r.fit <= limit {
		rows, limit = r.fit, r.fit // a row is too much to be read for its position only
	}
	r.tried = limit
	text, args, err := pageSQL(r.spec, req.After, r.until, rows)
	if err != nil {
		pg.Err = err
		return pg, nil
	}
	open := req.Open && r.checked && r.isCertain(req.After) && r.known && r.spec.facts.unique && !r.spec.sortsParts && rows > limit && limit > runRows
	budget := r.budget(rows)
	stmt, stop, outlive := ctx, context.CancelFunc(func() {}), func() bool { return true }
	if open {
		// The statement outlives the fetch, whose context may end with it.
		stmt, stop = context.WithCancel(req.Loop)
		outlive = context.AfterFunc(ctx, stop)
		defer outlive()
	} else if r.cancels() {
		stmt, stop = context.WithCancel(ctx)
	}
	kept := true
	defer func() {
		if kept {
			stop()
		}
	}()
	budget.ctx, budget.stop = stmt, stop

	src, err := r.open(stmt, text, args)
	if err != nil {
		return pg, err
	}
	closed := false
	defer func() { // also when a driver or Scan panics
		if kept && !closed {
			src.close()
		}
	}()
	wanted := rows
	if open {
		wanted = runRows
	}
	pg.Items = r.room(req.Buf, wanted)
	more := false
	pg.Items, more, err = src.read(stmt, pg.Items, wanted, &budget)
	if bad := (*rowError)(nil); errors.As(err, &bad) {
		pg.Err, err = bad.err, nil
		open = false
	}
	if err != nil {
		return pg, err
	}
	if open && more && !budget.full {
		if !outlive() {
			return pg, ctx.Err() // it came too late
		}
		r.moved = true
		pg, err := r.openPage(req, pg.Items, src, budget, limit)
		kept = false // the page has taken the statement over, unless Position has panicked
		pg.Done = ending
		return pg, err
	}
	closed = true
	if err := src.close(); err != nil && !budget.full { // nothing of the rest is wanted where it is full
		return pg, err
	}
	if err := r.know(ctx, req.After != nil); err != nil {
		return refused(pg, err)
	}
	r.largest = max(r.largest, len(pg.Items))
	past := len(pg.Items) > limit
	pg.More = pg.Err == nil && (past || budget.full || len(pg.Items) == rows)
	r.learn(&budget)
	r.passed(len(pg.Items), budget.used, pg.More)
	pg.Place(req.After, limit, r.position, r.equal)
	if pg.Last != nil {
		*pg.Last = r.own(*pg.Last)
	}
	if r.spec.sortsParts {
		for i := range pg.Items { // a loop may go on behind any of them
			if err := checkSorted(r.spec, r.position(&pg.Items[i])); err != nil {
				return pg, err
			}
		}
	}
	if err := r.checkPosition(ctx, &pg, req.After, !past); err != nil {
		return pg, err
	}
	if err := r.checkUnique(ctx, &pg, req.After); err != nil {
		return pg, err
	}
	pg.Done = ending && !pg.More
	r.moved = r.moved || len(pg.Items) > 0
	if r.moved && req.After != nil && !pg.More && pg.Err == nil {
		return refused(pg, r.knowAgain(ctx))
	}
	return pg, nil
}

// refused returns a page without rows where an error is final.
func refused[T, P any](pg paging.Page[T, P], err error) (paging.Page[T, P], error) {
	if bad := (*rowError)(nil); errors.As(err, &bad) {
		pg.Last = nil
		pg.Fail(0, bad.err)
		return pg, nil
	}
	return pg, err
}

// own returns a position that keeps when its row's memory is used again.
func (r *reader[T, P]) own(pos P) P {
	if !r.reuse {
		return pos
	}
	var own P
	any(&own).(interface{ CopyFrom(P) }).CopyFrom(pos) // only a Table has its memory used again
	return own
}

// prepare asks the database what the statements of the loop need to know, once.
func (r *reader[T, P]) prepare(ctx context.Context) error {
	if r.prepared {
		return nil
	}
	if err := r.spec.prepare(ctx); err != nil {
		return err
	}
	r.prepared = true
	return nil
}

// room returns a buffer for so many rows. Where the page will be full, as the one before
// was, it is made in one step: to let append find that out would copy the rows several
// times for each time that the size grows.
func (r *reader[T, P]) room(buf []T, rows int) []T {
	if r.fit > 0 {
		clear(buf[:cap(buf)]) // large rows are not kept to lend their memory
	}
	if cap(buf) < rows && rows <= 2*r.largest+1 {
		return make([]T, 0, rows)
	}
	return buf
}

// isEnding reports whether a stream that follows its table has an end, since a row at or
// behind until is there: then what comes before it is there, too. It is asked before a page
// is read, so that the page has all of that.
func (r *reader[T, P]) isEnding(ctx context.Context) (bool, error) {
	if r.page.Follow == 0 || r.until == nil || r.ending {
		return r.ending, nil
	}
	s := r.spec
	st := &statement{s.dialect, slices.Clone(s.args)}
	op := ">="
	if s.desc {
		op = "<="
	}
	there, err := compareKey(s, st, r.until, op)
	if err == nil {
		r.ending, err = queryAny(ctx, s.db, s.source("1")+s.condition(there)+" LIMIT 1", st.args...)
	}
	return r.ending, err
}
