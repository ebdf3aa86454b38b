package dbtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.com/pipeline/cursor/keyset"
)

// TestSplit cuts a skewed key with gaps into parts of the same number of rows.
func TestSplit(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		exec(t, db.DB, "CREATE TABLE t (a BIGINT NOT NULL, b BIGINT NOT NULL, PRIMARY KEY (a, b))")
		var rows []string
		for i := range 1003 {
			a := i * i * i * 1_000_003 // ever larger gaps
			if i < 500 {
				a = 7 // one large group
			}
			rows = append(rows, fmt.Sprintf("(%d, %d)", a, i))
		}
		exec(t, db.DB, "INSERT INTO t (a, b) VALUES "+strings.Join(rows, ", "))
		for _, test := range []struct {
			name   string
			n      int
			change func(*keyset.Query[pair, pair])
			parts  int
			rows   int
		}{
			{"one", 1, func(q *keyset.Query[pair, pair]) {}, 1, 1003},
			{"eight", 8, func(q *keyset.Query[pair, pair]) {}, 8, 1003},
			{"down", 7, func(q *keyset.Query[pair, pair]) { q.Desc = true }, 7, 1003},
			{"bounded", 5, func(q *keyset.Query[pair, pair]) { q.Until = &pair{7, 400} }, 5, 401},
			{"with condition", 4, func(q *keyset.Query[pair, pair]) { q.Where = "b < 300 OR b > 900" }, 4, 402},
			{"more parts than rows", 9, func(q *keyset.Query[pair, pair]) { q.Where = "b < 5" }, 5, 5},
			{"no rows", 3, func(q *keyset.Query[pair, pair]) { q.Where = "b < 0" }, 1, 0},
		} {
			t.Run(test.name, func(t *testing.T) {
				q := pairs(db, db.dialect)
				test.change(&q)
				ranges, err := q.Split(t.Context(), test.n)
				if err != nil || len(ranges) != test.parts {
					t.Fatalf("got %d parts, %v, want %d", len(ranges), err, test.parts)
				}
				if ranges[0].After != nil || ranges[len(ranges)-1].Until != nil && *ranges[len(ranges)-1].Until != *q.Until {
					t.Errorf("the ends are %+v and %+v", ranges[0], ranges[len(ranges)-1])
				}
				var all []pair
				for _, r := range ranges {
					part := q
					part.Until = r.Until
					got := collect(t, part, r.After)
					if mean := test.rows / test.parts; len(got) < mean || len(got) > mean+1 {
						t.Errorf("a part has %d rows of %d in %d parts", len(got), test.rows, test.parts)
					}
					all = append(all, got...)
				}
				if whole := collect(t, q, nil); !slices.Equal(all, whole) || len(all) != test.rows {
					t.Errorf("the parts have %d rows, the whole %d, want %d", len(all), len(whole), test.rows)
				}
			})
		}
		t.Run("table", func(t *testing.T) {
			q, err := keyset.OpenTable(t.Context(), db, db.dialect, "t")
			if err != nil {
				t.Fatal(err)
			}
			ranges, err := q.Split(t.Context(), 6)
			if err != nil || len(ranges) != 6 {
				t.Fatalf("got %v, %v", ranges, err)
			}
			n := 0
			for _, r := range ranges {
				part := *q
				part.Until = r.Until
				n += len(collect(t, &part, r.After))
			}
			if n != 1003 {
				t.Errorf("the parts have %d rows", n)
			}
		})
	})
}

