package riverjob

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/internal/fsys"
)

// A Sink is where parts are written: a folder, a bucket. What is in it is in objects,
// each written once, by one worker, under a name that no other writer ever has. Which
// objects a part consists of, and how many bytes of each count, stands in the range's
// checkpoint, and only who holds the range can change that. So a Sink needs no locks,
// no renaming and no overwriting, and nobody can damage what another worker writes.
//
// A Sink is safe for concurrent use. [OpenFolder] returns one.
type Sink interface {
	// Create begins an object. A name is given once; where there is such an object all
	// the same it is an error.
	Create(ctx context.Context, name string) (Object, error)

	// Open reads an object from its beginning.
	Open(ctx context.Context, name string) (io.ReadCloser, error)

	// Remove removes an object. One that is not there is no error.
	Remove(ctx context.Context, name string) error

	// List streams the names that begin with prefix, in any order.
	List(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// An Object is being written.
type Object interface {
	io.Writer

	// Sync makes durable, and readable for others, what was written, and reports
	// whether more can be written behind it. A file can go on; an object of an object
	// store is whole with its upload, and the next bytes go to a new one.
	Sync(ctx context.Context) (more bool, err error)

	// Close lets go of the object; what was not synced need not be kept.
	Close() error
}

// A Folder is a [Sink] of files. Several machines may share it, over NFS too: files are
// only made anew (O_EXCL), written by who made them, and read when they are synced.
// Nothing is locked or renamed.
type Folder struct{ path string }

// OpenFolder returns a folder as a sink, and makes it where it is missing.
func OpenFolder(path string) (*Folder, error) {
	abs, err := filepath.Abs(path) // a later chdir must not lead elsewhere
	if err == nil {
		err = os.MkdirAll(abs, 0o777)
	}
	if err != nil {
		return nil, fmt.Errorf("riverjob: folder %s: %w", path, err)
	}
	return &Folder{abs}, nil
}

// Path returns the path of an object.
func (f *Folder) Path(name string) string { return filepath.Join(f.path, name) }

// Create implements [Sink].
func (f *Folder) Create(_ context.Context, name string) (Object, error) {
	if !filepath.IsLocal(name) || strings.ContainsAny(name, `/\`) {
		return nil, fmt.Errorf("riverjob: an object's name must be that of a file, got %q", name)
	}
	file, err := os.OpenFile(f.Path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	return &folderObject{File: file, folder: f.path}, nil
}

// Open implements [Sink].
func (f *Folder) Open(_ context.Context, name string) (io.ReadCloser, error) {
	return os.Open(f.Path(name))
}

// Remove implements [Sink].
func (f *Folder) Remove(_ context.Context, name string) error {
	if err := os.Remove(f.Path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// List implements [Sink].
func (f *Folder) List(_ context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		entries, err := os.ReadDir(f.path)
		if err != nil {
			yield("", err)
			return
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), prefix) && !yield(e.Name(), nil) {
				return
			}
		}
	}
}

type folderObject struct {
	*os.File
	folder string
	known  bool // the folder's entry is durable
}

// Sync implements [Object].
func (o *folderObject) Sync(context.Context) (more bool, err error) {
	err = o.File.Sync()
	if err == nil && !o.known {
		err = fsys.SyncDir(o.folder)
	}
	if err != nil {
		return false, fmt.Errorf("%w: %s: %w", cursor.ErrFsync, o.Name(), err)
	}
	o.known = true
	return true, nil
}

// An object is named by its job and range, for people, and by a random text that makes
// the name its maker's alone: orders.00003.6T7KQ….csv
func objectPrefix(job string, number int) string {
	return fmt.Sprintf("%s%05d.", jobPrefix(job), number)
}

// jobPrefix has no dot but the one at its end, so that no other job's begins with it.
func jobPrefix(job string) string {
	return strings.ReplaceAll(url.PathEscape(job), ".", "%2E") + "."
}

func newObjectName(prefix, suffix string) string { return prefix + rand.Text() + suffix }

// objectRest is what follows a job's prefix in the name of an object.
var objectRest = regexp.MustCompile(`^[0-9]{5,}\.[A-Z2-7]{26}`)

// Sweep removes from the job's sink the objects that are in no part: what workers have
// left behind that were killed, or taken over from. It returns how many. A job that is
// not finished is refused, since an object that is being written is in no part yet.
//
// Two jobs of the same name, in different databases, must not share a sink.
func (s *Store) Sweep(ctx context.Context, job string, sink Sink) (n int, err error) {
	prefix := jobPrefix(job)
	var names []string // listed first: what is made later is another plan's
	for name, err := range sink.List(ctx, prefix) {
		if err != nil {
			return 0, fmt.Errorf("riverjob: sweep job %q: %w", job, err)
		}
		if objectRest.MatchString(strings.TrimPrefix(name, prefix)) {
			names = append(names, name)
		}
	}
	parts, err := s.Parts(ctx, job)
	if err != nil {
		return 0, err
	}
	keep := map[string]bool{}
	for _, p := range parts {
		if !p.Finished {
			return 0, fmt.Errorf("riverjob: sweep job %q: range %d is not finished", job, p.Number)
		}
		for _, o := range p.Objects {
			keep[o.Name] = true
		}
	}
	for _, name := range names {
		if keep[name] {
			continue
		}
		if err := sink.Remove(ctx, name); err != nil {
			return n, fmt.Errorf("riverjob: sweep job %q: %w", job, err)
		}
		n++
	}
	return n, nil
}
