package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
)

// postgresSchema opens a schema of PostgreSQL, and pools on it with more parameters.
func postgresSchema(t *testing.T) (db database, with func(params string) *sql.DB) {
	t.Helper()
	dsn := postgresDSN(t)
	if !strings.Contains(dsn, "://") {
		t.Skip("the data source name is no URL")
	}
	return database{openDB(t, "pgx", dsn), databases[1]}, func(params string) *sql.DB { return openDB(t, "pgx", dsn+params) }
}

// byEachWay returns what reads a table by k: itself, a view, a query, and a join.
func byEachWay(t *testing.T, db database, q keyset.Querier) map[string]interface{ Fingerprint() string } {
	t.Helper()
	table, err := keyset.OpenTable(t.Context(), q, db.dialect, "t", "k")
	if err != nil {
		t.Fatal(err)
	}
	view, err := keyset.OpenTable(t.Context(), q, db.dialect, "w", "k")
	if err != nil {
		t.Fatal(err)
	}
	query, err := keyset.OpenQuery(t.Context(), q, db.dialect, "SELECT k, v FROM t", "k")
	if err != nil {
		t.Fatal(err)
	}
	join := single[string](db, "t JOIN (SELECT 1 AS one) o ON o.one = 1", "k")
	join.DB = q
	return map[string]interface{ Fingerprint() string }{"table": table, "view": view, "query": query, "join": join}
}

// TestOrderUnderOneName makes what sorts a key anew under its old name: it is another
// fingerprint, in whatever way the key is read, and a short one.
func TestOrderUnderOneName(t *testing.T) {
	t.Parallel()
	long := make([]string, 300)
	for i := range long {
		long[i] = fmt.Sprintf("'label%d'", i)
	}
	swapped := slices.Clone(long)
	swapped[298], swapped[299] = swapped[299], swapped[298]
	again := func(typ, as string) []string {
		return []string{"ALTER TYPE " + typ + " RENAME TO old", "CREATE TYPE " + typ + " AS " + as}
	}
	for name, c := range map[string]struct {
		setup  []string
		typ    string
		change []string
	}{
		"enum":                {[]string{"CREATE TYPE m AS ENUM ('a', 'b')"}, "m", again("m", "ENUM ('b', 'a')")},
		"long enum":           {[]string{"CREATE TYPE m AS ENUM (" + strings.Join(long, ",") + ")"}, "m", again("m", "ENUM ("+strings.Join(swapped, ",")+")")},
		"labels":              {[]string{"CREATE TYPE m AS ENUM ('a', 'b')"}, "m", []string{"ALTER TYPE m RENAME VALUE 'a' TO 'x'", "ALTER TYPE m RENAME VALUE 'b' TO 'a'", "ALTER TYPE m RENAME VALUE 'x' TO 'b'"}},
		"array":               {[]string{"CREATE TYPE m AS ENUM ('a', 'b')"}, "m[]", again("m", "ENUM ('b', 'a')")},
		"domain":              {[]string{"CREATE TYPE m AS ENUM ('a', 'b')", "CREATE DOMAIN d AS m"}, "d", []string{"ALTER TYPE m RENAME VALUE 'a' TO 'x'"}},
		"array of composites": {[]string{"CREATE TYPE m AS ENUM ('a', 'b')", "CREATE TYPE c AS (i int, m m)"}, "c[]", []string{"ALTER TYPE m RENAME VALUE 'a' TO 'x'"}},
		"range": {[]string{`CREATE TYPE r AS RANGE (subtype = text, collation = "C")`}, "r", []string{"DROP VIEW w", "ALTER TABLE t ALTER k TYPE text USING k::text", "DROP TYPE r",
			`CREATE TYPE r AS RANGE (subtype = text, collation = "en-x-icu")`}},
		"collation": {[]string{"CREATE COLLATION own (provider = icu, locale = 'en-u-kf-upper')"}, "text COLLATE own",
			[]string{"ALTER COLLATION own RENAME TO old", "CREATE COLLATION own (provider = icu, locale = 'en-u-kf-upper-kn-true')"}},
	} {
		t.Run(name, func(t *testing.T) {
			db, with := postgresSchema(t)
			exec(t, db.DB, c.setup...)
			exec(t, db.DB, "CREATE TABLE t (k "+c.typ+" PRIMARY KEY, v int)", "CREATE VIEW w AS SELECT * FROM t")
			prints := func(q keyset.Querier) map[string]string {
				all := map[string]string{}
				for way, s := range byEachWay(t, db, q) {
					all[way] = s.Fingerprint()
				}
				return all
			}
			before, other := prints(db.DB), prints(with("&quote_all_identifiers=on&datestyle=SQL"))
			typ := strings.Fields(c.typ)[0]
			exec(t, db.DB, c.change...)
			exec(t, db.DB, "DROP VIEW IF EXISTS w", "ALTER TABLE t ALTER k TYPE "+c.typ+" USING k::text::"+typ, "CREATE VIEW w AS SELECT * FROM t")
			after := prints(with(""))
			for way := range before {
				if before[way] != other[way] {
					t.Errorf("%s: in another session it is %s, not %s", way, other[way], before[way])
				}
				if before[way] == after[way] || len(before[way]) > 400 {
					t.Errorf("%s: before %s, after %s", way, before[way], after[way])
				}
			}
		})
	}
}

