package source

import (
	"errors"
	"os"
	"strings"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
	"github.com/go-sql-driver/mysql"
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

// A user with one connection cannot end a count: it ends by itself, and says so.
func TestBriefCount(t *testing.T) {
	base := os.Getenv("PIPELINE_MARIADB")
	if base == "" {
		t.Skip("no server: set PIPELINE_MARIADB to a data source name to run this test")
	}
	defer func(seconds int) { briefly = seconds }(briefly)
	briefly = 1
	cfg, err := mysql.ParseDSN(strings.TrimPrefix(base, "mysql://"))
	if err != nil {
		t.Fatal(err)
	}
	admin, err := Open(t.Context(), "mysql://"+cfg.FormatDSN(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	run := func(statements ...string) {
		t.Helper()
		for _, statement := range statements {
			if _, err := admin.Exec(statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
	}
	run("DROP TABLE IF EXISTS export_brief", "CREATE TABLE export_brief (id int PRIMARY KEY)", "INSERT INTO export_brief VALUES (1), (2), (3), (4), (5), (6)",
		"DROP USER IF EXISTS export_brief", "CREATE USER export_brief IDENTIFIED BY 'x' WITH MAX_USER_CONNECTIONS 1", "GRANT SELECT ON export_brief TO export_brief")
	defer run("DROP TABLE export_brief", "DROP USER export_brief")
	cfg.User, cfg.Passwd = "export_brief", "x"
	s, err := Open(t.Context(), "mysql://"+cfg.FormatDSN(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for where, want := range map[string]error{"id > 0": nil, "sleep(1) = 0": ErrUncounted} {
		table, err := s.Table(t.Context(), "export_brief", Options{})
		if err != nil {
			t.Fatal(err)
		}
		table.Where = where
		if n, err := s.Count(t.Context(), table); !errors.Is(err, want) || want == nil && n != 6 {
			t.Errorf("where %s: %d rows, %v, want %v", where, n, err, want)
		}
	}
}
