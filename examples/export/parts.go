package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/examples/export/advice"
	"example.com/pipeline/examples/export/encode"
	"example.com/pipeline/examples/export/plan"
	"example.com/pipeline/examples/export/source"
)

// openPlan takes the export's lock and finds the plan that it began with. The plan has no
// parts where it has not begun. With -restart it is a new one, and that which was there
// stands until the new one is saved with its parts.
func (e *export) openPlan(ctx context.Context) (p plan.Plan, err error) {
	e.checkpoint, err = cursor.Open[plan.Plan](ctx, e.stores, e.job)
	if e.restart && (errors.Is(err, cursor.ErrCorrupt) || errors.Is(err, cursor.ErrMismatch)) {
		e.checkpoint, err = cursor.Open[plan.Plan](ctx, e.stores, e.job, cursor.Discard())
	}
	if err != nil {
		return p, err
	}
	e.begun = true
	stored := e.checkpoint.Position()
	if stored != nil && !e.restart {
		if diff := e.settings.Difference(stored.Settings); diff != "" {
			e.checkpoint.Close()
			return p, fmt.Errorf("%w: %s was begun with other flags: %s", cursor.ErrMismatch, e.out, diff)
		}
		return *stored, nil
	}
	if stored != nil {
		e.superseded = *stored
	}
	return plan.Plan{ID: rand.Text(), Settings: e.settings, Restart: e.restart}, nil
}

// An openPart is a part that this run works on.
type openPart struct {
	plan.Part
	path       string
	file       *cursor.File
	made       bool // by this run, and nothing in it yet
	checkpoint *cursor.Checkpoint[keyset.Key]
	latest     *keyset.Key // a safe end that has been asked for already
}

// String is for the errors about this part.
func (p *openPart) String() string { return p.path }

// Close frees what the part holds. What was not committed is dropped.
func (p *openPart) Close() error {
	var err error
	if p.checkpoint != nil {
		err = p.checkpoint.Close()
	}
	return errors.Join(err, p.file.Close())
}

// openParts opens the files and their checkpoints, and makes the plan first where there is
// none. The order matters: the files are locked, found to be nobody else's, and then the
// saved plan says that they are ours; only after that anything is written to them, or
// files of the plan before are removed. What is returned is to be closed, also beside an
// error.
func (e *export) openParts(ctx context.Context, p *plan.Plan) (parts []*openPart, err error) {
	fresh := len(p.Parts) == 0
	if fresh {
		if p.Parts, err = e.split(ctx); err != nil {
			return nil, err
		}
		p.Supersede(e.superseded)
	}
	defer func() {
		if err != nil {
			removeEmpty(parts)
		}
	}()
	for _, part := range p.Parts {
		opened, err := e.openFile(part, e.compress)
		if err != nil {
			return parts, err
		}
		parts = append(parts, opened)
		if err := opened.file.TryLock(); err != nil {
			opened.made = false // somebody else has it
			return parts, err
		}
	}
	if fresh {
		for i, part := range parts {
			if err := e.claim(part.path, e.restart); err != nil {
				return parts, err
			}
			part.Made = plan.Identity(part.path)
			p.Parts[i] = part.Part
		}
		if err := e.checkpoint.Commit(ctx, *p); err != nil {
			return parts, err
		}
		e.restarted = e.restart
	}
	if err := e.removeStale(ctx, p); err != nil {
		return parts, err
	}
	for i, part := range parts {
		if err := e.openCheckpoint(ctx, part, partJob(e.job, i), p, fresh); err != nil {
			return parts, err
		}
	}
	return parts, nil
}

// openFile opens the file of a part, and makes it where there is none.
func (e *export) openFile(part plan.Part, compress string) (*openPart, error) {
	path := part.Path(e.folder)
	if e.db.Is(path) { // to close it would end the locks that this process has on it
		return nil, advice.New("Choose another -out.", "%s is the database that is to be exported, or one of its files", path)
	}
	var options []cursor.FileOption
	if compress != "" {
		options = append(options, cursor.Compress(encode.Compressor(compress)))
	}
	_, missing := os.Lstat(path)
	file, err := cursor.OpenFile(path, options...)
	if err != nil {
		return nil, err
	}
	return &openPart{Part: part, path: path, file: file, made: errors.Is(missing, fs.ErrNotExist)}, nil
}

// removeEmpty removes the files that a refused run has made.
func removeEmpty(parts []*openPart) {
	for _, p := range parts {
		if info, err := os.Lstat(p.path); p.made && err == nil && info.Size() == 0 {
			os.Remove(p.path)
		}
	}
}

