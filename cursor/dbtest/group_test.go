package dbtest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/pipeline/cursor/keyset"
	"modernc.org/sqlite"
)

// A recorder notes the statements that a query runs.
type recorder struct {
	keyset.Querier
	mu         sync.Mutex
	statements []statement
}

type statement struct {
	text string
	args []any
}

func (r *recorder) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	r.mu.Lock()
	r.statements = append(r.statements, statement{text, args})
	r.mu.Unlock()
	return r.Querier.QueryContext(ctx, text, args...)
}

// page returns the statement that read a page.
func (r *recorder) page(t *testing.T) statement {
	t.Helper()
	for _, s := range r.statements {
		if strings.Contains(s.text, " LIMIT ") && strings.Contains(s.text, "ORDER BY") {
			return s
		}
	}
	t.Fatal("no page was read")
	return statement{}
}

type pair struct{ A, B int64 }

// pairs is the query on a table with the key (a, b).
func pairs(db keyset.Querier, d keyset.Dialect) keyset.Query[pair, pair] {
	return keyset.Query[pair, pair]{
		DB: db, Dialect: d, Select: "a, b", From: "t", Key: []string{"a", "b"},
		Scan: func(rows *sql.Rows) (p pair, err error) {
			err = rows.Scan(&p.A, &p.B)
			return p, err
		},
		Position: func(p pair) pair { return p },
	}
}

const groupSize = 500_000

// createGroup makes a table of three groups with 1,000, 500,000 and 1,000 rows.
func createGroup(t *testing.T, db database) {
	t.Helper()
	series := map[string]string{
		"sqlite":   "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < %d) SELECT %s FROM s",
		"postgres": "SELECT %[2]s FROM generate_series(1, %[1]d) s(i)",
		"mariadb":  "SELECT %[2]s FROM (SELECT seq AS i FROM seq_1_to_%[1]d) s",
	}[db.name]
	ddl := "CREATE TABLE t (a BIGINT NOT NULL, b BIGINT NOT NULL, v VARCHAR(20), PRIMARY KEY (a, b))"
	if db.name == "sqlite" {
		ddl += " WITHOUT ROWID" // one tree less to fill
	}
	exec(t, db.DB, ddl, "INSERT INTO t (a, b, v) "+fmt.Sprintf(series, groupSize+2000,
		fmt.Sprintf("CASE WHEN i <= 1000 THEN 1 WHEN i <= %d THEN 2 ELSE 3 END, i, 'x'", groupSize+1000)))
	if db.name != "sqlite" { // whose planner does not need it here
		exec(t, db.DB, map[string]string{"postgres": "ANALYZE t", "mariadb": "ANALYZE TABLE t"}[db.name])
	}
}

// TestPageDeepInGroup reads one page in the midst of rows that are equal in the
// first column of the key. It must not read the group up to there.
func TestPageDeepInGroup(t *testing.T) {
	const limit = 1000
	withEachDB(t, func(t *testing.T, db database) {
		createGroup(t, db)
		middle := pair{2, groupSize / 2}
		cases := map[string]func(*keyset.Query[pair, pair]){
			"up":             func(q *keyset.Query[pair, pair]) {},
			"down":           func(q *keyset.Query[pair, pair]) { q.Desc = true },
			"up, bounded":    func(q *keyset.Query[pair, pair]) { q.Until = &pair{2, groupSize - 5} },
			"up, far bound":  func(q *keyset.Query[pair, pair]) { q.Until = &pair{3, groupSize + 1500} },
			"down, bounded":  func(q *keyset.Query[pair, pair]) { q.Desc, q.Until = true, &pair{1, 500} },
			"with condition": func(q *keyset.Query[pair, pair]) { q.Where = "v = 'x' OR v = 'y'" },
		}
		for name, change := range cases {
			t.Run(name, func(t *testing.T) {
				entries := map[string]func(*testing.T, database, keyset.Query[pair, pair], pair) int{
					"sqlite": sqliteEntries, "postgres": postgresEntries, "mariadb": mariaDBEntries}[db.name]
				q := pairs(db, db.dialect)
				change(&q)
				if n := entries(t, db, q, middle); n < limit || n > 2*limit {
					t.Errorf("a page of %d read %d entries", limit, n)
				}
			})
		}
	})
}

