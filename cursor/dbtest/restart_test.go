package dbtest

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/pipeline/control"
	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/sqlstore"
)

// TestServerRestart restarts a whole server at each bad moment, in both ways: every
// connection is gone, for a while there is no server, and then one that may still be
// recovering. What was written is complete afterwards, and nothing is there twice.
func TestServerRestart(t *testing.T) {
	eachServer(t, func(t *testing.T, s *server) {
		for _, how := range []stopMode{crash, shutdown} {
			for _, test := range []struct {
				name string
				run  func(t *testing.T, s *server, how stopMode)
			}{
				{"mid-page", restartMidPage},
				{"between pages", restartBetweenPages},
				{"before a save is committed", func(t *testing.T, s *server, how stopMode) { restartMidSave(t, s, how, beforeCommit) }},
				{"after a save is committed", func(t *testing.T, s *server, how stopMode) { restartMidSave(t, s, how, afterCommit) }},
				{"before a transaction is committed", func(t *testing.T, s *server, how stopMode) { restartMidTx(t, s, how, beforeCommit) }},
				{"after a transaction is committed", func(t *testing.T, s *server, how stopMode) { restartMidTx(t, s, how, afterCommit) }},
				{"during a renewal", restartMidRenewal},
				{"at random", restartAtRandom},
			} {
				t.Run(test.name+"/"+string(how), func(t *testing.T) {
					test.run(t, s, how)
					s.up(t)
				})
			}
		}
		t.Run("that takes too long", func(t *testing.T) { outage(t, s) })
	})
}

// A restartedExport writes src to a file, with its checkpoint in the database.
type restartedExport struct {
	job
	db      database
	retries int
}

// newRestartedExport makes a table of rows of about so many bytes.
func newRestartedExport(t testing.TB, s *server, rows, bytes int) *restartedExport {
	t.Helper()
	e := &restartedExport{db: s.schema(t), job: job{Dialect: s.dialect.Name(), Dir: t.TempDir(), Every: 7, SQLStore: true, Lease: 2 * time.Second}}
	newStore(t, e.db)
	text := map[string]string{"postgres": "TEXT", "mariadb": "LONGTEXT"}[s.name]
	exec(t, e.db.DB, "CREATE TABLE src (id INTEGER PRIMARY KEY, v "+text+" NOT NULL)",
		fmt.Sprintf(`INSERT INTO src WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < %d)
			SELECT 3 * n + 1, CONCAT(n * n, REPEAT('x', %d)) FROM numbers`, rows-1, bytes))
	return e
}

// run exports what is not exported yet. scanning and consumed are called with the
// number of rows before each is scanned, and after each is written.
func (e *restartedExport) run(t testing.TB, retry control.Retry, scanning, consumed func(n int)) (err error) {
	store, err := e.store(e.db.DB)
	if err != nil {
		return err
	}
	out, err := cursor.OpenFile(e.output())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	c, err := e.open(t.Context(), store, cursor.Attach("out", out))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	q := e.query(e.db.DB)
	q.Page.Size = 150
	retry.OnRetry = func(control.RetryEvent) { e.retries++ }
	q.Page.Retry = retry.Do
	scanned, scan := 0, q.Scan
	q.Scan = func(rows *sql.Rows) (srcRow, error) {
		scanning(scanned)
		scanned++
		return scan(rows)
	}
	n := 0
	for r, err := range cursor.Track(t.Context(), q.Stream(t.Context(), c.Position()), c, cursor.Every{Items: e.Every}, q.Position) {
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, r.id, strings.TrimRight(r.v, "x"), len(r.v)); err != nil {
			return err
		}
		n++
		consumed(n)
	}
	return c.Finish(t.Context())
}

// check wants each row once, and all of it.
func (e *restartedExport) check(t testing.TB, rows, bytes int) {
	t.Helper()
	var want strings.Builder
	for n := range rows {
		v := fmt.Sprint(n * n)
		fmt.Fprintln(&want, 3*n+1, v, len(v)+bytes)
	}
	got, err := os.ReadFile(filepath.Clean(e.output()))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want.String() {
		t.Errorf("the output is\n%s", got)
	}
}

// patient is what a run of hours has around its pages.
var patient = control.Retry{Attempts: -1, MaxElapsed: time.Minute, Backoff: control.Exponential(20*time.Millisecond, time.Second)}

func nothing(int) {}

