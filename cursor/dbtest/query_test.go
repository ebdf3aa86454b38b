package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/seq"
)

// single is the query on a table with one key column of type K.
func single[K any](db database, from, key string) keyset.Query[K, K] {
	return keyset.Query[K, K]{
		DB: db, Dialect: db.dialect, From: from, Key: []string{key}, Select: key,
		Scan: func(rows *sql.Rows) (k K, err error) {
			err = rows.Scan(&k)
			return k, err
		},
		Position: func(k K) K { return k },
	}
}

// testSingle reads a table by a key of type K, in small pages, up and down, and
// goes on from every position.
func testSingle[K any](t *testing.T, db database, q keyset.Query[K, K], n int) {
	t.Helper()
	for _, q.Desc = range []bool{false, true} {
		q.Page.Size, q.Page.Max = 2, 2
		all := collect(t, q, nil)
		if len(all) != n {
			t.Fatalf("got %d rows %v, want %d", len(all), all, n)
		}
		for i := range all {
			if rest := collect(t, q, &all[i]); fmt.Sprint(rest) != fmt.Sprint(all[i+1:]) {
				t.Fatalf("behind %v: got %v, want %v", all[i], rest, all[i+1:])
			}
		}
		ranges, err := q.Split(t.Context(), 3)
		if err != nil {
			t.Fatal(err)
		}
		var parts []K
		for _, r := range ranges {
			part := q
			part.Until = r.Until
			parts = append(parts, collect(t, part, r.After)...)
		}
		if fmt.Sprint(parts) != fmt.Sprint(all) {
			t.Fatalf("in parts: got %v, want %v", parts, all)
		}
		latest, err := q.Latest(t.Context())
		if err != nil || fmt.Sprint(*latest) != fmt.Sprint(all[n-1]) {
			t.Fatalf("the latest is %v, %v, want %v", latest, err, all[n-1])
		}
	}
}

func fill(t *testing.T, db database, ddl string, rows []string) {
	t.Helper()
	exec(t, db.DB, "CREATE TABLE t ("+ddl+")")
	for _, row := range rows {
		exec(t, db.DB, "INSERT INTO t VALUES ("+row+")")
	}
}

