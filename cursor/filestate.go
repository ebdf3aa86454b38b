package cursor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"example.com/pipeline/cursor/internal/fsys"
)

// A fileState is what a checkpoint knows of a File.
type fileState struct {
	Size int64  `json:"size"`
	Sum  uint32 `json:"sum"` // CRC-32C of the last 4096 bytes up to Size
	Gzip bool   `json:"gzip,omitempty"`
}

// Restore implements [Participant]. Without a state the file is emptied. With one it
// is cut off at the length that the state has; a file that is shorter, or whose last
// bytes before that are others, is [ErrOutputChanged].
func (f *File) Restore(_ context.Context, state json.RawMessage) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.lock(); err != nil {
		return err
	}
	var s fileState
	if state != nil {
		dec := json.NewDecoder(bytes.NewReader(state))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&s); err != nil || s.Size < 0 {
			return fmt.Errorf("%w: output %s: its state is %s", ErrCorrupt, f.path, state)
		}
		if s.Gzip != f.zip && s.Size > 0 {
			return fmt.Errorf("%w: output %s was begun with gzip %t, now it is %t", ErrMismatch, f.path, s.Gzip, f.zip)
		}
	}
	if err := f.check(s); err != nil {
		return err
	}
	if f.owner != nil {
		f.job = f.owner.job
	}
	if err := f.f.Truncate(s.Size); err != nil {
		return fmt.Errorf("cursor: output %s: %w", f.path, err)
	}
	f.size, f.mark = s.Size, s.Size
	f.out, f.tail = f.out[:0], f.tail[:0]
	f.member, f.spilled = false, false
	f.wrote, f.lost = nil, false
	f.lastSync = nil
	return nil
}

// takenBy attaches f to c, or says why that cannot be.
func (f *File) takenBy(c *checkpoint) error {
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
	f.owner = c
	return nil
}

// letGoBy says that c is closed, or could not be opened.
func (f *File) letGoBy(c *checkpoint) {
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
			return fmt.Errorf("%w: output %s is being written by another run; wait until it ends, or write to another file", ErrLocked, f.path)
		}
		return fmt.Errorf("cursor: output %s: %w", f.path, err)
	}
	f.locked = true
	return nil
}

// check says how the file differs from s.
func (f *File) check(s fileState) error {
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
	if info.Size() < s.Size {
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
