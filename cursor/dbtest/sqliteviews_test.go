package dbtest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
)

// TestResultsOfManyTypes reads SQLite's views and queries whose legs have keys of different
// types and collations, and those that have no such: in pages of every size, up and down,
// behind each row after its position went through JSON, up to it, and in ranges.
func TestResultsOfManyTypes(t *testing.T) {
	t.Parallel()
	db := database{openSQLite(t), databases[0]}
	exec(t, db.DB,
		"CREATE TABLE i (k INTEGER PRIMARY KEY, v INT)", "INSERT INTO i VALUES (1,1),(2,2),(3,3),(10,4)",
		"CREATE TABLE s (k TEXT NOT NULL PRIMARY KEY, v INT)", "INSERT INTO s VALUES ('1',11),('2',12),('3',13),('a',14),('',15)",
		"CREATE TABLE r (k NOT NULL PRIMARY KEY, v INT)", "INSERT INTO r VALUES (1.5,21),('1.5',22),(x'31',23),(x'',24),('10',25)",
		"CREATE TABLE n (k TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, v INT)", "INSERT INTO n VALUES ('B',31),('c',32),('D',33),('e',34)",
		"CREATE TABLE b (k TEXT NOT NULL PRIMARY KEY, v INT)", "INSERT INTO b VALUES ('X',41),('y',42),('Z',43)",
		"CREATE TABLE j (k INTEGER PRIMARY KEY, v INT)", "INSERT INTO j VALUES (4,51),(5,52),(20,53)",
		"CREATE VIEW two AS SELECT * FROM i UNION ALL SELECT * FROM s",
		"CREATE VIEW owt AS SELECT * FROM s UNION ALL SELECT * FROM i")
	for _, c := range []struct {
		query string
		own   bool // sorted by the collation of one of its legs
	}{
		{"SELECT * FROM two", false},
		{"SELECT * FROM owt", false},
		{"SELECT * FROM i UNION SELECT * FROM s", false},
		{"SELECT * FROM s UNION SELECT * FROM i", false},
		{"SELECT * FROM i UNION ALL SELECT * FROM s UNION ALL SELECT * FROM r", false},
		{"SELECT * FROM two EXCEPT SELECT 2, 2", false},
		{"SELECT two.k, two.v FROM two JOIN (SELECT 1 AS one) ON one = 1", false},
		{"SELECT CAST(k AS TEXT) AS k, v FROM i UNION ALL SELECT k, v FROM j", false},
		{"SELECT CAST(k AS TEXT) AS k, v FROM i", false},
		{"SELECT CAST(k AS INTEGER) AS k, v FROM s WHERE k BETWEEN '1' AND '3'", false},
		{"SELECT k || '' AS k, v FROM r WHERE v IN (21, 25)", false},
		{"SELECT k + 0 AS k, v FROM i", false},
		{"SELECT CASE WHEN v % 2 THEN k ELSE '' || k END AS k, v FROM i", false},
		{"SELECT coalesce(k, '') AS k, v FROM two", false},
		{"SELECT (SELECT k FROM two x WHERE x.v = two.v) AS k, v FROM two", false},
		{"SELECT max(k) AS k, v FROM two GROUP BY v", false},
		{"WITH RECURSIVE c (k, v) AS (SELECT CAST(1 AS INTEGER), 1 UNION ALL SELECT CASE v WHEN 1 THEN '1' WHEN 2 THEN 2 ELSE '2' END, v + 1 FROM c WHERE v < 4) SELECT * FROM c", false},
		{"SELECT column1 AS k, column2 AS v FROM (VALUES (CAST(1 AS INTEGER), 1), ('1', 2), (2, 3), ('2', 4))", false},
		{"SELECT value AS k, key AS v FROM json_each('[1,\"1\",2,\"2\",\"a\"]')", false},
		{"SELECT * FROM i UNION ALL SELECT * FROM j", false},
		{"SELECT * FROM r", false},
		{"SELECT * FROM n", false},
		{"SELECT * FROM n UNION ALL SELECT * FROM b", true},
		{"SELECT * FROM b UNION ALL SELECT * FROM n", true},
		{"SELECT * FROM b UNION ALL SELECT * FROM n UNION ALL SELECT * FROM i", true},
	} {
		t.Run(c.query, func(t *testing.T) {
			name := "q"
			exec(t, db.DB, "CREATE VIEW q AS "+c.query)
			defer exec(t, db.DB, "DROP VIEW q")
			for _, of := range []string{"view", "query"} {
				q, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, name, "k")
				if of == "query" {
					q, err = keyset.OpenQuery(t.Context(), db.DB, db.dialect, c.query, "k")
				}
				if err != nil {
					t.Fatal(err)
				}
				if err := q.Preflight(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, q.Desc = range []bool{false, true} {
					order := map[bool]string{false: "k", true: "k DESC"}[q.Desc]
					q.Page = cursor.PageConfig{Size: 100, Max: 100}
					want := column(t, db, "SELECT v FROM q ORDER BY "+order)
					if c.own {
						sorted := slices.Sorted(slices.Values(want))
						if want = numbered(collect(t, q, nil)); !slices.Equal(slices.Sorted(slices.Values(want)), sorted) {
							t.Fatalf("%s by %s: got %v, want %v", of, order, want, sorted)
						}
					}
					readEveryWay(t, q, of+" by "+order, want)
				}
			}
		})
	}
}

