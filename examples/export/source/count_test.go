package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/pipeline/cursor/keyset"
)

// The estimate of SQLite looks at the ends of the table, and reads no other row.
func TestEstimateReadsNoTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), "sqlite:"+path, true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (11, 'a'), (12, 'b'), (40, 'c')"); err != nil {
		t.Fatal(err)
	}
	table, err := keyset.OpenTable(t.Context(), s.DB, keyset.SQLite, "t")
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := s.Estimate(t.Context(), &Table{Table: table}); n != 30 || !ok {
		t.Errorf("got about %d rows, %v, want 30", n, ok)
	}
	rows, err := s.DB.Query("EXPLAIN QUERY PLAN " + rangeOfRowids(table.From()))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	searches := 0
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(detail, "SEARCH") {
			searches++
		} else if detail != "SCAN CONSTANT ROW" && !strings.HasPrefix(detail, "SCALAR SUBQUERY") {
			t.Errorf("the plan has %q", detail)
		}
	}
	if err := rows.Err(); err != nil || searches != 2 {
		t.Errorf("%d searches, %v, want 2", searches, err)
	}
}
