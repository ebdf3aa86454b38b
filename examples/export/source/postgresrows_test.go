package source

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"reflect"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// TestPostgresRows reads values of many types, in each mode of the driver, from our rows
// and from those of package stdlib: they are the same.
func TestPostgresRows(t *testing.T) {
	dsn := os.Getenv("PIPELINE_POSTGRES")
	if dsn == "" {
		t.Skip("no server: set PIPELINE_POSTGRES to a data source name to run this test")
	}
	const query = `SELECT i, i::int2 AS small, i::int8 * 1099511627776 AS big, i % 2 = 0 AS even, i::float4 / 3 AS f4, i::float8 / 3 AS f8,
		repeat('é', i * i) AS txt, 'ab'::char(5) AS padded, i::text::varchar AS v, NULLIF(i, 3) AS nullable, NULL::text AS nothing, '' AS empty,
		decode(repeat('00ff', i), 'hex') AS bin, i::numeric / 7 AS num, '2024-02-29'::date + i AS d, '0044-03-15 BC'::timestamp + i * interval '1 day' AS ts,
		'infinity'::timestamptz AS inf, now() AS tz, ('{"a": ' || i || '}')::json AS j, ARRAY[i, NULL] AS arr, i::oid AS o, '(0,1)'::tid AS tid, interval '1 day' * i AS iv,
		'NaN'::float8 AS nan, gen_random_uuid() IS NOT NULL AS u, 'x'::name AS name, int4range(1, i + 2) AS r, '<a/>'::xml AS x
		FROM generate_series(0, 40) i WHERE i < $1`
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		cfg := cfg.Copy()
		cfg.DefaultQueryExecMode = mode
		ours := sql.OpenDB(postgresConnector{stdlib.GetConnector(*cfg)})
		theirs := stdlib.OpenDB(*cfg)
		for _, db := range []*sql.DB{ours, theirs} {
			defer db.Close()
			db.SetMaxOpenConns(1)
			if _, err := db.Exec("BEGIN; SET TIME ZONE 'UTC'"); err != nil { // one moment for now()
				t.Fatal(err)
			}
		}
		got, gotTypes := allValues(t, ours, query, 41)
		want, wantTypes := allValues(t, theirs, query, 41)
		for i, row := range want {
			for j, v := range row {
				if wantTypes[j] == "TIMESTAMPTZ" {
					continue // now() of another session
				}
				if text := fmt.Sprintf("%#v", got[i][j]); text != fmt.Sprintf("%#v", v) {
					t.Errorf("%v, row %d, column %d (%s): got %s, want %#v", mode, i, j, wantTypes[j], text, v)
				}
			}
		}
		if !reflect.DeepEqual(gotTypes, wantTypes) || len(got) != 41 {
			t.Errorf("%v: %d rows of %v, want %v", mode, len(got), gotTypes, wantTypes)
		}
		if none, types := allValues(t, ours, query, 0); len(none) != 0 || !reflect.DeepEqual(types, wantTypes) {
			t.Errorf("%v: without rows %d rows of %v", mode, len(none), types)
		}
	}
}

// TestPostgresRowsEnd ends rows early, by their context, and by a lost connection.
func TestPostgresRowsEnd(t *testing.T) {
	dsn := os.Getenv("PIPELINE_POSTGRES")
	if dsn == "" {
		t.Skip("no server: set PIPELINE_POSTGRES to a data source name to run this test")
	}
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(postgresConnector{stdlib.GetConnector(*cfg)})
	defer db.Close()
	const many = "SELECT i, repeat('x', 1000) FROM generate_series(1, 200000) i"
	read := func(ctx context.Context, query string, most int) (n int, err error) {
		rows, err := db.QueryContext(ctx, query)
		if err != nil {
			return 0, err
		}
		defer rows.Close()
		for n < most && rows.Next() {
			n++
		}
		return n, rows.Err()
	}
	if n, err := read(t.Context(), many, 10); n != 10 || err != nil {
		t.Errorf("left early: %d rows, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	rows, err := db.QueryContext(ctx, many)
	if err != nil {
		t.Fatal(err)
	}
	rows.Next()
	cancel()
	for rows.Next() {
	}
	if rows.Err() == nil {
		t.Error("the end of the context is no error")
	}
	rows.Close()
	if n, err := read(t.Context(), "SELECT 1 / (3 - i) FROM generate_series(1, 5) i", 9); n != 2 || err == nil {
		t.Errorf("an error of a row: %d rows, %v", n, err)
	}
	if _, err := db.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = pg_backend_pid()"); err == nil {
		t.Error("the session was not ended")
	}
	if n, err := read(t.Context(), "SELECT 1", 9); n != 1 || err != nil {
		t.Errorf("after a lost connection: %d rows, %v", n, err)
	}
}

func allValues(t *testing.T, db *sql.DB, query string, arg int) (all [][]any, types []string) {
	t.Helper()
	rows, err := db.Query(query, arg)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.ColumnTypes()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range columns {
		types = append(types, c.DatabaseTypeName())
	}
	for rows.Next() {
		values, dest := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			dest[i] = &values[i]
		}
		if err := rows.Scan(dest...); err != nil {
			t.Fatal(err)
		}
		all = append(all, values)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all, types
}
