package keyset

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"example.com/pipeline/cursor/internal/paging"
)

// checkPosition makes sure that the position of a row leads back to the row. It
// does so once a loop, and for each page where the database compares values of any
// type with each other: one odd value would end the stream early there. Those that may go
// wrong later are counted in each page: see isCertain. Where
// no row behind the page was looked at, last is set: then another row at that
// position ends the stream.
func (r *reader[T, P]) checkPosition(ctx context.Context, pg *paging.Page[T, P], after *P, last bool) error {
	s := r.spec
	last = last && pg.More
	if pg.Last != nil && !r.isCertain(pg.Last) {
		if err := r.checkEach(ctx, pg, after); err != nil {
			return err
		}
	}
	if pg.Last == nil || !last && r.checked && (!s.dialect.mixesTypes || s.layout != nil) {
		return nil
	}
	pos, before := pg.Last, after
	if n := len(pg.Items); n > 1 {
		p := r.own(r.position(&pg.Items[n-2]))
		before = &p
	}
	for range positionTries {
		found, err := r.count(ctx, pos)
		if err != nil {
			return err
		}
		if last && found > 1 && pos == pg.Last {
			pg.Last = nil
			pg.Fail(len(pg.Items)-1, paging.ErrorDuplicate(*pos))
			return nil
		}
		if found > 0 {
			r.checked = true
			return nil
		}
		// That the row was read before proves nothing: it may have been deleted since, and be
		// inserted again. One statement that reads the row and yet does not find it does.
		apart, err := r.first(ctx, before, pos)
		if err == nil && apart == nil && before != after { // it may not lead anywhere either
			before = after
			apart, err = r.first(ctx, before, pos)
		}
		if err != nil || apart == nil {
			return err
		}
		if r.equal(*pos, *apart) {
			pg.Last = nil
			pg.Fail(0, s.badPosition(*pos))
			return nil
		}
		pos = apart
	}
	return nil // rows are deleted as fast as they are read; a later page tells
}

// positionTries is how many rows are looked for that may have been deleted meanwhile.
const positionTries = 100

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

// first returns the position of the first row behind another that the database does not
// find at the position apart, nil for none. Each row is compared as it is read, so what
// others write meanwhile makes no difference: a row of that position is one that its
// position does not lead back to.
func (r *reader[T, P]) first(ctx context.Context, after, apart *P) (*P, error) {
	s := *r.spec
	st := &statement{s.dialect, slices.Clone(s.args)}
	equal, err := compareKey(&s, st, apart, "=")
	if err != nil {
		return nil, err
	}
	// The user's condition comes last of what has arguments in a statement of a page.
	where := "(" + equal + ") IS NOT TRUE"
	if strings.TrimSpace(s.where) != "" {
		where = "(" + s.where + "\n) AND " + where
	}
	s.where, s.args = where, st.args
	text, args, err := pageSQL(&s, after, r.until, 1)
	if err != nil {
		return nil, err
	}
	src, err := r.open(ctx, text, args)
	if err != nil {
		return nil, err
	}
	closed := false
	defer func() { // also when a driver or Scan panics
		if !closed {
			src.close()
		}
	}()
	rows, _, err := src.read(ctx, nil, 1, &budget{rows: 1})
	closed = true
	if err := errors.Join(err, src.close()); err != nil || len(rows) == 0 {
		return nil, err
	}
	pos := r.position(&rows[0])
	return &pos, nil
}