// comeThrough runs the export past restarts. On a busy machine a server may take
// longer to start than a commit waits for it; then the run ends, and another one goes on.
func (e *restartedExport) comeThrough(t testing.TB, s *server, scanning, consumed func(n int)) {
	t.Helper()
	err := e.run(t, patient, scanning, consumed)
	s.up(t)
	if err == nil {
		return
	}
	t.Logf("the next run goes on after: %v", err)
	if err := e.run(t, patient, nothing, nothing); err != nil {
		t.Fatal(err)
	}
}

func restartMidPage(t *testing.T, s *server, how stopMode) {
	const rows, bytes = 300, 60_000 // of which a page does not fit into what the system holds for a connection
	e := newRestartedExport(t, s, rows, bytes)
	restarts := 0
	e.comeThrough(t, s, func(n int) {
		if n == 5 || n == 250 {
			s.restart(how)
			restarts++
		}
	}, nothing)
	if restarts != 2 || e.retries < restarts {
		t.Errorf("%d restarts, %d tries of pages failed: none was cut in its midst", restarts, e.retries)
	}
	e.check(t, rows, bytes)
}

func restartBetweenPages(t *testing.T, s *server, how stopMode) {
	const rows, bytes = 400, 10
	e := newRestartedExport(t, s, rows, bytes)
	e.comeThrough(t, s, nothing, func(n int) {
		if n == 149 || n == 300 { // before the last row of a page, and behind it
			s.restart(how)
		}
	})
	e.check(t, rows, bytes)
}

// outage ends the server for longer than anybody waits: the run fails and says so,
// and the next one goes on from its checkpoint.
func outage(t *testing.T, s *server) {
	const rows, bytes = 400, 10
	e := newRestartedExport(t, s, rows, bytes)
	impatient := control.Retry{Attempts: 2, Backoff: control.Constant(time.Millisecond)}
	err := e.run(t, impatient, nothing, func(n int) {
		if n == 150 {
			s.stop(crash)
		}
	})
	if err == nil || errors.Is(err, cursor.ErrFenced) || errors.Is(err, cursor.ErrCorrupt) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("without a server the run ended with: %v", err)
	}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	if err := e.run(t, patient, nothing, nothing); err != nil {
		t.Fatal(err)
	}
	e.check(t, rows, bytes)
}

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

// restartMidRenewal restarts the server while it renews a lease. The lease outlives the
// server, its holder goes on and goes on renewing, and nobody else gets the job.
func restartMidRenewal(t *testing.T, s *server, how stopMode) {
	db := s.schema(t)
	const lease = 10 * time.Second // that no restart outlasts
	c := openJob(t, newStore(t, db, sqlstore.LeaseFor(lease)), "long")
	brief := openJob(t, newStore(t, db, sqlstore.LeaseFor(300*time.Millisecond)), "brief") // which a restart may outlast
	prepareHold(t, db)
	hold(t, db, beforeCommit)
	waitForHeld(t, s, beforeCommit)
	s.restart(how)
	s.up(t)
	if _, err := newStore(t, db).Acquire(t.Context(), "long"); !errors.Is(err, cursor.ErrLocked) {
		t.Errorf("another runner that wants the job gets %v", err)
	}
	renewed := func() (n int64) {
		if err := db.QueryRow("SELECT lease_until FROM pipeline_checkpoints WHERE job = 'brief'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for last := renewed(); renewed() == last; {
		time.Sleep(5 * time.Millisecond) // the server's clock is a real one
	}
	for i, c := range []*cursor.Checkpoint[int]{c, brief} {
		if err := c.Commit(t.Context(), i); err != nil {
			t.Error(err)
		}
	}
}

// restartAtRandom restarts the server again and again while a table is copied, by runs
// that end with an error where they must.
func restartAtRandom(t *testing.T, s *server, how stopMode) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	db := s.schema(t)
	j := newJobOn(t, db, 300)
	j.SQLStore, j.Copy, j.Retry = true, true, true
	failed, finished := 0, 0
	for round := 0; ; round++ {
		restarted := make(chan bool)
		go func() {
			defer close(restarted)
			if round < 3 {
				time.Sleep(time.Duration(rnd.Int64N(int64(80 * time.Millisecond))))
				s.restart(how)
			}
		}()
		err := j.runOn(t.Context(), db.DB)
		<-restarted
		s.up(t)
		switch {
		case err == nil:
			finished++
			j.check(t, db)
			if round >= 3 {
				t.Logf("%d runs failed, %d came through", failed, finished)
				return
			}
			exec(t, db.DB, "DELETE FROM dst")
			discard(t, j, db)
		case errors.Is(err, cursor.ErrFenced), errors.Is(err, cursor.ErrCorrupt), round >= 3:
			t.Fatal(err)
		default:
			failed++
		}
	}
}
