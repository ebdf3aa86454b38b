package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
)

// A name that has a password where it can be read as something else is refused, in whatever
// way it comes and whatever way the program speaks. What the programs of these tests say is
// searched by command.
func TestNoSecretIsToldOfNamesThatAreRefused(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	const reading = "two ways"
	for i, test := range []struct{ dsn, says string }{
		{"postgres://u:/" + secret + "@127.0.0.1/d", reading},
		{"postgres://u:x@/" + secret + "@127.0.0.1/test", reading},
		{"postgres://localhost:5432/" + secret + "@h/d", reading},
		{"mysql://u:1234/" + secret + "@h/d", reading},
		{"mysql://app:x@/" + secret + "@127.0.0.1/shop", reading},
		{"mysql://localhost/d?password=" + secret, "no parameters"},
		{"host=127.0.0.1 dbname=postgres://u:" + secret + "@h/d", "the user or the database"},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "dsn.secret")
		write(t, file, test.dsn+"\n")
		for _, w := range []way{
			{"flag", []string{"-dsn=" + test.dsn}, nil},
			{"blanks", []string{"-dsn= " + test.dsn + " "}, nil},
			{"@FILE", []string{"-dsn=@" + file}, nil},
			{"DATABASE_URL", nil, []string{"DATABASE_URL=" + test.dsn}},
			{"JSON", []string{"-dsn=" + test.dsn, "-log=json"}, nil},
		} {
			if r := runWay(t, dir, w, "-table=t", "-out=o.csv"); r.code != exitFailed || !strings.Contains(r.stderr, test.says) {
				t.Errorf("%d, %s: %+v", i, w.name, r)
			}
		}
		if r := runWay(t, dir, way{name: "-source"}, "-dsn=x.db", "-table=t", "-source="+test.dsn); r.code != exitUsage || !strings.Contains(r.stderr, "-source") {
			t.Errorf("%d, -source: %+v", i, r)
		}
		if r := runWay(t, dir, way{name: "no flag"}, test.dsn); r.code != exitUsage {
			t.Errorf("%d, no flag: %+v", i, r)
		}
	}
}

// The driver that ignores PGHOSTADDR would read another server, and say nothing.
func TestPGHOSTADDRIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, w := range []way{
		{"alone", nil, []string{"PGHOSTADDR=127.0.0.1", "PGDATABASE=d"}},
		{"with a host", []string{"-dsn=postgres://u:" + secret + "@localhost/d"}, []string{"PGHOSTADDR=127.0.0.1"}},
	} {
		if r := runWay(t, dir, w, "-table=t"); r.code != exitFailed || !strings.Contains(r.stderr, "PGHOSTADDR is set") {
			t.Errorf("%s: %+v", w.name, r)
		}
	}
}

// An export goes on where -source has the data source name of before, the name that the
// message has, or that one again; no user and no password of it is kept.
func TestSourceIsReducedToADatabase(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	for _, s := range []server{postgresServer, mariaDBServer} {
		t.Run(s.driver, func(t *testing.T) {
			t.Parallel()
			dsn, _ := newServerTables(t, s, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2), (3), (4)")
			moved := newSQLite(t, "CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)") // another address
			old, known := "", ""
			if s == postgresServer {
				cfg, err := pgx.ParseConfig(dsn)
				if err != nil {
					t.Fatal(err)
				}
				old, known = fmt.Sprintf("postgres://u:%s@OLD:%d/%s?sslpassword=%[1]s", secret, cfg.Port, cfg.Database), fmt.Sprintf("postgres://old:%d/%s", cfg.Port, cfg.Database)
			} else {
				old, known = "mysql://u:"+secret+"@OLD/d?time_zone='x'", "mysql://old:3306/d"
			}
			dir := t.TempDir()
			args := []string{"-table=t", "-out=o.csv", "-dsn=" + dsn}
			r := mustRun(t, dir, exitDone, "done", append(args, "-source="+old)...)
			for _, name := range []string{old, known} {
				r = mustRun(t, dir, exitDone, "nothing to do", append(args, "-source="+name)...)
				if !strings.Contains(r.stdout, "-source="+known) {
					t.Errorf("the command to go on is not with %s: %s", known, r.stdout)
				}
			}
			mustRun(t, dir, exitDone, known, "-status", "-out=o.csv")
			r = mustRun(t, dir, exitFailed, "and was", args...)
			if !strings.Contains(r.stderr, known) {
				t.Errorf("it does not name %s: %s", known, r.stderr)
			}
			mustRun(t, dir, exitFailed, "-dsn is now", append(args, "-source="+strings.Replace(old, "OLD", "other", 1))...)
			// The other direction: what was known by its address is known by it elsewhere.
			own := t.TempDir()
			mustRun(t, own, exitDone, "done", args...)
			r = mustRun(t, own, exitFailed, "and was", "-table=t", "-out=o.csv", "-dsn="+moved)
			if strings.Contains(r.stderr, "\n  "+dsn) {
				t.Error(r.stderr)
			}
			var now, was string
			if _, text, _ := strings.Cut(r.stderr, "-dsn is now "); true {
				fmt.Sscanf(text, "%q, and was %q", &now, &was)
			}
			for _, name := range []string{dsn, was} {
				mustRun(t, own, exitDone, "nothing to do", append(args, "-source="+name)...)
			}
		})
	}
}

