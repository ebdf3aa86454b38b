package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(workerVariable); text != "" { // the workers that these tests start
		if err := worker(text); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// The scale of the test below: the default takes seconds, and
//
//	FLEET_TEST='-rows 5000000 -ranges 64 -workers 8 -slice 500ms -lease 2s -kill 1s -freeze 5s'
//
// the one that it is meant for. Where all is done before the first kill, more rows are taken.
var scale = "-rows 60000 -ranges 8 -workers 3 -slice 100ms -lease 500ms -kill 400ms -freeze 1s"

func dsn(t *testing.T) string {
	t.Helper()
	dsn := os.Getenv("PIPELINE_POSTGRES")
	if dsn == "" {
		t.Skip("no PostgreSQL: set PIPELINE_POSTGRES, such as postgres://postgres@127.0.0.1:5432/test?sslmode=disable")
	}
	return dsn
}

// report finds the numbers of the last lines.
var report = regexp.MustCompile(`whole: the table and its (\d+) parts are the same: (\d+) rows[^\n]*
workers were at (\d+) rows, (\d+) of them again, the longest slice had (\d+); (\d+) were killed and (\d+) suspended; (\d+) files`)

func numbers(t *testing.T, out string) []int {
	t.Helper()
	match := report.FindStringSubmatch(out)
	if match == nil {
		t.Fatalf("it did not end whole:\n%s", out)
	}
	var list []int
	for _, text := range match[1:] {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, n)
	}
	return list
}

func schemas(t *testing.T, dsn, name string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(context.Background(), "SELECT count(*) FROM pg_namespace WHERE nspname = $1", name).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Workers are killed and suspended at random. Every row is in the parts once, and no
// kill costs more than the slices that the worker was at.
func TestAFleetWhoseWorkersAreKilledEndsWhole(t *testing.T) {
	dsn := dsn(t)
	if text := os.Getenv("FLEET_TEST"); text != "" {
		scale = text
	}
	args := strings.Fields(scale)
	c, err := parse(os.Stderr, args)
	if err != nil {
		t.Fatal(err)
	}
	for rows := c.Rows; killedFleet(t, dsn, args) == 0 && !t.Failed(); {
		if rows *= 4; rows > 100*c.Rows {
			t.Fatal("no worker was killed")
		}
		t.Logf("it was done before the first kill: once more with %d rows", rows)
		args = append(args, "-rows", strconv.Itoa(rows))
	}
}

// killedFleet runs a fleet and returns how many of its workers were killed.
func killedFleet(t *testing.T, dsn string, args []string) (killed int) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "parts")
	args = append(slices.Clone(args), "-out", folder)
	c, err := parse(os.Stderr, args)
	if err != nil {
		t.Fatal(err)
	}
	var out output
	if err := run(context.Background(), &out, append(args, "-schema", c.Schema)); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	t.Logf("\n%s", out.String())
	n := numbers(t, out.String())
	parts, rows, worked, again, largest := n[0], n[1], n[2], n[3], n[4]
	killed = n[5]
	if parts != c.Ranges || rows != c.Rows {
		t.Errorf("got %d rows in %d parts", rows, parts)
	}
	if limit := (killed + n[6]) * c.Concurrency * largest; again > limit {
		t.Errorf("%d rows were worked on again, where %d deaths may cost %d", again, killed+n[6], limit)
	}
	if behind := (killed + n[6]) * c.Concurrency * countEvery; worked < rows-behind {
		t.Errorf("workers counted %d rows of %d", worked, rows)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 0 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
	if schemas(t, dsn, c.Schema) != 0 {
		t.Error("the schema is left")
	}
	return killed
}

