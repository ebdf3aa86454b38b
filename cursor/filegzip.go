package cursor

import "compress/gzip"

// Gzip compresses the file, in one gzip member a commit, so that the file is whole
// when it is cut off at a commit. Programs that read gzip read the members as one
// file. Commits that are too frequent cost compression: a member has 20 bytes of
// its own and begins with an empty window.
func Gzip() FileOption { return func(f *File) { f.zip = true } }

// gather is where a File's gzip writer writes: it cannot fail, so that a full
// disk leaves the compressor as it should be.
type gather File

func (g *gather) Write(p []byte) (int, error) {
	g.out = append(g.out, p...)
	return len(p), nil
}

// compress puts p into the open member, or a new one.
func (f *File) compress(p []byte) {
	if len(p) == 0 {
		return // and begin no member that could stay empty
	}
	f.beginMember()
	if _, err := f.zw.Write(p); err != nil {
		panic(err) // gather returns none
	}
}

// beginMember begins a member where none is open.
func (f *File) beginMember() {
	switch {
	case f.member:
	case f.zw == nil:
		f.zw = gzip.NewWriter((*gather)(f))
	default:
		f.zw.Reset((*gather)(f))
	}
	f.member = true
}

// endMember ends the open member, if there is one.
func (f *File) endMember() {
	if !f.member {
		return
	}
	if err := f.zw.Close(); err != nil {
		panic(err) // gather returns none
	}
	f.member = false
}
