package source

import (
	"os"
	"strings"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
)

// A table that is dropped while it is read is said to be gone, and not to have another key.
func TestTableGone(t *testing.T) {
	for variable, system := range map[string]string{"PIPELINE_POSTGRES": "", "PIPELINE_MARIADB": "mysql://"} {
		dsn := os.Getenv(variable)
		if dsn == "" {
			t.Skipf("no server: set %s to a data source name to run this test", variable)
		}
		if !strings.Contains(dsn, "://") {
			dsn = system + dsn
		}
		s, err := Open(t.Context(), dsn, true)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for _, statement := range []string{"DROP TABLE IF EXISTS export_gone", "CREATE TABLE export_gone (id int PRIMARY KEY)", "INSERT INTO export_gone VALUES (1), (2), (3), (4), (5), (6)"} {
			if _, err := s.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		table, err := s.Table(t.Context(), "export_gone", Options{Page: cursor.PageConfig{Size: 2, Max: 2}})
		if err != nil {
			t.Fatal(err)
		}
		var last error
		dropped := false
		for _, err := range table.Rows(t.Context(), keyset.Range[keyset.Key]{}) {
			if last = err; err == nil && !dropped {
				dropped = true
				if _, err := s.Exec("DROP TABLE export_gone"); err != nil {
					t.Fatal(err)
				}
			}
		}
		if last == nil || !strings.Contains(last.Error(), "is gone") {
			t.Errorf("%s: the stream ended with %v", s.System, last)
		}
	}
}
