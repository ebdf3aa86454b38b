package source

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// errForm is for a name that cannot be understood. It does not show the name, which may
// hold a password in a place where none is looked for.
var errForm = errors.New("-dsn must be a SQLite file (shop.db, sqlite:shop.db, file:shop.db?mode=ro), postgres://user@host/db, " +
	"host=… dbname=…, mysql://user@host/db, mariadb://user@host/db, user:password@tcp(host)/db, or @FILE with one of these in it")

// keyword matches the beginning of a list of keywords and values, as libpq takes it.
var keyword = regexp.MustCompile(`^\s*(host|hostaddr|port|dbname|database|user|password|passfile|service|servicefile|sslmode|options|target_session_attrs|application_name|connect_timeout)\s*=`)

// parse takes a data source name of any form apart. No error shows the name.
func parse(dsn string) (*target, error) {
	dsn, err := resolve(dsn)
	if err != nil {
		return nil, err
	}
	scheme, rest, _ := strings.Cut(dsn, ":")
	switch {
	case scheme == "sqlite" || scheme == "sqlite3":
		return sqliteTarget(strings.TrimPrefix(rest, "//"), nil)
	case scheme == "file":
		return sqliteURL(dsn)
	case (scheme == "postgres" || scheme == "postgresql") && strings.HasPrefix(rest, "//"):
		return postgresTarget(dsn)
	case (scheme == "mysql" || scheme == "mariadb") && strings.HasPrefix(rest, "//"):
		return mysqlTarget(strings.TrimPrefix(rest, "//"), dsn)
	case keyword.MatchString(dsn) && !isFile(dsn):
		return postgresTarget(dsn)
	case isDriversMySQL(dsn) && !isFile(dsn):
		return mysqlTarget(dsn, "")
	case isFile(dsn) || looksLikePath(dsn):
		return sqliteTarget(dsn, nil)
	}
	return nil, errForm
}

// resolve reads a name from the file that @FILE names, so that no secret stands in the list
// of processes.
func resolve(dsn string) (string, error) {
	path, isFile := strings.CutPrefix(dsn, "@")
	if !isFile {
		return strings.TrimSpace(dsn), nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("-dsn: %w", err)
	}
	dsn = strings.TrimSpace(string(data))
	if dsn == "" || strings.HasPrefix(dsn, "@") || strings.ContainsAny(dsn, "\n\r\x00") {
		return "", fmt.Errorf("-dsn: %s must hold one line with a data source name", path)
	}
	return dsn, nil
}

// isDriversMySQL reports whether a name has the form of MySQL's driver for Go.
func isDriversMySQL(dsn string) bool {
	if !strings.Contains(dsn, ")/") && !strings.Contains(dsn, "@/") {
		return false
	}
	_, err := mysql.ParseDSN(dsn)
	return err == nil
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
