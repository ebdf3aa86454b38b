package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// An export with -more goes on behind its last row, also where it was killed, and without
// -more.
func TestMore(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	for _, s := range []server{postgresServer, mariaDBServer, {}} {
		t.Run(s.driver, func(t *testing.T) {
			t.Parallel()
			moreOn(t, s)
		})
	}
}

func moreOn(t *testing.T, s server) {
	statements := []string{"CREATE TABLE t (id int PRIMARY KEY, a int)"}
	dsn := newSQLite(t, statements...)
	db := openSQLite(t, dsn)
	if s.driver != "" {
		dsn, db = newServerTables(t, s, statements...)
	}
	insert := func(from, to int) {
		t.Helper()
		for ; from <= to; from += 500 {
			var values []string
			for id := from; id <= min(from+499, to); id++ {
				values = append(values, fmt.Sprintf("(%d,%d)", id, id*7))
			}
			if _, err := db.Exec("INSERT INTO t VALUES " + strings.Join(values, ",")); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := t.TempDir()
	for _, out := range []string{"-out=o.csv", "-out=o.jsonl.gz"} {
		args := []string{"-dsn=" + dsn, "-table=t", out, "-more", "-commit=50", "-page=20"}
		if out == "-out=o.csv" {
			mustRun(t, dir, exitDone, "done: 0 rows", args...)
			insert(1, 1000)
		}
		mustRun(t, dir, exitDone, "done: 1,000 rows", append(args, "-partitions=1")...)
		mustRun(t, dir, exitDone, "done: 1,000 rows", args...)
		mustRun(t, dir, exitDone, "nothing to do", args[:3]...)
	}
	insert(1001, 4000)
	for _, out := range []string{"o.csv", "o.jsonl.gz"} {
		args := []string{"-dsn=" + dsn, "-table=t", "-out=" + out, "-commit=50", "-page=20"}
		p := startSlow(t, dir, append(args, "-more", "-rate=300")...)
		p.end(os.Kill)
		// Without -more it goes on, too.
		mustRun(t, dir, exitDone, "done: 4,000 rows", args...)
		mustRun(t, dir, exitDone, "done: 4,000 rows", append(args, "-more")...)
		whole := t.TempDir()
		mustRun(t, whole, exitDone, "done: 4,000 rows", args...)
		same(t, s.driver+" "+out, read(t, dir+"/"+out), read(t, whole+"/"+out))
		r := mustRun(t, whole, exitDone, "done: 4,000 rows", append(args, "-more")...)
		if !strings.Contains(r.stdout, "without -more") {
			t.Errorf("it does not say what may be missing: %s", r.stdout)
		}
		write(t, whole+"/"+out, "x")
		mustRun(t, whole, exitFailed, "changed", append(args, "-more")...)
	}
	mustRun(t, dir, exitFailed, "has none", "-dsn="+dsn, "-query=SELECT a FROM t", "-out=q.csv", "-more")
}

// keyed makes a table t with so many rows in SQLite.
func keyed(rows int) []string {
	return []string{
		"CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL)",
		fmt.Sprintf("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO t SELECT i, 'row ' || i FROM n", rows),
	}
}
