package cursor

import (
	"compress/gzip"
	"fmt"
	"io"
)

// A Compressor compresses what is written to it into members that can stand one behind
// the other, as those of gzip and the frames of zstd do. *gzip.Writer is one, and so are
// the writers of most packages that compress.
type Compressor interface {
	io.WriteCloser     // Close ends the member
	Reset(w io.Writer) // begins another one, written to w
}

// Gzip compresses the file with gzip. It is [Compress] with [gzip.NewWriter].
func Gzip() FileOption {
	return Compress(func(w io.Writer) Compressor { return gzip.NewWriter(w) })
}

// Compress compresses the file, in one member a commit, so that the file is whole when it
// is cut off at a commit. Programs that read the format read the members as one file.
// Commits that are too frequent cost compression: a member of gzip has 20 bytes of its own
// and begins with an empty window.
//
// compressor is called once, by [OpenFile]. What it returns must write to w within its own
// methods only, never from a goroutine of its own, and must make a member also where
// nothing was written between Reset and Close, if no bytes at all would be no valid file.
// Its type is saved with the file's length: a run with another one is [ErrMismatch]. An
// error of it counts as a write that failed.
func Compress(compressor func(w io.Writer) Compressor) FileOption {
	if compressor == nil {
		panic("cursor.Compress: compressor must not be nil")
	}
	return func(f *File) {
		f.zw = compressor(io.Discard) // each member is begun with Reset
		f.zip = fmt.Sprintf("%T", f.zw)
	}
}

// gather is where a File's compressor writes: it cannot fail, so that a full disk leaves
// the compressor as it should be.
type gather File

func (g *gather) Write(p []byte) (int, error) {
	g.out = append(g.out, p...)
	return len(p), nil
}

// compress puts p into the open member, or a new one.
func (f *File) compress(p []byte) error {
	if len(p) == 0 {
		return nil // and begin no member that could stay empty
	}
	f.beginMember()
	_, err := f.zw.Write(p)
	return err
}

// beginMember begins a member where none is open.
func (f *File) beginMember() {
	if !f.member {
		f.zw.Reset((*gather)(f))
		f.member = true
	}
}

// endMember ends the open member, if there is one. Of a file without any there must be one,
// since no bytes at all would be no file of the format.
func (f *File) endMember() error {
	if f.end() == 0 {
		f.beginMember()
	}
	if !f.member {
		return nil
	}
	f.member = false
	return f.zw.Close()
}

// spill lets a tail that has grown too long go, and p with it.
func (f *File) spill(p []byte) error {
	if f.member { // of the items before
		if err := f.endMember(); err != nil {
			return err
		}
	}
	f.mark = f.end()
	err := f.compress(f.tail)
	if err == nil {
		err = f.compress(p)
	}
	f.tail, f.spilled = nil, true
	return err
}
