package dbtest

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
)

// printed collects rows as text.
func printed(t *testing.T, rows iter.Seq2[keyset.Row, error]) (all []string) {
	t.Helper()
	for row, err := range rows {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.TrimSpace(fmt.Sprintln(row.Values...)))
	}
	return all
}

// A query is read by a key of its result, from any row on, in pages of every size; and
// without a key with one statement.
func TestOpenQuery(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		exec(t, db.DB, "CREATE TABLE a (id INTEGER PRIMARY KEY, d DECIMAL(9,2))", "CREATE TABLE b (a INTEGER, n INTEGER)",
			"INSERT INTO a VALUES (1, 1.50), (2, 2), (3, NULL), (4, 4)", "INSERT INTO b VALUES (1, 7), (1, 8), (2, 7), (4, 9)")
		query := "SELECT a.id AS ident, n, d FROM a JOIN b ON b.a = a.id WHERE n < 9 -- no more;\n ; "
		want := []string{"1 7 1.50", "1 8 1.50", "2 7 2.00"}
		if db.name == "sqlite" {
			want = []string{"1 7 1.5", "1 8 1.5", "2 7 2"}
		}
		for size := 1; size <= 4; size++ {
			q, err := keyset.OpenQuery(t.Context(), db.DB, db.dialect, query, "ident", "n")
			if err != nil {
				t.Fatal(err)
			}
			q.Page = cursor.PageConfig{Size: size, Max: size}
			if err := q.Preflight(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := printed(t, q.Stream(t.Context(), nil)); !slices.Equal(got, want) {
				t.Errorf("pages of %d: %q, want %q", size, got, want)
			}
			for row, err := range q.Stream(t.Context(), nil) {
				if err != nil {
					t.Fatal(err)
				}
				at := slices.Index(want, strings.TrimSpace(fmt.Sprintln(row.Values...)))
				if got := printed(t, q.Stream(t.Context(), &row.Key)); !slices.Equal(got, want[at+1:]) {
					t.Errorf("behind %v: %q, want %q", row.Key, got, want[at+1:])
				}
			}
			text, args, err := q.Statement(t.Context(), &keyset.Key{int64(1), int64(7)})
			if err != nil || len(args) < 2 || !strings.Contains(text, fmt.Sprintf("LIMIT %d", size+1)) {
				t.Errorf("the statement of a page: %s %v, %v", text, args, err)
			}
		}
		unordered, err := keyset.OpenQuery(t.Context(), db.DB, db.dialect, query)
		if err != nil {
			t.Fatal(err)
		}
		unordered.Reuse = true
		got := printed(t, unordered.All(t.Context()))
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("in no order: %q, want %q", got, want)
		}
		for range unordered.All(t.Context()) {
			break
		}
		db.SetMaxOpenConns(1) // the connection must be free again
		if err := unordered.Select("n"); err != nil {
			t.Fatal(err)
		}
		if got := printed(t, unordered.All(t.Context())); len(got) != 3 {
			t.Errorf("a column of it: %q", got)
		}
		if _, err := keyset.OpenQuery(t.Context(), db.DB, db.dialect, "SELECT nosuch FROM a", "id"); err == nil {
			t.Error("a query that cannot be run is taken")
		}
		if _, err := keyset.OpenQuery(t.Context(), db.DB, db.dialect, "SELECT id FROM a", "nosuch"); err == nil {
			t.Error("a key that is not there is taken")
		}
		twice, err := keyset.OpenQuery(t.Context(), db.DB, db.dialect, "SELECT n FROM b", "n")
		if err != nil {
			t.Fatal(err)
		}
		for _, err = range twice.Stream(t.Context(), nil) {
		}
		if !errors.Is(err, cursor.ErrDuplicateKey) {
			t.Errorf("a key that is not unique: %v", err)
		}
	})
}

// All of many rows come once, with memory of their own or lent.
func TestAll(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		exec(t, db.DB, "CREATE TABLE t (n INTEGER)")
		var values []string
		for n := range 1000 {
			values = append(values, fmt.Sprintf("(%d)", n))
		}
		exec(t, db.DB, "INSERT INTO t VALUES "+strings.Join(values, ","))
		q, err := keyset.OpenQuery(t.Context(), db.DB, db.dialect, "SELECT n FROM t")
		if err != nil {
			t.Fatal(err)
		}
		for _, reuse := range []bool{false, true} {
			q.Reuse = reuse
			seen := map[string]bool{}
			for _, text := range printed(t, q.All(t.Context())) {
				seen[text] = true
			}
			if len(seen) != 1000 {
				t.Errorf("%d different rows, want 1000", len(seen))
			}
		}
	})
}

// Names may have dots of their own, and the place of a row is a key in PostgreSQL.
func TestOpenTableByQuotedNameAndCtid(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		name := db.dialect.Quote("a.b")
		exec(t, db.DB, "CREATE TABLE "+name+" (id INTEGER)", "INSERT INTO "+name+" VALUES (1), (2)")
		_, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, `"a.b"`)
		if !errors.Is(err, keyset.ErrKey) {
			t.Errorf("a table without a primary key: %v", err)
		}
		if db.name != "postgres" {
			return
		}
		q, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, `"a.b"`, "ctid")
		if err != nil {
			t.Fatal(err)
		}
		q.Page = cursor.PageConfig{Size: 1, Max: 1}
		if err := q.Preflight(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := printed(t, q.Stream(t.Context(), &keyset.Key{"(0,1)"})); !slices.Equal(got, []string{"2"}) {
			t.Errorf("behind the first row: %q", got)
		}
		exec(t, db.DB, "CREATE TABLE child () INHERITS ("+name+")")
		if _, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, `"a.b"`, "ctid"); err == nil {
			t.Error("a place in one of several tables is taken for a key")
		}
	})
}
