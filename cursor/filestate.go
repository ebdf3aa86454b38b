package cursor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"

	"example.com/pipeline/cursor/internal/fsys"
)

// A fileState is what a checkpoint knows of a File.
type fileState struct {
	Size     int64  `json:"size"`
	Sum      uint32 `json:"sum"`                // CRC-32C of the last 4096 bytes up to Size
	Compress string `json:"compress,omitempty"` // the type of the compressor
	Name     string `json:"name,omitempty"`     // of the file without its folder, where Size is 0 and there is nothing else to know it by
}

// emptyState is the state of the file before anything is committed to it.
func (f *File) emptyState() fileState { return fileState{Compress: f.zip, Name: filepath.Base(f.path)} }

// Restore implements [Participant]. With a state the file is cut off at the length that
// the state has; a file that is shorter, or whose last bytes before that are others, is
// [ErrOutputChanged]. Without one the file is emptied. In [Open], which ctx tells, that is
// done only to what the job itself has written before its first commit, and with
// [Discard]; otherwise a file that is not empty is ErrOutputChanged.
//
// What was written before the first Restore is an error in Open, since it would be dropped.
// After an error the file is not touched any more, until a Restore succeeds.
func (f *File) Restore(ctx context.Context, state json.RawMessage) error {
	open, _ := ctx.Value(restoringKey{}).(*restoring)
	f.mu.Lock()
	defer f.mu.Unlock()
	early := open != nil && !f.restored && f.pending()
	f.ready = false
	f.out, f.tail = f.out[:0], f.tail[:0]
	f.member, f.spilled, f.held = false, false, false
	f.lastSync = nil
	if f.buffer != nil {
		f.buffer.Reset((*behind)(f))
	}
	var size int64
	var err error
	if early {
		err = fmt.Errorf("cursor: output %s was written to before its job was opened, which cuts off what no record has; write to it after Open", f.path)
	} else {
		size, err = f.restore(open, state)
	}
	if f.refused = err; err != nil {
		return err
	}
	if f.owner != nil {
		f.job = f.owner.job
	}
	if open != nil {
		open.output = true
	}
	f.ready, f.restored = true, true
	f.size, f.mark = size, size
	f.wrote, f.lost = nil, false
	return nil
}

// pending reports whether anything was written that is not in the file yet.
func (f *File) pending() bool {
	return len(f.out) > 0 || len(f.tail) > 0 || f.buffer != nil && f.buffer.Buffered() > 0
}

// restore checks the file and cuts it off, at the size that it returns.
func (f *File) restore(open *restoring, state json.RawMessage) (size int64, err error) {
	if err := f.lock(); err != nil {
		return 0, err
	}
	var s fileState
	if state != nil {
		dec := json.NewDecoder(bytes.NewReader(state))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&s); err != nil || s.Size < 0 {
			return 0, fmt.Errorf("%w: output %s: its state is %s", ErrCorrupt, f.path, state)
		}
		if s.Compress != f.zip && s.Size > 0 {
			return 0, fmt.Errorf("%w: output %s was begun with the compressor %q, now it is %q (nothing is none)", ErrMismatch, f.path, s.Compress, f.zip)
		}
	}
	foreign := s.Name != "" && s.Name != filepath.Base(f.path)
	if open != nil && state == nil {
		foreign = !open.known
	}
	if open != nil && open.afresh {
		foreign = false
	}
	if err := f.check(s, foreign); err != nil {
		return 0, err
	}
	if err := f.f.Truncate(s.Size); err != nil {
		return 0, fmt.Errorf("cursor: output %s: %w", f.path, err)
	}
	return s.Size, nil
}

// begun implements exclusive.
func (f *File) begun() json.RawMessage {
	f.mu.Lock()
	defer f.mu.Unlock()
	state, err := json.Marshal(f.emptyState())
	if err != nil {
		panic(err) // it holds no more than a number, a truth and a text
	}
	return state
}

