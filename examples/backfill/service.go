package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"time"

	"golang.org/x/time/rate"
)

// moods say how bad the service is.
type moods struct {
	busy, slow float64
	down       time.Duration
}

// A service charges for each Idempotency-Key once, and writes it down in a database.
type service struct {
	moods
	db      *sql.DB
	limiter *rate.Limiter
	begin   time.Time
}

func openService(ctx context.Context, folder string, m moods, fresh bool) (*service, error) {
	db, err := openSQLite(filepath.Join(folder, "service.db"))
	if err != nil {
		return nil, err
	}
	// Nothing but the service's own care keeps a row from being charged twice: charges
	// has no unique column.
	schema := `
		CREATE TABLE IF NOT EXISTS keys (key TEXT PRIMARY KEY, answer TEXT NOT NULL, repeats INTEGER NOT NULL DEFAULT 0);
		CREATE TABLE IF NOT EXISTS charges (row INTEGER NOT NULL)`
	if fresh {
		schema += `; DELETE FROM keys; DELETE FROM charges`
	}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &service{m, db, rate.NewLimiter(250, 50), time.Now()}, nil
}

func (s *service) Close() error { return s.db.Close() }

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.isDown() {
		panic(http.ErrAbortHandler) // cuts the connection
	}
	if rand.Float64() < s.busy || !s.limiter.Allow() {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "busy", http.StatusTooManyRequests)
		return
	}
	// The worst that a slow service can do is to charge and to answer too late.
	slow := rand.Float64() < s.slow
	before := slow && rand.IntN(2) == 0
	if before {
		sleep(r.Context(), time.Second)
	}
	var row int64
	if _, err := fmt.Sscanf(r.URL.Path, "/rows/%d", &row); err != nil {
		http.Error(w, "no such row", http.StatusNotFound)
		return
	}
	answer, err := s.charge(context.WithoutCancel(r.Context()), r.Header.Get("Idempotency-Key"), row)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if slow && !before {
		sleep(r.Context(), time.Second)
	}
	io.WriteString(w, answer)
}

// isDown: up for one and a half times as long as down, beginning with that.
func (s *service) isDown() bool {
	return s.down > 0 && time.Since(s.begin)%(s.down*5/2) >= s.down*3/2
}

// charge answers a key, and charges for it unless it has come before.
func (s *service) charge(ctx context.Context, key string, row int64) (answer string, err error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return "", err
	}
	defer tx.Rollback()
	err = tx.QueryRowContext(ctx, `UPDATE keys SET repeats = repeats + 1 WHERE key = ? RETURNING answer`, key).Scan(&answer)
	if errors.Is(err, sql.ErrNoRows) {
		answer = fmt.Sprint("score ", row*7919%100)
		_, err = tx.ExecContext(ctx, `INSERT INTO keys (key, answer) VALUES (?, ?)`, key, answer)
		if err == nil {
			_, err = tx.ExecContext(ctx, `INSERT INTO charges VALUES (?)`, row)
		}
	}
	if err != nil {
		return "", err
	}
	return answer, tx.Commit()
}

// summary prints what was charged, and says so by an error where that is not once
// for each of n rows.
func (s *service) summary(ctx context.Context, out io.Writer, n int) error {
	var charges, rows, repeats int
	err := s.db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM charges), (SELECT count(DISTINCT row) FROM charges),
		(SELECT coalesce(sum(repeats), 0) FROM keys)`).Scan(&charges, &rows, &repeats)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "the service has charged %d times for %d of %d rows; %d calls came again and changed nothing\n", charges, rows, n, repeats)
	if charges != n || rows != n {
		return errors.New("a row was not charged exactly once")
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
