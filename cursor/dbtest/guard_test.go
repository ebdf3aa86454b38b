package dbtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
)

// unmapped are texts of old character sets, of which some have bytes for no character.
var unmapped = []struct {
	set, collation string
	texts          []string // in hex
}{
	{"cp1250", "cp1250_bin", []string{"20", "41", "81", "90", "C8", "98"}},
	{"cp1251", "cp1251_bin", []string{"20", "41", "98", "C8"}},
	{"cp1251", "cp1251_general_ci", []string{"20", "41", "98", "C8"}},
	{"cp1251", "cp1251_bin", []string{"20", "41", "C8"}},
	{"cp1257", "cp1257_bin", []string{"20", "41", "9F", "C8"}},
	{"greek", "greek_bin", []string{"20", "41", "AE", "C8", "FF"}},
	{"greek", "greek_general_ci", []string{"20", "41", "C1", "C8"}},
	{"ascii", "ascii_bin", []string{"20", "41", "98", "61"}},
	{"hebrew", "hebrew_bin", []string{"20", "41", "C0", "61"}},
	{"cp932", "cp932_bin", []string{"20", "8740", "8790", "81E0", "FA4A"}},
	{"cp932", "cp932_japanese_ci", []string{"20", "8740", "8790", "FA4A"}},
	{"sjis", "sjis_bin", []string{"20", "41", "8540", "FCFC"}},
	{"gbk", "gbk_bin", []string{"20", "41", "A2A1", "FEFE", "AAA1"}},
	{"big5", "big5_bin", []string{"20", "41", "A140", "C8FE"}},
	{"euckr", "euckr_bin", []string{"20", "41", "A1A1", "C9A1"}},
	{"ujis", "ujis_bin", []string{"20", "41", "A1A1", "A9A1", "8FA1A1"}},
	{"latin1", "latin1_bin", []string{"20", "41", "81", "8D", "FF"}},
	{"latin7", "latin7_bin", []string{"20", "41", "A1", "C8"}},
	{"koi8r", "koi8r_bin", []string{"20", "41", "81", "8D", "FF"}},
	{"ucs2", "ucs2_bin", []string{"0020", "D800", "DC00", "E000", "FFFF"}},
	{"utf32", "utf32_bin", []string{"00000020", "0000D800", "0000DC00", "0000E000", "0010FFFF"}},
}

// TestTextsWithoutACharacter reads keys with bytes that stand for no character: all rows
// come, or those before the first such row and ErrPosition, in pages of every size, from
// tables, views and queries. Rows behind a position that was handed over come, too.
func TestTextsWithoutACharacter(t *testing.T) {
	t.Parallel()
	db := database{openMariaDB(t), databases[2]}
	read, refused := 0, 0
	for i, c := range unmapped {
		name := fmt.Sprint("t", i)
		exec(t, db.DB, "CREATE TABLE "+name+" (k VARCHAR(20) CHARACTER SET "+c.set+" COLLATE "+c.collation+" NOT NULL PRIMARY KEY, v INT)",
			"CREATE VIEW w"+name+" AS SELECT * FROM "+name)
		for j, text := range c.texts {
			_, _ = db.Exec(fmt.Sprintf("INSERT INTO %s VALUES (x'%s', %d)", name, text, j)) // some are refused
		}
		whole := "SELECT COUNT(*) FROM " + name + " WHERE k <> CONVERT(CONVERT(k USING utf8mb4) USING " + c.set + ") COLLATE " + c.collation
		bad := column(t, db, whole)[0] != "0"
		for _, of := range []string{"table", "view", "query"} {
			q, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, map[string]string{"table": name, "view": "w" + name}[of], "k")
			if of == "query" {
				q, err = keyset.OpenQuery(t.Context(), db.DB, db.dialect, "SELECT * FROM "+name, "k")
			}
			if err != nil {
				t.Fatal(err)
			}
			if testUnmapped(t, db, fmt.Sprint(c.collation, " ", c.texts, " ", of), q, name, bad) {
				refused++
			} else {
				read++
			}
		}
	}
	t.Logf("%d are read, %d refused", read, refused)
}

