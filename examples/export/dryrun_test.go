package main

import (
	"os"
	"strings"
	"testing"
)

// A dry run shows key, estimate, SQL and plan, and writes nothing.
func TestDryRun(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	for system, test := range map[string]struct{ dsn, plan string }{
		"sqlite":   {newDemo(t, 100), "PRIMARY KEY"},
		"postgres": {newServerDemo(t, postgresServer, 100), "Limit"},
		"mariadb":  {newServerDemo(t, mariaDBServer, 100), "key=PRIMARY"},
	} {
		dir := t.TempDir()
		r := mustRun(t, dir, exitDone, "by the key (id)", "-dry-run", "-dsn="+test.dsn, "-table=orders", "-out=o.csv.gz", "-where=id > 0 -- all", "-store=db")
		for _, has := range []string{"o.csv.gz (csv gzip)", "rows", "column  customer", "ORDER BY", "LIMIT 1001", test.plan} {
			if !strings.Contains(r.stdout, has) {
				t.Errorf("%s: %q is not in %s", system, has, r.stdout)
			}
		}
		mustRun(t, dir, exitDone, "order", "-dry-run", "-dsn="+test.dsn, "-table=*", "-out=folder")
		mustRun(t, dir, exitDone, "order  none", "-dry-run", "-dsn="+test.dsn, "-query=SELECT id FROM orders", "-out=q.csv")
		mustRun(t, dir, exitFailed, "-where", "-dry-run", "-dsn="+test.dsn, "-table=orders", "-where=nosuch = 1")
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("%s: it left %v behind, %v", system, entries, err)
		}
	}
	mustRun(t, t.TempDir(), exitUsage, "-dry-run needs -dsn", "-dry-run")
}

// A quiet run that ends well says nothing, one that fails what is wrong.
func TestQuiet(t *testing.T) {
	t.Parallel()
	dir, dsn := t.TempDir(), newDemo(t, 100)
	if r := mustRun(t, dir, exitDone, "", "-quiet", "-dsn="+dsn, "-table=orders", "-out=o.csv"); r.stdout != "" {
		t.Errorf("it says %q", r.stdout)
	}
	mustRun(t, dir, exitFailed, "nosuch", "-quiet", "-dsn="+dsn, "-table=nosuch")
	mustRun(t, dir, exitDone, "complete", "-quiet", "-status")
}

// Rows go to standard output, all that is said to standard error, and nothing is left.
func TestPipe(t *testing.T) {
	t.Parallel()
	dir, dsn := t.TempDir(), newDemo(t, 3000)
	whole := undisturbed(t, []string{"-dsn=" + dsn, "-table=orders", "-out=o.jsonl"}, []string{"o.jsonl"})[0]
	r := runIn(t, dir, "-dsn="+dsn, "-table=orders", "-out=-", "-format=jsonl")
	if r.code != exitDone || !strings.Contains(r.stderr, "cannot be gone on with") || !strings.Contains(r.stderr, "done: 3,000 rows") {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
	same(t, "standard output", r.stdout, whole)
	if r := runIn(t, dir, "-dsn="+dsn, "-table=orders", "-out=-", "-quiet"); r.code != exitDone || r.stderr != "" || strings.Count(r.stdout, "\n") < 3001 {
		t.Errorf("quietly, exit code %d: %s", r.code, r.stderr)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("it left %v behind, %v", entries, err)
	}
}
