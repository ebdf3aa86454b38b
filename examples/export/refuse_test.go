package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestBadFlags(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dir := t.TempDir()
	for _, test := range []struct {
		says string
		args []string
	}{
		{"-nonsense", []string{"-nonsense"}},
		{`"orders" is no flag`, []string{"orders"}},
		{"-table needs -dsn", []string{"-table=x"}},
		{"-dsn needs -table or -query", []string{"-dsn=sqlite:x"}},
		{"-page must be", []string{"-page=0"}},
		{"-page", []string{"-page=many"}},
		{"-commit must", []string{"-commit=-1"}},
		{"-rate must be", []string{"-rate=-1"}},
		{"-rate must be", []string{"-rate=NaN"}},
		{"-partitions must be", []string{"-partitions=0"}},
		{"-partitions must be", []string{"-partitions=1000000"}},
		{"-workers must", []string{"-workers=-2"}},
		{"-store must be", []string{"-store=disk"}},
		{"-lease must", []string{"-lease=5ms"}},
		{"-format must be", []string{"-format=xml"}},
		{"-rows is for the demo", []string{"-dsn=sqlite:x", "-table=x", "-rows=5"}},
		{"-rows must be", []string{"-rows=0"}},
		{"named twice", []string{"-columns=a,b,a"}},
		{"missing", []string{"-key=a,,b"}},
		{"-out - needs -dsn", []string{"-out=-"}},
		{"cannot go with -out -", []string{"-dsn=sqlite:x", "-table=t", "-out=-", "-restart"}},
		{"-out - takes one table", []string{"-dsn=sqlite:x", "-table=*", "-out=-"}},
		{"not closed", []string{`-columns=a,"b`}},
		{"must be a comma", []string{`-columns="a"b`}},
		{"missing", []string{`-key=""`}},
		{"a quote is not closed", []string{"-dsn=sqlite:x", `-table="x`}},
		{"a name is missing", []string{"-dsn=sqlite:x", `-table=""."x"`}},
		{`"schema"."table"`, []string{"-dsn=sqlite:x", `-table="a"."b"."c"`}},
		{"its endings say .gz and .gz", []string{"-out=x.csv.gz.gz"}},
		{"its endings say .zst and .gz", []string{"-out=x.csv.zst.GZ"}},
		{"its endings say .gpg and .zst", []string{"-out=x.csv.gpg.zst"}},
		{"its endings say .zstd and .gz", []string{"-out=x.zstd.gz"}},
		{"its ending says .json", []string{"-out=x.json"}},
		{"its ending says .parquet", []string{"-out=x.parquet"}},
		{"its ending says .zip", []string{"-out=x.csv.zip"}},
		{"its ending says .xlsx", []string{"-out=X.XLSX"}},
		{"its ending says .parquet", []string{"-out=x.parquet.gz"}},
		{"its ending says .jsonl, and -format csv", []string{"-out=x.jsonl", "-format=csv"}},
		{"its ending says .csv, and -format tsv", []string{"-out=x.csv.gz", "-format=tsv"}},
		{"its ending says gzip", []string{"-out=x.csv.gz", "-compress=zstd"}},
		{"call it x.csv.zst", []string{"-out=x.csv", "-compress=zstd"}},
		{"-compress must be", []string{"-compress=lz4"}},
		{"cannot go with -out -", []string{"-dsn=x.db", "-table=t", "-out=-", "-compress=gzip"}},
		{"-delimiter must", []string{"-delimiter=ab"}},
		{"-delimiter must", []string{"-delimiter=é"}},
		{"-delimiter must", []string{`-delimiter="`}},
		{"-delimiter must", []string{"-delimiter=5"}},
		{"-delimiter must", []string{"-delimiter=-"}},
		{"are for CSV", []string{"-delimiter=;", "-format=tsv"}},
		{"are for CSV", []string{"-null=x", "-out=x.jsonl"}},
		{"-header is for", []string{"-header=false", "-out=x.jsonl"}},
		{"-null must", []string{"-null=a,b"}},
		{"-null must", []string{"-null=1e5"}},
		{"-null must", []string{"-null=true"}},
		{"-null must", []string{`-null=\x00`}},
		{"cannot go together", []string{"-dsn=sqlite:x", "-table=x", "-query=SELECT 1", "-out=x"}},
		{"-query needs -out", []string{"-dsn=sqlite:x", "-query=SELECT 1"}},
		{"-query is empty", []string{"-dsn=sqlite:x", "-query= ;", "-out=x"}},
		{"-limit must", []string{"-limit=-1"}},
		{"cannot go with -partitions", []string{"-limit=5", "-partitions=2"}},
		{"cannot go together", []string{"-limit=5", "-more"}},
		{"cannot go together", []string{"-dsn=x.db", "-table=t", "-until=5", "-more"}},
		{"cannot go with -until", []string{"-dsn=x.db", "-table=t", "-until=5", "-count"}},
		{"are for one table", []string{"-dsn=x.db", "-table=a,b", "-until=5", "-out=d"}},
		{"-until needs -dsn", []string{"-until=5"}},
		{"-follow must", []string{"-follow=0s"}},
		{"-follow must", []string{"-follow=-5s"}},
		{"cannot go with -follow", []string{"-dsn=x.db", "-table=t", "-out=-", "-follow=1s"}},
		{"cannot go with -follow", []string{"-dsn=x.db", "-table=t", "-restart", "-follow=1s"}},
		{"cannot go with -follow", []string{"-dsn=x.db", "-table=t", "-until=5", "-follow=1s"}},
		{"-log must", []string{"-log=xml"}},
		{"-log json is for exports", []string{"-dsn=x.db", "-table=t", "-log=json", "-dry-run"}},
		{"-log is for exports", []string{"-log=json", "-status"}},
		{"-stall must", []string{"-stall=5ms"}},
	} {
		mustRun(t, dir, exitUsage, test.says, test.args...)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("wrong flags left %v behind, %v", entries, err)
	}
	r := mustRun(t, dir, exitDone, "Exit codes", "-help")
	if r.stderr != "" || !strings.Contains(r.stdout, "-partitions") {
		t.Errorf("help: %+v", r)
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn := newSQLite(t,
		"CREATE TABLE t (id INTEGER PRIMARY KEY, dup INTEGER NOT NULL, maybe INTEGER UNIQUE, plain INTEGER NOT NULL, x REAL NOT NULL UNIQUE)",
		"INSERT INTO t VALUES (1, 5, NULL, 1, 0.5), (2, 5, NULL, 2, 1.5), (3, 6, 1, 3, 2.5)",
		"CREATE TABLE nokey (a)", "INSERT INTO nokey VALUES (1)")
	notDB := filepath.Join(t.TempDir(), "not.db")
	write(t, notDB, strings.Repeat("this is no database ", 100))
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/folder", 0o777); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		says string
		args []string // after -dsn and -table, which they may replace
	}{
		{"nosuch", []string{"-table=nosuch"}},
		{"has no column nosuch", []string{"-columns=id,nosuch"}},
		{"nosuch", []string{"-key=nosuch"}},
		{"Name another -key", []string{"-key=dup"}},
		{"Name another -key", []string{"-key=maybe"}},
		{"Name another -key", []string{"-key=plain"}},
		{"Name another -key", []string{"-key=x"}},
		{"-where", []string{"-where=nosuch = 1"}},
		{"-where", []string{"-where=id = "}},
		{"-where", []string{"-where=1 = 1) OR (1 = 1; DROP TABLE t"}},
		{"there is no file", []string{"-dsn=sqlite:/nonexistent/x.db"}},
		{"is a folder", []string{"-dsn=sqlite:."}},
		{"not a database", []string{"-dsn=sqlite:" + notDB}},
		{"-where", []string{"-where=id < 0) OR (1 = 1"}},
		{"-dsn must be", []string{"-dsn=oracle://x"}},
		{"not a database", []string{"-dsn=" + notDB}},
		{"-dsn names no database", []string{"-dsn=mysql://root@localhost"}},
		{"cannot open postgres://", []string{"-dsn=postgres://user:secret@127.0.0.1:1/db"}},
		{"cannot open mysql://", []string{"-dsn=mysql://user:secret@127.0.0.1:1/db"}},
		{"folder", []string{"-out=missing/o.csv"}},
		{"folder", []string{"-out=folder"}},
		{"/dev/full", []string{"-out=/dev/full", "-state=s"}},
	} {
		r := mustRun(t, dir, exitFailed, test.says, append([]string{"-dsn=" + dsn, "-table=t"}, test.args...)...)
		if strings.Contains(r.stderr+r.stdout, "secret") {
			t.Errorf("%q: the password is shown: %+v", test.args, r)
		}
		if strings.Contains(r.stderr, "done") {
			t.Errorf("%q: %+v", test.args, r)
		}
	}
	files, err := filepath.Glob(dir + "/*.csv")
	if err != nil || len(files) > 0 {
		t.Errorf("refused exports left %v behind, %v", files, err)
	}
}

