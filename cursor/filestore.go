package cursor

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"example.com/pipeline/cursor/internal/fsys"
)

// A FileStore keeps each job's record in a file of one folder. A save is
// durable when it returns, and a crash at any moment leaves either the record
// before it or the one after.
//
// The lock on a job is the operating system's (flock): it goes when the process
// ends, however it ends, so a job never has to be freed by hand. The folder must
// be on a file system where flock works between all the runners; on a network
// file system, or from several machines, use package sqlstore.
//
// A FileStore is safe for concurrent use.
type FileStore struct{ dir string }

// NewFileStore returns a store in the folder dir, which it makes where it is
// missing.
func NewFileStore(dir string) (*FileStore, error) {
	if dir == "" {
		return nil, errors.New("cursor: the folder of a FileStore must not be empty")
	}
	abs, err := filepath.Abs(dir) // a later chdir must not move the store
	if err != nil {
		return nil, fmt.Errorf("cursor: the folder of the checkpoints: %w", err)
	}
	if err := fsys.MkdirAll(abs, 0o777); err != nil {
		return nil, fmt.Errorf("cursor: the folder of the checkpoints: %w", err)
	}
	return &FileStore{abs}, nil
}

// fileName turns a job's name into one that every file system takes and keeps
// apart from all others: lower-case letters, digits, - and _ stand for
// themselves, any other byte is written as %xx. So no two jobs share a file where
// case is ignored, nor where Unicode is normalized, and none leaves the folder. A
// name too long for a file is cut and told apart by its SHA-256; the file says
// inside which job it is of.
func fileName(job string) string {
	const limit = 200 // of the 255 bytes there are, for the suffixes' sake
	name := make([]byte, 0, len(job))
	for _, c := range []byte(job) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			name = append(name, c)
		} else {
			name = fmt.Appendf(name, "%%%02x", c)
		}
	}
	if len(name) > limit {
		sum := sha256.Sum256([]byte(job))
		name = fmt.Appendf(name[:limit-2*len(sum)-1], "~%x", sum)
	}
	return string(name)
}

// Acquire implements [Store]. It takes the lock, says in the lock file who has
// it, and clears away what a save that was cut short has left.
func (s *FileStore) Acquire(ctx context.Context, job string) (Lease, error) {
	if err := CheckJob(job); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	base := filepath.Join(s.dir, fileName(job))
	l := &fileLease{job: job, dir: s.dir, path: base + ".checkpoint", temp: base + ".tmp"}
	lock, err := lockFile(base+".lock", job)
	if err != nil {
		return nil, err
	}
	l.lock = lock
	if err := fsys.Remove(l.temp); err != nil {
		return nil, errors.Join(fmt.Errorf("cursor: clear the checkpoint's folder: %w", err), lock.Close())
	}
	return l, nil
}

// A holder is what the lock file says of the runner that has the lock. It is for
// people: the lock itself is the operating system's.
type holder struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

// lockFile locks the file at path, which is never renamed and never removed:
// otherwise two runners could each lock a file of that name. Somebody else may
// have removed it between our opening and locking it; then it is done again.
func lockFile(path, job string) (*fsys.File, error) {
	for {
		f, err := fsys.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, fmt.Errorf("cursor: the lock of job %q: %w", job, err)
		}
		if err := f.TryLock(); err != nil {
			if errors.Is(err, fsys.ErrLocked) {
				err = &LockedError{Job: job, Holder: readHolder(f)}
			} else {
				err = fmt.Errorf("cursor: the lock of job %q: %w", job, err)
			}
			f.Close()
			return nil, err
		}
		if !sameFile(f, path) {
			f.Close()
			continue
		}
		if err := writeHolder(f); err != nil {
			f.Close()
			return nil, fmt.Errorf("cursor: the lock of job %q: %w", job, err)
		}
		return f, nil
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
	l.seq, l.loaded = 0, true
	data, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, nil
	}
	if err != nil {
		l.loaded = false
		return Record{}, fmt.Errorf("cursor: read the checkpoint of job %q: %w", l.job, err)
	}
	r, err := decodeRecord(l.job, data)
	if err != nil {
		return Record{}, fmt.Errorf("%w (file %s, job %q)", err, l.path, l.job)
	}
	l.seq = r.Seq
	return r, nil
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

// writeTemp writes data to the temporary file and makes it durable.
func (l *fileLease) writeTemp(data []byte) error {
	fail := func(err error) error {
		return fmt.Errorf("cursor: save the checkpoint of job %q: %w", l.job, err)
	}
	f, err := fsys.OpenFile(l.temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
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

// Release implements [Lease]. The lock file stays where it is.
func (l *fileLease) Release(context.Context) error {
	if l.lock == nil {
		return nil
	}
	lock := l.lock
	l.lock = nil
	if err := lock.Close(); err != nil {
		return fmt.Errorf("cursor: free job %q: %w", l.job, err)
	}
	return nil
}
