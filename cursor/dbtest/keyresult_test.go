package dbtest

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
)

// A keySource is what a run reads from.
type keySource interface {
	streamer[keyset.Row, keyset.Key]
	Fingerprint() string
	Position(keyset.Row) keyset.Key
}

// keyResults open sources whose key no catalog knows, on a table t and a view w of it.
var keyResults = map[string]func(*testing.T, database) keySource{
	"view": func(t *testing.T, db database) keySource {
		q, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, "w", "k")
		return paged(t, q, err)
	},
	"query": func(t *testing.T, db database) keySource {
		q, err := keyset.OpenQuery(t.Context(), db.DB, db.dialect, "SELECT k FROM t", "k")
		return paged(t, q, err)
	},
	"query of a view": func(t *testing.T, db database) keySource {
		q, err := keyset.OpenQuery(t.Context(), db.DB, db.dialect, "SELECT k FROM w", "k")
		return paged(t, q, err)
	},
	"join": func(t *testing.T, db database) keySource {
		q := keyset.Query[keyset.Row, keyset.Key]{DB: db.DB, Dialect: db.dialect, Select: "t.k", From: "t JOIN (SELECT 1 AS one) o ON o.one = 1", Key: []string{"t.k"},
			Where: "o.one = " + db.dialect.Placeholder(1), Args: []any{1},
			Scan: func(rows *sql.Rows) (keyset.Row, error) {
				k := make(keyset.Key, 1)
				return keyset.Row{Key: k}, rows.Scan(&k[0])
			},
			Position: func(r keyset.Row) keyset.Key { return r.Key },
		}
		q.Page.Size, q.Page.Max = 7, 7
		return keyQuery{q}
	},
}

func paged(t *testing.T, q *keyset.Table, err error) *keyset.Table {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	q.Page.Size, q.Page.Max = 7, 7
	return q
}

// TestKeyChangesOfResults is TestKeyChanges for views, queries and joins.
func TestKeyChangesOfResults(t *testing.T) {
	t.Parallel()
	for _, kind := range databases {
		for i, c := range keyChanges[kind.name] {
			for of, open := range keyResults {
				t.Run(fmt.Sprint(kind.name, i, of), func(t *testing.T) {
					db := database{kind.open(t), kind}
					const rows = 60
					exec(t, db.DB, "CREATE TABLE t ("+c.before+")")
					for i := range rows {
						exec(t, db.DB, fmt.Sprintf("INSERT INTO t VALUES ('%d')", i))
					}
					exec(t, db.DB, "CREATE VIEW w AS SELECT * FROM t")
					alter := func() {
						exec(t, db.DB, "DROP VIEW w")
						exec(t, db.DB, strings.Split(c.change, "; ")...)
						exec(t, db.DB, "CREATE VIEW w AS SELECT * FROM t")
					}
					store := cursor.NewMemStore()
					if n, err := runKeys(t, store, "whole", open(t, db), rows+1, nil); n != rows || err != nil {
						t.Fatalf("got %d rows, %v", n, err)
					}
					for _, job := range []string{"same", "between"} {
						if n, err := runKeys(t, store, job, open(t, db), 20, nil); n != 20 || err != nil {
							t.Fatalf("got %d rows, %v", n, err)
						}
					}
					if db.name == "sqlite" {
						exec(t, db.DB, "CREATE INDEX extra ON t (k)", "ANALYZE")
					} else {
						exec(t, db.DB, "CREATE INDEX extra ON t (k)", "ANALYZE "+map[string]string{"mariadb": "TABLE "}[db.name]+"t", "ALTER TABLE t ADD other INT")
					}
					if n, err := runKeys(t, store, "same", open(t, db), rows, nil); n != rows-19 || err != nil {
						t.Errorf("altered beside the key: got %d rows, %v", n, err)
					}
					if _, err := runKeys(t, store, "within", open(t, db), 20, alter); !errors.Is(err, cursor.ErrMismatch) {
						t.Errorf("altered within a run: got %v", err)
					}
					if n, err := runKeys(t, store, "between", open(t, db), rows, nil); n > 0 || !errors.Is(err, cursor.ErrMismatch) {
						t.Errorf("altered between two runs: got %d rows, %v", n, err)
					}
				})
			}
		}
	}
}

// runKeys reads up to a number of rows, or does something then, and says how it has ended.
func runKeys(t *testing.T, store cursor.Store, job string, q keySource, most int, do func()) (n int, err error) {
	t.Helper()
	c, err := cursor.Open[keyset.Key](t.Context(), store, job, cursor.WithFingerprint(q.Fingerprint()))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	for _, err := range cursor.Track(t.Context(), q.Stream(t.Context(), c.Position()), c, cursor.Every{Items: 1}, q.Position) {
		if err != nil {
			return n, err
		}
		if n++; n == most {
			if do == nil {
				return n, nil
			}
			do()
		}
	}
	return n, c.Finish(t.Context())
}

// The fingerprint of a result is the same in sessions with other settings.
func TestKeyResultsInOtherSessions(t *testing.T) {
	for _, kind := range databases[1:] {
		t.Run(kind.name, func(t *testing.T) {
			dsn := kind.dsn(t)
			one := database{openDB(t, map[string]string{"postgres": "pgx", "mariadb": "mysql"}[kind.name], dsn), kind}
			other := database{kind.otherSessions(t, dsn), kind}
			types := map[string][]string{
				"postgres": {"bigint", "text", `text COLLATE "de-x-icu"`, "char(9)", "timestamptz", "mood", "d", "int[]"},
				"mariadb":  {"BIGINT", "VARCHAR(9) COLLATE latin1_german2_ci", "DATETIME(3)", "DECIMAL(9,2)", "VARBINARY(9)", "UUID", "CHAR(9) CHARACTER SET ucs2"},
			}[kind.name]
			if kind.name == "postgres" {
				exec(t, one.DB, "CREATE TYPE mood AS ENUM ('sad', 'happy')", "CREATE DOMAIN d AS text")
			}
			for i, typ := range types {
				query := fmt.Sprintf("SELECT k AS k FROM t%d", i)
				exec(t, one.DB, fmt.Sprintf("CREATE TABLE t%d (k %s NOT NULL PRIMARY KEY)", i, typ))
				var prints []string
				for _, db := range []database{one, other} {
					q, err := keyset.OpenQuery(t.Context(), db.DB, db.dialect, query, "k")
					if err != nil {
						t.Fatal(err)
					}
					prints = append(prints, q.Fingerprint())
				}
				t.Log(typ, prints[0])
				if prints[0] != prints[1] || !strings.Contains(prints[0], "(k ") {
					t.Errorf("%s: the fingerprints are %v", typ, prints)
				}
			}
		})
	}
}
