package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
	"github.com/go-sql-driver/mysql"
)

// numbers makes a table t of the numbers below n.
func numbers(t *testing.T, db database, n int) {
	t.Helper()
	var rows []string
	for i := range n {
		rows = append(rows, fmt.Sprintf("(%d)", i))
	}
	exec(t, db.DB, "CREATE TABLE t (k BIGINT NOT NULL PRIMARY KEY)", "INSERT INTO t VALUES "+strings.Join(rows, ", "))
}

func upTo(n int) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = int64(i)
	}
	return all
}

// TestTimeLimit reads pages that take longer than the server allows, and are read in
// smaller ones; a row that takes too long by itself ends the stream with the name of the
// setting.
func TestTimeLimit(t *testing.T) {
	for _, c := range []struct{ db, setting, slow, limit string }{
		{"postgres", "statement_timeout", "k + length(pg_sleep(0.012)::text) >= 0", "150"},
		{"mariadb", "max_statement_time", "k + SLEEP(0.012) >= 0", "0.15"},
	} {
		kind := databases[slices.IndexFunc(databases, func(d databaseKind) bool { return d.name == c.db })]
		t.Run(c.db, func(t *testing.T) {
			dsn := kind.dsn(t)
			var db database
			if c.db == "postgres" {
				db = database{openDB(t, "pgx", dsn+"&statement_timeout="+c.limit), kind}
			} else {
				db = database{openDB(t, "mysql", dsn+"?max_statement_time="+c.limit), kind}
			}
			numbers(t, db, 24)
			q := single[int64](db, "t", "k")
			var asked []int
			q.Page = cursor.PageConfig{Size: 32, Max: 32, OnPage: func(s cursor.PageStats) { asked = append(asked, s.Rows) }}
			q.Where = c.slow
			for _, db := range []keyset.Querier{db.DB, onConn(t, db.DB)} {
				q.DB = db
				asked = nil
				if got := collect(t, q, nil); !slices.Equal(got, upTo(24)) {
					t.Errorf("got %v", got)
				}
				if len(asked) < 2 {
					t.Errorf("the pages had %v rows", asked)
				}
			}
			q.Where = strings.ReplaceAll(q.Where, "0.012", "0.3")
			q.DB = db.DB
			got, err := gather(q.Stream(t.Context(), nil))
			if err == nil || len(got) > 0 || !strings.Contains(err.Error(), c.setting) || errors.Is(err, keyset.ErrKey) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func onConn(t *testing.T, db *sql.DB) *sql.Conn {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestAlteredWhileRead changes the type of a column that is read, twice: each time the
// server refuses the statement that it has prepared, and the page is read with another.
func TestAlteredWhileRead(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		if db.name == "sqlite" {
			return // its columns have no types to be altered
		}
		numbers(t, db, 40)
		exec(t, db.DB, "ALTER TABLE t ADD v INTEGER")
		alter := map[string]string{"postgres": "ALTER TABLE t ALTER v TYPE %s", "mariadb": "ALTER TABLE t MODIFY v %s"}[db.name]
		db.SetMaxOpenConns(2)
		q := single[int64](db, "t", "k")
		q.DB, q.Select = db.DB, "k, v"
		q.Page.Size, q.Page.Max = 5, 5
		q.Scan = func(rows *sql.Rows) (k int64, err error) {
			var v any
			err = rows.Scan(&k, &v)
			return k, err
		}
		var got []int64
		for k, err := range q.Stream(t.Context(), nil) {
			if err != nil {
				t.Fatalf("after %d rows: %v", len(got), err)
			}
			switch got = append(got, k); len(got) {
			case 12:
				exec(t, db.DB, fmt.Sprintf(alter, "BIGINT"))
			case 23:
				exec(t, db.DB, fmt.Sprintf(alter, "NUMERIC"))
			}
		}
		if !slices.Equal(got, upTo(40)) {
			t.Errorf("got %v", got)
		}
	})
}

// TestPrefetchInTransaction reads with a prefetch where there is one connection only, which
// the body of the loop uses, too.
func TestPrefetchInTransaction(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		numbers(t, db, 100)
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		conn := onConn(t, db.DB)
		q := single[int64](db, "t", "k")
		q.Page = cursor.PageConfig{Size: 5, Max: 5, Prefetch: 0.2}
		for name, querier := range map[string]keyset.Querier{"transaction": tx, "connection": conn} {
			q.DB = querier
			var got []int64
			for k, err := range q.Stream(t.Context(), nil) {
				if err != nil {
					t.Fatalf("%s, after %d rows: %v", name, len(got), err)
				}
				rows, err := querier.QueryContext(t.Context(), fmt.Sprintf("SELECT k FROM t WHERE k <= %d", k))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				n := 0
				for rows.Next() {
					n++
				}
				if err := errors.Join(rows.Err(), rows.Close()); err != nil || n != int(k)+1 {
					t.Fatalf("%s: the body read %d rows, %v", name, n, err)
				}
				got = append(got, k)
			}
			if !slices.Equal(got, upTo(100)) {
				t.Errorf("%s: got %v", name, got)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Error(err)
		}
	})
}

// TestFollowUntil follows a table up to a row: the stream ends when that has come, or one
// behind it, and has the rows that came in the last moment.
func TestFollowUntil(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		for _, c := range []struct {
			until, next int64
			want        int
		}{{12, 12, 13}, {12, 14, 11}, {3, 9, 4}, {9, 9, 10}} {
			exec(t, db.DB, "DROP TABLE IF EXISTS t")
			numbers(t, db, 10)
			q := single[int64](db, "t", "k")
			q.DB, q.Until = db.DB, &c.until
			q.Page = cursor.PageConfig{Size: 4, Max: 4, Follow: 1}
			var got []int64
			for k, err := range q.Stream(t.Context(), nil) {
				if err != nil {
					t.Fatal(err)
				}
				if got = append(got, k); k == 9 && c.until > 9 {
					exec(t, db.DB, "INSERT INTO t VALUES (10)")
				}
				if k == 10 {
					if c.next == 12 {
						exec(t, db.DB, "INSERT INTO t VALUES (11)")
					}
					exec(t, db.DB, fmt.Sprintf("INSERT INTO t VALUES (%d)", c.next))
				}
			}
			if !slices.Equal(got, upTo(c.want)) {
				t.Errorf("up to %d, where %d comes last: got %v", c.until, c.next, got)
			}
		}
	})
}

