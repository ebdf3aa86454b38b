package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/examples/export/advice"
	"example.com/pipeline/examples/export/plan"
	"example.com/pipeline/examples/export/source"
	"example.com/pipeline/seq"
)

// wantMore makes the plan one that ends where no commit can still come in before, and goes
// on where it is complete.
func (e *export) wantMore(ctx context.Context, p *plan.Plan, complete bool) error {
	for _, table := range e.sources {
		if table.Order != source.ByKey {
			return advice.New("Export it anew with -restart.", "-more goes on behind the last key, and %s has none", table.Name)
		}
	}
	if complete {
		if err := p.Unchanged(e.folder); err != nil {
			return err
		}
		if !p.More {
			e.say("the export before was made without -more: rows that were committed late, with a key below its last one, are not in it")
		}
	}
	p.More, p.Finished = true, false
	if complete || len(p.Parts) == 0 {
		return nil // the plan is saved with its parts
	}
	return e.checkpoint.Commit(ctx, *p)
}

// reopenLast makes the last part of each table one to go on with, and then the plan. The
// order matters: a plan that is to be gone on with and whose parts are finished would be
// taken for one that only has to be marked as done, and nothing would be looked for.
func (e *export) reopenLast(ctx context.Context, p plan.Plan, parts []*openPart) error {
	for _, last := range lastParts(parts) {
		if last.checkpoint.Finished() {
			if err := last.reopen(ctx); err != nil {
				return err
			}
		}
	}
	return e.checkpoint.Commit(ctx, p)
}

// lastParts returns the last part of each table.
func lastParts(parts []*openPart) (last []*openPart) {
	for i, p := range parts {
		if i+1 == len(parts) || parts[i+1].Table != p.Table {
			last = append(last, p)
		}
	}
	return last
}

// reopen makes a finished part one to go on with.
func (p *openPart) reopen(ctx context.Context) (err error) {
	if last := p.checkpoint.Position(); last != nil {
		err = p.checkpoint.Commit(ctx, *last)
	} else { // a table that was empty
		err = p.checkpoint.Reset(ctx)
	}
	if err != nil {
		return fmt.Errorf("go on with %s: %w", p, err)
	}
	return nil
}

// followParts looks for more rows again and again, until ctx ends. Each round is a run with
// -more: it ends where no commit can still come in before, with the file and its checkpoint
// complete.
func (e *export) followParts(ctx context.Context, parts []*openPart) error {
	for told := int64(-1); ; {
		if rows := e.progress.rows.Load(); rows != told {
			e.event("caught up", []any{"rows", rows}, "caught up after %s, looking for more every %v", countOf(rows, "row"), e.follow)
			told = rows
		}
		e.watch.Rest()
		select {
		case <-time.After(e.follow):
		case <-ctx.Done():
			return seq.ContextError(ctx)
		}
		var more []*openPart
		for _, p := range lastParts(parts) {
			table := e.sources[p.Table]
			e.watch.For("looking for more rows of " + table.Name)
			latest, err := table.Latest(ctx)
			last := p.checkpoint.Position()
			switch {
			case ctx.Err() != nil:
				return seq.ContextError(ctx)
			case errors.Is(err, source.ErrChanged):
				return err
			case err != nil: // a long transaction, or a server that is away for a while
				e.say("cannot look for more rows of %s: %v; again in %v", table.Name, err, e.follow)
				continue
			case latest == nil || last != nil && latest.Equal(*last):
				continue
			}
			if err := p.reopen(ctx); err != nil {
				return err
			}
			p.latest = latest
			more = append(more, p)
		}
		e.watchRows()
		if err := seq.ForEachConcurrent(ctx, seq.Of(more...), e.workers, e.exportPart); err != nil {
			return err
		}
	}
}

// end returns the last key of a part, nil where its end is the table's. With -more that is
// a bound that is asked for once, and kept with the checkpoint.
func (e *export) end(ctx context.Context, p *openPart, table *source.Table) (*keyset.Key, error) {
	if !e.bounded || p.Range.Until != nil {
		return p.Range.Until, nil
	}
	until, err := p.checkpoint.Until(ctx, func(ctx context.Context) (*keyset.Key, error) {
		if p.latest != nil {
			return p.latest, nil
		}
		var latest *keyset.Key
		err := e.trying("find the end of "+table.Name)(ctx, func(ctx context.Context) (err error) {
			latest, err = table.Latest(ctx)
			return err
		})
		return latest, err
	})
	if err != nil {
		return nil, fmt.Errorf("-more: find a key below which no commit can still come in: %w", err)
	}
	return until, nil
}
