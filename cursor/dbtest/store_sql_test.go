package dbtest

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/sqlstore"
)

// newStore returns a store whose tables are made.
func newStore(t testing.TB, db database, opts ...sqlstore.Option) *sqlstore.Store {
	t.Helper()
	s := sqlstore.New(db.DB, db.dialect, opts...)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func openJob(t testing.TB, s cursor.Store, job string, opts ...cursor.OpenOption) *cursor.Checkpoint[int] {
	t.Helper()
	c, err := cursor.Open[int](t.Context(), s, job, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// position returns the last committed position, -1 for none.
func position(c *cursor.Checkpoint[int]) int {
	if p := c.Position(); p != nil {
		return *p
	}
	return -1
}

// lapse lets the lease of a job end at once, as if its time had passed.
func lapse(t testing.TB, db database, job string) {
	t.Helper()
	exec(t, db.DB, "UPDATE pipeline_checkpoints SET lease_until = 0 WHERE job = '"+job+"'")
}

func TestSQLStoreResumes(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		s := newStore(t, db)
		for want := -1; want < 3; want++ {
			c := openJob(t, s, "job")
			if got := position(c); got != want {
				t.Fatalf("the position is %d, want %d", got, want)
			}
			if err := c.Commit(t.Context(), want+1); err != nil {
				t.Fatal(err)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		c := openJob(t, s, "job")
		if err := c.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if c = openJob(t, s, "job"); !c.Finished() {
			t.Error("the job is not finished")
		}
	})
}

// TestSQLStoreTellsWhoHoldsTheJob wants the holder and the end of the lease in the
// error that a second runner gets.
func TestSQLStoreTellsWhoHoldsTheJob(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		s := newStore(t, db, sqlstore.LeaseFor(time.Hour))
		openJob(t, s, "job")
		_, err := cursor.Open[int](t.Context(), s, "job")
		var locked *cursor.LockedError
		if !errors.As(err, &locked) || !errors.Is(err, cursor.ErrLocked) {
			t.Fatalf("a second runner got %v", err)
		}
		if left := time.Until(locked.Until); left < 50*time.Minute || left > 70*time.Minute {
			t.Errorf("the lease ends in %v, want an hour", left)
		}
		if !strings.HasPrefix(locked.Holder, "process ") {
			t.Errorf("the holder is %q", locked.Holder)
		}
	})
}

// TestSQLStoreJobsDifferInEachByte opens jobs at once whose names a collation could
// take for the same.
func TestSQLStoreJobsDifferInEachByte(t *testing.T) {
	names := []string{"job", "Job", "JOB", "job ", "jöb", "jo\u0308b", "job/1", "../job", strings.Repeat("x", 511) + "a", strings.Repeat("x", 511) + "b",
		"it's", `"; DROP TABLE pipeline_checkpoints; --`, "😀"}
	withEachDB(t, func(t *testing.T, db database) {
		s := newStore(t, db)
		for i, name := range names {
			c := openJob(t, s, name)
			if err := c.Commit(t.Context(), i); err != nil {
				t.Fatalf("job %q: %v", name, err)
			}
		}
		for i, name := range names {
			if _, err := s.Acquire(t.Context(), name); !errors.Is(err, cursor.ErrLocked) {
				t.Errorf("job %q (%d) is not held: %v", name, i, err)
			}
		}
	})
}

// TestSQLStoreFences lets a lease end and another runner take the job: the first
// one can neither save nor free it any more, and neither in a transaction.
func TestSQLStoreFences(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		s := newStore(t, db, sqlstore.LeaseFor(time.Hour))
		first := openJob(t, s, "job")
		if err := first.Commit(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		lapse(t, db, "job")
		second := openJob(t, s, "job")
		if err := second.Commit(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		inTx(t, db.DB, func(tx *sql.Tx) error {
			if err := first.CommitTx(t.Context(), tx, 8); !errors.Is(err, cursor.ErrFenced) {
				t.Errorf("CommitTx of a fenced runner: %v", err)
			}
			return errors.New("roll back")
		})
		for range 2 {
			if err := first.Commit(t.Context(), 9); !errors.Is(err, cursor.ErrFenced) {
				t.Errorf("Commit of a fenced runner: %v", err)
			}
		}
		if err := first.Close(); err != nil {
			t.Errorf("Close of a fenced runner: %v", err)
		}
		if _, err := s.Acquire(t.Context(), "job"); !errors.Is(err, cursor.ErrLocked) {
			t.Errorf("the fenced runner freed the job: %v", err)
		}
		if err := second.Commit(t.Context(), 3); err != nil {
			t.Error(err)
		}
	})
}

// TestSQLStoreFencedByOneThatHasEnded looks at what a runner is told where nobody
// holds the job any more that it lost.
func TestSQLStoreFencedByOneThatHasEnded(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		s := newStore(t, db, sqlstore.LeaseFor(time.Hour))
		first := openJob(t, s, "job")
		lapse(t, db, "job")
		if err := openJob(t, s, "job").Close(); err != nil {
			t.Fatal(err)
		}
		err := first.Commit(t.Context(), 1)
		if !errors.Is(err, cursor.ErrFenced) || !strings.Contains(err.Error(), "ended") || strings.Contains(err.Error(), "1970") {
			t.Errorf("Commit of a fenced runner: %v", err)
		}
	})
}

