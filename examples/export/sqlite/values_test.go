package sqlite

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var exactly = cmp.Options{cmpopts.EquateNaNs(), cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })}

func TestValuesComeAsTheyAreStored(t *testing.T) {
	db := openDB(t, fileDSN(t, ""))
	run(t, db, `CREATE TABLE t (n INTEGER PRIMARY KEY, i INTEGER, r REAL, s TEXT, b BLOB, x,
		d DATE, dt DATETIME, ts TIMESTAMP, o BOOLEAN, m DECIMAL(10, 2))`)
	for i, test := range []struct {
		column, literal string
		want            any
	}{
		{"i", "9223372036854775807", int64(math.MaxInt64)},
		{"i", "-9223372036854775808", int64(math.MinInt64)},
		{"i", "0", int64(0)},
		{"i", "1.5", 1.5},
		{"i", "'ten'", "ten"},
		{"i", "x'31'", []byte("1")},
		{"r", "1", 1.0},
		{"r", "1e308", 1e308},
		{"r", "5e-324", 5e-324},
		{"r", "0.1", 0.1},
		{"r", "9007199254740993.0", 9007199254740992.0},
		{"r", "9e999", math.Inf(1)},
		{"r", "-9e999", math.Inf(-1)},
		{"r", "9e999 - 9e999", nil},
		{"r", "NULL", nil},
		{"s", "''", ""},
		{"s", "'Zoë 🚀'", "Zoë 🚀"},
		{"s", "char(97, 0, 98)", "a\x00b"},
		{"s", "char(0)", "\x00"},
		{"s", "CAST(x'ff00fec0' AS TEXT)", "\xff\x00\xfe\xc0"},
		{"s", "x'6162'", []byte("ab")},
		{"s", "12", "12"},
		{"s", "NULL", nil},
		{"b", "x''", []byte{}},
		{"b", "x'00ff00'", []byte{0, 255, 0}},
		{"b", "'text'", "text"},
		{"b", "7", int64(7)},
		{"x", "zeroblob(3)", []byte{0, 0, 0}},
		{"x", "2.0", 2.0},
		{"d", "'2024-02-29'", "2024-02-29"},
		{"d", "20240229", int64(20240229)},
		{"dt", "'2024-02-29 12:13:14.123456789+02:00'", "2024-02-29 12:13:14.123456789+02:00"},
		{"dt", "'2024-02-29T12:13:14Z'", "2024-02-29T12:13:14Z"},
		{"dt", "1709208794", int64(1709208794)},
		{"dt", "1709208794.5", 1709208794.5},
		{"ts", "'2024-02-29 12:13:14 +0000 UTC m=+0.1'", "2024-02-29 12:13:14 +0000 UTC m=+0.1"},
		{"o", "TRUE", int64(1)},
		{"o", "2", int64(2)},
		{"o", "'true'", "true"},
		{"m", "'1.50'", 1.5},
		{"m", "'123456789012345678901234567890'", 1.2345678901234568e29},
	} {
		run(t, db, fmt.Sprintf("INSERT INTO t (n, %s) VALUES (%d, %s)", test.column, i, test.literal))
		for _, form := range []string{test.column, "+" + test.column, "(SELECT " + test.column + " FROM t t2 WHERE t2.n = t.n)"} {
			got := one[any](t, db, "SELECT "+form+" FROM t WHERE n = ?", i)
			if diff := cmp.Diff(test.want, got, exactly); diff != "" {
				t.Errorf("%s of %s stored in %s: %s", form, test.literal, test.column, diff)
			}
		}
	}
}

