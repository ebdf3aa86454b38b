package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// -status beside the flags of an export, or those of them that say where it is, finds it.
func TestStatusFindsTheExport(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn := newSQLite(t, append(keyed(10), "CREATE TABLE u (id INTEGER PRIMARY KEY)")...)
	for _, test := range []struct {
		name, says string
		args, look []string
	}{
		{"several", "u.csv", []string{"-table=t,u", "-out=folder"}, []string{"-out=folder"}},
		{"a schema", "u.csv", []string{"-table=*", "-out=folder", "-compress=gzip", "-exclude=x"}, []string{"-out=./folder"}},
		{"a folder with a slash", "main.u.csv", []string{"-table=main.*", "-out=folder/"}, []string{"-out=folder"}},
		{"one", "o.csv", []string{"-table=t", "-out=o.csv", "-where=id>2", "-verify", "-quiet"}, []string{"-out=o.csv"}},
		{"one that is named by its table", "t.csv", []string{"-table=t", "-manifest"}, nil},
		{"a query", "q.csv", []string{"-query=SELECT id FROM t", "-key=id", "-out=q.csv"}, []string{"-out=q.csv"}},
		{"a state of its own", "u.csv", []string{"-table=t,u", "-out=folder", "-state=s"}, []string{"-state=s"}},
		{"in the database", "u.csv", []string{"-table=t,u", "-out=folder", "-store=db"}, []string{"-store=db", "-dsn=" + dsn}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, own := t.TempDir(), append([]string{"-dsn=" + dsn}, test.args...)
			before := mustRun(t, dir, exitDone, "no export has left a checkpoint in", append(own, "-status", "-quiet=false", "-store=file")...)
			if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
				t.Errorf("a look left %v behind, %v: %s", entries, err, before.stdout)
			}
			mustRun(t, dir, exitDone, "", own...)
			for _, args := range [][]string{append(own, "-status"), append(test.look, "-status")} {
				if len(args) == 1 && test.look != nil {
					continue
				}
				r := mustRun(t, dir, exitDone, "complete", args...)
				if !strings.Contains(r.stdout, "\n"+test.says) {
					t.Errorf("%q: %s", args, r.stdout)
				}
			}
		})
	}
}

// A database in which no export has left anything is no error.
func TestStatusOfAFreshDatabase(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	pg, _ := newServerTables(t, postgresServer)
	my, _ := newServerTables(t, mariaDBServer)
	for _, dsn := range []string{newSQLite(t, keyed(1)...), pg, my} {
		mustRun(t, t.TempDir(), exitDone, "no export has left a checkpoint in the database ", "-status", "-store=db", "-dsn="+dsn)
	}
	cmd := command(t, t.TempDir(), "-status", "-store=db")
	cmd.Env = append(cmd.Env, "DATABASE_URL="+pg)
	if r := execute(t, cmd); r.code != exitDone || !strings.Contains(r.stdout, "in the database postgres://") {
		t.Errorf("with DATABASE_URL: %+v", r)
	}
	mustRun(t, t.TempDir(), exitUsage, "-store must be", "-status", "-store=disk")
}

// A checkpoint that cannot be read is told beside all the others, and is a failure.
func TestStatusOfADamagedCheckpoint(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn, dir := newSQLite(t, keyed(10)...), t.TempDir()
	for _, out := range []string{"a.csv", "b.csv", "c.csv"} {
		mustRun(t, dir, exitDone, "done", "-dsn="+dsn, "-table=t", "-out="+out)
	}
	files, err := filepath.Glob(dir + "/.pipeline-state/b*csv-????????????.checkpoint")
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	write(t, files[0], "{")
	r := mustRun(t, dir, exitFailed, "damaged", "-status")
	for _, out := range []string{"a.csv ", "b.csv", "c.csv "} {
		if !strings.Contains(r.stdout, out) {
			t.Errorf("nothing of %s: %s", out, r.stdout)
		}
	}
	if strings.Contains(r.stderr, "-status=true") || !strings.Contains(r.stderr, "b.csv") {
		t.Errorf("%s", r.stderr)
	}
	r = mustRun(t, dir, exitFailed, "there is no file", "-status", "-store=db", "-dsn=none.db")
	if strings.Contains(r.stderr, "-status=true") || strings.Contains(r.stderr, "-restart") {
		t.Errorf("%s", r.stderr)
	}
}
