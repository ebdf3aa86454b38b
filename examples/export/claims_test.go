package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// until waits until the program has brought something about.
func (r *running) until(t *testing.T, done func() bool) {
	t.Helper()
	for !done() {
		select {
		case <-r.ended:
			t.Fatalf("the program has ended: %s%s", r.stdout, r.stderr)
		case <-time.After(time.Millisecond):
		}
	}
}

func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return -1
	}
	return info.Size()
}

func names(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range found {
		found[i] = filepath.Base(path)
	}
	return strings.Join(found, " ")
}

// A part that others change after it is finished, while the rest is written.
func TestFinishedPartIsChanged(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	args := []string{"-dsn=" + newDemo(t, 400), "-table=orders", "-out=o.csv", "-partitions=2", "-workers=1", "-page=10", "-commit=10"}
	want := undisturbed(t, args, []string{"o.1of2.csv", "o.2of2.csv"})
	for name, change := range map[string]func(path string) error{
		"emptied":  func(path string) error { return os.Truncate(path, 0) },
		"longer":   func(path string) error { return os.WriteFile(path, []byte(want[0]+"x"), 0o666) },
		"removed":  os.Remove,
		"replaced": func(path string) error { os.Remove(path); return os.WriteFile(path, []byte(want[0]), 0o666) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			first := filepath.Join(dir, "o.1of2.csv")
			p := startSlow(t, dir, append(args, "-rate=100")...)
			p.until(t, func() bool { return sizeOf(filepath.Join(dir, "o.2of2.csv")) > 1000 })
			if err := change(first); err != nil {
				t.Fatal(err)
			}
			<-p.ended
			if code := p.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(p.stderr.String(), "the output was changed: output "+first) {
				t.Errorf("exit code %d: %s%s", code, p.stdout, p.stderr)
			}
			os.Remove(first)
			write(t, first, want[0])
			r := mustRun(t, dir, exitDone, "done: 400 rows", args...)
			if !strings.Contains(r.stdout, "going on with") {
				t.Errorf("it began anew: %s", r.stdout)
			}
			for i, content := range rawFiles(t, dir, []string{"o.1of2.csv", "o.2of2.csv"}) {
				same(t, "a part", content, want[i])
			}
		})
	}
}

// An export whose file another one is at work on takes nothing of it, at once or later, on
// whatever way it comes.
func TestFileOfAnotherExport(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn := newDemo(t, 400)
	first := []string{"-dsn=" + dsn, "-table=orders", "-page=10", "-commit=1000"}
	for name, test := range map[string]struct {
		first, second []string
		file          string
		prepare       func(t *testing.T, dir string)
	}{
		"the name of a part": {first: []string{"-out=o.csv", "-partitions=2"}, second: []string{"-out=o.1of2.csv"}, file: "o.1of2.csv"},
		"two states":         {first: []string{"-out=o.csv", "-state=a"}, second: []string{"-out=o.csv", "-state=b"}, file: "o.csv"},
		"two stores":         {first: []string{"-out=o.csv"}, second: []string{"-out=o.csv", "-store=db"}, file: "o.csv"},
		"a link": {first: []string{"-out=r/o.csv"}, second: []string{"-out=l/o.csv"}, file: "r/o.csv", prepare: func(t *testing.T, dir string) {
			for _, err := range []error{os.Mkdir(dir+"/r", 0o777), os.Mkdir(dir+"/l", 0o777), os.Symlink("../r/o.csv", dir+"/l/o.csv")} {
				if err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if test.prepare != nil {
				test.prepare(t, dir)
			}
			second := append([]string{"-dsn=" + dsn, "-table=orders", "-columns=id"}, test.second...)
			p := start(t, "exporting", dir, append(append(first, test.first...), "-rate=40")...)
			if sizeOf(filepath.Join(dir, test.file)) != 0 {
				t.Fatalf("%s is not empty yet", test.file)
			}
			mustRun(t, dir, exitFailed, "Another run is at work", second...)
			<-p.ended
			if code := p.ProcessState.ExitCode(); code != exitDone {
				t.Fatalf("exit code %d: %s", code, p.stderr)
			}
			want := read(t, filepath.Join(dir, test.file))
			refused := mustRun(t, dir, exitFailed, "", second...)
			if !strings.Contains(refused.stderr, "no checkpoint says that this export wrote it") && !strings.Contains(refused.stderr, "was begun with other flags") {
				t.Errorf("it says %s", refused.stderr)
			}
			same(t, "the file", read(t, filepath.Join(dir, test.file)), want)
		})
	}
}

// A -restart that fails before it has its files leaves the export before as it was.
func TestRestartThatFails(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dir, args := t.TempDir(), []string{"-dsn=" + newDemo(t, 100), "-table=orders", "-out=o.csv"}
	mustRun(t, dir, exitDone, "done", append(args, "-partitions=4")...)
	if err := os.Mkdir(dir+"/o.2of3.csv", 0o777); err != nil {
		t.Fatal(err)
	}
	failed := mustRun(t, dir, exitFailed, "o.2of3.csv", append(args, "-partitions=3", "-restart")...)
	if !strings.HasSuffix(strings.TrimSpace(failed.stderr), " -restart") {
		t.Errorf("it does not say that -restart is to be given again: %s", failed.stderr)
	}
	if got := names(t, dir+"/*.csv"); got != "o.1of4.csv o.2of3.csv o.2of4.csv o.3of4.csv o.4of4.csv" {
		t.Errorf("there are %s", got)
	}
	mustRun(t, dir, exitDone, "nothing to do", append(args, "-partitions=4")...)
	if err := os.Remove(dir + "/o.2of3.csv"); err != nil {
		t.Fatal(err)
	}
	mustRun(t, dir, exitDone, "removed o.4of4.csv", append(args, "-partitions=3", "-restart")...)
	if got := names(t, dir+"/*.csv"); got != "o.1of3.csv o.2of3.csv o.3of3.csv" {
		t.Errorf("there are %s", got)
	}
}

// What has taken the place of a part of the export before is not removed with it.
func TestRestartLeavesWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn := newDemo(t, 100)
	args := []string{"-dsn=" + dsn, "-table=orders", "-out=o.csv"}
	for name, rate := range map[string]string{"finished": "", "not finished": "-rate=40", "some not begun": "-rate=4"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if rate == "" {
				mustRun(t, dir, exitDone, "done", append(args, "-partitions=4")...)
			} else {
				startSlow(t, dir, append(args, "-partitions=4", rate, "-page=5", "-commit=5")...).end(os.Kill)
			}
			for _, name := range []string{"o.2of4.csv", "o.3of4.csv", "o.4of4.csv"} {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			own := strings.Repeat("somebody's, and long enough to be no beginning of a part\n", 100)
			write(t, dir+"/o.2of4.csv", own)
			mustRun(t, dir, exitDone, "done", "-dsn="+dsn, "-table=orders", "-columns=id", "-out=o.4of4.csv")
			want := read(t, dir+"/o.4of4.csv")
			r := mustRun(t, dir, exitDone, "removed o.1of4.csv", append(args, "-restart")...)
			if !strings.Contains(r.stdout, "left o.4of4.csv") {
				t.Errorf("it says %s", r.stdout)
			}
			same(t, "another export's file", read(t, dir+"/o.4of4.csv"), want)
			same(t, "somebody's file", read(t, dir+"/o.2of4.csv"), own)
		})
	}
}

