package dbtest

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
)

// mariaDB opens a database of its own, and returns the name that other pools open it by.
func mariaDB(t *testing.T) (database, string) {
	t.Helper()
	kind := databases[2]
	dsn := kind.dsn(t)
	return database{openDB(t, "mysql", dsn), kind}, dsn
}

// readsAll reads a table in pages of one size, and wants every row once in the order of
// its numbers, which are in the column v.
func readsAll(t *testing.T, table *keyset.Table, size int, want []string) {
	t.Helper()
	table.Page = cursor.PageConfig{Size: size, Max: size}
	if got := numbered(collect(t, table, nil)); !slices.Equal(got, want) {
		t.Errorf("%s by %v, pages of %d: got %d rows of %d, in order %v", table.From(), table.Key(), size, len(got), len(want), slices.Equal(got[:min(len(got), len(want))], want[:min(len(got), len(want))]))
	}
}

// TestLongKeys reads keys that are alike in more bytes than the server sorts by unless it
// is told to, with an index and without, from sessions that have it sort by fewer.
func TestLongKeys(t *testing.T) {
	t.Parallel()
	db, dsn := mariaDB(t)
	const rows = 120
	for _, s := range []struct{ name, typ, prefix string }{
		{"a", "VARCHAR(700) COLLATE utf8mb4_unicode_ci", "REPEAT('path/', 105)"},
		{"b", "VARCHAR(700) COLLATE utf8mb4_bin", "REPEAT('x', 345)"},
		{"c", "VARBINARY(3000)", "REPEAT('x', 2000)"},
		{"d", "VARCHAR(768) COLLATE uca1400_as_cs", "REPEAT('ﷺ', 600)"},
		{"e", "LONGTEXT COLLATE utf8mb4_bin", "REPEAT('x', 1100)"},
		{"f", "TEXT COLLATE utf8mb4_unicode_ci", "REPEAT('x', 5000)"},
		{"g", "LONGBLOB", "REPEAT('x', 5000)"},
		{"h", "TEXT COLLATE utf8mb4_general_ci", "REPEAT('é', 600)"},
	} {
		key := ", UNIQUE KEY x (k)"
		if strings.Contains(s.typ, "TEXT") || strings.Contains(s.typ, "BLOB") {
			key = ""
		}
		exec(t, db.DB, fmt.Sprintf("CREATE TABLE %s (id INT AUTO_INCREMENT PRIMARY KEY, k %s NOT NULL, v INT, pad VARCHAR(200)%s)", s.name, s.typ, key),
			fmt.Sprintf("INSERT INTO %s (k, v, pad) SELECT CONCAT(%s, LPAD((seq * 7919) %% 10007, 6, '0')), (seq * 7919) %% 10007, REPEAT('b', 200) FROM seq_1_to_%d", s.name, s.prefix, rows),
			fmt.Sprintf("CREATE VIEW %[1]sv AS SELECT * FROM %[1]s", s.name))
		want := column(t, db, "SELECT v FROM "+s.name+" ORDER BY v")
		for _, params := range []string{"", "?max_sort_length=64"} {
			pool := openDB(t, "mysql", dsn+params)
			names := []string{s.name + "v"}
			if key != "" {
				names = append(names, s.name)
			}
			for _, name := range names {
				table, err := keyset.OpenTable(t.Context(), pool, db.dialect, name, "k")
				if err != nil {
					t.Fatal(err)
				}
				if err := table.Preflight(t.Context()); err != nil {
					t.Error(err)
				}
				for _, size := range []int{7, 100} {
					readsAll(t, table, size, want)
				}
				var parts []string
				ranges, err := table.Split(t.Context(), 7)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range ranges {
					part := *table
					part.Until = r.Until
					parts = append(parts, numbered(collect(t, &part, r.After))...)
				}
				if !slices.Equal(parts, want) {
					t.Errorf("%s in parts: got %d rows", name, len(parts))
				}
			}
		}
	}
}

