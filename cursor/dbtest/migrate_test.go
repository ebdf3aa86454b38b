package dbtest

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"example.com/pipeline/cursor/sqlstore"
	"github.com/go-sql-driver/mysql"
)

// withoutIndex makes the tables of a store as an older version made them.
func withoutIndex(t *testing.T, db database, s *sqlstore.Store) {
	t.Helper()
	for _, statement := range strings.Split(s.DDL(), ";\n") {
		if strings.TrimSpace(statement) != "" {
			exec(t, db.DB, strings.Replace(statement, ",\n\tUNIQUE (done, done_at, name)", "", 1))
		}
	}
}

// indexes returns the columns of each index of a table, in the order of their texts.
func indexes(t *testing.T, db database, table string) string {
	t.Helper()
	rows, err := db.Query(strings.ReplaceAll(map[string]string{
		"sqlite":   `SELECT group_concat(x.name) FROM pragma_index_list('?') l, pragma_index_info(l.name) x GROUP BY l.name ORDER BY 1`,
		"postgres": `SELECT substring(pg_get_indexdef(indexrelid) FROM '[(].*') FROM pg_index WHERE indrelid = '"?"'::regclass ORDER BY 1`,
		"mariadb":  `SELECT GROUP_CONCAT(column_name ORDER BY seq_in_index) FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = '?' GROUP BY index_name ORDER BY 1`,
	}[db.name], "?", table))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	return allText(t, rows)
}

// TestMigrateAddsTheIndex migrates tables of an older version, by several at once: they get
// the index that those of this version have, and no more.
func TestMigrateAddsTheIndex(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		newStore(t, db, sqlstore.Tables("new_checkpoints", "new_keys"))
		want := indexes(t, db, "new_keys")
		long := strings.Repeat("k", 60) // PostgreSQL and MariaDB have names of 63 and 64 bytes
		for _, keys := range []string{"pipeline_keys", "My keys", long} {
			s := sqlstore.New(db.DB, db.dialect, sqlstore.Tables("checkpoints of "+keys[:2], keys))
			withoutIndex(t, db, s)
			if _, _, err := s.Begin(t.Context(), "key"); err != nil {
				t.Fatal(err)
			}
			if err := s.Finish(t.Context(), "key", nil); err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for range 5 {
				all.Go(func() {
					if err := s.Migrate(t.Context()); err != nil {
						t.Errorf("%s: %v", keys, err)
					}
				})
			}
			all.Wait()
			if got := indexes(t, db, keys); got != want {
				t.Errorf("%s: the indexes are\n%swant\n%s", keys, got, want)
			}
			if n, err := s.Prune(t.Context(), 0); n != 1 || err != nil {
				t.Errorf("%s: pruned %d, %v", keys, n, err)
			}
		}
	})
}

// TestMigrateInASchema migrates tables whose schema is named.
func TestMigrateInASchema(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		schema := "main"
		if db.name != "sqlite" {
			if err := db.QueryRow("SELECT " + map[string]string{"postgres": "current_schema()", "mariadb": "DATABASE()"}[db.name]).Scan(&schema); err != nil {
				t.Fatal(err)
			}
		}
		s := sqlstore.New(db.DB, db.dialect, sqlstore.Tables(schema+".checkpoints", schema+".keys of jobs"))
		withoutIndex(t, db, s)
		for range 2 {
			if err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		newStore(t, db)
		if got, want := indexes(t, db, "keys of jobs"), indexes(t, db, "pipeline_keys"); got != want {
			t.Errorf("the indexes are\n%swant\n%s", got, want)
		}
	})
}

// TestMigrateWhereAnotherIndexHasTheName wants an error, and not an index that is left out.
func TestMigrateWhereAnotherIndexHasTheName(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		s := sqlstore.New(db.DB, db.dialect)
		withoutIndex(t, db, s)
		exec(t, db.DB, "CREATE INDEX "+map[string]string{"sqlite": "pipeline_keys_done", "postgres": "pipeline_keys_done_done_at_name_key", "mariadb": "done"}[db.name]+" ON pipeline_keys (claim)")
		err := s.Migrate(t.Context())
		if there := strings.Contains(indexes(t, db, "pipeline_keys"), "done_at"); there != (err == nil) {
			t.Errorf("the index is there: %t, %v", there, err)
		}
	})
}

// TestMigrateWithoutRights migrates as a user who may make nothing: it does no harm where
// all is there, and says what is to be done where the index is not.
func TestMigrateWithoutRights(t *testing.T) {
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			user := uniqueName()[:20]
			var db, limited database
			switch kind.name {
			case "sqlite":
				dsn := sqliteDSN(t)
				db, limited = database{openDB(t, "sqlite", dsn), kind}, database{openDB(t, "sqlite", dsn+"&mode=ro"), kind}
			case "postgres":
				dsn := postgresDSN(t)
				db = database{openDB(t, "pgx", dsn), kind}
				u, err := url.Parse(dsn)
				if err != nil {
					t.Fatal(err)
				}
				exec(t, db.DB, "CREATE ROLE "+user+" LOGIN", "GRANT USAGE ON SCHEMA "+u.Query().Get("search_path")+" TO "+user,
					"ALTER DEFAULT PRIVILEGES IN SCHEMA "+u.Query().Get("search_path")+" GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO "+user)
				t.Cleanup(func() { exec(t, db.DB, "DROP OWNED BY "+user, "DROP ROLE "+user) })
				u.User = url.User(user)
				limited = database{openDB(t, "pgx", u.String()), kind}
			case "mariadb":
				dsn := mariaDBDSN(t)
				db = database{openDB(t, "mysql", dsn), kind}
				cfg, err := mysql.ParseDSN(dsn)
				if err != nil {
					t.Fatal(err)
				}
				exec(t, db.DB, "CREATE USER "+user, fmt.Sprintf("GRANT SELECT, INSERT, UPDATE, DELETE ON %s.* TO %s", cfg.DBName, user))
				t.Cleanup(func() { exec(t, db.DB, "DROP USER "+user) })
				cfg.User, cfg.Passwd = user, ""
				limited = database{openDB(t, "mysql", cfg.FormatDSN()), kind}
			}
			s := newStore(t, db)
			withLess := sqlstore.New(limited.DB, kind.dialect)
			if err := withLess.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
			exec(t, db.DB, "DROP TABLE pipeline_keys")
			withoutIndex(t, db, s)
			if err := withLess.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "UNIQUE") {
				t.Errorf("without the index: %v", err)
			}
			if err := s.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
			if err := withLess.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
