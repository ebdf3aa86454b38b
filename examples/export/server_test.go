package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
)

// A server is one of those that the tests use if a variable names it.
type server struct{ driver, variable string }

var (
	postgresServer = server{"pgx", "PIPELINE_POSTGRES"}
	mariaDBServer  = server{"mysql", "PIPELINE_MARIADB"}
)

// newServerTables runs statements in a place of the test's own on the server. It
// returns the name that the program is given, and a pool for the test. It skips
// the test where there is no server.
func newServerTables(t testing.TB, s server, statements ...string) (dsn string, db *sql.DB) {
	t.Helper()
	base := os.Getenv(s.variable)
	if base == "" {
		t.Skipf("no server: set %s to a data source name to run this test", s.variable)
	}
	admin, err := sql.Open(s.driver, strings.TrimPrefix(base, "mysql://"))
	if err != nil {
		t.Fatal(err)
	}
	name := "export_" + strings.ToLower(rand.Text()[:12])
	own := name // what the driver is given
	create, drop := []string{"CREATE SCHEMA " + name}, []string{"DROP SCHEMA " + name + " CASCADE"}
	if s == mariaDBServer {
		create = []string{
			"CREATE DATABASE " + name + " CHARACTER SET utf8mb4",
			"CREATE USER " + name + "@'%' IDENTIFIED BY '" + secret + "'",
			"GRANT ALL ON " + name + ".* TO " + name + "@'%'",
		}
		drop = []string{"DROP DATABASE " + name, "DROP USER " + name + "@'%'"}
		cfg, err := mysql.ParseDSN(strings.TrimPrefix(base, "mysql://"))
		if err != nil {
			t.Fatalf("%s: %v", s.variable, err)
		}
		cfg.DBName = name
		own = cfg.FormatDSN()
		cfg.User, cfg.Passwd = name, secret
		dsn = "mysql://" + cfg.FormatDSN()
	} else {
		own = postgresURL(t, base, name)
		dsn = own
	}
	for _, statement := range create {
		if _, err := admin.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	if db, err = sql.Open(s.driver, own); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		searchTables(t, db, name)
		db.Close()
		for _, statement := range drop {
			if _, err := admin.ExecContext(context.Background(), statement); err != nil {
				t.Error(err)
			}
		}
		admin.Close()
	})
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	return dsn, db
}

// postgresURL returns a URL for the server that base names in whatever form.
func postgresURL(t testing.TB, base, schema string) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(base)
	if err != nil {
		t.Fatalf("%s: %v", postgresServer.variable, err)
	}
	u := url.URL{Scheme: "postgres", Path: "/" + cfg.Database, User: url.UserPassword(cfg.User, cmp.Or(cfg.Password, secret))}
	params := url.Values{"options": {"-csearch_path=" + schema}, "host": {cfg.Host}, "port": {fmt.Sprint(cfg.Port)}}
	if cfg.TLSConfig == nil {
		params.Set("sslmode", "disable")
	}
	u.RawQuery = params.Encode()
	return u.String()
}

// newServerDemo makes a table of orders on a server.
func newServerDemo(t testing.TB, s server, rows int) (dsn string) {
	t.Helper()
	dsn, _ = newServerTables(t, s, orders(s, rows)...)
	return dsn
}

