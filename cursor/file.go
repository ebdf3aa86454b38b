package cursor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"example.com/pipeline/cursor/internal/fsys"
)

// A File is an output file that takes part in a checkpoint: each commit saves how
// long the file is, and a resumed run cuts off what came after the last commit. So
// every item's bytes are in the finished file exactly once, however often the run
// was killed.
//
// Attach it to the checkpoint, then write to it what the items become; writes
// are buffered. Whatever has a buffer of its own, such as a csv.Writer, must write to
// [File.Buffered], as in csv.NewWriter(file.Buffered()): a row that another buffer still
// holds when its item is done is in no commit, and lost.
//
// Uncompressed, the finished file is byte for byte that of an
// undisturbed run. With [Gzip] or [Compress] its uncompressed content is, and its bytes are, too,
// where commits happen at the same items: that is, by number ([Every].Items) and
// without an early end.
//
// From Open, or the first Write, to Close the File holds a lock on the output,
// so that two runs cannot mix their lines in it ([ErrLocked]).
//
// What no checkpoint vouches for is never cut off or written over. A file that is not
// empty is refused where the job has no record ([ErrOutputChanged]): move it away, or
// open the job with [Discard]. Between a job's first Open and its first commit the file is known by its
// name alone. A file that was refused, for whatever reason, is not
// touched any more, not at Close either. One that somebody truncates, appends to,
// replaces or removes while it is written is [ErrOutputChanged] at the next commit at the
// latest; nothing is committed from then on.
//
// A write that failed, on a full disk say, counts: every later write returns its
// error, and so does a commit that would cover the item it was for. The items
// before it can be committed. A failed fsync ends all ([ErrFsync]). Where a write shows that
// a bufio.Writer, of a csv.Writer say, holds bytes of an item that counts as done, the commit
// is [ErrUnflushed]; that shows only once such a buffer has been full.
//
// A File belongs to one job. A second one would cut it to what its own record says,
// and what the first has committed would be lost: [Open] refuses a File that is
// attached to an open checkpoint, or was to one of another job. The same job may be
// opened with it again once its checkpoint is closed, as long as the File is open.
//
// A File is safe for concurrent use.
type File struct {
	path string
	dir  string // that has the file's name; the path may be a link to it
	zip  string // the type of the compressor; "" without one

	mu       sync.Mutex
	owner    *checkpoint // open, that it is attached to; nil if none
	job      string      // that it was restored for; "" if none
	f        *fsys.File
	locked   bool
	ready    bool   // restored, or found empty and begun
	restored bool   // at some time
	refused  error  // why the last Restore failed
	synced   bool   // the folder knows the file
	out      []byte // for the file at size: not yet written
	size     int64  // of the file, as we have written it
	mark     int64  // the file's length at the last Mark; compressed, at the end of a member

	// Compressed: what was written since the last Mark stays in tail, so that a member
	// can end at the Mark. A tail that grows too long is let go into a member of its
	// own (spilled), which the next Mark makes part of what is consumed.
	zw      Compressor
	member  bool // zw has a member open
	tail    []byte
	spilled bool

	buffer *bufio.Writer  // of Buffered; nil until it is asked for
	before []func() error // of BeforeMark
	held   bool           // the last write was one of a bufio.Writer that has bytes left

	wrote    error // the first failed write
	lost     bool  // a Mark came after it
	dead     error // ErrFsync, ErrClosed
	lastSync json.RawMessage
}

const (
	fileBuffer = 256 << 10 // bytes gathered for one write
	maxTail    = 1 << 20   // bytes of one item kept back for a compressor
	sumLen     = 4096      // bytes before the end that a checkpoint has a checksum of
)

// A FileOption changes how [OpenFile] writes.
type FileOption func(*File)

// OpenFile opens the output at path for reading and writing and makes it where it
// is missing, with the rights that the umask leaves of 0666; its folder must be there. It
// changes nothing in a file that is there: that is for Restore, which [Open] calls for
// what is attached. The caller closes the File, after the checkpoint.
func OpenFile(path string, opts ...FileOption) (*File, error) {
	abs, err := filepath.Abs(path) // a later chdir must not lead elsewhere
	if err != nil {
		return nil, fmt.Errorf("cursor: output %s: %w", path, err)
	}
	if info, err := os.Stat(abs); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("cursor: output %s: it is no regular file, so it cannot be cut off where a checkpoint ends", path)
	}
	f, err := fsys.OpenFile(abs, os.O_RDWR|os.O_CREATE|fsys.AtEnd, 0o666)
	if err != nil {
		return nil, fmt.Errorf("cursor: output %s: %w", path, err)
	}
	target, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cursor: output %s: %w", path, err), f.Close())
	}
	file := &File{path: abs, dir: filepath.Dir(target), f: f}
	for _, opt := range opts {
		opt(file)
	}
	return file, nil
}

