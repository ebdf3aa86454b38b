package dbtest

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"example.com/pipeline/cursor/keyset"
)

// A keyCase is a table whose key has values that are easily lost on the way from
// the database through the driver and a checkpoint back to the database.
type keyCase struct {
	name    string
	columns string // of the key, in DDL
	key     string
	rows    []string // values of the key, as SQL
}

// texts are strings in which collations differ.
var texts = []string{"", " ", "a", "A", "b", "B", "ab", "a b", "Zebra", "zebra", "é", "e", "É", "ß", "ss", "ä", "o", "ö", "ø",
	"日本", "😀", "😁a", "ﬁ", "fi", "_", "%", "0", "10", "9", "''quoted''", "line\nbreak", "tab\t", "x\u0301", "Ω", "я"}

func quoted(values []string) []string {
	var all []string
	for _, v := range values {
		all = append(all, "'"+v+"'")
	}
	return all
}

var integers = []string{"-9223372036854775808", "-9007199254740993", "-9007199254740992", "-1", "0", "1", "2",
	"9007199254740991", "9007199254740992", "9007199254740993", "9223372036854775806", "9223372036854775807"}

var decimals = []string{"-12345678901234567890.0000000002", "-12345678901234567890.0000000001", "-1.5", "0", "0.1", "0.10000000000000001",
	"1", "12345678901234567890.0000000001", "12345678901234567890.0000000002", "12345678901234567890.0000000003"}