// inTx runs fn in a transaction, which is rolled back where fn returns an error.
func inTx(t testing.TB, db *sql.DB, fn func(tx *sql.Tx) error) {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if fn(tx) != nil {
		err = tx.Rollback()
	} else {
		err = tx.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestCommitTx commits and rolls back transactions, on a pool of one connection.
func TestCommitTx(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		db.SetMaxOpenConns(1)
		s := newStore(t, db)
		c := openJob(t, s, "job")
		exec(t, db.DB, "CREATE TABLE copies (n INTEGER NOT NULL)")
		want := func(pos int, items int64, after string) {
			t.Helper()
			if got := position(c); got != pos {
				t.Errorf("%s the position is %d, want %d", after, got, pos)
			}
			if got := c.Items(); got != items {
				t.Errorf("%s there are %d items, want %d", after, got, items)
			}
		}
		write := func(tx *sql.Tx, n int) error {
			if _, err := tx.ExecContext(t.Context(), fmt.Sprintf("INSERT INTO copies (n) VALUES (%d)", n)); err != nil {
				t.Fatal(err)
			}
			c.AddItems(1)
			return c.CommitTx(t.Context(), tx, n)
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}

		inTx(t, db.DB, func(tx *sql.Tx) error {
			must(write(tx, 1))
			want(-1, 0, "within the transaction")
			if err := c.Commit(t.Context(), 5); err == nil {
				t.Error("a Commit while the transaction is open")
			}
			return nil
		})
		want(1, 1, "after the commit")
		inTx(t, db.DB, func(tx *sql.Tx) error { must(write(tx, 2)); return errors.New("roll back") })
		want(1, 1, "after a rollback")
		inTx(t, db.DB, func(tx *sql.Tx) error { must(write(tx, 3)); return errors.New("roll back") })
		inTx(t, db.DB, func(tx *sql.Tx) error { must(write(tx, 4)); must(write(tx, 5)); return nil })
		inTx(t, db.DB, func(tx *sql.Tx) error { must(write(tx, 6)); return nil })
		want(6, 4, "after two in one, and one more")
		inTx(t, db.DB, func(tx *sql.Tx) error {
			must(write(tx, 7))
			_, err := tx.Exec("SAVEPOINT a")
			must(err)
			must(write(tx, 8))
			_, err = tx.Exec("ROLLBACK TO SAVEPOINT a")
			must(err)
			must(write(tx, 9))
			return nil
		})
		want(9, 6, "after a savepoint")
		c.AddItems(1)
		must(c.Commit(t.Context(), 10))
		want(10, 7, "after a plain commit")
		inTx(t, db.DB, func(tx *sql.Tx) error { must(write(tx, 11)); return errors.New("roll back") })
		must(c.Commit(t.Context(), 12))
		want(12, 7, "after a rollback and a plain commit")
		inTx(t, db.DB, func(tx *sql.Tx) error { must(write(tx, 13)); return nil })
		must(c.Finish(t.Context()))
		want(13, 8, "after Finish")
		must(c.Close())
		c = openJob(t, s, "job")
		want(13, 8, "opened anew")

		var rows []string
		all, err := db.Query("SELECT n FROM copies ORDER BY n")
		must(err)
		defer all.Close()
		for all.Next() {
			var n string
			must(all.Scan(&n))
			rows = append(rows, n)
		}
		must(all.Err())
		if got := strings.Join(rows, " "); got != "1 4 5 6 7 9 13" {
			t.Errorf("the rows are %s", got)
		}
	})
}

