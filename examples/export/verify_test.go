package main

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// -verify says that a table and its files have the same rows, whatever the form of the files
// and of the export.
func TestVerify(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	statements := []string{
		"CREATE TABLE t (id int PRIMARY KEY, a text)", "CREATE TABLE none (a text)", "CREATE TABLE empty (id int PRIMARY KEY)",
		"INSERT INTO t VALUES (1, 'x'), (2, 'a \"b\"\n,c'), (3, ''), (4, NULL), (5, 'Zoë'), (6, 'x'), (7, 'tab\t')",
		"INSERT INTO none VALUES ('x'), ('x'), ('line\nend')",
	}
	pg, _ := newServerTables(t, postgresServer, statements...)
	my, _ := newServerTables(t, mariaDBServer, statements...)
	all := []string{newSQLite(t, statements...), pg, my}
	first := rand.N(len(all))
	for i, dsn := range all {
		for j, args := range []string{
			"-table=t -out=o.csv", "-table=t -out=o.tsv.gz", "-table=t -out=o.jsonl", "-table=t -out=o.csv -header=false -null=NULL -delimiter=;",
			"-table=t -out=o.csv.gz -partitions=3", "-table=t -out=o.csv.zst", "-table=t,none,empty -out=folder -format=tsv", "-table=t -out=o.csv -limit=3", "-table=t -out=o.csv -until=4",
			"-table=t -out=o.csv -more", "-table=none -out=o.csv", "-table=empty -out=o.csv -more", "-table=t -out=o.csv -columns=a -where=id>2",
		} {
			if !thorough() && (first+j)%len(all) != i {
				continue // each form on one of them, another one each time
			}
			dir := t.TempDir()
			all := append([]string{"-dsn=" + dsn, "-verify"}, strings.Fields(args)...)
			for _, says := range []string{"done: ", "nothing to do"} {
				if strings.Contains(args, "-more") {
					says = "done: " // -more looks for more
				}
				r := mustRun(t, dir, exitDone, says, all...)
				if !strings.Contains(r.stdout, "verified ") {
					t.Errorf("%s does not say that it is verified: %s", args, r.stdout)
				}
			}
		}
	}
	mustRun(t, t.TempDir(), exitFailed, "without an order", "-dsn="+my, "-table=none", "-limit=1", "-verify")
	mustRun(t, t.TempDir(), exitUsage, "cannot go with -out -", "-dsn="+my, "-table=t", "-out=-", "-verify")
}

// A difference of one byte is found, wherever it is; another order is none.
func TestVerifyFindsDifferences(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	for _, change := range []string{
		"UPDATE t SET a = 'row x' WHERE id = 500", "DELETE FROM t WHERE id = 500", "INSERT INTO t VALUES (0, 'new')", "UPDATE t SET id = id + 7000 WHERE id = 500",
	} {
		dsn, dir := newSQLite(t, keyed(1000)...), t.TempDir()
		args := []string{"-dsn=" + dsn, "-table=t", "-out=o.jsonl.gz"}
		mustRun(t, dir, exitDone, "the same 1,000 rows, checksum", append(args, "-verify")...)
		if _, err := openSQLite(t, dsn).Exec(change); err != nil {
			t.Fatal(err)
		}
		mustRun(t, dir, exitFailed, "the table and the file differ: t has", append(args, "-verify")...)
		mustRun(t, dir, exitDone, "nothing to do", args...)
	}

	dsn, dir := newSQLite(t, keyed(1000)...), t.TempDir()
	args := []string{"-dsn=" + dsn, "-table=t", "-out=o.csv", "-verify"}
	mustRun(t, dir, exitDone, "verified", args...)
	content := read(t, dir+"/o.csv")
	for _, file := range []struct {
		old, new string
		code     int
		says     string
	}{
		{"row 123\n", "row 124\n", exitFailed, "differ: t has 1,000 rows"},
		{"\n8,row 8\n", "\n8,row\n8\n", exitFailed, "and what was written 1,001 rows"},
		{"id,a\n", "id,b\n", exitFailed, "names the columns"},
		{"1000,row 1000\n", "1000,row 1000 ", exitFailed, "EOF"},
		{"8,row 8\n9,row 9\n", "9,row 9\n8,row 8\n", exitDone, "verified"},
	} {
		write(t, dir+"/o.csv", strings.Replace(content, file.old, file.new, 1))
		mustRun(t, dir, file.code, file.says, args...)
	}
}