var uuids = quoted([]string{"00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000001", "7fffffff-ffff-ffff-ffff-ffffffffffff",
	"80000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "0190f3a2-7b7c-7abc-8def-0123456789ab", "0190f3a2-7b7c-7abd-8def-0123456789ab"})

var moments = quoted([]string{"1970-01-01 00:00:01", "2024-02-29 23:59:59.999999", "2024-03-01 00:00:00", "2024-03-01 00:00:00.000001",
	"2024-03-01 00:00:00.000002", "2024-03-31 02:30:00", "2024-10-27 02:30:00.5", "2037-12-31 23:59:59.123456"})

// farTimes are those of PostgreSQL that RFC 3339 does not know.
var farTimes = quoted([]string{"infinity", "-infinity", "4713-11-25 00:00:00 BC", "0044-03-15 12:00:00.000001 BC", "0044-03-15 12:00:00.000002 BC",
	"0001-02-29 00:00:00 BC", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "10000-01-01 00:00:00", "294276-12-31 00:00:00.999999"})

func composite(a, b []string) []string {
	var all []string
	for _, x := range a {
		for _, y := range b {
			all = append(all, x+", "+y)
		}
	}
	return all
}

var keyCases = map[string][]keyCase{
	"sqlite": {
		{"integer", "k INTEGER NOT NULL PRIMARY KEY", "k", integers},
		{"text", "k TEXT NOT NULL PRIMARY KEY", "k", quoted(texts)},
		{"text not UTF-8", "k TEXT NOT NULL PRIMARY KEY", "k", []string{"CAST(x'ff' AS TEXT)", "CAST(x'c3' AS TEXT)", "CAST(x'61ff62' AS TEXT)", "'a'", "'é'",
			"CAST(x'61fe' AS TEXT)", "CAST(x'eda080' AS TEXT)", "'b'"}},
		{"text with NUL", "k TEXT NOT NULL PRIMARY KEY", "k", []string{"CAST(x'00' AS TEXT)", "CAST(x'6100' AS TEXT)", "CAST(x'610062' AS TEXT)",
			"CAST(x'6100ff' AS TEXT)", "'a'", "''", "'b'"}},
		{"text without case", "k TEXT COLLATE NOCASE NOT NULL PRIMARY KEY", "k", quoted(texts)},
		{"blob", "k BLOB NOT NULL PRIMARY KEY", "k", []string{"x''", "x'00'", "x'0000'", "x'61'", "x'ff'", "x'fffe'", "x'c3a9'"}},
		{"any type", "k NOT NULL PRIMARY KEY", "k", []string{"-1", "0", "9007199254740993", "1.5", "''", "'a'", "'1'", "x''", "x'61'", "1e300"}},
		{"numeric", "k NUMERIC NOT NULL PRIMARY KEY", "k", []string{"-1", "0", "1", "1.5", "'abc'", "9007199254740993", "'2024-01-01'", "x'00'"}},
		{"datetime", "k DATETIME NOT NULL PRIMARY KEY", "k", append(quoted([]string{"2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000+00:00", "2024-01-01",
			"2024-01-01 00:00:00 +0000 UTC", "20240101"}), append([]string{"1704067200", "1704067200000"}, moments...)...)},
		{"date", "k DATE NOT NULL PRIMARY KEY", "k", quoted([]string{"2024-01-01", "2024-01-02", "0001-01-01", "x"})},
		{"boolean", "k BOOLEAN NOT NULL PRIMARY KEY", "k", []string{"0", "1"}},
		{"composite without rowid", "a TEXT, b INTEGER, PRIMARY KEY (b, a)", "b, a", composite(integers[:4], quoted(texts[:5]))},
		{"three columns", "a INTEGER NOT NULL, b TEXT NOT NULL, c BLOB NOT NULL, UNIQUE (a, b, c)", "a, b, c",
			composite([]string{"-1", "9007199254740993"}, composite(quoted(texts[:6]), []string{"x'00'", "x'01'"}))},
	},
	"postgres": {
		{"bigint", "k bigint PRIMARY KEY", "k", integers},
		{"text", "k text PRIMARY KEY", "k", quoted(texts)},
		{"text C", `k text COLLATE "C" PRIMARY KEY`, "k", quoted(texts)},
		{"text ICU", `k text COLLATE "de-x-icu" PRIMARY KEY`, "k", quoted(texts)},
		{"varchar", "k varchar(20) PRIMARY KEY", "k", quoted(texts)},
		{"char", "k char(8) PRIMARY KEY", "k", quoted(texts[2:20])},
		{"timestamptz", "k timestamptz PRIMARY KEY", "k", append(slices.Clone(farTimes), moments...)},
		{"timestamp", "k timestamp PRIMARY KEY", "k", append(slices.Clone(farTimes), moments...)},
		{"date", "k date PRIMARY KEY", "k", quoted([]string{"2024-01-01", "0001-01-01", "0044-03-15 BC", "9999-12-31", "infinity", "-infinity", "4713-11-25 BC", "0001-12-31 BC", "5874897-12-31"})},
		{"uuid", "k uuid PRIMARY KEY", "k", uuids},
		{"bytea", "k bytea PRIMARY KEY", "k", quoted([]string{`\x`, `\x00`, `\x0000`, `\x61`, `\xff`, `\xfffe`})},
		{"numeric", "k numeric PRIMARY KEY", "k", append([]string{"'NaN'"}, decimals...)},
		{"numeric scaled", "k numeric(30,10) PRIMARY KEY", "k", decimals[:5]},
		{"boolean", "k boolean PRIMARY KEY", "k", []string{"true", "false"}},
		{"inet", "k inet PRIMARY KEY", "k", quoted([]string{"10.0.0.1", "10.0.0.0/8", "::1"})},
		{"interval", "k interval PRIMARY KEY", "k", quoted([]string{"1 day", "25 hours", "-1 month", "0.000001 s"})},
		{"jsonb", "k jsonb PRIMARY KEY", "k", quoted([]string{`{"a": 1}`, `[]`, `"x"`, `1`, `12345678901234567890.1`})},
		{"array", "k integer[] PRIMARY KEY", "k", quoted([]string{"{}", "{1}", "{1,2}", "{2}"})},
		{"composite", "a text, b bigint, PRIMARY KEY (b, a)", "b, a", composite(integers[:4], quoted(texts[:5]))},
		{"three columns", "a uuid, b numeric, c timestamptz, PRIMARY KEY (a, b, c)", "a, b, c",
			composite(uuids[:3], composite(decimals[:4], moments[:3]))},
	},
	"mariadb": {
		{"bigint", "k BIGINT PRIMARY KEY", "k", integers},
		{"bigint unsigned", "k BIGINT UNSIGNED PRIMARY KEY", "k", []string{"0", "1", "9007199254740993", "9223372036854775807",
			"9223372036854775808", "18446744073709551614", "18446744073709551615"}},
		{"varchar", "k VARCHAR(40) PRIMARY KEY", "k", quoted(texts)},
		{"varchar with NUL", "k VARCHAR(40) PRIMARY KEY", "k", []string{"'a\\0'", "'a\\0b'", "'a'", "'\\0'", "'b'"}},
		{"varchar bin", "k VARCHAR(40) COLLATE utf8mb4_bin PRIMARY KEY", "k", quoted(texts)},
		{"varchar unicode", "k VARCHAR(40) COLLATE utf8mb4_unicode_ci PRIMARY KEY", "k", quoted(texts)},
		{"varchar nopad", "k VARCHAR(40) COLLATE utf8mb4_unicode_nopad_ci PRIMARY KEY", "k", quoted(texts)},
		{"varchar latin1", "k VARCHAR(40) CHARACTER SET latin1 PRIMARY KEY", "k", quoted(texts[:12])},
		{"char", "k CHAR(8) PRIMARY KEY", "k", quoted(texts[2:20])},
		{"datetime", "k DATETIME(6) PRIMARY KEY", "k", append(quoted([]string{"1000-01-01 00:00:00", "9999-12-31 23:59:59.999999"}), moments...)},
		{"timestamp", "k TIMESTAMP(6) PRIMARY KEY", "k", moments},
		{"date", "k DATE PRIMARY KEY", "k", quoted([]string{"0000-00-00", "2024-01-01", "1000-01-01", "9999-12-31"})},
		{"time", "k TIME(6) PRIMARY KEY", "k", quoted([]string{"-838:59:59", "-00:00:00.000001", "00:00:00", "838:59:59"})},
		{"year", "k YEAR PRIMARY KEY", "k", []string{"1901", "2024", "2155"}},
		{"bit", "k BIT(64) PRIMARY KEY", "k", []string{"0", "1", "255", "256", "9223372036854775808", "18446744073709551615"}},
		{"binary", "k BINARY(4) PRIMARY KEY", "k", []string{"x''", "x'61'", "x'ff'", "x'fffe'", "x'c3a9'"}},
		{"varbinary", "k VARBINARY(20) PRIMARY KEY", "k", []string{"x''", "x'00'", "x'0000'", "x'61'", "x'ff'", "x'fffe'", "x'c3a9'"}},
		{"uuid", "k UUID PRIMARY KEY", "k", uuids},
		{"decimal", "k DECIMAL(40,10) PRIMARY KEY", "k", decimals},
		{"composite", "a VARCHAR(20), b BIGINT, PRIMARY KEY (b, a)", "b, a", composite(integers[:4], quoted(texts[:5]))},
		{"three columns", "a UUID, b DECIMAL(40,10), c DATETIME(6), PRIMARY KEY (a, b, c)", "a, b, c",
			composite(uuids[:3], composite(decimals[:4], moments[:3]))},
	},
}

// insertNew inserts a row unless its key is taken, as keys are by the collation of
// the column.
func (d databaseKind) insertNew(columns, values string) string {
	switch d.name {
	case "sqlite":
		return "INSERT OR IGNORE INTO t (" + columns + ") VALUES (" + values + ")"
	case "mariadb":
		return "INSERT IGNORE INTO t (" + columns + ") VALUES (" + values + ")"
	}
	return "INSERT INTO t (" + columns + ") VALUES (" + values + ") ON CONFLICT DO NOTHING"
}

// create makes the table of a case, with a column v that numbers its rows.
func (c keyCase) create(t *testing.T, db database) {
	t.Helper()
	ddl := "CREATE TABLE t (v INTEGER, " + c.columns + ")"
	if db.name == "sqlite" && strings.Contains(c.name, "without rowid") {
		ddl += " WITHOUT ROWID"
	}
	exec(t, db.DB, ddl)
	for i, row := range c.rows {
		exec(t, db.DB, db.insertNew(c.key+", v", fmt.Sprintf("%s, %d", row, i)))
	}
}

// order returns the rows in the database's own order.
func (c keyCase) order(t *testing.T, db *sql.DB, desc bool) []int64 {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT v FROM t ORDER BY "+strings.Join(orderBy(c.key, desc), ", "))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []int64
	for rows.Next() {
		var v int64
		if err := rows.Scan(&v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	return all
}

func orderBy(key string, desc bool) []string {
	columns := strings.Split(key, ", ")
	for i := range columns {
		if desc {
			columns[i] += " DESC"
		}
	}
	return columns
}

// TestTableKeys reads tables by keys of every type, up and down, with small pages,
// and goes on from every position after it went through JSON.
func TestTableKeys(t *testing.T) {
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range keyCases[kind.name] {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					db := database{kind.open(t), kind}
					c.create(t, db)
					for _, querier := range db.queriers(t) {
						for _, desc := range []bool{false, true} {
							testTableKey(t, db, querier, c, desc)
						}
					}
				})
			}
		})
	}
}

