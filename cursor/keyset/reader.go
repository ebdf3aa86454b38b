package keyset

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/internal/paging"
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
	position func(T) P
	equal    func(a, b P) bool
	bytes    func(T) int // nil where they are not known
	reuse    bool        // the rows in a request's buffer lend their memory
	open     func(ctx context.Context, text string, args []any) (source[T], error)
	free     func() // at the end of the loop

	prepared bool
	checked  bool // a position has been found again
	fit      int  // rows of a page as their bytes allow, 0 if they do not matter
	largest  int  // rows that a page has had
}

// fetch reads a page, or its first rows where it is open. What more tries would not mend
// is in the page's Err.
func (r *reader[T, P]) fetch(ctx context.Context, req paging.Request[T, P]) (paging.Page[T, P], error) {
	pg, err := r.read(ctx, req)
	if err != nil {
		return pg, r.spec.explain(err)
	}
	return pg, nil
}

func (r *reader[T, P]) read(ctx context.Context, req paging.Request[T, P]) (pg paging.Page[T, P], err error) {
	if err := r.prepare(ctx); err != nil {
		return pg, err
	}
	rows, limit := req.Limit+1, req.Limit // one past the page: it may have the position of the last
	if r.fit > 0 && r.fit <= limit {
		rows, limit = r.fit, r.fit // a row is too much to be read for its position only
	}
	text, args, err := pageSQL(r.spec, req.After, r.until, rows)
	if err != nil {
		pg.Err = err
		return pg, nil
	}
	open := req.Open && r.checked && rows > limit && limit > runRows
	budget := r.budget(rows)
	stmt, stop := ctx, context.CancelFunc(func() {})
	if open {
		// The statement outlives the fetch, whose context may end with it.
		stmt, stop = context.WithCancel(req.Loop)
		defer context.AfterFunc(ctx, stop)()
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
		kept = false
		return r.openPage(req, pg.Items, src, budget, limit)
	}
	closed = true
	if err := src.close(); err != nil && !budget.full { // nothing of the rest is wanted where it is full
		return pg, err
	}
	r.largest = max(r.largest, len(pg.Items))
	past := len(pg.Items) > limit
	pg.More = pg.Err == nil && (past || budget.full || len(pg.Items) == rows)
	r.learn(&budget)
	pg.Place(req.After, limit, r.position, r.equal)
	if pg.Last != nil {
		*pg.Last = r.own(*pg.Last)
	}
	return pg, r.checkPosition(ctx, &pg, req.After, !past)
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

// checkPosition makes sure that the position of a row leads back to the row. It
// does so once a loop, and for each page where the database compares values of any
// type with each other: one odd value would end the stream early there. Where
// no row behind the page was looked at, last is set: then another row at that
// position ends the stream.
func (r *reader[T, P]) checkPosition(ctx context.Context, pg *paging.Page[T, P], after *P, last bool) error {
	s := r.spec
	last = last && pg.More
	if pg.Last == nil || !last && r.checked && (!s.dialect.mixesTypes || s.layout != nil) {
		return nil
	}
	pos := pg.Last
	for range 3 {
		found, err := r.count(ctx, pos)
		if err != nil {
			return err
		}
		if last && found > 1 && pos == pg.Last {
			pg.Fail(len(pg.Items)-1, paging.ErrorDuplicate(*pos))
			return nil
		}
		if found > 0 {
			r.checked = true
			return nil
		}
		// The row may have been deleted since. Try another one, read just now.
		if pos, err = r.first(ctx, after); pos == nil || err != nil {
			return err
		}
	}
	pg.Fail(0, fmt.Errorf("%w: %s has no row where (%s) is (%s); Position must return the key as it is stored, "+
		"so select the key unconverted and scan it into types that keep every digit and byte",
		ErrPosition, s.from, strings.Join(s.key, ", "), paging.Clip(*pos)))
	return nil
}

// count returns how many rows there are at a position, 2 for any more.
func (r *reader[T, P]) count(ctx context.Context, pos *P) (n int, err error) {
	s := r.spec
	text := &statement{s.dialect, slices.Clone(s.args)}
	equal, err := compareKey(s, text, pos, "=")
	if err != nil {
		return 0, err
	}
	err = queryEach(ctx, s.db, func(*sql.Rows) error { n++; return nil }, s.source("1")+s.condition(equal)+" LIMIT 2", text.args...)
	return n, err
}

// first returns the position of the first row behind another, nil for none.
func (r *reader[T, P]) first(ctx context.Context, after *P) (*P, error) {
	text, args, err := pageSQL(r.spec, after, r.until, 1)
	if err != nil {
		return nil, err
	}
	src, err := r.open(ctx, text, args)
	if err != nil {
		return nil, err
	}
	rows, _, err := src.read(ctx, nil, 1, &budget{rows: 1})
	if err := errors.Join(err, src.close()); err != nil || len(rows) == 0 {
		return nil, err
	}
	pos := r.position(rows[0])
	return &pos, nil
}
