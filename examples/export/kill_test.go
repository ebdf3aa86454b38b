package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/sqlstore"
	"example.com/pipeline/examples/export/plan"
)

// killsVariable has the tests try everything on each database, rather than what they draw.
const killsVariable = "EXPORT_KILLS"

func thorough() bool { return os.Getenv(killsVariable) != "" }

// TestKilledEachPath kills the built program with SIGKILL at random instants, on each path
// through it (killpaths_test.go), and starts it again until it gets to its end before the
// kill comes; then again in another folder, until there were enough kills. The files are
// byte for byte those of a run that nobody killed, compressed ones too, since the commits
// go by rows.
//
// By itself it takes each path on one database, another one each time, and kills it once
// or more. EXPORT_KILLS is how many kills there are to be of each path on each database:
//
//	EXPORT_KILLS=200 go -C examples test ./export -v -run KilledEachPath -timeout 0
//	EXPORT_KILLS=1000 go -C examples test ./export -v -run 'KilledEachPath//store' -timeout 0
//
// The second is about each store, compressed and not. A line for each path says what the
// program was at when it was killed, how many runs went on with what those before had
// written, and how many exports were compared.
func TestKilledEachPath(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	kills, rows, everywhere := 1, 1000, thorough()
	if everywhere {
		var err error
		if kills, err = strconv.Atoi(os.Getenv(killsVariable)); err != nil || kills < 1 {
			t.Fatalf("%s must be a number of kills, got %q", killsVariable, os.Getenv(killsVariable))
		}
		rows = 2000
	}
	systems := killSystems()
	paths := make([][]killPath, len(systems)) // of each
	for i, n := 0, rand.N(len(systems)); i < len(killPaths); i, n = i+1, n+1 {
		p := killPaths[i]
		for !everywhere && !p.isFor(systems[n%len(systems)].name) {
			n++
		}
		for j, s := range systems {
			if everywhere && p.isFor(s.name) || !everywhere && n%len(systems) == j {
				paths[j] = append(paths[j], p)
			}
		}
	}
	for i, s := range systems {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			place := s.prepare(t, rows, paths[i])
			for _, p := range paths[i] {
				t.Run(p.name, func(t *testing.T) {
					t.Parallel()
					k := &killer{killPath: p, killPlace: place.of(t, p), atLeast: kills, kills: map[string]int{}}
					k.args = k.arguments(p)
					if len(p.files) == 0 {
						k.files = []string{p.out}
					}
					if p.follow {
						k.killFollowed(t)
					} else {
						k.killExports(t)
					}
					t.Logf("%s on %s: %s", p.name, s.name, k)
					if kills >= 100 {
						k.spread(t)
					}
				})
			}
		})
	}
}

// A killer kills the runs of a path.
type killer struct {
	killPath
	killPlace
	atLeast int

	span    time.Duration  // in which a run is killed: about what one takes
	kills   map[string]int // by phase
	runs    int            // behind a kill
	wentOn  int            // of them
	late    int            // that had ended before their kill
	exports int
}

func (k *killer) String() string {
	total, at := 0, ""
	for _, phase := range phases {
		total += k.kills[phase]
		at += fmt.Sprintf(", %d %s", k.kills[phase], phase)
	}
	return fmt.Sprintf("%d kills%s; of %d runs behind a kill %d went on; %d ended before their kill; %d exports were the same",
		total, at, k.runs, k.wentOn, k.late, k.exports)
}

// phases are what a run is at: until it says what it will do, until the last row is
// committed, until it says that it is done, and from then on.
var phases = []string{"starting", "reading", "finishing", "done"}

