package source

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// errForm is for a name that cannot be understood. It does not show the name, which may
// hold a password in a place where none is looked for.
var errForm = errors.New("-dsn must be a SQLite file (shop.db, sqlite:shop.db, file:shop.db?mode=ro), postgres://user@host/db, " +
	"host=… dbname=…, mysql://user@host/db, mariadb://user@host/db, user:password@tcp(host)/db, or @FILE with one of these in it")

// The forms of a data source name.
type form int

const (
	noForm        form = iota
	sqlitePath         // shop.db
	sqliteName         // sqlite:shop.db
	sqliteURI          // file:shop.db?mode=ro
	postgresURL        // postgres://host/db
	postgresWords      // host=… dbname=…
	mysqlURL           // mysql://host/db
	mysqlDriver        // user@tcp(host)/db, after mysql:// or not
)

// A dataSource is a data source name with its form.
type dataSource struct {
	form   form
	scheme string // in small letters, with its colon and slashes; "" for none
	rest   string // what follows it
}

// String is the whole name.
func (d dataSource) String() string { return d.scheme + d.rest }

// keyword matches the beginning of a list of keywords and values, as libpq takes it.
var keyword = regexp.MustCompile(`^\s*(` + strings.Join(append(libpqWords, secretWords...), "|") + `)\s*=`)

// scheme matches the beginning of a name that says what it is. Case does not matter.
var scheme = regexp.MustCompile(`^(?i:sqlite3?:|file:|(?:postgres|postgresql|mysql|mariadb)://)`)

// formOf finds out what a name is.
func formOf(dsn string) dataSource {
	d := dataSource{scheme: strings.ToLower(scheme.FindString(dsn))}
	d.rest = dsn[len(d.scheme):]
	switch d.scheme {
	case "sqlite:", "sqlite3:":
		d.form = sqliteName
	case "file:":
		d.form = sqliteURI
	case "postgres://", "postgresql://":
		d.form = postgresURL
	case "mysql://", "mariadb://":
		// A URL has no place for a socket, so what looks like the driver's form is taken for that.
		if d.form = mysqlURL; strings.Contains(d.rest, ")/") {
			d.form = mysqlDriver
		}
	default:
		switch {
		case isFile(dsn):
			d.form = sqlitePath
		case keyword.MatchString(dsn):
			d.form = postgresWords
		case isDriversMySQL(dsn):
			d.form = mysqlDriver
		case looksLikePath(dsn):
			d.form = sqlitePath
		}
	}
	return d
}

// parse takes a data source name of any form apart. No error shows the name.
func parse(dsn string) (*target, error) {
	dsn, err := resolve(dsn)
	if err != nil {
		return nil, err
	}
	switch d := formOf(dsn); d.form {
	case sqlitePath, sqliteName:
		return sqliteTarget(d.path(), nil)
	case sqliteURI:
		return sqliteURL(d.String())
	case postgresURL, postgresWords:
		return postgresTarget(d)
	case mysqlURL, mysqlDriver:
		return mysqlTarget(d)
	}
	return nil, errForm
}

// path is that of a SQLite file which is no URI.
func (d dataSource) path() string {
	if d.form == sqliteName {
		return strings.TrimPrefix(d.rest, "//")
	}
	return d.rest
}

// resolve reads a name from the file that @FILE names, so that no secret stands in the list
// of processes.
func resolve(dsn string) (string, error) {
	dsn = strings.TrimSpace(dsn)
	path, isFile := strings.CutPrefix(dsn, "@")
	if !isFile {
		return dsn, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		// Not wrapped: what is said of a folder for the output that is not there is not meant.
		return "", fmt.Errorf("-dsn: %v", err)
	}
	dsn = strings.TrimSpace(string(data))
	if dsn == "" || strings.HasPrefix(dsn, "@") || strings.ContainsAny(dsn, "\n\r\x00") {
		return "", fmt.Errorf("-dsn: %s must hold one line with a data source name", path)
	}
	return dsn, nil
}

func isFile(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// looksLikePath reports whether a name that is no file may be printed as one that is
// missing: it has nothing of a place where a password could stand.
func looksLikePath(name string) bool {
	return name != "" && !strings.Contains(name, "://") && !strings.ContainsAny(name, "@=()?\n")
}
