package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"syscall"
	"testing"
)

// changing are the system calls with which the program changes files.
var changing = map[uint64]string{
	syscall.SYS_PWRITE64: "pwrite64", syscall.SYS_FTRUNCATE: "ftruncate", syscall.SYS_FSYNC: "fsync", syscall.SYS_FDATASYNC: "fdatasync",
	syscall.SYS_RENAME: "rename", syscall.SYS_RENAMEAT: "renameat", 316: "renameat2", syscall.SYS_UNLINK: "unlink",
	syscall.SYS_UNLINKAT: "unlinkat", syscall.SYS_FLOCK: "flock", syscall.SYS_MKDIRAT: "mkdirat",
}

// TestKilledAtEveryStep kills the program at the first system call that changes a
// file, then at the second, and so on, each before the call is done. The run after
// the kill must make the file of an undisturbed run. By itself it takes one step in
// three, others each time, and all of them where EXPORT_KILLS is set.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs the program twice for every system call")
	}
	useBuilt(t)
	for _, kind := range []struct {
		name   string
		args   []string
		before string // what a run before is given, on half of the table; "": there was none
		files  []string
	}{ // with -store db the steps are the database's own, and each kill has a lease to wait for
		{"csv", []string{"-out=o.csv"}, "", []string{"o.csv"}},
		{"jsonl-gzip", []string{"-out=o.jsonl.gz"}, "", []string{"o.jsonl.gz"}},
		{"partitions", []string{"-out=o.csv", "-partitions=2", "-workers=1", "-manifest"}, "", []string{"o.1of2.csv", "o.2of2.csv", "o.csv.manifest.json"}},
		{"more", []string{"-out=o.csv.zst", "-more"}, "-more", []string{"o.csv.zst"}},
		{"restart", []string{"-out=o.csv", "-restart"}, "-partitions=2", []string{"o.csv"}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			dsn := newDemo(t, 200) // of which the second commit is like all that follow
			args := append([]string{"-dsn=" + dsn, "-table=orders", "-commit=100", "-page=60"}, kind.args...)
			seed := t.TempDir()
			if kind.before != "" {
				db := openSQLite(t, dsn)
				if _, err := db.Exec("CREATE TABLE later AS SELECT * FROM orders WHERE id > 100; DELETE FROM orders WHERE id > 100"); err != nil {
					t.Fatal(err)
				}
				mustRun(t, seed, exitDone, "done: ", append(args[:5:5], kind.before)...)
				if _, err := db.Exec("INSERT INTO orders SELECT * FROM later"); err != nil {
					t.Fatal(err)
				}
			}
			folder := func() (dir string) {
				dir = t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(seed)); err != nil {
					t.Fatal(err)
				}
				return dir
			}
			dir := folder()
			mustRun(t, dir, exitDone, "done: 200 rows", args...)
			want := rawFiles(t, dir, kind.files)
			first, stride := 1+rand.N(3), 3
			if thorough() {
				first, stride = 1, 1
			}
			met := map[string]int{}
			for n := first; ; n += stride {
				dir := folder()
				clear(met)
				step := runToStep(t, dir, n, met, args...)
				if step == "" {
					break
				}
				mustRun(t, dir, exitDone, "", args...)
				for i, got := range rawFiles(t, dir, kind.files) {
					same(t, fmt.Sprintf("%s after a kill at step %d, %s", kind.files[i], n, step), got, want[i])
				}
				discard(t, dir)
			}
			t.Logf("there were %v", met)
			if met["pwrite64"] < 5 || met["fsync"]+met["fdatasync"] < 5 {
				t.Error("these cannot be all the steps of an export")
			}
		})
	}
}

// runToStep runs the program under ptrace and kills it when it is about to make
// its nth changing system call. It returns the name of that call, "" if there were
// less than n and the program has ended well, and counts the calls in met.
func runToStep(t *testing.T, dir string, n int, met map[string]int, args ...string) string {
	t.Helper()
	runtime.LockOSThread() // ptrace is about the children of a thread
	defer runtime.UnlockOSThread()
	cmd := command(t, dir, args...)
	// In a group of its own, so that no other test's child is waited for.
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Skipf("no ptrace here: %v", err)
	}
	pid := cmd.Process.Pid
	defer cmd.Wait() // which finds no process, and all that it has said

	const exitKill = 0x100000 // PTRACE_O_EXITKILL
	step, began := "", false
	for {
		var status syscall.WaitStatus
		tid, err := syscall.Wait4(-pid, &status, syscall.WALL, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			t.Fatalf("wait4: %v", err)
		}
		if !status.Stopped() {
			if tid != pid {
				continue // a thread has ended
			}
			if step == "" && status.ExitStatus() != exitDone {
				cmd.Wait() // for what it has said, no more
				t.Fatalf("the program ended with %d: %s", status.ExitStatus(), cmd.Stderr)
			}
			return step
		}
		sig := status.StopSignal()
		switch {
		case !began: // the program's first instruction
			began = true
			options := syscall.PTRACE_O_TRACESYSGOOD | syscall.PTRACE_O_TRACECLONE | exitKill
			if err := syscall.PtraceSetOptions(pid, options); err != nil {
				t.Fatalf("ptrace: %v", err)
			}
			sig = 0
		case sig == syscall.SIGTRAP|0x80: // at the beginning or the end of a call
			if call := beginning(tid); call != "" {
				met[call]++
				if n--; n == 0 {
					step = call
					syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			sig = 0
		case sig == syscall.SIGTRAP, sig == syscall.SIGSTOP: // a new thread, and its creator
			sig = 0
		}
		syscall.PtraceSyscall(tid, int(sig)) // fails where the thread was killed
	}
}

// beginning returns the name of the changing call that the thread is about to
// make, "" if it makes another one or has made it.
func beginning(tid int) string {
	var regs syscall.PtraceRegs
	if syscall.PtraceGetRegs(tid, &regs) != nil || int64(regs.Rax) != -int64(syscall.ENOSYS) {
		return ""
	}
	return changing[regs.Orig_rax]
}