// TestTypedKeys reads by positions of Go types.
func TestTypedKeys(t *testing.T) {
	t.Run("integer", func(t *testing.T) {
		withEachDB(t, func(t *testing.T, db database) {
			fill(t, db, "k BIGINT NOT NULL PRIMARY KEY", integers)
			testSingle(t, db, single[int64](db, "t", "k"), len(integers))
			testSingle(t, db, single[string](db, "t", "k"), len(integers)) // digits serve as well
		})
	})
	t.Run("text", func(t *testing.T) {
		withEachDB(t, func(t *testing.T, db database) {
			words := quoted([]string{"a", "B", "c", "É", "ß", "日本", "😀", "%", ""})
			fill(t, db, "k VARCHAR(40) NOT NULL PRIMARY KEY", words)
			testSingle(t, db, single[string](db, "t", "k"), len(words))
		})
	})
	t.Run("decimal", func(t *testing.T) {
		withEachDB(t, func(t *testing.T, db database) {
			if db.name == "sqlite" {
				return // it has no decimals
			}
			fill(t, db, "k DECIMAL(40,20) NOT NULL PRIMARY KEY", decimals)
			testSingle(t, db, single[string](db, "t", "k"), len(decimals))
		})
	})
	t.Run("time", func(t *testing.T) {
		withEachDB(t, func(t *testing.T, db database) {
			switch db.name {
			case "sqlite":
				return // see TestSQLiteTimes
			case "mariadb":
				db.DB = openDB(t, "mysql", mariaDBDSN(t)+"?parseTime=true")
				fill(t, db, "k DATETIME(6) NOT NULL PRIMARY KEY", moments)
			default:
				fill(t, db, "k timestamptz NOT NULL PRIMARY KEY", moments)
			}
			testSingle(t, db, single[time.Time](db, "t", "k"), len(moments))
		})
	})
	t.Run("bytes", func(t *testing.T) {
		withEachDB(t, func(t *testing.T, db database) {
			typ := map[string]string{"sqlite": "BLOB", "postgres": "bytea", "mariadb": "VARBINARY(20)"}[db.name]
			rows := []string{"x''", "x'00'", "x'0000'", "x'61'", "x'ff'", "x'c3a9'"}
			if db.name == "postgres" {
				rows = quoted([]string{`\x`, `\x00`, `\x0000`, `\x61`, `\xff`, `\xc3a9`})
			}
			fill(t, db, "k "+typ+" NOT NULL PRIMARY KEY", rows)
			testSingle(t, db, single[[]byte](db, "t", "k"), len(rows))
		})
	})
	t.Run("uuid", func(t *testing.T) {
		withEachDB(t, func(t *testing.T, db database) {
			if db.name == "sqlite" {
				return // it has no UUIDs
			}
			fill(t, db, "k uuid NOT NULL PRIMARY KEY", uuids)
			testSingle(t, db, single[string](db, "t", "k"), len(uuids))
		})
	})
	t.Run("binary uuid", func(t *testing.T) {
		withEachDB(t, func(t *testing.T, db database) {
			typ := map[string]string{"sqlite": "BLOB", "postgres": "uuid", "mariadb": "BINARY(16)"}[db.name]
			rows := slices.Clone(uuids)
			if db.name != "postgres" {
				for i, u := range rows {
					rows[i] = "x" + strings.ReplaceAll(u, "-", "")
				}
			}
			fill(t, db, "k "+typ+" NOT NULL PRIMARY KEY", rows)
			q := single[[16]byte](db, "t", "k")
			q.Scan = func(rows *sql.Rows) (k [16]byte, err error) {
				var raw sql.RawBytes
				if db.name != "postgres" {
					err = rows.Scan(&raw)
					return [16]byte(raw), err
				}
				var text string
				if err := rows.Scan(&text); err != nil {
					return k, err
				}
				_, err = fmt.Sscanf(strings.ReplaceAll(text, "-", ""), "%x", &raw)
				return [16]byte(raw), err
			}
			testSingle(t, db, q, len(rows))
		})
	})
	t.Run("unsigned", func(t *testing.T) {
		db := database{openMariaDB(t), databases[2]}
		rows := []string{"0", "9223372036854775807", "9223372036854775808", "18446744073709551614", "18446744073709551615"}
		fill(t, db, "k BIGINT UNSIGNED NOT NULL PRIMARY KEY", rows)
		testSingle(t, db, single[uint64](db, "t", "k"), len(rows))
	})
	t.Run("struct", func(t *testing.T) {
		type position struct {
			A string
			B sql.NullInt64 // a struct that is one value
		}
		withEachDB(t, func(t *testing.T, db database) {
			rows := composite([]string{"'a'", "'B'", "'é'"}, []string{"-1", "9007199254740993", "9007199254740992"})
			fill(t, db, "a VARCHAR(20) NOT NULL, b BIGINT NOT NULL, PRIMARY KEY (a, b)", rows)
			q := keyset.Query[position, position]{
				DB: db, Dialect: db.dialect, From: "t", Key: []string{"a", "b"},
				Scan: func(rows *sql.Rows) (p position, err error) {
					err = rows.Scan(&p.A, &p.B)
					return p, err
				},
				Position: func(p position) position { return p },
			}
			testSingle(t, db, q, len(rows))
		})
	})
}