// orders makes a table of so many on a server.
func orders(s server, rows int) []string {
	statements := []string{
		`CREATE TABLE orders (id bigint PRIMARY KEY, customer text NOT NULL, cents bigint NOT NULL,
			placed_at timestamptz NOT NULL, note text, reference bigint NOT NULL, receipt bytea)`,
		fmt.Sprintf(`INSERT INTO orders SELECT id, CASE id %% 4 WHEN 0 THEN 'Ada Lovelace' WHEN 1 THEN 'Zoë Quinn' WHEN 2 THEN 'O''Brien, Pat'
				ELSE '山田 太郎' END, id * 104729 %% 500000, timestamptz '2026-01-01 00:00:00Z' + id * interval '31 s',
			CASE id %% 3 WHEN 0 THEN 'said "thank you"' WHEN 1 THEN '' END, 9007199254740993 + id, CASE WHEN id %% 10 = 0 THEN '\xdeadbeef'::bytea END
			FROM generate_series(1::bigint, %d) AS id`, rows),
		"ANALYZE orders",
	}
	if s == mariaDBServer {
		statements = []string{
			`CREATE TABLE orders (id bigint PRIMARY KEY, customer text NOT NULL, cents bigint NOT NULL,
			placed_at datetime(6) NOT NULL, note text, reference bigint NOT NULL, receipt blob)`,
			fmt.Sprintf(`INSERT INTO orders SELECT seq, CASE seq %% 4 WHEN 0 THEN 'Ada Lovelace' WHEN 1 THEN 'Zoë Quinn' WHEN 2 THEN 'O''Brien, Pat'
				ELSE '山田 太郎' END, seq * 104729 %% 500000, timestamp '2026-01-01 00:00:00' + interval seq * 31 second,
			CASE seq %% 3 WHEN 0 THEN 'said "thank you"' WHEN 1 THEN '' END, 9007199254740993 + seq, CASE WHEN seq %% 10 = 0 THEN x'deadbeef' END
			FROM seq_1_to_%d`, rows),
			"ANALYZE TABLE orders",
		}
	}
	return statements
}

func TestValuesOfPostgres(t *testing.T) {
	t.Parallel()
	dsn, _ := newServerTables(t, postgresServer,
		`CREATE TABLE v (id bigint PRIMARY KEY, i2 smallint, num numeric(40,10), f4 real, f8 double precision, yes boolean, txt text, ch char(4),
			bin bytea, d date, ts timestamp, tz timestamptz, iv interval, uid uuid, js json, jb jsonb, arr text[], ip inet)`,
		`INSERT INTO v (id) VALUES (-9223372036854775808)`,
		`INSERT INTO v VALUES (9223372036854775807, -32768, 123456789012345678901234567890.0123456789, 0.1, 0.1, true, E'q " c , n\n \\x', 'ab',
			'\x00ff', '2026-07-01', '2026-07-01 23:59:59.123456', '2026-07-01 23:59:59.000001+02', '1 day 02:03:04', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
			'{"a":  1}', '{"a": 1}', ARRAY['x,y', NULL, 'z'], '10.0.0.1/8')`,
		`INSERT INTO v (id, num, f4, f8, txt, bin, ts) VALUES (0, 'NaN', 'Infinity', '-Infinity', '', '', '1999-12-31')`)
	dir := t.TempDir()
	mustRun(t, dir, exitDone, "done: 3 rows", "-dsn="+dsn, "-table=v", "-page=1")
	same(t, "CSV", read(t, dir+"/v.csv"), "id,i2,num,f4,f8,yes,txt,ch,bin,d,ts,tz,iv,uid,js,jb,arr,ip\n"+
		"-9223372036854775808,,,,,,,,,,,,,,,,,\n"+
		"0,,NaN,Infinity,-Infinity,,\"\",,\\x,,1999-12-31T00:00:00,,,,,,,\n"+
		"9223372036854775807,-32768,123456789012345678901234567890.0123456789,0.1,0.1,true,\"q \"\" c , n\n \\x\",ab  ,\\x00ff,2026-07-01,"+
		"2026-07-01T23:59:59.123456,2026-07-01T21:59:59.000001Z,1 day 02:03:04,a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,"+
		"\"{\"\"a\"\":  1}\",\"{\"\"a\"\": 1}\",\"{\"\"x,y\"\",NULL,z}\",10.0.0.1/8\n")
	mustRun(t, dir, exitDone, "done: 1 row,", "-dsn="+dsn, "-table=v", "-format=jsonl", "-where=id > 0")
	same(t, "JSON", read(t, dir+"/v.jsonl"), `{"id":9223372036854775807,"i2":-32768,"num":123456789012345678901234567890.0123456789,"f4":0.1,"f8":0.1,"yes":true,`+
		`"txt":"q \" c , n\n \\x","ch":"ab  ","bin":{"base64":"AP8="},"d":"2026-07-01","ts":"2026-07-01T23:59:59.123456","tz":"2026-07-01T21:59:59.000001Z",`+
		`"iv":"1 day 02:03:04","uid":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11","js":{"a":1},"jb":{"a":1},"arr":"{\"x,y\",NULL,z}","ip":"10.0.0.1/8"}`+"\n")
}

