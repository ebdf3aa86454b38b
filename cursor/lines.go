package cursor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"example.com/pipeline/seq"
)

// ErrInputChanged says that a file is not the one that a position was in, as far as that can
// be told: it is shorter, or no line begins there.
var ErrInputChanged = errors.New("cursor: the input was changed")

// A Line is a line of a file, together with its position.
type Line struct {
	Text   string // without its ending
	Offset int64  // in bytes, of where the next line begins: give it to Lines to go on behind this one
}

// Lines streams the lines of a file, each with the offset behind it as its position, so that
// a resumed run seeks to where it goes on, however long the file is. after is the position of
// the last line that is done, as [Checkpoint.Position] returns it; nil is the beginning.
//
//	lines := cursor.Lines(ctx, file, job.Position())
//	for l, err := range cursor.Track(ctx, lines, job, cursor.Every{}, func(l cursor.Line) int64 { return l.Offset }) {
//
// Lines end as those of seq.Lines do: in \n or \r\n, which Text is without. They may be of any
// length, each is in memory as a whole, and need not be valid UTF-8; the last one needs no ending.
// When reading fails in the middle of a line, the line is not yielded, since no run could go on
// behind a part of it.
//
// r is an [*os.File], or anything else that can seek; a pipe cannot. What is compressed cannot
// be read from the middle: decompress it first, or skip the lines of seq.Lines.
//
// The file must stay as it is up to the position; lines may be appended. Where it is shorter
// than after, or becomes shorter while it is read, or no line begins at after, the stream ends
// with [ErrInputChanged]. So it does when the last line had no ending and has gone on since: let
// the writer end its lines before they are read. A file that was replaced by one that has a line
// there is not noticed; [WithFingerprint] can tell, with the file's name and time say.
//
// ctx is looked at before each line. A read that is under way is waited for.
//
// Ends: at the end of r, at an error of r, or when ctx ends.
// Owns: nothing; it does not close r.
// Reads ahead: 64 KiB of r, no line.
// Reuse: any number of times, as r is seeked each time; one loop at a time.
func Lines(ctx context.Context, r io.ReadSeeker, after *int64) iter.Seq2[Line, error] {
	if r == nil {
		panic("cursor.Lines: r must not be nil")
	}
	var from int64
	if after != nil {
		from = *after
	}
	if from < 0 {
		panic(fmt.Sprintf("cursor.Lines: after must not be negative, got %d", from))
	}
	return func(yield func(Line, error) bool) {
		if err := streamLines(ctx, r, from, func(l Line) bool { return yield(l, nil) }); err != nil {
			if seq.IsItemError(err) {
				err = errors.Join(err) // an error of r is final whatever it is
			}
			yield(Line{}, err)
		}
	}
}

// streamLines hands the lines from an offset on to yield, until that returns false.
func streamLines(ctx context.Context, r io.ReadSeeker, at int64, yield func(Line) bool) error {
	if err := seq.ContextError(ctx); err != nil {
		return err
	}
	in, size, err := openLines(r, at)
	if err != nil {
		return err
	}
	for {
		if err := seq.ContextError(ctx); err != nil {
			return err
		}
		text, err := in.ReadString('\n')
		next := at + int64(len(text))
		switch {
		case err == io.EOF && next < size:
			return fmt.Errorf("%w: it ends after %d bytes, and it had %d when the loop began", ErrInputChanged, next, size)
		case err != nil && err != io.EOF:
			return fmt.Errorf("cursor: read the line at byte %d: %w", at, err)
		}
		at = next
		if text != "" && !yield(Line{strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r"), at}) || err == io.EOF {
			return nil
		}
	}
}

// openLines seeks r to where a line begins, and returns a reader from there on, and the file's
// size.
func openLines(r io.ReadSeeker, at int64) (*bufio.Reader, int64, error) {
	size, err := r.Seek(0, io.SeekEnd)
	if err == nil && at > size {
		return nil, 0, fmt.Errorf("%w: it has %d bytes, and the position is behind byte %d", ErrInputChanged, size, at)
	}
	if err == nil {
		_, err = r.Seek(max(at-1, 0), io.SeekStart)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("cursor: seek to the line at byte %d: %w", at, err)
	}
	in := bufio.NewReaderSize(r, 64<<10)
	if at == 0 {
		return in, size, nil
	}
	// The end of the line before: none only where it was the file's last one.
	last, err := in.ReadByte()
	if err == nil && last != '\n' {
		if _, err = in.Peek(1); err == nil {
			return nil, 0, fmt.Errorf("%w: no line begins at byte %d; the file was replaced, or its last line had no ending and has gone on since", ErrInputChanged, at)
		}
		if err == io.EOF {
			err = nil
		}
	}
	if err != nil {
		return nil, 0, fmt.Errorf("cursor: read what is before the line at byte %d: %w", at, err)
	}
	return in, size, nil
}