// TestSQLiteTimes shows that positions which are compared as another text than the
// stored one are refused, and how the stored text is read.
func TestSQLiteTimes(t *testing.T) {
	db := database{openSQLite(t), databases[0]}
	stored := quoted([]string{"2024-01-01 00:00:00", "2024-01-01 10:00:00", "2024-01-01T05:00:00Z", "2024-01-02 00:00:00"})
	fill(t, db, "k DATETIME NOT NULL PRIMARY KEY", stored)
	for name, stream := range map[string]error{
		"a string":  drain(single[string](db, "t", "k").Stream(t.Context(), nil)),
		"a time":    drain(single[time.Time](db, "t", "k").Stream(t.Context(), nil)),
		"any value": drain(onKey(db, "t", "k").Stream(t.Context(), nil)),
		"preflight": single[string](db, "t", "k").Preflight(t.Context()),
	} {
		if !errors.Is(stream, keyset.ErrPosition) || !strings.Contains(stream.Error(), "+k AS k_text") {
			t.Errorf("%s: got %v", name, stream)
		}
	}
	q := single[string](db, "t", "k")
	q.Select = "+k AS k" // the name of the key column, too, leaves the order to the index
	testSingle(t, db, q, len(stored))

	exec(t, db.DB, "CREATE TABLE u (k TEXT NOT NULL PRIMARY KEY)", "INSERT INTO u VALUES ('a'), ('b'), ('c')")
	if err := drain(single[[]byte](db, "u", "k").Stream(t.Context(), nil)); !errors.Is(err, keyset.ErrPosition) {
		t.Errorf("bytes for text: got %v", err)
	}
	if err := drain(single[time.Time](db, "u", "k").Stream(t.Context(), &time.Time{})); !errors.Is(err, keyset.ErrPosition) {
		t.Errorf("a time to begin with: got %v", err)
	}
	driverTimes := database{openDB(t, "sqlite", sqliteDSN(t)+"&_texttotime=1"), databases[0]}
	exec(t, driverTimes.DB, "CREATE TABLE t (k DATETIME NOT NULL PRIMARY KEY)", "INSERT INTO t VALUES ('2024-01-01 00:00:00')")
	table, err := keyset.OpenTable(t.Context(), driverTimes, keyset.SQLite, "t")
	if err != nil {
		t.Fatal(err)
	}
	if err := drain(table.Stream(t.Context(), nil)); !errors.Is(err, keyset.ErrPosition) || !strings.Contains(err.Error(), "_texttotime") {
		t.Errorf("a driver that makes times of texts: got %v", err)
	}
}

func drain[T any](stream func(func(T, error) bool)) error {
	for _, err := range stream {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestDuplicateKeys shows that nothing is handed over that a position could not
// tell apart, wherever in its page it is.
func TestDuplicateKeys(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		exec(t, db.DB, "CREATE TABLE t (k BIGINT NOT NULL)", "INSERT INTO t VALUES (1), (2), (3), (4), (4), (5)")
		for size := range 8 {
			q := single[int64](db, "t", "k")
			q.Page.Size, q.Page.Max = size, size // 0 is the default
			got, err := seq.Collect(q.Stream(t.Context(), nil))
			if !errors.Is(err, cursor.ErrDuplicateKey) || !slices.Equal(got, []int64{1, 2, 3}) {
				t.Errorf("pages of %d: got %v, %v", size, got, err)
			}
		}
	})
}

// TestOneConnection uses a pool of one connection in the loop's body, with and
// without a prefetch that wants it, too.
func TestOneConnection(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		exec(t, db.DB, "CREATE TABLE t (k BIGINT NOT NULL PRIMARY KEY)", "CREATE TABLE copy (k BIGINT NOT NULL PRIMARY KEY)")
		var rows []string
		for i := range 100 {
			rows = append(rows, fmt.Sprintf("(%d)", i))
		}
		exec(t, db.DB, "INSERT INTO t VALUES "+strings.Join(rows, ", "))
		db.SetMaxOpenConns(1)
		for _, prefetch := range []float64{0, 0.3, 1} {
			q := single[int64](db, "t", "k")
			q.Page.Size, q.Page.Max, q.Page.Prefetch = 7, 7, prefetch
			for k, err := range q.Stream(t.Context(), nil) {
				if err != nil {
					t.Fatal(err)
				}
				tx, err := db.BeginTx(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := tx.Exec(fmt.Sprintf("INSERT INTO copy VALUES (%d)", k)); err != nil {
					t.Fatal(err)
				}
				if err := tx.Commit(); err != nil {
					t.Fatal(err)
				}
			}
			var n int
			if err := db.QueryRow("SELECT COUNT(*) FROM copy").Scan(&n); err != nil || n != 100 {
				t.Errorf("prefetch %v: %d rows were copied, %v", prefetch, n, err)
			}
			exec(t, db.DB, "DELETE FROM copy")
		}
		latest, err := single[int64](db, "t", "k").Latest(t.Context())
		if err != nil || *latest != 99 {
			t.Errorf("the latest is %v, %v", latest, err)
		}
		if open := db.Stats().InUse; open != 0 {
			t.Errorf("%d connections are still in use", open)
		}
	})
}

