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
	"runtime"
	"syscall"

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

// spareDatabase refuses a manifest that would be written over the database, whatever is asked for.
func (e *export) spareDatabase() error {
	if path := e.manifestPath(); e.db.Is(path) || e.db.Is(making(path)) {
		return advice.New("Choose another -out.", "-manifest: %s would be written over the database that is to be exported", path)
	}
	return nil
}

// dropManifest removes the manifest of an export before: what it says will not hold.
func (e *export) dropManifest() error {
	if e.manifest {
		if err := e.spareDatabase(); err != nil {
			return err
		}
	}
	there, own, err := e.ownManifest()
	if err == nil && there && own {
		err = os.Remove(e.manifestPath())
	}
	return err
}

// writeManifest writes the manifest of a finished export, whole or not at all.
func (e *export) writeManifest(ctx context.Context, p plan.Plan) error {
	if err := e.spareDatabase(); err != nil {
		return err
	}
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

// making is the name of a file until it is complete.
func making(path string) string { return path + ".making" }

// replaceFile writes a file under another name and renames it when it is on the disk. What lies
// under that name is what a run that was killed has left, or a link that must not be followed.
func replaceFile(path string, data []byte) (err error) {
	making := making(path)
	switch info, err := os.Lstat(making); {
	case err == nil && info.IsDir():
		return fmt.Errorf("%s is a folder, and in the way", making)
	case err == nil:
		err = os.Remove(making)
		if err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	f, err := os.OpenFile(making, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(making, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(making))
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder has a name in a folder last. Not all systems and file systems know that of a folder.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
