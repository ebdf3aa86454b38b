//go:build unix

package cursor_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/internal/fsys"
)

// TestModes wants files of a store that their owner alone can read, whatever the umask
// allows, and outputs as the umask says.
func TestModes(t *testing.T) {
	for _, mask := range []int{0, 0o027} {
		func() {
			defer syscall.Umask(syscall.Umask(mask))
			dir := t.TempDir()
			path, state := filepath.Join(dir, "out"), filepath.Join(dir, "state")
			runOnce(t, path, state, "text")
			for name, want := range map[string]fs.FileMode{path: 0o666 &^ fs.FileMode(mask), state + "/job.checkpoint": 0o600, state + "/job.lock": 0o600} {
				if info, err := os.Stat(name); err != nil || info.Mode() != want {
					t.Errorf("umask %03o: %s has the mode %v, want %v, %v", mask, name, info.Mode(), want, err)
				}
			}
		}()
	}
}

// TestPlantedFiles puts things into a store's folder, under the names of what a store
// makes there: leftovers of a killed run, and links to a file of somebody else's.
func TestPlantedFiles(t *testing.T) {
	for name, plant := range map[string]func(path, victim string) error{
		"a leftover": func(path, _ string) error { return os.WriteFile(path, []byte("half a rec"), 0o666) },
		"a link":     func(path, victim string) error { return os.Symlink(victim, path) },
		"a FIFO":     func(path, _ string) error { return syscall.Mkfifo(path, 0o666) },
	} {
		t.Run(name, func(t *testing.T) {
			state, victim := t.TempDir(), filepath.Join(t.TempDir(), "victim")
			overwrite(t, victim, []byte("somebody else's"))
			temp, store := filepath.Join(state, "job.tmp"), newFileStore(t, state)
			if err := plant(temp, victim); err != nil {
				t.Fatal(err)
			}
			c, err := cursor.Open[int](t.Context(), store, "job")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for i := range 2 {
				if err := plant(temp, victim); err != nil { // and during a run
					t.Fatal(err)
				}
				if err := c.Commit(t.Context(), i); err != nil {
					t.Errorf("commit %d: %v", i, err)
				}
			}
			if got := string(readFile(t, victim)); got != "somebody else's" {
				t.Errorf("the other file is %q", got)
			}
			if info, err := os.Lstat(filepath.Join(state, "job.checkpoint")); err != nil || !info.Mode().IsRegular() {
				t.Errorf("the record is %v, %v", info.Mode(), err)
			}
		})
	}
	state, victim := t.TempDir(), filepath.Join(t.TempDir(), "victim")
	overwrite(t, victim, []byte("somebody else's"))
	if err := os.Symlink(victim, filepath.Join(state, "job.lock")); err != nil {
		t.Fatal(err)
	}
	if _, err := cursor.Open[int](t.Context(), newFileStore(t, state), "job"); err == nil {
		t.Error("a lock that is a link was taken")
	}
	if got := string(readFile(t, victim)); got != "somebody else's" {
		t.Errorf("the other file is %q", got)
	}
}

// TestLinkedOutput writes through a link: the folder that has to know the file is that of
// the link's target.
func TestLinkedOutput(t *testing.T) {
	for _, there := range []bool{false, true} {
		dir, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(dir, "data", "out")
		if err := os.Mkdir(filepath.Dir(target), 0o777); err != nil {
			t.Fatal(err)
		}
		if there {
			overwrite(t, target, nil)
		}
		link := filepath.Join(dir, "link")
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		f := openFile(t, link, nil)
		write(t, f, "text")
		f.Mark()
		var synced []string
		remove := fsys.SetHook(func(s *fsys.Step) error {
			if s.Op == fsys.OpSyncDir {
				synced = append(synced, s.Path)
			}
			return s.Do()
		})
		syncFile(t, f)
		remove()
		if !slices.Contains(synced, filepath.Dir(target)) {
			t.Errorf("target there: %t: the folders synced are %q, want %q", there, synced, filepath.Dir(target))
		}
	}
}

// TestDeviceNames wants no file of a store to be a device on Windows, whatever the job.
func TestDeviceNames(t *testing.T) {
	dir := t.TempDir()
	store := newFileStore(t, dir)
	jobs := []string{"con", "CON", "Con", "prn", "aux", "nul", "com0", "com1", "com9", "lpt1", "lpt9", "nul.txt", "con ", "con.", "conin$", "conout$", "clock$", "com¹",
		"com10", "com", "lptx", "console", "%63on", "nul/x"}
	for _, job := range jobs {
		c, err := cursor.Open[string](t.Context(), store, job)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Commit(t.Context(), job); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		base, _, _ := strings.Cut(strings.ToLower(e.Name()), ".")
		switch base {
		case "con", "prn", "aux", "nul", "com0", "com1", "com9", "lpt1", "lpt9", "conin$", "conout$", "clock$", "com¹":
			t.Errorf("the file %q is a device", e.Name())
		}
	}
	if want := 2 * len(jobs); len(entries) != want {
		t.Errorf("there are %d files, want %d", len(entries), want)
	}
	got, err := cursor.Jobs(t.Context(), store)
	slices.Sort(jobs)
	if err != nil || !slices.Equal(got, jobs) {
		t.Errorf("the jobs are %q, want %q, %v", got, jobs, err)
	}
}

