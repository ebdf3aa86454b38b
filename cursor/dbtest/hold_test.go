package dbtest

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/seq"
)

// heldRows is how many rows the tables of these tests have: so many, and so wide, that
// the last pages are larger than what the server and the network hold in between.
const heldRows = 40_000

// fillHeld makes a table t of heldRows rows of half a kilobyte.
func fillHeld(t *testing.T, db database) {
	t.Helper()
	numbers := map[string]string{
		"sqlite":   fmt.Sprintf("WITH RECURSIVE s (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < %d) SELECT n FROM s", heldRows-1),
		"postgres": fmt.Sprintf("SELECT n FROM generate_series(0, %d) n", heldRows-1),
		"mariadb":  fmt.Sprintf("SELECT seq AS n FROM seq_0_to_%d", heldRows-1),
	}[db.name]
	exec(t, db.DB, "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(600) NOT NULL)",
		"INSERT INTO t SELECT n, '"+strings.Repeat("v", 500)+"' FROM ("+numbers+") s")
}

// heldStreams returns the ways to read the table, by the ids of its rows. onPage is told of
// each page, nil: nobody is.
func heldStreams(t *testing.T, db database, onPage func(cursor.PageStats)) map[string]iter.Seq2[int64, error] {
	t.Helper()
	table, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, "t")
	if err != nil {
		t.Fatal(err)
	}
	table.Reuse = true
	table.Page.OnPage = onPage
	query := keyset.Query[int64, int64]{
		DB: db.DB, Dialect: db.dialect, Select: "id, v", From: "t", Key: []string{"id"},
		Scan: func(rows *sql.Rows) (id int64, err error) {
			var v string
			err = rows.Scan(&id, &v)
			return id, err
		},
		Position: func(id int64) int64 { return id },
		Page:     cursor.PageConfig{OnPage: onPage},
	}
	return map[string]iter.Seq2[int64, error]{
		"table": seq.Map(table.Stream(t.Context(), nil), func(row keyset.Row) (int64, error) { return row.Key[0].(int64), nil }),
		"query": query.Stream(t.Context(), nil),
	}
}

// eventually waits until it is so. A connection that is never given back fails the test
// by its deadline, which is far from any time that is promised.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so after 30 s: %s", what)
		}
	}
}

// TestAnOpenPageIsLetGo has a quick loop stop in the midst of an open page, as at a
// closed gate: the statement ends by itself, so that another session can take the table
// for itself, and the loop finds all the rows when it goes on.
func TestAnOpenPageIsLetGo(t *testing.T) {
	alter := map[string]string{"postgres": "ALTER TABLE t ADD COLUMN w%d int", "mariadb": "ALTER TABLE t COMMENT = '%d'"}
	withEachDB(t, func(t *testing.T, db database) {
		if db.name == "sqlite" {
			return // its pages are never open: see TestWritersOfSQLite
		}
		fillHeld(t, db)
		n := 0
		for name, rows := range heldStreams(t, db, nil) {
			t.Run(name, func(t *testing.T) {
				next, stopped := int64(0), 0
				for id, err := range rows {
					if err != nil {
						t.Fatal(err)
					}
					if id != next {
						t.Fatalf("got row %d, want %d", id, next)
					}
					next++
					if id < 10_000 || stopped > 0 || db.Stats().InUse == 0 {
						continue
					}
					stopped++
					eventually(t, "no connection is in use", func() bool { return db.Stats().InUse == 0 })
					if name == "query" { // a Table would see that its columns are no longer the same
						n++
						exec(t, db.DB, fmt.Sprintf(alter[db.name], n))
					}
				}
				if next != heldRows || stopped == 0 {
					t.Errorf("got %d rows, and stopped %d times in an open page", next, stopped)
				}
			})
		}
	})
}

// TestASlowLoopHoldsNothing has a loop that takes longer for its rows than the database
// does: no statement is ever open in its body.
func TestASlowLoopHoldsNothing(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		fillHeld(t, db)
		pause := time.Duration(0) // after ten rows: longer than they have taken to read, also where the machine is busy
		onPage := func(p cursor.PageStats) { pause = max(2*time.Millisecond, 15*p.Took/time.Duration(max(p.Rows, 1))) }
		for name, rows := range heldStreams(t, db, onPage) {
			n := 0
			for _, err := range rows {
				if err != nil {
					t.Fatal(err)
				}
				if n++; n%10 == 0 {
					time.Sleep(pause)
				}
				if inUse := db.Stats().InUse; inUse > 0 {
					t.Fatalf("%s: %d connections are in use in the body, at row %d", name, inUse, n)
				}
				if n == 5000 {
					break
				}
			}
		}
	})
}

// TestWritersOfSQLite writes in the loop's body, in rollback mode, where an open statement
// would make a writer fail at once.
func TestWritersOfSQLite(t *testing.T) {
	db := database{openDB(t, "sqlite", "file:"+filepath.ToSlash(filepath.Join(t.TempDir(), "test.db"))+"?_pragma=journal_mode(DELETE)&_pragma=synchronous(OFF)"), databases[0]}
	fillHeld(t, db)
	for name, rows := range heldStreams(t, db, nil) {
		n := 0
		for id, err := range rows {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n%1000 == 500 {
				if _, err := db.ExecContext(context.Background(), "UPDATE t SET v = 'written' WHERE id = ?", id); err != nil {
					t.Fatalf("%s, at row %d: %v", name, id, err)
				}
			}
		}
		if n != heldRows {
			t.Errorf("%s: got %d rows", name, n)
		}
	}
}
