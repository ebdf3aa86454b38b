package source

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"example.com/pipeline/cursor/keyset"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgresTarget takes a URL or a list of keywords and values apart.
func postgresTarget(d dataSource) (*target, error) {
	if err := checkVariables(); err != nil {
		return nil, err
	}
	cfg, err := postgresConfig(d)
	if err != nil {
		return nil, err
	}
	var hosts []string
	add := func(host string, port uint16) {
		if h := hostName(host, fmt.Sprint(port)); !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	add(cfg.Host, cfg.Port)
	for _, f := range cfg.Fallbacks {
		add(f.Host, f.Port)
	}
	database := cfg.Database
	if database == "" {
		database = cfg.User // as the server has it
	}
	t := &target{system: Postgres, dialect: keyset.Postgres, name: "postgres://" + strings.Join(hosts, ",") + "/" + nameInURL(database), made: new(connections)}
	t.open = func(context.Context, bool) (*sql.DB, string, error) {
		cfg.BuildFrontend = readMuch
		return sql.OpenDB(postgresConnector{stdlib.GetConnector(*cfg, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
			t.made.addPostgres(conn)
			return pinPostgres(ctx, conn)
		}))}), "", nil
	}
	return t, nil
}

// readMuch has the driver read as much as it can at a time, rather than 8 KB.
func readMuch(r io.Reader, w io.Writer) *pgproto3.Frontend {
	return pgproto3.NewFrontend(bufio.NewReaderSize(r, readBuffer), w)
}

// hostName is the same for all names of this machine, and tells sockets from hosts.
func hostName(host, port string) string {
	switch {
	case strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@"):
		return "[" + host + "]:" + port
	case strings.EqualFold(host, "localhost"), host == "":
		host = "localhost"
	default:
		if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
			host = "localhost"
		}
	}
	return net.JoinHostPort(strings.ToLower(host), port)
}

// postgresPins are settings that decide how values are written, and how those in a position,
// in -where and in -query are understood: a role, a database or a variable may have set them.
// pg_dump pins most of the same ones.
var postgresPins = [][2]string{
	{"client_encoding", "UTF8"},
	{"datestyle", "ISO, MDY"},
	{"intervalstyle", "postgres"},
	{"extra_float_digits", "3"},
	{"timezone", "UTC"},
	{"bytea_output", "hex"},
	{"xmlbinary", "base64"},
	{"lc_monetary", "C"},
	{"lc_numeric", "C"},
	{"lc_time", "C"},
	{"array_nulls", "on"},
	{"standard_conforming_strings", "on"},
	{"transform_null_equals", "off"},
	{"quote_all_identifiers", "off"},
	{"xmloption", "content"},
	{"gin_fuzzy_search_limit", "0"},
	{"synchronize_seqscans", "off"},
}

// pinPostgres pins them for a connection, in one simple query: that goes through every
// pooler.
func pinPostgres(ctx context.Context, conn *pgx.Conn) error {
	var text strings.Builder
	for _, p := range postgresPins {
		fmt.Fprintf(&text, "SET %s = '%s';", p[0], p[1])
	}
	_, err := conn.PgConn().Exec(ctx, text.String()).ReadAll()
	return err
}
