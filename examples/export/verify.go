package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"

	"example.com/pipeline/control"
	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/examples/export/advice"
	"example.com/pipeline/examples/export/encode"
	"example.com/pipeline/examples/export/plan"
	"example.com/pipeline/examples/export/source"
	"example.com/pipeline/seq"
)

// errDiffers says that a table and its files do not hold the same rows.
var errDiffers = errors.New("the table and the file differ")

// verifyFiles reads the tables and the files of a finished export once more, and compares
// them by the number of their rows and a checksum that does not depend on their order. A
// table is read by one plain statement where that reads the same rows, so that no page and
// no key can hide any.
func (e *export) verifyFiles(ctx context.Context, p plan.Plan) error {
	for i, table := range e.sources {
		e.say("verifying %s", table.Name)
		e.watch.Rest()
		inFiles, err := e.sumFiles(ctx, p, i)
		if err != nil {
			return fmt.Errorf("-verify: %w", err)
		}
		inTable, err := e.sumTable(ctx, p, i)
		if err != nil {
			return source.Whole(fmt.Errorf("-verify: read %s: %w", table.Name, err), "Leave -verify out")
		}
		if inFiles != inTable {
			return advice.New("Rows that were added, changed or removed since they were read make a difference, too. To export it again, over what is there:\n  "+e.command()+" -restart",
				"-verify: %w: %s has %s with the checksum %s, and what was written %s with %s", errDiffers, table.Name,
				countOf(inTable.Rows, "row"), inTable, countOf(inFiles.Rows, "row"), inFiles)
		}
		e.event("verified", []any{"table", table.Name, "rows", inTable.Rows, "checksum", inTable.String()}, "verified %s: the table and what was written have the same %s, checksum %s", table.Name, countOf(inTable.Rows, "row"), inTable)
	}
	return nil
}

// verifiable refuses what cannot be read again.
func (e *export) verifiable(table *source.Table) error {
	if e.verify && e.limit > 0 && table.Order == source.NoOrder {
		return advice.New("Name a -key, or leave -verify out.", "-verify: without an order, the first %d rows of %s can be others each time", e.limit, table.Name)
	}
	return nil
}

// sumTable reads the rows of a table that were to be exported.
func (e *export) sumTable(ctx context.Context, p plan.Plan, i int) (sum encode.Sum, err error) {
	table := e.sources[i]
	e.atStore()
	until, err := e.lastKey(ctx, p, i)
	if err != nil {
		return sum, err
	}
	rows := func(ctx context.Context) iter.Seq2[keyset.Row, error] {
		switch {
		case p.More && until == nil:
			return seq.Of[keyset.Row]()
		case p.More || e.limit > 0 || len(e.until) > 0:
			return e.rowsOf(ctx, table, keyset.Range[keyset.Key]{Until: until}, 0)
		case e.pacer != nil:
			return control.RateLimit(ctx, table.All(ctx), e.pacer)
		}
		return table.All(ctx)
	}
	var seen tally
	e.watch.ForRows("-verify reads "+table.Name, &seen, e.slowest())
	defer e.watch.Rest()
	err = table.Page.Retry(ctx, func(ctx context.Context) error {
		sum = encode.Sum{}
		for row, err := range rows(ctx) {
			if err != nil {
				return err
			}
			seen.came.Add(1)
			sum.Add(row.Encoded)
			seen.rows.Add(1)
		}
		return nil
	})
	return sum, err
}

// lastKey returns the key that the rows of a table were read up to, nil for all of them.
// With -more that is the last one that was written.
func (e *export) lastKey(ctx context.Context, p plan.Plan, i int) (last *keyset.Key, err error) {
	for j, part := range p.Parts {
		if part.Table != i {
			continue
		}
		if !p.More {
			last = part.Range.Until
			continue
		}
		record, err := cursor.Inspect(ctx, e.stores, partJob(e.job, j))
		if err != nil {
			return nil, err
		}
		if len(record.Position) > 0 {
			if err := json.Unmarshal(record.Position, &last); err != nil {
				return nil, err
			}
		}
	}
	return last, nil
}

// sumFiles reads the rows that were written of a table.
func (e *export) sumFiles(ctx context.Context, p plan.Plan, i int) (sum encode.Sum, err error) {
	for _, part := range p.Parts {
		if part.Table != i {
			continue
		}
		if err := e.sumFile(ctx, part.Path(e.folder), e.encoders[i].Header(nil), &sum); err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// sumFile adds the rows of a file, which begins with a header, to a sum.
func (e *export) sumFile(ctx context.Context, path string, header []byte, sum *encode.Sum) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	in, err := encode.Decompress(e.compress, f)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errDiffers, path, err)
	}
	defer in.Close()
	for record, err := range e.format.Records(in) {
		switch {
		case err != nil:
			return fmt.Errorf("%w: %s: %w", errDiffers, path, err)
		case ctx.Err() != nil:
			return seq.ContextError(ctx)
		case len(header) > 0 && !bytes.Equal(record, header):
			return fmt.Errorf("%w: %s does not begin with the line that names the columns", errDiffers, path)
		case len(header) > 0:
			header = nil
			continue
		}
		sum.Add(record)
	}
	return nil
}
