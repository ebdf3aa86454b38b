package main

import (
	"database/sql"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// newReader makes a user of a server who may read only what grants say, and returns the data
// source name with it. In a grant %s stands for the user.
func newReader(t *testing.T, s server, dsn string, db *sql.DB, grants ...string) string {
	t.Helper()
	var place, user string
	query := "SELECT current_schema()"
	if s == mariaDBServer {
		query = "SELECT DATABASE()"
	}
	if err := db.QueryRow(query).Scan(&place); err != nil {
		t.Fatal(err)
	}
	create, drop := []string{}, []string{}
	if s == mariaDBServer {
		cfg, err := mysql.ParseDSN(strings.TrimPrefix(dsn, "mysql://"))
		if err != nil {
			t.Fatal(err)
		}
		user = "'" + place + "_r'@'%'"
		create, drop = append(create, "CREATE USER "+user+" IDENTIFIED BY '"+secret+"'"), append(drop, "DROP USER "+user)
		cfg.User, cfg.Passwd = place+"_r", secret
		dsn = "mysql://" + cfg.FormatDSN()
	} else {
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		user = place + "_r"
		create = append(create, "CREATE ROLE "+user+" LOGIN PASSWORD '"+secret+"'", "GRANT USAGE ON SCHEMA "+place+" TO "+user)
		drop = append(drop, "DROP OWNED BY "+user, "DROP ROLE "+user)
		u.User = url.UserPassword(user, secret)
		dsn = u.String()
	}
	for _, grant := range grants {
		create = append(create, fmt.Sprintf(grant, user))
	}
	t.Cleanup(func() {
		for _, statement := range drop {
			if _, err := db.Exec(statement); err != nil {
				t.Error(err)
			}
		}
	})
	for _, statement := range create {
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	return dsn
}

// With -columns the right to read these columns is enough, whatever the table is.
func TestColumnGrantsWithoutKey(t *testing.T) {
	t.Parallel()
	for _, s := range []server{postgresServer, mariaDBServer} {
		t.Run(s.driver, func(t *testing.T) {
			t.Parallel()
			parts := "PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10))"
			if s == postgresServer {
				parts = "PARTITION BY RANGE (id)"
			}
			statements := []string{
				"CREATE TABLE nokey (id int, name varchar(20), hidden text)", "CREATE VIEW seen AS SELECT * FROM nokey",
				"CREATE TABLE parted (id int, name varchar(20), hidden text) " + parts,
				"CREATE TABLE keyed (k int PRIMARY KEY, id int, name varchar(20))",
			}
			if s == postgresServer {
				statements = append(statements, "CREATE TABLE p0 PARTITION OF parted FOR VALUES FROM (0) TO (10)")
			}
			statements = append(statements, "INSERT INTO nokey VALUES (1, 'a', 'x')", "INSERT INTO parted VALUES (1, 'a', 'x')", "INSERT INTO keyed VALUES (7, 1, 'a')")
			dsn, db := newServerTables(t, s, statements...)
			tables := []string{"nokey", "seen", "parted", "keyed"}
			var grants []string
			for _, table := range tables {
				grants = append(grants, "GRANT SELECT (id, name) ON "+table+" TO %s")
			}
			reader := newReader(t, s, dsn, db, grants...)
			dir := t.TempDir()
			for _, table := range tables {
				mustRun(t, dir, exitDone, "verified", "-dsn="+reader, "-table="+table, "-columns=id,name", "-count", "-verify")
				same(t, table, read(t, dir+"/"+table+".csv"), "id,name\n1,a\n")
			}
			r := mustRun(t, dir, exitFailed, "Nothing was written.", "-dsn="+reader, "-table=nokey", "-out=all.csv")
			if strings.Contains(r.stderr, "committed") {
				t.Errorf("nothing was begun: %s", r.stderr)
			}
		})
	}
}

// Who may read may not lock by that, which -more does.
func TestRightToLock(t *testing.T) {
	t.Parallel()
	for s, grant := range map[server]string{postgresServer: "GRANT MAINTAIN ON ", mariaDBServer: "GRANT SELECT, LOCK TABLES ON "} {
		t.Run(s.driver, func(t *testing.T) {
			t.Parallel()
			dsn, db := newServerTables(t, s, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
			reader := newReader(t, s, dsn, db, "GRANT SELECT ON t TO %s")
			r := mustRun(t, t.TempDir(), exitFailed, grant, "-dsn="+reader, "-table=t", "-more")
			if strings.Contains(r.stderr, "waiting 5s") || strings.Contains(r.stderr, "right to read") {
				t.Errorf("it is no matter of waiting or reading: %s", r.stderr)
			}
		})
	}
}

// An index with a collation that is not there stops no table that can be read without it, and a
// table that cannot be read says how the others are.
func TestUnknownCollation(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn := newSQLite(t, "CREATE TABLE a (_id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, n INTEGER)", "CREATE INDEX a1 ON a (name)",
		"CREATE TABLE nokey (name TEXT COLLATE NOCASE, n INTEGER)", "CREATE INDEX n1 ON nokey (name)",
		"CREATE TABLE w (name TEXT COLLATE NOCASE PRIMARY KEY, n INTEGER) WITHOUT ROWID", "CREATE TABLE fine (id INTEGER PRIMARY KEY)",
		"INSERT INTO a VALUES (1, 'x', 2), (2, 'y', 3)", "INSERT INTO nokey VALUES ('x', 2), ('y', 3)", "INSERT INTO w VALUES ('x', 1)", "INSERT INTO fine VALUES (1)",
		"PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'NOCASE', 'LOCALIZED')")
	dir := t.TempDir()
	for _, table := range []string{"a", "nokey"} {
		mustRun(t, dir, exitDone, "verified", "-dsn="+dsn, "-table="+table, "-out="+table+".csv", "-count", "-partitions=2", "-verify")
	}
	mustRun(t, dir, exitDone, "verified", "-dsn="+dsn, "-table=nokey", "-columns=name", "-out=one.csv", "-verify")
	mustRun(t, dir, exitFailed, "add -exclude main.w", "-dsn="+dsn, "-table=main.*", "-out=all")
	mustRun(t, dir, exitDone, "3 files", "-dsn="+dsn, "-table=main.*", "-exclude=main.w", "-out=all", "-count", "-verify")
}

// What cannot be read in smaller pages is not blamed on -page, and a table that is gone is.
func TestTimeLimitAdvice(t *testing.T) {
	t.Parallel()
	dsn, _ := newServerTables(t, postgresServer, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 100)")
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("statement_timeout", "1000")
	u.RawQuery = q.Encode()
	for says, args := range map[string][]string{
		"Leave -count out":      {"-table=t", "-count", "-where=pg_sleep(0.05) IS NOT NULL", "-page=1"},
		"Leave -partitions out": {"-table=t", "-partitions=2", "-where=pg_sleep(0.05) IS NOT NULL", "-page=1"},
		"Name a -key":           {"-query=SELECT id FROM t WHERE pg_sleep(0.05) IS NOT NULL"},
	} {
		mustRun(t, t.TempDir(), exitFailed, says, append(args, "-dsn="+u.String(), "-out=o.csv")...)
	}
}
