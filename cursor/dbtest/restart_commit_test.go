package dbtest

import (
	"fmt"
	"testing"
	"time"

	"example.com/pipeline/cursor/sqlstore"
)

// A commitPoint is a place within a commit.
type commitPoint string

const (
	beforeCommit commitPoint = "before" // it has been asked for and is not done
	afterCommit  commitPoint = "after"  // it is done, and the client has not been told
)

// prepareHold makes it possible to hold the commits to the checkpoints of a schema.
func prepareHold(t testing.TB, db database) {
	t.Helper()
	if db.name == "postgres" {
		exec(t, db.DB, `CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				PERFORM pg_advisory_xact_lock_shared(1);
				IF NOT pg_try_advisory_xact_lock_shared(2) THEN
					PERFORM set_config('synchronous_commit', 'on', true);
				END IF;
				RETURN NULL;
			END $$`,
			`CREATE CONSTRAINT TRIGGER hold AFTER UPDATE ON pipeline_checkpoints DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold()`)
	}
}

// hold keeps every commit waiting at a point, until the server stops.
func hold(t testing.TB, db database, at commitPoint) {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	statement := map[string]map[commitPoint]string{
		"postgres": {beforeCommit: "SELECT pg_advisory_lock(1)", afterCommit: "SELECT pg_advisory_lock(2)"},
		"mariadb":  {beforeCommit: "FLUSH TABLES WITH READ LOCK", afterCommit: "SET GLOBAL rpl_semi_sync_master_enabled = ON"},
	}[db.name][at]
	if _, err := conn.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// waitForHeld returns when a commit waits.
func waitForHeld(t testing.TB, s *server, at commitPoint) {
	t.Helper()
	condition := map[string]map[commitPoint]string{
		"postgres": {beforeCommit: "pg_stat_activity WHERE wait_event = 'advisory'", afterCommit: "pg_stat_activity WHERE wait_event = 'SyncRep'"},
		"mariadb": {beforeCommit: "information_schema.processlist WHERE state = 'Waiting for backup lock'",
			afterCommit: "information_schema.processlist WHERE state LIKE 'Waiting for semi-sync ACK%'"},
	}[s.name][at]
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // the server's clock is a real one
		var n int
		if err := s.admin.QueryRow("SELECT COUNT(*) FROM " + condition).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no commit waits")
		}
	}
}

// restartMidSave restarts the server while it commits what Save has saved: Save finds
// out whether it did.
func restartMidSave(t *testing.T, s *server, how stopMode, at commitPoint) {
	db := s.schema(t)
	c := openJob(t, newStore(t, db, sqlstore.LeaseFor(time.Hour)), "job")
	prepareHold(t, db)
	for i := range 4 {
		done := make(chan error, 1)
		commit := func() {
			c.AddItems(1)
			done <- c.Commit(t.Context(), i)
		}
		if i == 2 {
			hold(t, db, at)
			go commit()
			waitForHeld(t, s, at)
			s.restart(how)
		} else {
			commit()
		}
		err := <-done
		if s.up(t); err != nil && i == 2 { // the server took longer to start than a commit waits
			t.Logf("the next commit goes on after: %v", err)
			err = c.Commit(t.Context(), i)
		}
		if err != nil {
			t.Fatalf("commit %d: %v", i, err)
		}
		if position(c) != i || c.Items() != int64(i+1) {
			t.Fatalf("after commit %d the position is %d, with %d items", i, position(c), c.Items())
		}
	}
}

// restartMidTx restarts the server while it commits a transaction with rows and a
// position: both are there or neither is, and the runner goes on from where they are.
func restartMidTx(t *testing.T, s *server, how stopMode, at commitPoint) {
	db := s.schema(t)
	c := openJob(t, newStore(t, db, sqlstore.LeaseFor(time.Hour)), "job")
	prepareHold(t, db)
	exec(t, db.DB, "CREATE TABLE copies (n INTEGER NOT NULL)")
	restarted := false
	for position(c) < 4 {
		i := position(c) + 1
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.CommitTx(t.Context(), tx, i); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(fmt.Sprintf("INSERT INTO copies (n) VALUES (%d)", i)); err != nil {
			t.Fatal(err)
		}
		if i != 2 || restarted {
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		hold(t, db, at)
		done := make(chan error, 1)
		go func() { done <- tx.Commit() }()
		waitForHeld(t, s, at)
		s.restart(how)
		restarted = true
		if err := <-done; err == nil && how == crash {
			t.Error("a commit that was never answered succeeded")
		}
		s.up(t)
		// A server that is shut down may end who holds the commit first, and then commit.
		got := position(c)
		if want := map[commitPoint]int{beforeCommit: i - 1, afterCommit: i}[at]; got != want && (how == crash || got != i) {
			t.Errorf("after a restart %s the commit the position is %d, want %d", at, got, want)
		}
		if rows, want := numbersIn(t, db, "SELECT n FROM copies ORDER BY n"), "[0 1 2]"[:2*got+2]+"]"; rows != want {
			t.Errorf("at position %d the rows are %s", got, rows)
		}
	}
	if got := numbersIn(t, db, "SELECT n FROM copies ORDER BY n"); got != "[0 1 2 3 4]" {
		t.Errorf("the rows are %s", got)
	}
	if err := c.Finish(t.Context()); err != nil {
		t.Error(err)
	}
}

func numbersIn(t testing.TB, db database, query string) string {
	t.Helper()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var numbers []int
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, n)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(numbers)
}
