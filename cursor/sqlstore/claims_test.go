package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"testing"

	"example.com/pipeline/cursor/keyset"
)

type unreachable struct{}

var errUnreachable = errors.New("unreachable")

func (unreachable) Connect(context.Context) (driver.Conn, error) { return nil, errUnreachable }
func (unreachable) Driver() driver.Driver                        { return nil }

// TestNoClaimStaysBehind lets the calls fail that end a claim. A process that goes on for
// weeks must not gather what it cannot use any more.
func TestNoClaimStaysBehind(t *testing.T) {
	db := sql.OpenDB(unreachable{})
	defer db.Close()
	s := New(db, keyset.Postgres)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // so that Finish does not try for six seconds
	for i := range 3 {
		finished, abandoned := fmt.Sprint("finished ", i), fmt.Sprint("abandoned ", i)
		s.claims.Store(claimant{key: finished}, "claim")
		s.claims.Store(claimant{key: abandoned}, "claim")
		if err := s.Finish(ctx, finished, nil); err == nil {
			t.Error("Finish succeeded")
		}
		if err := s.Abandon(ctx, abandoned); err == nil {
			t.Error("Abandon succeeded")
		}
		if _, _, err := s.Begin(ctx, "never begun"); err == nil {
			t.Error("Begin succeeded")
		}
	}
	s.claims.Range(func(key, _ any) bool {
		t.Errorf("the claim on %q is kept", key)
		return true
	})
}
