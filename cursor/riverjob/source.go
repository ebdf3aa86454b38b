package riverjob

import (
	"context"
	"errors"
	"iter"

	"example.com/pipeline/cursor/keyset"
)

// A Source is what a job's ranges are ranges of. [FromQuery] and [FromTable] make one of
// what package keyset reads, from any database; one of your own may read anything that
// can be cut into ranges of positions and read from a position on, such as an API whose
// pages [cursor.Pages] reads.
type Source[T, P any] struct {
	// Fingerprint identifies what is read, in every process alike. It is stored with
	// the plan, and a process that reads something else is refused. It is asked for at the
	// start of each slice.
	Fingerprint func(ctx context.Context) (string, error)

	// Split cuts all there is into at most n ranges and returns how many items there
	// are, or 0 where that is not known.
	Split func(ctx context.Context, n int) (ranges []keyset.Range[P], total int64, err error)

	// Stream streams the items behind after, up to and including until.
	Stream func(ctx context.Context, after, until *P) iter.Seq2[T, error]

	// Position returns the position of an item.
	Position func(T) P
}

// FromQuery returns what q reads as a source. Where rows are still being added, set
// q.Until to what q.Latest returns when the job is planned; otherwise the last range
// ends where the table ends when it gets there.
func FromQuery[T, P any](q keyset.Query[T, P]) Source[T, P] {
	return Source[T, P]{
		Fingerprint: func(ctx context.Context) (string, error) {
			// A database that does not answer is not another query.
			if err := answers(ctx, q.DB); err != nil {
				return "", err
			}
			return q.Fingerprint(), nil
		},
		Split: func(ctx context.Context, n int) ([]keyset.Range[P], int64, error) {
			if err := q.Preflight(ctx); err != nil {
				return nil, 0, err
			}
			return splitAndCount(ctx, q, n)
		},
		Stream: func(ctx context.Context, after, until *P) iter.Seq2[T, error] {
			part := q
			part.Until = until
			return part.Stream(ctx, after)
		},
		Position: q.Position,
	}
}

// FromTable returns what t reads as a source, as [FromQuery] does. t must not be changed
// afterwards.
func FromTable(t *keyset.Table) Source[keyset.Row, keyset.Key] {
	return Source[keyset.Row, keyset.Key]{
		Fingerprint: func(context.Context) (string, error) { return t.Fingerprint(), nil },
		Split: func(ctx context.Context, n int) ([]keyset.Range[keyset.Key], int64, error) {
			if err := t.Preflight(ctx); err != nil {
				return nil, 0, err
			}
			return splitAndCount(ctx, t, n)
		},
		Stream: func(ctx context.Context, after, until *keyset.Key) iter.Seq2[keyset.Row, error] {
			part := *t
			part.Until = until
			return part.Stream(ctx, after)
		},
		Position: t.Position,
	}
}

// answers asks the database for nothing much.
func answers(ctx context.Context, db keyset.Querier) error {
	rows, err := db.QueryContext(ctx, "SELECT 1")
	if err != nil {
		return err
	}
	return errors.Join(rows.Err(), rows.Close())
}

func splitAndCount[P any](ctx context.Context, q interface {
	Split(context.Context, int) ([]keyset.Range[P], error)
	Count(context.Context) (int64, error)
}, n int) ([]keyset.Range[P], int64, error) {
	ranges, err := q.Split(ctx, n)
	if err != nil {
		return nil, 0, err
	}
	total, err := q.Count(ctx)
	return ranges, total, err
}