// TestFileStoreInspect looks into a store with all that can be in its folder.
func TestFileStoreInspect(t *testing.T) {
	dir := t.TempDir()
	store := newFileStore(t, dir)
	long := strings.Repeat("A long name ", 30)
	for _, job := range []string{"job", long} {
		c, err := cursor.Open[string](t.Context(), store, job)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Commit(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	lease, err := store.Acquire(t.Context(), "never saved")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release(context.Background())
	for _, name := range []string{"README", "job.tmp", "My notes.checkpoint", "%zz.checkpoint", "%6aob.checkpoint", ".checkpoint"} {
		overwrite(t, filepath.Join(dir, name), []byte("x"))
	}
	want := []string{long, "job"}
	if got, err := cursor.Jobs(t.Context(), store); err != nil || !slices.Equal(got, want) {
		t.Errorf("the jobs are %q, %v", got, err)
	}

	held, err := cursor.Holder(t.Context(), store, "never saved")
	if err != nil || held == nil || !strings.Contains(held.Holder, fmt.Sprint("process ", os.Getpid(), " on ")) {
		t.Errorf("the holder is %v, %v", held, err)
	}
	for _, free := range []string{"job", "never heard of"} {
		if held, err := cursor.Holder(t.Context(), store, free); held != nil || err != nil {
			t.Errorf("the holder of %q is %v, %v", free, held, err)
		}
	}
	// What a killed runner leaves.
	overwrite(t, filepath.Join(dir, "job.lock"), []byte(`{"pid":1,"host":"elsewhere","since":"2024-01-01T00:00:00Z"}`))
	if held, err := cursor.Holder(t.Context(), store, "job"); held != nil || err != nil {
		t.Errorf("the holder that was killed is %v, %v", held, err)
	}

	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), "~") && strings.HasSuffix(e.Name(), ".checkpoint") || e.Name() == "job.checkpoint" {
			overwrite(t, filepath.Join(dir, e.Name()), []byte("damaged"))
		}
	}
	if got, err := cursor.Jobs(t.Context(), store); !errors.Is(err, cursor.ErrCorrupt) || !slices.Equal(got, []string{"job"}) {
		t.Errorf("with damaged files the jobs are %q, %v", got, err)
	}
	for _, job := range []string{"job", long} {
		if r, err := cursor.Inspect(t.Context(), store, job); !errors.Is(err, cursor.ErrCorrupt) || r.Seq != 0 {
			t.Errorf("damaged, %.5q is %+v, %v", job, r, err)
		}
	}
}

// TestRecordThatIsAFIFO must not wait for a writer that never comes.
func TestRecordThatIsAFIFO(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"job.checkpoint", "job.lock", strings.Repeat("x", 130) + "~.checkpoint"} {
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	store := newFileStore(t, dir)
	if _, err := cursor.Inspect(t.Context(), store, "job"); !errors.Is(err, cursor.ErrCorrupt) {
		t.Errorf("Inspect: %v", err)
	}
	if _, err := cursor.Jobs(t.Context(), store); !errors.Is(err, cursor.ErrCorrupt) {
		t.Errorf("Jobs: %v", err)
	}
	if held, err := cursor.Holder(t.Context(), store, "job"); held != nil || err != nil {
		t.Errorf("Holder: %v, %v", held, err)
	}
	if _, err := cursor.Open[int](t.Context(), store, "job"); err == nil {
		t.Error("the job was opened")
	}
}

// TestReadOnlyFolders wants errors that say what, from Open and not later.
func TestReadOnlyFolders(t *testing.T) {
	if os.Geteuid() == 0 {
		remove := fsys.SetHook(func(s *fsys.Step) error { // root may write everywhere
			switch s.Op {
			case fsys.OpOpen, fsys.OpMkdir, fsys.OpRename, fsys.OpRemove:
				return &fs.PathError{Op: string(s.Op), Path: s.Path, Err: syscall.EROFS}
			}
			return s.Do()
		})
		defer remove()
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o777)
	if _, err := cursor.NewFileStore(filepath.Join(dir, "state")); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a store: %v", err)
	}
	if _, err := cursor.OpenFile(filepath.Join(dir, "out")); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("an output: %v", err)
	}
	store := newFileStore(t, dir)
	if _, err := cursor.Open[int](t.Context(), store, "job"); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a job: %v", err)
	}
	if jobs, err := cursor.Jobs(t.Context(), store); len(jobs) > 0 || err != nil {
		t.Errorf("the jobs: %q, %v", jobs, err)
	}
}
