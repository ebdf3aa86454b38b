package dbtest

import (
	"database/sql"
	"strings"
	"testing"

	"example.com/pipeline/cursor/keyset"
)

// TestPinnedInTheBound looks at PostgreSQL's plans: behind a position the rows of a table
// come from the scan of the index, and pass no gate that the settings are pinned by. Where
// something else is evaluated for a row, the gate comes first.
func TestPinnedInTheBound(t *testing.T) {
	db := openPostgres(t)
	exec(t, db, `CREATE DOMAIN positive AS bigint`,
		`CREATE TABLE t (a bigint, b text COLLATE "C", c positive, d date, e numeric, f uuid, g timestamptz, h char(5), i varchar(9), j bytea,
				PRIMARY KEY (a, b), UNIQUE (c), UNIQUE (d), UNIQUE (e), UNIQUE (f), UNIQUE (g), UNIQUE (h), UNIQUE (i), UNIQUE (j))`,
		`INSERT INTO t SELECT n, 'é' || n, n, '2024-01-01'::date + n, n / 7.0, md5(n::text)::uuid, '2024-01-01Z'::timestamptz + n * interval '1 hour', 'a' || n, 'é' || n, decode(md5(n::text), 'hex') FROM generate_series(1, 2000) n`,
		`ALTER TABLE t ALTER c SET NOT NULL, ALTER d SET NOT NULL, ALTER e SET NOT NULL, ALTER f SET NOT NULL, ALTER g SET NOT NULL, ALTER h SET NOT NULL, ALTER i SET NOT NULL, ALTER j SET NOT NULL`,
		`ANALYZE t`)
	for _, c := range []struct {
		key   []string
		where string
		gate  bool
	}{
		{[]string{"a", "b"}, "", false},
		{[]string{"c"}, "", false},
		{[]string{"d"}, "", false},
		{[]string{"e"}, "", false},
		{[]string{"f"}, "", false},
		{[]string{"g"}, "", false},
		{[]string{"h"}, "", false},
		{[]string{"i"}, "", false},
		{[]string{"j"}, "", false},
		{[]string{"a", "b DESC"}, "", true},
		{[]string{"a", "b"}, "a::text <> ''", true},
	} {
		table, err := keyset.OpenTable(t.Context(), db, keyset.Postgres, "t", c.key...)
		if err != nil {
			t.Fatal(err)
		}
		table.Where = c.where
		table.Page.Size = 10
		for _, desc := range []bool{false, true} {
			table.Desc = desc
			var keys []keyset.Key
			for row, err := range table.Stream(t.Context(), nil) {
				if err != nil {
					t.Fatalf("%v: %v", c.key, err)
				}
				keys = append(keys, row.Key)
			}
			if len(keys) != 2000 {
				t.Errorf("%v, Desc %v: %d rows", c.key, desc, len(keys))
			}
			text, args, err := table.Statement(t.Context(), &keys[1000])
			if err != nil {
				t.Fatal(err)
			}
			all := explained(t, db, text, args)
			if gate := strings.Contains(all, "One-Time Filter"); gate != c.gate || !c.gate && !strings.Contains(all, "Index Cond") && !strings.Contains(all, "TID Cond") {
				t.Errorf("%v, Desc %v:\n%s", c.key, desc, all)
			}
		}
	}
}

func explained(t *testing.T, db *sql.DB, text string, args []any) string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "EXPLAIN "+text, args...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer rows.Close()
	var lines []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}
