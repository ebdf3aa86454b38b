package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
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
// the kill must make the file of an undisturbed run.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs the program twice for every system call")
	}
	useBuilt(t)
	dsn := newDemo(t, 200) // of which the second commit is like all that follow
	for _, kind := range kinds {
		if strings.HasPrefix(kind.name, "store-db") {
			continue // its steps are the database's own, and each kill has a lease to wait for
		}
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"-dsn=" + dsn, "-table=orders", "-commit=100", "-page=60"}, kind.args...)
			want := undisturbed(t, args, kind.files)
			met := map[string]int{}
			for n := 1; ; n++ {
				dir := t.TempDir()
				step := runToStep(t, dir, n, args...)
				if step == "" {
					break
				}
				met[step]++
				mustRun(t, dir, exitDone, "", args...)
				for i, got := range rawFiles(t, dir, kind.files) {
					same(t, fmt.Sprintf("%s after a kill at step %d, %s", kind.files[i], n, step), got, want[i])
				}
				os.RemoveAll(dir)
			}
			t.Logf("killed at %v", met)
			if met["pwrite64"] < 5 || met["fsync"]+met["fdatasync"] < 5 {
				t.Error("these cannot be all the steps of an export")
			}
		})
	}
}

// runToStep runs the program under ptrace and kills it when it is about to make
// its nth changing system call. It returns the name of that call, "" if there were
// less than n and the program has ended well.
func runToStep(t *testing.T, dir string, n int, args ...string) string {
	t.Helper()
	runtime.LockOSThread() // ptrace is about the children of a thread
	defer runtime.UnlockOSThread()
	cmd := command(t, dir, args...)
	var stderr bytes.Buffer
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stderr = w
	// In a group of its own, so that no other test's child is waited for.
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Setpgid: true}
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Skipf("no ptrace here: %v", err)
	}
	pid := cmd.Process.Pid
	defer cmd.Process.Release()

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
				stderr.ReadFrom(r)
				t.Fatalf("the program ended with %d: %s", status.ExitStatus(), &stderr)
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
