package source

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// driverParams are the parameters that the driver itself knows. It sends all others to the
// server: SET name = value.
var driverParams = []string{
	"allowAllFiles", "allowCleartextPasswords", "allowFallbackToPlaintext", "allowNativePasswords", "allowOldPasswords", "checkConnLiveness",
	"clientFoundRows", "charset", "collation", "columnsWithAlias", "compress", "connectionAttributes", "interpolateParams", "loc", "maxAllowedPacket",
	"multiStatements", "parseTime", "readTimeout", "rejectReadOnly", "serverPubKey", "timeTruncate", "timeout", "tls", "writeTimeout",
}

// driversNets are the networks of the driver's own form.
var driversNets = []string{"tcp", "tcp4", "tcp6", "unix"}

// isDriversMySQL reports whether a name has the form of MySQL's driver for Go.
func isDriversMySQL(dsn string) bool {
	if !strings.Contains(dsn, ")/") && !strings.Contains(dsn, "@/") {
		return false
	}
	_, _, err := driversConfig(dsn)
	return err == nil || errors.Is(err, errAmbiguous)
}

// driversConfig takes the driver's own form apart, and leaves the parameters: the driver
// looks for the last slash, so they begin at the ? behind it.
func driversConfig(dsn string) (cfg *mysql.Config, query string, err error) {
	i := strings.LastIndexByte(dsn, '/')
	if i < 0 {
		return nil, "", errMySQL
	}
	database, query, _ := strings.Cut(dsn[i:], "?")
	cfg, err = mysql.ParseDSN(dsn[:i] + database)
	switch {
	case err != nil || !slices.Contains(driversNets, cfg.Net): // what stands there may be a password that has no @ behind it
		return nil, "", errMySQL
	case strings.Contains(database, "@"): // the slash is one in a password
		return nil, "", errAmbiguous
	}
	return cfg, query, nil
}

// variable matches the name of a setting of the server.
var variable = regexp.MustCompile(`^(@@)?([Ss][Ee][Ss][Ss][Ii][Oo][Nn]\.)?[A-Za-z_][A-Za-z0-9_]*$`)

// withParams has the driver read the parameters of a name, once none of them is left that
// it would send to the server as a setting and that is none: SET password = … is even a
// statement that changes it.
func withParams(cfg *mysql.Config, query string) (*mysql.Config, error) {
	// The driver looks for the last slash, also in the parameters.
	query = strings.ReplaceAll(query, "/", "%2F")
	for p := range strings.SplitSeq(query, "&") {
		name, _, has := strings.Cut(p, "=")
		switch {
		case p == "":
		case !has:
			return nil, errors.New("-dsn: a parameter has no value; in a name of MySQL, an & in a value is to be written as %26")
		case slices.Contains(driverParams, name):
			if _, err := mysql.ParseDSN("tcp(h)/?" + p); err != nil {
				return nil, fmt.Errorf("-dsn: the value of the parameter %s is none that the driver knows", name)
			}
		case !variable.MatchString(name) || name == "strict": // the driver panics at the latter
			return nil, errors.New("-dsn: a parameter is neither one of the driver (tls, timeout …) nor a setting of the server (time_zone, sql_mode …)")
		case isCredential(name):
			return nil, errors.New("-dsn: users and passwords are no parameters in a name of MySQL: write mysql://user:password@host:port/database")
		}
	}
	host := cfg.Addr // a name of TLS depends on it
	all, err := mysql.ParseDSN(cfg.Net + "(" + host + ")/?" + query)
	if err != nil {
		return nil, errors.New("-dsn: the parameters are not well-formed")
	}
	all.User, all.Passwd, all.DBName = cfg.User, cfg.Passwd, cfg.DBName
	return all, nil
}

// setStatement sets what the driver would set by itself.
func setStatement(params map[string]string) string {
	var all []string
	for name, value := range params {
		all = append(all, name+" = "+value)
	}
	slices.Sort(all)
	return "SET " + strings.Join(all, ", ")
}

// A settingConnector makes settings that a user has given. The driver would do it, too, but
// the server's error repeats their values, which may not be what the user thinks they are.
type settingConnector struct {
	driver.Connector
	set   string
	names string
}

func (c settingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if _, err = conn.(driver.ExecerContext).ExecContext(ctx, c.set, nil); err == nil {
		return conn, nil
	}
	conn.Close()
	if my := (*mysql.MySQLError)(nil); errors.As(err, &my) {
		return nil, &settingError{fmt.Sprintf("the server does not take the settings that -dsn has for it (%s): error %d (%s)", c.names, my.Number, my.SQLState), err}
	}
	return nil, err
}

// A settingError is a server's error without its text.
type settingError struct {
	text  string
	cause error
}

func (e *settingError) Error() string { return e.text }
func (e *settingError) Unwrap() error { return e.cause }