// TestCommitTxNeedsTheDatabase wants a clear error from a store that is elsewhere.
func TestCommitTxNeedsTheDatabase(t *testing.T) {
	db := openSQLite(t)
	c := openJob(t, cursor.NewMemStore(), "job")
	inTx(t, db, func(tx *sql.Tx) error {
		if err := c.CommitTx(t.Context(), tx, 1); err == nil || !strings.Contains(err.Error(), "sqlstore") {
			t.Errorf("got %v", err)
		}
		return nil
	})
	if err := c.Commit(t.Context(), 1); err != nil {
		t.Error(err)
	}
}

// TestSQLStoreKeepsLargeRecords saves a position and a state of a megabyte, with all that
// could go wrong with text.
func TestSQLStoreKeepsLargeRecords(t *testing.T) {
	large := strings.Repeat("aä😀\u2028\"\\<>\u0000%?$1", 40_000)
	withEachDB(t, func(t *testing.T, db database) {
		s := newStore(t, db)
		open := func() *cursor.Checkpoint[string] {
			c, err := cursor.Open[string](t.Context(), s, "job", cursor.Attach("state", &text{s: large}), cursor.WithFingerprint(strings.ReplaceAll(large, "\x00", "")))
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		c := open()
		if err := c.Commit(t.Context(), large); err != nil {
			t.Fatal(err)
		}
		c.Close()
		c = open()
		defer c.Close()
		if got := c.Position(); got == nil || *got != large {
			t.Error("the position came back as another")
		}
	})
}

// A text is a participant that wants its own state back.
type text struct{ s string }

func (p *text) Mark() {}

func (p *text) Sync(context.Context) (json.RawMessage, error) {
	return json.Marshal(p.s)
}

func (p *text) Restore(_ context.Context, state json.RawMessage) error {
	var s string
	if state == nil {
		return nil
	}
	if err := json.Unmarshal(state, &s); err != nil || s != p.s {
		return fmt.Errorf("another state came back: %v", err)
	}
	return nil
}

// TestSQLStoreDamagedRow wants ErrCorrupt for what somebody did to the row, and a
// fresh start with Discard alone.
func TestSQLStoreDamagedRow(t *testing.T) {
	damages := map[string]string{
		"position": "position = '{'", "states": "states = '[1]'", "status": "status = 'odd'",
		"saved_at": "saved_at = 'yesterday'", "format": "format = 99",
	}
	withEachDB(t, func(t *testing.T, db database) {
		s := newStore(t, db)
		for name, damage := range damages {
			c := openJob(t, s, name)
			if err := c.Commit(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			c.Close()
			exec(t, db.DB, "UPDATE pipeline_checkpoints SET "+damage+" WHERE job = '"+name+"'")
			if _, err := cursor.Open[int](t.Context(), s, name); !errors.Is(err, cursor.ErrCorrupt) {
				t.Errorf("damaged %s: %v", name, err)
			}
			c = openJob(t, s, name, cursor.Discard())
			if position(c) != -1 {
				t.Errorf("discarded %s: the position is %d", name, position(c))
			}
			if err := c.Commit(t.Context(), 2); err != nil {
				t.Errorf("discarded %s: %v", name, err)
			}
		}
	})
}

// TestSQLStoreRenewsItsLease lets time pass until a lease of 300 ms must have been
// renewed, by the database's own clock.
func TestSQLStoreRenewsItsLease(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		s := newStore(t, db, sqlstore.LeaseFor(300*time.Millisecond))
		c := openJob(t, s, "job")
		until := func() (n int64) {
			if err := db.QueryRow("SELECT lease_until FROM pipeline_checkpoints WHERE job = 'job'").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		for last := until(); until() < last+2*300_000; {
			time.Sleep(10 * time.Millisecond) // the database's clock is a real one
		}
		if err := c.Commit(t.Context(), 1); err != nil {
			t.Error(err)
		}
	})
}

// TestSQLStoreNoticesALostLease wants a runner that lost its job to be told even
// where its renewal comes first.
func TestSQLStoreNoticesALostLease(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		s := newStore(t, db, sqlstore.LeaseFor(50*time.Millisecond))
		lease, err := s.Acquire(t.Context(), "job")
		if err != nil {
			t.Fatal(err)
		}
		defer lease.Release(t.Context())
		exec(t, db.DB, "UPDATE pipeline_checkpoints SET owner = 'another', lease_until = lease_until + 3600000000, holder = 'somebody'")
		for range 100 {
			if _, err = lease.Load(t.Context()); err != nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if !errors.Is(err, cursor.ErrFenced) || !strings.Contains(err.Error(), "somebody") {
			t.Errorf("got %v, want to be fenced off by somebody", err)
		}
	})
}

