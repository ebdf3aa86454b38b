package main

import (
	"strings"
	"testing"
)

// lines returns the first lines of a text.
func lines(text string, n int) string {
	return strings.Join(strings.SplitAfterN(text, "\n", n+1)[:n], "")
}

// -limit N writes the first N rows and the file ends there.
func TestLimit(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn, dir := newSQLite(t, keyed(3000)...), t.TempDir()
	base := []string{"-dsn=" + dsn, "-table=t"}
	all := undisturbed(t, append(base, "-out=o.csv"), []string{"o.csv"})[0]
	for _, test := range []struct{ limit, says string }{
		{"1", "done: 1 row,"}, {"999", "done: 999 rows"}, {"1000", "done: 1,000 rows"}, {"1001", "done: 1,001 rows"},
		{"3000", "done: 3,000 rows"}, {"9000", "done: 3,000 rows"},
	} {
		dir := t.TempDir()
		mustRun(t, dir, exitDone, test.says, append(base, "-out=o.csv", "-limit="+test.limit)...)
		got := read(t, dir+"/o.csv")
		same(t, "-limit="+test.limit, got, lines(all, strings.Count(got, "\n")))
		mustRun(t, dir, exitDone, "nothing to do", append(base, "-out=o.csv", "-limit="+test.limit)...)
		mustRun(t, dir, exitFailed, "-limit is now 2, and was "+test.limit, append(base, "-out=o.csv", "-limit=2")...)
	}
	r := mustRun(t, dir, exitDone, "", append(base, "-out=-", "-limit=7", "-quiet")...)
	same(t, "through a pipe", r.stdout, lines(all, 8))
	mustRun(t, dir, exitDone, "done: 5 rows", "-dsn="+dsn, "-query=SELECT a FROM t", "-out=q.csv", "-limit=5") // in no order
}

// -until KEY ends the file with a key of any type, rows that come behind it or not, split or not.
func TestUntil(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	const ( // each key a line of the file
		two    = "(a int, b varchar(20) NOT NULL, PRIMARY KEY (a, b))"
		twoRow = "(1, 'x'), (1, 'y, \"z\"'), (2, 'a'), (3, 'x')"
	)
	servers := map[string]func(statements ...string) string{
		"sqlite":   func(s ...string) string { return newSQLite(t, s...) },
		"postgres": func(s ...string) string { dsn, _ := newServerTables(t, postgresServer, s...); return dsn },
		"mariadb":  func(s ...string) string { dsn, _ := newServerTables(t, mariaDBServer, s...); return dsn },
	}
	for _, test := range []struct {
		systems, table, rows string
		until, last          string // "" means no row
	}{
		{"sqlite postgres mariadb", "(a bigint PRIMARY KEY NOT NULL)", "(1), (2), (9007199254740993), (9007199254740995)", "9007199254740994", "9007199254740993"},
		{"sqlite postgres mariadb", "(a bigint PRIMARY KEY NOT NULL)", "(1), (2)", "0", ""},
		{"sqlite postgres mariadb", "(a bigint PRIMARY KEY NOT NULL)", "(1), (2)", "99", "2"},
		{"sqlite postgres mariadb", two, twoRow, `1,"y, ""z"""`, `1,"y, ""z"""`},
		{"sqlite postgres mariadb", two, twoRow, "2,b", "2,a"},
		{"postgres", "(a uuid PRIMARY KEY)", "('00000000-0000-0000-0000-000000000001'), ('00000000-0000-0000-0000-000000000003')",
			"00000000-0000-0000-0000-000000000002", "00000000-0000-0000-0000-000000000001"},
		{"postgres", "(a timestamptz PRIMARY KEY)", "('2026-01-01 00:00:00.5Z'), ('2026-01-02 00:00Z')", "2026-01-01T01:00:00.5+01:00", "2026-01-01T00:00:00.5Z"},
		{"postgres", "(a timestamp PRIMARY KEY)", "('2026-01-01 00:00'), ('2026-01-02 00:00')", "2026-01-01", "2026-01-01T00:00:00"},
		{"postgres", "(a date PRIMARY KEY)", "('2026-01-01'), ('2026-01-02')", "2026-01-01", "2026-01-01"},
		{"postgres", "(a numeric PRIMARY KEY)", "(1.10), (1.20), (10)", "9.5", "1.20"},
		{"postgres", "(a bytea PRIMARY KEY)", `('\x01'), ('\x03')`, `\x02`, `\x01`},
		{"mariadb", "(a bigint unsigned PRIMARY KEY)", "(1), (18446744073709551614)", "18446744073709551615", "18446744073709551614"},
		{"mariadb", "(a datetime(3) PRIMARY KEY)", "('2026-01-01 00:00'), ('2026-01-02 00:00')", "2026-01-01 12:00:00", "2026-01-01 00:00:00.000"},
		{"sqlite", "(a text PRIMARY KEY NOT NULL)", "('2026-01-01'), ('2026-01-02')", "2026-01-01T12", "2026-01-01"},
	} {
		for system := range strings.FieldsSeq(test.systems) {
			dsn := servers[system]("CREATE TABLE t "+test.table, "INSERT INTO t VALUES "+test.rows)
			dir := t.TempDir()
			mustRun(t, dir, exitDone, "done", "-dsn="+dsn, "-table=t", "-until="+test.until, "-header=false")
			all := strings.Split(read(t, dir+"/t.csv"), "\n")
			if last := all[max(len(all)-2, 0)]; last != test.last {
				t.Errorf("%s %s until %s: the last row is %q, want %q", system, test.table, test.until, last, test.last)
			}
		}
	}

	dsn, dir := newSQLite(t, append(keyed(3000), "CREATE TABLE empty (id INTEGER PRIMARY KEY)", "CREATE TABLE none (a)", "INSERT INTO none VALUES (1)")...), t.TempDir()
	base := []string{"-dsn=" + dsn, "-table=t"}
	all := undisturbed(t, append(base, "-out=o.csv"), []string{"o.csv"})[0]
	parts := append(base, "-out=o.csv", "-until=2345", "-partitions=3", "-header=false")
	mustRun(t, dir, exitDone, "done: 2,345 rows", parts...)
	same(t, "split", "id,a\n"+strings.Join(rawFiles(t, dir, []string{"o.1of3.csv", "o.2of3.csv", "o.3of3.csv"}), ""), lines(all, 2346))
	r := mustRun(t, dir, exitDone, "", append(base, "-out=-", "-until=7", "-quiet")...)
	same(t, "through a pipe", r.stdout, lines(all, 8))
	mustRun(t, dir, exitDone, "done: 5 rows", append(base, "-out=l.csv", "-until=7", "-limit=5")...)
	mustRun(t, dir, exitDone, "done: 0 rows", "-dsn="+dsn, "-table=empty", "-until=7")
	mustRun(t, dir, exitFailed, "is no integer", append(base, "-out=f.csv", "-until=x")...)
	mustRun(t, dir, exitFailed, "2 values for the key of t (id)", append(base, "-out=f.csv", "-until=1,2")...)
	mustRun(t, dir, exitFailed, "not read by a key", "-dsn="+dsn, "-table=none", "-until=1")
	mustRun(t, dir, exitFailed, "-until", "-dsn="+servers["postgres"]("CREATE TABLE t (a uuid PRIMARY KEY)", "INSERT INTO t VALUES (gen_random_uuid())"), "-table=t", "-until=x", "-out=f.csv")
}