func testTableKey(t *testing.T, db database, querier keyset.Querier, c keyCase, desc bool) {
	t.Helper()
	want := c.order(t, db.DB, desc)
	q, err := keyset.OpenTable(t.Context(), querier, db.dialect, "t", strings.Split(c.key, ", ")...)
	if err != nil {
		t.Fatal(err)
	}
	q.Desc = desc
	if err := q.Preflight(t.Context()); err != nil {
		t.Fatal(err)
	}
	q.Page.Prefetch = 0.5
	var rows []keyset.Row
	for _, size := range []int{3, 1} { // at last, each row is the end of a page
		q.Page.Size, q.Page.Max = size, size
		rows = collect(t, q, nil)
		if got := values(rows); !slices.Equal(got, want) {
			t.Fatalf("desc %v, pages of %d: got %v, want %v", desc, size, got, want)
		}
	}
	for i, row := range rows {
		stored, err := json.Marshal(row.Key)
		if err != nil {
			t.Fatalf("%v: %v", row, err)
		}
		var key keyset.Key
		if err := json.Unmarshal(stored, &key); err != nil {
			t.Fatalf("%s: %v", stored, err)
		}
		q.Page.Size, q.Page.Max = 1+i%4, 1+i%4
		rest := want[i+1:]
		if i > 0 && !everything() { // the first pages: those behind them are other rows' first ones
			rest = rest[:min(len(rest), 6)]
		}
		var got []int64
		for row, err := range q.Stream(t.Context(), &key) {
			if err != nil {
				t.Fatalf("desc %v, behind %s: %v", desc, stored, err)
			}
			if got = append(got, values([]keyset.Row{row})...); len(got) == len(rest) && len(got) < len(want[i+1:]) {
				break
			}
		}
		if !slices.Equal(got, rest) {
			t.Fatalf("desc %v, behind %s: got %v, want %v", desc, stored, got, rest)
		}
		if i%4 != 0 {
			continue
		}
		part := *q
		part.Until = &key
		if got := values(collect(t, &part, nil)); !slices.Equal(got, want[:i+1]) {
			t.Fatalf("desc %v, until %s: got %v, want %v", desc, stored, got, want[:i+1])
		}
	}
}

// A streamer is a keyset.Query or a *keyset.Table.
type streamer[T, P any] interface {
	Stream(ctx context.Context, after *P) iter.Seq2[T, error]
}

func collect[T, P any](t *testing.T, q streamer[T, P], after *P) []T {
	t.Helper()
	var all []T
	for row, err := range q.Stream(t.Context(), after) {
		if err != nil {
			t.Fatalf("after %d rows: %v", len(all), err)
		}
		all = append(all, row)
	}
	return all
}

// values returns the column v of rows.
func values(rows []keyset.Row) []int64 {
	var all []int64
	for _, r := range rows {
		all = append(all, r.Values[slices.Index(r.Columns, "v")].(int64))
	}
	return all
}
