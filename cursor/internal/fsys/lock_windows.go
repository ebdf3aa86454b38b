package fsys

import (
	"errors"
	"os"
	"syscall"
	"unsafe"
)

var procLockFileEx = syscall.NewLazyDLL("kernel32.dll").NewProc("LockFileEx")

const (
	lockFailImmediately               = 1
	lockExclusive                     = 2
	errLockViolation    syscall.Errno = 33
)

// NoFollow does nothing here.
const NoFollow = 0

// AtEnd is for files that are written with Append. It does nothing here.
const AtEnd = 0

func appendTo(f *os.File, p []byte, off int64) (int, error) { return f.WriteAt(p, off) }

// tryLock locks one byte far behind any content: a lock on Windows keeps others
// from reading what it covers, and the holder's name has to stay readable.
func tryLock(f *os.File, exclusive bool) error {
	how := uintptr(lockFailImmediately)
	if exclusive {
		how |= lockExclusive
	}
	far := syscall.Overlapped{OffsetHigh: 1 << 30}
	ok, _, err := procLockFileEx.Call(f.Fd(), how, 0, 1, 0, uintptr(unsafe.Pointer(&far)))
	switch {
	case ok != 0:
		return nil
	case errors.Is(err, errLockViolation), errors.Is(err, syscall.ERROR_IO_PENDING):
		return ErrLocked
	default:
		return &os.PathError{Op: "LockFileEx", Path: f.Name(), Err: err}
	}
}

// syncDir has nothing to do: Windows has no fsync for a folder.
func syncDir(string) error { return nil }
