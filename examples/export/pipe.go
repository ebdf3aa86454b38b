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
	e.progress = newProgress(e.voice, 0, e.slowest())
	if err := e.countRows(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	e.progress.Start(ctx, e.stall, cancel)
	defer e.progress.Stop()

	out := bufio.NewWriterSize(stdout, 64<<10)
	if _, err := out.Write(encoder.Header(nil)); err != nil {
		return err
	}
	for row, err := range e.rowsOf(ctx, table, keyset.Range[keyset.Key]{Until: table.Until}, 0) {
		if err != nil {
			return err
		}
		if _, err := out.Write(row.Encoded); err != nil {
			return err
		}
		e.progress.rows.Add(1)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	rows := e.progress.rows.Load()
	e.event("done", []any{"rows", rows, "rows_per_second", int64(e.progress.Rate())}, "done: %s, %s rows/s", countOf(rows, "row"), thousands(int64(e.progress.Rate())))
	return nil
}