// TestConcurrentWriters reads while other connections insert, update and delete
// around the rows that stay: those come once each, in order.
func TestConcurrentWriters(t *testing.T) {
	const stay = 400 // the even numbers below 800
	withEachDB(t, func(t *testing.T, db database) {
		exec(t, db.DB, "CREATE TABLE t (k BIGINT NOT NULL PRIMARY KEY, v BIGINT NOT NULL)")
		var rows []string
		for i := range stay {
			rows = append(rows, fmt.Sprintf("(%d, 0)", 2*i))
		}
		exec(t, db.DB, "INSERT INTO t VALUES "+strings.Join(rows, ", "))
		ctx, stop := context.WithCancel(t.Context())
		var writers sync.WaitGroup
		defer writers.Wait()
		defer stop()
		for range 2 {
			writers.Go(func() {
				for ctx.Err() == nil {
					k := 2*rand.IntN(stay) + 1
					for _, s := range []string{
						fmt.Sprintf("INSERT INTO t VALUES (%d, 1)", k), // fails where the other writer was first
						fmt.Sprintf("UPDATE t SET v = v + 1 WHERE k = %d", k-1),
						fmt.Sprintf("DELETE FROM t WHERE k = %d", 2*rand.IntN(stay)+1),
					} {
						db.ExecContext(ctx, s)
					}
				}
			})
		}
		for _, desc := range []bool{false, true} {
			q := single[int64](db, "t", "k")
			q.Desc = desc
			q.Page.Size, q.Page.Max, q.Page.Prefetch = 13, 13, 0.5
			var got, want []int64
			for k, err := range q.Stream(t.Context(), nil) {
				if err != nil {
					t.Fatal(err)
				}
				if k%2 == 0 {
					got = append(got, k)
				}
			}
			for i := range stay {
				want = append(want, int64(2*i))
			}
			if desc {
				slices.Reverse(want)
			}
			if !slices.Equal(got, want) {
				t.Errorf("desc %v: got %v", desc, got)
			}
		}
	})
}

// TestStatement shows what may be written into a query.
func TestStatement(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		exec(t, db.DB, "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(20) NOT NULL)",
			"CREATE TABLE u (t_id BIGINT NOT NULL PRIMARY KEY, x VARCHAR(20))",
			"INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e')", "INSERT INTO u VALUES (2, 'B'), (4, 'D'), (5, 'E')")
		place := func(text string) string {
			for n := 1; strings.Contains(text, "@"); n++ {
				text = strings.Replace(text, "@", db.dialect.Placeholder(n), 1)
			}
			return text
		}
		hint := map[string]string{"sqlite": "NOT INDEXED", "postgres": "/*+ IndexScan(t) */", "mariadb": "FORCE INDEX (PRIMARY)"}[db.name]
		for name, test := range map[string]struct {
			change func(*keyset.Query[int64, int64])
			want   []int64
		}{
			"condition with OR":      {func(q *keyset.Query[int64, int64]) { q.Where, q.Args = place("name = @ OR id > @"), []any{"a", 3} }, []int64{1, 4, 5}},
			"condition with comment": {func(q *keyset.Query[int64, int64]) { q.Where = "id <> 3 -- not this one" }, []int64{1, 2, 4, 5}},
			"join": {func(q *keyset.Query[int64, int64]) {
				q.From, q.Key, q.Select = "t JOIN u ON u.t_id = t.id", []string{"t.id"}, "t.id"
				q.Where, q.Args = place("u.x <> @"), []any{"D"}
			}, []int64{2, 5}},
			"arguments in From": {func(q *keyset.Query[int64, int64]) {
				q.From, q.Key, q.Select = place("t JOIN (SELECT t_id FROM u WHERE x <> @) w ON w.t_id = t.id"), []string{"t.id"}, "t.id"
				q.Where, q.Args = "t.id < 5", []any{"B"}
				if db.name == "postgres" {
					q.Where, q.Args = "t.id < $2", []any{"B", 5}
				}
			}, []int64{4}},
			"alias of the key's name": {func(q *keyset.Query[int64, int64]) {
				q.Select = "id, -id AS id"
				q.Scan = func(rows *sql.Rows) (k int64, err error) {
					var other int64
					err = rows.Scan(&k, &other)
					return k, err
				}
			}, []int64{1, 2, 3, 4, 5}},
			"expression": {func(q *keyset.Query[int64, int64]) { q.Key, q.Select = []string{"0 - id"}, "0 - id" }, []int64{-5, -4, -3, -2, -1}},
			"hint":       {func(q *keyset.Query[int64, int64]) { q.Hint = hint }, []int64{1, 2, 3, 4, 5}},
			"until":      {func(q *keyset.Query[int64, int64]) { u := int64(3); q.Until = &u }, []int64{1, 2, 3}},
		} {
			q := single[int64](db, "t", "id")
			q.Page.Size, q.Page.Max = 2, 2
			test.change(&q)
			got, err := seq.Collect(q.Stream(t.Context(), nil))
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("%s: got %v, %v, want %v", name, got, err, test.want)
			}
		}
	})
}

