package dbtest

import (
	"bytes"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/pipeline/cursor"
)

// killRounds returns how often the tests kill at random: 50 times for each store and
// database, or as often as PIPELINE_KILL_ROUNDS says.
func killRounds(t testing.TB) int {
	t.Helper()
	text := os.Getenv("PIPELINE_KILL_ROUNDS")
	if text == "" {
		return 50
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("PIPELINE_KILL_ROUNDS: %v", err)
	}
	return n
}

// eachKillable runs a test on the databases that the killed processes use.
func eachKillable(t *testing.T, rows int, test func(t *testing.T, j job, db database)) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		j, db := newJob(t, databases[0], "sqlite", sqliteDSN(t), rows)
		test(t, j, db)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		j, db := newJob(t, databases[1], "pgx", postgresDSN(t), rows)
		test(t, j, db)
	})
}

// TestRandomKillsOfFile kills an export to a file, whose checkpoint is a file, too.
func TestRandomKillsOfFile(t *testing.T) { eachKillable(t, 3000, randomKills) }

// TestRandomKillsOfCopy kills a copy from table to table, whose checkpoint is in the
// same database.
func TestRandomKillsOfCopy(t *testing.T) {
	eachKillable(t, 3000, func(t *testing.T, j job, db database) {
		j.SQLStore, j.Copy = true, true
		randomKills(t, j, db)
	})
}

// A runner is a process that works on a job, or waits for it.
type runner struct {
	*osexec.Cmd
	stderr bytes.Buffer
	opened chan struct{} // closed when it has the job
	ended  chan struct{} // closed when it has ended
	once   sync.Once
}

// Write gets what the process prints, which is that it has the job.
func (r *runner) Write(b []byte) (int, error) {
	r.once.Do(func() { close(r.opened) })
	return len(b), nil
}

func (j job) start(t testing.TB) *runner {
	t.Helper()
	j.Announce = true
	cmd, _ := j.command(t)
	r := &runner{Cmd: cmd, opened: make(chan struct{}), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = r, &r.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // how it ended is in its state
		close(r.ended)
	}()
	t.Cleanup(func() { // in a test that has failed
		_ = cmd.Process.Kill()
		<-r.ended
	})
	return r
}

// How a runner came to its end.
type fate int

const (
	finished   fate = iota
	killed          // at its work
	unopened        // killed before it had the job
	superseded      // it slept past its lease, as happens on a busy machine, and another has the job
)

// fate waits for the end of a runner.
func (r *runner) fate(t testing.TB) fate {
	t.Helper()
	<-r.ended
	status := r.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case status.Signaled() && status.Signal() == syscall.SIGKILL:
		select {
		case <-r.opened:
			return killed
		default:
			return unopened
		}
	case status.ExitStatus() == exitFenced:
		return superseded
	case status.ExitStatus() != exitDone:
		t.Fatalf("the process ended with %v\n%s", r.ProcessState, &r.stderr)
	}
	return finished
}

// killAfter kills a runner a while after an event, if it has not ended by itself.
func (r *runner) killAfter(event <-chan struct{}, d time.Duration) {
	select {
	case <-event:
	case <-r.ended:
		return
	}
	select {
	case <-time.After(d): // the process's clock is a real one
		_ = r.Process.Kill() // fails where it has just ended
	case <-r.ended:
	}
}

// randomKills kills one process after another at random moments of its work, while the
// next one waits for the job. Now and then it kills the one that waits, which may
// just be taking the job. It begins the job anew where one has come through, until
// there were enough kills. However it went, the output has each row once.
func randomKills(t *testing.T, j job, db database) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	began := make(chan struct{})
	close(began)
	var fates [superseded + 1]int
	rounds := killRounds(t)
	for fates[killed] < rounds {
		waiting := j.start(t)
		for came := unopened; came != finished; {
			working := waiting
			select { // otherwise the next one might come first
			case <-working.opened:
			case <-working.ended:
			}
			if waiting = j.start(t); rnd.IntN(8) == 0 {
				go waiting.killAfter(began, time.Duration(rnd.Int64N(int64(2*j.Lease))))
			}
			if fates[killed] < rounds {
				working.killAfter(working.opened, time.Duration(rnd.Int64N(int64(60*time.Millisecond))))
			}
			came = working.fate(t)
			fates[came]++
		}
		if f := waiting.fate(t); f == superseded {
			t.Error("a runner of a job that was finished lost it")
		}
		j.check(t, db)
		if fates[killed] < rounds {
			exec(t, db.DB, "DELETE FROM dst")
			discard(t, j, db)
		}
	}
	t.Logf("%d runners were killed at their work and %d before it, %d came through, %d lost the job",
		fates[killed], fates[unopened], fates[finished], fates[superseded])
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
	t.Parallel()
	j, db := newJob(t, databases[0], "sqlite", sqliteDSN(t), 300)
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
	eachKillable(t, 300, func(t *testing.T, j job, db database) {
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