// unchanged says so where the file is not the one that is written, or not as long as what was
// written to it.
func (f *File) unchanged() error {
	if !sameFile(f.f, f.path) {
		return fmt.Errorf("%w: output %s was removed or replaced while it was written; put it back, or start afresh", ErrOutputChanged, f.path)
	}
	return f.intact()
}

// intact says so where the file is not as long as what was written to it.
func (f *File) intact() error {
	info, err := f.f.Stat()
	if err != nil {
		return fmt.Errorf("cursor: output %s: %w", f.path, err)
	}
	if info.Size() != f.size {
		return fmt.Errorf("%w: output %s has %d bytes, and %d were written: somebody else truncates it or writes to it; put it back, or start afresh",
			ErrOutputChanged, f.path, info.Size(), f.size)
	}
	return nil
}

// acquire attaches f to c, or says why that cannot be.
func (f *File) acquire(c *checkpoint) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.owner == c:
		panic(fmt.Sprintf("cursor.Open: a File must be attached once, got that of %s twice for job %q", f.path, c.job))
	case f.owner != nil:
		return fmt.Errorf("output %s is attached to the open checkpoint of job %q; open a File for each job, with a path of its own", f.path, f.owner.job)
	case f.job != "" && f.job != c.job:
		return fmt.Errorf("output %s is that of job %q; open a File for each job, with a path of its own", f.path, f.job)
	}
	if err := f.lock(); err != nil {
		return err
	}
	f.owner = c
	return nil
}

// TryLock takes the lock that [Open] takes, without waiting: for a program that looks at what
// is in the file before it opens the job. Where another run has it, its error Is [ErrLocked].
// Close gives it back.
func (f *File) TryLock() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lock()
}

// release says that c is closed, or could not be opened.
func (f *File) release(c *checkpoint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.owner == c {
		f.owner = nil
	}
}

// lock locks the output, once.
func (f *File) lock() error {
	if f.dead != nil || f.locked {
		return f.dead
	}
	if err := f.f.TryLock(); err != nil {
		if errors.Is(err, fsys.ErrLocked) {
			return &LockedError{Output: f.path, Holder: "another run"}
		}
		return fmt.Errorf("cursor: output %s: %w", f.path, err)
	}
	f.locked = true
	return nil
}

// check says how the file differs from s. A foreign file may not be emptied.
func (f *File) check(s fileState, foreign bool) error {
	changed := func(format string, args ...any) error {
		return fmt.Errorf("%w: output %s: %s; put the file back, or start afresh", ErrOutputChanged, f.path, fmt.Sprintf(format, args...))
	}
	if !sameFile(f.f, f.path) {
		return changed("it was removed or replaced since it was opened")
	}
	info, err := f.f.Stat()
	if err != nil {
		return fmt.Errorf("cursor: output %s: %w", f.path, err)
	}
	switch {
	case s.Size == 0 && info.Size() > 0 && foreign:
		return fmt.Errorf("%w: output %s: it has %d bytes, and no checkpoint says that they are this job's; move it away, or start afresh over it, with Discard",
			ErrOutputChanged, f.path, info.Size())
	case info.Size() < s.Size:
		return changed("it has %d bytes, the checkpoint says %d", info.Size(), s.Size)
	}
	sum, err := f.sum(s.Size)
	if err != nil {
		return fmt.Errorf("cursor: output %s: %w", f.path, err)
	}
	if s.Size > 0 && sum != s.Sum {
		return changed("the bytes before offset %d are not those that were written", s.Size)
	}
	return nil
}

// sum returns the checksum of the last bytes before size.
func (f *File) sum(size int64) (uint32, error) {
	data := make([]byte, min(size, sumLen))
	if _, err := f.f.ReadAt(data, size-int64(len(data))); err != nil && len(data) > 0 {
		return 0, err
	}
	return crc32.Checksum(data, castagnoli), nil
}
