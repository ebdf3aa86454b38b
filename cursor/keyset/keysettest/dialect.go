// Package keysettest checks that package keyset reads a database as it should, in the
// manner of testing/fstest: call it from a test of your own.
package keysettest

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"testing"

	"example.com/pipeline/cursor/keyset"
)

// TestDialect checks that keyset pages work on db: with the driver that opened it, its
// version and its settings. It makes the table keysettest_rows, which must not be
// there before, and drops it at the end.
//
// It reads the table in both directions, resumed from every row, in pages of several
// sizes and with a bound and a condition, by an integer beyond 2^53, by a string and
// by both together. It leaves out that the pages are read by an index: that depends on
// your tables, and EXPLAIN tells.
func TestDialect(t *testing.T, db *sql.DB, d keyset.Dialect) {
	const table = "keysettest_rows"
	exec := func(ctx context.Context, statement string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(ctx, statement, args...); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	exec(t.Context(), "CREATE TABLE "+table+" (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(40) NOT NULL, part INTEGER NOT NULL, UNIQUE (name), UNIQUE (part, name))")
	t.Cleanup(func() { exec(context.Background(), "DROP TABLE "+table) })
	names := []string{"", "a", "b'; --", "Bz", "éa", "zebra", "Äx", "日本", "😀", "50%_", "c", "d", "e"} // different where case and accents are ignored, too
	for i, name := range names {
		id := int64(i-5) << 55 // negative, and with digits that a float64 does not have
		if id != 0 {
			id++
		}
		exec(t.Context(), fmt.Sprintf("INSERT INTO %s (id, name, part) VALUES (%s, %s, %s)", table, d.Placeholder(1), d.Placeholder(2), d.Placeholder(3)), id, name, i%3)
	}
	type pair struct {
		Part int64
		Name string
	}
	t.Run("integer", func(t *testing.T) {
		testKey(t, db, d, []string{"id"}, func(r keyedRow) int64 { return r.id })
	})
	t.Run("string", func(t *testing.T) {
		testKey(t, db, d, []string{"name"}, func(r keyedRow) string { return r.name })
	})
	t.Run("both", func(t *testing.T) {
		testKey(t, db, d, []string{"part", "name"}, func(r keyedRow) pair { return pair{r.part, r.name} })
	})
}

type keyedRow struct {
	id   int64
	name string
	part int64
}

// testKey reads the table by one key.
func testKey[P comparable](t *testing.T, db *sql.DB, d keyset.Dialect, key []string, position func(keyedRow) P) {
	q := keyset.Query[keyedRow, P]{
		DB: db, Dialect: d, Select: "id, name, part", From: "keysettest_rows", Key: key,
		Scan:     func(rows *sql.Rows) (r keyedRow, err error) { err = rows.Scan(&r.id, &r.name, &r.part); return r, err },
		Position: position,
	}
	read := func(q keyset.Query[keyedRow, P], after *P, size int) []P {
		t.Helper()
		q.Page.Size, q.Page.Max = size, size
		var all []P
		for r, err := range q.Stream(t.Context(), after) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, position(r))
		}
		return all
	}
	want := func(what string, got, want []P) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	if err := q.Preflight(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := read(q, nil, 100) // in the database's own order
	if len(all) != 13 {
		t.Fatalf("there are %d rows, want 13: %v", len(all), all)
	}
	backwards := slices.Clone(all)
	slices.Reverse(backwards)
	for _, desc := range []bool{false, true} {
		q.Desc = desc
		rows := all
		if desc {
			rows = backwards
		}
		for _, size := range []int{1, 3, 13} {
			want(fmt.Sprintf("pages of %d, Desc %t", size, desc), read(q, nil, size), rows)
			for i := range rows {
				want(fmt.Sprintf("pages of %d after row %d, Desc %t", size, i, desc), read(q, &rows[i], size), rows[i+1:])
			}
		}
		for i := range rows {
			bounded := q
			bounded.Until = &rows[i]
			want(fmt.Sprintf("until row %d, Desc %t", i, desc), read(bounded, nil, 5), rows[:i+1])
		}
		none := q
		none.Where = "1 = 0 OR part > " + d.Placeholder(1) // in parentheses, or the bound is lost
		none.Args = []any{2}
		want("with a condition that no row meets", read(none, &rows[3], 5), nil)
		some := none
		some.Args = []any{-1}
		want("with a condition that each row meets", read(some, &rows[3], 5), rows[4:])
	}
}
