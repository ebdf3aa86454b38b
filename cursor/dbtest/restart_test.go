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

// TestServerRestart restarts a whole server at each bad moment, in one of two ways: every
// connection is gone, for a while there is no server, and then one that may still be
// recovering. What was written is complete afterwards, and nothing is there twice.
func TestServerRestart(t *testing.T) {
	eachServer(t, func(t *testing.T, s *server) {
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
			ways := []stopMode{crash, shutdown}
			if drawn := rand.N(len(ways)); !everything() {
				ways = ways[drawn : drawn+1]
			}
			for _, how := range ways {
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
	q.Page.Size, q.Page.Max = 150, 150
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
	restarts, again := 0, 0
	e.comeThrough(t, s, func(n int) {
		if e.retries > 0 && again == 0 {
			again = n // the first page begins once more: 150 rows, and one that is looked at
		}
		if n == 5 || restarts == 1 && again > 0 && n == again+156 { // near the beginning of either page
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
// that end with an error where they must. The last run has no restart of its own, but
// what is left of the others' connections, which must not stop it.
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
			db.SetMaxIdleConns(0) // this test's own statements do not try twice
			db.SetMaxIdleConns(2)
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