// testUnmapped reports whether a row was refused.
func testUnmapped(t *testing.T, db database, label string, q *keyset.Table, from string, bad bool) bool {
	t.Helper()
	for _, q.Desc = range []bool{false, true} {
		want := column(t, db, "SELECT v FROM "+from+" ORDER BY k"+map[bool]string{true: " DESC"}[q.Desc])
		for _, size := range pageSizes(len(want)) {
			q.Page = cursor.PageConfig{Size: size, Max: size}
			var got []keyset.Row
			var err error
			for row, e := range q.Stream(t.Context(), nil) {
				if err = e; e != nil {
					break
				}
				if got = append(got, row); len(got) > len(want) {
					t.Fatalf("%s, pages of %d: got %v, and no end", label, size, numbered(got))
				}
			}
			if shown := numbered(got); !slices.Equal(shown, want[:min(len(shown), len(want))]) || err == nil && len(shown) < len(want) ||
				errors.Is(err, keyset.ErrPosition) != bad || err != nil && !bad {
				t.Fatalf("%s, desc %v, pages of %d: got %v, %v, want %v", label, q.Desc, size, shown, err, want)
			}
			if size > 2 {
				continue // where it goes on has nothing to do with the pages before
			}
			for i, row := range got {
				stored, err := json.Marshal(row.Key)
				if err != nil {
					t.Fatal(err)
				}
				var key keyset.Key
				if err := json.Unmarshal(stored, &key); err != nil {
					t.Fatal(err)
				}
				rest := want[i+1:]
				for next, err := range q.Stream(t.Context(), &key) {
					if err == nil && (len(rest) == 0 || fmt.Sprint(next.Values[1]) != rest[0]) || err != nil && !errors.Is(err, keyset.ErrPosition) {
						t.Fatalf("%s, behind %s: got %v, %v, want the first of %v", label, stored, next, err, rest)
					}
					break
				}
			}
		}
	}
	return bad
}

// TestHalvesOfPairs does so for SQLite's UTF-16.
func TestHalvesOfPairs(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"UTF-16le", "UTF-16be"} {
		db := database{openDB(t, "sqlite", sqliteDSN(t)+"&_pragma=encoding('"+encoding+"')"), databases[0]}
		exec(t, db.DB, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, v INT)", "CREATE VIEW w AS SELECT * FROM t",
			"INSERT INTO t VALUES ('a',1),('é',2),('😀',3),('\ufffd',4),('a\u2028',5),(CAST('b' || char(0) AS TEXT),6),('\ufeff',7),(' ',8),('\uffff',9)")
		sources := func() map[string]*keyset.Table {
			all := map[string]*keyset.Table{}
			for _, name := range []string{"t", "w"} {
				q, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, name, "k")
				if err != nil {
					t.Fatal(err)
				}
				all[name] = q
			}
			q, err := keyset.OpenQuery(t.Context(), db.DB, db.dialect, "SELECT * FROM t", "k")
			if err != nil {
				t.Fatal(err)
			}
			all["query"] = q
			return all
		}
		for of, q := range sources() {
			testUnmapped(t, db, encoding+" "+of, q, "t", false)
		}
		for i, half := range []string{"00d8", "00d86100", "00dc", "01d8", "610000d8"} {
			exec(t, db.DB, fmt.Sprintf("INSERT INTO t VALUES (CAST(x'%s' AS TEXT), %d)", half, 100+i))
			for of, q := range sources() {
				testUnmapped(t, db, fmt.Sprint(encoding, " ", of, " ", half), q, "t", encoding == "UTF-16le")
			}
			exec(t, db.DB, "DELETE FROM t WHERE v >= 100")
		}
	}
}

// TestPositionsThatGoWrong reads rows whose positions are right at first and wrong later:
// no row is missed without an error, and no loop goes on without end.
func TestPositionsThatGoWrong(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		exec(t, db.DB, "CREATE TABLE t (k BIGINT NOT NULL PRIMARY KEY)")
		const exact = 1 << 53
		rows := 0
		for i := range 6 {
			exec(t, db.DB, fmt.Sprintf("INSERT INTO t VALUES (%d), (%d)", i, exact+3+4*i)) // the second are rounded up
			rows += 2
		}
		exec(t, db.DB, fmt.Sprintf("INSERT INTO t VALUES (%d)", exact+4+4*8))
		for size := 1; size < 9; size++ {
			lossy := single[float64](db, "t", "k")
			lossy.Page = cursor.PageConfig{Size: size, Max: size}
			if got, err := gather(lossy.Stream(t.Context(), nil)); len(got) < rows+1 && err == nil {
				t.Errorf("numbers without all digits, pages of %d: %d of %d rows", size, len(got), rows+1)
			}
			back := single[int64](db, "t", "k")
			back.Page = lossy.Page
			back.Position = func(k int64) int64 {
				if k == 4 {
					return 0
				}
				return k
			}
			n := 0
			var err error
			for _, err = range back.Stream(t.Context(), nil) {
				if n++; n > 40*rows {
					break
				}
			}
			if n > 40*rows || size == 1 && !errors.Is(err, cursor.ErrStalled) {
				t.Errorf("positions that go back, pages of %d: %d rows, %v", size, n, err)
			}
		}
	})
}
