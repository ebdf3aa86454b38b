package keyset

import (
	"context"
	"database/sql"
	"fmt"
	"math/big"
	"slices"

	"example.com/pipeline/cursor/internal/paging"
)

// split cuts the rows up to until into ranges of the same size: see [Query.Split].
func split[P any](ctx context.Context, s *spec, until *P, n int) ([]Range[P], error) {
	if n < 1 {
		panic(fmt.Sprintf("%s.Split: n must be at least 1, got %d", s.stage, n))
	}
	if err := s.prepare(ctx); err != nil {
		return nil, s.explain(err)
	}
	count, err := countRows(ctx, s, until)
	if err != nil {
		return nil, s.explain(err)
	}
	n = int(min(int64(n), max(count, 1))) // no range is empty
	var ranges []Range[P]
	var after *P
	done := int64(0)
	for i := 1; i < n; i++ {
		end := part(count, i, n)
		if end == done {
			continue // fewer rows than ranges
		}
		bound, err := onePosition(ctx, s, after, until, s.desc, int(end-done-1))
		if err != nil {
			return nil, s.explain(err)
		}
		if bound == nil || end == count {
			break
		}
		ranges = append(ranges, Range[P]{after, bound})
		after, done = bound, end
	}
	return append(ranges, Range[P]{after, paging.Clone(until)}), nil
}

// part returns count*i/n, which may pass through more than 64 bits.
func part(count int64, i, n int) int64 {
	x := big.NewInt(count)
	x.Mul(x, big.NewInt(int64(i)))
	return x.Quo(x, big.NewInt(int64(n))).Int64()
}

// countRows returns how many rows there are up to a position.
func countRows[P any](ctx context.Context, s *spec, until *P) (int64, error) {
	st := &statement{s.dialect, slices.Clone(s.args)}
	_, op := s.operators()
	upTo, err := compareKey(s, st, until, op)
	if err != nil {
		return 0, err
	}
	var n int64
	err = s.readable(func(s *spec) error {
		return queryEach(ctx, s.db, func(rows *sql.Rows) error { return rows.Scan(&n) },
			s.source("COUNT(*)")+s.condition(upTo), st.args...)
	})
	return n, err
}
