package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"example.com/pipeline/cursor/keyset"
	"github.com/go-sql-driver/mysql"
)

// A plain hides what a pool is: its rows are read through the sql package, while a
// Table on the pool itself reads them from the driver.
type plain struct{ *sql.DB }

// queriers returns the ways to read a Table that differ: through the sql package, from
// the driver, and with values put into the statements' text by the driver of MariaDB,
// which reads rows in another protocol then.
func (db database) queriers(t *testing.T) []keyset.Querier {
	all := []keyset.Querier{plain{db.DB}, db.DB}
	if db.name != "mariadb" {
		return all
	}
	cfg, err := mysql.ParseDSN(serverDSN(t, "PIPELINE_MARIADB"))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.QueryRow("SELECT DATABASE()").Scan(&cfg.DBName); err != nil {
		t.Fatal(err)
	}
	cfg.InterpolateParams = true
	return append(all, openDB(t, "mysql", cfg.FormatDSN()))
}

// manyTypes makes a table with columns of all kinds, and a row for each kind of value.
var manyTypes = map[string]struct {
	ddl  string
	rows []string
}{
	"sqlite": {"i INTEGER, r REAL, s TEXT, b BLOB, d DATETIME, n NUMERIC, x", []string{
		"1, 1.5, 'é', x'00ff', '2024-01-01 00:00:00', 1, x'01'", "-9223372036854775808, -1e308, '', x'', '', 1.5, 'text'",
		"NULL, NULL, NULL, NULL, NULL, NULL, NULL", "'not a number', 'text', 5, 'text', 5, '1.50', 0.1"}},
	"postgres": {`i int2, j int8, f float4, g float8, o bool, s text, c char(5), b bytea, n numeric, d date, m timestamp, z timestamptz,
		e time, v interval, u uuid, p jsonb, a int[], h inet, k bit(3)`, []string{
		`1, 9223372036854775807, 0.1, 0.1, true, 'é', 'ab', '\x00ff', 1.50, '2024-01-01', '2024-01-01 00:00:00.000001', '2024-06-01 12:00:00.5+02',
			'12:00', '1 day', '` + uuids[0][1:len(uuids[0])-1] + `', '{"a": 1}', '{1,NULL}', '10.0.0.1', B'101'`,
		`-5, -1, 'NaN', '-Infinity', false, '', '', '', 'NaN', '1044-03-15', '1000-01-01', '9999-12-31 00:00Z', '00:00', '-1 mon', NULL, 'null', '{}', NULL, NULL`,
		"NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL"}},
	"mariadb": {`i TINYINT, u BIGINT UNSIGNED, f FLOAT, g DOUBLE, s VARCHAR(9), b VARBINARY(9), l LONGBLOB, n DECIMAL(9,2), d DATE, m DATETIME(6), z TIMESTAMP(6) NULL,
		e TIME, k BIT(9), w ENUM('a','b'), y YEAR, j JSON, v UUID, q POINT`, []string{
		`1, 18446744073709551615, 0.1, 0.1, 'é', x'00ff', x'', 1.5, '2024-01-01', '2024-01-01 00:00:00.000001', '2024-06-01 12:00:00.5',
			'-12:00:00', b'100000001', 'b', 2024, '{"a": 1}', ` + uuids[0] + `, Point(1, 2)`,
		"-5, 5, -1e38, -1e308, '', x'', x'ff', -0.01, '0000-00-00', '1000-01-01', NULL, '838:59:59', 0, 'a', 1901, 'null', NULL, NULL",
		"NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL"}},
}

// TestDirectValues reads all types with and without the sql package between: the
// rows must be the same, whatever the options of the connection.
func TestDirectValues(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		pools := map[string]*sql.DB{}
		if db.name == "mariadb" {
			dsn := mariaDBDSN(t)
			db.DB = openDB(t, "mysql", dsn)
			for _, options := range []string{"interpolateParams=true", "interpolateParams=true&parseTime=true", "parseTime=true"} {
				pools[options] = openDB(t, "mysql", dsn+"?"+options)
			}
		}
		pools["as it is"] = db.DB
		fill(t, db, "id BIGINT NOT NULL PRIMARY KEY, "+manyTypes[db.name].ddl, nil)
		for i := range 3 {
			for j, row := range manyTypes[db.name].rows {
				exec(t, db.DB, fmt.Sprintf("INSERT INTO t VALUES (%d, %s)", 10*i+j, row))
			}
		}
		for name, pool := range pools {
			t.Run(name, func(t *testing.T) { testDirectValues(t, pool, db.dialect) })
		}
	})
}

