package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// Several tables go into a folder, by one plan.
func TestSeveralTables(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	statements := []string{
		"CREATE TABLE a (id int PRIMARY KEY, v text)", "INSERT INTO a VALUES (1, 'x'), (2, NULL)",
		"CREATE TABLE nokey (v int)", "INSERT INTO nokey VALUES (7)", "CREATE TABLE leftout (id int PRIMARY KEY)",
		"CREATE TABLE empty (id int PRIMARY KEY)", "CREATE VIEW v AS SELECT id FROM a",
	}
	for _, s := range []server{postgresServer, mariaDBServer, {}} {
		dsn, schema := newSQLite(t, statements...), "main."
		if s.driver != "" {
			database, db := newServerTables(t, s, statements...)
			dsn = database
			if err := db.QueryRow(map[string]string{"pgx": "SELECT current_schema()", "mysql": "SELECT database()"}[s.driver]).Scan(&schema); err != nil {
				t.Fatal(err)
			}
			schema += "."
		}
		dir := t.TempDir()
		args := []string{"-dsn=" + dsn, "-out=all", "-exclude=leftout"}
		r := mustRun(t, dir, exitDone, "done: 3 rows", append(args, "-table="+schema+"*")...)
		for _, has := range []string{"ROWS", "3 files in all"} {
			if !strings.Contains(r.stdout, has) {
				t.Errorf("%s: %q is not in %s", s.driver, has, r.stdout)
			}
		}
		for name, want := range map[string]string{"a": "id,v\n1,x\n2,\n", "nokey": "v\n7\n", "empty": "id\n"} {
			same(t, name, read(t, filepath.Join(dir, "all", schema+name+".csv")), want)
		}
		if found, _ := filepath.Glob(dir + "/all/*.csv"); len(found) != 3 {
			t.Errorf("there are %v", found)
		}
		mustRun(t, dir, exitDone, "nothing to do", append(args, "-table="+schema+"*")...)
		mustRun(t, dir, exitDone, "done: 3 rows", append(args, "-table=*", "-restart", "-format=jsonl", "-compress=gzip", "-workers=2")...)
		if found, _ := filepath.Glob(dir + "/all/*.csv"); len(found) != 0 {
			t.Errorf("of the export before there are %v", found)
		}
		same(t, "a", read(t, dir+"/all/a.jsonl.gz"), `{"id":1,"v":"x"}`+"\n"+`{"id":2,"v":null}`+"\n")
		mustRun(t, dir, exitDone, "done: 3 rows", append(args, "-table=*", "-out=db", "-store=db", "-lease=2s")...)
		if found, _ := filepath.Glob(dir + "/db/*.csv"); len(found) != 3 {
			t.Errorf("with the checkpoints in the database there are %v", found)
		}
		mustRun(t, dir, exitDone, "done: 4 rows", "-dsn="+dsn, "-out=two", `-table="a",v`)
		mustRun(t, dir, exitFailed, "nosuch", "-dsn="+dsn, "-out=three", "-table=a,nosuch")
	}
	for says, arg := range map[string]string{"-exclude needs": "-table=a", "are for one table": "-table=a,b -key=id", "must name a folder": "-table=a,b -out=", "a quote is not closed": `-table=a,"b`} {
		mustRun(t, t.TempDir(), exitUsage, says, append([]string{"-dsn=sqlite:x", "-out=o", "-exclude=" + map[bool]string{true: "b"}[says == "-exclude needs"]}, strings.Fields(arg)...)...)
	}
}
