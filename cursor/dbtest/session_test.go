package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"example.com/pipeline/cursor/keyset"
	"github.com/go-sql-driver/mysql"
)

// otherSessions opens a pool on the same database whose sessions have settings that
// change what a server makes of values.
func (d databaseKind) otherSessions(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	switch d.name {
	case "postgres":
		settings := map[string]string{"datestyle": "SQL, DMY", "intervalstyle": "sql_standard", "extra_float_digits": "-5", "bytea_output": "escape",
			"timezone": "America/St_Johns", "lc_monetary": "C", "xmlbinary": "hex"}
		if u, err := url.Parse(dsn); err == nil && u.Scheme != "" {
			params := u.Query()
			for k, v := range settings {
				params.Set(k, v)
			}
			u.RawQuery = strings.ReplaceAll(params.Encode(), "+", "%20")
			return openDB(t, "pgx", u.String())
		}
		for k, v := range settings {
			dsn += fmt.Sprintf(" %s='%s'", k, v)
		}
		return openDB(t, "pgx", dsn)
	case "mariadb":
		loadBerlin(t, dsn)
		cfg, err := mysql.ParseDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Params = map[string]string{"time_zone": "'Europe/Berlin'", "sql_mode": "'STRICT_TRANS_TABLES,PAD_CHAR_TO_FULL_LENGTH,PIPES_AS_CONCAT'"}
		return openDB(t, "mysql", cfg.FormatDSN())
	}
	return openDB(t, "sqlite", dsn+"&_pragma=full_column_names(1)&_pragma=short_column_names(0)&_pragma=case_sensitive_like(1)&_pragma=reverse_unordered_selects(1)")
}

