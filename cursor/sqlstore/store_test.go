package sqlstore_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/cursor/sqlstore"
)

// The tests on real databases are in the module cursor/dbtest.

func TestMisuse(t *testing.T) {
	db := sql.OpenDB(noDriver{})
	defer db.Close()
	for want, call := range map[string]func(){
		"sqlstore.New: the database and the dialect":      func() { sqlstore.New(nil, keyset.SQLite) },
		"sqlstore.New: the database and the dialect ":     func() { sqlstore.New(db, nil) },
		"sqlstore.LeaseFor: the lease must be":            func() { sqlstore.LeaseFor(0) },
		"sqlstore.KeysFor: the time must be":              func() { sqlstore.KeysFor(time.Microsecond) },
		"sqlstore.Tables: there must be two names":        func() { sqlstore.Tables("a", "a") },
		"sqlstore.Prune: the age must not be negative, g": func() { sqlstore.New(db, keyset.SQLite).Prune(t.Context(), -1) },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.HasPrefix(got, want) {
					t.Errorf("the panic is %q, want %q", got, want)
				}
			}()
			call()
		}()
	}
}

// TestDDLKnowsEachDatabase wants names that are compared byte by byte, and no word of
// the templates left.
func TestDDLKnowsEachDatabase(t *testing.T) {
	db := sql.OpenDB(noDriver{})
	defer db.Close()
	for d, want := range map[keyset.Dialect]string{keyset.SQLite: "BLOB", keyset.Postgres: `COLLATE "C"`, keyset.MySQL: "VARBINARY(512)"} {
		ddl := sqlstore.New(db, d).DDL()
		if !strings.Contains(ddl, want) || strings.ContainsAny(ddl, "{}") {
			t.Errorf("%s:\n%s", d.Name(), ddl)
		}
	}
}