// TestScanError shows that a row that cannot be scanned ends the stream behind the
// rows before it, and is not tried again.
func TestScanError(t *testing.T) {
	boom := errors.New("boom")
	withEachDB(t, func(t *testing.T, db database) {
		fill(t, db, "k BIGINT NOT NULL PRIMARY KEY", []string{"1", "2", "3", "4", "5"})
		for _, fail := range []error{boom, &seq.ItemError{Item: 4, Err: boom}} {
			q := single[int64](db, "t", "k")
			tries := 0
			q.Page.Size, q.Page.Max = 3, 3
			q.Page.Retry = func(ctx context.Context, op func(context.Context) error) error {
				tries++
				return op(ctx)
			}
			q.Scan = func(rows *sql.Rows) (k int64, err error) {
				if err = rows.Scan(&k); k == 4 {
					err = fail
				}
				return k, err
			}
			got, err := seq.Collect(q.Stream(t.Context(), nil))
			if !slices.Equal(got, []int64{1, 2, 3}) || !errors.Is(err, boom) || seq.IsItemError(err) || tries != 1 {
				t.Errorf("got %v, %v after %d tries", got, err, tries)
			}
		}
		q := single[int64](db, "t", "k")
		q.Scan = func(*sql.Rows) (int64, error) { panic("scan") }
		func() {
			defer func() {
				if p, ok := recover().(*seq.PanicError); !ok || p.Value != "scan" {
					t.Errorf("got %v", p)
				}
			}()
			seq.Drain(q.Stream(t.Context(), nil))
		}()
		if open := db.Stats().InUse; open != 0 {
			t.Errorf("%d connections are still in use", open)
		}
	})
}

// TestLostConnection kills the connection while a page is read. Retry reads the page
// again, and no row comes twice or is missing.
func TestLostConnection(t *testing.T) {
	const rows = 300
	for _, kind := range databases[1:] {
		t.Run(kind.name, func(t *testing.T) {
			db := database{kind.open(t), kind}
			exec(t, db.DB, "CREATE TABLE t (k BIGINT NOT NULL PRIMARY KEY, v TEXT)")
			for i := range rows {
				exec(t, db.DB, fmt.Sprintf("INSERT INTO t VALUES (%d, REPEAT('x', 60000))", i))
			}
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			q := single[int64](db, "t", "k")
			who, kill := "pg_backend_pid()", "SELECT pg_terminate_backend(%d)"
			if db.name == "mariadb" {
				who, kill = "CONNECTION_ID()", "KILL %d"
			}
			q.Select = "k, v, " + who
			killed, tries := false, 0
			q.Page.Size, q.Page.Max = 200, 200
			q.Page.Retry = func(ctx context.Context, op func(context.Context) error) error {
				for {
					tries++
					if err := op(ctx); err == nil {
						return nil
					} else if tries > 5 {
						return err
					}
				}
			}
			q.Scan = func(rows *sql.Rows) (k int64, err error) {
				var v string
				var id int64
				if err := rows.Scan(&k, &v, &id); err != nil {
					return k, err
				}
				if !killed {
					killed = true
					if _, err := conn.ExecContext(t.Context(), fmt.Sprintf(kill, id)); err != nil {
						t.Error(err)
					}
				}
				return k, nil
			}
			got := collect(t, q, nil)
			want := make([]int64, rows)
			for i := range want {
				want[i] = int64(i)
			}
			if !slices.Equal(got, want) || tries != 3 {
				t.Errorf("got %d rows after %d tries, want %d after 3", len(got), tries, rows)
			}
		})
	}
}
