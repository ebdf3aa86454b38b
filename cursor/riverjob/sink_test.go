package riverjob_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/riverjob"
)

func work(w *riverjob.Worker, job string, number int) error {
	return w.Work(context.Background(), &river.Job[riverjob.Args]{Args: riverjob.Args{Job: job, Range: number}})
}

// An object that is not what was written is found when the part is made one, and again
// when it is read.
func TestAnObjectThatWasChangedIsFound(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(b []byte) []byte{
		"a byte":  func(b []byte) []byte { b[3] ^= 1; return b },
		"the end": func(b []byte) []byte { return b[:len(b)-1] },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			p.rows(t, 100)
			sink := newBucket()
			job := riverjob.Job[row, int64]{Name: "changed", Source: p.source(), Work: slow, Sink: sink}
			plan(t, p, job, 1)
			w := riverjob.NewWorker(p.Store, riverjob.Config{Slice: 20 * time.Millisecond}, job)
			if err := work(w, "changed", 0); err == nil {
				t.Fatal("the first slice was the last one")
			}
			name := sink.names()[0]
			sink.objects[name] = change(sink.objects[name])
			var err error
			for range 100 {
				var snooze *river.JobSnoozeError
				if err = work(w, "changed", 0); !errors.As(err, &snooze) {
					break
				}
			}
			if !errors.Is(err, cursor.ErrOutputChanged) {
				t.Errorf("got %v", err)
			}
			parts, err := p.Parts(context.Background(), "changed")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, parts[0].Open(context.Background(), sink)); !errors.Is(err, cursor.ErrOutputChanged) {
				t.Errorf("the reader got %v", err)
			}
		})
	}
}

// What is behind the last commit, in the file of a worker that was killed, is in no part.
func TestWhatNoCommitCoversIsInNoPart(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 100)
	folder, err := riverjob.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	job := riverjob.Job[row, int64]{Name: "torn", Source: p.source(), Work: slow, Sink: folder}
	plan(t, p, job, 1)
	w := riverjob.NewWorker(p.Store, riverjob.Config{Slice: 20 * time.Millisecond}, job)
	for range 100 {
		err := work(w, "torn", 0)
		if err == nil {
			break
		}
		// Its last file has bytes that came after the commit.
		parts, err := p.Parts(context.Background(), "torn")
		if err != nil {
			t.Fatal(err)
		}
		objects := parts[0].Objects
		f, err := os.OpenFile(folder.Path(objects[len(objects)-1].Name), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(f, "half a li")
		f.Close()
	}
	parts, err := p.Parts(context.Background(), "torn")
	if err != nil || len(parts[0].Objects) != 1 {
		t.Fatalf("got %+v, %v", parts, err)
	}
	data, err := os.ReadFile(folder.Path(parts[0].Objects[0].Name)) // whole, without looking at the size
	if err != nil || string(data) != p.want(t) {
		t.Errorf("got %d bytes, %v", len(data), err)
	}
}

// A sink that fails is an error of the slice, and the next one goes on behind the last
// commit.
func TestASinkThatFails(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 100)
	sink := newBucket()
	job := riverjob.Job[row, int64]{Name: "full", Source: p.source(), Work: slow, Sink: sink}
	plan(t, p, job, 1)
	w := riverjob.NewWorker(p.Store, riverjob.Config{Slice: 20 * time.Millisecond}, job)
	_ = work(w, "full", 0)
	sink.fail = errors.New("the bucket is full")
	if err := work(w, "full", 0); !errors.Is(err, sink.fail) {
		t.Errorf("got %v", err)
	}
	sink.fail = nil
	for range 100 {
		if work(w, "full", 0) == nil {
			break
		}
	}
	if got := p.content(t, "full", sink); got != p.want(t) {
		t.Errorf("got %d bytes", len(got))
	}
}

func TestSweepRemovesWhatIsTheJobsAlone(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 10)
	sink := newBucket()
	token := strings.Repeat("A", 26)
	strangers := []string{"j.txt", "j.00001.csv", "jj.00000." + token, "j%2Ex.00000." + token, "k.00000." + token}
	for _, name := range strangers {
		sink.objects[name] = nil
	}
	sink.objects["j.00000."+token+".csv"] = nil // what a killed worker left
	job := riverjob.Job[row, int64]{Name: "j", Source: p.source(), Work: export, Sink: sink, Suffix: ".csv"}
	other := job
	other.Name = "j.x"
	for _, j := range []riverjob.Job[row, int64]{job, other} {
		plan(t, p, j, 1)
		if err := work(riverjob.NewWorker(p.Store, riverjob.Config{}, j), j.Name, 0); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := p.Sweep(context.Background(), "j", sink); err != nil || n != 1 {
		t.Errorf("got %d, %v", n, err)
	}
	for _, name := range strangers {
		if _, ok := sink.objects[name]; !ok {
			t.Errorf("%s is gone", name)
		}
	}
	for _, name := range []string{"j", "j.x"} {
		if got := p.content(t, name, sink); got != p.want(t) {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func TestAFoldersNamesStayInIt(t *testing.T) {
	t.Parallel()
	folder, err := riverjob.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "../x", "a/b", `a\b`, "/etc/x"} {
		if _, err := folder.Create(context.Background(), name); err == nil {
			t.Errorf("made %q", name)
		}
	}
	o, err := folder.Create(context.Background(), "once")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if _, err := folder.Create(context.Background(), "once"); !errors.Is(err, os.ErrExist) {
		t.Errorf("got %v", err)
	}
	if err := folder.Remove(context.Background(), "never"); err != nil {
		t.Errorf("got %v", err)
	}
}

// So it is where the worker was killed after the last commit of the range, and the part
// is in one file: what is behind the commit there is cut off, too.
func TestOneTornFileIsNoPart(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.rows(t, 20)
	folder, err := riverjob.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	killed := errors.New("killed")
	job := riverjob.Job[row, int64]{Name: "torn", Source: p.source(), Sink: folder, Every: cursor.Every{Items: 20},
		Work: func(ctx context.Context, s *riverjob.Slice[row, int64]) error {
			if err := export(ctx, s); err != nil || s.Checkpoint.Position() == nil || len(s.Part.Objects()) == 0 {
				return err
			}
			return killed
		}}
	plan(t, p, job, 1)
	if err := work(riverjob.NewWorker(p.Store, riverjob.Config{}, job), "torn", 0); !errors.Is(err, killed) {
		t.Fatalf("got %v", err)
	}
	parts, err := p.Parts(context.Background(), "torn")
	if err != nil || len(parts[0].Objects) != 1 || parts[0].Finished {
		t.Fatalf("got %+v, %v", parts, err)
	}
	torn := parts[0].Objects[0].Name
	if err := os.WriteFile(folder.Path(torn), []byte(p.want(t)+"half a li"), 0o666); err != nil {
		t.Fatal(err)
	}
	job.Work = export
	if err := work(riverjob.NewWorker(p.Store, riverjob.Config{}, job), "torn", 0); err != nil {
		t.Fatal(err)
	}
	if parts, err = p.Parts(context.Background(), "torn"); err != nil || len(parts[0].Objects) != 1 {
		t.Fatalf("got %+v, %v", parts, err)
	}
	data, err := os.ReadFile(folder.Path(parts[0].Objects[0].Name))
	if err != nil || string(data) != p.want(t) {
		t.Errorf("got %q, %v", data, err)
	}
	if _, err := os.Stat(folder.Path(torn)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the torn file: %v", err)
	}
}