// phase looks what a run was at when it was killed.
func (k *killer) phase(t *testing.T, dir, said string) string {
	t.Helper()
	switch {
	case strings.Contains(said, "done: ") || strings.Contains(said, "nothing to do"):
		return phases[3]
	case !strings.Contains(said, "going on with ") && !strings.Contains(said, "exporting "):
		return phases[0]
	}
	store, job := k.stored(t, dir)
	record, err := cursor.Inspect(t.Context(), store, job)
	var p plan.Plan
	if err == nil {
		err = json.Unmarshal(record.Position, &p)
	}
	for i := 0; err == nil && i < len(p.Parts); i++ {
		if record, err = cursor.Inspect(t.Context(), store, partJob(job, i)); err == nil && !record.Finished {
			return phases[1]
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return phases[2]
}

// stored returns where the export in a folder has its checkpoints, and its job.
func (k *killer) stored(t *testing.T, dir string) (store cursor.Store, job string) {
	t.Helper()
	out := filepath.Join(dir, k.out)
	state := filepath.Join(filepath.Dir(out), ".pipeline-state")
	if filepath.Ext(out) == "" {
		state = filepath.Join(out, ".pipeline-state") // a folder
	}
	var err error
	if k.storeDB {
		state, store = "", sqlstore.New(k.db, k.dialect)
	} else if store, err = cursor.NewFileStore(state); err != nil {
		t.Fatal(err)
	}
	if job, err = plan.Job(out, state); err != nil {
		t.Fatal(err)
	}
	return store, job
}

// spread fails a test whose kills have left something out.
func (k *killer) spread(t *testing.T) {
	if k.kills[phases[0]] == 0 || k.kills[phases[1]] == 0 || k.kills[phases[2]]+k.kills[phases[3]] == 0 {
		t.Error("the kills were not spread over all of a run")
	}
	if k.wentOn == 0 && !k.anew() {
		t.Error("no run went on with what was there")
	}
}

// telling is what a run says that waits for the lease of a dead one, and when it has begun.
var telling = regexp.MustCompile(`it is free in (\S+): waiting|(?m:^(?:exporting|going on with) )`)

// killed runs the program, and kills it at an instant that is drawn from span, unless it has
// ended by then; one time in two, span begins where the program has said what it will do.
// The time that it waits for a lease does not count. It returns what the program has said.
func (k *killer) killed(t *testing.T, dir string, args ...string) (said string, killed bool) {
	t.Helper()
	cmd := command(t, dir, args...)
	out, errs := cmd.Stdout.(*output), cmd.Stderr.(*output)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	later := rand.N(2) == 0
	kill := time.AfterFunc(rand.N(k.span), func() { cmd.Process.Kill() })
	if later {
		kill.Stop()
	}
	ended := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for told := 0; ; {
			text, more := out.read()
			if all := telling.FindAllStringSubmatch(text, -1); len(all) > told {
				told = len(all)
				lease, _ := time.ParseDuration(all[told-1][1])
				if later || lease > 0 {
					kill.Reset(lease + rand.N(k.span))
				}
			}
			select {
			case <-more:
			case <-ended:
				return
			}
		}
	})
	cmd.Wait()
	close(ended)
	watch.Wait()
	kill.Stop()
	said = out.String()
	if code := cmd.ProcessState.ExitCode(); code > 0 || errs.String() != "" {
		t.Fatalf("after %v it fails by itself: exit code %d: %s%s", k, code, said, errs)
	}
	return said, cmd.ProcessState.ExitCode() == -1
}

// count is of a run.
func (k *killer) count(t *testing.T, dir, said string, killed, behind bool) {
	t.Helper()
	if killed {
		k.kills[k.phase(t, dir, said)]++
	} else {
		k.late++
	}
	if behind {
		k.runs++
		if strings.Contains(said, "going on with ") {
			k.wentOn++
		}
	}
}

// killExports kills exports until there were enough kills, and compares what they made.
func (k *killer) killExports(t *testing.T) {
	dir := k.folder(t)
	began := time.Now()
	mustRun(t, dir, exitDone, "done: ", k.args...)
	k.span = time.Since(began)
	want := rawFiles(t, dir, k.files)
	for i, text := range want {
		if len(text) < 500 {
			t.Fatalf("%s has %d bytes, which is no export", k.files[i], len(text))
		}
	}
	for n := 0; n < k.atLeast; k.exports++ {
		dir := k.folder(t)
		here := 0
		for {
			said, killed := k.killed(t, dir, k.args...)
			k.count(t, dir, said, killed, here > 0)
			if !killed {
				break
			}
			// The machine has other things to do, now more of them and now less.
			if here++; here%8 == 0 {
				k.span = k.span * 5 / 4
			}
		}
		if n += here; here == 0 {
			k.span = k.span * 4 / 5
		}
		for i, got := range rawFiles(t, dir, k.files) {
			same(t, fmt.Sprintf("%s after %d kills", k.files[i], here), got, want[i])
		}
		if !slices.Contains(k.args, "-restart") {
			mustRun(t, dir, exitDone, map[bool]string{true: "done: ", false: "nothing to do"}[slices.Contains(k.args, "-more")], k.args...)
			for i, got := range rawFiles(t, dir, k.files) {
				same(t, k.files[i]+" after one more run", got, want[i])
			}
		}
		discard(t, dir)
	}
}

// killFollowed kills an export that follows its table while rows are written, and compares
// the file with them.
func (k *killer) killFollowed(t *testing.T) {
	dir := k.folder(t)
	w := k.newWriter(t)
	args := append(slices.Clone(k.args), "-table="+w.table)
	following := append(slices.Clone(args), "-follow=100ms")
	k.span = 500 * time.Millisecond
	for n := range k.atLeast {
		var writing sync.WaitGroup
		writing.Go(func() { w.write(t) })
		said, killed := k.killed(t, dir, following...)
		writing.Wait()
		if !killed {
			t.Fatalf("it has ended by itself: %s", said)
		}
		k.count(t, dir, said, killed, n > 0)
	}
	start(t, "caught up after "+countOf(int64(w.last), "row"), dir, following...).end(os.Kill)
	same(t, "the file behind the last row", read(t, filepath.Join(dir, k.out)), w.text.String())
	mustRun(t, dir, exitDone, "done: "+countOf(int64(w.last), "row"), args...)
	same(t, "the file that is complete", read(t, filepath.Join(dir, k.out)), w.text.String())
	k.exports++
}