// A key that the catalog says nothing about, in a view, is found out at run time.
func TestDuplicateKeyInAView(t *testing.T) {
	t.Parallel()
	dsn, dir := newSQLite(t, "CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)",
		"CREATE VIEW v AS SELECT id / 10 AS same, id FROM t"), t.TempDir()
	mustRun(t, dir, exitFailed, "-key", "-dsn="+dsn, "-table=v", "-key=same")
}

func TestForeignOutputIsNotOverwritten(t *testing.T) {
	t.Parallel()
	dsn, dir := newDemo(t, 100), t.TempDir()
	write(t, dir+"/o.csv", "precious")
	args := []string{"-dsn=" + dsn, "-table=orders", "-out=o.csv"}
	mustRun(t, dir, exitFailed, "-restart", args...)
	mustRun(t, dir, exitFailed, "-restart", args...) // nor the second time
	same(t, "the file", read(t, dir+"/o.csv"), "precious")
	write(t, dir+"/p.2of2.csv", "precious")
	mustRun(t, dir, exitFailed, "p.2of2.csv is there", "-dsn="+dsn, "-table=orders", "-out=p.csv", "-partitions=2")
	same(t, "the file", read(t, dir+"/p.2of2.csv"), "precious")
	mustRun(t, dir, exitDone, "done", append(args, "-restart")...)
	if err := os.RemoveAll(dir + "/.pipeline-state"); err != nil {
		t.Fatal(err)
	}
	mustRun(t, dir, exitFailed, "no checkpoint", args...)
	write(t, dir+"/o.csv", "") // an empty file is nobody's
	mustRun(t, dir, exitDone, "done", args...)
}

