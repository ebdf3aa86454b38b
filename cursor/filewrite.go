package cursor

import (
	"errors"
	"fmt"
)

// Write implements [io.Writer]. What it is given belongs to the item in hand until
// Mark is called. A File that was not restored is written from its beginning, and
// only if it is empty.
//
// Whatever has a buffer of its own, a csv.Writer or a bufio.Writer say, is to write to
// [File.Buffered] instead, which is flushed with each item.
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.buffer != nil {
		f.unlocked(func() {
			if f.buffer.Buffered() > 0 {
				_ = f.buffer.Flush() // its error is that of the File, which comes next
			}
		})
	}
	return f.put(p)
}

// unlocked calls fn, which may write to f, without f's mutex, which the caller has.
func (f *File) unlocked(fn func()) {
	f.mu.Unlock()
	defer f.mu.Lock()
	fn()
}

// put takes what is written to f. The caller has the mutex, as it has in all that follows.
func (f *File) put(p []byte) (int, error) {
	f.held = false
	if err := f.writable(); err != nil {
		return 0, err
	}
	if err := f.write(p); err != nil {
		f.wrote = fmt.Errorf("cursor: write output %s: %w", f.path, err)
		return 0, f.wrote
	}
	f.lastSync = nil
	f.held = len(p) >= minOverflow && overflowing()
	return len(p), nil
}

func (f *File) writable() error {
	if f.dead != nil || f.wrote != nil {
		return errors.Join(f.dead, f.wrote)
	}
	return f.begin()
}

// begin makes sure that f was restored, or is empty and nobody else's.
func (f *File) begin() error {
	if f.ready {
		return nil
	}
	if f.refused != nil {
		return f.refused
	}
	if err := f.lock(); err != nil {
		return err
	}
	if info, err := f.f.Stat(); err != nil || info.Size() > 0 {
		return errors.Join(fmt.Errorf("cursor: write output %s: it is not empty; attach it to a checkpoint first, or remove it", f.path), err)
	}
	f.ready = true
	return nil
}

func (f *File) write(p []byte) error {
	switch {
	case f.zip == "" && len(p) >= fileBuffer:
		return f.writeLarge(p)
	case f.zip == "":
		f.out = append(f.out, p...)
	case f.spilled:
		if err := f.compress(p); err != nil {
			return err
		}
	case len(f.tail)+len(p) <= maxTail:
		f.tail = append(f.tail, p...)
		return nil
	default:
		if err := f.spill(p); err != nil {
			return err
		}
	}
	if len(f.out) < fileBuffer {
		return nil
	}
	return f.flush(f.end())
}

// writeLarge writes p behind what was gathered, without a copy of it.
func (f *File) writeLarge(p []byte) error {
	if err := f.flush(f.end()); err != nil {
		return err
	}
	return f.append(p)
}

// append writes p at the end of the file, whatever the file's length has become: a file
// that somebody has truncated must not get a hole that hides it.
func (f *File) append(p []byte) error {
	if err := f.intact(); err != nil {
		return err
	}
	n, err := f.f.Append(p, f.size)
	f.size += int64(n)
	return err
}

// end returns the file's length when all that was gathered is written.
func (f *File) end() int64 { return f.size + int64(len(f.out)) }

// flush writes out what was gathered, up to the offset to. What a failed write
// leaves unwritten stays for the next flush.
func (f *File) flush(to int64) error {
	if to <= f.size {
		return nil
	}
	before := f.size
	err := f.append(f.out[:to-f.size])
	f.out = f.out[:copy(f.out, f.out[f.size-before:])]
	return err
}
