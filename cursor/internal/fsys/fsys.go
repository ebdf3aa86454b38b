// Package fsys is the file system as the checkpoints use it: each call that
// changes something is one step, and a test can stand in front of every step to
// count it, to make it fail, to do half of it, or to kill the process before or
// after it. Nothing stands there in a program.
package fsys

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
)

// An Op names what a step does.
type Op string

// The steps there are. Reading is none: it changes nothing.
const (
	OpMkdir    Op = "mkdir"
	OpOpen     Op = "open" // also creates, where the flags say so
	OpLock     Op = "lock"
	OpWrite    Op = "write"
	OpTruncate Op = "truncate"
	OpSync     Op = "fsync"
	OpClose    Op = "close"
	OpRename   Op = "rename"
	OpRemove   Op = "remove"
	OpSyncDir  Op = "fsync folder"
)

// A Step is one change of the file system that is about to be made.
type Step struct {
	Op   Op
	Path string
	Len  int // of what is written, otherwise 0

	run func(n int) (int, error)
	n   int
}

// Do makes the change.
func (s *Step) Do() error { return s.DoPart(s.Len) }

// DoPart makes the change with only the first n bytes of a write.
func (s *Step) DoPart(n int) (err error) {
	s.n, err = s.run(n)
	return err
}

// A Hook stands in front of every step. What it returns is the step's result;
// it calls s.Do for the step to happen.
type Hook func(s *Step) error

var hook atomic.Pointer[Hook]

// SetHook puts h in front of every step of the process and returns a function
// that takes it away. For tests only, and for one at a time.
func SetHook(h Hook) (remove func()) {
	if !hook.CompareAndSwap(nil, &h) {
		panic("fsys.SetHook: there must be no other hook")
	}
	return func() { hook.Store(nil) }
}

// step runs one step, past the hook if there is one.
func step(op Op, path string, length int, run func(n int) (int, error)) (int, error) {
	h := hook.Load()
	if h == nil {
		return run(length)
	}
	s := &Step{Op: op, Path: path, Len: length, run: run}
	err := (*h)(s)
	return s.n, err
}

// do runs a step that is either done or not.
func do(op Op, path string, run func() error) error {
	_, err := step(op, path, 0, func(int) (int, error) { return 0, run() })
	return err
}

// A File is an [os.File] whose changes are steps.
type File struct{ f *os.File }

// OpenFile is [os.OpenFile]. The descriptor is closed in programs that the
// process starts, so that none of them inherits a lock.
func OpenFile(name string, flag int, perm fs.FileMode) (*File, error) {
	var f *os.File
	err := do(OpOpen, name, func() (err error) {
		f, err = os.OpenFile(name, flag, perm)
		return err
	})
	if err != nil {
		if f != nil {
			f.Close()
		}
		return nil, err
	}
	return &File{f}, nil
}

// Name returns the name that the file was opened by.
func (f *File) Name() string { return f.f.Name() }

// Stat is [os.File.Stat].
func (f *File) Stat() (fs.FileInfo, error) { return f.f.Stat() }

// ReadAt is [os.File.ReadAt].
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

// WriteAt is [os.File.WriteAt]; fewer bytes written than given is an error.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	n, err := step(OpWrite, f.Name(), len(p), func(n int) (int, error) { return f.f.WriteAt(p[:n], off) })
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

// Append writes p at the end of the file, which is believed to be at off. On Windows,
// where such a file could not be truncated, it writes at off. Fewer bytes written than
// given is an error.
func (f *File) Append(p []byte, off int64) (int, error) {
	n, err := step(OpWrite, f.Name(), len(p), func(n int) (int, error) { return appendTo(f.f, p[:n], off) })
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

// Truncate is [os.File.Truncate].
func (f *File) Truncate(size int64) error {
	return do(OpTruncate, f.Name(), func() error { return f.f.Truncate(size) })
}

// Sync is [os.File.Sync].
func (f *File) Sync() error { return do(OpSync, f.Name(), f.f.Sync) }

// Close is [os.File.Close].
func (f *File) Close() error {
	closed := false
	err := do(OpClose, f.Name(), func() error {
		closed = true
		return f.f.Close()
	})
	if !closed {
		f.f.Close() // a test let the step fail; the descriptor goes all the same
	}
	return err
}

// ErrLocked says that another open file, of this process or another, holds the
// lock.
var ErrLocked = errors.New("the file is locked")

// TryLock takes the file's exclusive lock without waiting, or returns
// [ErrLocked]. The lock goes with the descriptor: at Close, or when the process
// ends, however it ends.
func (f *File) TryLock() error {
	return do(OpLock, f.Name(), func() error { return tryLock(f.f, true) })
}

// TryLockShared is TryLock for a lock that any number of open files can have at once, while
// none has the exclusive one.
func (f *File) TryLockShared() error {
	return do(OpLock, f.Name(), func() error { return tryLock(f.f, false) })
}

// Rename is [os.Rename].
func Rename(from, to string) error {
	return do(OpRename, to, func() error { return os.Rename(from, to) })
}

// Remove is [os.Remove], but a file that is not there is no error.
func Remove(name string) error {
	return do(OpRemove, name, func() error {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// MkdirAll is [os.MkdirAll], with every folder that it makes entered durably in
// the one above.
func MkdirAll(dir string, perm fs.FileMode) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return &fs.PathError{Op: "mkdir", Path: dir, Err: errors.New("not a folder")}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	err = do(OpMkdir, dir, func() error { return os.Mkdir(dir, perm) })
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return SyncDir(parent)
}

// SyncDir makes the entries of a folder durable: what was made, renamed or
// removed in it. Where folders cannot be synced it does nothing.
func SyncDir(dir string) error {
	return do(OpSyncDir, dir, func() error { return syncDir(dir) })
}
