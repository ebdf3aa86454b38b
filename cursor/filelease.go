package cursor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"example.com/pipeline/cursor/internal/fsys"
	"example.com/pipeline/seq"
)

// A holder is what the lock file says of the runner that has the lock. It is for
// people: the lock itself is the operating system's. The file is empty when the runner
// has ended, unless it was killed.
type holder struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

// How long lockFile tries again where others only look.
const (
	lookPause = time.Millisecond
	lookTries = 100
)

// lockFile locks the file at path. It waits for those who only look, and no longer than
// that should take; one of them may have been suspended.
func lockFile(ctx context.Context, path, job string) (*fsys.File, error) {
	for tries := 1; ; tries++ {
		f, looked, err := tryLockFile(path, job)
		if !looked || tries == lookTries {
			return f, err
		}
		select {
		case <-time.After(lookPause):
		case <-ctx.Done():
			return nil, seq.ContextError(ctx)
		}
	}
}

// tryLockFile locks the file at path, which is never renamed and never removed:
// otherwise two runners could each lock a file of that name. Somebody else may
// have removed it between our opening and locking it; then it is done again.
//
// A runner has the exclusive lock, and who looks whether there is one has a shared lock for
// a moment. So where the one cannot be had and the other can, there is no runner, whatever
// the file says of one that was killed: looked is set.
func tryLockFile(path, job string) (f *fsys.File, looked bool, err error) {
	for {
		f, err := fsys.OpenFile(path, os.O_RDWR|os.O_CREATE|fsys.NoFollow, ownerOnly)
		if err != nil {
			return nil, false, fmt.Errorf("cursor: the lock of job %q: %w", job, err)
		}
		err = f.TryLock()
		if errors.Is(err, fsys.ErrLocked) {
			err = &LockedError{Job: job, Holder: readHolder(f)}
			if f.TryLockShared() == nil {
				looked, err = true, &LockedError{Job: job, Holder: "a process that looks who holds it (lock file " + path + ")"}
			}
		} else if err != nil {
			err = fmt.Errorf("cursor: the lock of job %q: %w", job, err)
		}
		if err != nil {
			f.Close()
			return nil, looked, err
		}
		if !sameFile(f, path) {
			f.Close()
			continue
		}
		if err := writeHolder(f); err != nil {
			f.Close()
			return nil, false, fmt.Errorf("cursor: the lock of job %q: %w", job, err)
		}
		return f, false, nil
	}
}

