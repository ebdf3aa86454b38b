//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/sqlstore"
)

// The test binary is the program where this variable is set.
const beProgram = "COPY_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(beProgram) != "" {
		os.Exit(start())
	}
	os.Exit(m.Run())
}

// A process is one run of the program.
type process struct {
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr bytes.Buffer
}

func launch(t *testing.T, folder string, args ...string) *process {
	t.Helper()
	p := new(process)
	p.cmd = exec.Command(os.Args[0], args...)
	p.cmd.Dir = folder
	p.cmd.Env = append(os.Environ(), beProgram+"=1")
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewReader(stdout)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	return p
}

// copied reads the first line: how many rows were copied before this run. A job of a run
// that was killed is waited for.
func (p *process) copied(t *testing.T) (n int) {
	t.Helper()
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %s", err, p.stderr.String())
	}
	if _, err := fmt.Sscanf(line, "%d rows are copied", &n); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return n
}

// end waits for the end and returns the exit code, -1 after a kill, and what was
// printed since the line that was read last.
func (p *process) end(t *testing.T) (code int, printed string) {
	t.Helper()
	all, err := io.ReadAll(p.stdout)
	if err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode(), string(all) + p.stderr.String()
}

// Killed four times, and then terminated, the program has each row in the target once.
func TestKilled(t *testing.T) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		folder := t.TempDir()
		target := filepath.Join(folder, "target.db")
		testKilled(t, 27_000, 4, folder, target, "-to", target)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		dsn := postgres(t)
		source, err := open(dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer source.Close()
		if err := makeOrders(t.Context(), source, 27_000); err != nil {
			t.Fatal(err)
		}
		testKilled(t, 27_000, 4, t.TempDir(), dsn, "-from", dsn, "-to", dsn)
	})
	t.Run("MariaDB", func(t *testing.T) {
		dsn := mariaDB(t)
		testKilled(t, 9_000, 2, t.TempDir(), dsn, "-to", dsn) // from a demo
	})
}

// A run that is killed may leave the server at the making of a table, which the next one
// makes, too.
func TestTablesAreMadeAtOnce(t *testing.T) {
	db, err := open(postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for i := range 10 {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if err := makeTable(t.Context(), db, fmt.Sprintf("made_%d (id BIGINT)", i)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
}

func testKilled(t *testing.T, rows, kills int, folder, target string, args ...string) {
	t.Parallel()
	args = append(args, "-rows", fmt.Sprint(rows), "-batch", "300", "-lease", "200ms")
	slow := append([]string{"-rate", "30000"}, args...) // time enough to be killed in
	p := launch(t, folder, slow...)
	time.Sleep(mathrand.N(150 * time.Millisecond)) // anywhere, also while the tables are made
	p.cmd.Process.Kill()
	p.end(t)
	last := 0
	for kill := range kills {
		p := launch(t, folder, slow...)
		copied := p.copied(t)
		if copied < last || copied%300 != 0 || copied == rows {
			t.Errorf("%d rows are copied, %d were before", copied, last)
		}
		last = waitForMore(t, target, copied)
		time.Sleep(mathrand.N(50 * time.Millisecond))
		if kill < kills-1 {
			p.cmd.Process.Kill()
			p.end(t)
			continue
		}
		p.cmd.Process.Signal(syscall.SIGTERM)
		if code, printed := p.end(t); code != 3 || !strings.Contains(printed, "start it again") {
			t.Errorf("terminated, exit code %d: %s", code, printed)
		}
	}
	done := fmt.Sprintf("done: %d rows", rows)
	p = launch(t, folder, args...)
	if code, printed := p.end(t); code != 0 || !strings.Contains(printed, done) {
		t.Errorf("exit code %d: %s", code, printed)
	}
	p = launch(t, folder, args...)
	copied := p.copied(t)
	if code, printed := p.end(t); code != 0 || !strings.Contains(printed, done) || copied != rows {
		t.Errorf("when it is done, after %d rows, exit code %d: %s", copied, code, printed)
	}
	checkCopy(t, target, rows)
}

// waitForMore waits until more rows are copied, and returns how many.
func waitForMore(t *testing.T, target string, copied int) int {
	t.Helper()
	db, err := open(target)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store := sqlstore.New(db.DB, db.dialect)
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(20 * time.Millisecond) {
		record, err := cursor.Inspect(t.Context(), store, "copy orders")
		if err != nil {
			t.Fatal(err)
		}
		if record.Items > int64(copied) {
			return int(record.Items)
		}
	}
	t.Fatalf("no more than %d rows after a minute", copied)
	return 0
}

// checkCopy compares the target with what the demo's rows are.
func checkCopy(t *testing.T, dsn string, n int) {
	t.Helper()
	db, err := open(dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	found, err := db.QueryContext(t.Context(), "SELECT id, customer, cents FROM orders_copy ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	i := 0
	for ; found.Next(); i++ {
		var got order
		if err := found.Scan(&got.id, &got.customer, &got.cents); err != nil {
			t.Fatal(err)
		}
		id := int64(i)*3 + 1
		if want := (order{id, fmt.Sprintf("customer %d", id%1000), id * 104729 % 500_000}); got != want {
			t.Fatalf("row %d is %v, want %v", i+1, got, want)
		}
	}
	if err := found.Err(); err != nil || i != n {
		t.Errorf("%d rows, want %d: %v", i, n, err)
	}
}

func TestWrongFlags(t *testing.T) {
	for _, args := range [][]string{{"-rows", "0"}, {"-batch", "10000"}, {"more"}} {
		if code, printed := launch(t, t.TempDir(), args...).end(t); code != 2 {
			t.Errorf("%v: exit code %d: %s", args, code, printed)
		}
	}
}

// postgres returns the data source name of a schema of the test's own.
func postgres(t *testing.T) string {
	t.Helper()
	base := os.Getenv("PIPELINE_POSTGRES")
	u, err := url.Parse(base)
	if base == "" || err != nil {
		t.Skip("no server: set PIPELINE_POSTGRES to a data source name to run this test")
	}
	name := "copy_" + strings.ToLower(rand.Text()[:12])
	own(t, "pgx", base, "CREATE SCHEMA "+name, "DROP SCHEMA "+name+" CASCADE")
	query := u.Query()
	query.Set("search_path", name)
	u.RawQuery = query.Encode()
	return u.String()
}

// mariaDB returns the data source name of a database of the test's own.
func mariaDB(t *testing.T) string {
	t.Helper()
	base := os.Getenv("PIPELINE_MARIADB")
	cfg, err := mysql.ParseDSN(base)
	if base == "" || err != nil {
		t.Skip("no server: set PIPELINE_MARIADB to a data source name to run this test")
	}
	cfg.DBName = "copy_" + strings.ToLower(rand.Text()[:12])
	own(t, "mysql", base, "CREATE DATABASE "+cfg.DBName+" CHARACTER SET utf8mb4", "DROP DATABASE "+cfg.DBName)
	return "mysql://" + cfg.FormatDSN()
}

// own makes something on a server and drops it after the test.
func own(t *testing.T, driver, dsn, create, drop string) {
	t.Helper()
	admin, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Exec(create); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.ExecContext(context.Background(), drop); err != nil {
			t.Error(err)
		}
		admin.Close()
	})
}
