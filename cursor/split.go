package cursor

import (
	"context"
	"database/sql"
	"fmt"
	"math/big"
	"slices"
)

// Split cuts the query's rows into at most n ranges of the same number of rows, to
// within one, in the query's order. Where there are fewer rows than n, there are
// fewer ranges, and one at least. The first range has no After; the last one ends
// at the query's Until. Run each as
//
//	part := q
//	part.Until = r.Until
//	for row, err := range part.Stream(ctx, r.After) { … }
//
// The database computes the bounds from the rows that are there, so gaps in the
// keys and keys that crowd together make no difference. It counts the rows, then
// walks along the key, which reads an index that begins with the key once each.
// Rows that come and go meanwhile move the bounds a little; they are still in
// exactly one range.
//
// It panics where n is below 1.
func (q Query[T, P]) Split(ctx context.Context, n int) ([]Range[P], error) {
	q.check()
	if n < 1 {
		panic(fmt.Sprintf("cursor.Query.Split: n must be at least 1, got %d", n))
	}
	k, err := q.keyset(ctx)
	if err != nil {
		return nil, q.explain(err)
	}
	count, err := q.count(ctx, k)
	if err != nil {
		return nil, q.explain(err)
	}
	var ranges []Range[P]
	var after *P
	done := int64(0)
	for i := 1; i < n; i++ {
		end := part(count, i, n)
		if end == done {
			continue // fewer rows than ranges
		}
		until, err := q.onePosition(ctx, k, after, q.Desc, int(end-done-1))
		if err != nil {
			return nil, q.explain(err)
		}
		if until == nil || end == count {
			break
		}
		ranges = append(ranges, Range[P]{after, until})
		after, done = until, end
	}
	return append(ranges, Range[P]{after, clone(q.Until)}), nil
}

// part returns count*i/n, which may pass through more than 64 bits.
func part(count int64, i, n int) int64 {
	x := big.NewInt(count)
	x.Mul(x, big.NewInt(int64(i)))
	return x.Quo(x, big.NewInt(int64(n))).Int64()
}

// count returns how many rows there are up to Until.
func (q *Query[T, P]) count(ctx context.Context, k *keyset) (int64, error) {
	s := &statement{q.Dialect, slices.Clone(q.Args)}
	op := "<="
	if q.Desc {
		op = ">="
	}
	upTo, err := q.condition(s, k, q.Until, op)
	if err != nil {
		return 0, err
	}
	var n int64
	err = queryEach(ctx, q.DB, func(rows *sql.Rows) error { return rows.Scan(&n) },
		q.source("COUNT(*)")+q.where(upTo), s.args...)
	return n, err
}
