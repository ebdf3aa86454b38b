package dbtest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"example.com/pipeline/cursor"
)

// killRounds returns how often the tests kill at random: 12 times for each store and
// database, or as often as PIPELINE_KILL_ROUNDS says; 200 is a thorough run.
func killRounds(t testing.TB) int {
	t.Helper()
	text := os.Getenv("PIPELINE_KILL_ROUNDS")
	if text == "" {
		return 12
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("PIPELINE_KILL_ROUNDS: %v", err)
	}
	return n
}

// eachKillable runs a test on the databases that the killed processes use.
func eachKillable(t *testing.T, test func(t *testing.T, j job, db database)) {
	t.Run("sqlite", func(t *testing.T) {
		j, db := newJob(t, databases[0], "sqlite", sqliteDSN(t))
		test(t, j, db)
	})
	t.Run("postgres", func(t *testing.T) {
		j, db := newJob(t, databases[1], "pgx", postgresDSN(t))
		test(t, j, db)
	})
}

// TestRandomKills kills processes at random moments, two at a time where the store
// is in the database, until one comes through; then it starts afresh, until there
// were enough kills. However it went, the output has each row once.
func TestRandomKills(t *testing.T) {
	eachKillable(t, func(t *testing.T, j job, db database) {
		t.Run("file", func(t *testing.T) { randomKills(t, j, db, 1) })
		j.SQLStore, j.Copy = true, true
		t.Run("table to table", func(t *testing.T) { randomKills(t, j, db, 2) })
	})
}

func randomKills(t *testing.T, j job, db database, runners int) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	longest := 100 * time.Millisecond // as it turns out, so that most are killed on their way
	kills, finished, done := 0, 0, false
	for rounds := killRounds(t); !done; {
		var waits []func() bool
		for range runners {
			run := j
			if run.Fuse = 1 + time.Duration(rnd.Int64N(int64(longest))); kills >= rounds {
				run.Fuse = 0
			}
			cmd, out := run.command(t)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			waits = append(waits, func() bool {
				// On a busy machine a runner can sleep past its lease and lose the job to the
				// other one. It then stops, and what it was at is the other's.
				return wasKilled(t, cmd, out) || runners > 1 && cmd.ProcessState.ExitCode() == exitFenced
			})
		}
		for _, killed := range waits {
			if killed() {
				kills++
				longest += longest / 8
			} else {
				done = true
				longest -= longest / 3
			}
		}
		if !done {
			continue
		}
		finished++
		j.check(t, db)
		if kills < rounds {
			exec(t, db.DB, "DELETE FROM dst")
			discard(t, j, db)
			done = false
		}
	}
	t.Logf("%d kills, %d runs came through", kills, finished)
}

// discard starts the job afresh.
func discard(t *testing.T, j job, db database) {
	t.Helper()
	j.Discard = true
	store, err := j.store(db.DB)
	if err != nil {
		t.Fatal(err)
	}
	var opts []cursor.OpenOption
	if !j.Copy {
		out, err := cursor.OpenFile(j.output())
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		opts = append(opts, cursor.Attach("out", out))
	}
	c, err := j.open(t.Context(), store, opts...)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestKillAtEveryStep kills an export from SQLite before each step that it makes on
// the file system, until one comes through.
func TestKillAtEveryStep(t *testing.T) {
	j, db := newJob(t, databases[0], "sqlite", sqliteDSN(t))
	j.Every = 100
	for killed := true; killed; {
		j.Step++
		j.Dir = t.TempDir()
		cmd, out := j.command(t)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		killed = wasKilled(t, cmd, out)
		again := j
		again.Step = 0
		if err := again.runOn(t.Context(), db.DB); err != nil {
			t.Fatalf("killed before step %d, the next run failed: %v", j.Step, err)
		}
		again.check(t, db)
	}
	t.Logf("%d kills", j.Step-1)
}

// TestSuspendedRunner stops a process in its midst until its lease has ended and
// another runner has finished the job, then lets it go on: it is fenced off, and
// has harmed nothing.
func TestSuspendedRunner(t *testing.T) {
	eachKillable(t, func(t *testing.T, j job, db database) {
		j.SQLStore, j.Copy, j.StopAfter = true, true, 5
		cmd, out := j.command(t)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
			t.Fatalf("the process did not stop: %v, %v", status, err)
		}
		other := j
		other.StopAfter = 0
		if err := other.runOn(t.Context(), db.DB); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitFenced {
			t.Errorf("the suspended process ended with %v, want to be fenced off\n%s", err, out)
		}
		j.check(t, db)
	})
}