func testDirectValues(t *testing.T, pool *sql.DB, dialect keyset.Dialect) {
	conn, err := pool.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, size := range []int{1, 2, 1000} {
		for _, desc := range []bool{false, true} {
			for _, where := range []bool{false, true} {
				var all [3][]keyset.Row
				for i, querier := range []keyset.Querier{plain{pool}, pool, conn} {
					q, err := keyset.OpenTable(t.Context(), querier, dialect, "t")
					if err != nil {
						t.Fatal(err)
					}
					q.Page.Size, q.Page.Max, q.Desc = size, size, desc
					if where {
						q.Where, q.Args = "id < "+dialect.Placeholder(1), []any{20}
					}
					all[i] = collect(t, q, nil)
				}
				if len(all[0]) == 0 {
					t.Fatal("no rows")
				}
				for i, rows := range all {
					if got, want := fmt.Sprintf("%#v", rows), fmt.Sprintf("%#v", all[0]); got != want {
						t.Errorf("size %d, desc %v, where %v, way %d:\n got %s\nwant %s", size, desc, where, i, got, want)
					}
				}
			}
		}
	}
}

// TestDirectKeys goes on from each row of a table whose key has several types.
func TestDirectKeys(t *testing.T) {
	types := map[string]string{
		"sqlite":   "a INTEGER NOT NULL, b TEXT NOT NULL, c BLOB NOT NULL",
		"postgres": "a int8 NOT NULL, b text NOT NULL, c timestamptz NOT NULL",
		"mariadb":  "a BIGINT UNSIGNED NOT NULL, b VARCHAR(9) NOT NULL, c DATETIME(6) NOT NULL",
	}
	withEachDB(t, func(t *testing.T, db database) {
		fill(t, db, types[db.name]+", PRIMARY KEY (a, b, c)", []string{
			"1, 'a', '2024-01-01 00:00:00.000001'", "1, 'a', '2024-01-01 00:00:00.000002'", "1, 'é', '2024-01-01 00:00:00.000001'",
			"2, '', '2024-01-01 00:00:00.000001'", "9007199254740993, 'a', '2024-01-01 00:00:00.000001'"})
		var all [2][]keyset.Row
		for i, querier := range []keyset.Querier{plain{db.DB}, db.DB} {
			q, err := keyset.OpenTable(t.Context(), querier, db.dialect, "t")
			if err != nil {
				t.Fatal(err)
			}
			q.Page.Size, q.Page.Max = 1, 1
			all[i] = collect(t, q, nil)
			for j, row := range all[i] {
				if rest := collect(t, q, &row.Key); !reflect.DeepEqual(rest, all[i][j+1:]) && len(rest) > 0 {
					t.Errorf("behind %v: got %v", row.Key, rest)
				}
			}
		}
		if got, want := fmt.Sprintf("%#v", all[1]), fmt.Sprintf("%#v", all[0]); len(all[0]) != 5 || got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// TestDirectSinglePool reads pages from a pool of one connection, whose rows must be
// closed before the first of them is handed over, and ends a page in its midst: the
// connection, or another one, must be there for the next statement.
func TestDirectSinglePool(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		fill(t, db, "id BIGINT NOT NULL PRIMARY KEY, s VARCHAR(900)", nil)
		for i := range 50 {
			exec(t, db.DB, fmt.Sprintf("INSERT INTO t VALUES (%d, '%0900d')", i, i))
		}
		db.SetMaxOpenConns(1)
		alive := func() {
			t.Helper()
			var n int
			if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM t").Scan(&n); err != nil || n != 50 {
				t.Fatalf("got %d rows, %v", n, err)
			}
		}
		q, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, "t")
		if err != nil {
			t.Fatal(err)
		}
		q.Page.Size, q.Page.Max = 20, 20
		for _, err := range q.Stream(t.Context(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			alive()
		}
		q.Page.Size, q.Page.Max = 10_000_000, 10_000_000
		switch db.name { // rows that come one by one for a while
		case "sqlite":
			q.Where = "(SELECT COUNT(*) FROM t a, t b, t c WHERE a.id + b.id + c.id + t.id >= 0) > 0"
		case "postgres":
			q.Where = "pg_sleep(0.005) IS NOT NULL"
		case "mariadb":
			q.Where = "SLEEP(0.005) = 0"
		}
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			rows := 0
			for _, err := range q.Stream(ctx, nil) {
				if err == nil {
					rows++
				} else if !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			}
			cancel()
			if rows > 0 {
				t.Errorf("got %d rows of a page that was ended", rows)
			}
			alive()
		}
	})
}

// TestDirectLostConnections has the server end the connections in the pool.
func TestDirectLostConnections(t *testing.T) {
	db := database{openMariaDB(t), databases[2]}
	fill(t, db, "id BIGINT PRIMARY KEY", []string{"1", "2", "3"})
	q, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, "t")
	if err != nil {
		t.Fatal(err)
	}
	admin := openDB(t, "mysql", serverDSN(t, "PIPELINE_MARIADB"))
	for n := range 4 {
		db.SetMaxIdleConns(n + 1)
		var conns []*sql.Conn
		for range n {
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			var id int
			if err := conn.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&id); err != nil {
				t.Fatal(err)
			}
			exec(t, admin, fmt.Sprintf("KILL %d", id))
			conn.Close()
		}
		if rows := collect(t, q, nil); len(rows) != 3 {
			t.Errorf("%d connections were lost: got %v", n, rows)
		}
	}
}
