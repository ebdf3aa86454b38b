package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"example.com/pipeline/examples/export/advice"
	"example.com/pipeline/examples/export/plan"
	"example.com/pipeline/seq"
)

// A manifest says what is in the files of a finished export, for who gets them. There is no
// time in it, nor anything else that would differ between two runs with the same rows.
type manifest struct {
	Manifest int             `json:"manifest"` // the version of this format
	Database string          `json:"database"`
	Format   string          `json:"format"`
	Compress string          `json:"compress,omitempty"`
	Tables   []manifestTable `json:"tables"`
}

type manifestTable struct {
	Table   string           `json:"table"`
	Key     []string         `json:"key,omitempty"`
	Columns []manifestColumn `json:"columns"`
	Rows    int64            `json:"rows"`
	Files   []manifestFile   `json:"files"`
}

type manifestColumn struct {
	Name string `json:"name"`
	Type string `json:"type"` // as the database names it
}

type manifestFile struct {
	File   string `json:"file"` // beside the manifest
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // of the file as it is, compressed or not
}

// manifestVersion is of the format.
const manifestVersion = 1

// manifestPath is where the manifest is: beside the file, or in the folder.
func (e *export) manifestPath() string {
	if e.several() {
		return filepath.Join(e.folder, "manifest.json")
	}
	return e.out + ".manifest.json"
}

// ownManifest reports whether there is a file where the manifest is to be, and whether it is
// a manifest.
func (e *export) ownManifest() (there, own bool, err error) {
	data, err := os.ReadFile(e.manifestPath())
	if errors.Is(err, fs.ErrNotExist) {
		return false, false, nil
	}
	var m manifest
	return true, json.Unmarshal(data, &m) == nil && m.Manifest > 0 && len(m.Tables) > 0, err
}

// claimManifest refuses a file of somebody else's in the place of the manifest.
func (e *export) claimManifest() error {
	if !e.manifest {
		return nil
	}
	there, own, err := e.ownManifest()
	if err == nil && there && !own && !e.restart {
		err = advice.New("Move it away, or choose another -out.", "-manifest: %s is there, and is no manifest", e.manifestPath())
	}
	return err
}

// dropManifest removes the manifest of an export before: what it says will not hold.
func (e *export) dropManifest() error {
	there, own, err := e.ownManifest()
	if err == nil && there && own {
		err = os.Remove(e.manifestPath())
	}
	return err
}

// writeManifest writes the manifest of a finished export, whole or not at all.
func (e *export) writeManifest(ctx context.Context, p plan.Plan) error {
	m := manifest{Manifest: manifestVersion, Database: p.Settings.Database, Format: p.Settings.Format, Compress: p.Settings.Compress}
	for i, table := range e.sources {
		t := manifestTable{Table: table.Name, Key: table.Key()}
		for _, c := range table.Columns {
			t.Columns = append(t.Columns, manifestColumn{c.Name, c.Type})
		}
		for _, part := range p.Parts {
			if part.Table != i {
				continue
			}
			sum, err := fileSum(ctx, part.Path(e.folder))
			if err != nil {
				return fmt.Errorf("-manifest: %w", err)
			}
			t.Rows += part.Rows
			t.Files = append(t.Files, manifestFile{part.File, part.Rows, part.Size, sum})
		}
		m.Tables = append(m.Tables, t)
	}
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	path := e.manifestPath()
	if err := replaceFile(path, append(data, '\n')); err != nil {
		return fmt.Errorf("-manifest: %w", err)
	}
	e.event("manifest", []any{"file", path}, "the manifest is in %s", path)
	return nil
}

// fileSum returns the SHA-256 of a file.
func fileSum(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	for err == nil {
		if ctx.Err() != nil {
			return "", seq.ContextError(ctx)
		}
		_, err = io.CopyN(h, f, 16<<20)
	}
	if err != io.EOF {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// replaceFile writes a file under another name and renames it when it is on the disk.
func replaceFile(path string, data []byte) error {
	making := path + ".making"
	if err := os.WriteFile(making, data, 0o666); err != nil {
		return err
	}
	if err := syncFile(making); err != nil {
		return errors.Join(err, os.Remove(making))
	}
	return os.Rename(making, path)
}