// TestKeyTooLongToSort has keys that no setting has the server sort whole.
func TestKeyTooLongToSort(t *testing.T) {
	db, _ := mariaDB(t)
	exec(t, db.DB, "CREATE TABLE t (k LONGTEXT COLLATE utf8mb4_unicode_ci NOT NULL, v INT)",
		"INSERT INTO t SELECT CONCAT(REPEAT('x', 70000), LPAD((seq * 7919) % 10007, 6, '0')), seq FROM seq_1_to_20", "CREATE VIEW w AS SELECT * FROM t")
	table, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, "w", "k")
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 7, 100} {
		table.Page = cursor.PageConfig{Size: size, Max: size}
		rows, err := gather(table.Stream(t.Context(), nil))
		if !errors.Is(err, keyset.ErrKey) || len(rows) > 0 {
			t.Errorf("pages of %d: %d rows, %v; want an ErrKey", size, len(rows), err)
		}
	}
}

// TestUnsignedDecimals has positions of the highest values that a column may have.
func TestUnsignedDecimals(t *testing.T) {
	db, _ := mariaDB(t)
	for i, s := range []struct{ typ, values string }{
		{"DECIMAL(10,2) UNSIGNED", "(1),(2),(3.5),(12345678),(23456789.01),(34567890.02),(99999999.98),(99999999.99)"},
		{"DECIMAL(5,0) UNSIGNED", "(1),(2),(12345),(23456),(99998),(99999)"},
		{"DECIMAL(8,3) ZEROFILL", "(1),(12345),(34567.001),(99999.998),(99999.999)"},
		{"DECIMAL(2,2) UNSIGNED", "(0),(0.01),(0.97),(0.98),(0.99)"},
		{"DECIMAL(1,0) UNSIGNED", "(0),(8),(9)"},
		{"DECIMAL(65,30)", "(99999999999999999999999999999999999.999999999999999999999999999999),(99999999999999999999999999999999999.999999999999999999999999999998),(-99999999999999999999999999999999999.999999999999999999999999999999)"},
		{"DECIMAL(65,38) UNSIGNED", "(0),(999999999999999999999999999.99999999999999999999999999999999999999),(999999999999999999999999999.99999999999999999999999999999999999998)"},
		{"DECIMAL(65,0) UNSIGNED", "(0),(99999999999999999999999999999999999999999999999999999999999999999),(99999999999999999999999999999999999999999999999999999999999999998)"},
	} {
		name := fmt.Sprint("d", i)
		exec(t, db.DB, "CREATE TABLE "+name+" (k "+s.typ+" NOT NULL PRIMARY KEY)", "INSERT INTO "+name+" VALUES "+s.values)
		want := column(t, db, "SELECT k FROM "+name+" ORDER BY k")
		q := single[string](db, name, "k")
		if err := q.Preflight(t.Context()); err != nil {
			t.Error(err)
		}
		for _, size := range []int{1, 2, 100} {
			q.Page = cursor.PageConfig{Size: size, Max: size}
			if got, err := gather(q.Stream(t.Context(), nil)); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s, pages of %d: got %v, %v, want %v", s.typ, size, got, err, want)
			}
			for j := range want {
				part := q
				part.Until = &want[j]
				if got, err := gather(part.Stream(t.Context(), nil)); err != nil || !slices.Equal(got, want[:j+1]) {
					t.Errorf("%s until %s: got %v, %v", s.typ, want[j], got, err)
				}
			}
		}
	}
	// A bound between the values that the column can have is no value of it.
	until, after := "3.504", "3.496"
	q := single[string](db, "d0", "k")
	q.Until = &until
	if got, err := gather(q.Stream(t.Context(), nil)); err != nil || len(got) != 3 {
		t.Errorf("until %s: got %v, %v", until, got, err)
	}
	until = "3.496"
	if got, err := gather(q.Stream(t.Context(), nil)); err != nil || len(got) != 2 {
		t.Errorf("until %s: got %v, %v", until, got, err)
	}
	q.Until = nil
	if got, err := gather(q.Stream(t.Context(), &after)); err != nil || len(got) != 6 {
		t.Errorf("behind %s: got %v, %v", after, got, err)
	}
	text, args, err := mustTable(t, db, "d0").Statement(t.Context(), &keyset.Key{"23456789.01"})
	if err != nil {
		t.Fatal(err)
	}
	prefix, text, _ := strings.Cut(text, " FOR SELECT ")
	var id, kind, tableName, access sql.NullString
	var rest [6]sql.NullString
	if err := db.QueryRow(prefix+" FOR EXPLAIN SELECT "+text, args...).Scan(&id, &kind, &tableName, &access, &rest[0], &rest[1], &rest[2], &rest[3], &rest[4], &rest[5]); err != nil {
		t.Fatal(err)
	}
	if access.String != "range" {
		t.Errorf("the plan of %s is %s, want a range of the index", text, access.String)
	}
}

