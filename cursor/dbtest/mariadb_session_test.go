package dbtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/cursor/sqlstore"
)

// TestPaddedAnywhere has a CHAR that is sorted padded and compared without, wherever it
// stands. Where there is no Preflight, Stream refuses it.
func TestPaddedAnywhere(t *testing.T) {
	db, _ := mariaDB(t)
	exec(t, db.DB, "CREATE TABLE t (k CHAR(20) COLLATE utf8mb4_unicode_nopad_ci NOT NULL PRIMARY KEY, v INT)",
		"INSERT INTO t VALUES ('gross', 1), ('groß', 2), ('strasse', 3), ('straße', 4), ('gross\t', 5), ('a', 6), ('a\x01', 7)",
		"CREATE VIEW w AS SELECT * FROM t", "CREATE VIEW e AS SELECT CAST(k AS CHAR(20)) AS k, v FROM t",
		"CREATE TABLE p (k CHAR(20) COLLATE utf8mb4_unicode_ci NOT NULL, v INT)", "INSERT INTO p VALUES ('a', 1), ('b', 2)",
		"CREATE TABLE n (k ENUM('b', 'a') NOT NULL PRIMARY KEY, v INT)", "INSERT INTO n VALUES ('a', 1), ('b', 2)")
	query := func(text string) *keyset.Table {
		q, err := keyset.OpenQuery(t.Context(), db.DB, db.dialect, text, "k")
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	for _, c := range []struct {
		table *keyset.Table
		rows  int // -1: it is refused
	}{
		{mustTable(t, db, "t"), -1},
		{mustTable(t, db, "w", "k"), -1},
		{mustTable(t, db, "e", "k"), 7}, // a VARCHAR
		{mustTable(t, db, "p", "k"), 2},
		{mustTable(t, db, "n"), -1},
		{query("SELECT k, v FROM t"), -1},
		{query("SELECT k, COUNT(*) AS v FROM t GROUP BY k"), -1},
		{query("SELECT k, v FROM p"), 2},
		{query("SELECT k, v FROM n"), -1},
	} {
		for _, size := range []int{1, 2} {
			c.table.Page = cursor.PageConfig{Size: size, Max: size}
			rows, err := gather(c.table.Stream(t.Context(), nil))
			if c.rows >= 0 && (err != nil || len(rows) != c.rows) || c.rows < 0 && (!errors.Is(err, keyset.ErrKey) || len(rows) > 0) {
				t.Errorf("%s, pages of %d: %d rows, %v; want %d", c.table.From(), size, len(rows), err, c.rows)
			}
		}
		if c.rows < 0 {
			if err := c.table.Preflight(t.Context()); !errors.Is(err, keyset.ErrKey) {
				t.Errorf("%s: Preflight %v", c.table.From(), err)
			}
			if _, err := c.table.Split(t.Context(), 2); !errors.Is(err, keyset.ErrKey) {
				t.Errorf("%s: Split %v", c.table.From(), err)
			}
		}
	}
	for from, want := range map[string]int{"t": -1, "w": -1, "e": 7, "p": 2, "n": -1, "p JOIN (SELECT 1 AS one) o ON o.one = 1": 2, "t JOIN (SELECT 1 AS one) o ON o.one = 1": -1, "(SELECT 1 AS one) o, t": -1} {
		q := single[string](db, from, "k")
		q.Page = cursor.PageConfig{Size: 1, Max: 1}
		if got, err := gather(q.Stream(t.Context(), nil)); want >= 0 && (err != nil || len(got) != want) || want < 0 && (!errors.Is(err, keyset.ErrKey) || len(got) > 0) {
			t.Errorf("%s: got %q, %v; want %d", from, got, err, want)
		}
	}
}

// TestSettingsThatCut reads in sessions that would cut results or sort them in part.
func TestSettingsThatCut(t *testing.T) {
	db, dsn := mariaDB(t)
	exec(t, db.DB, "CREATE TABLE t (k VARCHAR(20) COLLATE utf8mb4_general_ci NOT NULL, v INT, KEY (k))",
		"INSERT INTO t VALUES ('a', 1), ('b', 2), ('c', 3), ('d', 4), ('e', 5), ('E', 6), ('f', 7)", "CREATE VIEW w AS SELECT * FROM t",
		"CREATE TABLE o (k VARCHAR(20) NOT NULL PRIMARY KEY, v INT)", "INSERT INTO o SELECT CONCAT('k', seq), seq FROM seq_1_to_9",
		"CREATE TABLE n (k INT NOT NULL PRIMARY KEY)", "INSERT INTO n SELECT seq FROM seq_1_to_9", "CREATE VIEW x AS SELECT CAST(k / 7 AS CHAR) AS t, DAYNAME('2024-01-01' + INTERVAL k DAY) AS d, k, k AS v FROM n")
	store := sqlstore.New(openDB(t, "mysql", dsn+"?sql_select_limit=1"), db.dialect)
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, job := range []string{"a", "b", "c"} {
		c, err := cursor.Open[int](t.Context(), store, job)
		if err == nil {
			err = errors.Join(c.Commit(t.Context(), 1), c.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if jobs, err := cursor.Jobs(t.Context(), store); err != nil || !slices.Equal(jobs, []string{"a", "b", "c"}) {
		t.Errorf("the jobs are %q, %v", jobs, err)
	}
	var shown [][]any
	for _, params := range []string{"", "?sql_select_limit=3&max_sort_length=64&sort_buffer_size=1024&div_precision_increment=1&lc_time_names=de_DE&big_tables=1&sql_safe_updates=1&group_concat_max_len=4"} {
		other := database{openDB(t, "mysql", dsn+params), db.databaseKind}
		q, err := keyset.OpenQuery(t.Context(), other.DB, db.dialect, "SELECT * FROM t")
		if err != nil {
			t.Fatal(err)
		}
		if rows, err := gather(q.All(t.Context())); err != nil || len(rows) != 7 {
			t.Errorf("%s: %d rows of 7, %v", params, len(rows), err)
		}
		for size := 1; size < 8; size++ {
			w := mustTable(t, other, "w", "k")
			w.Page = cursor.PageConfig{Size: size, Max: size}
			if rows, err := gather(w.Stream(t.Context(), nil)); !errors.Is(err, cursor.ErrDuplicateKey) || len(rows) != 4 {
				t.Errorf("%s, pages of %d: %v, %v; want an ErrDuplicateKey behind 4", params, size, numbered(rows), err)
			}
			readsAll(t, mustTable(t, other, "o"), size, column(t, db, "SELECT v FROM o ORDER BY k"))
		}
		if n, err := mustTable(t, other, "o").Count(t.Context()); err != nil || n != 9 {
			t.Errorf("%s: count %d, %v", params, n, err)
		}
		var all []any
		for _, r := range collect(t, mustTable(t, other, "x", "k"), nil) {
			all = append(all, fmt.Sprint(r.Values))
		}
		shown = append(shown, all)
	}
	if !slices.Equal(shown[0], shown[1]) {
		t.Errorf("a view has %v in one session and %v in another", shown[0], shown[1])
	}
}

// TestEmptyTextForNull has a session that takes an empty text for NULL, with which nothing
// can be compared.
func TestEmptyTextForNull(t *testing.T) {
	db, dsn := mariaDB(t)
	exec(t, db.DB, "CREATE TABLE t (k VARCHAR(20) NOT NULL PRIMARY KEY, v INT)", "INSERT INTO t VALUES ('', 1), ('a', 2), ('b', 3)")
	other := database{openDB(t, "mysql", dsn+"?sql_mode=%27EMPTY_STRING_IS_NULL%27"), db.databaseKind}
	table := mustTable(t, other, "t")
	table.Page = cursor.PageConfig{Size: 1, Max: 1}
	if rows, err := gather(table.Stream(t.Context(), nil)); !errors.Is(err, keyset.ErrSession) {
		t.Errorf("got %v, %v; want an ErrSession", numbered(rows), err)
	}
	exec(t, db.DB, "DELETE FROM t WHERE k = ''")
	readsAll(t, table, 1, []string{"2", "3"})
}

// TestTemporaryTable has a table that hides another one of its name from its session.
func TestTemporaryTable(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		strict, loose := map[string]string{"sqlite": "TEXT", "postgres": "text", "mariadb": "VARCHAR(9) COLLATE utf8mb4_bin"}[db.name],
			map[string]string{"sqlite": "TEXT COLLATE NOCASE", "postgres": "text COLLATE nd", "mariadb": "VARCHAR(9) COLLATE utf8mb4_general_ci"}[db.name]
		if db.name == "postgres" {
			exec(t, db.DB, "CREATE COLLATION nd (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
		}
		exec(t, db.DB, "CREATE TABLE tt (k "+strict+" NOT NULL PRIMARY KEY, v INT)")
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for _, s := range []string{"CREATE TEMPORARY TABLE tt (k " + loose + " NOT NULL, v INT)", "INSERT INTO tt VALUES ('a', 1), ('A', 2), ('b', 3)"} {
			if _, err := conn.ExecContext(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		table, err := keyset.OpenTable(t.Context(), conn, db.dialect, "tt", "k")
		if err == nil {
			err = table.Preflight(t.Context())
		}
		if err == nil || db.name == "mariadb" && !strings.Contains(err.Error(), "TEMPORARY") {
			t.Errorf("the key of a temporary table is taken to be that of another table: %v", err)
		}
		q := single[string](db, "tt", "k")
		q.DB = conn
		for _, size := range []int{1, 2, 7} {
			q.Page = cursor.PageConfig{Size: size, Max: size}
			if got, err := gather(q.Stream(t.Context(), nil)); !errors.Is(err, cursor.ErrDuplicateKey) {
				t.Errorf("pages of %d: %q, %v; want an ErrDuplicateKey", size, got, err)
			}
		}
		if _, err := conn.ExecContext(t.Context(), "DELETE FROM tt WHERE v = 2"); err != nil {
			t.Fatal(err)
		}
		if db.name == "mariadb" { // there is no telling, so it is not refused
			if err := q.Preflight(t.Context()); err != nil {
				t.Error(err)
			}
		}
		q.Page = cursor.PageConfig{Size: 1, Max: 1}
		if got, err := gather(q.Stream(t.Context(), nil)); err != nil || len(got) != 2 {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// TestHashIndex has a primary key that is in no order.
func TestHashIndex(t *testing.T) {
	db, _ := mariaDB(t)
	exec(t, db.DB, "CREATE TABLE t (k INT NOT NULL PRIMARY KEY, v INT) ENGINE = MEMORY", "INSERT INTO t SELECT seq, seq FROM seq_1_to_9",
		"CREATE TABLE b (k INT NOT NULL, v INT, PRIMARY KEY USING BTREE (k)) ENGINE = MEMORY", "INSERT INTO b SELECT * FROM t")
	want := column(t, db, "SELECT v FROM t ORDER BY k")
	table := mustTable(t, db, "t")
	if err := table.Preflight(t.Context()); !errors.Is(err, keyset.ErrKey) || !strings.Contains(err.Error(), "USING HASH") {
		t.Errorf("Preflight: %v; want that the index is USING HASH", err)
	}
	readsAll(t, table, 2, want)
	table = mustTable(t, db, "b")
	if err := table.Preflight(t.Context()); err != nil {
		t.Error(err)
	}
	readsAll(t, table, 2, want)
}
