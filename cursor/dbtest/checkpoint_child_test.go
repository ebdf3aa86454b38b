package dbtest

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/pipeline/control"
	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/internal/fsys"
	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/cursor/sqlstore"
)

// A job is a run of a process of its own, which the tests kill: it reads the table
// src and writes it either to a file or, in transactions, to the table dst.
type job struct {
	Driver, DSN, Dialect string
	Dir                  string        // of the output and, where SQLStore is false, of the checkpoint
	Copy                 bool          // to dst, with CommitTx
	SQLStore             bool          // keep the checkpoint in the database
	Lease                time.Duration // of the SQL store
	Discard              bool
	Retry                bool // pages that fail
	Every                int  // rows a commit
	Rows                 int  // of src
	Announce             bool // the process prints a line when it has the job
	Step                 int  // it kills itself before this step on the file system, from 1; 0 means never
	StopAfter            int  // it stops itself (SIGSTOP) after so many commits; 0 means never
}

const childVariable = "DBTEST_JOB"

// What a process ends with.
const (
	exitDone   = 0
	exitFailed = 1
	exitFenced = 3
)

func init() {
	text := os.Getenv(childVariable)
	if text == "" {
		return
	}
	var j job
	err := json.Unmarshal([]byte(text), &j)
	if err == nil {
		err = j.run(context.Background())
	}
	switch {
	case err == nil:
		os.Exit(exitDone)
	case errors.Is(err, cursor.ErrFenced):
		os.Exit(exitFenced)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(exitFailed)
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way
}

func (j job) output() string { return filepath.Join(j.Dir, "out") }

func (j job) run(ctx context.Context) (err error) {
	if j.Step > 0 {
		n := 0
		fsys.SetHook(func(s *fsys.Step) error {
			if n++; n == j.Step {
				die()
			}
			return s.Do()
		})
	}
	db, err := sql.Open(j.Driver, j.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	return j.runOn(ctx, db)
}

func (j job) dialect() keyset.Dialect {
	for _, d := range databases {
		if d.dialect.Name() == j.Dialect {
			return d.dialect
		}
	}
	panic("no dialect " + j.Dialect)
}

func (j job) store(db *sql.DB) (cursor.Store, error) {
	if j.SQLStore {
		return sqlstore.New(db, j.dialect(), sqlstore.LeaseFor(j.Lease)), nil
	}
	return cursor.NewFileStore(filepath.Join(j.Dir, "state"))
}

// open opens the checkpoint, and waits for a runner that has died or works.
func (j job) open(ctx context.Context, store cursor.Store, opts ...cursor.OpenOption) (*cursor.Checkpoint[int], error) {
	if j.Discard {
		opts = append(opts, cursor.Discard())
	}
	for {
		c, err := cursor.Open[int](ctx, store, "job", opts...)
		if !errors.Is(err, cursor.ErrLocked) {
			if j.Announce {
				fmt.Println("open")
			}
			return c, err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (j job) runOn(ctx context.Context, db *sql.DB) (err error) {
	store, err := j.store(db)
	if err != nil {
		return err
	}
	if j.Copy {
		return j.copyRows(ctx, db, store)
	}
	out, err := cursor.OpenFile(j.output())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	c, err := j.open(ctx, store, cursor.Attach("out", out))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if c.Finished() {
		return nil
	}
	rows := j.query(db).Stream(ctx, c.Position())
	for r, err := range cursor.Track(ctx, rows, c, cursor.Every{Items: j.Every}, func(r srcRow) int { return r.id }) {
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, r.id, r.v); err != nil {
			return err
		}
	}
	return c.Finish(ctx)
}

type srcRow struct {
	id int
	v  string
}

func (j job) query(db *sql.DB) keyset.Query[srcRow, int] {
	q := keyset.Query[srcRow, int]{
		DB: db, Dialect: j.dialect(), Select: "id, v", From: "src", Key: []string{"id"},
		Scan:     func(rows *sql.Rows) (r srcRow, err error) { err = rows.Scan(&r.id, &r.v); return r, err },
		Position: func(r srcRow) int { return r.id },
		Page:     cursor.PageConfig{Size: 20, Max: 20},
	}
	if j.Retry {
		q.Page.Retry = control.Retry{Attempts: -1, Backoff: control.Exponential(20*time.Millisecond, time.Second)}.Do
	}
	return q
}

// copyRows copies src to dst, each batch in a transaction with its position.
func (j job) copyRows(ctx context.Context, db *sql.DB, store cursor.Store) (err error) {
	c, err := j.open(ctx, store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if c.Finished() {
		return nil
	}
	commits := 0
	var batch []srcRow
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := j.copyBatch(ctx, db, c, batch); err != nil {
			return err
		}
		batch = batch[:0]
		if commits++; commits == j.StopAfter {
			return syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		}
		return nil
	}
	for r, err := range j.query(db).Stream(ctx, c.Position()) {
		if err != nil {
			return err
		}
		if batch = append(batch, r); len(batch) == j.Every {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	return c.Finish(ctx)
}

func (j job) copyBatch(ctx context.Context, db *sql.DB, c *cursor.Checkpoint[int], batch []srcRow) error {
	tx, err := begin(ctx, db)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	d := j.dialect()
	// The position first: so the transaction of a runner that was fenced off ends
	// before it has written anything, and SQLite takes its write lock at once.
	c.AddItems(len(batch))
	if err := c.CommitTx(ctx, tx, batch[len(batch)-1].id); err != nil {
		return err
	}
	for _, r := range batch {
		if _, err := tx.ExecContext(ctx, "INSERT INTO dst (id, v) VALUES ("+d.Placeholder(1)+", "+d.Placeholder(2)+")", r.id, r.v); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// begin begins a transaction. One that could not begin has done nothing, so that a
// program may try again where the pool has connections that died with the server.
func begin(ctx context.Context, db *sql.DB) (*sql.Tx, error) {
	for idle := db.Stats().Idle; ; idle-- {
		tx, err := db.BeginTx(ctx, nil)
		if err == nil || idle <= 0 {
			return tx, err
		}
	}
}

// program is what command starts: this test binary, built once without the race
// detector, which a process takes several times as long to start with. Its parent
// has the detector, and calls the same code.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programFolder, "dbtest.test")
	build := osexec.Command("go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-o", path, ".")
	build.Env = append(os.Environ(), "GOFLAGS=")
	out, err := build.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("go test -c: %w\n%s", err, out)
	}
	return path, err
})

var programFolder string

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	var err error
	if programFolder, err = os.MkdirTemp("", "dbtest-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	defer os.RemoveAll(programFolder)
	// Parallel tests mostly wait: for leases, for processes, for servers that start.
	if err := flag.Set("test.parallel", "6"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	return m.Run()
}

// command returns the process that runs j.
func (j job) command(t testing.TB) (*osexec.Cmd, *bytes.Buffer) {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := osexec.Command(path)
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

// wasKilled waits for a process. It reports whether it was killed; one that ended by
// itself must have done its work.
func wasKilled(t testing.TB, cmd *osexec.Cmd, out *bytes.Buffer) bool {
	t.Helper()
	err := cmd.Wait()
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() && status.Signal() == syscall.SIGKILL {
		return true
	}
	if err != nil {
		t.Fatalf("the process ended with %v\n%s", err, out)
	}
	return false
}

// newJob makes the tables on the database of a data source name.
func newJob(t testing.TB, kind databaseKind, driver, dsn string, rows int) (job, database) {
	t.Helper()
	db := database{openDB(t, driver, dsn), kind}
	j := newJobOn(t, db, rows)
	j.Driver, j.DSN = driver, dsn
	return j, db
}

// newJobOn is newJob for jobs that are not run in other processes.
func newJobOn(t testing.TB, db database, rows int) job {
	t.Helper()
	exec(t, db.DB, "CREATE TABLE src (id INTEGER PRIMARY KEY, v VARCHAR(100) NOT NULL)",
		"CREATE TABLE dst (n INTEGER, id INTEGER NOT NULL, v VARCHAR(100) NOT NULL)")
	for n := 0; n < rows; {
		var values []string
		for ; n < rows && len(values) < 500; n++ {
			values = append(values, fmt.Sprintf("(%d, 'value %d')", n*3+1, n*n))
		}
		exec(t, db.DB, "INSERT INTO src (id, v) VALUES "+strings.Join(values, ", "))
	}
	newStore(t, db)
	return job{Dialect: db.dialect.Name(), Rows: rows, Dir: t.TempDir(), Every: 7, Lease: 150 * time.Millisecond}
}

// want returns what the output must be.
func (j job) want() string {
	var b strings.Builder
	for n := range j.Rows {
		fmt.Fprintf(&b, "%d value %d\n", n*3+1, n*n)
	}
	return b.String()
}

// check compares the output: with the order, so that no row is there twice, is
// missing, or is out of place.
func (j job) check(t testing.TB, db database) {
	t.Helper()
	var got bytes.Buffer
	if j.Copy {
		rows, err := db.Query("SELECT id, v FROM dst ORDER BY id")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var r srcRow
			if err := rows.Scan(&r.id, &r.v); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&got, r.id, r.v)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	} else {
		data, err := os.ReadFile(j.output())
		if err != nil {
			t.Fatal(err)
		}
		got.Write(data)
	}
	if got.String() != j.want() {
		t.Fatalf("the output is\n%s", got.String())
	}
}
