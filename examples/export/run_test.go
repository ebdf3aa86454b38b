package main

import (
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestDemoWithoutDSN(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := mustRun(t, dir, 0, "done: 5,000 rows", "-rows=5000")
	if strings.Contains(r.stdout, "\x1b") {
		t.Errorf("control characters where there is no terminal: %q", r.stdout)
	}
	records, err := csv.NewReader(strings.NewReader(read(t, filepath.Join(dir, "orders.csv")))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 5001 {
		t.Fatalf("%d lines, want 5001", len(records))
	}
	db := openSQLite(t, filepath.Join(dir, ".pipeline-state", "demo-5000.db"))
	for _, i := range []int{0, 1, 999, 1000, 1001, 4999} {
		var want [7]string
		err := db.QueryRow(`SELECT id, customer, cents, placed_at, coalesce(note, ''), reference,
			iif(receipt IS NULL, '', '\x' || lower(hex(receipt))) FROM orders WHERE id = ?`, i+1).
			Scan(&want[0], &want[1], &want[2], &want[3], &want[4], &want[5], &want[6])
		if err != nil {
			t.Fatal(err)
		}
		if got := [7]string(records[i+1]); got != want {
			t.Errorf("row %d is %q, want %q", i+1, got, want)
		}
	}
	mustRun(t, dir, 0, "nothing to do", "-rows=5000")
}

// On a terminal there is a bar, on one without a size there are lines.
func TestBarOnATerminal(t *testing.T) {
	t.Parallel()
	script, err := exec.LookPath("script")
	if err != nil {
		t.Skip("script, which makes a terminal, is not installed")
	}
	for size, want := range map[string]string{"rows 40 cols 120": "=>", "rows 0 cols 0": " rows/s, "} {
		dir := t.TempDir()
		cmd := command(t, dir)
		cmd.Env = append(cmd.Env, "TERM=xterm")
		cmd.Path, cmd.Args = script, []string{"script", "-qec", "stty " + size + "; exec " + shellQuote(os.Args[0]) + " -rows=600 -rate=400", "/dev/null"}
		r := execute(t, cmd)
		if !strings.Contains(r.stdout, want) || !strings.Contains(r.stdout, "done: 600 rows") {
			t.Errorf("a terminal with %s shows %q, want %q in it", size, r.stdout, want)
		}
	}
}

// nasty has values that exports spoil.
var nasty = []string{
	`CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, txt TEXT, num INTEGER, bin BLOB, x)`,
	`INSERT INTO t VALUES
		('a', NULL, NULL, NULL, NULL),
		('b', '', 9223372036854775807, x'', 'dynamic'),
		('c', 'quote " comma , newline
end', -9223372036854775808, x'00ff0a22', 1.5),
		('d', 'Zoë 🚀 日本語', 9007199254740993, x'6869', x'01'),
		('e', char(13) || char(10) || char(9) || '\x00 \N', 0, NULL, 9e999),
		('f', CAST(x'fffe' AS TEXT), 1, NULL, -0.1)`,
}

func TestValuesSurvive(t *testing.T) {
	t.Parallel()
	dir, dsn := t.TempDir(), newSQLite(t, nasty...)
	mustRun(t, dir, 0, "done: 6 rows", "-dsn", dsn, "-table", "t", "-out", "t.csv", "-page", "2")
	same(t, "CSV", read(t, dir+"/t.csv"), "k,txt,num,bin,x\n"+
		"a,,,,\n"+
		"b,\"\",9223372036854775807,\\x,dynamic\n"+
		"c,\"quote \"\" comma , newline\nend\",-9223372036854775808,\\x00ff0a22,1.5\n"+
		"d,Zoë 🚀 日本語,9007199254740993,\\x6869,\\x01\n"+
		"e,\"\r\n\t\\x00 \\N\",0,,Infinity\n"+
		"f,\\xfffe,1,,-0.1\n")
	mustRun(t, dir, 0, "done: 6 rows", "-dsn", dsn, "-table", "t", "-out", "t.jsonl.gz", "-page", "2")
	same(t, "JSON", read(t, dir+"/t.jsonl.gz"), `{"k":"a","txt":null,"num":null,"bin":null,"x":null}
{"k":"b","txt":"","num":9223372036854775807,"bin":{"base64":""},"x":"dynamic"}
{"k":"c","txt":"quote \" comma , newline\nend","num":-9223372036854775808,"bin":{"base64":"AP8KIg=="},"x":1.5}
{"k":"d","txt":"Zoë 🚀 日本語","num":9007199254740993,"bin":{"base64":"aGk="},"x":{"base64":"AQ=="}}
{"k":"e","txt":"\r\n\t\\x00 \\N","num":0,"bin":null,"x":"Infinity"}
{"k":"f","txt":{"base64":"//4="},"num":1,"bin":null,"x":-0.1}
`)
}

func TestColumnsWhereAndKey(t *testing.T) {
	t.Parallel()
	dir, dsn := t.TempDir(), newSQLite(t,
		"CREATE TABLE \"odd name\" (\"the id\" INTEGER PRIMARY KEY, a TEXT NOT NULL, b INTEGER NOT NULL, UNIQUE (a, b))",
		"INSERT INTO \"odd name\" VALUES (1, 'y', 1), (2, 'x', 2), (3, 'x', 1), (4, 'z', 9)")
	args := []string{"-dsn", dsn, "-table", "odd name", "-page", "1"}
	mustRun(t, dir, 0, "done", append(args, "-columns", "b,the id", "-where", "a <> 'z' -- not the last", "-key", "a,b")...)
	same(t, "columns in the order asked for, rows in that of the key", read(t, dir+"/odd name.csv"), "b,the id\n1,3\n2,2\n1,1\n")
	mustRun(t, dir, 0, "done", append(args, "-columns", "a", "-format", "jsonl", "-where", "b = 1 OR b = 2")...)
	same(t, "the key is not among the columns", read(t, dir+"/odd name.jsonl"), `{"a":"y"}`+"\n"+`{"a":"x"}`+"\n"+`{"a":"x"}`+"\n")
}

func TestEmptyTable(t *testing.T) {
	t.Parallel()
	dir, dsn := t.TempDir(), newSQLite(t, "CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
	mustRun(t, dir, 0, "done: 0 rows", "-dsn", dsn, "-table", "t")
	same(t, "an empty table", read(t, dir+"/t.csv"), "id,a\n")
	mustRun(t, dir, 0, "nothing to do", "-dsn", dsn, "-table", "t")
	mustRun(t, dir, 0, "done: 0 rows", "-dsn", dsn, "-table", "t", "-partitions", "3", "-compress", "zstd")
}

// The ways to export that the tests below kill: arguments, and the files.
var kinds = []struct {
	name  string
	args  []string
	files []string
}{
	{"csv", []string{"-out=o.csv"}, []string{"o.csv"}},
	{"jsonl-gzip", []string{"-out=o.jsonl.gz"}, []string{"o.jsonl.gz"}},
	{"csv-zstd", []string{"-out=o.csv.zst"}, []string{"o.csv.zst"}},
	{"partitions", []string{"-out=o.csv", "-partitions=3", "-workers=2"}, []string{"o.1of3.csv", "o.2of3.csv", "o.3of3.csv"}},
	{"store-db", []string{"-out=o.csv", "-store=db", "-lease=2s"}, []string{"o.csv"}},
	{"store-db-gzip", []string{"-out=o.csv.gz", "-store=db", "-lease=2s"}, []string{"o.csv.gz"}},
}

// undisturbed exports once, and returns what is in the files: the raw bytes.
func undisturbed(t testing.TB, args, files []string) []string {
	t.Helper()
	dir := t.TempDir()
	mustRun(t, dir, 0, "done", args...)
	return rawFiles(t, dir, files)
}

func rawFiles(t testing.TB, dir string, files []string) (content []string) {
	t.Helper()
	for _, name := range files {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		content = append(content, string(data))
	}
	return content
}

func TestSignalsCommitAndSayHowToGoOn(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		for _, kind := range kinds {
			t.Run(sig.String()+"/"+kind.name, func(t *testing.T) {
				t.Parallel()
				dsn, dir := newDemo(t, 3000), t.TempDir()
				args := append([]string{"-dsn=" + dsn, "-table=orders"}, kind.args...)
				p := startSlow(t, dir, append(args, "-rate=400", "-page=50", "-restart")...)
				if code := p.end(sig); code != exitInterrupted {
					t.Fatalf("exit code %d, want %d: %s", code, exitInterrupted, p.stderr)
				}
				// What it says is a command for a shell that goes on.
				lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
				goOn := strings.TrimSpace(lines[len(lines)-1])
				if strings.Contains(goOn, "restart") || !strings.Contains(goOn, dsn) {
					t.Errorf("to go on it says: %s", goOn)
				}
				written := 0
				for _, content := range rawFiles(t, dir, kind.files) {
					written += len(content)
				}
				if written == 0 {
					t.Error("nothing was committed")
				}
				r := mustRun(t, dir, 0, "done: 3,000 rows", append(args, "-rate=0")...)
				if !strings.Contains(r.stdout, "going on with") {
					t.Errorf("it began anew: %s", r.stdout)
				}
				undisturbedDir := t.TempDir()
				mustRun(t, undisturbedDir, 0, "done", args...)
				for _, name := range kind.files {
					same(t, name, read(t, filepath.Join(dir, name)), read(t, filepath.Join(undisturbedDir, name)))
				}
			})
		}
	}
}

// The printed command is run as it is printed.
func TestTheCommandToGoOnWorks(t *testing.T) {
	t.Parallel()
	useBuilt(t) // its command names the program itself; that of go test is gone after the run
	dsn, dir := newSQLite(t, nasty...), t.TempDir()
	p := startSlow(t, dir, "-dsn="+dsn, "-table=t", "-where=txt <> 'it''s $HOME `x` \" \\' OR txt IS NULL", "-rate=1", "-page=1")
	p.end(syscall.SIGTERM)
	lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
	shell := command(t, dir)
	shell.Path, shell.Args = "/bin/sh", []string{"sh", "-c", strings.ReplaceAll(lines[len(lines)-1], "-rate=1", "")}
	if r := execute(t, shell); r.code != 0 || !strings.Contains(r.stdout, "done: 6 rows") {
		t.Errorf("%q: %+v", lines, r)
	}
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	dsn, dir := newDemo(t, 1000), t.TempDir()
	db := openSQLite(t, dsn)
	if _, err := db.Exec("PRAGMA journal_mode = WAL"); err != nil {
		t.Fatal(err)
	}
	p := startSlow(t, dir, "-dsn="+dsn, "-table=orders", "-store=db", "-lease=2s", "-rate=100", "-page=10")
	// The commit on the way out waits for this transaction.
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	p.Process.Signal(syscall.SIGTERM)
	p.wait(t, p.stderr, "a second signal")
	p.end(syscall.SIGTERM)
	if status := p.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v, want by the signal; %s", p.ProcessState, p.stderr)
	}
	if _, err := db.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	mustRun(t, dir, 0, "done: 1,000 rows", "-dsn="+dsn, "-table=orders", "-store=db")
}

func TestFinishedRunDoesNothing(t *testing.T) {
	t.Parallel()
	dsn, dir := newDemo(t, 500), t.TempDir()
	args := []string{"-dsn=" + dsn, "-table=orders", "-out=o.csv"}
	mustRun(t, dir, 0, "done", args...)
	before, err := os.Stat(dir + "/o.csv")
	if err != nil {
		t.Fatal(err)
	}
	content := read(t, dir+"/o.csv")
	r := mustRun(t, dir, 0, "nothing to do", append(args, "-page=7", "-rate=5", "-workers=3")...)
	if !strings.Contains(r.stdout, "-restart") {
		t.Errorf("it does not say how to export again: %s", r.stdout)
	}
	after, err := os.Stat(dir + "/o.csv")
	if err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("the file was touched: %v", err)
	}
	db := openSQLite(t, dsn)
	if _, err := db.Exec("INSERT INTO orders SELECT 501, 'new', 1, '', '', 1, NULL"); err != nil {
		t.Fatal(err)
	}
	mustRun(t, dir, 0, "nothing to do", args...)
	mustRun(t, dir, 0, "done: 501 rows", append(args, "-restart")...)
	same(t, "exported again", read(t, dir+"/o.csv"), content+"501,new,1,\"\",\"\",1,\n")
}

// Two files of the same number of lines, whichever way they are read.
func TestGzipIsOneStream(t *testing.T) {
	t.Parallel()
	dsn, dir := newDemo(t, 1000), t.TempDir()
	mustRun(t, dir, 0, "done", "-dsn="+dsn, "-table=orders", "-out=o.jsonl.gz", "-commit=100")
	f, err := os.Open(dir + "/o.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	dec, n := json.NewDecoder(z), 0
	for ; ; n++ {
		var row map[string]any
		if err := dec.Decode(&row); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n != 1000 {
		t.Errorf("%d rows", n)
	}
}
