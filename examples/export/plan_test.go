package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The second run of an export of nothing finds the file as the first has left it.
func TestEmptyGzipTwice(t *testing.T) {
	t.Parallel()
	dir, dsn := t.TempDir(), newSQLite(t, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
	for _, args := range [][]string{{"-out=t.csv.gz"}, {"-out=t.jsonl.gz"}, {"-out=h.csv.gz", "-header=false"}} {
		args = append(args, "-dsn="+dsn, "-table=t")
		mustRun(t, dir, exitDone, "done: 0 rows", args...)
		mustRun(t, dir, exitDone, "nothing to do", args...)
	}
	same(t, "no rows", read(t, dir+"/t.jsonl.gz"), "")
}

// An export from the beginning into other files leaves none of those of the export before.
func TestRestartLeavesNoStaleParts(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn := newDemo(t, 1000)
	files := func(dir string) string {
		found, err := filepath.Glob(dir + "/*.csv")
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range found {
			found[i] = filepath.Base(f)
		}
		return strings.Join(found, " ")
	}
	args := []string{"-dsn=" + dsn, "-table=orders", "-out=o.csv"}
	want := undisturbed(t, append(args, "-partitions=3"), []string{"o.1of3.csv", "o.2of3.csv", "o.3of3.csv"})
	for _, finished := range []bool{true, false} {
		dir := t.TempDir()
		write(t, dir+"/o.9of9.csv", "somebody's")
		if finished {
			mustRun(t, dir, exitDone, "done", append(args, "-partitions=4")...)
		} else {
			startSlow(t, dir, append(args, "-partitions=4", "-rate=200", "-page=10", "-commit=10")...).end(os.Kill)
		}
		mustRun(t, dir, exitFailed, "-partitions is now 3", append(args, "-partitions=3")...)
		mustRun(t, dir, exitDone, "removed o.4of4.csv", append(args, "-partitions=3", "-restart")...)
		if got := files(dir); got != "o.1of3.csv o.2of3.csv o.3of3.csv o.9of9.csv" {
			t.Errorf("there are %s", got)
		}
		for i, content := range rawFiles(t, dir, []string{"o.1of3.csv", "o.2of3.csv", "o.3of3.csv"}) {
			same(t, "a part", content, want[i])
		}
		mustRun(t, dir, exitDone, "nothing to do", append(args, "-partitions=3")...)
		mustRun(t, dir, exitDone, "removed o.3of3.csv", append(args, "-restart")...)
		if got := files(dir); got != "o.9of9.csv o.csv" {
			t.Errorf("there are %s", got)
		}
	}
}

// A NULL in a row of one column is a line that readers see.
func TestSingleNull(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dir, dsn := t.TempDir(), newSQLite(t, "CREATE TABLE t (id INTEGER PRIMARY KEY, a)", `INSERT INTO t VALUES (1, NULL), (2, ''), (3, '\N'), (4, 'x;y')`)
	args := []string{"-dsn=" + dsn, "-table=t", "-columns=a"}
	for _, test := range []struct{ args, out, want string }{
		{"", "a.csv", "a\n\\N\n\"\"\n\"\\N\"\nx;y\n"},
		{`-null=\N`, "n.csv", "a\n\\N\n\"\"\n\"\\N\"\nx;y\n"},
		{"-null=NULL -header=false", "b.csv", "NULL\n\"\"\n\"\\N\"\nx;y\n"},
		{"-delimiter=;", "c.csv", "a\n\\N\n\"\"\n\"\\N\"\n\"x;y\"\n"},
		{"", "d.tsv", "a\n\\N\n\n\\\\N\nx;y\n"},
		{"", "e.jsonl", "{\"a\":null}\n{\"a\":\"\"}\n{\"a\":\"\\\\N\"}\n{\"a\":\"x;y\"}\n"},
	} {
		mustRun(t, dir, exitDone, "done: 4 rows", append(append(args, strings.Fields(test.args)...), "-out="+test.out)...)
		same(t, test.out, read(t, filepath.Join(dir, test.out)), test.want)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn, dir := newDemo(t, 1000), t.TempDir()
	mustRun(t, dir, exitDone, "no export has left a checkpoint in the folder .pipeline-state", "-status")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("a look left %v behind, %v", entries, err)
	}
	args := []string{"-dsn=" + dsn, "-table=orders"}
	for _, store := range []string{"file", "db"} {
		mustRun(t, dir, exitDone, "done", append(args, "-out=done.csv", "-store="+store, "-restart")...)
		p := startSlow(t, dir, append(args, "-out=going.csv", "-partitions=2", "-rate=200", "-page=10", "-commit=10", "-store="+store, "-restart")...)
		look := []string{"-status"}
		if store == "db" {
			look = []string{"-status", "-store=db", "-dsn=" + dsn}
		}
		r := mustRun(t, dir, exitDone, "HELD BY", look...)
		lines := map[string]string{}
		for line := range strings.Lines(r.stdout) {
			name, rest, _ := strings.Cut(line, " ")
			lines[name] = rest
		}
		if l := lines["done.csv"]; !strings.Contains(l, "1,000") || !strings.Contains(l, "complete") || !strings.Contains(l, "seconds ago") {
			t.Errorf("of a complete one it says %q:\n%s", l, r.stdout)
		}
		if l := lines["going.1of2.csv"]; !strings.Contains(l, "under way") || !strings.Contains(l, `{"int":"`) || strings.Contains(l, " - ") {
			t.Errorf("of one under way it says %q:\n%s", l, r.stdout)
		}
		if code := p.end(os.Interrupt); code != exitInterrupted {
			t.Errorf("the look disturbed it: %d: %s", code, p.stderr)
		}
	}
}
