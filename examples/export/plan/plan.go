// Package plan says what goes into which file, and what may not change until it is there.
//
//	plan.go      the plan of an export: tables, and their parts
//	settings.go  the flags that decide over the bytes, and what of them has changed
//	name.go      what jobs and files are called
//
// The plan is saved before the first row: from then on the files are this export's, and a
// run that goes on uses the same ranges. It is kept as the position of a checkpoint, for
// the sake of the lock, the checksum and the choice of stores that come with one.
package plan

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
)

// A Plan is an export from its first run to its last.
type Plan struct {
	ID       string // new with each export from the beginning; the parts' fingerprint
	Settings Settings
	Parts    []Part
	More     bool    `json:",omitempty"` // each run ends where no commit can still come in before
	Restart  bool    `json:",omitempty"` // what was in the files before it is to be written over
	Finished bool    `json:",omitempty"` // the sizes of the parts are known
	Stale    []Stale `json:",omitempty"` // files of an export before, which are to be removed
}

// A Stale file is one that an export before has written, and how to know it by.
type Stale struct {
	File     string
	Part     int    // which it was
	ID       string // of its plan
	Compress string
	Made     string `json:",omitempty"` // as that of a Part
	Size     int64  // -1 where it was not finished
}

// A Part is one file and the rows in it.
type Part struct {
	Table int    // which of Settings.Tables
	File  string // in the folder of the output
	Range keyset.Range[keyset.Key]
	Made  string `json:",omitempty"` // the file's Identity when it became the part's
	Size  int64  // of the finished file
	Rows  int64  // in the finished file
}

// Path returns where a part's file is.
func (p Part) Path(folder string) string { return filepath.Join(folder, p.File) }

// Is reports whether the file at path can be the part's, to which nothing is committed yet: a
// checkpoint knows its file by what was committed. It says no of the files of a folder that
// was copied.
func (p Part) Is(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.Size() == 0 || p.Made == "" || Identity(path) == p.Made
}

// Supersede makes the files that only the plan before has stale.
func (p *Plan) Supersede(old Plan) {
	current := map[string]bool{}
	for _, part := range p.Parts {
		current[part.File] = true
	}
	stale := old.Stale
	for i, part := range old.Parts {
		one := Stale{part.File, i, old.ID, old.Settings.Compress, part.Made, -1}
		if old.Finished {
			one.Size = part.Size
		}
		stale = append(stale, one)
	}
	for _, one := range stale {
		if !current[one.File] {
			p.Stale = append(p.Stale, one)
		}
	}
}

// Totals returns what is in the files of a finished export.
func (p Plan) Totals() (rows, size int64) {
	for _, part := range p.Parts {
		rows, size = rows+part.Rows, size+part.Size
	}
	return rows, size
}

// Unchanged looks whether the files of a finished export are still what they were.
func (p Plan) Unchanged(folder string) error {
	for _, part := range p.Parts {
		path := part.Path(folder)
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%w: the export is complete, but %s is gone", cursor.ErrOutputChanged, path)
		case err != nil:
			return err
		case info.Size() != part.Size:
			return fmt.Errorf("%w: the export is complete, but %s has %d bytes and had %d when it was finished",
				cursor.ErrOutputChanged, path, info.Size(), part.Size)
		}
	}
	return nil
}