// Nobody means to write the rows over the database that they come from.
func TestTheDatabaseIsNotOverwritten(t *testing.T) {
	t.Parallel()
	path, dir := filepath.Join(t.TempDir(), "demo"), t.TempDir()
	if err := makeDemo(t.Context(), path, 100); err != nil {
		t.Fatal(err)
	}
	dsn := "sqlite:" + path
	before := read(t, path)
	if err := os.Symlink(path, dir+"/link.csv"); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{path, dir + "/link.csv"} {
		for _, restart := range []string{"-restart=false", "-restart"} {
			r := mustRun(t, dir, exitFailed, "is the database", "-dsn="+dsn, "-table=orders", "-out="+out, "-state="+dir+"/state", restart)
			if strings.Contains(r.stderr, "-restart") {
				t.Errorf("the advice is to overwrite it: %s", r.stderr)
			}
		}
	}
	same(t, "the database", read(t, path), before)
}

func TestAnotherQueryIsRefused(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn, dir := newDemo(t, 1000), t.TempDir()
	other := newDemo(t, 1000)
	base := []string{"-dsn=" + dsn, "-table=orders", "-out=o.csv", "-key=id"}
	p := startSlow(t, dir, append(base, "-rate=200", "-page=10", "-commit=10")...)
	p.end(os.Kill)
	before := read(t, dir+"/o.csv")
	for _, test := range []struct{ says, arg string }{
		{"-where", "-where=id > 5"},
		{"-columns", "-columns=id"},
		{"-columns", "-columns=customer,id,cents,placed_at,note,reference,receipt"},
		{"-delimiter", "-delimiter=;"},
		{"-header", "-header=false"},
		{"-null", "-null=NULL"},
		{"-partitions", "-partitions=2"},
		{"-limit", "-limit=500"},
		{"-until", "-until=500"},
		{"-dsn", "-dsn=" + other},
	} {
		r := mustRun(t, dir, exitFailed, "is now", append(base, test.arg)...)
		if !strings.Contains(r.stderr, test.says) || !strings.Contains(r.stderr, "-restart") {
			t.Errorf("%s: %s", test.arg, r.stderr)
		}
	}
	same(t, "the file", read(t, dir+"/o.csv"), before)
	mustRun(t, dir, exitDone, "going on with", append(base, "-page=77", "-workers=2")...)
	want := undisturbed(t, base, []string{"o.csv"})
	same(t, "the export", read(t, dir+"/o.csv"), want[0])
}