// TestLabelsAdded adds a label in the midst of a run, which moves no row.
func TestLabelsAdded(t *testing.T) {
	db, _ := postgresSchema(t)
	exec(t, db.DB, "CREATE TYPE m AS ENUM ('a', 'b', 'c')", "CREATE TABLE t (k m PRIMARY KEY, v int)", "INSERT INTO t VALUES ('a', 1), ('b', 2), ('c', 3)")
	for _, change := range []string{"ALTER TYPE m ADD VALUE 'a2' BEFORE 'b'", "ALTER TYPE m RENAME VALUE 'a' TO 'z'"} {
		q, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, "t")
		if err != nil {
			t.Fatal(err)
		}
		q.Page = cursor.PageConfig{Size: 1, Max: 1}
		n := 0
		for _, err = range q.Stream(t.Context(), nil) {
			if n++; n == 1 {
				exec(t, db.DB, change)
			}
		}
		if added := strings.Contains(change, "ADD"); added && (err != nil || n != 3) || !added && !errors.Is(err, cursor.ErrMismatch) {
			t.Errorf("%s: got %d rows, %v", change, n, err)
		}
	}
}

// TestDomainOverEnum reads by a key that has no operators of its own, with its index.
func TestDomainOverEnum(t *testing.T) {
	db, _ := postgresSchema(t)
	exec(t, db.DB, "CREATE TYPE m AS ENUM ('sad', 'happy', 'angry')", "CREATE DOMAIN d1 AS m", "CREATE DOMAIN d AS d1", "CREATE TABLE t (k d PRIMARY KEY, v int)",
		"INSERT INTO t VALUES ('sad', 1), ('happy', 2), ('angry', 3)", "CREATE VIEW w AS SELECT * FROM t")
	for way, s := range byEachWay(t, db, db.DB) {
		for _, desc := range []bool{false, true} {
			want := []string{"1", "2", "3"}
			var got []string
			var err error
			switch q := s.(type) {
			case *keyset.Table:
				q.Desc, q.Page = desc, cursor.PageConfig{Size: 1, Max: 1}
				err = q.Preflight(t.Context())
				rows, failed := gather(q.Stream(t.Context(), nil))
				got, err = numbered(rows), errors.Join(err, failed)
			case keyset.Query[string, string]:
				want = []string{"sad", "happy", "angry"}
				q.Desc, q.Page = desc, cursor.PageConfig{Size: 1, Max: 1}
				got, err = gather(q.Stream(t.Context(), nil))
			}
			if desc {
				slices.Reverse(want)
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s, down %v: got %v, %v", way, desc, got, err)
			}
		}
	}
	q, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, "t")
	if err != nil {
		t.Fatal(err)
	}
	text, args, err := q.Statement(t.Context(), &keyset.Key{"sad"})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "SET enable_seqscan = off"); err != nil {
		t.Fatal(err)
	}
	defer conn.ExecContext(context.WithoutCancel(t.Context()), "RESET enable_seqscan")
	rows, err := conn.QueryContext(t.Context(), "EXPLAIN "+text, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(line + "\n")
	}
	if !strings.Contains(plan.String(), "Index Cond") || strings.Contains(plan.String(), "Sort") {
		t.Errorf("the plan is\n%s", &plan)
	}
}

