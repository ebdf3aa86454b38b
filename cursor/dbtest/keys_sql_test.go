package dbtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/pipeline/control"
	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/sqlstore"
)

// TestSQLKeys goes through the life of idempotency keys.
func TestSQLKeys(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		s := newStore(t, db, sqlstore.KeysFor(time.Hour))
		other := newStore(t, db, sqlstore.KeysFor(time.Hour))
		ctx := t.Context()
		begin := func(s *sqlstore.Store, key string) (string, bool) {
			t.Helper()
			result, done, err := s.Begin(ctx, key)
			if err != nil {
				t.Fatalf("begin %.20q: %v", key, err)
			}
			return string(result), done
		}
		keys := []string{"a", "A", "a ", "", "a\x00b", "\xff", strings.Repeat("k", 5000), "sha256:a"}
		for i, key := range keys {
			if _, done := begin(s, key); done {
				t.Fatalf("key %.20q is done at the start", key)
			}
			for _, again := range []*sqlstore.Store{s, other} {
				if _, _, err := again.Begin(ctx, key); !errors.Is(err, control.ErrInProgress) {
					t.Errorf("key %.20q in progress: %v", key, err)
				}
			}
			if err := s.Finish(ctx, key, fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
		for i, key := range keys {
			if got, done := begin(other, key); !done || got != fmt.Sprint(i) {
				t.Errorf("key %.20q: got %q, %t", key, got, done)
			}
		}

		begin(s, "failed")
		if err := s.Abandon(ctx, "failed"); err != nil {
			t.Fatal(err)
		}
		if _, done := begin(other, "failed"); done {
			t.Error("an abandoned key is done")
		}

		// The caller's process has died; its claim runs out.
		begin(s, "died")
		exec(t, db.DB, "UPDATE pipeline_keys SET claim_until = 0 WHERE name = 'died'")
		if _, done := begin(other, "died"); done {
			t.Error("a key whose claim has run out is done")
		}
		if err := s.Finish(ctx, "died", []byte("late")); !errors.Is(err, cursor.ErrFenced) {
			t.Errorf("the dead caller's Finish: %v", err)
		}
		begin(s, "died 2")
		exec(t, db.DB, "UPDATE pipeline_keys SET claim_until = 0 WHERE name = 'died 2'")
		begin(other, "died 2")
		if err := s.Abandon(ctx, "died 2"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Begin(ctx, "died 2"); !errors.Is(err, control.ErrInProgress) {
			t.Errorf("the dead caller freed another's key: %v", err)
		}
		if err := other.Finish(ctx, "died", nil); err != nil {
			t.Fatal(err)
		}

		if n, err := s.Prune(ctx, time.Hour); n != 0 || err != nil {
			t.Errorf("pruned %d keys younger than an hour, %v", n, err)
		}
		if n, err := s.Prune(ctx, 0); int(n) != len(keys)+1 || err != nil {
			t.Errorf("pruned %d keys, want %d, %v", n, len(keys)+1, err)
		}
	})
}

// TestSQLKeysRenew makes a call that takes several times as long as its claim: no other
// process may make it meanwhile. One that lost its claim all the same is told so.
func TestSQLKeysRenew(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		const claim = 1200 * time.Millisecond
		s := newStore(t, db, sqlstore.KeysFor(claim))
		other := newStore(t, db, sqlstore.KeysFor(claim))
		key := func(id string) string { return id }
		long := control.Idempotent(func(ctx context.Context, id string) (string, error) {
			for end := time.Now().Add(2 * claim); time.Now().Before(end); time.Sleep(claim / 6) {
				if _, _, err := other.Begin(ctx, id); !errors.Is(err, control.ErrInProgress) {
					t.Fatalf("another process began the call: %v", err)
				}
			}
			return "made", nil
		}, s, key)
		if got, err := long(t.Context(), "long"); got != "made" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if _, done, err := other.Begin(t.Context(), "long"); !done || err != nil {
			t.Errorf("the call is done: %t, %v", done, err)
		}

		lost := control.Idempotent(func(ctx context.Context, id string) (string, error) {
			exec(t, db.DB, "UPDATE pipeline_keys SET claim = 'another', claim_until = claim_until + 1000000000 WHERE name = 'lost'")
			<-ctx.Done()
			return "", context.Cause(ctx)
		}, s, key)
		if _, err := lost(t.Context(), "lost"); !errors.Is(err, control.ErrInProgress) {
			t.Errorf("a lost claim: %v", err)
		}
		if _, _, err := other.Begin(t.Context(), "lost"); !errors.Is(err, control.ErrInProgress) {
			t.Errorf("the call that lost its claim has freed the key: %v", err)
		}
		if held, err := s.Renew(t.Context(), "never begun"); held || err != nil {
			t.Errorf("a key that was never begun: %t, %v", held, err)
		}
	})
}

// TestSQLKeysClaimTakenOverHere has two calls of one process hold the same key one after
// the other, since the claim of the first has run out. How the first ends is nothing to
// the claim of the second.
func TestSQLKeysClaimTakenOverHere(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		s := newStore(t, db, sqlstore.KeysFor(time.Hour))
		other := newStore(t, db, sqlstore.KeysFor(time.Hour))
		for name, first := range map[string]error{"fails": errors.New("too late"), "succeeds": nil} {
			calls := 0
			begun := make(chan bool)
			leave := []chan error{make(chan error), make(chan error)}
			call := control.Idempotent(func(context.Context, string) (string, error) {
				n := calls
				calls++
				begun <- true
				return fmt.Sprint("call ", n), <-leave[n]
			}, s, func(key string) string { return key })
			ended := make([]chan error, 2)
			for n := range ended {
				ended[n] = make(chan error, 1)
				go func() {
					_, err := call(t.Context(), name)
					ended[n] <- err
				}()
				<-begun
				if n == 0 {
					exec(t, db.DB, fmt.Sprintf("UPDATE pipeline_keys SET claim_until = 0 WHERE name = '%s'", name))
				}
			}
			leave[0] <- first
			if err := <-ended[0]; err == nil {
				t.Errorf("the first %s: it has recorded its end in the claim of the second", name)
			}
			if _, _, err := other.Begin(t.Context(), name); !errors.Is(err, control.ErrInProgress) {
				t.Errorf("the first %s: the key of the second is not claimed: %v", name, err)
			}
			leave[1] <- nil
			if err := <-ended[1]; err != nil {
				t.Errorf("the first %s: the second could not record its result: %v", name, err)
			}
			if got, done, err := other.Begin(t.Context(), name); string(got) != `"call 1"` || !done || err != nil {
				t.Errorf("the first %s: got %s, %t, %v, want the second's result", name, got, done, err)
			}
		}
	})
}

// TestSQLKeysIdempotent uses the keys for what they are for.
func TestSQLKeysIdempotent(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		s := newStore(t, db)
		calls := 0
		charge := control.Idempotent(func(_ context.Context, id int) (string, error) {
			calls++
			if calls == 1 {
				return "", errors.New("refused")
			}
			return fmt.Sprint("charged ", id), nil
		}, s, func(id int) string { return fmt.Sprint("charge ", id) })
		if _, err := charge(t.Context(), 7); err == nil {
			t.Error("the first call did not fail")
		}
		for range 3 {
			if got, err := charge(t.Context(), 7); got != "charged 7" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		}
		if calls != 2 {
			t.Errorf("%d calls were made, want 2", calls)
		}
	})
}
