package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keyless are tables without a usable key: none, one that may be NULL, a floating point
// number. Their rows are told apart by n.
func keyless(rows int, series string) []string {
	var statements []string
	for _, t := range []string{"none (n int, txt varchar(40))", "maybe (n int UNIQUE, txt varchar(40))", "inexact (n double precision PRIMARY KEY, txt varchar(40))"} {
		name, _, _ := strings.Cut(t, " ")
		statements = append(statements, "CREATE TABLE "+t, fmt.Sprintf("INSERT INTO %s SELECT n, CASE WHEN n %% 3 > 0 THEN 'row ' || n END FROM (%s) AS s", name, fmt.Sprintf(series, rows)))
	}
	return statements
}

const (
	sqliteSeries   = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < %d) SELECT n FROM s"
	postgresSeries = "SELECT n FROM generate_series(1, %d) AS n"
	mariaDBSeries  = "SELECT seq AS n FROM seq_1_to_%d"
)

// A table without a usable key is exported all the same, and a line says what holds.
func TestTablesWithoutKey(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	const rows = 20_000
	run := func(system, dsn, says string) {
		t.Run(system, func(t *testing.T) {
			t.Parallel()
			for _, table := range []string{"none", "maybe", "inexact"} {
				dir := t.TempDir()
				r := mustRun(t, dir, exitDone, "done: 20,000 rows", "-dsn="+dsn, "-table="+table)
				if !strings.Contains(r.stdout, says) {
					t.Errorf("%s: it says %s, want %q", table, r.stdout, says)
				}
				content := read(t, filepath.Join(dir, table+".csv"))
				seen := map[string]bool{}
				for line := range strings.Lines(content) {
					seen[line] = true
				}
				if len(seen) != rows+1 || strings.Count(content, "\n") != rows+1 || !seen["3,\n"] || !seen[fmt.Sprintf("%d,row %[1]d\n", rows)] {
					t.Errorf("%s: %d different lines of %d", table, len(seen), strings.Count(content, "\n"))
				}
			}
		})
	}
	run("sqlite", newSQLite(t, keyless(rows, sqliteSeries)...), "by their rowid")
	pg, _ := newServerTables(t, postgresServer, keyless(rows, postgresSeries)...)
	run("postgres", pg, "where they lie (ctid)")
	my, _ := newServerTables(t, mariaDBServer, append([]string{"SET sql_mode = CONCAT(@@sql_mode, ',PIPES_AS_CONCAT')"}, keyless(rows, mariaDBSeries)...)...)
	run("mariadb", my, "begins anew")
}

// Ranges of blocks are cut and read so that each row comes once, also with holes.
func TestRangesOfCtids(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn, db := newServerTables(t, postgresServer, keyless(100_000, postgresSeries)...)
	for _, s := range []string{"DELETE FROM none WHERE n BETWEEN 30000 AND 60000 OR n % 7 = 0", "VACUUM none"} {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	var want int
	if err := db.QueryRow("SELECT count(*) FROM none").Scan(&want); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mustRun(t, dir, exitDone, fmt.Sprintf("done: %s rows", thousands(int64(want))), "-dsn="+dsn, "-table=none")
	mustRun(t, dir, exitDone, fmt.Sprintf("done: %s rows", thousands(int64(want))), "-dsn="+dsn, "-table=none", "-partitions=3", "-out=p.csv", "-header=false")
	_, whole, _ := strings.Cut(read(t, dir+"/none.csv"), "\n")
	same(t, "the parts", strings.Join(rawFiles(t, dir, []string{"p.1of3.csv", "p.2of3.csv", "p.3of3.csv"}), ""), whole)

	// A table that is written anew has other rows at the places where the export stands.
	startSlow(t, dir, "-dsn="+dsn, "-table=none", "-out=r.csv", "-rate=2000", "-commit=50").end(os.Kill)
	if _, err := db.Exec("VACUUM FULL none"); err != nil {
		t.Fatal(err)
	}
	mustRun(t, dir, exitFailed, "the query of", "-dsn="+dsn, "-table=none", "-out=r.csv")
}

// A view without -key, a partitioned table and a query are read in no order.
func TestWithoutOrder(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	pg, _ := newServerTables(t, postgresServer, "CREATE TABLE p (n int, d date) PARTITION BY RANGE (n)",
		"CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)", "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20)",
		"INSERT INTO p VALUES (1, '2026-01-01'), (11, NULL)", "CREATE VIEW v AS SELECT n, d FROM p")
	my, _ := newServerTables(t, mariaDBServer, "CREATE TABLE p (n int, d date)", "INSERT INTO p VALUES (1, '2026-01-01'), (11, NULL)", "CREATE VIEW v AS SELECT n, d FROM p")
	lite := newSQLite(t, "CREATE TABLE p (n int, d text)", "INSERT INTO p VALUES (1, '2026-01-01'), (11, NULL)", "CREATE VIEW v AS SELECT n, d FROM p")
	for system, dsn := range map[string]string{"postgres": pg, "mariadb": my, "sqlite": lite} {
		for i, args := range [][]string{{"-table=p"}, {"-table=v"}, {"-query=SELECT n, d FROM p -- all;"}, {"-table=v", "-where=n > 0", "-columns=n,d"}} {
			dir := t.TempDir()
			r := mustRun(t, dir, exitDone, "done: 2 rows", append(args, "-dsn="+dsn, "-out=o.csv")...)
			if got := read(t, dir+"/o.csv"); got != "n,d\n1,2026-01-01\n11,\n" {
				t.Errorf("%s, %v: %q", system, args, got)
			}
			if i > 0 && !strings.Contains(r.stdout, "begins anew") {
				t.Errorf("%s, %v: it does not say what holds: %s", system, args, r.stdout)
			}
			mustRun(t, dir, exitDone, "nothing to do", append(args, "-dsn="+dsn, "-out=o.csv")...)
		}
		mustRun(t, t.TempDir(), exitFailed, "no order", "-dsn="+dsn, "-table=v", "-out=o.csv", "-partitions=2")
	}
}

// A query is read by its key, as a view is.
func TestQuery(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	for _, s := range []server{postgresServer, mariaDBServer, {}} {
		dsn := newDemo(t, 3000)
		if s.driver != "" {
			dsn = newServerDemo(t, s, 3000)
		}
		dir := t.TempDir()
		args := []string{"-dsn=" + dsn, "-key=id", "-query=SELECT id, customer, cents * 2 AS twice FROM orders WHERE id % 2 = 1 -- the odd ones\n;"}
		mustRun(t, dir, exitDone, "done: 1,500 rows", append(args, "-out=o.csv", "-page=100")...)
		content := read(t, dir+"/o.csv")
		if !strings.HasPrefix(content, "id,customer,twice\n1,") || strings.Count(content, "\n") != 1501 {
			t.Errorf("%s: %.200s", s.driver, content)
		}
		mustRun(t, dir, exitFailed, "the query of", append(args[:2:2], "-out=o.csv", "-query=SELECT id, customer, cents * 3 AS twice FROM orders")...)
		mustRun(t, dir, exitFailed, "-query", append(args[:2:2], "-out=p.csv", "-query=SELECT nosuch FROM orders")...)
		if s.driver != "" { // SQLite calls the second id:1
			mustRun(t, dir, exitFailed, "-query", append(args[:2:2], "-out=p.csv", "-query=SELECT id, cents AS id FROM orders")...)
		}
		mustRun(t, dir, exitFailed, "another -key", "-dsn="+dsn, "-key=customer", "-out=p.csv", "-query=SELECT customer FROM orders")
	}
}
