package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"example.com/pipeline/control"
	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

// An export is one run of the program.
type export struct {
	*config
	stdout   io.Writer
	db       *database
	query    cursor.Query[cursor.Row, cursor.Key]
	encoder  *encoder
	settings settings

	job        string
	checkpoint *cursor.Checkpoint[plan]
	stores     cursor.Store
	pacer      *control.Pacer
	progress   *progress
}

func (e *export) say(format string, args ...any) { fmt.Fprintf(e.stdout, format+"\n", args...) }

// runExport does what the command line asks for. When ctx ends it commits what
// is written and returns an error that Is ctx's.
func runExport(ctx context.Context, c *config, stdout io.Writer) (err error) {
	e := &export{config: c, stdout: stdout}
	if err := e.prepare(ctx); err != nil {
		return err
	}
	defer e.db.Close()

	p, err := e.openPlan(ctx)
	if err != nil {
		return err
	}
	defer closing(e.checkpoint, &err)
	if e.checkpoint.Finished() {
		return e.alreadyDone(p)
	}
	parts, err := e.openParts(ctx, &p)
	for _, part := range parts {
		defer closing(part, &err)
	}
	if err != nil {
		return err
	}
	if err := e.exportParts(ctx, parts); err != nil {
		return err
	}
	return e.finish(ctx, p, parts)
}

// closing closes c at the end of a function. Close tells of a commit on the way
// out that failed, which matters more than that ctx ended.
func closing(c io.Closer, err *error) {
	if closeErr := c.Close(); closeErr != nil && (*err == nil || errors.Is(*err, context.Canceled)) {
		*err = closeErr
	}
}

// An openPart is a part that this run works on.
type openPart struct {
	part
	file       *cursor.File
	checkpoint *cursor.Checkpoint[cursor.Key]
}

// String is for the errors about this part.
func (p *openPart) String() string { return p.Path }

// Close frees what the part holds. What was not committed is dropped.
func (p *openPart) Close() error {
	var err error
	if p.checkpoint != nil {
		err = p.checkpoint.Close()
	}
	return errors.Join(err, p.file.Close())
}

// openParts opens the files and their checkpoints, and makes the plan first where
// there is none. The order matters: the files are locked, found to be nobody
// else's, and then the saved plan says that they are ours; only after that
// anything is written to them. What is returned is to be closed, also beside an
// error.
func (e *export) openParts(ctx context.Context, p *plan) (parts []*openPart, err error) {
	fresh := len(p.Parts) == 0
	if fresh {
		if p.Parts, err = e.split(ctx); err != nil {
			return nil, err
		}
	}
	var options []cursor.FileOption
	if e.gzip {
		options = append(options, cursor.Gzip())
	}
	for _, part := range p.Parts {
		file, err := cursor.OpenFile(part.Path, options...)
		if err != nil {
			return parts, err
		}
		parts = append(parts, &openPart{part: part, file: file})
	}
	if fresh {
		if err := e.claim(p.Parts); err != nil {
			return parts, err
		}
		if err := e.checkpoint.Commit(ctx, *p); err != nil {
			return parts, err
		}
	}
	for i, part := range parts {
		if err := e.openCheckpoint(ctx, part, fmt.Sprintf("%s.%d", e.job, i+1), p.ID, fresh); err != nil {
			return parts, err
		}
	}
	return parts, nil
}

// openCheckpoint opens a part's checkpoint. One of an older plan is dropped: the
// plan in force was saved after it.
func (e *export) openCheckpoint(ctx context.Context, p *openPart, job, id string, fresh bool) (err error) {
	options := []cursor.OpenOption{cursor.WithFingerprint(id), cursor.Attach("file", p.file)}
	if !fresh {
		p.checkpoint, err = cursor.Open[cursor.Key](ctx, e.stores, job, options...)
		if !errors.Is(err, cursor.ErrMismatch) {
			return err
		}
	}
	p.checkpoint, err = cursor.Open[cursor.Key](ctx, e.stores, job, append(options, cursor.Discard())...)
	return err
}

// exportParts exports what is not finished of the parts, several at a time.
func (e *export) exportParts(ctx context.Context, parts []*openPart) error {
	before := int64(0)
	for _, p := range parts {
		before += p.checkpoint.Items()
	}
	if before > 0 {
		e.say("going on with %s after %s", e.out, countOf(before, "row"))
	} else {
		e.say("exporting %s of %s to %s", e.table, e.db.name, e.out)
	}
	if e.rate > 0 {
		e.pacer = control.NewPacer(e.rate)
	}
	e.progress = startProgress(ctx, e.stdout, before)
	defer e.progress.Stop()
	counting, stop := context.WithCancel(ctx)
	count := seq.Go(ctx, func() { e.countRows(counting) })
	defer count.Wait()
	defer stop()
	return seq.ForEachConcurrent(ctx, seq.Of(parts...), e.workers, e.exportPart)
}

// exportPart is what this program is about: a stream of rows, and a loop that
// writes them.
func (e *export) exportPart(ctx context.Context, p *openPart) error {
	if p.checkpoint.Finished() {
		return nil
	}
	var buf []byte
	after := p.checkpoint.Position()
	if after == nil {
		after = p.Range.After
		if _, err := p.file.Write(e.encoder.Header(buf)); err != nil {
			return err
		}
	}
	query := e.query
	query.Until = p.Range.Until
	rows := query.Stream(ctx, after)
	if e.pacer != nil {
		rows = control.RateLimit(ctx, rows, e.pacer)
	}
	rows = cursor.Track(ctx, rows, p.checkpoint, e.commitEvery(), func(r cursor.Row) cursor.Key { return r.Key })

	for row, err := range rows {
		if err != nil {
			return err
		}
		buf = e.encoder.Row(buf[:0], row.Values)
		if _, err := p.file.Write(buf); err != nil {
			return err
		}
		e.progress.rows.Add(1)
	}
	return p.checkpoint.Finish(ctx)
}

// commitEvery goes by rows, not by time alone, because a gzip file has a member a
// commit: a run that went on after a kill then has them where the first had.
func (e *export) commitEvery() cursor.Every {
	if e.commit > 0 {
		return cursor.Every{Items: e.commit}
	}
	return cursor.Every{Items: 100_000, Interval: 5 * time.Second}
}

// finish marks the plan as done, with what is in the files.
func (e *export) finish(ctx context.Context, p plan, parts []*openPart) error {
	for i, part := range parts {
		info, err := os.Stat(part.Path)
		if err != nil {
			return err
		}
		p.Parts[i].Size, p.Parts[i].Rows = info.Size(), part.checkpoint.Items()
	}
	if err := e.checkpoint.Commit(ctx, p); err != nil {
		return err
	}
	if err := e.checkpoint.Finish(ctx); err != nil {
		return err
	}
	e.say("done: %s, %s rows/s", p.summary(), thousands(int64(e.progress.Rate())))
	return nil
}

// alreadyDone says so, unless the files are no longer what they were.
func (e *export) alreadyDone(p plan) error {
	if err := p.unchanged(); err != nil {
		return err
	}
	e.say("nothing to do: the export is complete: %s\nTo export again, over what is there:\n  %s -restart", p.summary(), e.command())
	return nil
}
