package main

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.com/pipeline/cursor/keyset"
	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"
)

// A database is where the rows come from.
type database struct {
	*sql.DB
	dialect keyset.Dialect
	system  string // sqlite, postgres or mysql
	name    string // what it is, without user and password: part of the export's identity
}

// openDatabase connects to what the data source name says, for writing only
// where the checkpoints are to be kept in it.
func openDatabase(ctx context.Context, dsn string, write bool) (*database, error) {
	d, driverName, source, err := parseDSN(dsn, write)
	if err != nil {
		return nil, err
	}
	if d.DB, err = sql.Open(driverName, source); err != nil {
		return nil, fmt.Errorf("-dsn: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := d.PingContext(ctx); err != nil {
		d.Close()
		return nil, fmt.Errorf("cannot open %s: %w", d.name, err)
	}
	return d, nil
}

// parseDSN turns the name that a user gives into the driver and its own form.
func parseDSN(dsn string, write bool) (d *database, driverName, source string, err error) {
	system, rest, found := strings.Cut(dsn, ":")
	switch {
	case system == "sqlite" && found:
		return parseSQLite(rest, write)
	case (system == "postgres" || system == "postgresql") && strings.HasPrefix(rest, "//"):
		u, err := url.Parse(dsn)
		if err != nil {
			// The parser's message would show the password.
			return nil, "", "", errors.New("-dsn: not a valid URL; characters like / ? # % @ in a password are to be escaped (%2F …)")
		}
		u.User = nil
		return &database{dialect: keyset.Postgres, system: "postgres", name: u.String()}, "pgx", dsn, nil
	case system == "mysql" && strings.HasPrefix(rest, "//"):
		return parseMySQL(dsn, strings.TrimPrefix(rest, "//"))
	}
	return nil, "", "", errors.New("-dsn must begin with sqlite:, postgres:// or mysql://")
}

func parseSQLite(path string, write bool) (d *database, driverName, source string, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, "", "", fmt.Errorf("-dsn: %w", err)
	}
	// SQLite would make a database that is not there.
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "", "", fmt.Errorf("-dsn: there is no file %s", path)
	case err != nil:
		return nil, "", "", fmt.Errorf("-dsn: %w", err)
	case info.IsDir():
		return nil, "", "", fmt.Errorf("-dsn: %s is a folder", path)
	}
	mode := "ro"
	if write {
		mode = "rw"
	}
	source, err = sqliteURI(path, "mode="+mode+"&_pragma=busy_timeout(10000)")
	return &database{dialect: keyset.SQLite, system: "sqlite", name: "sqlite:" + path}, "sqlite", source, err
}

// sqliteURI names a database file whose path may have characters that mean
// something in a URI.
func sqliteURI(path, params string) (string, error) {
	path, err := filepath.Abs(path)
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: params}
	return u.String(), err
}

// parseMySQL takes a URL, and the driver's own form for the sake of sockets:
// mysql://user@unix(/run/mysqld/mysqld.sock)/db.
func parseMySQL(dsn, rest string) (d *database, driverName, source string, err error) {
	cfg, err := mysql.ParseDSN(rest)
	if !strings.Contains(rest, "(") {
		cfg, err = mysqlURL(dsn)
	}
	if err != nil {
		return nil, "", "", errors.New("-dsn must be mysql://user:password@host:port/database or mysql://user:password@unix(/socket)/database")
	}
	if cfg.DBName == "" {
		return nil, "", "", errors.New("-dsn names no database: mysql://user:password@host:port/database")
	}
	// A TIMESTAMP is printed by the server, in the zone of the connection.
	if cfg.Params == nil {
		cfg.Params = map[string]string{}
	}
	cfg.Params["time_zone"] = "'+00:00'"
	// In any other encoding a text would come out as binary, or as another text.
	if err := cfg.Apply(mysql.Charset("utf8mb4", "")); err != nil {
		return nil, "", "", fmt.Errorf("-dsn: %w", err)
	}
	// With its values in its text a page is one round trip rather than two. That is
	// safe in UTF-8, where no character has a quote or a backslash among its bytes.
	_, other := cfg.Params["character_set_client"]
	cfg.InterpolateParams = !other
	name := fmt.Sprintf("mysql://%s(%s)/%s", cfg.Net, cfg.Addr, cfg.DBName)
	return &database{dialect: keyset.MySQL, system: "mysql", name: name}, "mysql", cfg.FormatDSN(), nil
}

func mysqlURL(dsn string) (*mysql.Config, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, err
	}
	host := u.Host
	if u.Port() == "" {
		host += ":3306"
	}
	if u.Hostname() == "" {
		host = "127.0.0.1" + host
	}
	// The driver's parser does the rest: parameters, and their mistakes.
	cfg, err := mysql.ParseDSN("tcp(" + host + ")" + cmp.Or(u.EscapedPath(), "/") + "?" + u.RawQuery)
	if err != nil {
		return nil, err
	}
	cfg.User = u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	return cfg, nil
}

// hidePassword makes a data source name fit to be printed.
func hidePassword(dsn string) string {
	scheme, rest, found := strings.Cut(dsn, "://")
	at := strings.LastIndex(rest, "@")
	if !found || at < 0 {
		return dsn
	}
	user, _, hasPassword := strings.Cut(rest[:at], ":")
	if !hasPassword {
		return dsn
	}
	return scheme + "://" + user + ":PASSWORD" + rest[at:]
}

// passes reports whether an error is one that passes by itself: the server is
// away, restarts, or is busy.
func passes(err error) bool {
	var network net.Error
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	var lite *sqlite.Error
	switch {
	case errors.As(err, &pg):
		// Classes 08 (connection) and 53 (resources), 57P0x (shutdown and start), 40 (rolled back for others).
		return strings.HasPrefix(pg.Code, "08") || strings.HasPrefix(pg.Code, "53") || strings.HasPrefix(pg.Code, "57P") || strings.HasPrefix(pg.Code, "40")
	case errors.As(err, &my):
		return slices.Contains([]uint16{1040, 1053, 1205, 1213, 1927}, my.Number) // connections, shutdown, lock wait, deadlock, killed
	case errors.As(err, &lite):
		return lite.Code()&0xff == 5 || lite.Code()&0xff == 6 // SQLITE_BUSY, SQLITE_LOCKED
	}
	return errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || pgconn.SafeToRetry(err)
}