// A deleter deletes the first rows of t whenever a position is looked for.
type deleter struct {
	*sql.DB
	t    *testing.T
	most int
}

func (d *deleter) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if strings.Contains(text, "SELECT 1 FROM") && d.most > 0 {
		d.most--
		exec(d.t, d.DB, "DELETE FROM t WHERE k <= "+fmt.Sprint(7*(10-d.most)))
	}
	return d.DB.QueryContext(ctx, text, args...)
}

// TestQueueLikeTable reads a table whose rows are deleted as they are read.
func TestQueueLikeTable(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		numbers(t, db, 200)
		q := single[int64](db, "t", "k")
		q.DB = &deleter{DB: db.DB, t: t, most: 9}
		q.Page.Size, q.Page.Max = 5, 5
		got := collect(t, q, nil)
		if len(got) < 100 || !slices.IsSorted(got) || got[len(got)-1] != 199 {
			t.Errorf("got %v", got)
		}
	})
}

// TestColumnGrants reads the columns that a user may read.
func TestColumnGrants(t *testing.T) {
	for _, kind := range databases[1:] {
		t.Run(kind.name, func(t *testing.T) {
			dsn := kind.dsn(t)
			db := database{openDB(t, map[string]string{"postgres": "pgx", "mariadb": "mysql"}[kind.name], dsn), kind}
			user := uniqueName()[:20]
			var limited database
			exec(t, db.DB, "CREATE TABLE t (id BIGINT NOT NULL, secret BIGINT NOT NULL, name VARCHAR(20), PRIMARY KEY (id))", "CREATE UNIQUE INDEX t_a ON t (name, secret)",
				"CREATE TABLE u (a BIGINT NOT NULL, secret BIGINT NOT NULL, UNIQUE (a, secret))",
				"INSERT INTO t VALUES (1, 2, 'a'), (3, 4, 'b'), (5, 6, 'c')")
			if kind.name == "postgres" {
				u, err := url.Parse(dsn)
				if err != nil {
					t.Fatal(err)
				}
				schema := u.Query().Get("search_path")
				exec(t, db.DB, "CREATE ROLE "+user+" LOGIN", "GRANT USAGE ON SCHEMA "+schema+" TO "+user,
					"GRANT SELECT (id, name) ON t TO "+user, "GRANT SELECT (a) ON u TO "+user)
				t.Cleanup(func() { exec(t, db.DB, "DROP OWNED BY "+user, "DROP ROLE "+user) })
				u.User = url.User(user)
				limited = database{openDB(t, "pgx", u.String()), kind}
			} else {
				cfg, err := mysql.ParseDSN(dsn)
				if err != nil {
					t.Fatal(err)
				}
				exec(t, db.DB, "CREATE USER "+user, "GRANT SELECT (id, name) ON "+cfg.DBName+".t TO "+user, "GRANT SELECT (a) ON "+cfg.DBName+".u TO "+user)
				t.Cleanup(func() { exec(t, db.DB, "DROP USER "+user) })
				cfg.User, cfg.Passwd = user, ""
				limited = database{openDB(t, "mysql", cfg.FormatDSN()), kind}
			}
			q, err := keyset.OpenTable(t.Context(), limited.DB, kind.dialect, "t", "id")
			if err != nil {
				t.Fatal(err)
			}
			if err := q.Select("id", "name"); err != nil {
				t.Fatal(err)
			}
			if err := q.Preflight(t.Context()); err != nil {
				t.Fatal(err)
			}
			q.Page.Size, q.Page.Max = 1, 1
			if rows := collect(t, q, nil); len(rows) != 3 {
				t.Errorf("got %v", rows)
			}
			if _, err := q.ColumnTypes(t.Context()); err != nil {
				t.Error(err)
			}
			if ranges, err := q.Split(t.Context(), 3); err != nil || len(ranges) != 3 {
				t.Errorf("got %v, %v", ranges, err)
			}
			if rows := collect(t, onKey(limited, "t", "id"), nil); len(rows) != 3 {
				t.Errorf("got %v", rows)
			}
			// An index with a column that the user does not see is not unique without it.
			hidden, err := keyset.OpenTable(t.Context(), limited.DB, kind.dialect, "u", "a")
			if err == nil {
				err = hidden.Preflight(t.Context())
			}
			if !errors.Is(err, keyset.ErrKey) {
				t.Errorf("a part of a unique index passed for a key: %v", err)
			}
		})
	}
}