// TestSQLStoreWithoutTables wants an error that says what to do from a runner's call, and
// nothing found by who only looks.
func TestSQLStoreWithoutTables(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		for _, s := range []*sqlstore.Store{
			sqlstore.New(db.DB, db.dialect), sqlstore.New(db.DB, db.dialect, sqlstore.Tables("No such table: ''", "order")),
		} {
			for range 2 { // the second time over an idle connection
				if r, err := cursor.Inspect(t.Context(), s, "job"); err != nil || r.Seq != 0 || r.Position != nil {
					t.Errorf("Inspect: %v, %v", r, err)
				}
				if jobs, err := cursor.Jobs(t.Context(), s); err != nil || len(jobs) > 0 {
					t.Errorf("Jobs: %q, %v", jobs, err)
				}
				if held, err := cursor.Holder(t.Context(), s, "job"); err != nil || held != nil {
					t.Errorf("Holder: %v, %v", held, err)
				}
				if _, err := s.Acquire(t.Context(), "job"); err == nil || !strings.Contains(err.Error(), "Migrate") {
					t.Errorf("Acquire: %v", err)
				}
			}
		}
		// What is wrong with a table that is there is no matter of a missing one.
		exec(t, db.DB, "CREATE TABLE pipeline_checkpoints (job VARCHAR(20))")
		s := sqlstore.New(db.DB, db.dialect)
		_, inspect := cursor.Inspect(t.Context(), s, "job")
		_, jobs := cursor.Jobs(t.Context(), s)
		_, holder := cursor.Holder(t.Context(), s, "job")
		if inspect == nil || jobs == nil || holder == nil {
			t.Errorf("of a table without columns: %v, %v, %v", inspect, jobs, holder)
		}
	})
}

// TestSQLStoreDDL runs what DDL prints by hand, in tables of other names.
func TestSQLStoreDDL(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		s := sqlstore.New(db.DB, db.dialect, sqlstore.Tables("My Jobs", "order"))
		for _, statement := range strings.Split(s.DDL(), ";\n") {
			if strings.TrimSpace(statement) != "" {
				exec(t, db.DB, statement)
			}
		}
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		c := openJob(t, s, "job")
		if err := c.Commit(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Begin(t.Context(), "key"); err != nil {
			t.Fatal(err)
		}
	})
}
