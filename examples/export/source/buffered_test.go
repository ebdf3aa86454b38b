package source

import (
	"os"
	"testing"
	"time"
)

// A connection that the server has closed while it was idle is found before it is used.
func TestBufferedConnectionThatWasClosed(t *testing.T) {
	dsn := os.Getenv("PIPELINE_MARIADB")
	if dsn == "" {
		t.Skip("PIPELINE_MARIADB is not set")
	}
	db, err := Open(t.Context(), "mysql://"+dsn, false)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	killer, err := Open(t.Context(), "mysql://"+dsn, false)
	if err != nil {
		t.Fatal(err)
	}
	defer killer.Close()
	for range 20 {
		var id, found int
		if err := db.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&id); err != nil {
			t.Fatal(err)
		}
		if _, err := killer.ExecContext(t.Context(), "KILL ?", id); err != nil {
			t.Fatal(err)
		}
		for {
			if err := killer.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.processlist WHERE id = ?", id).Scan(&found); err != nil {
				t.Fatal(err)
			}
			if found == 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(5 * time.Millisecond) // until the end has come
		if _, err := db.ExecContext(t.Context(), "DO 1"); err != nil {
			t.Fatalf("behind a connection that was closed: %v", err)
		}
	}
}