// TestOddNames reads columns whose names look like a part of SQL.
func TestOddNames(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		for _, name := range []string{"a, b", " a", "a ", "a=? AND b=?", "b DESC", "(", "a\tb"} {
			if db.name == "mariadb" && strings.HasSuffix(name, " ") {
				continue // it has no such names
			}
			exec(t, db.DB, "DROP TABLE IF EXISTS t", "CREATE TABLE t (v INTEGER, "+db.dialect.Quote(name)+" INTEGER NOT NULL PRIMARY KEY)", "INSERT INTO t VALUES (1, 2), (3, 4), (5, 6)")
			for _, key := range [][]string{nil, {name}} {
				q, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, "t", key...)
				if err != nil {
					t.Fatal(err)
				}
				if err := q.Select(name); err != nil {
					t.Fatal(err)
				}
				q.Page.Size, q.Page.Max = 1, 1
				if err := q.Preflight(t.Context()); err != nil {
					t.Errorf("%q: %v", name, err)
				}
				if rows := collect(t, q, nil); len(rows) != 3 || rows[2].Columns[0] != name {
					t.Errorf("%q: got %v", name, rows)
				}
			}
			if rows := collect(t, single[int64](db, "t", db.dialect.Quote(name)), nil); len(rows) != 3 {
				t.Errorf("%q: got %v", name, rows)
			}
		}
	})
}

// TestLargestNumbers reads with the largest pages and the most parts that there are numbers
// for.
func TestLargestNumbers(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		numbers(t, db, 30)
		for _, page := range []cursor.PageConfig{
			{Size: math.MaxInt, Min: math.MaxInt, Max: math.MaxInt, Bytes: math.MaxInt, Target: math.MaxInt64, Hold: math.MaxInt64},
			{Size: 1, Max: math.MaxInt, Bytes: 1, Target: 1, Prefetch: 1},
		} {
			q := single[int64](db, "t", "k")
			q.DB, q.Page = db.DB, page
			if got := collect(t, q, nil); !slices.Equal(got, upTo(30)) {
				t.Errorf("got %v", got)
			}
			q.Bytes = func(int64) int { return math.MaxInt }
			if got := collect(t, q, nil); !slices.Equal(got, upTo(30)) {
				t.Errorf("got %v", got)
			}
			if ranges, err := q.Split(t.Context(), math.MaxInt); err != nil || len(ranges) != 30 {
				t.Errorf("got %d ranges, %v", len(ranges), err)
			}
			table, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, "t")
			if err != nil {
				t.Fatal(err)
			}
			table.Page = page
			if rows := collect(t, table, nil); len(rows) != 30 {
				t.Errorf("got %d rows", len(rows))
			}
		}
	})
}