// Mark implements [Participant]. Before it marks, it calls what [File.BeforeMark] was given,
// and flushes the buffer of [File.Buffered].
func (f *File) Mark() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flushAll()
	if f.wrote == nil && f.held {
		f.wrote = f.errUnflushed()
	}
	if f.wrote != nil {
		f.lost = true
		return
	}
	switch {
	case f.zip == "":
		f.mark = f.end()
	case f.spilled:
		f.spilled = false
	default:
		if err := f.compress(f.tail); err != nil {
			f.wrote, f.lost = fmt.Errorf("cursor: write output %s: %w", f.path, err), true
		}
		f.tail = f.tail[:0]
	}
}

// Sync implements [Participant]: it writes what was marked, fsyncs the file, the
// first time also its folder, and describes the file up to the mark.
func (f *File) Sync(context.Context) (json.RawMessage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.dead != nil:
		return nil, f.dead
	case f.lost && errors.Is(f.wrote, ErrUnflushed):
		return nil, f.wrote
	case f.lost:
		return nil, fmt.Errorf("an item counts as done whose write failed: %w", f.wrote)
	}
	if err := f.begin(); err != nil {
		return nil, err
	}
	if err := f.unchanged(); err != nil {
		return nil, err
	}
	if f.lastSync != nil {
		return f.lastSync, nil
	}
	if f.zip != "" && !f.spilled {
		if err := f.endMember(); err != nil {
			f.wrote, f.lost = fmt.Errorf("cursor: write output %s: %w", f.path, err), true
			return nil, f.wrote
		}
		f.mark = f.end()
	}
	if err := f.flush(f.mark); err != nil {
		return nil, fmt.Errorf("cursor: write output %s: %w", f.path, err)
	}
	if err := f.intact(); err != nil {
		return nil, err
	}
	if err := f.fsync(); err != nil {
		return nil, err
	}
	sum, err := f.sum(f.mark)
	if err != nil {
		return nil, fmt.Errorf("cursor: read back output %s: %w", f.path, err)
	}
	s := fileState{Size: f.mark, Sum: sum, Compress: f.zip}
	if f.mark == 0 {
		s = f.emptyState()
	}
	state, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	if f.mark == f.end() && len(f.tail) == 0 {
		f.lastSync = state
	}
	return state, nil
}

// fsync makes the file durable. It is never tried again after it failed: the
// kernel may have dropped the data and would then report success.
func (f *File) fsync() error {
	err := f.f.Sync()
	if err == nil && !f.synced {
		err = fsys.SyncDir(f.dir)
	}
	if err != nil {
		f.dead = fmt.Errorf("%w: output %s: %w; check the disk, then run again", ErrFsync, f.path, err)
		return f.dead
	}
	f.synced = true
	return nil
}

// Close writes out what was written so far, also what no commit covers, and closes
// the file. It commits nothing and does not fsync: a resumed run cuts off what
// follows the last commit. A compressed file without any content becomes a valid empty
// one. A file that was refused, or that others have changed, is left as it is.
// Further calls do nothing.
func (f *File) Close() error {
	f.mu.Lock()
	closed, buffer := f.f == nil, f.buffer
	f.mu.Unlock()
	if closed {
		return nil
	}
	var err error
	if buffer != nil {
		err = buffer.Flush()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil {
		return nil
	}
	if f.dead == nil && f.ready && f.unfinished() {
		if changed := f.unchanged(); changed != nil {
			err = errors.Join(err, changed)
		} else {
			err = errors.Join(err, f.finish())
		}
	}
	err = errors.Join(err, f.f.Close())
	f.f = nil
	f.dead = fmt.Errorf("output %s: %w", f.path, ErrClosed)
	if f.buffer != nil {
		shut(f.buffer, f.dead)
	}
	if err != nil {
		return fmt.Errorf("cursor: close output %s: %w", f.path, err)
	}
	return nil
}

// unfinished reports whether anything is left for finish to do.
func (f *File) unfinished() bool {
	return len(f.out) > 0 || len(f.tail) > 0 || f.member || f.zip != "" && f.size == 0
}

// finish hands all that is left to the file.
func (f *File) finish() error {
	if f.zip != "" {
		err := f.compress(f.tail)
		if err == nil {
			err = f.endMember()
		}
		if err != nil {
			return err
		}
		f.tail = nil
	}
	return f.flush(f.end())
}

var (
	_ Participant    = (*File)(nil)
	_ exclusive      = (*File)(nil)
	_ io.WriteCloser = (*File)(nil)
)
