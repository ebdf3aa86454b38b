package dbtest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/pipeline/cursor/keyset"
	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

// openSQLite opens a new database in a file, in WAL mode so that a writer does
// not keep readers out.
func openSQLite(t testing.TB) *sql.DB {
	t.Helper()
	return openDB(t, "sqlite", sqliteDSN(t))
}

// openPostgres opens a new schema; it skips the test where there is no server.
func openPostgres(t testing.TB) *sql.DB {
	t.Helper()
	return openDB(t, "pgx", postgresDSN(t))
}

// openMariaDB opens a new database; it skips the test where there is no server.
func openMariaDB(t testing.TB) *sql.DB {
	t.Helper()
	return openDB(t, "mysql", mariaDBDSN(t))
}

// sqliteDSN names a database file that does not exist yet. A test that needs
// several pools on one database, or a process of its own, opens it itself.
func sqliteDSN(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	return "file:" + filepath.ToSlash(path) + "?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=busy_timeout(20000)"
}

// postgresDSN makes a schema and returns a name for connections that live in it, and that the
// server knows by the schema's name.
func postgresDSN(t testing.TB) string {
	t.Helper()
	dsn := serverDSN(t, "PIPELINE_POSTGRES")
	schema := uniqueName()
	admin := openDB(t, "pgx", dsn)
	exec(t, admin, "CREATE SCHEMA "+schema)
	t.Cleanup(func() { exec(t, admin, "DROP SCHEMA "+schema+" CASCADE") })
	if !strings.Contains(dsn, "://") {
		return dsn + " search_path=" + schema + " application_name=" + schema
	}
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatalf("PIPELINE_POSTGRES: %v", err)
	}
	params := u.Query()
	params.Set("search_path", schema)
	params.Set("application_name", schema)
	u.RawQuery = params.Encode()
	return u.String()
}

// mariaDBDSN makes a database and returns a name for connections to it.
func mariaDBDSN(t testing.TB) string {
	t.Helper()
	dsn := serverDSN(t, "PIPELINE_MARIADB")
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatalf("PIPELINE_MARIADB: %v", err)
	}
	admin := openDB(t, "mysql", dsn)
	cfg.DBName = uniqueName()
	exec(t, admin, "CREATE DATABASE "+cfg.DBName+" CHARACTER SET utf8mb4")
	t.Cleanup(func() { exec(t, admin, "DROP DATABASE "+cfg.DBName) })
	return cfg.FormatDSN()
}

// serverDSN reads a variable, and skips the test where it is not set.
func serverDSN(t testing.TB, variable string) string {
	t.Helper()
	dsn := os.Getenv(variable)
	if dsn == "" {
		t.Skipf("no server: set %s to a data source name to run this test", variable)
	}
	return dsn
}

func uniqueName() string {
	var b [8]byte
	rand.Read(b[:])
	return "pipeline_" + hex.EncodeToString(b[:])
}

// openDB opens a pool that is closed when the test ends, before what the test
// had cleaned up earlier is dropped.
func openDB(t testing.TB, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// exec runs statements that must succeed.
func exec(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.ExecContext(context.WithoutCancel(t.Context()), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// withEachDB runs a test on each of the three databases, side by side: most of the time they
// wait for a server.
func withEachDB(t *testing.T, test func(t *testing.T, db database)) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			test(t, database{d.open(t), d})
		})
	}
}

// A database is a pool together with what differs between the databases.
type database struct {
	*sql.DB
	databaseKind
}

type databaseKind struct {
	name    string
	dialect keyset.Dialect
	open    func(testing.TB) *sql.DB
}

var databases = []databaseKind{
	{"sqlite", keyset.SQLite, openSQLite},
	{"postgres", keyset.Postgres, openPostgres},
	{"mariadb", keyset.MySQL, openMariaDB},
}

// TestEachDatabaseAnswers shows that each test has a place of its own.
func TestEachDatabaseAnswers(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		exec(t, db.DB, "CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t (id) VALUES (1)")
		var n int
		if err := db.QueryRow("SELECT COUNT(*) FROM t").Scan(&n); err != nil || n != 1 {
			t.Fatalf("got %d rows, %v", n, err)
		}
	})
}
