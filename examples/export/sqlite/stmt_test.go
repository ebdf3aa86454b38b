package sqlite

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestStatementsThatAreRefused(t *testing.T) {
	db := openDB(t, ":memory:")
	db.SetMaxOpenConns(1)
	for _, test := range []struct {
		query string
		args  []any
		want  string
	}{
		{"SELECT 1; SELECT 2", nil, "there must be one statement"},
		{"SELECT ?", nil, "got none for number 1"},
		{"SELECT ?, ?", []any{1}, "got none for number 2"},
		{"SELECT ?", []any{1, 2}, "as many values as parameters, 1, got 2"},
		{"SELECT 1", []any{1}, "as many values as parameters, 0, got 1"},
		{"SELECT :a", []any{sql.Named("b", 1)}, "no parameter b"},
		{"SELECT :a", []any{sql.Named("a\x00", 1)}, "NUL"},
		{"SELECT '\x00'", nil, "NUL byte, got one at 8"},
		{"SELEC 1", nil, `near "SELEC": syntax error`},
		{"SELECT * FROM nowhere", nil, "no such table: nowhere"},
		{"SELECT 1; SELEC", nil, "syntax error"},
	} {
		rows, err := db.Query(test.query, test.args...)
		if err == nil {
			rows.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got %v, want %q", test.query, err, test.want)
		}
		if got := one[int](t, db, "SELECT 1"); got != 1 {
			t.Errorf("after %q: got %d", test.query, got)
		}
	}
	if _, err := db.Exec("SELECT ?; SELECT ?", 1, 2); err == nil || !strings.Contains(err.Error(), "with values there must be one statement") {
		t.Errorf("values for a script: got %v", err)
	}
}

func TestStatementsThatAreTaken(t *testing.T) {
	db := openDB(t, ":memory:")
	db.SetMaxOpenConns(1)
	for _, test := range []struct {
		query string
		args  []any
	}{
		{" SELECT 7 ; -- done\n ;; /* no more */", nil},
		{"-- first\nSELECT ?", []any{7}},
		{"SELECT ?2 - ?1", []any{3, 10}},
		{"SELECT :a - @b - $c", []any{sql.Named("c", 1), sql.Named("b", 2), sql.Named("a", 10)}},
		{"WITH a AS (SELECT 7 AS x) SELECT x FROM a", nil},
		{"EXPLAIN QUERY PLAN SELECT 7", nil},
		{"PRAGMA user_version", nil},
	} {
		for range 2 {
			rows, err := db.Query(test.query, test.args...)
			if err != nil {
				t.Errorf("%q: %v", test.query, err)
				continue
			}
			var v int
			if cols, _ := rows.Columns(); len(cols) == 1 && rows.Next() {
				if err := rows.Scan(&v); err != nil || v != 7 && test.query != "PRAGMA user_version" {
					t.Errorf("%q: got %d, %v", test.query, v, err)
				}
			}
			if err := rows.Close(); err != nil {
				t.Errorf("%q: %v", test.query, err)
			}
		}
	}
	for _, nothing := range []string{"", " ", "-- nothing"} {
		if _, err := db.Exec(nothing); err != nil {
			t.Errorf("%q: %v", nothing, err)
		}
		if err := db.QueryRow(nothing).Scan(); err != sql.ErrNoRows {
			t.Errorf("%q: got %v", nothing, err)
		}
	}
}

func TestResults(t *testing.T) {
	db := openDB(t, ":memory:")
	db.SetMaxOpenConns(1)
	for _, test := range []struct {
		query    string
		id, rows int64
	}{
		{"CREATE TABLE t (id INTEGER PRIMARY KEY, v)", 0, 0},
		{"INSERT INTO t VALUES (41, 1), (42, 2)", 42, 2},
		{"UPDATE t SET v = 3", 42, 2},
		{"CREATE INDEX x ON t (v)", 42, 0},
		{"SELECT * FROM t", 42, 0},
		{"UPDATE t SET v = 4 WHERE id = 1", 42, 0},
		{"INSERT INTO t VALUES (43, 1) RETURNING v", 43, 1},
		{"INSERT INTO t VALUES (44, 1); DELETE FROM t", 44, 4},
	} {
		r, err := db.Exec(test.query)
		if err != nil {
			t.Fatalf("%s: %v", test.query, err)
		}
		id, _ := r.LastInsertId()
		n, _ := r.RowsAffected()
		if id != test.id || n != test.rows {
			t.Errorf("%s: got id %d and %d rows, want %d and %d", test.query, id, n, test.id, test.rows)
		}
	}
}

