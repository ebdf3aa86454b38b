package cursor

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"example.com/pipeline/cursor/internal/fsys"
	"example.com/pipeline/seq"
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
// The files can be read and written by their owner alone (mode 0600), since a position
// may be as confidential as the rows. All the runners of a job must be the same user's.
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

// How the names of a job's files end.
const (
	recordEnd = ".checkpoint"
	lockEnd   = ".lock"
)

// ownerOnly is the mode of the files of a store.
const ownerOnly = 0o600

// fileName turns a job's name into one that every file system takes and keeps
// apart from all others: lower-case letters, digits, - and _ stand for
// themselves, any other byte is written as %xx. So no two jobs share a file where
// case is ignored, nor where Unicode is normalized, and none leaves the folder. The
// first letter of a name that is a device on Windows is written as %xx, too. A
// name too long for a file is cut and told apart by its SHA-256; the file says
// inside which job it is of.
func fileName(job string) string {
	const limit = 200 // of the 255 bytes there are, for the suffixes' sake
	name := make([]byte, 0, len(job))
	for i, c := range []byte(job) {
		plain := c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
		if plain && !(i == 0 && isDevice(job)) {
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

// isDevice reports whether Windows takes a file of this name, whatever its ending, for a
// device. Names of devices that have other characters are written with %xx anyway.
func isDevice(name string) bool {
	switch name {
	case "con", "prn", "aux", "nul":
		return true
	}
	port, ok := strings.CutPrefix(name, "com")
	if !ok {
		port, ok = strings.CutPrefix(name, "lpt")
	}
	return ok && len(port) == 1 && port[0] >= '0' && port[0] <= '9'
}

// jobOf is the inverse of fileName. It reads the name of a job whose file name was cut
// from the record at path. It returns "" for a file that is no job's.
func jobOf(name, path string) (string, error) {
	if strings.Contains(name, "~") {
		data, err := readRegular(path)
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil // it has just been removed
		}
		if err != nil {
			return "", fmt.Errorf("cursor: find out which job it is of: %w", err)
		}
		_, body, err := decodeBody(data)
		if err == nil && fileName(body.Job) != name {
			err = fmt.Errorf("%w: it is of job %q", ErrCorrupt, body.Job)
		}
		if err != nil {
			return "", fmt.Errorf("%w (file %s)", err, path)
		}
		return body.Job, nil
	}
	var job []byte
	for rest := name; rest != ""; {
		c := rest[0]
		rest = rest[1:]
		if c == '%' && len(rest) >= 2 {
			n, err := strconv.ParseUint(rest[:2], 16, 8)
			if err != nil {
				return "", nil
			}
			c, rest = byte(n), rest[2:]
		}
		job = append(job, c)
	}
	if fileName(string(job)) != name || CheckJob(string(job)) != nil {
		return "", nil
	}
	return string(job), nil
}

// Acquire implements [Store]. It takes the lock, says in the lock file who has
// it, and clears away what a save that was cut short has left. It waits for no other runner;
// for one that is in [FileStore.Holder] just then it waits for up to 100 ms.
func (s *FileStore) Acquire(ctx context.Context, job string) (Lease, error) {
	if err := CheckJob(job); err != nil {
		return nil, err
	}
	if err := seq.ContextError(ctx); err != nil {
		return nil, err
	}
	base := filepath.Join(s.dir, fileName(job))
	l := &fileLease{job: job, dir: s.dir, path: base + recordEnd, temp: base + ".tmp"}
	lock, err := lockFile(ctx, base+lockEnd, job)
	if err != nil {
		return nil, err
	}
	l.lock = lock
	if err := fsys.Remove(l.temp); err != nil {
		return nil, errors.Join(fmt.Errorf("cursor: clear the checkpoint's folder: %w", err), lock.Close())
	}
	return l, nil
}

// Inspect implements [Inspector].
func (s *FileStore) Inspect(ctx context.Context, job string) (Record, error) {
	if err := seq.ContextError(ctx); err != nil {
		return Record{}, err
	}
	return readRecord(job, filepath.Join(s.dir, fileName(job)+recordEnd))
}

// Jobs implements [Inspector].
func (s *FileStore) Jobs(ctx context.Context) ([]string, error) {
	if err := seq.ContextError(ctx); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("cursor: list the jobs: %w", err)
	}
	var jobs []string
	var errs []error
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), recordEnd)
		if !ok {
			continue
		}
		job, err := jobOf(name, filepath.Join(s.dir, e.Name()))
		if err != nil {
			errs = append(errs, err)
		} else if job != "" {
			jobs = append(jobs, job)
		}
	}
	return jobs, errors.Join(errs...)
}

// Holder implements [Inspector]. It takes a shared lock on the job's lock file for the moment
// that it needs to find out. It keeps nobody from acquiring the job, nor from looking, too.
func (s *FileStore) Holder(ctx context.Context, job string) (*LockedError, error) {
	if err := seq.ContextError(ctx); err != nil {
		return nil, err
	}
	held, err := heldBy(filepath.Join(s.dir, fileName(job)+lockEnd), job)
	if err != nil {
		return nil, fmt.Errorf("cursor: the lock of job %q: %w", job, err)
	}
	return held, nil
}

var _ Inspector = (*FileStore)(nil)