// A setting of the server that it does not take is not repeated.
func TestSettingsOfMariaDB(t *testing.T) {
	t.Parallel()
	dsn, _ := newServerTables(t, mariaDBServer, "CREATE TABLE t (id int PRIMARY KEY, ts timestamp)", "SET time_zone = '+00:00'", "INSERT INTO t VALUES (1, '2026-01-01 00:00:00')")
	dir := t.TempDir()
	for i, setting := range []string{"max_statement_time=" + secret, "max_statement_time='" + secret + "'", "nosuch=" + secret, "sql_mode='" + secret + "'", "sql_mode=f(" + secret} {
		mustRun(t, dir, exitFailed, "does not take the settings", "-dsn="+dsn+"?"+setting, "-table=t", fmt.Sprintf("-out=%d.csv", i))
	}
	mustRun(t, dir, exitDone, "done", "-dsn="+dsn+"?time_zone='%2B05:00'&sql_mode='PAD_CHAR_TO_FULL_LENGTH'&foreign_key_checks=0&tls=false&max_statement_time=60", "-table=t")
	same(t, "the rows", read(t, dir+"/t.csv"), "id,ts\n1,2026-01-01 00:00:00\n")
}

// What MySQL's driver would write on its own does not come among what a program reads.
func TestTheDriverIsSilent(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte("\x05\x00\x00\x07HTTP/")) // a packet out of its order, and no more
			conn.Close()
		}
	}()
	for _, arg := range []string{"-log=text", "-log=json", "-quiet"} {
		r := mustRun(t, t.TempDir(), exitFailed, "cannot open mysql://", "-dsn=mysql://u:"+secret+"@"+l.Addr().String()+"/d", "-table=t", arg)
		if strings.Contains(r.stdout+r.stderr, "[mysql]") {
			t.Errorf("%s: the driver speaks: %+v", arg, r)
		}
		for line := range strings.Lines(r.stderr) {
			if arg == "-log=json" && !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %s", line)
			}
		}
	}
}

// A password with everything in it works where it is escaped, and in the driver's own form.
func TestOddPasswordOfMariaDB(t *testing.T) {
	t.Parallel()
	dsn, db := newServerTables(t, mariaDBServer, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	cfg, err := mysql.ParseDSN(strings.TrimPrefix(dsn, "mysql://"))
	if err != nil {
		t.Fatal(err)
	}
	name := cfg.DBName + "_odd"
	if _, err := db.Exec(fmt.Sprintf("CREATE USER %s@'%%' IDENTIFIED BY 'x@/%s'", name, secret)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Exec("DROP USER " + name + "@'%'") })
	if _, err := db.Exec(fmt.Sprintf("GRANT SELECT ON %s.* TO %s@'%%'", cfg.DBName, name)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mustRun(t, dir, exitFailed, "two ways", "-dsn=mysql://"+name+":x@/"+secret+"@"+cfg.Addr+"/"+cfg.DBName, "-table=t", "-out=0.csv")
	mustRun(t, dir, exitDone, "done", "-dsn=mysql://"+name+":x@%2F"+secret+"@"+cfg.Addr+"/"+cfg.DBName, "-table=t", "-out=1.csv")
	mustRun(t, dir, exitDone, "done", "-dsn="+name+":x@/"+secret+"@tcp("+cfg.Addr+")/"+cfg.DBName, "-table=t", "-out=2.csv")
	if _, err := os.Stat(dir + "/0.csv"); err == nil {
		t.Error("something was written")
	}
}
