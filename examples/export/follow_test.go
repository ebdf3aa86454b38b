package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// -follow goes on as rows come, from an empty table on, and misses none that is committed late.
func TestFollow(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	for _, s := range []server{postgresServer, mariaDBServer, {}} {
		t.Run(s.driver, func(t *testing.T) {
			t.Parallel()
			statements := []string{"CREATE TABLE t (id int PRIMARY KEY, a int)", "CREATE TABLE none (a int)"}
			dsn := newSQLite(t, statements...)
			db := openSQLite(t, dsn+"?_pragma=busy_timeout(10000)")
			if s.driver != "" {
				dsn, db = newServerTables(t, s, statements...)
			}
			last := 0
			insert := func(n int) {
				t.Helper()
				values := make([]string, n)
				for i := range values {
					last++
					values[i] = fmt.Sprintf("(%d,%d)", last, last*7)
				}
				if _, err := db.Exec("INSERT INTO t VALUES " + strings.Join(values, ",")); err != nil {
					t.Fatal(err)
				}
			}
			dir := t.TempDir()
			args := []string{"-dsn=" + dsn, "-table=t", "-out=o.csv", "-commit=50", "-page=20"}
			p := start(t, "caught up after 0 rows", dir, append(args, "-follow=100ms")...)
			insert(1)
			p.wait(t, p.stdout, "caught up after 1 row,")
			same(t, "the file while it is followed", read(t, dir+"/o.csv"), "id,a\n1,7\n")
			insert(99)
			p.wait(t, p.stdout, "after 100 rows")
			if s.driver == "pgx" { // where a lower key can be committed late
				tx, err := db.Begin()
				if err == nil {
					_, err = tx.Exec(fmt.Sprintf("INSERT INTO t VALUES (%d, %d)", last+1, (last+1)*7))
				}
				if err != nil {
					t.Fatal(err)
				}
				last++
				insert(1)
				for waits := false; !waits; { // for the transaction
					if err := db.QueryRow("SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 't'::regclass AND mode = 'ShareLock' AND NOT granted)").Scan(&waits); err != nil {
						t.Fatal(err)
					}
				}
				if err := tx.Commit(); err != nil {
					t.Fatal(err)
				}
				p.wait(t, p.stdout, "after 102 rows")
			}
			if code := p.end(syscall.SIGTERM); code != exitInterrupted || !strings.Contains(p.stderr.String(), "-follow=100ms") {
				t.Errorf("exit code %d: %s", code, p.stderr)
			}

			insert(200)
			all := fmt.Sprintf("after %s rows", thousands(int64(last)))
			p = start(t, all, dir, append(args, "-follow=100ms")...)
			p.end(os.Kill)
			mustRun(t, dir, exitDone, "done: "+thousands(int64(last))+" rows", args...)
			whole := t.TempDir()
			mustRun(t, whole, exitDone, "done", args...)
			same(t, "the file", read(t, dir+"/o.csv"), read(t, whole+"/o.csv"))
			mustRun(t, dir, exitDone, "verified", append(args, "-verify")...)
			p = start(t, all, dir, append(args, "-follow=100ms")...) // of a complete export
			insert(1)
			p.wait(t, p.stdout, "caught up after "+thousands(int64(last))+" rows")
			p.end(os.Kill)
			mustRun(t, dir, exitFailed, "has none", "-dsn="+dsn, "-table=none", "-follow=1s")
		})
	}
}
