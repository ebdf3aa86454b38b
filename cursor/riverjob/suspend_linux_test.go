package riverjob_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/riverjob"
)

// A child is a worker process of a test: it works on one slice of a range, and says at
// each step on its output where it is.
type child struct {
	DSN, Schema, Folder string
	Lease               time.Duration
	Every               int // rows a commit
	Pause               int // a row at which it says so and works on slowly
}

const childVariable = "RIVERJOB_CHILD"

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		var c child
		err := json.Unmarshal([]byte(text), &c)
		if err == nil {
			err = c.work()
		}
		fmt.Println("end:", err)
		os.Exit(0)
	}
	// Parallel tests mostly wait: for slices, for leases, for commits.
	if err := flag.Set("test.parallel", "4"); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func (c child) job(p *place, sink riverjob.Sink, each func(n int)) riverjob.Job[row, int64] {
	return riverjob.Job[row, int64]{Name: "suspended", Source: p.source(), Sink: sink, Every: cursor.Every{Items: c.Every},
		Work: func(ctx context.Context, s *riverjob.Slice[row, int64]) error {
			n := 0
			for r, err := range s.Tracked(ctx) {
				if err != nil {
					return err
				}
				if _, err := fmt.Fprintf(s.Part, "%d,%s\n", r.id, r.name); err != nil {
					return err
				}
				n++
				each(n)
			}
			return nil
		}}
}

func (c child) work() error {
	cfg, err := pgxpool.ParseConfig(c.DSN)
	if err != nil {
		return err
	}
	cfg.ConnConfig.RuntimeParams["search_path"] = c.Schema
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	p := &place{riverjob.New(pool, riverjob.Schema(c.Schema), riverjob.LeaseFor(c.Lease)), pool, c.Schema}
	folder, err := riverjob.OpenFolder(c.Folder)
	if err != nil {
		return err
	}
	job := c.job(p, folder, func(n int) {
		if n == c.Pause {
			fmt.Println("at the row")
		}
		if n >= c.Pause {
			time.Sleep(2 * time.Millisecond) // this is where it is suspended
		}
	})
	return riverjob.NewWorker(p.Store, riverjob.Config{}, job).Work(context.Background(), &river.Job[riverjob.Args]{Args: riverjob.Args{Job: job.Name}})
}

// A worker process is suspended past its lease, at a row or right before or after a
// commit. Another one takes the range and finishes it. Woken, the first one writes
// nothing: neither a file nor a row of the database is changed, and none is added.
func TestASuspendedProcessWritesNothingMore(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, pause := range []int{5, 50, 95, 105} { // it commits every 50 rows
		t.Run(fmt.Sprint(pause), func(t *testing.T) {
			t.Parallel()
			c := child{DSN: os.Getenv(dsnVariable), Folder: t.TempDir(), Lease: 300 * time.Millisecond, Every: 50, Pause: pause}
			p := newPlace(t, riverjob.LeaseFor(c.Lease))
			c.Schema = p.schema
			p.rows(t, 400)
			folder, err := riverjob.OpenFolder(c.Folder)
			if err != nil {
				t.Fatal(err)
			}
			job := c.job(p, folder, func(int) {})
			plan(t, p, job, 1)

			text, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			cmd := osexec.Command(self)
			cmd.Env = append(os.Environ(), childVariable+"="+string(text))
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			lines := bufio.NewScanner(out)
			if !lines.Scan() || lines.Text() != "at the row" {
				t.Fatalf("the process said %q", lines.Text())
			}
			if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			w := riverjob.NewWorker(p.Store, riverjob.Config{}, job)
			var snooze *river.JobSnoozeError
			until(t, "the other worker", func() bool { // ErrLocked, until the lease has run out
				err := w.Work(context.Background(), &river.Job[riverjob.Args]{Args: riverjob.Args{Job: job.Name}})
				if err != nil && !errors.As(err, &snooze) {
					t.Fatal(err)
				}
				return err == nil
			})
			before := p.snapshot(t, c.Folder)
			if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			if !lines.Scan() || !strings.Contains(lines.Text(), "JobSnoozeError") {
				t.Errorf("the process ended with %q", lines.Text())
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			if after := p.snapshot(t, c.Folder); after != before {
				t.Errorf("before it was woken:\n%s\nafter its end:\n%s", before, after)
			}
			if got := p.content(t, job.Name, folder); got != p.want(t) {
				t.Errorf("got %d bytes", len(got))
			}
		})
	}
}

// snapshot is all that a worker may write: the files with what is in them, and the
// checkpoint.
func (p *place) snapshot(t *testing.T, folder string) string {
	t.Helper()
	var b strings.Builder
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, filepath.Base(path), info.Size(), info.ModTime().Format(time.RFC3339Nano))
	}
	var row string
	if err := p.pool.QueryRow(context.Background(), "SELECT c::text FROM pipeline_checkpoints c").Scan(&row); err != nil {
		t.Fatal(err)
	}
	return b.String() + row
}
