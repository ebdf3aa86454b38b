package dbtest

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
)

// keyChanges are statements that sort the rows of t in another order, and a word that the
// error must have.
var keyChanges = map[string][]struct{ before, change, word string }{
	"sqlite": {
		{"k TEXT NOT NULL PRIMARY KEY", "CREATE TABLE u (k TEXT COLLATE NOCASE NOT NULL PRIMARY KEY); INSERT INTO u SELECT * FROM t; DROP TABLE t; ALTER TABLE u RENAME TO t", "NOCASE"},
		{"k INTEGER NOT NULL PRIMARY KEY", "CREATE TABLE u (k TEXT NOT NULL PRIMARY KEY); INSERT INTO u SELECT * FROM t; DROP TABLE t; ALTER TABLE u RENAME TO t", "TEXT"},
	},
	"postgres": {
		{`k text COLLATE "C" PRIMARY KEY`, `ALTER TABLE t ALTER k TYPE text COLLATE "en-x-icu"`, "en-x-icu"},
		{`k bigint PRIMARY KEY`, `ALTER TABLE t ALTER k TYPE text`, "text"},
	},
	"mariadb": {
		{"k VARCHAR(20) COLLATE utf8mb4_bin PRIMARY KEY", "ALTER TABLE t MODIFY k VARCHAR(20) COLLATE utf8mb4_general_ci", "utf8mb4_general_ci"},
		{"k BIGINT PRIMARY KEY", "ALTER TABLE t MODIFY k VARCHAR(20)", "varchar(20)"},
	},
}

// TestKeyChanges alters the key in the midst of a run, and between two runs: neither a
// Table nor a Query comes to an end as if nothing had been.
func TestKeyChanges(t *testing.T) {
	for _, kind := range databases {
		for i, c := range keyChanges[kind.name] {
			t.Run(fmt.Sprint(kind.name, i), func(t *testing.T) {
				for _, of := range []string{"table", "query"} {
					t.Run(of, func(t *testing.T) { testKeyChange(t, database{kind.open(t), kind}, of, c.before, c.change, c.word) })
				}
			})
		}
	}
}

func testKeyChange(t *testing.T, db database, of, before, change, word string) {
	const rows = 60
	exec(t, db.DB, "CREATE TABLE t ("+before+")")
	for i := range rows {
		exec(t, db.DB, fmt.Sprintf("INSERT INTO t VALUES ('%d')", i))
	}
	type source interface {
		streamer[keyset.Row, keyset.Key]
		Fingerprint() string
		Position(keyset.Row) keyset.Key
	}
	open := func() source {
		if of == "table" {
			q, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, "t")
			if err != nil {
				t.Fatal(err)
			}
			q.Page.Size, q.Page.Max = 7, 7
			return q
		}
		q := onKey(db, "t", "k")
		column := "k"
		if db.name == "sqlite" {
			column = "+k"
		}
		r := keyset.Query[keyset.Row, keyset.Key]{DB: db.DB, Dialect: db.dialect, Select: column, From: "t", Key: []string{"k"},
			Scan: func(rows *sql.Rows) (keyset.Row, error) {
				k, err := q.Scan(rows)
				return keyset.Row{Key: k}, err
			},
			Position: func(r keyset.Row) keyset.Key { return r.Key },
		}
		r.Page.Size, r.Page.Max = 7, 7
		return keyQuery{r}
	}
	// read reads up to a number of rows, and says how it has ended.
	store := cursor.NewMemStore()
	read := func(job string, most int, alter bool) (n int, err error) {
		q := open()
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
				if !alter {
					return n, nil
				}
				exec(t, db.DB, strings.Split(change, "; ")...)
			}
		}
		return n, c.Finish(t.Context())
	}
	if n, err := read("whole", rows+1, false); n != rows || err != nil {
		t.Fatalf("got %d rows, %v", n, err)
	}
	if n, err := read("between", 20, false); n != 20 || err != nil {
		t.Fatalf("got %d rows, %v", n, err)
	}
	if _, err := read("within", 20, true); !errors.Is(err, cursor.ErrMismatch) || !strings.Contains(err.Error(), word) {
		t.Errorf("altered within a run: got %v", err)
	}
	if n, err := read("between", rows, false); n > 0 || !errors.Is(err, cursor.ErrMismatch) || !strings.Contains(err.Error(), word) {
		t.Errorf("altered between two runs: got %d rows, %v", n, err)
	}
}

// A keyQuery is a Query with the methods of a Table.
type keyQuery struct {
	keyset.Query[keyset.Row, keyset.Key]
}

func (q keyQuery) Position(r keyset.Row) keyset.Key { return r.Key }