func TestDamagedCheckpointIsRefused(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn, dir := newDemo(t, 1000), t.TempDir()
	args := []string{"-dsn=" + dsn, "-table=orders", "-out=o.csv"}
	p := startSlow(t, dir, append(args, "-rate=200", "-page=10", "-commit=10")...)
	p.end(os.Kill)
	before := read(t, dir+"/o.csv")
	checkpoints, err := filepath.Glob(dir + "/.pipeline-state/*.checkpoint")
	if err != nil || len(checkpoints) != 2 {
		t.Fatalf("checkpoints %v, %v", checkpoints, err)
	}
	for _, path := range checkpoints {
		good := read(t, path)
		for _, bad := range []string{"", good[:len(good)/2], strings.Replace(good, "1", "2", 1), strings.ToUpper(good)} {
			write(t, path, bad)
			r := mustRun(t, dir, exitFailed, "damaged", args...)
			if !strings.Contains(r.stderr, "-restart") {
				t.Errorf("%s", r.stderr)
			}
			same(t, "the damaged checkpoint", read(t, path), bad)
		}
		write(t, path, good)
	}
	same(t, "the file", read(t, dir+"/o.csv"), before)
	write(t, checkpoints[0], "")
	mustRun(t, dir, exitDone, "done", append(args, "-restart")...)
	same(t, "the export", read(t, dir+"/o.csv"), undisturbed(t, args, []string{"o.csv"})[0])
}

func TestChangedOutputIsRefused(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn := newDemo(t, 1000)
	args := []string{"-dsn=" + dsn, "-table=orders", "-out=o.csv"}
	want := undisturbed(t, args, []string{"o.csv"})[0]
	for _, finished := range []bool{false, true} {
		dir := t.TempDir()
		if finished {
			mustRun(t, dir, exitDone, "done", args...)
		} else {
			p := startSlow(t, dir, append(args, "-rate=200", "-page=10", "-commit=10")...)
			p.end(os.Kill)
		}
		path := dir + "/o.csv"
		good := read(t, path)

		write(t, path, good[:20])
		r := mustRun(t, dir, exitFailed, "changed", args...)
		if !strings.Contains(r.stderr, "-restart") {
			t.Errorf("it does not say what to do: %s", r.stderr)
		}
		same(t, "the shortened file", read(t, path), good[:20])

		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		mustRun(t, dir, exitFailed, "changed", args...)

		write(t, path, good+"grown")
		if finished {
			mustRun(t, dir, exitFailed, "changed", args...)
			same(t, "the grown file", read(t, path), good+"grown")
			write(t, path, good)
			mustRun(t, dir, exitDone, "nothing to do", args...)
		} else { // as after a kill: what follows the last commit is written again
			mustRun(t, dir, exitDone, "done", args...)
			same(t, "the export", read(t, path), want)
		}
		write(t, path, "")
		mustRun(t, dir, exitDone, "done", append(args, "-restart")...)
		same(t, "exported again", read(t, path), want)
	}
}

func TestASecondRunIsRefused(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	for _, store := range []string{"file", "db"} {
		dsn, dir := newDemo(t, 1000), t.TempDir()
		args := []string{"-dsn=" + dsn, "-table=orders", "-out=o.csv"}
		p := startSlow(t, dir, append(args, "-rate=50", "-page=10", "-lease=3s", "-store="+store)...)
		mustRun(t, dir, exitFailed, "Another run", append(args, "-store="+store)...)
		mustRun(t, dir, exitFailed, "Another run", append(args, "-store="+store, "-restart")...)
		// Neither does another folder for checkpoints get round it.
		mustRun(t, dir, exitFailed, "o.csv", append(args, "-state=elsewhere")...)
		mustRun(t, dir, exitFailed, "Another run", append(args, "-state=elsewhere", "-restart")...)
		if code := p.end(syscall.SIGTERM); code != exitInterrupted {
			t.Fatalf("the first run was disturbed: %d: %s", code, p.stderr)
		}
		mustRun(t, dir, exitDone, "going on with", append(args, "-store="+store)...)
		same(t, "the export", read(t, dir+"/o.csv"), undisturbed(t, args, []string{"o.csv"})[0])
	}
}

