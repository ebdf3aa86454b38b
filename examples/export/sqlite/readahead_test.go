package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/pipeline/cursor/keyset"
)

// lendAll returns rows as Lend gives them, and the error that ended them.
func lendAll(r driver.Rows, each func(i int)) (all [][]driver.Value, err error) {
	dest := make([]driver.Value, len(r.Columns()))
	for i := 0; ; i++ {
		if err := r.(keyset.Lender).Lend(dest); err == io.EOF {
			return all, nil
		} else if err != nil {
			return all, err
		}
		row := make([]driver.Value, len(dest))
		copy(row, dest)
		if err := keyset.Own(row); err != nil {
			return all, err
		}
		for i, v := range row {
			if b, ok := v.([]byte); ok {
				row[i] = append([]byte{}, b...)
			}
		}
		all = append(all, row)
		if each != nil {
			each(i)
		}
	}
}

// mixed has n rows with values of all kinds, among them empty ones. Each row whose number can
// be divided by large has a text of two megabytes.
func mixed(n, large int) string {
	return fmt.Sprintf(`WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < %d)
		SELECT i, CASE i %% 7 WHEN 0 THEN NULL WHEN 1 THEN i * 1.5 WHEN 2 THEN '' WHEN 3 THEN x'' WHEN 4 THEN CAST(i AS BLOB) WHEN 5 THEN -i
			ELSE 'text ' || i END,
		CASE WHEN i %% %d = 0 THEN printf('%%.*c', 2000000, 'x') ELSE 'é' || i END FROM c`, n, large)
}

// goroutines waits until there are no more than before.
func goroutines(t *testing.T, before int) {
	t.Helper()
	for range 5000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines, before there were %d", runtime.NumGoroutine(), before)
}

// What is lent is what Next gives, however many rows there are.
func TestLentRows(t *testing.T) {
	c, before := openConn(t, ":memory:"), runtime.NumGoroutine()
	for _, n := range []int{1, aloneRows, aloneRows + 1, aloneRows + batchRows, aloneRows + batchRows + 1, 5000} {
		for _, large := range []int{150, 1 << 30} {
			text := mixed(n, large)
			var want [][]driver.Value
			r := query(t, t.Context(), c, text)
			for dest := make([]driver.Value, 3); ; {
				if err := r.Next(dest); err == io.EOF {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				row := []driver.Value{dest[0], dest[1], dest[2]}
				if b, ok := row[1].([]byte); ok {
					row[1] = append([]byte{}, b...)
				}
				want = append(want, row)
			}
			r.Close()
			if len(want) != n {
				t.Fatalf("%d rows, want %d", len(want), n)
			}
			r = query(t, t.Context(), c, text)
			got, err := lendAll(r, nil)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%d rows, large ones at %d: %v %.300s", n, large, err, diff)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	goroutines(t, before)
	for _, b := range c.spare {
		if cap(b.bytes) > largeBatch {
			t.Errorf("%d bytes are kept for a batch", cap(b.bytes))
		}
	}
	if len(c.spare) != batches {
		t.Errorf("%d batches are kept, want %d", len(c.spare), batches)
	}
}

// Rows that are read ahead may be left at any place; the statement and the connection can be
// used again.
func TestLentRowsLeft(t *testing.T) {
	c, before := openConn(t, ":memory:"), runtime.NumGoroutine()
	for stop := range 600 {
		r := query(t, t.Context(), c, mixed(700, 1<<30))
		dest := make([]driver.Value, 3)
		for i := range stop {
			if err := r.(keyset.Lender).Lend(dest); err != nil || int64(*dest[0].(*keyset.Int)) != int64(i+1) {
				t.Fatalf("row %d: %v, %v", i, dest[0], err)
			}
		}
		if err := r.Close(); err != nil {
			t.Errorf("left after %d rows: %v", stop, err)
		}
		if err := r.(keyset.Lender).Lend(dest); err != io.EOF {
			t.Errorf("Lend after Close: %v", err)
		}
	}
	goroutines(t, before)
}

// Other calls on the connection wait for the goroutine, and the rows go on behind them.
func TestLentRowsBesideOthers(t *testing.T) {
	c := openConn(t, ":memory:")
	if _, err := c.ExecContext(t.Context(), "CREATE TABLE t (x)", nil); err != nil {
		t.Fatal(err)
	}
	others := query(t, t.Context(), c, mixed(5000, 1<<30))
	dest := make([]driver.Value, 3)
	r := query(t, t.Context(), c, mixed(5000, 1<<30))
	got, err := lendAll(r, func(i int) {
		switch i % 100 {
		case 70:
			if _, err := c.ExecContext(t.Context(), "INSERT INTO t VALUES (1)", nil); err != nil {
				t.Error(err)
			}
		case 80:
			if name := r.(*rows).ColumnTypeDatabaseTypeName(0); name != "" {
				t.Errorf("a type of an expression: %s", name)
			}
		case 90, 91, 92:
			if err := others.(keyset.Lender).Lend(dest); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil || len(got) != 5000 {
		t.Fatalf("%d rows, %v", len(got), err)
	}
	for i, row := range got {
		if row[0] != int64(i+1) {
			t.Fatalf("row %d is %v", i, row)
		}
	}
	if n, err := lendAll(others, nil); err != nil || len(n) != 5000-3*50 {
		t.Errorf("the others: %d rows, %v", len(n), err)
	}
	if err := others.Close(); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// An error in the middle comes behind the rows before it.
func TestLentRowsFail(t *testing.T) {
	c := openConn(t, ":memory:")
	for range 2 {
		r := query(t, t.Context(), c, `WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 1000)
			SELECT abs(CASE WHEN i = 501 THEN -9223372036854775807 - 1 ELSE i END) FROM c`)
		got, err := lendAll(r, nil)
		if len(got) != 500 || err == nil || !strings.Contains(err.Error(), "integer overflow") {
			t.Errorf("%d rows, %v", len(got), err)
		}
		if again := r.(keyset.Lender).Lend(make([]driver.Value, 1)); again != err {
			t.Errorf("a second Lend: %v", again)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The end of the context, and that of the connection, interrupt a statement that is being read
// ahead and finds no further row.
func TestLentRowsInterrupted(t *testing.T) {
	const slow = `WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c WHERE x <= 300`
	before := runtime.NumGoroutine()
	for _, how := range []string{"context", "Close of the rows", "Close of the connection"} {
		c := openConn(t, ":memory:")
		ctx, cancel := context.WithCancel(t.Context())
		r := query(t, ctx, c, slow)
		dest := make([]driver.Value, 1)
		for range 100 {
			if err := r.(keyset.Lender).Lend(dest); err != nil {
				t.Fatal(err)
			}
		}
		want := error(nil)
		switch how {
		case "context":
			cancel()
			want = context.Canceled
		case "Close of the rows":
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			want = io.EOF
		case "Close of the connection":
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			want = driver.ErrBadConn
		}
		if err := r.(keyset.Lender).Lend(dest); err != want {
			t.Errorf("%s: Lend: %v, want %v", how, err, want)
		}
		if err := r.Close(); err != nil {
			t.Errorf("%s: Close: %v", how, err)
		}
		cancel()
	}
	goroutines(t, before)
}
