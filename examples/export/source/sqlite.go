package source

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/examples/export/sqlite"
)

// OpenSQLite opens a SQLite database by the driver's name for it: a path, or a URI with
// SQLite's parameters and _pragma. It is the one place that knows the driver.
func OpenSQLite(name string) (*sql.DB, error) { return sqlite.Open(name) }

// sqliteCode returns SQLite's result code, 0 where an error is none of SQLite's.
func sqliteCode(err error) int {
	if e := (*sqlite.Error)(nil); errors.As(err, &e) {
		return e.Code & 0xff
	}
	return 0
}

// The result codes that matter here (https://sqlite.org/rescode.html).
const (
	sqliteBusy     = 5
	sqliteLocked   = 6
	sqliteReadOnly = 8
	sqliteCantOpen = 14
	sqliteHot      = 776 // read-only, and a transaction is to be rolled back
)

// sqliteParams are the parameters of a URI that are passed on.
var sqliteParams = []string{"mode", "cache", "immutable", "vfs", "nolock", "psow", "_pragma"}

// sqliteURL opens the file that a file: URI names.
func sqliteURL(dsn string) (*target, error) {
	path, params, err := takeURI(dsn)
	if err != nil {
		return nil, err
	}
	return sqliteTarget(path, params)
}

// nameOfParameter matches a name that is no piece of a value.
var nameOfParameter = regexp.MustCompile(`^[a-z_]+$`)

// takeURI takes a file: URI apart, by the rules of https://sqlite.org/uri.html.
func takeURI(dsn string) (path string, params url.Values, err error) {
	rest, _, _ := strings.Cut(strings.TrimPrefix(dsn, "file:"), "#")
	rest, query, _ := strings.Cut(rest, "?")
	if params, err = url.ParseQuery(query); err != nil {
		return "", nil, errors.New("-dsn: the parameters of the file: URI are not well-formed")
	}
	for name := range params {
		if !slices.Contains(sqliteParams, name) {
			if !nameOfParameter.MatchString(name) || params.Has("_pragma") {
				name = "…" // a piece of a value, with a key in it maybe
			}
			return "", nil, fmt.Errorf("-dsn: a file: URI has no parameter %q; there are %s", name, strings.Join(sqliteParams, ", "))
		}
	}
	if after, hasHost := strings.CutPrefix(rest, "//"); hasHost {
		host, path, _ := strings.Cut(after, "/")
		if host != "" && !strings.EqualFold(host, "localhost") {
			return "", nil, errors.New("-dsn: a file: URI with two slashes names a host; write file:PATH or file:///PATH")
		}
		rest = "/" + path
	}
	if path, err = url.PathUnescape(rest); err != nil {
		return "", nil, errors.New("-dsn: the path of the file: URI is not well-formed")
	}
	return pathOfURI(path, runtime.GOOS == "windows"), params, nil
}

// pathOfURI returns the path that a URI's path stands for: on Windows /C:/x is C:/x.
func pathOfURI(path string, windows bool) string {
	if windows && len(path) >= 3 && path[0] == '/' && path[2] == ':' {
		return path[1:]
	}
	return path
}

// SQLiteURI names a database file for [OpenSQLite], whose path may have characters that
// mean something in a URI. On Windows C:\x is /C:/x there.
func SQLiteURI(path string, params url.Values) (string, error) {
	path, err := filepath.Abs(path)
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: params.Encode()}).String(), err
}

func sqliteTarget(path string, params url.Values) (*target, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("-dsn: %w", err)
	}
	// SQLite would make a database that is not there.
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("-dsn: there is no file %s", path)
	case err != nil:
		return nil, fmt.Errorf("-dsn: %w", err)
	case info.IsDir():
		return nil, fmt.Errorf("-dsn: %s is a folder", path)
	}
	file := &sqliteFile{path: path, real: whereFileIs(path)}
	t := &target{system: SQLite, dialect: keyset.SQLite, name: "sqlite:" + path, file: file, made: new(connections)}
	t.open = func(ctx context.Context, write bool) (*sql.DB, string, error) {
		return file.open(ctx, params, write)
	}
	return t, nil
}

// open opens a database file. One with a write-ahead log wants to make files beside it, also
// to be read. Where that cannot be, and there is no log, it is read without locks, and looked
// at after each page.
func (f *sqliteFile) open(ctx context.Context, given url.Values, write bool) (db *sql.DB, note string, err error) {
	params := url.Values{"mode": {"ro"}}
	for name, values := range given {
		params[name] = values
	}
	if write {
		params.Set("mode", "rw")
	}
	params["_pragma"] = append([]string{"busy_timeout(10000)"}, given["_pragma"]...)
	if unlocked(given) && !write {
		db, err = f.openWatched(ctx, params)
		return db, "", err
	}
	if db, err = tryFile(ctx, f.path, params); err == nil {
		return db, "", nil
	}
	code := sqliteCode(err)
	switch {
	case code != sqliteReadOnly && code != sqliteCantOpen:
		return nil, "", fmt.Errorf("cannot open %s: %w", f.path, err)
	case f.hot():
		return nil, "", f.errHot()
	case write || given.Has("immutable"):
		return nil, "", fmt.Errorf("cannot open %s: %w", f.path, err)
	case f.logged():
		return nil, "", fmt.Errorf("cannot open %s: its write-ahead log (-wal) holds changes, and files beside it cannot be made: %w; "+
			"copy the database with its -wal file to a folder that you may write to, or have its owner run PRAGMA wal_checkpoint(TRUNCATE)", f.path, err)
	}
	params.Set("immutable", "1")
	if db, err = f.openWatched(ctx, params); err != nil {
		return nil, "", err
	}
	return db, fmt.Sprintf("files beside %s cannot be made, so it is read without locks (immutable=1); "+
		"it is looked at after each page, and the export ends where it was changed meanwhile", f.path), nil
}

// openWatched opens a file that is read without locks.
func (f *sqliteFile) openWatched(ctx context.Context, params url.Values) (*sql.DB, error) {
	if err := f.watch(ctx); err != nil {
		return nil, err
	}
	db, err := tryFile(ctx, f.path, params)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", f.path, err)
	}
	if err := f.unchanged(); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// tryFile opens a database and reads its first page.
func tryFile(ctx context.Context, path string, params url.Values) (*sql.DB, error) {
	name, err := SQLiteURI(path, params)
	if err != nil {
		return nil, err
	}
	db, err := OpenSQLite(name)
	if err != nil {
		return nil, err
	}
	var n int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&n); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}