// TestSessionIsLookedAt has sessions that would read something else: each is refused with
// what is to be done.
func TestSessionIsLookedAt(t *testing.T) {
	db, with := postgresSchema(t)
	exec(t, db.DB, "CREATE TABLE t (k text[] PRIMARY KEY, v int)", `INSERT INTO t VALUES ('{NULL}', 1), ('{"NULL"}', 2), ('{a}', 3)`,
		"CREATE TABLE days (d date PRIMARY KEY)", "INSERT INTO days SELECT '2020-01-01'::date + n FROM generate_series(1, 30) n")
	refused := func(what string, err error, word string) {
		t.Helper()
		if !errors.Is(err, keyset.ErrSession) || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	table := func(q keyset.Querier, name string) *keyset.Table {
		t.Helper()
		k, err := keyset.OpenTable(t.Context(), q, db.dialect, name)
		if err != nil {
			t.Fatal(err)
		}
		k.Page = cursor.PageConfig{Size: 2, Max: 2}
		return k
	}
	off := with("&array_nulls=off")
	refused("arrays", table(off, "t").Preflight(t.Context()), "array_nulls = 'on'")
	_, err := gather(table(off, "t").Stream(t.Context(), nil))
	refused("arrays", err, "array_nulls = 'on'")
	if rows, err := gather(table(off, "days").Stream(t.Context(), nil)); len(rows) != 30 || err != nil {
		t.Errorf("without arrays: got %d rows, %v", len(rows), err)
	}
	_, err = gather(table(with("&client_encoding=LATIN1"), "days").Stream(t.Context(), nil))
	refused("encoding", err, "add client_encoding = 'UTF8' to the connection")

	conn, err := off.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = gather(table(conn, "t").Stream(t.Context(), nil))
	refused("arrays of a connection", err, "SET array_nulls = 'on'")
	n := 0
	for _, err = range table(conn, "days").Stream(t.Context(), nil) {
		if n++; n == 5 {
			if _, err := conn.ExecContext(t.Context(), "SET datestyle = 'SQL, DMY'"); err != nil {
				t.Fatal(err)
			}
		}
	}
	refused("a setting that changes in the loop", err, "SET datestyle = 'ISO'")
}

// TestNamesBySearchPath reads texts whose names stand for other tables by another search
// path: they have another fingerprint. A schema that has none of the names changes nothing.
func TestNamesBySearchPath(t *testing.T) {
	db, with := postgresSchema(t)
	schema := column(t, db, "SELECT current_schema()")[0]
	other := uniqueName()
	exec(t, db.DB, "CREATE SCHEMA "+other, "CREATE TABLE t (k int PRIMARY KEY, v int)", "CREATE TABLE u (k int PRIMARY KEY)", "CREATE TABLE "+other+".u (k int PRIMARY KEY)",
		"CREATE TABLE "+other+".unrelated (k int)", "INSERT INTO t SELECT n, n FROM generate_series(1, 9) n")
	t.Cleanup(func() { exec(t, db.DB, "DROP SCHEMA "+other+" CASCADE") })
	prints := func(path string) (all []string) {
		t.Helper()
		q := with("&search_path=" + path)
		query, err := keyset.OpenQuery(t.Context(), q, db.dialect, "SELECT * FROM u", "k")
		if err != nil {
			t.Fatal(err)
		}
		table, err := keyset.OpenTable(t.Context(), q, db.dialect, schema+".t")
		if err != nil {
			t.Fatal(err)
		}
		table.Where = "v IN (SELECT k FROM u)"
		of := single[int64](database{q, db.databaseKind}, "u", "k")
		return append(all, query.Fingerprint(), table.Fingerprint(), of.Fingerprint())
	}
	one, more, swapped := prints(schema), prints(schema+","+other), prints(other+","+schema)
	for i := range one {
		if one[i] != more[i] || one[i] == swapped[i] || !strings.Contains(swapped[i], other+".u") {
			t.Errorf("got %s, %s and %s", one[i], more[i], swapped[i])
		}
	}

	// A table that is found first from now on.
	q := single[int64](db, "t", "k")
	q.DB, q.Page = with("&search_path="+other+","+schema), cursor.PageConfig{Size: 2, Max: 2}
	n := 0
	var err error
	for _, err = range q.Stream(t.Context(), nil) {
		if n++; n == 3 {
			exec(t, db.DB, "CREATE TABLE "+other+".t (k int PRIMARY KEY)")
		}
	}
	if !errors.Is(err, cursor.ErrMismatch) || !strings.Contains(err.Error(), other+".t") {
		t.Errorf("within a run: got %d rows, %v", n, err)
	}
}
