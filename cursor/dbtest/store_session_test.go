package dbtest

import (
	"database/sql"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strings"
	"testing"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/sqlstore"
	"github.com/go-sql-driver/mysql"
)

// mysqlParam returns a data source name with a setting of each session.
func mysqlParam(t testing.TB, dsn, name, value string) string {
	t.Helper()
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Params = map[string]string{name: value}
	return cfg.FormatDSN()
}

// TestSQLStoreWithoutAutocommit keeps a job and keys through sessions that commit nothing
// by themselves: what was saved must be there for every other session, and what others
// have saved must be seen.
func TestSQLStoreWithoutAutocommit(t *testing.T) {
	dsn := mariaDBDSN(t)
	kind := databases[2]
	other := newStore(t, database{openDB(t, "mysql", dsn), kind}, sqlstore.LeaseFor(time.Hour), sqlstore.KeysFor(time.Hour))
	db := openDB(t, "mysql", mysqlParam(t, dsn, "autocommit", "0"))
	var on bool
	if err := db.QueryRow("SELECT @@autocommit").Scan(&on); err != nil || on {
		t.Fatalf("the sessions commit by themselves: %t, %v", on, err)
	}
	s := newStore(t, database{db, kind}, sqlstore.LeaseFor(time.Hour), sqlstore.KeysFor(time.Hour))

	c := openJob(t, s, "job")
	if _, err := other.Acquire(t.Context(), "job"); !errors.Is(err, cursor.ErrLocked) {
		t.Errorf("another session's Acquire: %v", err)
	}
	for i := range 3 {
		if err := c.Commit(t.Context(), i); err != nil {
			t.Fatal(err)
		}
		for name, store := range map[string]cursor.Store{"the other": other, "its own": s} {
			r, err := cursor.Inspect(t.Context(), store, "job")
			if err != nil || string(r.Position) != fmt.Sprint(i) {
				t.Errorf("after commit %d %s session sees %s, %v", i, name, r.Position, err)
			}
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = openJob(t, other, "job")
	if position(c) != 2 {
		t.Errorf("another runner begins at %d", position(c))
	}
	if err := c.Commit(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if c = openJob(t, s, "job"); position(c) != 7 {
		t.Errorf("the first runner goes on at %d, want 7", position(c))
	}

	if _, done, err := s.Begin(t.Context(), "key"); done || err != nil {
		t.Fatalf("begin: %t, %v", done, err)
	}
	if err := s.Finish(t.Context(), "key", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if _, done, err := other.Begin(t.Context(), "key"); !done || err != nil {
		t.Errorf("another session sees the finished key done: %t, %v", done, err)
	}
	if n, err := s.Prune(t.Context(), 0); n != 1 || err != nil {
		t.Errorf("pruned %d, %v", n, err)
	}
	if _, done, err := other.Begin(t.Context(), "key"); done || err != nil {
		t.Errorf("another session sees the pruned key done: %t, %v", done, err)
	}
}

// TestSQLStoreThatCannotWrite wants an Acquire that fails, and says why, in sessions
// that may only read.
func TestSQLStoreThatCannotWrite(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (writable, readOnly database){
		"sqlite, query_only": func(t *testing.T) (writable, readOnly database) {
			dsn := sqliteDSN(t)
			return database{openDB(t, "sqlite", dsn), databases[0]}, database{openDB(t, "sqlite", dsn+"&_pragma=query_only(1)"), databases[0]}
		},
		"sqlite, mode=ro": func(t *testing.T) (writable, readOnly database) {
			dsn := sqliteDSN(t)
			return database{openDB(t, "sqlite", dsn), databases[0]}, database{openDB(t, "sqlite", dsn+"&mode=ro"), databases[0]}
		},
		"postgres": func(t *testing.T) (writable, readOnly database) {
			dsn := postgresDSN(t)
			return database{openDB(t, "pgx", dsn), databases[1]}, database{openDB(t, "pgx", dsn+"&default_transaction_read_only=on"), databases[1]}
		},
		"mariadb": func(t *testing.T) (writable, readOnly database) {
			dsn := mariaDBDSN(t)
			return database{openDB(t, "mysql", dsn), databases[2]}, database{openDB(t, "mysql", mysqlParam(t, dsn, "tx_read_only", "1")), databases[2]}
		},
	} {
		t.Run(name, func(t *testing.T) {
			writable, readOnly := open(t)
			c := openJob(t, newStore(t, writable), "job")
			if err := c.Commit(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			c.Close()
			s := sqlstore.New(readOnly.DB, readOnly.dialect)
			for _, job := range []string{"job", "new job"} {
				lease, err := s.Acquire(t.Context(), job)
				if err == nil {
					lease.Release(t.Context())
				}
				if err == nil || errors.Is(err, cursor.ErrLocked) || !strings.Contains(strings.ToLower(strings.NewReplacer("-", "", " ", "").Replace(err.Error())), "readonly") {
					t.Errorf("Acquire of %q: %v", job, err)
				}
			}
			if r, err := cursor.Inspect(t.Context(), s, "job"); err != nil || string(r.Position) != "1" {
				t.Errorf("Inspect: %s, %v", r.Position, err)
			}
		})
	}
}

// TestSQLStoreLongestTimes adds the longest durations to the database's clock.
func TestSQLStoreLongestTimes(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		const long = time.Duration(math.MaxInt64)
		s := newStore(t, db, sqlstore.LeaseFor(long), sqlstore.KeysFor(long))
		c := openJob(t, s, "job")
		if err := c.Commit(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			_, err := s.Acquire(t.Context(), "job")
			var held *cursor.LockedError
			if !errors.As(err, &held) || time.Until(held.Until) < 200*365*24*time.Hour {
				t.Errorf("a second runner: %v", err)
			}
		}
		if _, _, err := s.Begin(t.Context(), "key"); err != nil {
			t.Fatal(err)
		}
		if held, err := s.Renew(t.Context(), "key"); !held || err != nil {
			t.Errorf("renewed: %t, %v", held, err)
		}
		if _, _, err := s.Begin(t.Context(), "key"); err == nil {
			t.Error("a second Begin")
		}
		if s.RenewEvery() <= 0 {
			t.Errorf("it renews every %v", s.RenewEvery())
		}
		if err := s.Finish(t.Context(), "key", nil); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Prune(t.Context(), long); n != 0 || err != nil {
			t.Errorf("pruned %d, %v", n, err)
		}
		if n, err := s.Prune(t.Context(), 1); n != 1 || err != nil { // a nanosecond
			t.Errorf("pruned %d, %v", n, err)
		}

		short := newStore(t, db, sqlstore.LeaseFor(time.Millisecond), sqlstore.KeysFor(time.Millisecond))
		brief, err := short.Acquire(t.Context(), "brief")
		if err != nil {
			t.Fatal(err)
		}
		if err := brief.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestSQLStorePruneUsesAnIndex asks the databases how they would find what Prune removes.
func TestSQLStorePruneUsesAnIndex(t *testing.T) {
	clocks := map[string]string{
		"sqlite":   "CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000",
		"postgres": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
		"mariadb":  "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))",
	}
	withEachDB(t, func(t *testing.T, db database) {
		newStore(t, db)
		numbers := "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 900) SELECT CONCAT('key ', n), '', 0, n % 2, 2000000000000000 FROM numbers"
		if db.name == "sqlite" {
			numbers = strings.Replace(numbers, "CONCAT('key ', n)", "'key ' || n", 1)
		}
		exec(t, db.DB, "INSERT INTO pipeline_keys (name, claim, claim_until, done, done_at) "+numbers)
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		explain := "EXPLAIN "
		switch db.name {
		case "sqlite":
			explain = "EXPLAIN QUERY PLAN "
		case "postgres":
			if _, err := conn.ExecContext(t.Context(), "SET enable_seqscan = off"); err != nil {
				t.Fatal(err)
			}
		}
		rows, err := conn.QueryContext(t.Context(), explain+"DELETE FROM pipeline_keys WHERE done = 1 AND done_at <= (SELECT "+clocks[db.name]+") - 1000")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		plan := allText(t, rows)
		want := map[string]string{
			"sqlite":   "USING COVERING INDEX sqlite_autoindex_pipeline_keys_2 (done=? AND done_at<?)",
			"postgres": "Index Cond: ((done = 1) AND (done_at <= (",
			"mariadb":  " range done done ",
		}[db.name]
		if !strings.Contains(plan, want) {
			t.Errorf("the plan is\n%s\nwant %q", plan, want)
		}
	})
}

// allText returns all values of all rows.
func allText(t testing.TB, rows *sql.Rows) string {
	t.Helper()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	values, dest := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		dest[i] = &values[i]
	}
	var text strings.Builder
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			text.WriteString(v.String + " ")
		}
		text.WriteString("\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// TestSQLStoreTellsNoSecret lets everything that a store does fail at the connection, for
// which the data source name has a password.
func TestSQLStoreTellsNoSecret(t *testing.T) {
	const secret = "hunter2sesame"
	postgres, err := url.Parse(serverDSN(t, "PIPELINE_POSTGRES"))
	if err != nil {
		t.Fatal(err)
	}
	maria, err := mysql.ParseDSN(serverDSN(t, "PIPELINE_MARIADB"))
	if err != nil {
		t.Fatal(err)
	}
	host := postgres.Host
	maria.User, maria.Passwd = "nobody", secret
	nowhere := maria.Clone()
	nowhere.Addr = "127.0.0.1:1"
	for name, source := range map[string]struct {
		kind        databaseKind
		driver, dsn string
	}{
		"postgres, no such role":        {databases[1], "pgx", "postgres://nobody:" + secret + "@" + host + "/test?sslmode=disable"},
		"postgres, password in a query": {databases[1], "pgx", "postgres://" + host + "/test?sslmode=disable&user=nobody&password=" + secret},
		"postgres, nobody answers":      {databases[1], "pgx", "postgres://nobody:" + secret + "@127.0.0.1:1/test?sslmode=disable&connect_timeout=5"},
		"postgres, cannot be parsed":    {databases[1], "pgx", "postgres://nobody:" + secret + "@" + host + "/test?sslmode=perhaps"},
		"mariadb, no such user":         {databases[2], "mysql", maria.FormatDSN()},
		"mariadb, nobody answers":       {databases[2], "mysql", nowhere.FormatDSN()},
	} {
		t.Run(name, func(t *testing.T) {
			s := sqlstore.New(openDB(t, source.driver, source.dsn), source.kind.dialect)
			ctx := t.Context()
			_, acquire := s.Acquire(ctx, "job")
			_, inspect := cursor.Inspect(ctx, s, "job")
			_, jobs := cursor.Jobs(ctx, s)
			_, holder := cursor.Holder(ctx, s, "job")
			_, _, begin := s.Begin(ctx, "key")
			_, prune := s.Prune(ctx, 0)
			for call, err := range map[string]error{"Migrate": s.Migrate(ctx), "Acquire": acquire, "Inspect": inspect,
				"Jobs": jobs, "Holder": holder, "Begin": begin, "Prune": prune} {
				if err == nil || strings.Contains(err.Error(), secret) {
					t.Errorf("%s: %v", call, err)
				}
			}
		})
	}
}