func writeHolder(f *fsys.File) error {
	host, _ := os.Hostname() // unknown is empty
	data, err := json.Marshal(holder{os.Getpid(), host, time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(append(data, '\n'), 0)
	return err
}

// readHolder describes the holder. The file may be empty or half written, if
// the holder has only just begun.
func readHolder(f *fsys.File) string {
	var h holder
	data := make([]byte, 4096)
	n, err := f.ReadAt(data, 0)
	if err != nil && err != io.EOF || json.Unmarshal(data[:n], &h) != nil {
		return "another process (lock file " + f.Name() + ")"
	}
	return fmt.Sprintf("process %d on %s since %s (lock file %s)", h.PID, h.Host, h.Since.Format(time.RFC3339), f.Name())
}

// heldBy says who holds the lock at path; nil where nobody does. Others may look at the same
// time.
func heldBy(path, job string) (*LockedError, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil || info.Size() == 0 || !info.Mode().IsRegular() {
		return nil, err
	}
	f, err := fsys.OpenFile(path, os.O_RDONLY|fsys.NoFollow, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.TryLockShared(); !errors.Is(err, fsys.ErrLocked) {
		return nil, err
	}
	return &LockedError{Job: job, Holder: readHolder(f)}, nil
}

// sameFile reports whether path still leads to f.
func sameFile(f *fsys.File, path string) bool {
	have, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(path)
	return err == nil && os.SameFile(have, now)
}

// A fileLease is a job of a FileStore, held by its lock file.
type fileLease struct {
	job, dir, path, temp string

	lock   *fsys.File // nil once released
	loaded bool
	seq    int64 // of the record in the file
	broken error // after a failed fsync
}

// Load implements [Lease].
func (l *fileLease) Load(context.Context) (Record, error) {
	if err := l.usable(); err != nil {
		return Record{}, err
	}
	r, err := readRecord(l.job, l.path)
	l.seq, l.loaded = r.Seq, err == nil || errors.Is(err, ErrCorrupt)
	return r, err
}

// readRecord reads the record in a file, the zero Record where there is no file.
func readRecord(job, path string) (Record, error) {
	data, err := readRegular(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, nil
	}
	if err != nil {
		return Record{}, fmt.Errorf("cursor: read the checkpoint of job %q: %w", job, err)
	}
	r, err := decodeRecord(job, data)
	if err != nil {
		return Record{}, fmt.Errorf("%w (file %s, job %q)", err, path, job)
	}
	return r, nil
}

// readRegular reads a file. From anything else, such as a FIFO, it could wait for ever.
func readRegular(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is no regular file", ErrCorrupt, path)
	}
	return os.ReadFile(path)
}

// Save implements [Lease]. The order is what makes it safe: the new record is
// written and synced beside the old one, then takes its name in one step, then
// the folder is synced, without which a crash could bring the old name back after
// the caller was told that the save is done.
func (l *fileLease) Save(ctx context.Context, r Record) error {
	if err := l.usable(); err != nil {
		return err
	}
	if !l.loaded {
		if _, err := l.Load(ctx); err != nil && !errors.Is(err, ErrCorrupt) {
			return err
		}
	}
	if r.Seq != l.seq+1 {
		return fmt.Errorf("%w: save %d of job %q was to follow save %d", ErrFenced, r.Seq, l.job, l.seq)
	}
	if !sameFile(l.lock, l.lock.Name()) {
		return fmt.Errorf("%w: the lock file %s was removed or replaced", ErrFenced, l.lock.Name())
	}
	data, err := encodeRecord(l.job, r)
	if err != nil {
		return err
	}
	if err := l.writeTemp(data); err != nil {
		return err
	}
	if err := fsys.Rename(l.temp, l.path); err != nil {
		return fmt.Errorf("cursor: save the checkpoint of job %q: %w", l.job, err)
	}
	l.seq = r.Seq
	if err := fsys.SyncDir(l.dir); err != nil {
		return l.fsyncFailed(err)
	}
	return nil
}

// writeTemp writes data to the temporary file, which it makes, and makes it durable.
// What stands there, from a save that failed or by anybody else's hand, is removed and
// not written to: it could be a link to some other file.
func (l *fileLease) writeTemp(data []byte) error {
	fail := func(err error) error {
		return fmt.Errorf("cursor: save the checkpoint of job %q: %w", l.job, err)
	}
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := fsys.OpenFile(l.temp, flags, ownerOnly)
	if errors.Is(err, fs.ErrExist) {
		if err := fsys.Remove(l.temp); err != nil {
			return fail(err)
		}
		f, err = fsys.OpenFile(l.temp, flags, ownerOnly)
	}
	if err != nil {
		return fail(err)
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		f.Close()
		return fail(err)
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return l.fsyncFailed(err)
	}
	if err := f.Close(); err != nil { // some file systems report a failed write only here
		return l.fsyncFailed(err)
	}
	return nil
}

func (l *fileLease) fsyncFailed(err error) error {
	l.broken = fmt.Errorf("%w: the checkpoint of job %q: %w; check the disk, then run again", ErrFsync, l.job, err)
	return l.broken
}

func (l *fileLease) usable() error {
	if l.lock == nil {
		return fmt.Errorf("the lease of job %q: %w", l.job, ErrClosed)
	}
	return l.broken
}

// Release implements [Lease]. The lock file stays where it is, and is emptied.
func (l *fileLease) Release(context.Context) error {
	if l.lock == nil {
		return nil
	}
	lock := l.lock
	l.lock = nil
	var err error
	if l.broken == nil { // nothing more is asked of a disk that fails
		err = lock.Truncate(0)
	}
	if err := errors.Join(err, lock.Close()); err != nil {
		return fmt.Errorf("cursor: free job %q: %w", l.job, err)
	}
	return nil
}