// A plan was saved, and the run killed before it had anything in its file: what is there
// then is somebody else's.
func TestFileBeforeItsRecord(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dir, args := t.TempDir(), []string{"-dsn=" + newDemo(t, 100), "-table=orders", "-out=o.csv"}
	startSlow(t, dir, append(args, "-rate=10")...).end(os.Kill)
	for _, path := range strings.Fields(names(t, dir+"/.pipeline-state/*%2e1.checkpoint")) {
		if err := os.Remove(filepath.Join(dir, ".pipeline-state", path)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir+"/o.csv", "somebody's\n")
	mustRun(t, dir, exitFailed, "no checkpoint says that this export wrote it", args...)
	same(t, "the file", read(t, dir+"/o.csv"), "somebody's\n")
	mustRun(t, dir, exitDone, "done: 100 rows", append(args, "-restart")...)
}

// A run was killed before its first commit, and then its file was exchanged for somebody
// else's.
func TestFileBeforeItsFirstCommit(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	for _, kind := range [][]string{nil, {"-compress=gzip"}, {"-store=db"}, {"-partitions=2"}} {
		t.Run(strings.Join(kind, ""), func(t *testing.T) {
			t.Parallel()
			dir, args := t.TempDir(), append([]string{"-dsn=" + newDemo(t, 100), "-table=orders", "-out=o.csv", "-lease=1s"}, kind...)
			file := "o.csv"
			switch {
			case slices.Contains(kind, "-partitions=2"):
				file = "o.2of2.csv"
			case slices.Contains(kind, "-compress=gzip"):
				args[2], file = "-out=o.csv.gz", "o.csv.gz"
			}
			startSlow(t, dir, append(args, "-rate=10")...).end(os.Kill)
			path := filepath.Join(dir, file)
			os.Remove(path)
			write(t, path, "somebody's\n")
			mustRun(t, dir, exitFailed, "not the file that this export has made", args...)
			if got, err := os.ReadFile(path); string(got) != "somebody's\n" {
				t.Errorf("the file is %q, %v", got, err)
			}
			os.Remove(path)
			mustRun(t, dir, exitDone, "done: 100 rows", args...)
		})
	}
}

// An output that is a link to a file which is to be made is one export with that file.
func TestLinkToAFileThatIsNotThere(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dir, args := t.TempDir(), []string{"-dsn=" + newDemo(t, 1000), "-table=orders", "-out=l/o.csv", "-page=10", "-commit=10"}
	for _, err := range []error{os.Mkdir(dir+"/r", 0o777), os.Mkdir(dir+"/l", 0o777), os.Symlink("../r/o.csv", dir+"/l/o.csv")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	startSlow(t, dir, append(args, "-rate=100")...).end(os.Kill)
	mustRun(t, dir, exitDone, "going on with", args...)
}

// The folder of several tables has its state in it, whatever it is called.
func TestFolderIsRenamed(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dir := t.TempDir()
	args := []string{"-dsn=" + newSQLite(t, "CREATE TABLE a (id INTEGER PRIMARY KEY)", "CREATE TABLE b (id INTEGER PRIMARY KEY)",
		"INSERT INTO a WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 500) SELECT i FROM n", "INSERT INTO b SELECT id FROM a"), "-table=a,b", "-page=10", "-commit=10"}
	startSlow(t, dir, append(args, "-out=first", "-rate=100")...).end(os.Kill)
	if err := os.Rename(dir+"/first", dir+"/second"); err != nil {
		t.Fatal(err)
	}
	mustRun(t, dir, exitDone, "going on with second", append(args, "-out=second")...)
}

// With the checkpoints in the database no folder is asked for, and none made.
func TestStoreInTheDatabaseNeedsNoFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustRun(t, dir, exitDone, "done: 10 rows", "-dsn="+newDemo(t, 10), "-table=orders", "-out=o.csv", "-store=db")
	if got := names(t, dir+"/*") + names(t, dir+"/.*"); got != "o.csv" {
		t.Errorf("there are %s", got)
	}
}

// A refused run leaves no files that were not there.
func TestRefusedRunMakesNoFiles(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dir, args := t.TempDir(), []string{"-dsn=" + newDemo(t, 100), "-table=orders", "-out=q.csv"}
	write(t, dir+"/q.2of3.csv", "somebody's\n")
	mustRun(t, dir, exitFailed, "q.2of3.csv is there", append(args, "-partitions=3")...)
	if got := names(t, dir+"/*.csv"); got != "q.2of3.csv" {
		t.Errorf("there are %s", got)
	}
	startSlow(t, dir, append(args, "-rate=10", "-page=10", "-commit=10")...).end(os.Kill)
	if err := os.Remove(dir + "/q.csv"); err != nil {
		t.Fatal(err)
	}
	mustRun(t, dir, exitFailed, "the output was changed", args...)
	if got := names(t, dir+"/*.csv"); got != "q.2of3.csv" {
		t.Errorf("there are %s", got)
	}
}

// The folder of the checkpoints is gone while the export runs.
func TestStateIsRemoved(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dir, args := t.TempDir(), []string{"-dsn=" + newDemo(t, 1000), "-table=orders", "-out=o.csv", "-page=10", "-commit=10"}
	p := startSlow(t, dir, append(args, "-rate=100")...)
	if err := os.Rename(dir+"/.pipeline-state", dir+"/gone"); err != nil { // all at once
		t.Fatal(err)
	}
	<-p.ended
	if code := p.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(p.stderr.String(), "was removed while this ran") {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}

// What is no file, or has the messages in it, is refused, and nothing is made beside it.
func TestOutputThatIsAStream(t *testing.T) {
	dir, args := t.TempDir(), []string{"-dsn=" + newDemo(t, 10), "-table=orders"}
	if err := syscall.Mkfifo(dir+"/fifo", 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", dir+"/null"); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{"fifo", "null"} {
		mustRun(t, dir, exitFailed, "-out -", append(args, "-out="+out)...)
	}
	messages, err := os.Create(dir + "/messages")
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Close()
	c := command(t, dir, append(args, "-out=messages")...)
	run := exec.Cmd{Path: c.Path, Args: c.Args, Env: c.Env, Dir: c.Dir, Stdout: messages, Stderr: c.Stderr}
	if run.Run(); run.ProcessState.ExitCode() != exitFailed || !strings.Contains(c.Stderr.(*output).String(), "is where the messages go") {
		t.Errorf("exit code %d: %s", run.ProcessState.ExitCode(), c.Stderr)
	}
	if got := names(t, dir+"/*") + names(t, dir+"/.*"); got != "fifo messages null" {
		t.Errorf("there are %s", got)
	}
}

// The database, and what SQLite keeps beside it, are no output, whatever is asked for.
func TestOutputThatIsTheDatabase(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dir := t.TempDir()
	db := openSQLite(t, "sqlite:"+dir+"/shop.db")
	for _, s := range []string{"PRAGMA journal_mode = wal", "CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)"} {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"a.csv": "shop.db", "b.csv": "shop.db-wal", "c.csv": "shop.db-journal"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	before := read(t, dir+"/shop.db-wal")
	for _, out := range []string{"shop.db-wal", "shop.db-shm", "shop.db-journal", "a.csv", "b.csv", "c.csv"} {
		mustRun(t, dir, exitFailed, "is the database that is to be exported", "-dsn=shop.db", "-table=t", "-format=csv", "-out="+out, "-restart")
	}
	same(t, "the log", read(t, dir+"/shop.db-wal"), before)
	if got := names(t, dir+"/[a-z]*"); got != "a.csv b.csv c.csv shop.db shop.db-shm shop.db-wal" {
		t.Errorf("there are %s", got)
	}
}
