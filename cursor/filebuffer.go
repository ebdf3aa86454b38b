package cursor

import (
	"bufio"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"unicode/utf8"
)

// bufferedSize is large enough that [bufio.NewWriterSize] up to this size makes no buffer of
// its own around that of Buffered.
const bufferedSize = 64 << 10

// Buffered returns a buffer over the File, always the same one, that the File itself flushes
// before each Mark. So everything that an item was written as is in the commit that covers
// the item, and there is nothing to remember:
//
//	rows := csv.NewWriter(file.Buffered())
//
// Give it to whatever buffers with a [bufio.Writer]: the writers of packages csv and xml, and
// bufio.NewWriter itself, take one that is there already in place of their own, up to a size
// of 64 KiB. It suits those that do not buffer, too, such as [fmt.Fprintf] and json.Encoder. A
// writer that keeps bytes in another way has to be flushed through [File.BeforeMark].
//
// An error of the File ends the commit, so a loop need not look at those of the buffer. What
// is written to the File itself comes behind what the buffer holds. Restore drops what the
// buffer holds, and Close writes it out, where no commit covers it. Writes to it after Close
// are errors.
//
// Unlike the File it is not safe for concurrent use: no commit may be made while another
// goroutine writes to it. Track makes none while the loop's body runs.
func (f *File) Buffered() *bufio.Writer {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.buffer == nil {
		f.buffer = bufio.NewWriterSize((*behind)(f), bufferedSize)
	}
	if f.f == nil {
		shut(f.buffer, f.dead)
	}
	return f.buffer
}

// BeforeMark calls flush before each Mark, for a writer that holds bytes and does not do so in
// [File.Buffered]: what it holds belongs to an item that counts as done, and has to be in the
// File then. [Track] marks after every item. The functions are called in the reverse of the
// order in which they were given, as deferred calls are, so that a writer is flushed into the
// one that it was put on; the buffer of Buffered comes last.
//
// An error of flush, and a panic, count as a write that failed: no commit covers the item,
// the last checkpoint stands, and later writes return the error.
//
// A run that is resumed cuts the File off at a Mark and goes on with writers of its own, so
// flush must leave nothing behind that only the same writer can go on with. Flush of a
// gzip.Writer would, in the midst of a member: end the member, and begin another one. Where
// that is all, [Gzip] and [Compress] do it better, with a member a commit in place of one an
// item.
//
//	file.BeforeMark(func() error {
//		err := zip.Close()
//		zip.Reset(file)
//		return err
//	})
//
// Close calls none of the functions, nor does Restore: what a writer holds of items that are
// not committed is the program's to drop, after a [Checkpoint.Reset] say.
func (f *File) BeforeMark(flush func() error) {
	if flush == nil {
		panic("cursor.BeforeMark: flush must not be nil")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = append(f.before, flush)
}

// flushAll brings all that others hold for f into f, without f's mutex: the functions are
// the user's, and write to f.
func (f *File) flushAll() {
	before, buffer := f.before, f.buffer
	if len(before) == 0 && buffer == nil || f.dead != nil || f.wrote != nil {
		return // there is nothing, or nothing can be written any more
	}
	f.unlocked(func() {
		if len(before) > 0 {
			f.flushBefore(before)
		}
		if buffer != nil {
			f.failed(buffer.Flush())
		}
	})
}

// flushBefore calls the functions given to BeforeMark, the last one first, up to one that
// fails. One that panics, or ends the goroutine, has failed, too.
func (f *File) flushBefore(before []func() error) {
	err := errors.New("a function given to BeforeMark did not return")
	defer func() { f.failed(err) }()
	for _, flush := range slices.Backward(before) {
		if e := flush(); e != nil {
			err = e
			return
		}
	}
	err = nil
}

// failed keeps the error of a flush, unless it stems from a write that failed before.
func (f *File) failed(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wrote == nil {
		f.wrote = fmt.Errorf("cursor: flush into output %s: %w", f.path, err)
	}
}

// behind is what a File is for its own buffer.
type behind File

func (b *behind) Write(p []byte) (int, error) {
	f := (*File)(b)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.put(p)
}

// shut makes every write to b return err.
func shut(b *bufio.Writer, err error) {
	b.Reset(failing{err})
	_ = b.WriteByte(0)
	_ = b.Flush() // the error stays
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// minOverflow is how much a [bufio.Writer] of the default size, which is the least that the
// standard library uses, writes at least when it is full.
const minOverflow = 4096 - utf8.UTFMax

// overflowing reports whether the write that its caller's caller was asked for is one that a
// bufio.Writer makes because it is full. Such a writer surely has bytes left:
//
//   - its Write and WriteString flush in a loop that ends with a rest, of a byte at least, which
//     they copy into the buffer, or write as it is where it is large; that is a write of its own,
//     in which Flush has no part;
//   - its WriteByte and WriteRune flush to make room for what they put into the buffer then.
//
// Its Flush called by anybody else leaves nothing, and after ReadFrom, which flushes before it
// knows whether there is more to read, nothing is known. A bufio.Writer on top of another one,
// and an [io.MultiWriter], which writes all that it is given, are looked through.
func overflowing() bool {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs[:])]) // without Callers, overflowing, put and Write
	flush := false
	for {
		frame, more := frames.Next()
		switch frame.Function {
		case "bufio.(*Writer).Flush":
			flush = true
		case "bufio.(*Writer).Write", "bufio.(*Writer).WriteString", "bufio.(*Writer).WriteByte", "bufio.(*Writer).WriteRune":
			if flush {
				return true
			}
		case "io.(*multiWriter).Write":
			flush = false
		default:
			return false
		}
		if !more {
			return false
		}
	}
}

// errUnflushed is what a Mark finds where the last write was an overflow.
func (f *File) errUnflushed() error {
	return fmt.Errorf("%w: output %s: a bufio.Writer, such as a csv.Writer has in it, was not flushed when an item was done; "+
		"have it write to File.Buffered; then start afresh, with Discard, since what was committed before may lack lines, too", ErrUnflushed, f.path)
}
