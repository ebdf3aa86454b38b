package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"example.com/pipeline/control"
	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/sqlstore"
	"github.com/go-sql-driver/mysql"
)

// eachWired runs a test on the servers, with a pool that goes through a wire and one
// that does not.
func eachWired(t *testing.T, test func(t *testing.T, w *wire, wired, direct database)) {
	t.Run("postgres", func(t *testing.T) {
		dsn := postgresDSN(t)
		u, err := url.Parse(dsn)
		if err != nil || u.Host == "" {
			t.Fatalf("PIPELINE_POSTGRES must be a URL with a host for this test: %v", err)
		}
		w := newWire(t, "tcp", u.Host, "")
		direct := openDB(t, "pgx", dsn)
		u.Host = w.Addr().String()
		test(t, w, database{openDB(t, "pgx", u.String()), databases[1]}, database{direct, databases[1]})
	})
	t.Run("mariadb", func(t *testing.T) {
		dsn := mariaDBDSN(t)
		cfg, err := mysql.ParseDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		w := newWire(t, cfg.Net, cfg.Addr, "COMMIT")
		direct := openDB(t, "mysql", dsn)
		cfg.Net, cfg.Addr = "tcp", w.Addr().String()
		test(t, w, database{openDB(t, "mysql", cfg.FormatDSN()), databases[2]}, database{direct, databases[2]})
	})
}