// A fleet that is killed may leave the server at the making of what the next one makes, too.
func TestFleetsPrepareAtOnce(t *testing.T) {
	c, err := parse(os.Stderr, []string{"-dsn", dsn(t), "-rows", "1000", "-out", t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		p, err := open(t.Context(), c, 3)
		if err != nil {
			t.Fatal(err)
		}
		defer p.close()
		all.Go(func() {
			if err := p.prepare(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	p, err := open(t.Context(), c, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := p.remove(t.Context()); err != nil {
		t.Error(err)
	}
}

// A worker that has just been started ends by the signal before it listens to it, which is
// no failure.
func TestAWorkerThatHasNotBegunIsStopped(t *testing.T) {
	for range 10 {
		workers, err := newFleet(t.Context(), config{DSN: dsn(t)})
		if err == nil {
			err = workers.start()
		}
		if err = errors.Join(err, workers.stop()); err != nil {
			t.Fatal(err)
		}
	}
}

// One that was interrupted says how to go on, and does.
func TestAnInterruptedFleetGoesOn(t *testing.T) {
	dsn := dsn(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	folder := filepath.Join(t.TempDir(), "parts")
	args := strings.Fields("-rows 60000 -ranges 6 -workers 2 -slice 50ms -lease 2s -out " + folder)
	out := output{see: "of 6 ranges,", then: cancel}
	err := run(ctx, &out, args)
	if err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Fatalf("got %v:\n%s", err, out.String())
	}
	match := regexp.MustCompile(`go on with (-schema \S+ -out \S+)`).FindStringSubmatch(out.String())
	if match == nil {
		t.Fatalf("it does not say how to go on:\n%s", out.String())
	}
	var second output
	if err := run(context.Background(), &second, append(args, strings.Fields(match[1])...)); err != nil {
		t.Fatalf("%v\n%s", err, second.String())
	}
	if n := numbers(t, second.String()); n[1] != 60000 || !strings.Contains(second.String(), "it goes on") {
		t.Errorf("got:\n%s", second.String())
	}
	if schemas(t, dsn, strings.Fields(match[1])[1]) != 0 {
		t.Error("the schema is left")
	}
}

func TestWithoutADatabaseItSaysHowToStartOne(t *testing.T) {
	t.Setenv("PIPELINE_POSTGRES", "")
	err := run(context.Background(), new(output), nil)
	if err == nil || !strings.Contains(err.Error(), "docker run") || !strings.Contains(err.Error(), "PIPELINE_POSTGRES") {
		t.Errorf("got %v", err)
	}
}

func TestFlagsAreChecked(t *testing.T) {
	for args, want := range map[string]string{
		"-workers 0":    "-workers is too small",
		"-rows -1":      "-rows is too small",
		"-slice 2h":     "-slice must be",
		"-lease 1ms":    "-lease must be",
		"-kill -1s":     "must not be negative",
		"more":          "nothing to do with",
		"-ranges 1e3":   "invalid value",
		"-dsn nonsense": "cannot be read",
	} {
		if err := run(context.Background(), new(output), append([]string{"-dsn", "postgres://x"}, strings.Fields(args)...)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", args, err)
		}
	}
}

// No password is printed, whatever is wrong with the DSN.
func TestNoSecretIsTold(t *testing.T) {
	const secret = "S3cr3t"
	t.Setenv("PIPELINE_POSTGRES", "postgres://u:"+secret+"@127.0.0.1:1/d?sslmode=disable&connect_timeout=5")
	for _, args := range []string{
		"-help", "-workers 0", "-rows 1", "-dsn postgres://u:" + secret + "/x?@h/d", "-dsn postgres://u:" + secret + "@h:x/d", "-dsn port=x;password=" + secret,
	} {
		var out output
		if err := run(context.Background(), &out, strings.Fields(args)); err == nil || strings.Contains(err.Error()+out.String(), secret) {
			t.Errorf("%s: got %v\n%s", args, err, out.String())
		}
	}
}

// An output calls then as soon as it has a line with see in it.
type output struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	see  string
	then func()
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.then != nil && bytes.Contains(p, []byte(o.see)) {
		o.then()
		o.then = nil
	}
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