func TestArgumentsComeBack(t *testing.T) {
	c := openConn(t, ":memory:")
	for _, v := range []driver.Value{
		nil, int64(math.MaxInt64), int64(math.MinInt64), int64(0), int64(1), math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64,
		"", "a\x00b", "\xff\xfe", strings.Repeat("long ", 5000), []byte{}, []byte{0}, []byte("\xff\x00"), bytes.Repeat([]byte{7}, 30000),
	} {
		r := query(t, t.Context(), c, "SELECT ?, typeof(?1)", v)
		dest := make([]driver.Value, 2)
		if err := r.Next(dest); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(v, dest[0], exactly); diff != "" {
			t.Error(diff)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, test := range []struct{ give, want driver.Value }{{true, int64(1)}, {false, int64(0)}, {[]byte(nil), nil}, {math.NaN(), nil}} {
		r := query(t, t.Context(), c, "SELECT ?", test.give)
		dest := make([]driver.Value, 1)
		if err := r.Next(dest); err != nil || dest[0] != test.want {
			t.Errorf("%v: got %v, %v", test.give, dest[0], err)
		}
		r.Close()
	}
	if _, err := c.QueryContext(t.Context(), "SELECT ?", named([]driver.Value{time.Now()})); err == nil || !strings.Contains(err.Error(), "SQLite has no times") {
		t.Errorf("a time: got %v", err)
	}
}

func TestOtherTextEncodings(t *testing.T) {
	for _, encoding := range []string{"UTF-8", "UTF-16le", "UTF-16be"} {
		db := openDB(t, fileDSN(t, ""))
		db.SetMaxOpenConns(1)
		run(t, db, "PRAGMA encoding = '"+encoding+"'", "CREATE TABLE t (s TEXT)")
		want := "Zoë\x00🚀" + strings.Repeat("é", 1000)
		if _, err := db.Exec("INSERT INTO t VALUES (?)", want); err != nil {
			t.Fatal(err)
		}
		if got := one[string](t, db, "SELECT s FROM t"); got != want {
			t.Errorf("%s: got %q", encoding, got)
		}
	}
}

// All but []byte must stay as it was when the rows have gone on.
func TestTextsStay(t *testing.T) {
	c := openConn(t, ":memory:")
	r := query(t, t.Context(), c, "WITH RECURSIVE c(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM c WHERE x < 2999) "+
		"SELECT x, printf('%0*d', x % 700, x), substr('short', 1, x % 6) FROM c")
	var got [][3]any
	dest := make([]driver.Value, 3)
	for r.Next(dest) == nil {
		got = append(got, [3]any{dest[0], dest[1], dest[2]})
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3000 {
		t.Fatalf("got %d rows", len(got))
	}
	for i, row := range got {
		if want := [3]any{int64(i), fmt.Sprintf("%0*d", i%700, i), "short"[:min(i%6, 5)]}; row != want {
			t.Fatalf("row %d: got %q, want %q", i, row, want)
		}
	}
}

func TestLargeValues(t *testing.T) {
	db := openDB(t, fileDSN(t, "_pragma=journal_mode(OFF)&_pragma=synchronous(OFF)"))
	run(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
	big := make([]byte, 50<<20)
	for i := range big {
		big[i] = byte(i * i >> 7)
	}
	want := sha256.Sum256(big)
	if _, err := db.Exec("INSERT INTO t VALUES (1, ?), (2, ?)", big, string(big)); err != nil {
		t.Fatal(err)
	}
	if got := sha256.Sum256(one[[]byte](t, db, "SELECT v FROM t WHERE id = 1")); got != want {
		t.Error("the BLOB is another")
	}
	text, ok := one[any](t, db, "SELECT v FROM t WHERE id = 2").(string)
	if got := sha256.Sum256([]byte(text)); !ok || got != want {
		t.Error("the TEXT is another")
	}
}

func TestTypeNames(t *testing.T) {
	db := openDB(t, ":memory:")
	db.SetMaxOpenConns(1)
	run(t, db, "CREATE TABLE t (a INTEGER, b varchar(10), c, d DateTime)")
	for _, fill := range []string{"", "INSERT INTO t VALUES (1, 2, 3, 4)"} {
		if fill != "" {
			run(t, db, fill)
		}
		rows, err := db.Query("SELECT *, a + 1 AS e, a FROM t")
		if err != nil {
			t.Fatal(err)
		}
		types, err := rows.ColumnTypes()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range types {
			got = append(got, c.Name()+" "+c.DatabaseTypeName())
		}
		if diff := cmp.Diff([]string{"a INTEGER", "b VARCHAR(10)", "c ", "d DATETIME", "e ", "a INTEGER"}, got); diff != "" {
			t.Error(diff)
		}
		rows.Close()
	}
}

func TestErrorBetweenRows(t *testing.T) {
	c := openConn(t, ":memory:")
	for range 2 { // the second time with the kept statement
		r := query(t, t.Context(), c, "SELECT abs(column1) FROM (VALUES (1), (-9223372036854775808), (3))")
		n, err := readAll(r)
		if n != 1 || err == nil || !strings.Contains(err.Error(), "integer overflow") {
			t.Errorf("got %d rows, %v", n, err)
		}
		if again := r.Next(make([]driver.Value, 1)); again != err {
			t.Errorf("a second Next: got %v", again)
		}
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := r.Next(make([]driver.Value, 1)); err != io.EOF {
			t.Errorf("Next after Close: got %v", err)
		}
	}
}

func TestClosedUnderRows(t *testing.T) {
	c := openConn(t, ":memory:")
	r := query(t, context.Background(), c, "VALUES (1), (2)")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Next(make([]driver.Value, 1)); err != driver.ErrBadConn {
		t.Errorf("Next: got %v", err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := c.QueryContext(context.Background(), "SELECT 1", nil); err != driver.ErrBadConn {
		t.Errorf("QueryContext: got %v", err)
	}
	if c.IsValid() || c.ResetSession(context.Background()) != driver.ErrBadConn || c.Close() != nil {
		t.Error("a closed connection passes for one that can be used")
	}
}
