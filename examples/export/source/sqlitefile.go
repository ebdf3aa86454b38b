package source

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/examples/export/advice"
	"example.com/pipeline/examples/export/plan"
)

// A sqliteFile is the file of a database, with those that SQLite keeps beside it.
type sqliteFile struct {
	path string      // whole, as it was given
	real string      // without symbolic links: the other files are beside this one
	seen os.FileInfo // of a file that is read without locks, from before it was opened; or nil
}

// The endings of the files that SQLite keeps beside a database.
const (
	walEnd     = "-wal"
	shmEnd     = "-shm"
	journalEnd = "-journal"
)

// Companions are the files of a database that is a file, whether they are there or not:
// itself, and those that SQLite keeps beside it. There are none where it is no file.
func (s *Source) Companions() []string {
	if s.file == nil {
		return nil
	}
	return []string{s.file.real, s.file.real + walEnd, s.file.real + shmEnd, s.file.real + journalEnd}
}

// Is reports whether a path, whose file need not be there, leads to one of the [Source.Companions].
func (s *Source) Is(path string) bool {
	real := whereFileIs(path)
	info, err := os.Stat(path)
	for _, own := range s.Companions() {
		if strings.EqualFold(real, own) { // the case may not matter to the file system
			return true
		}
		if ownInfo, ownErr := os.Stat(own); err == nil && ownErr == nil && os.SameFile(info, ownInfo) {
			return true
		}
	}
	return false
}

// whereFileIs returns the whole path of a file without symbolic links, or the path itself where
// its folder is not there.
func whereFileIs(path string) string {
	if real, err := plan.Real(path); err == nil {
		return real
	}
	return path
}

// hot reports whether a transaction that has begun to change the file is in its journal: the
// file alone has a part of it. Behind a transaction that has ended, the journal is gone, empty,
// or begins with zeros. One that cannot be read counts, as it does for SQLite.
func (f *sqliteFile) hot() bool {
	journal, err := os.Open(f.real + journalEnd)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer journal.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(journal, first); err != nil {
		return err != io.EOF
	}
	return first[0] != 0
}

// logged reports whether the write-ahead log has changes, which may not be in the file yet.
func (f *sqliteFile) logged() bool {
	log, err := os.Stat(f.real + walEnd)
	return err == nil && log.Size() > 0
}

// errHot refuses a file with a part of a transaction in it.
func (f *sqliteFile) errHot() error {
	return advice.New(rollBack(f.real)+"\nNothing was written.",
		"cannot open %s: its journal (%s) holds a transaction that has not ended, and a part of it may be in the database", f.path, journalEnd)
}

// rollBack says how a transaction is ended whose program is gone.
func rollBack(path string) string {
	return "If the program that wrote to it is gone, open it once with one that may write to it and its folder, which rolls the transaction back:\n" +
		"  sqlite3 '" + strings.ReplaceAll(path, "'", `'\''`) + "' 'PRAGMA user_version'"
}

// unlocked reports whether the parameters of a URI have SQLite read a file without locks.
func unlocked(params url.Values) bool {
	return isOn(params.Get("immutable")) || isOn(params.Get("nolock")) || strings.HasSuffix(params.Get("vfs"), "-none")
}

// isOn reads a boolean as SQLite does.
func isOn(value string) bool {
	if n, err := strconv.Atoi(value); err == nil {
		return n != 0
	}
	switch strings.ToLower(value) {
	case "on", "yes", "true":
		return true
	}
	return false
}

// fileTick is more than the steps of the clock that file systems take their times from.
const fileTick = 20 * time.Millisecond

// watch notes what the file is before it is read without locks, and refuses one that cannot be
// read so. Where it was changed just now it waits, so that the next change has another time.
func (f *sqliteFile) watch(ctx context.Context) error {
	switch {
	case f.hot():
		return f.errHot()
	case f.logged():
		return advice.New("Leave immutable and nolock out of -dsn, or have the owner of the database run PRAGMA wal_checkpoint(TRUNCATE).\nNothing was written.",
			"cannot open %s: its write-ahead log (%s) holds changes, which are missed where it is read without locks (immutable=1, nolock=1)", f.path, walEnd)
	}
	for {
		info, err := os.Stat(f.path)
		if err != nil {
			return err
		}
		age := time.Since(info.ModTime())
		if age < 0 || age >= fileTick {
			f.seen = info
			return nil
		}
		select {
		case <-time.After(fileTick - age):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watched reports whether the file is read without locks, so that what was read counts only
// where [sqliteFile.unchanged] says so.
func (f *sqliteFile) watched() bool { return f != nil && f.seen != nil }

// ErrChanged says that a database that is read without locks was changed while it was read:
// rows that were read since then may be missing, old, or come twice.
var ErrChanged = errors.New("the database was changed while it was read without locks")

// unchanged looks whether the file is what it was when it was opened. It is nil for one that
// is read under locks.
func (f *sqliteFile) unchanged() error {
	if !f.watched() {
		return nil
	}
	what := ""
	switch now, err := os.Stat(f.path); {
	case err != nil:
		what = err.Error()
	case !os.SameFile(now, f.seen):
		what = "another file is in its place"
	case now.Size() != f.seen.Size() || !now.ModTime().Equal(f.seen.ModTime()):
		what = "it was written to"
	case f.hot():
		what = "a transaction is about to write to it (" + journalEnd + ")"
	case f.logged():
		what = "a transaction has written to its log (" + walEnd + ")"
	default:
		return nil
	}
	return advice.New("Run this as a user that may write to the folder of the database, or export a copy of the database, or stop what writes to it. "+
		"Then give the same command again: what is committed is safe.", "%w: %s: %s", ErrChanged, f.path, what)
}

// checked returns the error of what was read, or why what was read does not count.
func (s *Source) checked(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return err
	}
	if changed := s.file.unchanged(); changed != nil {
		return changed
	}
	return err
}

// A retryFunc is the Retry of [cursor.PageConfig].
type retryFunc = func(context.Context, func(context.Context) error) error

// checkedPages has pages that were read count only where the file did not change. No other try
// would mend that.
func (s *Source) checkedPages(retry retryFunc) retryFunc {
	if !s.file.watched() {
		return retry
	}
	return func(ctx context.Context, op func(context.Context) error) error {
		if retry == nil {
			return s.checked(ctx, op(ctx))
		}
		return s.checked(ctx, retry(ctx, op))
	}
}

const (
	heldRows  = 128     // that All keeps until they count
	heldBytes = 1 << 20 // the same, in bytes
)

// All streams all rows with one statement: see [keyset.Table.All]. Those of a file that is read
// without locks are kept until it is known that it had not changed when they were read.
func (t *Table) All(ctx context.Context) iter.Seq2[keyset.Row, error] {
	if !t.source.file.watched() {
		return t.Table.All(ctx)
	}
	return func(yield func(keyset.Row, error) bool) {
		var held []keyset.Row
		bytes := 0
		handOver := func() bool {
			if err := t.source.checked(ctx, nil); err != nil {
				yield(keyset.Row{}, err)
				return false
			}
			for _, row := range held {
				if !yield(row, nil) {
					return false
				}
			}
			held, bytes = held[:0], 0
			return true
		}
		part := *t.Table
		part.Reuse = false
		for row, err := range part.All(ctx) {
			if err != nil {
				if handOver() {
					yield(keyset.Row{}, err)
				}
				return
			}
			held = append(held, row)
			if bytes += len(row.Encoded); (len(held) == heldRows || bytes >= heldBytes) && !handOver() {
				return
			}
		}
		handOver()
	}
}
