package cursor

import (
	"context"
	"fmt"
	"slices"
)

// Inspect returns what is stored of a job: for a look at it, without the lease, also
// while a runner has it. Nothing is changed and no participant is asked. A job that was
// never saved has the zero [Record], as for [Lease], and so has every job of a store of
// package sqlstore whose tables have not been made.
//
// Errors: [ErrCorrupt], when the record is damaged or of a newer format, and what the
// store returns. The store must be an [Inspector].
func Inspect(ctx context.Context, store Store, job string) (Record, error) {
	in, err := inspector("Inspect", store)
	if err != nil {
		return Record{}, err
	}
	if err := CheckJob(job); err != nil {
		return Record{}, err
	}
	r, err := in.Inspect(ctx, job)
	if err == nil {
		err = checkFormat(r)
	}
	if err != nil {
		return Record{}, fmt.Errorf("cursor: inspect job %q: %w", job, err)
	}
	return r, nil
}

// Jobs returns the names of the jobs that have a record in store, sorted by their bytes.
// Where some names cannot be read, it returns the others beside an error that Is
// [ErrCorrupt]. The store must be an [Inspector].
func Jobs(ctx context.Context, store Store) ([]string, error) {
	in, err := inspector("Jobs", store)
	if err != nil {
		return nil, err
	}
	jobs, err := in.Jobs(ctx)
	slices.Sort(jobs)
	return jobs, err
}

// Holder says who holds a job, and until when; nil where nobody does. It is for people:
// by the time that it returns all can be different. The store must be an [Inspector].
func Holder(ctx context.Context, store Store, job string) (*LockedError, error) {
	in, err := inspector("Holder", store)
	if err != nil {
		return nil, err
	}
	if err := CheckJob(job); err != nil {
		return nil, err
	}
	return in.Holder(ctx, job)
}

func inspector(fn string, store Store) (Inspector, error) {
	if store == nil {
		panic(fmt.Sprintf("cursor.%s: the store must not be nil", fn))
	}
	in, ok := store.(Inspector)
	if !ok {
		return nil, fmt.Errorf("cursor.%s: a %T cannot be looked into without a lease: it is no cursor.Inspector", fn, store)
	}
	return in, nil
}

// checkFormat refuses a record that a newer version wrote.
func checkFormat(r Record) error {
	if r.Format > recordFormat {
		return fmt.Errorf("%w: it has format %d, written by a newer version; this one reads up to %d", ErrCorrupt, r.Format, recordFormat)
	}
	return nil
}