// TestLostAnswerOfSave cuts the connection when the server has saved and has not yet
// said so: Save finds out, and the run goes on as if nothing had been.
func TestLostAnswerOfSave(t *testing.T) {
	eachWired(t, func(t *testing.T, w *wire, db, _ database) {
		s := newStore(t, db, sqlstore.LeaseFor(time.Hour))
		c := openJob(t, s, "job")
		for i := range 6 {
			if i%2 == 1 {
				w.cut.Store(1 + int32(i)/2) // the answer of the question how it ended, too
			}
			c.AddItems(1)
			if err := c.Commit(t.Context(), i); err != nil {
				t.Fatalf("commit %d: %v", i, err)
			}
			if position(c) != i || c.Items() != int64(i+1) {
				t.Fatalf("after commit %d the position is %d, with %d items", i, position(c), c.Items())
			}
		}
		if w.cuts.Load() != 1+2+3 {
			t.Errorf("%d answers were cut off", w.cuts.Load())
		}
		w.cutAll()
		if err := c.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestLostAnswerOfCommitTx cuts the connection when the server has committed the
// user's transaction: the user gets an error, and the checkpoint finds out that
// the rows are there.
func TestLostAnswerOfCommitTx(t *testing.T) {
	eachWired(t, func(t *testing.T, w *wire, db, direct database) {
		s := newStore(t, db, sqlstore.LeaseFor(time.Hour))
		exec(t, db.DB, "CREATE TABLE copies (n INTEGER NOT NULL)")
		c := openJob(t, s, "job")
		for i := range 4 {
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.CommitTx(t.Context(), tx, i); err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec("INSERT INTO copies (n) VALUES (1)"); err != nil {
				t.Fatal(err)
			}
			want := i
			switch i {
			case 1: // committed, and the answer is lost
				w.cut.Store(1)
				if err := tx.Commit(); err == nil {
					t.Error("the commit whose answer was cut off succeeded")
				}
			case 2: // lost before the commit
				w.cutAll()
				if err := tx.Commit(); err == nil {
					t.Error("the commit over a connection that was cut succeeded")
				}
				want = 1
			default:
				if err := tx.Commit(); err != nil {
					t.Fatal(err)
				}
			}
			if got := position(c); got != want {
				t.Errorf("after transaction %d the position is %d, want %d", i, got, want)
			}
		}
		var n int
		if err := direct.QueryRow("SELECT COUNT(*) FROM copies").Scan(&n); err != nil || n != 3 {
			t.Errorf("there are %d rows, want those of three transactions, %v", n, err)
		}
		if err := c.Commit(t.Context(), 9); err != nil {
			t.Error(err)
		}
	})
}

// TestTerminatedMidCommit lets a save wait for a row that another transaction holds,
// and terminates its connection meanwhile.
func TestTerminatedMidCommit(t *testing.T) {
	db := database{openPostgres(t), databases[1]}
	table := uniqueName() // so that no other test's statement is taken for this one's
	s := newStore(t, db, sqlstore.LeaseFor(time.Hour), sqlstore.Tables(table, table+"_keys"))
	c := openJob(t, s, "job")
	holder, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Rollback()
	if _, err := holder.Exec("SELECT 1 FROM " + table + " FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Commit(t.Context(), 1) }()
	terminate(t, db.DB, "wait_event_type = 'Lock' AND query LIKE 'UPDATE%"+table+"%'")
	if err := holder.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if position(c) != 1 {
		t.Errorf("the position is %d", position(c))
	}
}

// terminate ends the connections that meet a condition, as soon as there are any.
func terminate(t testing.TB, db *sql.DB, condition string) {
	t.Helper()
	for {
		var n int
		err := db.QueryRow(`SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity 
			WHERE pid <> pg_backend_pid() AND ` + condition).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			return
		}
		time.Sleep(time.Millisecond) // the server's clock is a real one
	}
}

// TestDeadPool has the server end every connection of a pool before each thing that a
// store can be asked for, as a restart does. A driver may find out at once, or only when it
// waits for an answer.
func TestDeadPool(t *testing.T) {
	const idle = 9 // more than there are tries of a commit
	t.Run("postgres", func(t *testing.T) {
		db, admin := openPostgres(t), openPostgres(t)
		var name string
		if err := db.QueryRow("SELECT current_schema()").Scan(&name); err != nil {
			t.Fatal(err)
		}
		deadPool(t, database{db, databases[1]}, idle, func() {
			exec(t, admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '"+name+"'")
		})
	})
	t.Run("a driver that never looks", func(t *testing.T) {
		c := &mortalConnector{dsn: sqliteDSN(t)}
		db := sql.OpenDB(c)
		defer db.Close()
		deadPool(t, database{db, databases[0]}, idle, func() { c.generation.Add(1) })
	})
	t.Run("mariadb", func(t *testing.T) {
		db, admin := openMariaDB(t), openMariaDB(t)
		var name string
		if err := db.QueryRow("SELECT DATABASE()").Scan(&name); err != nil {
			t.Fatal(err)
		}
		deadPool(t, database{db, databases[2]}, idle, func() {
			rows, err := admin.Query("SELECT id FROM information_schema.processlist WHERE db = ?", name)
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			for _, id := range strings.Fields(allText(t, rows)) {
				exec(t, admin, "KILL "+id)
			}
		})
	})
}

// deadPool runs the steps of a store's life, with dismiss before each.
func deadPool(t *testing.T, db database, idle int, dismiss func()) {
	db.SetMaxIdleConns(idle)
	s := newStore(t, db, sqlstore.LeaseFor(time.Hour), sqlstore.KeysFor(time.Hour))
	ctx := t.Context()
	var lease cursor.Lease
	var r cursor.Record
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"Migrate", func() error { return s.Migrate(ctx) }},
		{"Acquire", func() (err error) { lease, err = s.Acquire(ctx, "job"); return err }},
		{"Load", func() (err error) { r, err = lease.Load(ctx); return err }},
		{"Save", func() error { return lease.Save(ctx, cursor.Record{Format: 1, Seq: r.Seq + 1}) }},
		{"Save once more", func() error { return lease.Save(ctx, cursor.Record{Format: 1, Seq: r.Seq + 2, Items: 7}) }},
		{"Inspect", func() error {
			r, err := cursor.Inspect(ctx, s, "job")
			return errors.Join(err, wantEqual(r.Items, 7))
		}},
		{"Jobs", func() error { jobs, err := cursor.Jobs(ctx, s); return errors.Join(err, wantEqual(len(jobs), 1)) }},
		{"Holder", func() error {
			held, err := cursor.Holder(ctx, s, "job")
			return errors.Join(err, wantEqual(held != nil, true))
		}},
		{"an Acquire of what is held", func() error {
			if _, err := s.Acquire(ctx, "job"); !errors.Is(err, cursor.ErrLocked) {
				return fmt.Errorf("it returned %v", err)
			}
			return nil
		}},
		{"Release", func() error { return lease.Release(ctx) }},
		{"Begin", func() error { _, done, err := s.Begin(ctx, "a"); return errors.Join(err, wantEqual(done, false)) }},
		{"Renew", func() error { held, err := s.Renew(ctx, "a"); return errors.Join(err, wantEqual(held, true)) }},
		{"Finish", func() error { return s.Finish(ctx, "a", []byte("1")) }},
		{"Begin of what is done", func() error { _, done, err := s.Begin(ctx, "a"); return errors.Join(err, wantEqual(done, true)) }},
		{"Begin to abandon", func() error { _, _, err := s.Begin(ctx, "b"); return err }},
		{"Abandon", func() error { return s.Abandon(ctx, "b") }},
		{"Prune", func() error { n, err := s.Prune(ctx, 0); return errors.Join(err, wantEqual(n, 1)) }},
	} {
		fillPool(t, db.DB, idle)
		dismiss()
		if err := step.do(); err != nil {
			t.Errorf("%s over a dead pool: %v", step.name, err)
		}
	}
}

// fillPool makes a pool have n idle connections.
func fillPool(t testing.TB, db *sql.DB, n int) {
	t.Helper()
	var conns []*sql.Conn
	for range n {
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.PingContext(t.Context()); err == nil {
			conns = append(conns, conn)
		} else {
			conn.Close()
		}
	}
	for _, conn := range conns {
		conn.Close()
	}
}

func wantEqual[T comparable](got, want T) error {
	if got != want {
		return fmt.Errorf("got %v, want %v", got, want)
	}
	return nil
}

// TestCutMidPage cuts every connection in the midst of each page and between pages and
// commits; Retry and the store's own make the run come through, exactly once.
func TestCutMidPage(t *testing.T) {
	eachWired(t, func(t *testing.T, w *wire, db, direct database) {
		exec(t, direct.DB, "CREATE TABLE src (id INTEGER PRIMARY KEY, v VARCHAR(100) NOT NULL)")
		for id := range 60 {
			exec(t, direct.DB, fmt.Sprintf("INSERT INTO src (id, v) VALUES (%d, 'v')", id*id-50))
		}
		c := openJob(t, newStore(t, db), "job")
		j := job{Dialect: db.dialect.Name()}
		q := j.query(db.DB)
		scans, scan := 0, q.Scan
		q.Scan = func(rows *sql.Rows) (srcRow, error) {
			if scans++; scans%13 == 0 {
				w.cutAll()
			}
			return scan(rows)
		}
		q.Page.Size, q.Page.Max = 10, 10
		q.Page.Retry = control.Retry{Backoff: control.Constant(time.Millisecond), Attempts: 20}.Do
		var got []int
		for r, err := range cursor.Track(t.Context(), q.Stream(t.Context(), nil), c, cursor.Every{Items: 7}, func(r srcRow) int { return r.id }) {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, r.id); len(got)%5 == 0 {
				w.cutAll()
			}
		}
		var ids []int
		rows, err := direct.Query("SELECT id FROM src ORDER BY id")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var id int
			if err := rows.Scan(&id); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(ids) || position(c) != ids[len(ids)-1] {
			t.Errorf("got %d rows of %d, the position is %d", len(got), len(ids), position(c))
		}
		for i := range min(len(got), len(ids)) {
			if got[i] != ids[i] {
				t.Fatalf("row %d is %d, want %d", i, got[i], ids[i])
			}
		}
	})
}

// TestUnreachableStore cuts the line for good: the commit fails in a time that is
// bounded, nothing is lost, and a later commit succeeds once the line is there again.
func TestUnreachableStore(t *testing.T) {
	eachWired(t, func(t *testing.T, w *wire, db, direct database) {
		c := openJob(t, newStore(t, db, sqlstore.LeaseFor(time.Hour)), "job")
		if err := c.Commit(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.cut.Store(1 << 20)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := c.Commit(ctx, 2); err == nil || errors.Is(err, cursor.ErrFenced) {
			t.Errorf("a commit without a line: %v", err)
		}
		w.cut.Store(0)
		if err := c.Commit(t.Context(), 3); err != nil {
			t.Errorf("a commit once the line is back: %v", err)
		}
		if position(c) != 3 {
			t.Errorf("the position is %d", position(c))
		}
	})
}
