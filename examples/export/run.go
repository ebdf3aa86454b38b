package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"runtime"
	"text/tabwriter"
	"time"

	"example.com/pipeline/control"
	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/examples/export/encode"
	"example.com/pipeline/examples/export/plan"
	"example.com/pipeline/examples/export/source"
	"example.com/pipeline/seq"
)

// An export is one run of the program.
type export struct {
	*config
	voice
	db       *source.Source
	sources  []*source.Table   // in the order of settings.Tables
	encoders []*encode.Encoder // one for each
	outs     []string          // the files, but for the number of a part
	settings plan.Settings

	job        string
	folder     string // of the files
	checkpoint *cursor.Checkpoint[plan.Plan]
	stores     cursor.Store
	pacer      *control.Pacer
	progress   *progress
	watch      *watch
	listed     bool      // the tables are those that the database has
	bounded    bool      // see plan.Plan.More
	superseded plan.Plan // what -restart gives up
}

// runExport does what the command line asks for. When ctx ends it commits what is written
// and returns an error that Is ctx's.
func runExport(ctx context.Context, c *config, stdout io.Writer) (err error) {
	told := stdout
	switch {
	case c.quiet && !c.status && !c.dryRun:
		told = io.Discard
	case c.out == pipe && !c.dryRun:
		told = os.Stderr // the rows go to the other
	}
	e := &export{config: c, voice: newVoice(told, c.log)}
	signalled := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	e.watch = startWatch(ctx, e.voice, e.stall, cancel)
	defer func() {
		e.watch.Stop()
		err = firstCause(signalled, ctx, err)
	}()
	if c.status {
		e.watch.For("the checkpoints")
		return e.showStatus(ctx)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0)) // as it was
	if err := e.prepare(ctx); err != nil {
		return err
	}
	if c.rate > 0 {
		e.pacer = control.NewPacer(c.rate)
	}
	defer e.closeDatabase(ctx)
	switch {
	case c.dryRun:
		e.watch.For("the plan")
		return e.showPlan(ctx)
	case c.out == pipe:
		return e.exportToPipe(ctx, stdout)
	}

	e.atStore()
	p, err := e.openPlan(ctx)
	if err != nil {
		return err
	}
	defer closing(e.checkpoint, &err)
	behind := e.checkpoint.Finished() && !e.restart
	if behind && !e.more {
		return e.alreadyDone(ctx, p)
	}
	if e.more {
		if err := e.wantMore(ctx, &p, behind); err != nil {
			return err
		}
	}
	e.bounded = p.More
	parts, err := e.openParts(ctx, &p)
	for _, part := range parts {
		defer closing(part, &err)
	}
	if err != nil {
		return err
	}
	if err := e.dropManifest(); err != nil {
		return err
	}
	if behind {
		if err := e.reopenLast(ctx, p, parts); err != nil {
			return err
		}
	}
	if err := e.exportParts(ctx, parts); err != nil {
		return err
	}
	e.atStore()
	return e.finish(ctx, p, parts)
}

// exportParts exports what is not finished of the parts, several at a time.
func (e *export) exportParts(ctx context.Context, parts []*openPart) error {
	before := int64(0)
	for _, p := range parts {
		before += p.checkpoint.Items()
	}
	e.progress = newProgress(e.voice, before)
	if err := e.countRows(ctx); err != nil {
		return err
	}
	if before > 0 {
		e.event("resume", []any{"rows", before}, "going on with %s after %s", e.out, countOf(before, "row"))
	} else {
		e.event("begin", nil, "exporting %s of %s to %s", e.what(), e.db.Name, e.out)
	}
	e.watchRows()
	e.progress.Start(ctx)
	defer e.progress.Stop()
	if err := seq.ForEachConcurrent(ctx, seq.Of(parts...), e.workers, e.exportPart); err != nil || e.follow == 0 {
		return err
	}
	return e.followParts(ctx, parts)
}

// watchRows has the rows of the export watched.
func (e *export) watchRows() {
	e.watch.ForRows("the rows of "+e.what(), &e.progress.tally, e.slowest())
}

// atStore has the answers of the database watched where it has the checkpoints, too.
func (e *export) atStore() {
	if e.store == "db" {
		e.watch.For("the checkpoints")
	} else {
		e.watch.Rest()
	}
}

// what names what is exported.
func (e *export) what() string {
	if len(e.sources) == 1 {
		return e.sources[0].Name
	}
	return countOf(int64(len(e.sources)), "table")
}

// slowest is the time that a row may take because -rate has it so.
func (e *export) slowest() time.Duration {
	if e.rate == 0 {
		return 0
	}
	return time.Duration(min(1/e.rate, 1e8) * float64(time.Second))
}

// exportPart is what this program is about: a stream of rows, and a loop that writes them.
func (e *export) exportPart(ctx context.Context, p *openPart) error {
	if p.checkpoint.Finished() {
		return nil
	}
	table, encoder := e.sources[p.Table], e.encoders[p.Table]
	if table.Order == source.NoOrder {
		return e.exportAtOnce(ctx, p, table, encoder)
	}
	after := p.checkpoint.Position()
	if after == nil {
		after = p.Range.After
		if _, err := p.file.Write(encoder.Header(nil)); err != nil {
			return err
		}
	}
	until, err := e.end(ctx, p, table)
	if err != nil {
		return err
	}
	if e.bounded && until == nil { // there are no rows
		return p.checkpoint.Finish(ctx)
	}
	rows := e.rowsOf(ctx, table, keyset.Range[keyset.Key]{After: after, Until: until}, p.checkpoint.Items())
	rows = cursor.Track(ctx, rows, p.checkpoint, e.commitEvery(), table.Position)

	for row, err := range rows {
		if err != nil {
			return err
		}
		e.progress.came.Add(1)
		if _, err := p.file.Write(row.Encoded); err != nil {
			return err
		}
		e.progress.rows.Add(1)
	}
	return p.checkpoint.Finish(ctx)
}