// TestEqualInTheDatabase reads rows that are two in Go and one key in the database, where
// no index says so: no position is handed out that stands for both.
func TestEqualInTheDatabase(t *testing.T) {
	for i, c := range []struct {
		db    int
		from  []string
		value []string
	}{
		{0, []string{"CREATE TABLE b (k NUMERIC COLLATE NOCASE NOT NULL)"}, []string{"1", "'a'", "'B'", "'b'", "'c'"}},
		{0, []string{"CREATE TABLE b (k TEXT COLLATE NOCASE NOT NULL)"}, []string{"'a'", "'B'", "'b'", "'c'"}},
		{1, []string{"CREATE TABLE b (k numeric NOT NULL)"}, []string{"0.5", "1.0", "1.00", "2"}},
		{1, []string{"CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)", "CREATE TABLE b (k text COLLATE ci NOT NULL)"}, []string{"'a'", "'B'", "'b'", "'c'"}},
		{2, []string{"CREATE TABLE b (k VARCHAR(20) COLLATE utf8mb4_general_ci NOT NULL)"}, []string{"'a'", "'B'", "'b'", "'c'"}},
		{2, []string{"CREATE TABLE b (k VARCHAR(20) COLLATE utf8mb4_general_ci NOT NULL)"}, []string{"'a'", "'e'", "'é'", "'f'"}},
	} {
		t.Run(fmt.Sprint(databases[c.db].name, i), func(t *testing.T) {
			db := database{databases[c.db].open(t), databases[c.db]}
			exec(t, db.DB, c.from...)
			for _, v := range c.value {
				exec(t, db.DB, "INSERT INTO b VALUES ("+v+")")
			}
			exec(t, db.DB, "CREATE VIEW t AS SELECT * FROM b")
			sound := len(c.value) - 3
			for size := 1; size <= len(c.value)+1; size++ {
				for _, from := range []string{"t", "b", "b JOIN (SELECT 1 AS one) o ON o.one = 1"} {
					q := onKey(db, from, "k")
					if db.name == "sqlite" {
						q.Select = "+k"
					}
					q.Page.Size, q.Page.Max = size, size
					got, err := gather(q.Stream(t.Context(), nil))
					if !errors.Is(err, cursor.ErrDuplicateKey) || len(got) != sound {
						t.Errorf("%s, pages of %d: got %v, %v", from, size, got, err)
					}
				}
				table, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, "t", "k")
				if err != nil {
					t.Fatal(err)
				}
				table.Page.Size, table.Page.Max = size, size
				if got, err := gather(table.Stream(t.Context(), nil)); !errors.Is(err, cursor.ErrDuplicateKey) || len(got) != sound {
					t.Errorf("table, pages of %d: got %v, %v", size, got, err)
				}
			}
		})
	}
}

// TestMixedDirections reads by keys whose columns do not all go one way.
func TestMixedDirections(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		exec(t, db.DB, "CREATE TABLE t (a BIGINT NOT NULL, b BIGINT NOT NULL, c VARCHAR(9) NOT NULL)", "CREATE UNIQUE INDEX t_key ON t (a DESC, b, c DESC)")
		for a := range 3 {
			for b := range 3 {
				for _, c := range []string{"x", "y", "z"} {
					exec(t, db.DB, fmt.Sprintf("INSERT INTO t VALUES (%d, %d, '%s')", a, b, c))
				}
			}
		}
		q, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, "t", "a", "b", "c")
		if err != nil {
			t.Fatal(err)
		}
		told, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, "t", "a", "b DESC", "c")
		if err != nil {
			t.Fatal(err)
		}
		if q.Fingerprint() != told.Fingerprint() {
			t.Errorf("the fingerprints are %s and %s", q.Fingerprint(), told.Fingerprint())
		}
		for _, q.Desc = range []bool{false, true} {
			if err := q.Preflight(t.Context()); err != nil {
				t.Fatal(err)
			}
			text := "SELECT a, b, c FROM t ORDER BY a, b DESC, c"
			if q.Desc {
				text = "SELECT a, b, c FROM t ORDER BY a DESC, b, c DESC"
			}
			var want []string
			rows, err := db.Query(text)
			if err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
				var a, b int64
				var c string
				if err := rows.Scan(&a, &b, &c); err != nil {
					t.Fatal(err)
				}
				want = append(want, fmt.Sprint([]any{a, b, c}))
			}
			if rows.Err() != nil {
				t.Fatal(rows.Err())
			}
			show := func(rows []keyset.Row) (all []string) {
				for _, r := range rows {
					all = append(all, fmt.Sprint([]any(r.Key)))
				}
				return all
			}
			q.Page.Size, q.Page.Max = 2, 2
			all := collect(t, q, nil)
			if got := show(all); !slices.Equal(got, want) {
				t.Fatalf("desc %v: got %v, want %v", q.Desc, got, want)
			}
			for i := range all {
				if got := show(collect(t, q, &all[i].Key)); !slices.Equal(got, want[i+1:]) {
					t.Errorf("behind %v: got %v, want %v", all[i].Key, got, want[i+1:])
				}
				part := *q
				part.Until = &all[i].Key
				if got := show(collect(t, &part, nil)); !slices.Equal(got, want[:i+1]) {
					t.Errorf("up to %v: got %v, want %v", all[i].Key, got, want[:i+1])
				}
			}
			ranges, err := q.Split(t.Context(), 4)
			if err != nil {
				t.Fatal(err)
			}
			var parts []keyset.Row
			for _, r := range ranges {
				part := *q
				part.Until = r.Until
				parts = append(parts, collect(t, &part, r.After)...)
			}
			if !slices.Equal(show(parts), want) {
				t.Errorf("in parts: got %v", show(parts))
			}
			if latest, err := q.Latest(t.Context()); err != nil || fmt.Sprint([]any(*latest)) != want[len(want)-1] {
				t.Errorf("the latest is %v, %v", latest, err)
			}
		}
	})
}
