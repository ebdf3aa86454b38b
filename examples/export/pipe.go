package main

import (
	"bufio"
	"context"
	"io"

	"example.com/pipeline/cursor/keyset"
)

// exportToPipe writes the rows to standard output, and what it has to say to standard
// error. What has gone through a pipe cannot be cut off, so there is no checkpoint.
func (e *export) exportToPipe(ctx context.Context, stdout io.Writer) error {
	table, encoder := e.sources[0], e.encoders[0]
	e.event("begin", nil, "exporting %s of %s to standard output, from the beginning: what went through a pipe cannot be gone on with", table.Name, e.db.Name)
	e.progress = newProgress(e.voice, 0)
	if err := e.countRows(ctx); err != nil {
		return err
	}
	e.watch.ForRows("the rows of "+table.Name, &e.progress.tally, e.slowest())
	e.progress.Start(ctx)
	defer e.progress.Stop()

	out := bufio.NewWriterSize(stdout, 64<<10)
	if _, err := out.Write(encoder.Header(nil)); err != nil {
		return err
	}
	for row, err := range e.rowsOf(ctx, table, keyset.Range[keyset.Key]{Until: table.Until}, 0) {
		if err != nil {
			return e.whole(table, err)
		}
		e.progress.came.Add(1)
		if _, err := out.Write(row.Encoded); err != nil {
			return err
		}
		e.progress.rows.Add(1)
	}
	e.watch.Rest()
	if err := out.Flush(); err != nil {
		return err
	}
	rows := e.progress.rows.Load()
	e.event("done", []any{"rows", rows, "rows_per_second", int64(e.progress.Rate())}, "done: %s, %s rows/s", countOf(rows, "row"), thousands(int64(e.progress.Rate())))
	return nil
}