// TestLatestWaitsForWriters shows the row that a reader of ids skips, and that
// Latest does not let it be skipped.
func TestLatestWaitsForWriters(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		exec(t, db.DB, "CREATE TABLE t (a BIGINT NOT NULL, b BIGINT NOT NULL, PRIMARY KEY (a, b))", "INSERT INTO t VALUES (1, 1)")
		q := pairs(db, db.dialect)
		late, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer late.Rollback()
		if _, err := late.Exec("INSERT INTO t VALUES (1, 2)"); err != nil {
			t.Fatal(err)
		}
		if db.name != "sqlite" { // which has one writer at a time
			exec(t, db.DB, "INSERT INTO t VALUES (1, 3)")
		}

		// While the transaction is open, Latest gives up when its time is over, and
		// leaves nothing behind: writers go on, also on the same connection.
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := q.Latest(ctx)
			failed <- err
		}()
		waitForLock(t, db)
		cancel()
		if err := <-failed; err == nil {
			t.Fatal("Latest did not wait for the open transaction")
		}
		if db.name != "sqlite" {
			exec(t, db.DB, "INSERT INTO t VALUES (1, 4)")
		}

		type result struct {
			latest *pair
			err    error
		}
		done := make(chan result, 1)
		go func() {
			latest, err := q.Latest(t.Context())
			done <- result{latest, err}
		}()
		waitForLock(t, db)
		select {
		case r := <-done:
			t.Fatalf("Latest returned %v, %v while a transaction was open", r.latest, r.err)
		default:
		}
		if err := late.Commit(); err != nil {
			t.Fatal(err)
		}
		r := <-done
		if r.err != nil {
			t.Fatal(r.err)
		}
		q.Until = r.latest
		want := []pair{{1, 1}, {1, 2}, {1, 3}, {1, 4}}
		if db.name == "sqlite" {
			want = want[:2]
		}
		if got := collect(t, q, nil); !slices.Equal(got, want) {
			t.Errorf("up to %v: got %v", *r.latest, got)
		}
		exec(t, db.DB, "INSERT INTO t VALUES (2, 1)") // no lock is left
	})
}

// waitForLock waits until somebody waits for a lock on the server. SQLite does not
// tell; there the caller has been given a moment.
func waitForLock(t *testing.T, db database) {
	t.Helper()
	query := map[string]string{
		"postgres": "SELECT COUNT(*) FROM pg_locks l JOIN pg_namespace n ON n.nspname = current_schema() JOIN pg_class c ON c.relnamespace = n.oid AND c.oid = l.relation WHERE NOT l.granted",
		"mariadb":  "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND state LIKE 'Waiting for table%'",
	}[db.name]
	for query != "" {
		var n int
		if err := db.QueryRow(query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			return
		}
	}
}

func TestLatest(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		exec(t, db.DB, "CREATE TABLE t (a BIGINT NOT NULL, b BIGINT NOT NULL, PRIMARY KEY (a, b))")
		q := pairs(db, db.dialect)
		if latest, err := q.Latest(t.Context()); latest != nil || err != nil {
			t.Errorf("of an empty table: got %v, %v", latest, err)
		}
		exec(t, db.DB, "INSERT INTO t VALUES (1, 5), (2, 1), (2, 3), (-4, 9)")
		for _, test := range []struct {
			name   string
			change func(*keyset.Query[pair, pair])
			want   pair
		}{
			{"up", func(q *keyset.Query[pair, pair]) {}, pair{2, 3}},
			{"down", func(q *keyset.Query[pair, pair]) { q.Desc = true }, pair{-4, 9}},
			{"with condition", func(q *keyset.Query[pair, pair]) { q.Where = "a < 2" }, pair{1, 5}},
			{"with alias", func(q *keyset.Query[pair, pair]) { q.From, q.Key = "t AS x", []string{"x.a", "x.b"} }, pair{2, 3}},
			{"bounded", func(q *keyset.Query[pair, pair]) { q.Until = &pair{0, 0} }, pair{2, 3}},
		} {
			q := pairs(db, db.dialect)
			test.change(&q)
			if latest, err := q.Latest(t.Context()); err != nil || *latest != test.want {
				t.Errorf("%s: got %v, %v, want %v", test.name, latest, err, test.want)
			}
		}
		q.From = "t JOIN t u ON t.a = u.a"
		if _, err := q.Latest(t.Context()); err == nil || !strings.Contains(err.Error(), "one table") {
			t.Errorf("of a join: got %v", err)
		}
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		q = pairs(tx, db.dialect)
		if _, err := q.Latest(t.Context()); err == nil || !strings.Contains(err.Error(), "*sql.DB or *sql.Conn") {
			t.Errorf("in a transaction: got %v", err)
		}
	})
}