// The checkpoint is where another -state or -store does not look.
func TestOtherPlacesForCheckpointsDoNoHarm(t *testing.T) {
	t.Parallel()
	dsn, dir := newDemo(t, 1000), t.TempDir()
	args := []string{"-dsn=" + dsn, "-table=orders", "-out=o.csv"}
	p := startSlow(t, dir, append(args, "-rate=200", "-page=10", "-commit=10")...)
	p.end(os.Kill)
	before := read(t, dir+"/o.csv")
	mustRun(t, dir, exitFailed, "no checkpoint", append(args, "-state=elsewhere")...)
	mustRun(t, dir, exitFailed, "no checkpoint", append(args, "-store=db")...)
	same(t, "the file", read(t, dir+"/o.csv"), before)
	mustRun(t, dir, exitDone, "going on with", args...)
}

func TestUnwritableOutput(t *testing.T) {
	t.Parallel()
	dsn, dir := newDemo(t, 10), t.TempDir()
	if os.Geteuid() == 0 { // root may write to every folder, but not to every file system
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", dir).CombinedOutput(); err != nil {
			t.Skipf("no read-only file system: %v: %s", err, out)
		}
		t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
	} else if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	mustRun(t, dir, exitFailed, "right to write", "-dsn="+dsn, "-table=orders")
}

// A disk that is full ends the run with a message; with more room it goes on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	useBuilt(t)
	dsn := newDemo(t, 30_000)
	for _, kind := range kinds {
		if strings.HasPrefix(kind.name, "store-db") {
			continue
		}
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", dir).CombinedOutput(); err != nil {
				t.Skipf("no small file system: %v: %s", err, out)
			}
			t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
			args := append([]string{"-dsn=" + dsn, "-table=orders", "-commit=100"}, kind.args...)
			mustRun(t, dir, exitFailed, "disk is full", args...)
			mustRun(t, dir, exitFailed, "disk is full", args...)
			if out, err := exec.Command("mount", "-o", "remount,size=64m", dir).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			mustRun(t, dir, exitDone, "done: 30,000 rows", args...)
			undisturbedDir := t.TempDir()
			mustRun(t, undisturbedDir, exitDone, "done", args...)
			for _, name := range kind.files {
				same(t, name, read(t, filepath.Join(dir, name)), read(t, filepath.Join(undisturbedDir, name)))
			}
		})
	}
}

func TestFileSizeLimit(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no shell to set a limit")
	}
	dsn, dir := newDemo(t, 20_000), t.TempDir()
	args := []string{"-dsn=" + dsn, "-table=orders", "-out=o.csv", "-commit=500"}
	cmd := command(t, dir)
	cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `ulimit -f 512; exec "$0" "$@"`, cmd.Args[0]}, args...)
	if r := execute(t, cmd); r.code != exitFailed || !strings.Contains(r.stderr, "may not grow") {
		t.Fatalf("%+v", r)
	}
	mustRun(t, dir, exitDone, "going on with", args...)
	same(t, "the export", read(t, dir+"/o.csv"), undisturbed(t, args, []string{"o.csv"})[0])
}

// A kill while the demo database is made leaves nothing that is taken for one.
func TestKilledWhileMakingTheDemo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, "making a demo database", dir, "-rows=400000").end(os.Kill)
	if found, _ := filepath.Glob(dir + "/.pipeline-state/*.db"); len(found) > 0 {
		t.Fatalf("after a kill there is %v", found)
	}
	write(t, dir+"/.pipeline-state/demo-2000.db.making", "half of a database")
	mustRun(t, dir, exitDone, "done: 2,000 rows", "-rows=2000")
	if found, _ := filepath.Glob(dir + "/.pipeline-state/demo-2000.db.making"); len(found) > 0 {
		t.Errorf("%v is left", found)
	}
}

// SIGTERM while the demo database is made ends it in the same way as later.
func TestInterruptedWhileMakingTheDemo(t *testing.T) {
	t.Parallel()
	p := start(t, "making a demo database", t.TempDir(), "-rows=900000")
	if code := p.end(syscall.SIGTERM); code != exitInterrupted {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}
