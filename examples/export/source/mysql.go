package source

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"

	"example.com/pipeline/cursor/keyset"
	"github.com/go-sql-driver/mysql"
)

var errMySQL = errors.New("-dsn must be mysql://user:password@host:port/database, user:password@tcp(host:port)/database or user:password@unix(/socket)/database; " +
	"in a URL, characters like / ? # % @ in a password are to be escaped (%2F …)")

// mysqlTarget takes the driver's own form or a URL apart.
func mysqlTarget(d dataSource) (*target, error) {
	cfg, err := mysqlConfig(d)
	switch {
	case err != nil:
		return nil, err
	case cfg.DBName == "":
		return nil, errors.New("-dsn names no database: mysql://user:password@host:port/database")
	}
	given := slices.Sorted(maps.Keys(cfg.Params))
	if err := pinMySQL(cfg); err != nil {
		return nil, err
	}
	settings := ""
	if len(given) > 0 {
		settings, cfg.Params = setStatement(cfg.Params), nil
	}
	made := new(connections)
	cfg.Logger = new(mysql.NopLogger) // what it would write to standard error is told as an error, too
	cfg.DialFunc = made.dialBuffered
	cfg.Logger = &mysql.NopLogger{} // what goes wrong is told by errors
	var connector driver.Connector
	if connector, err = mysql.NewConnector(cfg); err != nil {
		return nil, errMySQL // the driver's message could show the password
	}
	if settings != "" {
		connector = settingConnector{connector, settings, strings.Join(given, ", ")}
	}
	host := "[" + cfg.Addr + "]"
	if h, port, err := net.SplitHostPort(cfg.Addr); err == nil && cfg.Net == "tcp" {
		host = hostName(h, port)
	}
	t := &target{system: MySQL, dialect: keyset.MySQL, name: "mysql://" + host + "/" + nameInURL(cfg.DBName), made: made}
	t.open = func(context.Context, bool) (*sql.DB, string, error) { return sql.OpenDB(connector), "", nil }
	return t, nil
}

// mysqlConfig is what the driver makes of a name. No error shows any of it.
func mysqlConfig(d dataSource) (*mysql.Config, error) {
	if d.form == mysqlDriver {
		cfg, query, err := driversConfig(d.rest)
		if err != nil {
			return nil, err
		}
		if holdsSecret("", cfg.DBName) {
			return nil, errUser
		}
		return withParams(cfg, query)
	}
	if _, ok := d.split(); !ok {
		return nil, errAmbiguous
	}
	u, err := url.Parse(d.String())
	if err != nil {
		return nil, errMySQL
	}
	host := u.Host
	if u.Port() == "" {
		host += ":3306"
	}
	if u.Hostname() == "" {
		host = "127.0.0.1" + host
	}
	cfg := mysql.NewConfig()
	if cfg.DBName, err = url.PathUnescape(strings.TrimPrefix(u.EscapedPath(), "/")); err != nil {
		return nil, errMySQL
	}
	cfg.Net, cfg.Addr, cfg.User = "tcp", host, u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	if holdsSecret("", cfg.DBName) || holdsSecret(cfg.User, "") && cfg.Passwd == "" {
		return nil, errUser
	}
	return withParams(cfg, u.RawQuery)
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
