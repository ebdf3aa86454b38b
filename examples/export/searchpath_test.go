package main

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
)

// An export of a query, or with a condition, whose names another search path leads to other
// tables, is not gone on with; a schema that has none of the names changes nothing.
func TestSearchPath(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn, db := newServerTables(t, postgresServer, "CREATE TABLE t (k int PRIMARY KEY)", "CREATE TABLE u (k int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)", "INSERT INTO u VALUES (1)")
	var schema string
	if err := db.QueryRow("SELECT current_schema()").Scan(&schema); err != nil {
		t.Fatal(err)
	}
	other := schema + "_b"
	for _, s := range []string{"CREATE SCHEMA " + other, "CREATE TABLE " + other + ".u (k int PRIMARY KEY)", "CREATE TABLE " + other + ".x (k int)"} {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if _, err := db.ExecContext(context.Background(), "DROP SCHEMA "+other+" CASCADE"); err != nil {
			t.Error(err)
		}
	}()
	to := func(path string) string {
		return strings.Replace(dsn, "search_path%3D"+schema, "search_path%3D"+path, 1)
	}
	if to("x") == dsn {
		t.Fatalf("there is no search path in the name")
	}
	for i, args := range [][]string{{"-query=SELECT * FROM u", "-key=k"}, {"-table=" + schema + ".t", "-where=k IN (SELECT k FROM u)"}} {
		dir, out := t.TempDir(), fmt.Sprintf("-out=o%d.csv", i)
		with := func(path string) []string { return append([]string{"-dsn=" + to(path), out}, args...) }
		mustRun(t, dir, exitDone, "done: 1 row,", with(schema)...)
		mustRun(t, dir, exitDone, "nothing to do", with(schema+"%2C"+other)...)
		mustRun(t, dir, exitFailed, other+".u", with(other+"%2C"+schema)...)
	}
}

// A text that is no UTF-8, which a database in SQL_ASCII may hold, is told with what to do.
func TestTextOfNoEncoding(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn, db := newServerTables(t, postgresServer)
	var name, database string
	if err := db.QueryRow("SELECT current_schema(), current_database()").Scan(&name, &database); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE DATABASE " + name + " ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"); err != nil {
		t.Skip(err)
	}
	defer func() {
		if _, err := db.ExecContext(context.Background(), "DROP DATABASE "+name); err != nil {
			t.Error(err)
		}
	}()
	dsn = strings.Replace(strings.Replace(dsn, "/"+database+"?", "/"+name+"?", 1), "search_path%3D"+name, "search_path%3Dpublic", 1)
	func() {
		own, err := sql.Open(postgresServer.driver, dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer own.Close()
		for _, s := range []string{"CREATE TABLE t (k int PRIMARY KEY, c text)", `INSERT INTO t VALUES (1, 'a'), (2, convert_from('\x61ff', 'SQL_ASCII'))`} {
			if _, err := own.Exec(s); err != nil {
				t.Fatal(err)
			}
		}
	}()
	dir := t.TempDir()
	mustRun(t, dir, exitFailed, "convert_to(", "-dsn="+dsn, "-table=t", "-out=t.csv")
	mustRun(t, dir, exitDone, "done: 2 rows", "-dsn="+dsn, "-query=SELECT k, convert_to(c, 'SQL_ASCII') AS c FROM t", "-key=k", "-out=q.csv")
}
