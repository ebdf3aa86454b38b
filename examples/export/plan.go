package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
)

// A plan says what goes into which file. It is saved before the first row: from
// then on the files are this export's, and a run that goes on uses the same
// ranges. It is kept as the position of a checkpoint, for the sake of the lock,
// the checksum and the choice of stores that come with one.
type plan struct {
	ID       string // new with each export from the beginning; the parts' fingerprint
	Settings settings
	Parts    []part
}

// settings are what decides over the bytes in the files.
type settings struct {
	Database, Table     string
	Key, Columns, Where string
	Format              string
	Gzip                bool
	Partitions          int
	Query               string // its fingerprint
}

// A part is one file and the rows in it.
type part struct {
	Path  string
	Range keyset.Range[keyset.Key]
	Size  int64 // of the finished file
	Rows  int64 // in the finished file
}

// jobName names the export by its output, whatever way leads to the file.
func jobName(out string) (string, error) {
	path, err := filepath.Abs(out)
	if err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("the folder of -out: %w", err)
	}
	path = filepath.Join(dir, filepath.Base(path))
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	sum := sha256.Sum256([]byte(path))
	return fmt.Sprintf("%.100s-%x", strings.ToValidUTF8(filepath.Base(path), "_"), sum[:6]), nil
}

// partPath puts the number of a part before the file's endings: a.2of4.csv.gz.
func partPath(out string, i, n int) string {
	if n == 1 {
		return out
	}
	dir, base := filepath.Split(out)
	name, endings := base, ""
	for _, ending := range []string{".gz", ".csv", ".jsonl", ".ndjson"} {
		if rest, ok := strings.CutSuffix(name, ending); ok && rest != "" {
			name, endings = rest, ending+endings
		}
	}
	return filepath.Join(dir, fmt.Sprintf("%s.%dof%d%s", name, i+1, n, endings))
}

// difference names the first setting that is not as it was.
func (s settings) difference(was settings) string {
	for _, d := range []struct {
		flag     string
		now, was any
	}{
		{"-dsn", s.Database, was.Database},
		{"-table", s.Table, was.Table},
		{"-key", s.Key, was.Key},
		{"-columns", s.Columns, was.Columns},
		{"-where", s.Where, was.Where},
		{"-format", s.Format, was.Format},
		{"-gzip", s.Gzip, was.Gzip},
		{"-partitions", s.Partitions, was.Partitions},
		{"the query", s.Query, was.Query},
	} {
		if d.now != d.was {
			return fmt.Sprintf("%s is now %#v, and was %#v", d.flag, d.now, d.was)
		}
	}
	return ""
}

// openPlan takes the export's lock and finds the plan that it began with.
// The plan has no parts where it has not begun.
func (e *export) openPlan(ctx context.Context) (p plan, err error) {
	var options []cursor.OpenOption
	if e.restart {
		options = append(options, cursor.Discard())
	}
	if e.checkpoint, err = cursor.Open[plan](ctx, e.stores, e.job, options...); err != nil {
		return plan{}, err
	}
	stored := e.checkpoint.Position()
	if stored == nil {
		return plan{ID: rand.Text(), Settings: e.settings}, nil
	}
	if diff := e.settings.difference(stored.Settings); diff != "" {
		return plan{}, fmt.Errorf("%w: %s was begun with other flags: %s", cursor.ErrMismatch, e.out, diff)
	}
	return *stored, nil
}

// split makes the parts of a new plan.
func (e *export) split(ctx context.Context) ([]part, error) {
	if e.partitions == 1 {
		return []part{{Path: e.out}}, nil
	}
	ranges, err := e.source.Split(ctx, e.partitions)
	if err != nil {
		return nil, fmt.Errorf("split the key into ranges: %w", err)
	}
	parts := make([]part, len(ranges))
	for i, r := range ranges {
		parts[i] = part{Path: partPath(e.out, i, len(ranges)), Range: r}
	}
	return parts, nil
}

// claim refuses files that are there and are not this export's. The database
// itself it refuses whatever is asked for.
func (e *export) claim(parts []part) error {
	var source os.FileInfo // nil where the database is no file
	if path, isFile := strings.CutPrefix(e.db.name, "sqlite:"); isFile {
		var err error
		if source, err = os.Stat(path); err != nil {
			return err
		}
	}
	for _, p := range parts {
		info, err := os.Stat(p.Path)
		switch {
		case err != nil:
			return err
		case source != nil && os.SameFile(source, info):
			return advise("Choose another -out.", "%s is the database that is to be exported", p.Path)
		case info.Size() > 0 && !e.restart:
			return advise("Move it away, or choose another -out. If it is to be overwritten: "+e.command()+" -restart",
				"%s is there, and no checkpoint says that this export wrote it (looked in %s)", p.Path, e.checkpoints())
		}
	}
	return nil
}

// checkpoints says where the checkpoints are.
func (e *export) checkpoints() string {
	if e.store == "db" {
		return "the database " + e.db.name
	}
	return "the folder " + e.state
}

// summary says what is in the files of a finished export.
func (p plan) summary() string {
	rows, size := int64(0), int64(0)
	for _, part := range p.Parts {
		rows, size = rows+part.Rows, size+part.Size
	}
	name := p.Parts[0].Path
	if n := len(p.Parts); n > 1 {
		name = fmt.Sprintf("%d files, %s to %s", n, name, p.Parts[n-1].Path)
	}
	return fmt.Sprintf("%s, %s bytes in %s", countOf(rows, "row"), thousands(size), name)
}

// unchanged looks whether the files of a finished export are still what they were.
func (p plan) unchanged() error {
	for _, part := range p.Parts {
		info, err := os.Stat(part.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%w: the export is complete, but %s is gone", cursor.ErrOutputChanged, part.Path)
		case err != nil:
			return err
		case info.Size() != part.Size:
			return fmt.Errorf("%w: the export is complete, but %s has %s bytes and had %s when it was finished",
				cursor.ErrOutputChanged, part.Path, thousands(info.Size()), thousands(part.Size))
		}
	}
	return nil
}
