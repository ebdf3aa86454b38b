package source

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"example.com/pipeline/cursor/keyset"
	"github.com/go-sql-driver/mysql"
)

var errMySQL = errors.New("-dsn must be mysql://user:password@host:port/database, user:password@tcp(host:port)/database or user:password@unix(/socket)/database; " +
	"in a URL, characters like / ? # % @ in a password are to be escaped (%2F …)")

// mysqlTarget takes the driver's own form apart, and a URL where one is given: that has
// no place for a socket, so what looks like the driver's form is taken for that.
func mysqlTarget(rest, asURL string) (*target, error) {
	cfg, err := mysql.ParseDSN(rest)
	if asURL != "" && !strings.Contains(rest, ")/") {
		cfg, err = mysqlURL(asURL)
	}
	switch {
	case err != nil: // the driver's message could show the password
		return nil, errMySQL
	case cfg.DBName == "":
		return nil, errors.New("-dsn names no database: mysql://user:password@host:port/database")
	}
	if err := pinMySQL(cfg); err != nil {
		return nil, err
	}
	cfg.DialFunc = dialBuffered
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, errMySQL
	}
	host := "[" + cfg.Addr + "]"
	if h, port, err := net.SplitHostPort(cfg.Addr); err == nil && cfg.Net == "tcp" {
		host = hostName(h, port)
	}
	t := &target{system: MySQL, dialect: keyset.MySQL, name: "mysql://" + host + "/" + cfg.DBName}
	t.open = func(context.Context, bool) (*sql.DB, string, error) { return sql.OpenDB(connector), "", nil }
	return t, nil
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
	name, err := url.PathUnescape(cmp.Or(strings.TrimPrefix(u.EscapedPath(), "/"), ""))
	if err != nil {
		return nil, err
	}
	// The driver's parser does the rest: parameters, and their mistakes.
	cfg, err := mysql.ParseDSN("tcp(" + host + ")/?" + u.RawQuery)
	if err != nil {
		return nil, err
	}
	cfg.DBName = name
	cfg.User = u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	return cfg, nil
}

// pinMySQL sets what values and numbers of rows depend on, whatever the server's or the
// user's settings are.
func pinMySQL(cfg *mysql.Config) error {
	if cfg.Params == nil {
		cfg.Params = map[string]string{}
	}
	// A TIMESTAMP is printed by the server, in the zone of the connection. A CHAR comes
	// without the blanks that it is filled with. No result is cut.
	cfg.Params["time_zone"] = "'+00:00'"
	mode := cmp.Or(cfg.Params["sql_mode"], "@@sql_mode")
	cfg.Params["sql_mode"] = "REPLACE(" + mode + ", 'PAD_CHAR_TO_FULL_LENGTH', '')"
	cfg.Params["sql_select_limit"] = "18446744073709551615"
	// In any other encoding a text would come out as binary, or as another text.
	delete(cfg.Params, "character_set_results")
	if err := cfg.Apply(mysql.Charset("utf8mb4", "")); err != nil {
		return fmt.Errorf("-dsn: %w", err)
	}
	// With its values in its text a page is one round trip rather than two. That is safe
	// in UTF-8, where no character has a quote or a backslash among its bytes.
	_, other := cfg.Params["character_set_client"]
	cfg.InterpolateParams = !other
	return nil
}
