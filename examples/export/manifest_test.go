package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// -manifest says what is in the files, and never of files that have changed since.
func TestManifest(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn, dir := newSQLite(t, append(keyed(3000), "CREATE TABLE empty (id INTEGER PRIMARY KEY)")...), t.TempDir()
	base := []string{"-dsn=" + dsn, "-table=t", "-manifest"}
	check := func(path, tables string, files ...string) {
		t.Helper()
		var m manifest
		if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, path))), &m); err != nil {
			t.Fatal(err)
		}
		var names, found []string
		for _, table := range m.Tables {
			names = append(names, table.Table)
			var rows int64
			for _, f := range table.Files {
				raw, err := os.ReadFile(filepath.Join(dir, filepath.Dir(path), f.File))
				if err != nil {
					t.Fatal(err)
				}
				sum := sha256.Sum256(raw)
				text := read(t, filepath.Join(dir, filepath.Dir(path), f.File))
				if int(f.Bytes) != len(raw) || f.SHA256 != hex.EncodeToString(sum[:]) || int(f.Rows) != strings.Count(text, "\n")-1 {
					t.Errorf("%s: %+v", path, f)
				}
				rows += f.Rows
				found = append(found, f.File)
			}
			if rows != table.Rows || table.Columns[0] != (manifestColumn{"id", "integer"}) || table.Key[0] != "id" {
				t.Errorf("%s: %+v", path, table)
			}
		}
		if strings.Join(names, ",") != tables || strings.Join(found, " ") != strings.Join(files, " ") {
			t.Errorf("%s: the tables %v in %v", path, names, found)
		}
	}
	args := append(base, "-out=o.csv")
	mustRun(t, dir, exitDone, "done: 3,000 rows", args...)
	check("o.csv.manifest.json", "t", "o.csv")
	mustRun(t, dir, exitDone, "the manifest is in", append(base, "-out=p.csv.gz", "-partitions=2")...)
	check("p.csv.gz.manifest.json", "t", "p.1of2.csv.gz", "p.2of2.csv.gz")
	mustRun(t, dir, exitDone, "the manifest is in", "-dsn="+dsn, "-table=t,empty", "-out=folder", "-manifest")
	check("folder/manifest.json", "t,empty", "t.csv", "empty.csv")

	// One that is gone comes again, and one that no longer holds goes.
	if err := os.Remove(dir + "/o.csv.manifest.json"); err != nil {
		t.Fatal(err)
	}
	mustRun(t, dir, exitDone, "nothing to do", args...)
	check("o.csv.manifest.json", "t", "o.csv")
	mustRun(t, dir, exitDone, "done", "-dsn="+dsn, "-table=t", "-out=o.csv", "-restart", "-where=id>5")
	if _, err := os.Stat(dir + "/o.csv.manifest.json"); err == nil {
		t.Error("the manifest of the export before is still there")
	}
	write(t, dir+"/f.csv.manifest.json", `{"of": "somebody"}`)
	mustRun(t, dir, exitFailed, "is no manifest", append(base, "-out=f.csv")...)
	mustRun(t, dir, exitDone, "done", "-dsn="+dsn, "-table=t", "-out=f.csv")
	same(t, "somebody's file", read(t, dir+"/f.csv.manifest.json"), `{"of": "somebody"}`)
	mustRun(t, dir, exitUsage, "cannot go with -out -", append(base, "-out=-")...)
}

// What lies where the manifest is made is never written through: a link's target stays as it is.
func TestManifestFollowsNoLink(t *testing.T) {
	t.Parallel()
	dsn, dir := newSQLite(t, keyed(10)...), t.TempDir()
	precious := filepath.Join(t.TempDir(), "precious")
	write(t, precious, "precious")
	args := []string{"-dsn=" + dsn, "-table=t", "-out=o.csv", "-manifest"}
	for _, end := range []string{"", ".making"} {
		if err := os.Symlink(precious, dir+"/o.csv.manifest.json"+end); err != nil {
			t.Skip(err)
		}
		mustRun(t, dir, exitDone, "the manifest is in", append(args, "-restart")...)
		same(t, "the link's target", read(t, precious), "precious")
		if info, err := os.Lstat(dir + "/o.csv.manifest.json"); err != nil || !info.Mode().IsRegular() {
			t.Errorf("the manifest is %v, %v", info, err)
		}
		if _, err := os.Lstat(dir + "/o.csv.manifest.json.making"); err == nil {
			t.Error("the file that was made is still there")
		}
	}
	write(t, dir+"/o.csv.manifest.json.making", "cut sho") // of a run that was killed
	mustRun(t, dir, exitDone, "the manifest is in", args...)
	if err := os.Mkdir(dir+"/o.csv.manifest.json.making", 0o777); err != nil {
		t.Fatal(err)
	}
	mustRun(t, dir, exitFailed, "is a folder", args...)
	if _, err := os.Stat(dir + "/o.csv.manifest.json.making"); err != nil {
		t.Error(err)
	}
}

// The database is never written over, whatever it is called.
func TestManifestIsNotTheDatabase(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	for _, end := range []string{"", ".making"} {
		dir := t.TempDir()
		path := dir + "/o.csv.manifest.json" + end
		if err := os.Rename(strings.TrimPrefix(newSQLite(t, keyed(10)...), "sqlite:"), path); err != nil {
			t.Fatal(err)
		}
		before := read(t, path)
		mustRun(t, dir, exitFailed, "over the database", "-dsn="+path, "-table=t", "-out=o.csv", "-manifest", "-restart")
		same(t, "the database", read(t, path), before)
		args := []string{"-dsn=" + path, "-table=t", "-out=o.csv"}
		mustRun(t, dir, exitDone, "done", append(args, "-restart")...)
		mustRun(t, dir, exitFailed, "", append(args, "-manifest")...) // of a complete export
		same(t, "the database", read(t, path), before)
	}
}