// rowsOf streams a range of a table's rows, as many and as fast as the flags allow. written
// is how many of them earlier runs have written.
func (e *export) rowsOf(ctx context.Context, table *source.Table, r keyset.Range[keyset.Key], written int64) iter.Seq2[keyset.Row, error] {
	if len(e.until) > 0 && r.Until == nil {
		return seq.Of[keyset.Row]() // the table was empty when the export began
	}
	rows := table.Rows(ctx, r)
	if e.limit > 0 {
		rows = seq.Take(rows, max(e.limit-int(written), 0))
	}
	if e.pacer != nil {
		rows = control.RateLimit(ctx, rows, e.pacer)
	}
	return rows
}

// exportAtOnce writes rows that come in no order, so that no commit can say which of them are
// written: there is one, at the end. When the statement breaks off, all begins anew.
func (e *export) exportAtOnce(ctx context.Context, p *openPart, table *source.Table, encoder *encode.Encoder) error {
	written := 0
	err := table.Page.Retry(ctx, func(ctx context.Context) error {
		e.progress.rows.Add(-int64(written))
		e.progress.came.Add(-int64(written))
		written = 0
		if err := p.checkpoint.Reset(ctx); err != nil {
			return err
		}
		if _, err := p.file.Write(encoder.Header(nil)); err != nil {
			return err
		}
		for row, err := range e.rowsOf(ctx, table, p.Range, 0) {
			if err != nil {
				return err
			}
			e.progress.came.Add(1)
			if _, err := p.file.Write(row.Encoded); err != nil {
				return err
			}
			written++
			e.progress.rows.Add(1)
		}
		return nil
	})
	if err != nil {
		return e.whole(table, err)
	}
	p.checkpoint.AddItems(written)
	return p.checkpoint.Finish(ctx)
}

// commitEvery goes by rows, not by time alone, because a compressed file has a member a commit:
// a run that went on after a kill then has them where the first had.
func (e *export) commitEvery() cursor.Every {
	if e.commit > 0 {
		return cursor.Every{Items: e.commit}
	}
	return cursor.Every{Items: 100_000, Interval: 5 * time.Second}
}

// finish closes the files, whose sizes are final only then, and marks the plan as done.
func (e *export) finish(ctx context.Context, p plan.Plan, parts []*openPart) error {
	for i, part := range parts {
		p.Parts[i].Rows = part.checkpoint.Items()
		if _, err := part.file.Sync(ctx); err != nil { // somebody may have changed it since it was finished
			return err
		}
		if err := part.Close(); err != nil {
			return err
		}
		info, err := os.Stat(part.path)
		if err != nil {
			return err
		}
		p.Parts[i].Size = info.Size()
	}
	p.Finished = true
	if err := e.checkpoint.Commit(ctx, p); err != nil {
		return err
	}
	if err := e.checkpoint.Finish(ctx); err != nil {
		return err
	}
	e.showTables(p)
	rows, size := p.Totals()
	e.event("done", []any{"rows", rows, "bytes", size, "rows_per_second", int64(e.progress.Rate())}, "done: %s, %s rows/s", e.summary(p), thousands(int64(e.progress.Rate())))
	return e.afterwards(ctx, p)
}

// afterwards does what is to be done with the files of a complete export.
func (e *export) afterwards(ctx context.Context, p plan.Plan) error {
	if e.verify {
		if err := e.verifyFiles(ctx, p); err != nil {
			return err
		}
	}
	if e.manifest {
		return e.writeManifest(ctx, p)
	}
	return nil
}

// showTables tells what was written of each table, where there are several.
func (e *export) showTables(p plan.Plan) {
	if e.json != nil {
		for _, part := range p.Parts {
			path := part.Path(e.folder)
			e.event("file", []any{"table", e.sources[part.Table].Name, "file", path, "rows", part.Rows, "bytes", part.Size}, "%s is written", path)
		}
		return
	}
	if !e.several() {
		return
	}
	w := tabwriter.NewWriter(e.to, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "ROWS\tBYTES\t  FILE")
	for _, part := range p.Parts {
		fmt.Fprintf(w, "%s\t%s\t  %s\n", thousands(part.Rows), thousands(part.Size), part.Path(e.folder))
	}
	w.Flush()
}

// alreadyDone says so, unless the files are no longer what they were.
func (e *export) alreadyDone(ctx context.Context, p plan.Plan) error {
	if err := p.Unchanged(e.folder); err != nil {
		return err
	}
	rows, size := p.Totals()
	e.event("complete", []any{"rows", rows, "bytes", size}, "nothing to do: the export is complete: %s\nTo export again, over what is there:\n  %s -restart", e.summary(p), e.command())
	return e.afterwards(ctx, p)
}

// summary says what is in the files of a finished export.
func (e *export) summary(p plan.Plan) string {
	rows, size := p.Totals()
	name := p.Parts[0].Path(e.folder)
	if n := len(p.Parts); e.several() {
		name = fmt.Sprintf("%s in %s", countOf(int64(n), "file"), e.folder)
	} else if n > 1 {
		name = fmt.Sprintf("%d files, %s to %s", n, name, p.Parts[n-1].Path(e.folder))
	}
	return fmt.Sprintf("%s, %s bytes in %s", countOf(rows, "row"), thousands(size), name)
}
