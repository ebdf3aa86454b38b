//go:build unix

package cursor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/internal/fsys"
	"example.com/pipeline/seq"
)

// A smallExport is the least program that has all the parts: a store, an output and
// a loop that commits.
type smallExport struct {
	dir      string
	gzip     bool
	buffered bool // it writes to Buffered
	items    int
	every    int
}

func (e smallExport) output() string { return filepath.Join(e.dir, "out") }

// run exports what is not exported yet.
func (e smallExport) run() (err error) {
	store, err := cursor.NewFileStore(filepath.Join(e.dir, "state"))
	if err != nil {
		return err
	}
	var opts []cursor.FileOption
	if e.gzip {
		opts = append(opts, cursor.Gzip())
	}
	out, err := cursor.OpenFile(e.output(), opts...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	ctx := context.Background()
	c, err := cursor.Open[int](ctx, store, "small/Export", cursor.Attach("out", out), cursor.WithFingerprint("numbers"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if c.Finished() {
		return nil
	}
	var to io.Writer = out
	if e.buffered {
		to = out.Buffered()
	}
	if c.Position() == nil {
		fmt.Fprintln(to, "a header")
	}
	in := seq.Of(numbers(c.Position(), e.items)...)
	for i, err := range cursor.Track(ctx, in, c, cursor.Every{Items: e.every}, self) {
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(to, "line", i, strings.Repeat("x", i%7)); err != nil {
			return err
		}
	}
	fmt.Fprintln(to, "a footer")
	return c.Finish(ctx)
}

// undisturbed returns the output of a run that nothing happened to.
func (e smallExport) undisturbed(t *testing.T) []byte {
	t.Helper()
	e.dir = t.TempDir()
	if err := e.run(); err != nil {
		t.Fatal(err)
	}
	return readFile(t, e.output())
}

// finish runs the export to its end and compares the output.
func (e smallExport) finish(t *testing.T, want []byte, after string) {
	t.Helper()
	remove := fsys.SetHook(func(s *fsys.Step) error { return doFast(s, s.Len) })
	defer remove()
	if err := e.run(); err != nil {
		t.Fatalf("killed %s: the next run failed: %v", after, err)
	}
	if got := readFile(t, e.output()); !bytes.Equal(got, want) {
		t.Fatalf("killed %s: the output is %q, want %q", after, got, want)
	}
}

// A moment is one at which a process can die: before a step, or in the midst of it,
// which a write has. To die after a step is to die before the next one.
type moment struct {
	step int
	half bool
}

func (m moment) String() string {
	if m.half {
		return fmt.Sprintf("in step %d", m.step)
	}
	return fmt.Sprintf("before step %d", m.step)
}

// moments returns all the moments of a run with these steps, of which the last is
// the one after the last step.
func moments(steps []fsys.Op) []moment {
	var all []moment
	for i, op := range steps {
		all = append(all, moment{i, false})
		if op == fsys.OpWrite {
			all = append(all, moment{i, true})
		}
	}
	return append(all, moment{len(steps), false})
}

// steps returns the steps of a run in the folder as it is.
func (e smallExport) steps(t *testing.T) []fsys.Op {
	t.Helper()
	var ops []fsys.Op
	remove := fsys.SetHook(func(s *fsys.Step) error {
		ops = append(ops, s.Op)
		return doFast(s, s.Len)
	})
	defer remove()
	if err := e.run(); err != nil {
		t.Fatal(err)
	}
	return ops
}

var errDead = errors.New("the process is dead")

// A mortal is a process as its disk sees it: from its death on, no step happens.
type mortal struct {
	at    moment
	steps int
	dead  bool
	do    func(s *fsys.Step, n int) error // makes a step happen
}

func (m *mortal) hook(s *fsys.Step) error {
	if m.dead {
		return errDead
	}
	m.steps++
	if m.steps-1 != m.at.step {
		return m.do(s, s.Len)
	}
	m.dead = true
	if m.at.half {
		_ = m.do(s, s.Len/2)
	}
	return errDead
}

// doFast makes every step happen but an fsync, which a killed process cannot tell
// from one that happened.
func doFast(s *fsys.Step, n int) error {
	if s.Op == fsys.OpSync || s.Op == fsys.OpSyncDir {
		return nil
	}
	return s.DoPart(n)
}

// dieAt runs e until it dies at m. It reports whether it came to die.
func (e smallExport) dieAt(t *testing.T, m *mortal) bool {
	t.Helper()
	remove := fsys.SetHook(m.hook)
	err := e.run()
	remove()
	if !m.dead && err != nil {
		t.Fatalf("a run that was to die at %v failed: %v", m.at, err)
	}
	return m.dead
}

// TestDeathAtEveryStep lets a run die before and in every step there is, then lets
// the run that resumes it die at each of its steps, too; the third one must come to
// the output of an undisturbed run.
func TestDeathAtEveryStep(t *testing.T) {
	for _, zip := range []bool{false, true} {
		t.Run(fmt.Sprintf("gzip=%t", zip), func(t *testing.T) {
			e := smallExport{gzip: zip, items: 4, every: 3}
			want := e.undisturbed(t)
			e.dir = t.TempDir()
			steps := e.steps(t)
			for _, op := range []fsys.Op{fsys.OpMkdir, fsys.OpOpen, fsys.OpLock, fsys.OpWrite, fsys.OpTruncate,
				fsys.OpSync, fsys.OpClose, fsys.OpRename, fsys.OpRemove, fsys.OpSyncDir} {
				if !slices.Contains(steps, op) {
					t.Errorf("no step is of kind %q", op)
				}
			}
			pairs := 0
			for i, first := range moments(steps) {
				e.dir = filepath.Join(t.TempDir(), "died")
				e.dieAt(t, &mortal{at: first, do: doFast})
				died := e.dir
				e.dir = filepath.Join(t.TempDir(), "probe")
				copyTree(t, died, e.dir)
				for j, second := range moments(e.steps(t)) {
					if n := i + j; n%6 > 0 || zip && n%18 > 0 {
						continue // each step has its turn; all pairs would take too long
					}
					e.dir = filepath.Join(t.TempDir(), "again")
					copyTree(t, died, e.dir)
					e.dieAt(t, &mortal{at: second, do: doFast})
					e.finish(t, want, fmt.Sprintf("%v, then %v", first, second))
					pairs++
				}
			}
			t.Logf("%d steps, %d pairs of deaths", len(steps), pairs)
		})
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if _, err := os.Stat(from); os.IsNotExist(err) {
		return
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// The process below is the test binary itself, started anew.
const (
	childDir  = "CURSOR_TEST_CHILD_DIR"
	childStep = "CURSOR_TEST_CHILD_STEP"
	childHalf = "CURSOR_TEST_CHILD_HALF"
)

var killedExport = smallExport{buffered: true, items: 8, every: 3}

func init() {
	dir := os.Getenv(childDir)
	if dir == "" {
		return
	}
	k, err := strconv.Atoi(os.Getenv(childStep))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	n := 0
	fsys.SetHook(func(s *fsys.Step) error {
		if n++; n-1 != k {
			return s.Do()
		}
		if os.Getenv(childHalf) == "true" {
			_ = s.DoPart(s.Len / 2)
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			return err
		}
		select {} // the signal is on its way
	})
	e := killedExport
	e.dir = dir
	if err := e.run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// TestKillAtEveryStep does to a process what TestDeathAtEveryStep does to its
// model: SIGKILL, from within, at every step there is.
func TestKillAtEveryStep(t *testing.T) {
	e := killedExport
	want := e.undisturbed(t)
	e.dir = t.TempDir()
	all := moments(e.steps(t))
	for i, m := range all {
		e.dir = t.TempDir()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+e.dir, fmt.Sprint(childStep, "=", m.step), fmt.Sprint(childHalf, "=", m.half))
		out, err := cmd.CombinedOutput()
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		killed := status.Signaled() && status.Signal() == syscall.SIGKILL
		if last := i == len(all)-1; killed == last || last && err != nil {
			t.Fatalf("%v: the process ended with %v, killed: %t\n%s", m, err, killed, out)
		}
		e.finish(t, want, m.String())
	}
	t.Logf("%d kills", len(all)-1)
}

// A disk is what a power failure leaves: of every file what was fsynced, and of
// every folder the names it had at its last fsync.
type disk struct {
	now, durable map[string]*inode
}

type inode struct{ durable []byte }

func newDisk() *disk { return &disk{map[string]*inode{}, map[string]*inode{}} }

// do makes a step happen and keeps the books.
func (d *disk) do(s *fsys.Step, n int) error {
	switch s.Op {
	case fsys.OpSync, fsys.OpSyncDir: // in the books alone
	default:
		if err := s.DoPart(n); err != nil {
			return err
		}
	}
	switch s.Op {
	case fsys.OpOpen:
		if d.now[s.Path] == nil {
			d.now[s.Path] = &inode{}
		}
	case fsys.OpSync:
		data, err := os.ReadFile(s.Path)
		if err != nil {
			return err
		}
		d.now[s.Path].durable = data
	case fsys.OpRename:
		d.now[s.Path] = d.now[strings.TrimSuffix(s.Path, ".checkpoint")+".tmp"]
		delete(d.now, strings.TrimSuffix(s.Path, ".checkpoint")+".tmp")
	case fsys.OpRemove:
		delete(d.now, s.Path)
	case fsys.OpSyncDir:
		for _, names := range []map[string]*inode{d.now, d.durable} {
			for path := range names {
				if filepath.Dir(path) != s.Path {
					continue
				}
				if node := d.now[path]; node != nil {
					d.durable[path] = node
				} else {
					delete(d.durable, path)
				}
			}
		}
	}
	return nil
}

// fail cuts the power: the files in the tree become what is durable. Where names
// is set the newest names have survived, without the newest content.
func (d *disk) fail(t *testing.T, names bool) {
	t.Helper()
	survive := d.durable
	if names {
		survive = d.now
	}
	for path := range d.now {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	for path, node := range survive {
		if err := os.WriteFile(path, node.durable, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	d.now, d.durable = map[string]*inode{}, map[string]*inode{}
	for path, node := range survive {
		d.now[path], d.durable[path] = node, node
	}
}

// TestPowerFailureAtEveryStep loses at every step all that was not fsynced. A
// forgotten fsync of the output, of the record or of the folder fails here, which
// no killed process would show.
func TestPowerFailureAtEveryStep(t *testing.T) {
	for _, zip := range []bool{false, true} {
		for _, names := range []bool{false, true} {
			t.Run(fmt.Sprintf("gzip=%t,names=%t", zip, names), func(t *testing.T) {
				e := smallExport{gzip: zip, buffered: names, items: 11, every: 3}
				want := e.undisturbed(t)
				for step, alive := 0, false; !alive; step++ {
					e.dir = t.TempDir()
					d := newDisk()
					m := &mortal{at: moment{step, false}, do: d.do}
					alive = !e.dieAt(t, m)
					d.fail(t, names)
					committed := e.committed(t)
					if m.at.step > 40 && committed == 0 {
						t.Fatalf("step %d: no commit survived", step)
					}
					e.finish(t, want, m.at.String())
				}
			})
		}
	}
}

// committed returns the items that the checkpoint has.
func (e smallExport) committed(t *testing.T) int64 {
	t.Helper()
	store, err := cursor.NewFileStore(filepath.Join(e.dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	lease, err := store.Acquire(t.Context(), "small/Export")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release(t.Context())
	r, err := lease.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r.Items
}

// TestFaultAtEveryStep lets every step fail once, without killing anything: the run
// ends with an error that names the cause, and the next run finishes the work.
func TestFaultAtEveryStep(t *testing.T) {
	faults := map[string]func(s *fsys.Step) error{
		"EIO":    func(*fsys.Step) error { return syscall.EIO },
		"ENOSPC": func(s *fsys.Step) error { _ = s.DoPart(s.Len / 3); return syscall.ENOSPC },
		"short":  func(s *fsys.Step) error { return s.DoPart(s.Len / 2) },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			e := smallExport{items: 8, every: 3}
			want := e.undisturbed(t)
			for step, through := 0, false; !through; step++ {
				e.dir = t.TempDir()
				n, kind := 0, fsys.Op("")
				remove := fsys.SetHook(func(s *fsys.Step) error {
					if n++; n-1 != step {
						return doFast(s, s.Len)
					}
					if kind = s.Op; name == "short" && s.Op != fsys.OpWrite {
						return s.Do()
					}
					return fault(s)
				})
				err := e.run()
				remove()
				through = kind == ""
				if name != "short" && kind != "" && err == nil && kind != fsys.OpRemove {
					t.Errorf("step %d, a failed %s: no error", step, kind)
				}
				if (kind == fsys.OpSync || kind == fsys.OpSyncDir && n > 20) && name == "EIO" && !errors.Is(err, cursor.ErrFsync) {
					t.Errorf("step %d: the error of a failed fsync is %v", step, err)
				}
				e.finish(t, want, fmt.Sprintf("by a fault at step %d, %s", step, kind))
			}
		})
	}
}

// TestNothingAfterFailedFsync sees to it that after a failed fsync no other step is
// made: a second fsync would report success over lost data.
func TestNothingAfterFailedFsync(t *testing.T) {
	for _, op := range []fsys.Op{fsys.OpSync, fsys.OpSyncDir} {
		for nth := 1; nth <= 4; nth++ {
			t.Run(fmt.Sprintf("%s %d", op, nth), func(t *testing.T) {
				dir := t.TempDir()
				store, err := cursor.NewFileStore(dir)
				if err != nil {
					t.Fatal(err)
				}
				out, err := cursor.OpenFile(filepath.Join(dir, "out"))
				if err != nil {
					t.Fatal(err)
				}
				defer out.Close()
				c, err := cursor.Open[int](t.Context(), store, "job", cursor.Attach("out", out))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()

				seen, failed := 0, false
				var after []fsys.Op
				remove := fsys.SetHook(func(s *fsys.Step) error {
					if failed {
						after = append(after, s.Op)
					}
					if s.Op == op {
						seen++
					}
					if s.Op == op && seen == nth {
						failed = true
						return syscall.EIO
					}
					return s.Do()
				})
				defer remove()
				var errs []error
				for i := range 8 {
					fmt.Fprintln(out, i)
					errs = append(errs, c.Commit(t.Context(), i))
				}
				errs = append(errs, c.Finish(t.Context()), c.Reset(t.Context()))
				first := slices.IndexFunc(errs, func(err error) bool { return err != nil })
				if first < 0 {
					t.Fatal("no commit failed")
				}
				for i, err := range errs[first:] {
					if !errors.Is(err, cursor.ErrFsync) || !errors.Is(err, syscall.EIO) {
						t.Errorf("call %d after the failed fsync: %v, want ErrFsync", i, err)
					}
				}
				if want := first - 1; first > 0 && *c.Position() != want {
					t.Errorf("the position is %d, want the last committed, %d", *c.Position(), want)
				}
				for _, step := range after {
					if step != fsys.OpClose {
						t.Errorf("a step after the failed fsync: %s", step)
					}
				}
			})
		}
	}
}
