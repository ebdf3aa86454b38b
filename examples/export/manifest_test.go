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
