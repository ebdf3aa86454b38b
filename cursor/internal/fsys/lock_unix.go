//go:build unix && !solaris && !aix

package fsys

import (
	"errors"
	"os"
	"syscall"
)

// NoFollow makes OpenFile fail where the name is that of a symbolic link.
const NoFollow = syscall.O_NOFOLLOW

// AtEnd is for files that are written with Append.
const AtEnd = os.O_APPEND

func appendTo(f *os.File, p []byte, _ int64) (int, error) { return f.Write(p) }

// tryLock uses flock: unlike the locks of fcntl it belongs to the open file, so
// two openings in one process exclude each other, and closing an unrelated
// descriptor of the same file does not drop it.
func tryLock(f *os.File, exclusive bool) error {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return ErrLocked
		default:
			return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		d.Close()
		return err
	}
	return d.Close()
}