func mustTable(t *testing.T, db database, name string, key ...string) *keyset.Table {
	t.Helper()
	table, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, name, key...)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestTimesInDriversZone has a driver that reads times in a zone of its own.
func TestTimesInDriversZone(t *testing.T) {
	db, dsn := mariaDB(t)
	loadBerlin(t, dsn)
	night := "SELECT '2024-03-30 22:00:00' + INTERVAL 600 * seq SECOND FROM seq_0_to_59"
	exec(t, db.DB, "CREATE TABLE d (k DATETIME NOT NULL PRIMARY KEY)", "INSERT INTO d "+night,
		"CREATE TABLE s (k TIMESTAMP NOT NULL PRIMARY KEY)", "SET STATEMENT time_zone = '+00:00' FOR INSERT INTO s "+night)
	const refused, read = false, true
	for _, c := range []struct {
		table, loc, zone string
		want             bool
	}{
		{"d", "UTC", "%2B00:00", read},
		{"d", "Europe%2FBerlin", "%2B00:00", refused},
		{"d", "Europe%2FBerlin", "Europe%2FBerlin", refused},
		{"d", "Etc%2FGMT-1", "%2B00:00", read},
		{"d", "Asia%2FTokyo", "%2B00:00", read}, // no summer time since 1951
		{"s", "UTC", "%2B00:00", read},
		{"s", "UTC", "-00:00", read},
		{"s", "Europe%2FBerlin", "%2B00:00", refused},
		{"s", "Etc%2FGMT-1", "%2B00:00", refused},
		{"s", "Etc%2FGMT-1", "%2B01:00", read},
		{"s", "Asia%2FTokyo", "%2B09:00", read},
		{"s", "UTC", "Europe%2FBerlin", refused},
	} {
		other := database{openDB(t, "mysql", dsn+"?parseTime=true&loc="+c.loc+"&time_zone=%27"+c.zone+"%27"), db.databaseKind}
		q := single[time.Time](other, c.table, "k")
		if err := q.Preflight(t.Context()); (err == nil) != c.want || err != nil && !errors.Is(err, keyset.ErrKey) {
			t.Errorf("%s, loc=%s, time_zone=%s: Preflight %v", c.table, c.loc, c.zone, err)
		}
		for _, size := range []int{1, 7} {
			q.Page = cursor.PageConfig{Size: size, Max: size}
			got, err := gather(q.Stream(t.Context(), nil))
			if c.want && (err != nil || len(got) != 60) || !c.want && (!errors.Is(err, keyset.ErrKey) || len(got) > 0) {
				t.Errorf("%s, loc=%s, time_zone=%s, pages of %d: %d rows, %v", c.table, c.loc, c.zone, size, len(got), err)
			}
		}
	}
	// Another zone would make another time of a stored position.
	prints := map[string]bool{}
	for _, loc := range []string{"UTC", "Etc%2FGMT-1", "Asia%2FTokyo"} {
		other := database{openDB(t, "mysql", dsn+"?parseTime=true&loc="+loc), db.databaseKind}
		prints[single[time.Time](other, "d", "k").Fingerprint()] = true
	}
	plain := single[string](db, "d", "k")
	prints[plain.Fingerprint()] = true
	if len(prints) != 3 {
		t.Errorf("the fingerprints are %v, want one for each zone, and none for UTC", prints)
	}
	// A time that the clocks of a zone passed over once.
	exec(t, db.DB, "CREATE TABLE o (k DATETIME NOT NULL PRIMARY KEY)", "INSERT INTO o SELECT '1948-05-01 22:00:00' + INTERVAL 600 * seq SECOND FROM seq_0_to_59")
	tokyo := database{openDB(t, "mysql", dsn+"?parseTime=true&loc=Asia%2FTokyo"), db.databaseKind}
	q := single[time.Time](tokyo, "o", "k")
	q.Page = cursor.PageConfig{Size: 1, Max: 1}
	if got, err := gather(q.Stream(t.Context(), nil)); !errors.Is(err, keyset.ErrKey) {
		t.Errorf("across the summer time of 1948: %d rows of 60, %v", len(got), err)
	}
}
