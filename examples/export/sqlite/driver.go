package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Open returns a pool of connections to the database that dsn names; see the
// package's comment for its forms. Nothing is opened before the first use.
func Open(dsn string) (*sql.DB, error) {
	c, err := NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(c), nil
}

// Driver opens connections by name. It is not registered: use [Open], or register
// it under a name of your own.
type Driver struct{}

var _ driver.DriverContext = Driver{}

// Open implements driver.Driver.
func (Driver) Open(dsn string) (driver.Conn, error) {
	c, err := NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	return c.Connect(context.Background())
}

// OpenConnector implements driver.DriverContext.
func (Driver) OpenConnector(dsn string) (driver.Connector, error) { return NewConnector(dsn) }

// A Connector opens connections to one database. It is safe for concurrent use.
type Connector struct {
	name    string
	pragmas []string
	begin   string
}

var _ driver.Connector = (*Connector)(nil)

// NewConnector reads a data source name. It is an error where it has a parameter
// that neither SQLite nor this package knows.
func NewConnector(dsn string) (*Connector, error) {
	if strings.IndexByte(dsn, 0) >= 0 {
		return nil, fmt.Errorf("sqlite: the name of a database must have no NUL byte, got %q", dsn)
	}
	c := &Connector{name: dsn, begin: "BEGIN"}
	if !strings.HasPrefix(dsn, "file:") {
		return c, nil
	}
	_, query, _ := strings.Cut(dsn, "?")
	query, _, _ = strings.Cut(query, "#")
	params, err := url.ParseQuery(query)
	if err != nil {
		return nil, fmt.Errorf("sqlite: the parameters of %s: %w", dsn, err)
	}
	for name, values := range params {
		switch name {
		case "_pragma":
			c.pragmas = values
		case "_txlock":
			lock := values[len(values)-1]
			if !slices.Contains([]string{"deferred", "immediate", "exclusive"}, lock) {
				return nil, fmt.Errorf("sqlite: _txlock must be deferred, immediate or exclusive, got %q", lock)
			}
			c.begin = "BEGIN " + lock
		case "mode", "cache", "vfs", "immutable", "nolock", "psow", "modeof":
		default:
			return nil, fmt.Errorf("sqlite: no parameter %q is known; see the package's comment and https://sqlite.org/uri.html", name)
		}
	}
	// The others may have to wait for a lock.
	slices.SortStableFunc(c.pragmas, func(a, b string) int { return isTimeout(b) - isTimeout(a) })
	return c, nil
}

func isTimeout(pragma string) int {
	if strings.HasPrefix(strings.ToLower(strings.TrimSpace(pragma)), "busy_timeout") {
		return 1
	}
	return 0
}

// Driver implements driver.Connector.
func (c *Connector) Driver() driver.Driver { return Driver{} }

// Connect implements driver.Connector.
func (c *Connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := open(c.name)
	if err != nil {
		return nil, err
	}
	conn.begin = c.begin
	for _, p := range c.pragmas {
		if _, err := conn.ExecContext(ctx, "PRAGMA "+p, nil); err != nil {
			conn.Close()
			return nil, fmt.Errorf("PRAGMA %s: %w", p, err)
		}
	}
	return conn, nil
}