func TestValuesOfMariaDB(t *testing.T) {
	t.Parallel()
	dsn, _ := newServerTables(t, mariaDBServer,
		`CREATE TABLE v (id bigint unsigned PRIMARY KEY, i1 tinyint, num decimal(40,10), f4 float, f8 double, txt text, vb varbinary(10), bin blob,
			d date, dt datetime(6), ts timestamp(6) NULL, tm time(3), y year, e enum('a','b'), s set('a','b'), js json, bits bit(9))`,
		`SET time_zone = '+02:00'`,
		`INSERT INTO v (id) VALUES (0)`,
		`INSERT INTO v VALUES (18446744073709551615, -128, 123456789012345678901234567890.0123456789, 16777217, 0.1, 'q " c , n
 \\x', '', x'00ff', '2026-07-01', '2026-07-01 23:59:59.123456', '2026-07-01 23:59:59.000001', '-12:34:56.789', 2026, 'b', 'a,b', '{"a":  1}', b'100000001')`,
		`INSERT INTO v (id, f4, f8, txt) VALUES (1, 1.17549435e-38, 1e300, 'Zoë 🚀')`)
	dir := t.TempDir()
	mustRun(t, dir, exitDone, "done: 3 rows", "-dsn="+dsn, "-table=v", "-page=1")
	want := "id,i1,num,f4,f8,txt,vb,bin,d,dt,ts,tm,y,e,s,js,bits\n" +
		"0,,,,,,,,,,,,,,,,\n" +
		"1,,,1.1754944e-38,1e+300,Zoë 🚀,,,,,,,,,,,\n" +
		"18446744073709551615,-128,123456789012345678901234567890.0123456789,16777216,0.1,\"q \"\" c , n\n \\x\",\\x,\\x00ff,2026-07-01," +
		"2026-07-01 23:59:59.123456,2026-07-01 21:59:59.000001,-12:34:56.789,2026,b,\"a,b\",\"{\"\"a\"\":  1}\",257\n"
	same(t, "CSV", read(t, dir+"/v.csv"), want)
	// In one page, read without a position, the values are the same.
	mustRun(t, dir, exitDone, "done: 3 rows", "-dsn="+dsn, "-table=v", "-page=10", "-out=w.csv")
	same(t, "CSV", read(t, dir+"/w.csv"), want)
}

func TestBadInputOnServers(t *testing.T) {
	t.Parallel()
	for _, s := range []server{postgresServer, mariaDBServer} {
		t.Run(s.driver, func(t *testing.T) {
			t.Parallel()
			dsn, _ := newServerTables(t, s, "CREATE TABLE t (id int PRIMARY KEY, dup int NOT NULL, maybe int UNIQUE, x double precision NOT NULL UNIQUE)",
				"INSERT INTO t VALUES (1, 1, NULL, 1), (2, 1, NULL, 2)")
			dir := t.TempDir()
			for _, test := range []struct{ says, arg string }{
				{"nosuch", "-table=nosuch"},
				{"has no column nosuch", "-columns=nosuch"},
				{"Name another -key", "-key=dup"},
				{"Name another -key", "-key=maybe"},
				{"Name another -key", "-key=x"},
				{"-where", "-where=nosuch = 1"},
				{"-where", "-where=id ="},
			} {
				mustRun(t, dir, exitFailed, test.says, "-dsn="+dsn, "-table=t", test.arg)
			}
			if found, _ := filepath.Glob(dir + "/*.csv"); len(found) > 0 {
				t.Errorf("refused exports left %v behind", found)
			}
		})
	}
}
