package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
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
// parts where it has not begun.
func (e *export) openPlan(ctx context.Context) (p plan.Plan, err error) {
	var options []cursor.OpenOption
	if e.restart {
		options = append(options, cursor.Discard())
		e.superseded = e.oldPlan(ctx)
	}
	if e.checkpoint, err = cursor.Open[plan.Plan](ctx, e.stores, e.job, options...); err != nil {
		return p, err
	}
	stored := e.checkpoint.Position()
	if stored == nil {
		return plan.Plan{ID: rand.Text(), Settings: e.settings}, nil
	}
	if diff := e.settings.Difference(stored.Settings); diff != "" {
		e.checkpoint.Close()
		return p, fmt.Errorf("%w: %s was begun with other flags: %s", cursor.ErrMismatch, e.out, diff)
	}
	return *stored, nil
}

// oldPlan returns the plan that -restart gives up, whose files it answers for. One that
// cannot be read has none.
func (e *export) oldPlan(ctx context.Context) (p plan.Plan) {
	if r, err := cursor.Inspect(ctx, e.stores, e.job); err == nil && len(r.Position) > 0 {
		if json.Unmarshal(r.Position, &p) != nil {
			return plan.Plan{}
		}
	}
	return p
}

// An openPart is a part that this run works on.
type openPart struct {
	plan.Part
	path       string
	file       *cursor.File
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
	var options []cursor.FileOption
	if e.compress != "" {
		options = append(options, cursor.Compress(encode.Compressor(e.compress)))
	}
	for _, part := range p.Parts {
		path := part.Path(e.folder)
		file, err := cursor.OpenFile(path, options...)
		if err != nil {
			return parts, err
		}
		parts = append(parts, &openPart{Part: part, path: path, file: file})
	}
	if fresh {
		if err := e.claim(p.Parts); err != nil {
			return parts, err
		}
		if err := e.checkpoint.Commit(ctx, *p); err != nil {
			return parts, err
		}
	}
	if err := e.removeStale(ctx, p); err != nil {
		return parts, err
	}
	for i, part := range parts {
		if err := e.openCheckpoint(ctx, part, partJob(e.job, i), p.ID, fresh); err != nil {
			return parts, err
		}
	}
	return parts, nil
}

// partJob names the checkpoint of a part.
func partJob(job string, i int) string { return fmt.Sprintf("%s.%d", job, i+1) }

// removeStale removes the files that only an export before had: they would be taken for
// parts of this one.
func (e *export) removeStale(ctx context.Context, p *plan.Plan) error {
	if len(p.Stale) == 0 {
		return nil
	}
	for _, file := range p.Stale {
		path := plan.Part{File: file}.Path(e.folder)
		switch err := os.Remove(path); {
		case err == nil:
			e.say("removed %s, which was written by the export before", path)
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("remove a file of the export before: %w", err)
		}
	}
	p.Stale = nil
	return e.checkpoint.Commit(ctx, *p)
}

// openCheckpoint opens a part's checkpoint. One of an older plan is dropped, and where
// there is none the part begins: the plan in force was saved after it, and says that the
// file is ours whatever is in it.
func (e *export) openCheckpoint(ctx context.Context, p *openPart, job, id string, fresh bool) error {
	options := []cursor.OpenOption{cursor.WithFingerprint(id), cursor.Attach("file", p.file)}
	record, err := cursor.Inspect(ctx, e.stores, job)
	anew := e.sources[p.Table].Order == source.NoOrder && !record.Finished // nothing of it can be gone on with
	if err == nil && (record.Fingerprint != id || anew) || fresh {
		options = append(options, cursor.Discard())
	}
	p.checkpoint, err = cursor.Open[keyset.Key](ctx, e.stores, job, options...)
	return err
}

// split makes the parts of a new plan.
func (e *export) split(ctx context.Context) (parts []plan.Part, err error) {
	for i, table := range e.sources {
		ranges := []keyset.Range[keyset.Key]{{Until: table.Until}}
		if e.partitions > 1 {
			if ranges, err = table.Split(ctx, e.partitions); err != nil {
				return nil, fmt.Errorf("split the key into ranges: %w", err)
			}
		}
		for j, r := range ranges {
			parts = append(parts, plan.Part{Table: i, File: plan.PartFile(e.outs[i], j, len(ranges)), Range: r})
		}
	}
	return parts, nil
}

// claim refuses files that are there and are not this export's. The database itself it
// refuses whatever is asked for.
func (e *export) claim(parts []plan.Part) error {
	var database os.FileInfo // nil where the database is no file
	if e.db.Path != "" {
		var err error
		if database, err = os.Stat(e.db.Path); err != nil {
			return err
		}
	}
	for _, p := range parts {
		path := p.Path(e.folder)
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return err
		case database != nil && os.SameFile(database, info):
			return advice.New("Choose another -out.", "%s is the database that is to be exported", path)
		case info.Size() > 0 && !e.restart:
			return advice.New("Move it away, or choose another -out. If it is to be overwritten: "+e.command()+" -restart",
				"%s is there, and no checkpoint says that this export wrote it (looked in %s)", path, e.checkpoints())
		}
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
