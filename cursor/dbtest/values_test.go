package dbtest

import (
	"fmt"
	"slices"
	"testing"

	"example.com/pipeline/cursor/keyset"
)

// TestTableValues shows what the types of a database become, in the first page,
// which has no arguments and so another protocol with some drivers, and behind it.
func TestTableValues(t *testing.T) {
	for _, c := range []struct {
		db      int
		columns []string // DDL type, value, and what comes of it
	}{
		{0, []string{"INTEGER", "9223372036854775807", "int64 9223372036854775807", "REAL", "0.1", "float64 0.1", "TEXT", "'é'", "string é",
			"BLOB", "x''", "[]uint8 []", "DATETIME", "'2024-01-01 00:00:00'", "string 2024-01-01 00:00:00", "DATE", "7", "int64 7",
			"TEXT", "CAST(x'61ff' AS TEXT)", "string a\xff", "TEXT", "CAST(x'610062' AS TEXT)", "string a\x00b", "TEXT", "NULL", "<nil> <nil>"}},
		{1, []string{"int2", "-5", "int64 -5", "float4", "0.1", "float64 0.1", "float8", "0.1", "float64 0.1", "bool", "true", "bool true", "text", "'é'", "string é",
			"numeric", "1.50", "string 1.50", "date", "'2024-01-01'", "string 2024-01-01", "timestamptz", "'2024-01-01 00:00:00.000001Z'", "",
			"timestamptz", "'infinity'", "string infinity", "timestamp", "'-infinity'", "string -infinity", "date", "'infinity'", "string infinity",
			"timestamp", "'0044-03-15 12:00 BC'", "time.Time -0043-03-15 12:00:00 +0000 UTC", "date", "'0044-03-15 BC'", "string 0044-03-15 BC",
			"jsonb", `'{"a": 1}'`, `string {"a": 1}`, "integer[]", "'{1,2}'", "string {1,2}", "bytea", `'\x00ff'`, "[]uint8 [0 255]",
			"uuid", uuids[0], "string 00000000-0000-0000-0000-000000000000", "text", "NULL", "<nil> <nil>"}},
		{2, []string{"TINYINT", "-5", "int64 -5", "BIGINT UNSIGNED", "18446744073709551615", "uint64 18446744073709551615", "BIGINT UNSIGNED", "5", "int64 5",
			"DOUBLE", "0.1", "float64 0.1", "FLOAT", "0.1", "float32 0.1", "VARCHAR(9)", "'é'", "string é", "DECIMAL(9,2)", "1.5", "string 1.50",
			"DATE", "'0000-00-00'", "string 0000-00-00", "DATETIME(6)", "'2024-01-01 00:00:00.000001'", "string 2024-01-01 00:00:00.000001",
			"JSON", `'{"a": 1}'`, `string {"a": 1}`, "VARBINARY(9)", "x'00ff'", "[]uint8 [0 255]", "BIT(9)", "b'100000001'", "int64 257",
			"ENUM('a','b')", "'b'", "string b", "YEAR", "2024", "int64 2024", "UUID", uuids[0], "string 00000000-0000-0000-0000-000000000000", "TEXT", "NULL", "<nil> <nil>"}},
	} {
		t.Run(databases[c.db].name, func(t *testing.T) {
			db := database{databases[c.db].open(t), databases[c.db]}
			ddl, first, second := "id BIGINT NOT NULL PRIMARY KEY", "1", "2"
			for i := 0; i < len(c.columns); i += 3 {
				ddl += fmt.Sprintf(", c%d %s", i/3, c.columns[i])
				first += ", " + c.columns[i+1]
				second += ", " + c.columns[i+1]
			}
			fill(t, db, ddl, []string{first, second})
			for _, querier := range db.queriers(t) {
				q, err := keyset.OpenTable(t.Context(), querier, db.dialect, "t")
				if err != nil {
					t.Fatal(err)
				}
				q.Page.Size, q.Page.Max = 1, 1
				for _, row := range collect(t, q, nil) {
					for i, v := range row.Values[1:] {
						if got, want := fmt.Sprintf("%T %v", v, v), c.columns[3*i+2]; want != "" && got != want {
							t.Errorf("row %v, %s: got %s, want %s", row.Key, c.columns[3*i], got, want)
						}
					}
				}
			}
		})
	}
}

// TestTableNames reads a table whose names must be quoted, in another schema.
func TestTableNames(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		table, column, rest := db.dialect.Quote(`Order "De.tails`+"`"), db.dialect.Quote(`se"lect`+"`"), db.dialect.Quote("%s ?")
		exec(t, db.DB, "CREATE TABLE "+table+" ("+column+" BIGINT NOT NULL PRIMARY KEY, "+rest+" BIGINT)", "INSERT INTO "+table+" VALUES (1, 2), (3, 4)")
		schema := map[string]string{"sqlite": "SELECT 'main'", "postgres": "SELECT current_schema()::text", "mariadb": "SELECT DATABASE()"}[db.name]
		if err := db.QueryRow(schema).Scan(&schema); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{`Order "De.tails` + "`", schema + `.Order "De.tails` + "`"} {
			q, err := keyset.OpenTable(t.Context(), db, db.dialect, name)
			if err != nil {
				t.Fatal(err)
			}
			if err := q.Preflight(t.Context()); err != nil {
				t.Error(err)
			}
			q.Page.Size, q.Page.Max = 1, 1
			var got []any
			for _, row := range collect(t, q, nil) {
				got = append(got, row.Values...)
			}
			if !slices.Equal(got, []any{int64(1), int64(2), int64(3), int64(4)}) {
				t.Errorf("%s: got %v", name, got)
			}
			if latest, err := q.Latest(t.Context()); err != nil || (*latest)[0] != int64(3) {
				t.Errorf("%s: the latest is %v, %v", name, latest, err)
			}
		}
	})
}
