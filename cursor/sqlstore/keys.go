package sqlstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/pipeline/control"
	"example.com/pipeline/cursor"
)

// Begin implements [control.KeyStore]. A key that another call has claimed is
// [control.ErrInProgress] until that call ends or its claim has run out, see
// [KeysFor].
func (s *Store) Begin(ctx context.Context, key string) (result []byte, done bool, err error) {
	name, claim := keyName(key), rand.Text()
	err = s.fresh(ctx, func() error {
		result, done, err = s.begin(ctx, name, claim)
		return err
	})
	switch {
	case err == nil && !done:
		s.claims.Store(claimantOf(ctx, key), claim)
	case err != nil && !errors.Is(err, control.ErrInProgress):
		s.unclaim(ctx, name, claim)
	}
	if err != nil {
		return nil, false, fmt.Errorf("sqlstore: begin the call for key %q: %w", key, err)
	}
	return result, done, nil
}

// A claimant is a call that has claimed a key. One whose claim has run out may still be
// under way when another one of this process takes the key over.
type claimant struct {
	key  string
	call any // what control.Idempotent knows it by; nil for whoever calls Begin himself
}

func claimantOf(ctx context.Context, key string) claimant {
	return claimant{key, control.ClaimOf(ctx)}
}

// begin claims a key, or finds that it has been claimed with this very claim.
func (s *Store) begin(ctx context.Context, name, claim string) (result []byte, done bool, err error) {
	for range 10 { // each time the key has just been freed or claimed by somebody
		ours, err := s.change(ctx, s.db, `{insert} INTO {keys} (name, claim, claim_until) VALUES (?, ?, {now} + ?){on exists}`,
			name, claim, s.keyFor.Microseconds())
		if err != nil || ours {
			return nil, false, err
		}
		var old string
		var until, now int64
		err = s.row(ctx, s.db, `SELECT done, result, claim, claim_until, {now} FROM {keys} WHERE name = ?`, []any{name},
			&done, &result, &old, &until, &now)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			continue
		case err != nil:
			return nil, false, err
		case done:
			return result, true, nil
		case old == claim: // an INSERT before, whose answer was lost
			return nil, false, nil
		case now <= until:
			return nil, false, fmt.Errorf("%w: unless it ends, until %s", control.ErrInProgress, time.UnixMicro(until).Format(time.RFC3339))
		}
		ours, err = s.change(ctx, s.db, `UPDATE {keys} SET claim = ?, claim_until = {now} + ? WHERE name = ? AND claim = ? AND done = 0`,
			claim, s.keyFor.Microseconds(), name, old)
		if err != nil || ours {
			return nil, false, err
		}
	}
	return nil, false, control.ErrInProgress
}

// unclaim frees a key after a claim that failed and may have been made.
func (s *Store) unclaim(ctx context.Context, name, claim string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = s.fresh(ctx, func() error {
		_, err := s.change(ctx, s.db, `DELETE FROM {keys} WHERE name = ? AND claim = ? AND done = 0`, name, claim)
		return err
	})
}

// Finish implements [control.KeyStore]. A claim that has run out and that another
// call has taken over is [cursor.ErrFenced]: that call's result will count. Where the
// database cannot be reached, Finish tries again for six seconds, since the call
// has been made; after an error this store knows nothing of the claim any more, and it
// runs out.
func (s *Store) Finish(ctx context.Context, key string, result []byte) error {
	name := keyName(key)
	by := claimantOf(ctx, key)
	claim, ok := s.claims.Load(by)
	if !ok {
		return fmt.Errorf("sqlstore: finish the call for key %q: it was not begun here", key)
	}
	defer s.claims.CompareAndDelete(by, claim)
	if result == nil {
		result = []byte{}
	}
	err := s.retry(ctx, func() error {
		ours, err := s.change(ctx, s.db, `UPDATE {keys} SET done = 1, done_at = {now}, result = ? WHERE name = ? AND claim = ? AND done = 0`,
			result, name, claim)
		if err == nil && !ours { // or a try before has kept it, and its answer was lost
			ours, err = s.finished(ctx, name, claim.(string))
		}
		if err == nil && !ours {
			err = fmt.Errorf("its claim has run out: %w", cursor.ErrFenced)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("sqlstore: finish the call for key %q: %w", key, err)
	}
	return nil
}

// finished reports whether the key has the result of this claim.
func (s *Store) finished(ctx context.Context, name, claim string) (bool, error) {
	var n int
	err := s.row(ctx, s.db, `SELECT COUNT(*) FROM {keys} WHERE name = ? AND claim = ? AND done = 1`, []any{name, claim}, &n)
	return n == 1, err
}

// RenewEvery implements [control.KeyRenewer]: three times in what [KeysFor] says.
func (s *Store) RenewEvery() time.Duration { return max(s.keyFor/3, time.Millisecond) }

// Renew implements [control.KeyRenewer]: from now on, by the database's clock, the claim
// holds for as long as [KeysFor] says. A claim that has run out holds again if nobody has
// taken it over.
func (s *Store) Renew(ctx context.Context, key string) (held bool, err error) {
	name := keyName(key)
	claim, ok := s.claims.Load(claimantOf(ctx, key))
	if !ok {
		return false, nil
	}
	err = s.fresh(ctx, func() error {
		held, err = s.change(ctx, s.db, `UPDATE {keys} SET claim_until = {now} + ? WHERE name = ? AND claim = ? AND done = 0`,
			s.keyFor.Microseconds(), name, claim)
		if err == nil && !held { // or the clock stands still, and MySQL counts no change
			var n int
			err = s.row(ctx, s.db, `SELECT COUNT(*) FROM {keys} WHERE name = ? AND claim = ? AND done = 0`, []any{name, claim}, &n)
			held = n == 1
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("sqlstore: renew the claim on key %q: %w", key, err)
	}
	return held, nil
}

// Abandon implements [control.KeyStore]. It frees the key if this store's claim on
// it still holds. After an error this store knows nothing of the claim any more, and it
// runs out.
func (s *Store) Abandon(ctx context.Context, key string) error {
	claim, ok := s.claims.LoadAndDelete(claimantOf(ctx, key))
	if !ok {
		return nil
	}
	err := s.fresh(ctx, func() error {
		_, err := s.change(ctx, s.db, `DELETE FROM {keys} WHERE name = ? AND claim = ? AND done = 0`, keyName(key), claim)
		return err
	})
	if err != nil {
		return fmt.Errorf("sqlstore: abandon the call for key %q: %w", key, err)
	}
	return nil
}

// Prune forgets the results of calls that were made longer than age ago, and returns
// how many. Nothing else removes them.
func (s *Store) Prune(ctx context.Context, age time.Duration) (n int64, err error) {
	if age < 0 {
		panic(fmt.Sprintf("sqlstore.Prune: the age must not be negative, got %v", age))
	}
	err = s.fresh(ctx, func() error {
		// In a SELECT of its own the clock is read once, and PostgreSQL can use the index.
		n, err = s.changeAll(ctx, s.db, `DELETE FROM {keys} WHERE done = 1 AND done_at <= (SELECT {now}) - ?`, age.Microseconds())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("sqlstore: prune the keys: %w", err)
	}
	return n, nil
}

// keyName returns what stands for a key in the table: the key itself where every
// database can hold it, otherwise its SHA-256.
func keyName(key string) string {
	const hashed = "sha256:"
	if cursor.CheckJob(key) == nil && !strings.HasPrefix(key, hashed) {
		return key
	}
	return fmt.Sprintf("%s%x", hashed, sha256.Sum256([]byte(key)))
}
