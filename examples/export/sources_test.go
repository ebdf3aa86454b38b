package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
)

// A database in a file is opened by every form of its name, and is one source.
func TestFormsOfSQLiteNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := makeDemo(t.Context(), filepath.Join(dir, "shop.db"), 5); err != nil {
		t.Fatal(err)
	}
	mustRun(t, dir, exitDone, "done: 5 rows", "-dsn=shop.db", "-table=orders", "-out=o.csv")
	for _, dsn := range []string{"./shop.db", "sqlite:shop.db", "sqlite://shop.db", "file:shop.db?mode=ro", "file://" + dir + "/shop.db?immutable=1"} {
		mustRun(t, dir, exitDone, "nothing to do", "-dsn="+dsn, "-table=orders", "-out=o.csv")
	}
}

// A schema and a table may have dots, commas and quotes in their names.
func TestQuotedNames(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dir := t.TempDir()
	for i, test := range []struct{ dsn, table, file string }{
		{newSQLite(t, `CREATE TABLE "t.x" (id INTEGER PRIMARY KEY)`, `INSERT INTO "t.x" VALUES (1)`), `"main"."t.x"`, "main.t.x.csv"},
		{newSQLite(t, `CREATE TABLE "a,""b" (id INTEGER PRIMARY KEY)`, `INSERT INTO "a,""b" VALUES (1)`), `"a,""b"`, "a,_b.csv"},
		{newSQLite(t, `CREATE TABLE "main.t" (id INTEGER PRIMARY KEY)`, `INSERT INTO "main.t" VALUES (1)`, `CREATE TABLE t (x)`), "main.t", "main.t.csv"},
	} {
		mustRun(t, dir, exitDone, "done: 1 row", "-dsn="+test.dsn, "-table="+test.table)
		same(t, test.table, read(t, filepath.Join(dir, test.file)), "id\n1\n")
		if err := os.RemoveAll(filepath.Join(dir, test.file)); err != nil {
			t.Fatal(i, err)
		}
	}
	dsn, db := newServerTables(t, postgresServer)
	schema := "Sch.ema," + rand.Text()[:8]
	quoted := `"` + schema + `"`
	t.Cleanup(func() { db.Exec("DROP SCHEMA " + quoted + " CASCADE") })
	for _, s := range []string{"CREATE SCHEMA " + quoted, "CREATE TABLE " + quoted + `."T.x" ("I,d" int PRIMARY KEY, " b" int, c int)`, "INSERT INTO " + quoted + `."T.x" VALUES (1, 2, 3)`} {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	mustRun(t, dir, exitDone, "done: 1 row", "-dsn="+dsn, "-table="+quoted+`."T.x"`, "-out=p.csv", `-key="I,d"`, `-columns=c," b","I,d"`)
	same(t, "PostgreSQL", read(t, dir+"/p.csv"), "c,\" b\",\"I,d\"\n3,2,1\n")
	mustRun(t, dir, exitDone, "nothing to do", "-dsn="+dsn, "-table="+quoted+`."T.x"`, "-out=p.csv", `-columns=c," b","I,d"`)
	dsn, _ = newServerTables(t, mariaDBServer, "CREATE TABLE `t.x` (id int PRIMARY KEY)", "INSERT INTO `t.x` VALUES (1)")
	mustRun(t, dir, exitDone, "done: 1 row", "-dsn="+dsn, "-table=`t.x`", "-out=m.csv")
	same(t, "MariaDB", read(t, dir+"/m.csv"), "id\n1\n")
}

// A search path decides where a table is found, and not what the export is.
func TestSearchPathsAreNoSources(t *testing.T) {
	t.Parallel()
	one, db := newServerTables(t, postgresServer, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	two, _ := newServerTables(t, postgresServer, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	var schema string
	if err := db.QueryRow("SELECT current_schema()").Scan(&schema); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mustRun(t, dir, exitDone, "done", "-dsn="+one, "-table=t", "-out=o.csv")
	mustRun(t, dir, exitFailed, "-table is now", "-dsn="+two, "-table=t", "-out=o.csv")
	mustRun(t, dir, exitDone, "nothing to do", "-dsn="+two, "-table="+schema+".t", "-out=o.csv")
}

// readOnlyFolder returns a folder with these files that nothing can be written to.
func readOnlyFolder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a file system that is read-only")
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("no file system of its own: %v: %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
	for name, content := range files {
		write(t, filepath.Join(dir, name), content)
	}
	if out, err := exec.Command("mount", "-o", "remount,ro", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// A database with a write-ahead log is read where no file can be made beside it, unless
// the log holds changes that would be missed.
func TestWALInAReadOnlyFolder(t *testing.T) {
	t.Parallel()
	dsn := newSQLite(t, "CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	path := strings.TrimPrefix(dsn, "sqlite:")
	db := openSQLite(t, dsn)
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("PRAGMA journal_mode = WAL; INSERT INTO t VALUES (2)"); err != nil {
		t.Fatal(err)
	}
	open, log := read(t, path), read(t, path+"-wal") // before the log is written back
	if log == "" {
		t.Fatal("there is no log")
	}
	db.Close()
	dir := t.TempDir()
	whole := readOnlyFolder(t, map[string]string{"x.db": read(t, path)})
	mustRun(t, dir, exitDone, "immutable", "-dsn="+whole+"/x.db", "-table=t", "-out=whole.csv")
	same(t, "what was read", read(t, dir+"/whole.csv"), "id\n1\n2\n")
	mustRun(t, dir, exitDone, "nothing to do", "-dsn=file:"+whole+"/x.db?immutable=1", "-table=t", "-out=whole.csv")
	logged := readOnlyFolder(t, map[string]string{"x.db": open, "x.db-wal": log})
	mustRun(t, dir, exitFailed, "its write-ahead log (-wal) holds changes", "-dsn="+logged+"/x.db", "-table=t", "-out=logged.csv")
}

// A database that is read without locks, since files beside it cannot be made, may be changed by
// its owner: no row that was read since then gets into the file.
func TestChangedInAReadOnlyFolder(t *testing.T) {
	t.Parallel()
	dsn := newSQLite(t, append(keyed(2000), "PRAGMA journal_mode = WAL")...)
	owned, seen := filepath.Dir(strings.TrimPrefix(dsn, "sqlite:")), t.TempDir()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a folder read-only")
	}
	if out, err := exec.Command("mount", "--bind", owned, seen).CombinedOutput(); err != nil {
		t.Skipf("no second view of a folder: %v: %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", "-l", seen).Run() })
	if out, err := exec.Command("mount", "-o", "remount,bind,ro", seen).CombinedOutput(); err != nil {
		t.Skipf("%v: %s", err, out)
	}
	dir, args := t.TempDir(), []string{"-dsn=" + seen + "/test.db", "-table=t", "-out=o.csv"}
	p := startSlow(t, dir, append(args, "-rate=200", "-page=10", "-commit=10")...)
	db := openSQLite(t, dsn)
	if _, err := db.Exec("DELETE FROM t WHERE id > 1000"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	if code := p.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(p.stderr.String(), "was changed while it was read") {
		t.Fatalf("exit code %d: %s%s", code, p.stdout, p.stderr)
	}
	mustRun(t, dir, exitDone, "going on with", args...)
	same(t, "the export", read(t, dir+"/o.csv"), undisturbed(t, []string{"-dsn=" + dsn, "-table=t", "-out=o.csv"}, []string{"o.csv"})[0])
}

// A folder that is moved with its state and its database goes on where it was.
func TestMovedFolder(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	base := t.TempDir()
	one, two := filepath.Join(base, "one"), filepath.Join(base, "two")
	if err := os.Mkdir(one, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := makeDemo(t.Context(), filepath.Join(one, "shop.db"), 1000); err != nil {
		t.Fatal(err)
	}
	args := []string{"-dsn=shop.db", "-table=orders", "-out=o.csv"}
	p := startSlow(t, one, append(args, "-rate=200", "-page=10", "-commit=10")...)
	p.end(os.Kill)
	leave(t, one)
	if err := os.Rename(one, two); err != nil {
		t.Fatal(err)
	}
	mustRun(t, two, exitDone, "going on with", args...)
	same(t, "the export", read(t, two+"/o.csv"), undisturbed(t, []string{"-dsn=" + two + "/shop.db", "-table=orders", "-out=o.csv"}, []string{"o.csv"})[0])
	mustRun(t, base, exitDone, "nothing to do", "-dsn=two/shop.db", "-table=orders", "-out=two/o.csv")
}

// limitedUser makes a user of MariaDB who may do what the grants say.
func limitedUser(t *testing.T, dsn, limit string, grants ...string) (limited string) {
	t.Helper()
	cfg, err := mysql.ParseDSN(strings.TrimPrefix(dsn, "mysql://"))
	if err != nil {
		t.Fatal(err)
	}
	name := "export_" + strings.ToLower(rand.Text()[:12])
	statements := []string{"CREATE USER " + name + "@'%' IDENTIFIED BY 'x' " + limit}
	for _, g := range grants {
		statements = append(statements, fmt.Sprintf("GRANT %s TO %s@'%%'", strings.ReplaceAll(g, "DB", cfg.DBName), name))
	}
	_, db := newServerTables(t, mariaDBServer, statements...)
	t.Cleanup(func() { db.Exec("DROP USER " + name + "@'%'") })
	cfg.User, cfg.Passwd = name, "x"
	return "mysql://" + cfg.FormatDSN()
}

// limitedRole is the same on PostgreSQL.
func limitedRole(t *testing.T, dsn, limit string, grants ...string) (limited string) {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	schema := strings.TrimPrefix(cfg.RuntimeParams["options"], "-csearch_path=")
	name := "export_" + strings.ToLower(rand.Text()[:12])
	statements := []string{"CREATE ROLE " + name + " LOGIN PASSWORD 'x' " + limit, fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s", schema, name)}
	for _, g := range grants {
		statements = append(statements, fmt.Sprintf("GRANT %s TO %s", strings.ReplaceAll(g, "DB", schema), name))
	}
	_, db := newServerTables(t, postgresServer, statements...)
	t.Cleanup(func() {
		for _, s := range []string{"DROP OWNED BY " + name, "DROP ROLE " + name} {
			if _, err := db.Exec(s); err != nil {
				t.Error(err)
			}
		}
	})
	return strings.Replace(dsn, "//"+cfg.User, "//"+name, 1)
}

// A user who may read some columns exports those; what may not be read is the database's
// error, and no bad key.
func TestColumnGrants(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	tables := []string{"CREATE TABLE t (id int PRIMARY KEY, name varchar(9), secret varchar(9))", "INSERT INTO t VALUES (1, 'a', 'x'), (2, 'b', 'y')"}
	pg, _ := newServerTables(t, postgresServer, tables...)
	my, _ := newServerTables(t, mariaDBServer, tables...)
	for system, dsn := range map[string]string{
		"postgres": limitedRole(t, pg, "", "SELECT (id, name) ON DB.t"),
		"mariadb":  limitedUser(t, my, "", "SELECT (id, name) ON DB.t"),
	} {
		t.Run(system, func(t *testing.T) {
			dir := t.TempDir()
			mustRun(t, dir, exitDone, "done: 2 rows", "-dsn="+dsn, "-table=t", "-columns=id,name")
			same(t, "the export", read(t, dir+"/t.csv"), "id,name\n1,a\n2,b\n")
			mustRun(t, dir, exitDone, "done: 1 row", "-dsn="+dsn, "-table=t", "-columns=name", "-where=id = 2", "-out=w.csv", "-count")
			if system == "mariadb" {
				return // the catalog shows only the columns that one may read
			}
			r := mustRun(t, dir, exitFailed, "denied", "-dsn="+dsn, "-table=t", "-out=all.csv")
			if strings.Contains(r.stderr, "another -key") || !strings.Contains(r.stderr, "-columns") {
				t.Errorf("%s", r.stderr)
			}
		})
	}
}

// A user with a single connection can export, and have the rows counted before.
func TestOneConnection(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	pg := newServerDemo(t, postgresServer, 5000)
	my := newServerDemo(t, mariaDBServer, 5000)
	for system, dsn := range map[string]string{
		"postgres": limitedRole(t, pg, "CONNECTION LIMIT 1", "SELECT ON DB.orders"),
		"mariadb":  limitedUser(t, my, "WITH MAX_USER_CONNECTIONS 1", "SELECT ON DB.*"),
	} {
		t.Run(system, func(t *testing.T) {
			dir := t.TempDir()
			for _, args := range [][]string{{"-out=a.csv"}, {"-out=b.csv", "-count"}} {
				r := mustRun(t, dir, exitDone, "done: 5,000 rows", append(args, "-dsn="+dsn, "-table=orders")...)
				if strings.Contains(r.stdout, "failed, again") {
					t.Errorf("it took more than one connection: %s", r.stdout)
				}
			}
		})
	}
}
