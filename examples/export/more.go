package main

import (
	"context"
	"fmt"

	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/examples/export/advice"
	"example.com/pipeline/examples/export/plan"
	"example.com/pipeline/examples/export/source"
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
	p.More = true
	if len(p.Parts) == 0 {
		return nil // the plan is saved with its parts
	}
	return e.checkpoint.Commit(ctx, *p)
}

// reopenLast makes the last part of each table one to go on with.
func reopenLast(ctx context.Context, parts []*openPart) error {
	for i, p := range parts {
		if !p.checkpoint.Finished() || i+1 < len(parts) && parts[i+1].Table == p.Table {
			continue
		}
		var err error
		if last := p.checkpoint.Position(); last != nil {
			err = p.checkpoint.Commit(ctx, *last)
		} else { // a table that was empty
			err = p.checkpoint.Reset(ctx)
		}
		if err != nil {
			return fmt.Errorf("go on with %s: %w", p, err)
		}
	}
	return nil
}

// end returns the last key of a part, nil where its end is the table's. With -more that is
// a bound that is asked for once, and kept with the checkpoint.
func (e *export) end(ctx context.Context, p *openPart, table *source.Table) (*keyset.Key, error) {
	if !e.bounded || p.Range.Until != nil {
		return p.Range.Until, nil
	}
	until, err := p.checkpoint.Until(ctx, table.Latest)
	if err != nil {
		return nil, fmt.Errorf("-more: find a key below which no commit can still come in: %w", err)
	}
	return until, nil
}
