package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	_ "modernc.org/sqlite"
)

// A countdown is a context that ends when it has been asked so many times, so that
// it ends in the middle of a statement without a clock.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestContextEndsWithinAStatement(t *testing.T) {
	c := openConn(t, ":memory:")
	for _, left := range []int{0, 1, 2, 3, 50} {
		ctx := &countdown{t.Context(), left}
		if _, err := c.ExecContext(ctx, endless, nil); err != context.Canceled {
			t.Errorf("%d: Exec: got %v", left, err)
		}
		ctx.left = left
		if _, err := c.QueryContext(ctx, "SELECT count(*) FROM ("+endless+")", nil); err != context.Canceled {
			t.Errorf("%d: Query: got %v", left, err)
		}
	}
	// Between the rows, and within the search for the next one.
	for _, left := range []int{0, 1, 2, 50} {
		ctx := &countdown{t.Context(), 1000}
		r := query(t, ctx, c, endless)
		dest := make([]driver.Value, 1)
		if err := r.Next(dest); err != nil || dest[0] != int64(1) {
			t.Fatalf("got %v, %v", dest[0], err)
		}
		ctx.left = left
		for range 2 {
			if err := r.Next(dest); err != context.Canceled {
				t.Errorf("%d: Next: got %v", left, err)
			}
		}
		if err := r.Close(); err != nil {
			t.Errorf("%d: Close: %v", left, err)
		}
		if n, err := readAll(query(t, t.Context(), c, "VALUES (1), (2)")); n != 2 || err != nil {
			t.Errorf("the next statement: %d rows, %v", n, err)
		}
	}
	r := query(t, &countdown{t.Context(), 5}, c, "VALUES (1), (2)")
	r.(*rows).ctx.(*countdown).left = 0
	if err := r.Close(); err != nil {
		t.Errorf("Close after the end: %v", err)
	}
}

func TestContextEndsInAPool(t *testing.T) {
	db := openDB(t, ":memory:")
	db.SetMaxOpenConns(1)
	for _, read := range []func(ctx context.Context) error{
		func(ctx context.Context) error { _, err := db.ExecContext(ctx, endless); return err },
		func(ctx context.Context) error {
			rows, err := db.QueryContext(ctx, endless)
			if err != nil {
				return err
			}
			for rows.Next() {
			}
			return errors.Join(rows.Err(), rows.Close())
		},
		func(ctx context.Context) error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			_, err = tx.ExecContext(ctx, endless)
			return err
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- read(ctx) }()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if got := one[int](t, db, "SELECT 7"); got != 7 {
			t.Errorf("got %d", got)
		}
	}
}

// locked returns a name of a database that another connection writes.
func locked(t *testing.T, params string) (dsn string, writer *conn) {
	t.Helper()
	dsn = fileDSN(t, params)
	writer = openConn(t, dsn)
	for _, s := range []string{"CREATE TABLE t (v)", "INSERT INTO t VALUES (1)", "BEGIN EXCLUSIVE", "INSERT INTO t VALUES (2)"} {
		if _, err := writer.ExecContext(t.Context(), s, nil); err != nil {
			t.Fatal(err)
		}
	}
	return dsn, writer
}

func TestBusyTimeout(t *testing.T) {
	for _, timeout := range []string{"0", "10000"} {
		synctest.Test(t, func(t *testing.T) {
			dsn, _ := locked(t, "_pragma=busy_timeout("+timeout+")")
			c := openConn(t, dsn)
			began := time.Now()
			_, err := c.QueryContext(t.Context(), "SELECT * FROM t", nil)
			var e *Error
			if !errors.As(err, &e) || !e.Busy() || e.Code != 5 || !strings.Contains(e.Error(), "database is locked") {
				t.Errorf("got %v", err)
			}
			want, _ := time.ParseDuration(timeout + "ms")
			if waited := time.Since(began); waited != want {
				t.Errorf("waited %v, want %v", waited, want)
			}
			r := query(t, t.Context(), c, "PRAGMA busy_timeout")
			dest := make([]driver.Value, 1)
			if r.Next(dest); dest[0] != want.Milliseconds() {
				t.Errorf("PRAGMA busy_timeout is %v", dest[0])
			}
			r.Close()
		})
	}
}

func TestContextEndsWhileWaitingForALock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dsn, _ := locked(t, "_pragma=busy_timeout(60000)")
		c := openConn(t, dsn)
		for _, wait := range []func(context.Context) error{
			func(ctx context.Context) error { _, err := c.QueryContext(ctx, "SELECT * FROM t", nil); return err },
			func(ctx context.Context) error { _, err := c.ExecContext(ctx, "BEGIN IMMEDIATE", nil); return err },
			func(ctx context.Context) error { return c.Ping(ctx) },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			began := time.Now()
			if err := wait(ctx); err != context.DeadlineExceeded {
				t.Errorf("got %v", err)
			}
			if waited := time.Since(began); waited != 3*time.Second {
				t.Errorf("waited %v", waited)
			}
			cancel()
		}
	})
}

func TestLockIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dsn, writer := locked(t, "_pragma=busy_timeout(10000)")
		c := openConn(t, dsn)
		done := make(chan struct{})
		go func() {
			defer close(done)
			time.Sleep(7 * time.Second)
			if _, err := writer.ExecContext(t.Context(), "COMMIT", nil); err != nil {
				t.Error(err)
			}
		}()
		n, err := readAll(query(t, t.Context(), c, "SELECT * FROM t"))
		if n != 2 || err != nil {
			t.Errorf("got %d rows, %v", n, err)
		}
		<-done
	})
}

// A commit that a reader keeps from is undone: it would keep everybody out.
func TestCommitThatFails(t *testing.T) {
	dsn := fileDSN(t, "")
	db := openDB(t, dsn)
	run(t, db, "CREATE TABLE t (v)", "INSERT INTO t VALUES (1), (2)")
	reader := openConn(t, dsn)
	r := query(t, t.Context(), reader, "SELECT * FROM t")
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	run(t, tx, "INSERT INTO t VALUES (3)")
	var e *Error
	if err := tx.Commit(); !errors.As(err, &e) || !e.Busy() {
		t.Errorf("Commit: got %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := reader.ExecContext(t.Context(), "INSERT INTO t VALUES (4)", nil); err != nil {
		t.Errorf("another writer: %v", err)
	}
	if got := one[string](t, db, "SELECT group_concat(v) FROM t"); got != "1,2,4" {
		t.Errorf("got %s", got)
	}
}

// In WAL mode readers and a writer do not wait for each other, and a statement that
// is open sees what was there when it began.
func TestWAL(t *testing.T) {
	db := openDB(t, fileDSN(t, "_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=busy_timeout(10000)"))
	run(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "INSERT INTO t VALUES (0, 'x')")
	rows, err := db.Query("SELECT id FROM t")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	const writers, each = 4, 50
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				if _, err := db.Exec("INSERT INTO t VALUES (?, ?)", 1+w*each+i, strings.Repeat("v", i)); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for range each {
				var n, last int
				if err := db.QueryRow("SELECT count(*), max(id) FROM t").Scan(&n, &last); err != nil || n < 1 {
					t.Error(n, last, err)
				}
			}
		})
	}
	all.Wait()
	n := 0
	for rows.Next() {
		n++
	}
	if err := rows.Err(); err != nil || n != 1 {
		t.Errorf("the old statement: %d rows, %v", n, err)
	}
	if got := one[int](t, db, "SELECT count(*) FROM t"); got != 1+writers*each {
		t.Errorf("got %d rows", got)
	}
}

func TestReadOnlyMakesNoFiles(t *testing.T) {
	for _, journal := range []string{"DELETE", "WAL"} {
		dsn := fileDSN(t, "_pragma=journal_mode("+journal+")")
		db := openDB(t, dsn)
		run(t, db, "CREATE TABLE t (v)", "INSERT INTO t VALUES (1)")
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		path := strings.TrimPrefix(strings.Split(dsn, "?")[0], "file:")
		dir := filepath.Dir(path)
		if err := os.Chmod(dir, 0o555); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(dir, 0o755) })
		params := "?mode=ro"
		if journal == "WAL" {
			params += "&immutable=1" // otherwise a reader would need a file of its own for the locks
		}
		db = openDB(t, "file:"+path+params)
		if got := one[int](t, db, "SELECT v FROM t"); got != 1 {
			t.Errorf("%s: got %d", journal, got)
		}
		if _, err := db.Exec("INSERT INTO t VALUES (2)"); err == nil || !strings.Contains(err.Error(), "readonly") {
			t.Errorf("%s: a write: %v", journal, err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 {
			t.Errorf("%s: the folder has %v, %v", journal, entries, err)
		}
	}
}

func TestNoDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("This is no database. ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	var e *Error
	if err := openDB(t, path).Ping(); !errors.As(err, &e) || e.Code != 26 || e.Busy() {
		t.Errorf("got %v", err)
	}
}

// modernc's own driver is the same copy of SQLite. Two copies would not know of each
// other's locks, and the end of one connection would take those of the other away.
func TestBesideTheOtherDriver(t *testing.T) {
	dsn := fileDSN(t, "")
	if write := os.Getenv("SQLITE_TEST_WRITE"); write != "" { // this is the other process
		c := openConn(t, write)
		_, err := c.ExecContext(t.Context(), "INSERT INTO t VALUES (2)", nil)
		var e *Error
		if !errors.As(err, &e) || !e.Busy() {
			t.Fatalf("the other process is not kept out: %v", err)
		}
		return
	}
	c := openConn(t, dsn)
	for _, s := range []string{"CREATE TABLE t (v)", "BEGIN IMMEDIATE", "INSERT INTO t VALUES (1)"} {
		if _, err := c.ExecContext(t.Context(), s, nil); err != nil {
			t.Fatal(err)
		}
	}
	other, err := sql.Open("sqlite", dsn)
	if err != nil {
		t.Fatal(err)
	}
	if got := one[int](t, other, "SELECT count(*) FROM t"); got != 0 {
		t.Errorf("the other driver sees what is not committed: %d", got)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestBesideTheOtherDriver$")
	child.Env = append(os.Environ(), "SQLITE_TEST_WRITE="+dsn)
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