// loadBerlin gives the server the time zone of Berlin in 2024, which a server that has
// just been installed does not have.
func loadBerlin(t testing.TB, dsn string) {
	t.Helper()
	db := openDB(t, "mysql", dsn)
	ctx := context.WithoutCancel(t.Context())
	var known sql.NullString
	if err := db.QueryRowContext(ctx, "SELECT CONVERT_TZ('2024-07-01 00:00:00', '+00:00', 'Europe/Berlin')").Scan(&known); err != nil {
		t.Fatal(err)
	}
	if known.Valid {
		return
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, s := range []string{
		"SET STATEMENT max_statement_time = 20 FOR SELECT GET_LOCK('dbtest_berlin', 20)",
		"DELETE FROM mysql.time_zone_name WHERE Name = 'Europe/Berlin'",
		"INSERT INTO mysql.time_zone (Use_leap_seconds) VALUES ('N')",
		"SET @zone = LAST_INSERT_ID()",
		"INSERT INTO mysql.time_zone_transition_type (Time_zone_id, Transition_type_id, `Offset`, Is_DST, Abbreviation) VALUES (@zone, 0, 3600, 0, 'CET'), (@zone, 1, 7200, 1, 'CEST')",
		"INSERT INTO mysql.time_zone_transition (Time_zone_id, Transition_time, Transition_type_id) VALUES (@zone, -2147483648, 0), (@zone, 1711846800, 1), (@zone, 1729990800, 0)",
		"INSERT INTO mysql.time_zone_name (Name, Time_zone_id) VALUES ('Europe/Berlin', @zone)",
		"DO RELEASE_LOCK('dbtest_berlin')",
	} {
		if _, err := conn.ExecContext(ctx, s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// dsn makes a place for a test and returns its name.
func (d databaseKind) dsn(t testing.TB) string {
	t.Helper()
	return map[string]func(testing.TB) string{"sqlite": sqliteDSN, "postgres": postgresDSN, "mariadb": mariaDBDSN}[d.name](t)
}

// TestValuesDependOnNoSession reads a table in sessions of different settings: each value
// is the same, and so is what comes behind each row.
func TestValuesDependOnNoSession(t *testing.T) {
	ddl := map[string][]string{
		"sqlite": {"CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, v REAL)", "INSERT INTO t VALUES ('a', 1.1), ('B', 1e15), ('ä', -0.0)"},
		"postgres": {`CREATE TABLE t (k date PRIMARY KEY, r real, d float8, ds float8[], i interval, "is" interval[], m money, b bytea, bs bytea[], ts timestamptz, tr tstzrange, tz timetz, dr daterange, c regclass, x xml)`,
			`INSERT INTO t SELECT '2020-01-01'::date + n, 16777216 + n, 1.7976931348623157e308, '{1.7976931348623157e308,0.1}', '-1 month 2 days -03:00:00.5', '{"1 day -2 hours"}', 1234.5,
				'\x00ff', '{"\\x00ff"}', '2024-07-01 12:00Z', '[2024-07-01 12:00Z,2024-12-01 12:00Z)', '12:00:00+02', '[2020-04-05,2020-05-04)', 't', '<a/>' FROM generate_series(0, 40) n`},
		"mariadb": {"CREATE TABLE t (k TIMESTAMP(6) NOT NULL PRIMARY KEY, c CHAR(9), d DATETIME, f FLOAT, ts TIMESTAMP NULL)",
			"SET time_zone = '+00:00'; INSERT INTO t SELECT '2024-10-26 22:00:00' + INTERVAL 600 * seq SECOND, 'a', '2024-10-27 02:30:00', 16777216, '2024-10-27 00:30:00' + INTERVAL 600 * seq SECOND FROM seq_0_to_35"},
	}
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			dsn := kind.dsn(t)
			setup := dsn
			if kind.name == "mariadb" {
				setup += "?multiStatements=true"
			}
			one := database{openDB(t, map[string]string{"sqlite": "sqlite", "postgres": "pgx", "mariadb": "mysql"}[kind.name], setup), kind}
			exec(t, one.DB, ddl[kind.name]...)
			other := database{kind.otherSessions(t, dsn), kind}
			open := func(db keyset.Querier) *keyset.Table {
				q, err := keyset.OpenTable(t.Context(), db, kind.dialect, "t")
				if err != nil {
					t.Fatal(err)
				}
				return q
			}
			a, b := open(one.DB), open(other.DB)
			if a.Fingerprint() != b.Fingerprint() {
				t.Errorf("the fingerprints are %q and %q", a.Fingerprint(), b.Fingerprint())
			}
			show := func(rows []keyset.Row) (all []string) {
				for _, r := range rows {
					all = append(all, fmt.Sprint(r.Key, r.Values))
				}
				return all
			}
			for _, desc := range []bool{false, true} {
				a.Desc, b.Desc = desc, desc
				rows := collect(t, a, nil)
				want := show(rows)
				var n int
				if err := one.QueryRow("SELECT COUNT(*) FROM t").Scan(&n); err != nil || n != len(rows) {
					t.Fatalf("got %d rows of %d, %v", len(rows), n, err)
				}
				for size := 1; size <= 18; size++ {
					b.Page.Size, b.Page.Max = size, size
					if got := show(collect(t, b, nil)); !slices.Equal(got, want) {
						t.Fatalf("pages of %d: got\n%s\nwant\n%s", size, strings.Join(got, "\n"), strings.Join(want, "\n"))
					}
				}
				for i, r := range rows {
					if got := show(collect(t, b, &r.Key)); !slices.Equal(got, want[i+1:]) {
						t.Fatalf("behind %v: got\n%s\nwant\n%s", r.Key, strings.Join(got, "\n"), strings.Join(want[i+1:], "\n"))
					}
				}
				latest, err := b.Latest(t.Context())
				if err != nil || !latest.Equal(rows[len(rows)-1].Key) {
					t.Errorf("the latest is %v, %v", latest, err)
				}
			}

			// A session of somebody else's is not changed: it is right, or it is refused.
			tx, err := other.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback()
			rows, err := gather(open(tx).Stream(t.Context(), nil))
			a.Desc = false
			switch {
			case kind.name == "postgres":
				if !errors.Is(err, keyset.ErrSession) || len(rows) > 0 || !strings.Contains(err.Error(), "SET datestyle = 'ISO'") {
					t.Errorf("in a transaction: got %d rows, %v", len(rows), err)
				}
				if err := open(tx).Preflight(t.Context()); !errors.Is(err, keyset.ErrSession) {
					t.Errorf("the preflight of a transaction: %v", err)
				}
				var style string
				if err := other.QueryRow("SHOW datestyle").Scan(&style); err != nil || style != "SQL, DMY" {
					t.Errorf("the sessions of the pool have now the style %q, %v", style, err)
				}
			case err != nil || !slices.Equal(show(rows), show(collect(t, a, nil))):
				t.Errorf("in a transaction: got %s, %v", show(rows), err)
			}
		})
	}
}

// gather returns what a stream has, up to its error.
func gather[T any](stream func(func(T, error) bool)) (all []T, end error) {
	for v, err := range stream {
		if err != nil {
			return all, err
		}
		all = append(all, v)
	}
	return all, nil
}

// TestTextEncoding shows that text which is not sent as it is stored is refused.
func TestTextEncoding(t *testing.T) {
	for _, kind := range databases[1:] {
		t.Run(kind.name, func(t *testing.T) {
			dsn := kind.dsn(t)
			var db *sql.DB
			if kind.name == "postgres" {
				db = openDB(t, "pgx", dsn+"&client_encoding=LATIN1")
			} else {
				db = openDB(t, "mysql", dsn+"?charset=latin1")
			}
			exec(t, db, "CREATE TABLE t (k VARCHAR(20) NOT NULL PRIMARY KEY)", "INSERT INTO t VALUES ('a')")
			if err := drain(single[string](database{db, kind}, "t", "k").Stream(t.Context(), nil)); err == nil || !strings.Contains(err.Error(), "UTF8") && !strings.Contains(err.Error(), "utf8mb4") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestTimestampKeyOfQuery shows that a key whose text stands for two instants is refused
// where the values are the user's.
func TestTimestampKeyOfQuery(t *testing.T) {
	kind := databases[2]
	dsn := kind.dsn(t)
	db := database{kind.otherSessions(t, dsn), kind}
	exec(t, db.DB, "CREATE TABLE t (k TIMESTAMP NOT NULL PRIMARY KEY)", "INSERT INTO t VALUES ('2024-01-01 00:00:00')")
	q := single[string](db, "t", "k")
	for _, err := range []error{drain(q.Stream(t.Context(), nil)), q.Preflight(t.Context())} {
		if !errors.Is(err, keyset.ErrKey) || !strings.Contains(err.Error(), "Europe/Berlin") {
			t.Errorf("got %v", err)
		}
	}
	var prints []string
	for _, zone := range []string{"'+02:00'", "'+00:00'"} {
		q.DB = openDB(t, "mysql", dsn+"?time_zone="+url.QueryEscape(zone))
		if got := collect(t, q, nil); len(got) != 1 {
			t.Errorf("at %s: got %v", zone, got)
		}
		prints = append(prints, q.Fingerprint())
	}
	if prints[0] == prints[1] {
		t.Errorf("the time zone is not part of %q", prints[0])
	}
}
