package keyset

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"example.com/pipeline/cursor/internal/paging"
)

// isCertain reports whether a position is of values that a driver gives as they are stored,
// or never does: then to look at one of them once is enough. A floating point number may be
// another one from some row on, for want of digits. A Table chooses itself how values are
// read.
func (r *reader[T, P]) isCertain(pos *P) bool {
	s := r.spec
	if s.layout != nil || pos == nil {
		return true
	}
	values, err := positionValues(*pos, len(s.key))
	if err != nil {
		return true // a statement refuses it
	}
	return !slices.ContainsFunc(values, func(v any) bool {
		v, err := driver.DefaultParameterConverter.ConvertValue(v)
		if err != nil {
			return false // it is the driver's own, such as an array of bytes
		}
		_, float := v.(float64)
		return float
	})
}

// checkEach looks whether as many rows are behind one position and up to that of the last
// row as the page has. Where there are not, others may have written meanwhile, so the rows
// are looked at one by one.
func (r *reader[T, P]) checkEach(ctx context.Context, pg *paging.Page[T, P], after *P) error {
	n, err := r.between(ctx, after, pg.Last, len(pg.Items)+1)
	if err != nil || n == len(pg.Items) {
		return err
	}
	before := after
	for i := range pg.Items {
		pos := r.own(r.position(&pg.Items[i]))
		apart, err := r.first(ctx, before, &pos)
		if err != nil {
			return err
		}
		if apart != nil && r.equal(pos, *apart) {
			pg.Last = nil
			if i > 0 {
				pg.Last = before
			}
			pg.Fail(i, r.spec.badPosition(pos))
			return nil
		}
		before = &pos
	}
	return nil
}

// between returns how many rows there are behind one position and up to another, no more
// than most.
func (r *reader[T, P]) between(ctx context.Context, after, last *P, most int) (n int, err error) {
	s := r.spec
	st := &statement{s.dialect, slices.Clone(s.args)}
	behind, upTo := s.operators()
	low, err := compareKey(s, st, after, behind)
	if err != nil {
		return 0, err
	}
	high, err := compareKey(s, st, last, upTo)
	if err != nil {
		return 0, err
	}
	inner := *s
	inner.prefix = ""
	text := s.prefix + "SELECT COUNT(*) FROM (" + inner.source("1 AS one") + inner.condition(low, high) + " LIMIT " + strconv.Itoa(most) + ") n"
	err = queryEach(ctx, s.db, func(rows *sql.Rows) error { return rows.Scan(&n) }, text, st.args...)
	return n, err
}

// badPosition is the error of a position that does not lead back to its row.
func (s *spec) badPosition(pos any) error {
	return fmt.Errorf("%w: %s has no row where (%s) is (%s); Position must return the key as it is stored, "+
		"so select the key unconverted and scan it into types that keep every digit and byte",
		ErrPosition, s.from, strings.Join(s.key, ", "), paging.Clip(pos))
}