func TestKeptStatements(t *testing.T) {
	c := openConn(t, ":memory:")
	for i := range 100 {
		for j := range i % 3 {
			if n, err := readAll(query(t, t.Context(), c, fmt.Sprintf("SELECT %d", i*j))); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		r := query(t, t.Context(), c, fmt.Sprintf("SELECT %d", i))
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if len(c.idle) > maxIdle {
			t.Fatalf("%d statements are kept", len(c.idle))
		}
	}
	query(t, t.Context(), c, "SELECT 99").Close()
	kept := c.idle[len(c.idle)-1]
	query(t, t.Context(), c, "SELECT 99").Close()
	if c.idle[len(c.idle)-1] != kept {
		t.Error("the statement was prepared again")
	}
}

// A kept statement sees a table that has changed since.
func TestChangedTable(t *testing.T) {
	dsn := fileDSN(t, "")
	a, b := openDB(t, dsn), openDB(t, dsn)
	run(t, a, "CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	for i, want := range []string{"id", "id b", "c"} {
		rows, err := a.Query("SELECT * FROM t")
		if err != nil {
			t.Fatal(err)
		}
		names, err := rows.Columns()
		if got := strings.Join(names, " "); err != nil || got != want {
			t.Errorf("got columns %s, %v, want %s", got, err, want)
		}
		rows.Close()
		run(t, b, []string{"ALTER TABLE t ADD COLUMN b", "DROP TABLE t; CREATE TABLE t (c)", ""}[i])
	}
}

func TestStatementOpenTwice(t *testing.T) {
	db := openDB(t, ":memory:")
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	s, err := tx.Prepare("SELECT column1 FROM (VALUES (1), (2), (3)) WHERE column1 > ?")
	if err != nil {
		t.Fatal(err)
	}
	a, errA := s.Query(0)
	b, errB := s.Query(1)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	var got []int
	for a.Next() {
		var v int
		if err := a.Scan(&v); err != nil {
			t.Fatal(err)
		}
		got = append(got, v)
		if b.Next() {
			if err := b.Scan(&v); err != nil {
				t.Fatal(err)
			}
			got = append(got, v)
		}
	}
	if err := errors.Join(a.Close(), b.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if want := []int{1, 2, 2, 3, 3}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTransactions(t *testing.T) {
	db := openDB(t, fileDSN(t, ""))
	db.SetMaxOpenConns(1)
	run(t, db, "CREATE TABLE t (v)")
	ctx := t.Context()
	begin := func(o *sql.TxOptions) *sql.Tx {
		t.Helper()
		tx, err := db.BeginTx(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	tx := begin(nil)
	run(t, tx, "INSERT INTO t VALUES (1)")
	if err := tx.Rollback(); err != nil {
		t.Error(err)
	}
	tx = begin(&sql.TxOptions{Isolation: sql.LevelSerializable})
	run(t, tx, "INSERT INTO t VALUES (2)")
	if err := tx.Commit(); err != nil {
		t.Error(err)
	}
	tx = begin(&sql.TxOptions{ReadOnly: true})
	if _, err := tx.Exec("INSERT INTO t VALUES (3)"); err == nil || !strings.Contains(err.Error(), "readonly") {
		t.Errorf("a read-only transaction writes: %v", err)
	}
	if err := tx.Commit(); err != nil {
		t.Error(err)
	}
	run(t, db, "INSERT INTO t VALUES (4)") // may be written again
	if _, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted}); err == nil {
		t.Error("a transaction that is not serializable")
	}
	// What somebody began by hand and left does not reach the next one.
	conn, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	run(t, conn, "BEGIN", "INSERT INTO t VALUES (5)")
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if got := one[string](t, db, "SELECT group_concat(v) FROM t"); got != "2,4" {
		t.Errorf("got %s", got)
	}
}

func TestNames(t *testing.T) {
	for _, test := range []struct{ dsn, want string }{
		{"file:x?_pragma=%zz", "parameters"},
		{"file:x?_txlock=never", "deferred, immediate or exclusive"},
		{"file:x?_texttotime=1", `no parameter "_texttotime"`},
		{"a\x00b", "NUL"},
	} {
		if _, err := Open(test.dsn); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got %v", test.dsn, err)
		}
	}
	for _, test := range []struct{ dsn, want string }{
		{"file:" + t.TempDir() + "/none.db?mode=ro", "unable to open"},
		{fileDSN(t, "_pragma=no(such(syntax"), "syntax error"},
		{fileDSN(t, "mode=sideways"), "no such access mode"},
	} {
		if err := openDB(t, test.dsn).Ping(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got %v", test.dsn, err)
		}
	}
	c, err := NewConnector("file:x?_pragma=journal_mode(WAL)&_pragma=%20Busy_Timeout(7)&_txlock=immediate#part")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.pragmas, []string{" Busy_Timeout(7)", "journal_mode(WAL)"}) || c.begin != "BEGIN immediate" {
		t.Errorf("got %q and %q", c.pragmas, c.begin)
	}
	sqlDB := sql.OpenDB(c)
	defer sqlDB.Close()
	if _, ok := sqlDB.Driver().(driver.DriverContext); !ok {
		t.Error("the driver has no connectors")
	}
}
