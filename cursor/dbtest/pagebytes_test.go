package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
)

// largeRows makes a table t with a row for each size, and returns the query of it.
func largeRows(t *testing.T, db database, sizes []int) *keyset.Table {
	t.Helper()
	typ := map[string]string{"sqlite": "BLOB", "postgres": "bytea", "mariadb": "LONGBLOB"}[db.name]
	exec(t, db.DB, "CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, v "+typ+" NOT NULL)")
	for i, size := range sizes {
		value := slices.Repeat([]byte{byte(i)}, size)
		if _, err := db.Exec("INSERT INTO t VALUES ("+db.dialect.Placeholder(1)+", "+db.dialect.Placeholder(2)+")", i+1, value); err != nil {
			t.Fatal(err)
		}
	}
	q, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, "t")
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// pagesOf reads all rows, which must be those of largeRows, and returns how many each
// page had.
func pagesOf(t *testing.T, q *keyset.Table, sizes []int) (pages []int) {
	t.Helper()
	q.Page.OnPage = func(s cursor.PageStats) { pages = append(pages, s.Rows) }
	rows := collect(t, q, nil)
	if len(rows) != len(sizes) {
		t.Fatalf("got %d rows, want %d", len(rows), len(sizes))
	}
	for i, row := range rows {
		v := row.Values[1].([]byte)
		if row.Key[0] != int64(i+1) || len(v) != sizes[i] || len(v) > 0 && (v[0] != byte(i) || v[len(v)-1] != byte(i)) {
			t.Fatalf("row %d: key %v, %d bytes", i+1, row.Key, len(v))
		}
	}
	return pages
}

// TestPageBytes reads large rows among small ones, with a pool, a connection and a
// transaction. No page is larger than the bound and one row, no error reaches Retry,
// and the transaction goes on.
func TestPageBytes(t *testing.T) {
	const bound = 100_000
	sizes := slices.Repeat([]int{30_000}, 20)               // three or four to a page
	sizes = append(sizes, 300_000, 300_000, 0, 300_000)     // each for itself
	sizes = append(sizes, slices.Repeat([]int{10}, 100)...) // small again
	sizes = append(sizes, 90_000, 90_000)
	withEachDB(t, func(t *testing.T, db database) {
		largeRows(t, db, sizes)
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		tx, err := conn.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, querier := range map[string]keyset.Querier{"pool": db.DB, "transaction": tx} {
			q, err := keyset.OpenTable(t.Context(), querier, db.dialect, "t")
			if err != nil {
				t.Fatal(err)
			}
			q.Page.Size, q.Page.Max, q.Page.Bytes = 50, 50, bound
			for _, q.Page.Prefetch = range []float64{0, 0.5} {
				tries := 0
				q.Page.Retry = func(ctx context.Context, op func(context.Context) error) error {
					tries++
					return op(ctx)
				}
				pages := pagesOf(t, q, sizes)
				if tries != len(pages) {
					t.Errorf("%s: %d tries for %d pages", name, tries, len(pages))
				}
				at, most := 0, 0
				for _, n := range pages {
					used := 0
					for i, size := range sizes[at : at+n] {
						if used += size; used > bound && i+1 < n {
							t.Errorf("%s: the page of %d rows after %d goes on after %d bytes", name, n, at, used)
						}
					}
					at += n
					most = max(most, n)
				}
				if most < 32 || len(pages) > 45 {
					t.Errorf("%s: the pages do not grow again: %v", name, pages)
				}
			}
		}
		if err := tx.Commit(); err != nil {
			t.Error(err)
		}
	})
}

