package keyset

import "context"

// Count returns how many rows there are, up to Until. The database reads as many index
// entries.
func (q Query[T, P]) Count(ctx context.Context) (int64, error) { return count(ctx, q.spec(), q.Until) }

// Count returns how many rows there are, up to Until. The database reads as many index
// entries.
func (t *Table) Count(ctx context.Context) (int64, error) { return count(ctx, t.spec(), t.Until) }

func count[P any](ctx context.Context, s *spec, until *P) (int64, error) {
	if err := s.prepare(ctx); err != nil {
		return 0, s.explain(err)
	}
	n, err := countRows(ctx, s, until)
	if err != nil {
		return 0, s.explain(err)
	}
	return n, nil
}