// readPage reads one page and leaves.
func readPage(t *testing.T, q keyset.Query[pair, pair], after pair) {
	t.Helper()
	n := 0
	for p, err := range q.Stream(t.Context(), &after) {
		if err != nil {
			t.Fatal(err)
		}
		want := pair{2, after.B + int64(n) + 1}
		if q.Desc {
			want.B = after.B - int64(n) - 1
		}
		if p != want {
			t.Fatalf("row %d is %v, want %v", n, p, want)
		}
		if n++; n == 1000 {
			return
		}
	}
	t.Fatalf("got %d rows", n)
}

var sqliteRows atomic.Int64

func init() {
	// counted counts the rows for which the condition is asked.
	err := sqlite.RegisterScalarFunction("counted", 1, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
		sqliteRows.Add(1)
		return int64(1), nil
	})
	if err != nil {
		panic(err)
	}
}

// sqliteEntries counts the rows for which a condition is asked that no index has.
// SQLite asks it before a comparison that it cannot give to the index.
func sqliteEntries(t *testing.T, db database, q keyset.Query[pair, pair], after pair) int {
	r := &recorder{Querier: db}
	q.DB = r
	if q.Where != "" {
		q.Where = "(" + q.Where + ") AND "
	}
	q.Where += "counted(b)"
	sqliteRows.Store(0)
	readPage(t, q, after)
	n := int(sqliteRows.Load())
	page := r.page(t)
	var plan string
	var id, parent, unused int
	if err := db.QueryRow("EXPLAIN QUERY PLAN "+page.text, page.args...).Scan(&id, &parent, &unused, &plan); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(plan, "SEARCH t USING") || !strings.Contains(plan, "(a,b)") {
		t.Errorf("SQLite's plan is %s", plan)
	}
	return n
}

// postgresEntries runs the page's statement again under EXPLAIN ANALYZE.
func postgresEntries(t *testing.T, db database, q keyset.Query[pair, pair], after pair) int {
	r := &recorder{Querier: db}
	q.DB = r
	readPage(t, q, after)
	page := r.page(t)
	var text string
	if err := db.QueryRow("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "+page.text, page.args...).Scan(&text); err != nil {
		t.Fatal(err)
	}
	type node struct {
		Type     string  `json:"Node Type"`
		Parent   string  `json:"Parent Relationship"`
		Rows     float64 `json:"Actual Rows"`
		Filtered float64 `json:"Rows Removed by Filter"`
		Recheck  float64 `json:"Rows Removed by Index Recheck"`
		Hit      int     `json:"Shared Hit Blocks"`
		Read     int     `json:"Shared Read Blocks"`
		Plans    []json.RawMessage
	}
	var plans []struct{ Plan json.RawMessage }
	if err := json.Unmarshal([]byte(text), &plans); err != nil {
		t.Fatal(err)
	}
	var n node
	for next := plans[0].Plan; next != nil; {
		n = node{}
		if err := json.Unmarshal(next, &n); err != nil {
			t.Fatal(err)
		}
		next = nil
		for _, child := range n.Plans { // beside it is what the session is looked at with
			var c node
			if err := json.Unmarshal(child, &c); err != nil {
				t.Fatal(err)
			}
			if c.Parent == "Outer" {
				next = child
			}
		}
	}
	if !strings.HasPrefix(n.Type, "Index") {
		t.Errorf("PostgreSQL's plan is %s", text)
	}
	// Each entry costs a block or less beside the descent of the tree, so the blocks
	// bound the entries that were passed over in the index itself.
	if blocks := n.Hit + n.Read; blocks > 2000 {
		t.Errorf("%d blocks were read: %s", blocks, text)
	}
	return int(n.Rows + n.Filtered + n.Recheck)
}

// mariaDBEntries reads the counters of the connection that reads the page.
func mariaDBEntries(t *testing.T, db database, q keyset.Query[pair, pair], after pair) int {
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	q.DB = conn
	if _, err := conn.ExecContext(t.Context(), "FLUSH STATUS"); err != nil {
		t.Fatal(err)
	}
	readPage(t, q, after)
	rows, err := conn.QueryContext(t.Context(), "SHOW SESSION STATUS LIKE 'Handler_read%'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	total := 0
	for rows.Next() {
		var name string
		var n int
		if err := rows.Scan(&name, &n); err != nil {
			t.Fatal(err)
		}
		total += n
	}
	return total
}
