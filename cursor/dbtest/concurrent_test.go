package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
)

// A meddler is a connection of its own between two statements of a stream: before tells by
// the next statement what it does.
type meddler struct {
	*sql.DB
	before func(statement string)
}

func (m *meddler) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	m.before(text)
	return m.DB.QueryContext(ctx, text, args...)
}

// TestRowThatComesAndGoes reads a row that is there when a page is read, and gone whenever
// its position is looked for. The others come, whether or not it does.
func TestRowThatComesAndGoes(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		for _, row := range []int64{0, 3, 5} {
			exec(t, db.DB, "DROP TABLE IF EXISTS t")
			numbers(t, db, 6)
			looks := 0
			q := single[int64](db, "t", "k")
			q.DB = &meddler{db.DB, func(text string) {
				exec(t, db.DB, fmt.Sprintf("DELETE FROM t WHERE k = %d", row))
				if strings.Contains(text, "SELECT 1 FROM") {
					looks++
				} else {
					exec(t, db.DB, fmt.Sprintf("INSERT INTO t VALUES (%d)", row))
				}
			}}
			for _, q.Page.Size = range []int{1, 2, 6} {
				q.Page.Max = q.Page.Size
				got, err := gather(q.Stream(t.Context(), nil))
				if others := slices.Delete(upTo(6), int(row), int(row)+1); err != nil || !slices.Equal(got, upTo(6)) && !slices.Equal(got, others) {
					t.Errorf("row %d, pages of %d: got %v, %v", row, q.Page.Size, got, err)
				}
			}
			if looks == 0 {
				t.Errorf("row %d: no position was looked for", row)
			}
		}
	})
}

// TestPositionOfNoRow wants the fault found of positions that lead to no row, whether or
// not another row comes and goes meanwhile.
func TestPositionOfNoRow(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		numbers(t, db, 6)
		q := single[int64](db, "t", "k")
		q.Position = func(k int64) int64 { return k + 1000 }
		for _, size := range []int{1, 2, 5, 6, 10} {
			q.Page.Size, q.Page.Max = size, size
			for name, before := range map[string]func(string){
				"quiet": func(string) {},
				"first": func(text string) {
					exec(t, db.DB, "DELETE FROM t WHERE k = 0")
					if !strings.Contains(text, "SELECT 1 FROM") {
						exec(t, db.DB, "INSERT INTO t VALUES (0)")
					}
				},
			} {
				q.DB = &meddler{db.DB, before}
				if got, err := gather(q.Stream(t.Context(), nil)); len(got) > 0 || !errors.Is(err, keyset.ErrPosition) {
					t.Errorf("%s, pages of %d: got %v, %v", name, size, got, err)
				}
			}
		}
	})
}

// TestDuplicateBehindNewRows has rows come in before two that are one key in the database,
// after their page was read: neither of the two is handed over.
func TestDuplicateBehindNewRows(t *testing.T) {
	tables := map[string][]string{
		"sqlite":   {"CREATE TABLE t (k TEXT COLLATE NOCASE NOT NULL)"},
		"postgres": {"CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)", "CREATE TABLE t (k text COLLATE ci NOT NULL)"},
		"mariadb":  {"CREATE TABLE t (k VARCHAR(20) COLLATE utf8mb4_general_ci NOT NULL)"},
	}
	withEachDB(t, func(t *testing.T, db database) {
		exec(t, db.DB, tables[db.name]...)
		exec(t, db.DB, "INSERT INTO t VALUES ('a'), ('c'), ('D'), ('d'), ('e')")
		q := single[string](db, "t", "k")
		meddled := false
		q.DB = &meddler{db.DB, func(text string) {
			if strings.Contains(text, "GROUP BY") && !meddled {
				meddled = true
				exec(t, db.DB, "INSERT INTO t VALUES ('aa'), ('ab'), ('ac')")
			}
		}}
		got, err := gather(q.Stream(t.Context(), nil))
		if !slices.Equal(got, []string{"a", "c"}) || !errors.Is(err, cursor.ErrDuplicateKey) {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

// TestTableReplacedWhileLookedAt puts a table of the same columns in the place of the one
// that is read, between any two statements that look at the catalog.
func TestTableReplacedWhileLookedAt(t *testing.T) {
	db := database{openPostgres(t), databases[1]}
	for name, part := range map[string]string{"the name": "c.relkind NOT IN", "the columns": "WITH RECURSIVE", "the indexes": "indisvalid"} {
		exec(t, db.DB, "DROP TABLE IF EXISTS t")
		numbers(t, db, 20)
		q := single[int64](db, "t", "k")
		q.Page.Size, q.Page.Max = 5, 5
		var got []int64
		replaced := false
		q.DB = &meddler{db.DB, func(text string) {
			if len(got) >= 15 && !replaced && strings.Contains(text, part) { // before the stream ends
				replaced = true
				exec(t, db.DB, "BEGIN; DROP TABLE t; CREATE TABLE t (k BIGINT NOT NULL PRIMARY KEY); COMMIT")
			}
		}}
		for k, err := range q.Stream(t.Context(), nil) {
			if err != nil {
				t.Fatalf("before %s: %v", name, err)
			}
			got = append(got, k)
		}
		if !slices.Equal(got, upTo(20)) || !replaced {
			t.Errorf("before %s: got %v", name, got)
		}
	}
}