// partJob names the checkpoint of a part.
func partJob(job string, i int) string { return fmt.Sprintf("%s.%d", job, i+1) }

// removeStale removes the files that only an export before had: they would be taken for
// parts of this one. One that is not as that export has left it stays.
func (e *export) removeStale(ctx context.Context, p *plan.Plan) error {
	if len(p.Stale) == 0 {
		return nil
	}
	for _, stale := range p.Stale {
		path := plan.Part{File: stale.File}.Path(e.folder)
		switch err := e.removeOne(ctx, stale, path); {
		case err == nil:
			e.say("removed %s, which was written by the export before", path)
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, errForeign):
			e.say("left %s, which is not what the export before has written", path)
		default:
			return fmt.Errorf("remove a file of the export before: %w", err)
		}
	}
	p.Stale = nil
	return e.checkpoint.Commit(ctx, *p)
}

var errForeign = errors.New("the file is not that of the export before")

// removeOne removes a file if the checkpoint of the part that it was vouches for it.
func (e *export) removeOne(ctx context.Context, stale plan.Stale, path string) error {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular(), stale.Size >= 0 && info.Size() != stale.Size, e.db.Is(path):
		return errForeign
	}
	part, err := e.openFile(plan.Part{File: stale.File, Made: stale.Made}, stale.Compress)
	if err != nil {
		return err
	}
	defer part.Close()
	job := partJob(e.job, stale.Part)
	if record, err := cursor.Inspect(ctx, e.stores, job); err == nil && !committed(record) && !part.Is(path) {
		return errForeign
	}
	part.checkpoint, err = cursor.Open[keyset.Key](ctx, e.stores, job, cursor.WithFingerprint(stale.ID), cursor.Attach("file", part.file))
	switch {
	case errors.Is(err, cursor.ErrOutputChanged), errors.Is(err, cursor.ErrMismatch), errors.Is(err, cursor.ErrCorrupt):
		return errForeign
	case err != nil:
		return err
	}
	return os.Remove(path)
}

// committed reports whether the record has something to know the part's file by.
func committed(r cursor.Record) bool { return len(r.Position) > 0 || r.Finished }

// openCheckpoint opens a part's checkpoint. One of an older plan is dropped, and where
// there is none the part begins. The record of a part is saved before the first byte of its
// file: in a file without one are the bytes of somebody else, or what -restart gives up.
func (e *export) openCheckpoint(ctx context.Context, part *openPart, job string, p *plan.Plan, fresh bool) error {
	options := []cursor.OpenOption{cursor.WithFingerprint(p.ID), cursor.Attach("file", part.file)}
	record, err := cursor.Inspect(ctx, e.stores, job)
	old := err == nil && record.Fingerprint != p.ID
	if old || fresh {
		if err := e.claim(part.path, p.Restart); err != nil {
			return err
		}
		options = append(options, cursor.Discard())
	}
	if (old || err == nil && !committed(record)) && !part.Is(part.path) {
		return advice.New("Move it away where it is somebody's. Remove it where it is a copy of what this export had begun. Then go on:\n  "+e.goOn(),
			"%s is not the file that this export has made, and nothing was committed to that", part.path)
	}
	part.checkpoint, err = cursor.Open[keyset.Key](ctx, e.stores, job, options...)
	return err
}

// split makes the parts of a new plan.
func (e *export) split(ctx context.Context) (parts []plan.Part, err error) {
	for i, table := range e.sources {
		ranges := []keyset.Range[keyset.Key]{{Until: table.Until}}
		if e.partitions > 1 {
			e.watch.For("splitting the rows of " + table.Name)
			err := e.trying("split the rows of "+table.Name)(ctx, func(ctx context.Context) (err error) {
				ranges, err = table.Split(ctx, e.partitions)
				return err
			})
			if err != nil {
				return nil, unbegun(source.Whole(fmt.Errorf("split the key into ranges: %w", err), "Leave -partitions out"))
			}
		}
		for j, r := range ranges {
			parts = append(parts, plan.Part{Table: i, File: plan.PartFile(e.outs[i], j, len(ranges)), Range: r})
		}
	}
	e.atStore()
	return parts, nil
}

// claim refuses a file that is there and is not this export's.
func (e *export) claim(path string, restart bool) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.Size() > 0 && !restart:
		return advice.New("Move it away, or choose another -out. If it is to be overwritten: "+e.command()+" -restart",
			"%s is there, and no checkpoint says that this export wrote it (looked in %s)", path, e.checkpoints())
	}
	return nil
}

// checkpoints says where the checkpoints are.
func (e *export) checkpoints() string {
	if e.store == "db" {
		return "the database " + e.db.Name
	}
	return "the folder " + e.state
}