// TestLargeRowsAreFreed keeps the keys of large rows, and nothing else of them may stay
// in memory: not by way of the key, nor of the row behind.
func TestLargeRowsAreFreed(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		q := largeRows(t, db, slices.Repeat([]int{100_000}, 40))
		q.Page.Size, q.Page.Max = 10, 10
		q.Page.Bytes = 1 << 40
		var keys []keyset.Key
		var alive, most atomic.Int64
		for row, err := range q.Stream(t.Context(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, row.Key)
			v := row.Values[1].([]byte)
			alive.Add(1)
			runtime.AddCleanup(&v[0], func(int) { alive.Add(-1) }, 0)
			if len(keys)%10 == 0 {
				runtime.GC()
				for range 1000 { // the cleanups run in a goroutine of their own
					if alive.Load() <= 20 {
						break
					}
					time.Sleep(time.Millisecond)
				}
				most.Store(max(most.Load(), alive.Load()))
			}
		}
		if most.Load() > 20 {
			t.Errorf("%d of %d rows are in memory, where a page has 10", most.Load(), len(keys))
		}
	})
}

// TestPageBytesCutsTheStatement reads the first of many large rows: the rest must not
// be transferred.
func TestPageBytesCutsTheStatement(t *testing.T) {
	db := database{openPostgres(t), databases[1]}
	exec(t, db.DB, "CREATE TABLE t (id int PRIMARY KEY, v bytea)", "ALTER TABLE t ALTER v SET STORAGE external",
		"INSERT INTO t SELECT i, decode(repeat('ab', 1000000), 'hex') FROM generate_series(1, 40) i")
	q, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, "t")
	if err != nil {
		t.Fatal(err)
	}
	q.Page.Bytes = 1 << 20
	db.SetMaxOpenConns(1)
	pid := func() (pid int) {
		if err := db.QueryRow("SELECT pg_backend_pid()").Scan(&pid); err != nil {
			t.Fatal(err)
		}
		return pid
	}
	first := pid()
	for row, err := range q.Stream(t.Context(), nil) {
		if err != nil || row.Key[0] == int64(1) && pid() == first {
			t.Errorf("row %v: %v, the connection was kept: the statement was read to its end", row.Key, err)
		}
		if first = pid(); row.Key[0] == int64(2) {
			break
		}
	}
}

// TestPageBytesOfQueries bounds the pages of a query with a Scan of its own.
func TestPageBytesOfQueries(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		sizes := slices.Repeat([]int{10_000}, 25)
		largeRows(t, db, sizes)
		type row struct {
			id int64
			v  []byte
		}
		var pages []int
		q := keyset.Query[row, int64]{
			DB: db.DB, Dialect: db.dialect, Select: "id, v", From: "t", Key: []string{"id"},
			Scan:     func(rows *sql.Rows) (r row, err error) { err = rows.Scan(&r.id, &r.v); return r, err },
			Position: func(r row) int64 { return r.id },
			Bytes:    func(r row) int { return len(r.v) },
			Page:     cursor.PageConfig{Bytes: 100_000, OnPage: func(s cursor.PageStats) { pages = append(pages, s.Rows) }},
		}
		rows := collect(t, q, nil)
		if len(rows) != len(sizes) || fmt.Sprint(pages) != "[10 5 5 5 0]" {
			t.Errorf("got %d rows in pages of %v", len(rows), pages)
		}
	})
}

// TestPageBytesDuplicate has two rows with one position, at a page's end that the
// bytes made: there no row past the page was read.
func TestPageBytesDuplicate(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		value := strings.Repeat("x", 1000)
		exec(t, db.DB, "CREATE TABLE t (k INTEGER NOT NULL, v TEXT)",
			"INSERT INTO t VALUES (1, '"+value+"'), (2, '"+value+"'), (2, '"+value+"'), (3, '"+value+"')")
		q, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, "t", "k")
		if err != nil {
			t.Fatal(err)
		}
		for _, q.Page.Bytes = range []int{1, 2000} {
			var got []any
			var end error
			for row, err := range q.Stream(t.Context(), nil) {
				if end = err; err == nil {
					got = append(got, row.Key[0])
				}
			}
			if !errors.Is(end, cursor.ErrDuplicateKey) || !slices.Equal(got, []any{int64(1)}) {
				t.Errorf("pages of %d bytes: rows %v, %v", q.Page.Bytes, got, end)
			}
		}
	})
}
