package source

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
)

// newFile makes a database with the statements' tables, and closes it again.
func newFile(t *testing.T, statements ...string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "it's.db")
	db := openFile(t, path)
	for _, s := range statements {
		mustExec(t, db, s)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// openFile opens a database, made where there is none, to write to it.
func openFile(t *testing.T, path string) *sql.DB {
	t.Helper()
	name, err := SQLiteURI(path, url.Values{})
	if err != nil {
		t.Fatal(err)
	}
	db, err := OpenSQLite(name)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func mustExec(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.Exec(statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// copied copies a database with what is beside it: what a program leaves that is killed now.
func copied(t *testing.T, path string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(path))
	for _, end := range []string{"", walEnd, journalEnd} {
		data, err := os.ReadFile(path + end)
		if err == nil {
			err = os.WriteFile(to+end, data, 0o600)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return to
}

// link makes a symbolic link to a file in another folder.
func link(t *testing.T, to string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(to, path); err != nil {
		t.Skip(err)
	}
	return path
}

// numbered makes a table t with the rows 1 to n, each with a text of some length.
func numbered(n int) []string {
	return []string{"PRAGMA page_size = 1024", "CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT NOT NULL)",
		fmt.Sprintf("WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < %d) INSERT INTO t SELECT i, 'committed ' || printf('%%.*c', 90, 'x') FROM c", n)}
}

// A transaction that was cut short is never read: not from the file that has a part of it, and
// not past the journal that tells.
func TestUnfinishedTransactions(t *testing.T) {
	path := newFile(t, numbered(1000)...)
	db := openFile(t, path)
	mustExec(t, db, "PRAGMA cache_size = 5; BEGIN IMMEDIATE; UPDATE t SET s = 'not ' || s") // more than the cache holds gets into the file
	hot := copied(t, path)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, dsn := range []string{
		"sqlite:" + hot, "sqlite:" + link(t, hot), "file:" + hot + "?mode=ro", "file:" + hot + "?immutable=1",
		"file:" + link(t, hot) + "?immutable=yes", "file:" + hot + "?nolock=1", "file:" + hot + "?immutable=0",
	} {
		s, err := Open(t.Context(), dsn, false)
		if err == nil || !strings.Contains(err.Error(), "has not ended") {
			t.Errorf("%s: %v", dsn, err)
		}
		if err == nil {
			s.Close()
		}
	}
	s, err := Open(t.Context(), "sqlite:"+hot, true) // which rolls it back
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var others int
	if err := s.QueryRow("SELECT count(*) FROM t WHERE s NOT LIKE 'committed%'").Scan(&others); err != nil || others > 0 {
		t.Errorf("%d rows that were not committed, %v", others, err)
	}
}

// A journal that is left of a transaction that has ended says nothing.
func TestJournalsOfThePast(t *testing.T) {
	for _, mode := range []string{"DELETE", "TRUNCATE", "PERSIST"} {
		path := newFile(t, append([]string{"PRAGMA journal_mode = " + mode}, numbered(3)...)...)
		if _, err := os.Stat(path + journalEnd); (err == nil) != (mode != "DELETE") {
			t.Errorf("%s: the journal: %v", mode, err)
		}
		for _, dsn := range []string{"sqlite:" + path, "file:" + path + "?immutable=1"} {
			s, err := Open(t.Context(), dsn, false)
			if err != nil {
				t.Errorf("%s: %v", mode, err)
				continue
			}
			s.Close()
		}
	}
}

// A database whose log holds changes is not read without them.
func TestLogsThatWouldBeMissed(t *testing.T) {
	path := newFile(t, numbered(3)...)
	db := openFile(t, path)
	mustExec(t, db, "PRAGMA journal_mode = WAL; INSERT INTO t VALUES (4, 'x')")
	for _, dsn := range []string{"file:" + path + "?immutable=1", "file:" + link(t, path) + "?immutable=1"} {
		s, err := Open(t.Context(), dsn, false)
		if err == nil || !strings.Contains(err.Error(), "holds changes") {
			t.Errorf("%s: %v", dsn, err)
		}
		if err == nil {
			s.Close()
		}
	}
	for _, dsn := range []string{"sqlite:" + path, "sqlite:" + link(t, path)} {
		s, err := Open(t.Context(), dsn, false)
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if err := s.QueryRow("SELECT count(*) FROM t").Scan(&n); err != nil || n != 4 {
			t.Errorf("%s: %d rows, %v", dsn, n, err)
		}
		s.Close()
	}
}

// What is read without locks counts only as long as nobody has changed the file: no row comes
// that was read, or may have been read, behind a change.
func TestChangedFiles(t *testing.T) {
	const rows = 300
	update := func(t *testing.T, path string) { mustExec(t, openFile(t, path), "UPDATE t SET s = 'new' WHERE id > 5") }
	changes := []struct {
		name   string
		change func(*testing.T, string)
	}{
		{"none", nil},
		{"an update", update},
		{"a deletion", func(t *testing.T, path string) {
			mustExec(t, openFile(t, path), "DELETE FROM t WHERE id > 150; VACUUM")
		}},
		{"a journal", func(t *testing.T, path string) { writeFile(t, path+journalEnd, "\xd9\xd5") }},
		{"a log", func(t *testing.T, path string) { writeFile(t, path+walEnd, "x") }},
		{"another file", func(t *testing.T, path string) {
			if err := os.Rename(copied(t, path), path); err != nil {
				t.Skip(err) // on another file system
			}
		}},
		{"none any more", func(t *testing.T, path string) {
			if err := os.Rename(path, path+".old"); err != nil {
				t.Fatal(err)
			}
		}},
	}
	ways := []struct {
		name string
		open func(*testing.T, *Source, Options) (*Table, error)
	}{
		{"by key", func(t *testing.T, s *Source, o Options) (*Table, error) { return s.Table(t.Context(), "t", o) }},
		{"by rowid", func(t *testing.T, s *Source, o Options) (*Table, error) { return s.Table(t.Context(), "u", o) }},
		{"in no order", func(t *testing.T, s *Source, o Options) (*Table, error) { return s.Table(t.Context(), "v", o) }},
		{"a query", func(t *testing.T, s *Source, o Options) (*Table, error) {
			o.Key = []string{"id"}
			return s.Query(t.Context(), "SELECT id, s FROM t", o)
		}},
		{"a query in no order", func(t *testing.T, s *Source, o Options) (*Table, error) {
			return s.Query(t.Context(), "SELECT id, s FROM t", o)
		}},
	}
	for _, c := range changes {
		for _, way := range ways {
			t.Run(c.name+", "+way.name, func(t *testing.T) {
				path := newFile(t, append(numbered(rows), "CREATE TABLE u (id INTEGER, s TEXT)", "INSERT INTO u SELECT * FROM t", "CREATE VIEW v AS SELECT * FROM t")...)
				s, err := Open(t.Context(), "file:"+url.PathEscape(path)+"?immutable=1", false)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				tries := 0
				table, err := way.open(t, s, Options{Page: cursor.PageConfig{Size: 100, Max: 100, Retry: func(ctx context.Context, op func(context.Context) error) error {
					tries++
					return op(ctx)
				}}})
				if err != nil {
					t.Fatal(err)
				}
				read, good := 0, rows
				table.Encode = func(dst []byte, values []any) ([]byte, error) {
					if read++; c.change != nil && read == 250 {
						c.change(t, path)
					}
					return append(dst, 'x'), nil
				}
				if c.change != nil {
					good = 200
					if table.Order == NoOrder {
						good = heldRows
					}
				}
				n := 0
				for _, err = range table.Rows(t.Context(), keyset.Range[keyset.Key]{}) {
					if err != nil {
						break
					}
					n++
				}
				if n != good || (c.change != nil) != errors.Is(err, ErrChanged) || c.change == nil && err != nil {
					t.Errorf("%d rows of %d, and then %v", n, good, err)
				}
				if tries > rows/100 {
					t.Errorf("%d tries to read %d pages", tries, rows/100)
				}
				if c.change == nil {
					return
				}
				var errs []error
				_, err = s.Count(t.Context(), table)
				errs = append(errs, err)
				if table.Order != NoOrder {
					_, err = table.Split(t.Context(), 3)
					errs = append(errs, err)
				}
				if way.name == "by key" {
					_, err = table.Latest(t.Context())
					errs = append(errs, err, table.EndAt(t.Context(), []string{"7"}))
				}
				errs = append(errs, last(table.All(t.Context())))
				for i, err := range errs {
					if !errors.Is(err, ErrChanged) {
						t.Errorf("what reads behind the change, %d: %v", i, err)
					}
				}
			})
		}
	}
	t.Run("under locks", func(t *testing.T) {
		path := newFile(t, numbered(rows)...)
		s, err := Open(t.Context(), "sqlite:"+path, false)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		update(t, path)
		table, err := s.Table(t.Context(), "t", Options{})
		if err == nil {
			err = last(table.Rows(t.Context(), keyset.Range[keyset.Key]{}))
		}
		if err != nil {
			t.Error(err)
		}
	})
}

// last returns the error that a stream ends with.
func last(rows iter.Seq2[keyset.Row, error]) (err error) {
	for _, err = range rows {
	}
	return err
}

// A file is one of a database's however its path is written, also before it is there.
func TestCompanions(t *testing.T) {
	path := newFile(t, numbered(3)...)
	folder, base := filepath.Split(path)
	via := filepath.Join(t.TempDir(), "folder")
	if err := os.Symlink(folder, via); err != nil {
		t.Skip(err)
	}
	t.Chdir(folder)
	toWAL := link(t, path+walEnd) // which is not there
	second := link(t, toWAL)
	relative := filepath.Join(folder, "relative.csv")
	hard := filepath.Join(folder, "hard.csv")
	if err := errors.Join(os.Symlink(base+shmEnd, relative), os.Link(path, hard)); err != nil {
		t.Fatal(err)
	}
	for _, dsn := range []string{path, base, link(t, path), filepath.Join(via, base)} {
		s, err := Open(t.Context(), dsn, false)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		real, err := filepath.EvalSymlinks(path)
		if got, want := s.Companions(), []string{real, real + "-wal", real + "-shm", real + "-journal"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v, %v", dsn, got, want, err)
		}
		for path, want := range map[string]bool{
			path: true, base: true, base + "-wal": true, path + "-shm": true, filepath.Join(via, base+"-journal"): true, toWAL: true, second: true, relative: true, hard: true,
			strings.ToUpper(base) + "-WAL": true,
			base + ".csv":                  false, base + "-wal.csv": false, "relative": false, filepath.Join(t.TempDir(), base+"-wal"): false, "none/" + base: false,
		} {
			if got := s.Is(path); got != want {
				t.Errorf("%s, of %s: %v", path, dsn, got)
			}
		}
	}
	none := &Source{System: Postgres}
	if none.Companions() != nil || none.Is(path) {
		t.Error("a database that is no file has files")
	}
}

// A file that was changed just now is not opened before the next change has another time. One
// whose time is to come is not waited for.
func TestWatchWaitsForTheClock(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Hour} {
		path := newFile(t, numbered(3)...)
		now := time.Now().Add(ahead)
		if err := os.Chtimes(path, now, now); err != nil {
			t.Fatal(err)
		}
		f := &sqliteFile{path: path, real: whereFileIs(path)}
		if err := f.watch(t.Context()); err != nil {
			t.Fatal(err)
		}
		if age := time.Since(f.seen.ModTime()); ahead == 0 && age < fileTick {
			t.Errorf("it is opened %v after it was changed", age)
		}
	}
}