// pageSizes returns sizes of pages in which n rows are read: small ones, and those about n.
func pageSizes(n int) []int {
	sizes := []int{1, 2, 3, 7, n, n + 1}
	slices.Sort(sizes)
	return slices.Compact(slices.DeleteFunc(sizes, func(size int) bool { return size < 1 || size > n+1 }))
}

// readEveryWay reads the rows whose v are want.
func readEveryWay(t *testing.T, q *keyset.Table, label string, want []string) {
	t.Helper()
	var rows []keyset.Row
	for _, size := range pageSizes(len(want)) {
		q.Page = cursor.PageConfig{Size: size, Max: size}
		rows = collect(t, q, nil)
		if got := numbered(rows); !slices.Equal(got, want) {
			t.Fatalf("%s, pages of %d: got %v, want %v", label, size, got, want)
		}
	}
	q.Page = cursor.PageConfig{Size: 5, Max: 5}
	for i, row := range rows {
		stored, err := json.Marshal(row.Key)
		if err != nil {
			t.Fatal(err)
		}
		var key keyset.Key
		if err := json.Unmarshal(stored, &key); err != nil {
			t.Fatal(err)
		}
		if got := numbered(collect(t, q, &key)); !slices.Equal(got, want[i+1:]) {
			t.Errorf("%s, behind %s: got %v, want %v", label, stored, got, want[i+1:])
		}
		part := *q
		part.Until = &key
		if got := numbered(collect(t, &part, nil)); !slices.Equal(got, want[:i+1]) {
			t.Errorf("%s, up to %s: got %v, want %v", label, stored, got, want[:i+1])
		}
	}
	ranges, err := q.Split(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range ranges {
		part := *q
		part.Until = r.Until
		got = append(got, numbered(collect(t, &part, r.After))...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s, in ranges: got %v, want %v", label, got, want)
	}
}

// Legs that are compared alike are still searched by their indexes.
func TestResultsThatAreAlike(t *testing.T) {
	db := database{openSQLite(t), databases[0]}
	exec(t, db.DB, "CREATE TABLE i (k INTEGER PRIMARY KEY, v INT)", "CREATE TABLE j (k INTEGER PRIMARY KEY, v INT)", "CREATE TABLE n (k TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, v INT)",
		`CREATE TABLE "UNION EXCEPT VALUES" (k INTEGER PRIMARY KEY, v INT)`, "CREATE INDEX iv ON i (v)")
	for _, query := range []string{
		"SELECT * FROM i", "SELECT * FROM n", "SELECT i.* FROM i JOIN n ON n.v = i.v", "SELECT * FROM i UNION ALL SELECT * FROM j", `SELECT * FROM "UNION EXCEPT VALUES"`,
		"SELECT * FROM i WHERE k = 3 OR v IN (SELECT v FROM n) AND v = (SELECT max(v) FROM j)", "SELECT k, count(*) AS v FROM n GROUP BY k", "SELECT n.* FROM n LEFT JOIN (SELECT DISTINCT v FROM i) d ON d.v = n.v",
		"SELECT * FROM n UNION ALL SELECT v || '' COLLATE NOCASE, v FROM n WHERE 0",
	} {
		q, err := keyset.OpenQuery(t.Context(), db.DB, db.dialect, query, "k")
		if err != nil {
			t.Fatal(err)
		}
		text, _, err := q.Statement(t.Context(), &keyset.Key{int64(1)})
		if err != nil {
			t.Fatal(err)
		}
		if loose := strings.Contains(text, "COLLATE \""); loose != strings.Contains(query, "||") {
			t.Errorf("%s is read with %s", query, text)
		}
	}
	if _, err := keyset.OpenQuery(t.Context(), db.DB, db.dialect, "SELECT * FROM i WHERE nosuch = 1", "k"); err == nil {
		t.Error("a query that cannot be run is taken")
	}
}
