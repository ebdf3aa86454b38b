package dbtest

import (
	"context"
	"strings"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
)

// TestAnOpenPageInTrouble has something happen in the loop's body while a page is open: its
// connection is killed (what is on its way still arrives), the pool shrinks to the
// connection that the page has, or is closed.
func TestAnOpenPageInTrouble(t *testing.T) {
	kill := map[string]string{
		"postgres": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name = current_schema()",
		"mariadb":  "SELECT CONCAT('KILL ', id) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
	}
	withEachDB(t, func(t *testing.T, db database) {
		if db.name == "sqlite" {
			return // its pages are never open
		}
		fillHeld(t, db)
		for name, trouble := range map[string]func() error{
			"killed": func() error {
				rows, err := db.Query(kill[db.name])
				if err != nil {
					return err
				}
				defer rows.Close()
				n := 0
				for rows.Next() {
					var what string
					if err := rows.Scan(&what); err != nil {
						return err
					}
					if n++; strings.HasPrefix(what, "KILL") {
						if _, err := db.Exec(what); err != nil {
							return err
						}
					}
				}
				if n == 0 {
					t.Error("no statement was killed")
				}
				return rows.Err()
			},
			"shrunk": func() error {
				db.SetMaxOpenConns(1)
				var n int
				err := db.QueryRow("SELECT 1").Scan(&n)
				db.SetMaxOpenConns(0)
				return err
			},
			"closed": db.DB.Close,
		} {
			if name == "closed" { // at last
				defer troubled(t, db, name, trouble)
				continue
			}
			troubled(t, db, name, trouble)
			db.SetMaxIdleConns(0) // this test's own statements do not try twice on a dead connection
			db.SetMaxIdleConns(2)
		}
	})
}

func troubled(t *testing.T, db database, name string, trouble func() error) {
	t.Run(name, func(t *testing.T) {
		table, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, "t")
		if err != nil {
			t.Fatal(err)
		}
		table.Reuse = true
		rows, failed, done := 0, 0, false
		table.Page.OnPage = func(p cursor.PageStats) { rows += p.Rows }
		table.Page.Retry = func(ctx context.Context, op func(context.Context) error) error {
			err := op(ctx)
			for i := 0; err != nil && i < 3; i++ {
				failed++
				err = op(ctx)
			}
			return err
		}
		next := int64(0)
		for row, err := range table.Stream(context.Background(), nil) {
			if err != nil {
				if name != "closed" {
					t.Error(err)
				}
				break
			}
			if row.Key[0] != next {
				t.Fatalf("got row %v, want %d", row.Key, next)
			}
			next++
			if next > 10_000 && !done && db.Stats().InUse > 0 {
				done = true
				if err := trouble(); err != nil {
					t.Error(err)
				}
			}
		}
		if !done || name != "closed" && (next != heldRows || rows != heldRows) {
			t.Errorf("got %d rows, OnPage was told of %d, %d tries failed, in trouble: %v", next, rows, failed, done)
		}
		if n := db.Stats().InUse; n != 0 {
			t.Errorf("%d connections are in use", n)
		}
	})
}
