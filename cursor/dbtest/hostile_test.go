package dbtest

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
)

// everything reports whether PIPELINE_HOSTILE has every collation of a server tested, up and
// down, every row of a table resumed from, and every moment of a restart with each way to
// stop, rather than some that are drawn.
func everything() bool { return os.Getenv("PIPELINE_HOSTILE") != "" }

// hostileRows is how many rows a table has at most.
const hostileRows = 200

// hostileTexts are neighbours that differ in one way: case, padding, accents, form of
// normalization, width, what a collation passes over, and control characters.
func hostileTexts() []string {
	all := []string{"", " ", "  ", "\t", "\n", "a\x00", "\x00", "a\x00b", "\x01", "a\x01", "%", "_", "\\", "'", "\"", "{}", "()", ",", "😀", "😁", "👩‍👩‍👧", "日本", "𝒳", "\ufeffa", "a\u200db", "a\u00adb",
		"ﬁ", "fi", "ß", "ss", "ẞ", "SS", "straße", "strasse", "gross", "groß", "I", "ı", "İ", "i", "Æ", "ae", "ø", "o", "ø", "ö", "o\u0308", "Å", "A\u030a", "Å", "１", "1", "01", "1.0", "1.00", "+1", "-1", "é", "e\u0301", "É", "E\u0301", "ｱ", "ア", "あ"}
	for _, word := range []string{"a", "ab", "Zebra", "résumé", "co-op", "x y", "key"} {
		all = append(all, word, word+" ", word+"  ", " "+word, strings.ToUpper(word), strings.ToUpper(word)+" ", word+"\t", word+"\u00a0", word+"\u0301", word+"b", word+"-", "-"+word, word+"\x7f", word+"😀", word+"\u200b", word+"1", word+"01")
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// hostileValues are literals of types that are no texts; each type takes those that it can.
var hostileValues = []string{
	"0", "-0", "1", "-1", "2", "10", "9", "127", "-128", "255", "256", "32767", "-32768", "2147483647", "-2147483648", "4294967295", "9007199254740991", "9007199254740992", "9007199254740993",
	"9223372036854775806", "9223372036854775807", "-9223372036854775808", "18446744073709551614", "18446744073709551615", "0.1", "0.10", "0.10000000000000001", "-0.1", "1.5", "1.50", "1e10", "1e-10", "1.0000000001", "1.0000000002",
	"12345678901234567890.0000000001", "12345678901234567890.0000000002", "NaN", "Infinity", "-Infinity", "0.00", "-0.00", "100", "1E2",
	"t", "f", "true", "A", "B", "C", "sad", "happy", "Sad", "1901", "2024", "2155",
	"2024-01-01", "2024-01-02", "2024-04-05", "2024-05-04", "2024-12-31", "0001-01-01", "9999-12-31", "0044-03-15 BC", "4713-11-25 BC", "5874897-12-31", "1582-10-15", "infinity", "-infinity", "1000-01-01",
	"1970-01-01 00:00:01", "2024-10-26 23:59:59.999999", "2024-10-27 00:29:59", "2024-10-27 00:30:00", "2024-10-27 01:29:59", "2024-10-27 01:30:00", "2024-10-27 02:00:00", "2024-10-27 02:30:00", "2024-03-31 01:30:00", "2024-03-31 02:30:00", "2024-03-31 03:30:00",
	"2024-01-01 00:00:00.000001", "2024-01-01 00:00:00.000002", "2024-01-01 00:00:00.1", "2024-10-27 02:30:00+01", "2024-10-27 02:30:00+02", "2037-12-31 23:59:59", "1847-12-01 00:00:00.5 BC", "1883-11-18 12:00:00+00",
	"00:00:00", "00:00:00.000001", "12:00:00", "12:00:00+02", "12:00:00-03:30", "11:00:00+01", "24:00:00", "-838:59:59", "838:59:59", "-00:00:00.000001",
	"1 day", "24 hours", "-1 day", "1 month", "30 days", "-1 month 2 days -03:00:00.5", "1 year -2 months 3 days", "-1 day 23:00:00", "1 day -00:00:01", "P1Y2M", "0.000001 s",
	`\x`, `\x00`, `\x0000`, `\x61`, `\x6100`, `\xff`, `\xfffe`, `\xc3a9`,
	"00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000001", "7fffffff-ffff-ffff-ffff-ffffffffffff", "80000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "0190f3a2-7b7c-7abc-8def-0123456789ab",
	"10.0.0.1", "10.0.0.0/8", "10.0.0.1/24", "10.0.0.0/16", "::1", "::", "2001:db8::/32", "192.168.0.255", "08:00:2b:01:02:03", "08:00:2b:01:02:04", "08:00:2b:01:02:03:04:05", "ff:ff:ff:ff:ff:ff",
	"101", "1010", "0101", "00", "11111111", "0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF", "(0,1)", "(4294967295,65535)", "(1,a)", "(1,A)", `(1,"a ")`, "(2,)", "1:2:", "10:20:10,14,15", "$1,234.56", "-$0.01",
	"{}", "{1}", "{1,2}", "{2}", "{NULL}", "{1,NULL}", "{{1,2},{3,4}}", `{a}`, `{A}`, `{"a "}`, `{""}`, "{0.1,1.7976931348623157e308}", "{NaN}", `{"2024-04-05"}`, `{"2024-05-04 02:30:00+00"}`, `{"1 day","-02:00:00"}`, `{"\\x00ff"}`,
	"empty", "[1,2)", "[1,2]", "(,5)", "[3,)", "(,)", "[2024-04-05,2024-05-04)", "[2024-04-05 00:00Z,2024-05-04 00:00Z)", "{[1,2),[3,4)}", "{[2024-04-05,2024-05-04)}", "{[2024-04-05 00:00Z,2024-05-04 00:00Z)}",
	`{"a": 1}`, `{"a": 1.0}`, `{"A": 1}`, `[]`, `[1, 2]`, `"x"`, `"x "`, `null`, `12345678901234567890.1`, `1.10`, "a b", "'a' 'b'", "a:1 b:2", "a & b", "pg_class", "pg_type", "1259", "POINT(1 2)",
}

// A hostileTable is a key column to be tested.
type hostileTable struct {
	name   string
	column string   // its type, and collation
	values []string // as literals
}

// TestHostileKeys makes tables of every key type and collation that a database has, with
// rows that are easily taken for each other. Whatever Preflight lets pass is read in small
// pages, up or down, and is gone on with behind a row, after its position went
// through JSON, in a session with other settings: all rows come once. What it does not let
// pass is refused before the first row.
func TestHostileKeys(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			dsn := kind.dsn(t)
			one := database{openDB(t, map[string]string{"sqlite": "sqlite", "postgres": "pgx", "mariadb": "mysql"}[kind.name], dsn), kind}
			other := database{kind.otherSessions(t, dsn), kind}
			one.SetMaxOpenConns(8)
			other.SetMaxOpenConns(8)
			random := rand.New(rand.NewPCG(seed, 0))
			tables := map[string]func(*testing.T, database, *rand.Rand) []hostileTable{"sqlite": hostileSQLite, "postgres": hostilePostgres, "mariadb": hostileMariaDB}[kind.name](t, one, random)
			read := 0
			for i, table := range tables {
				if testHostile(t, one, other, fmt.Sprint("t", i), table, rand.New(rand.NewPCG(seed, uint64(i)))) {
					read++
				}
			}
			t.Logf("%d of %d tables are read", read, len(tables))
			if read < len(tables)/3 {
				t.Error("most tables are refused")
			}
		})
	}
}

// draw returns some of a list, all of it where that is asked for.
func draw(random *rand.Rand, all []string, n int) []string {
	if everything() || len(all) <= n {
		return all
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:n]
}

func hostileSQLite(*testing.T, database, *rand.Rand) []hostileTable {
	var values []string
	for _, v := range hostileTexts() {
		values = append(values, "CAST(x'"+hex.EncodeToString([]byte(v))+"' AS TEXT)")
	}
	for _, v := range []string{"ff", "61ff", "c3", "eda080", "6100ff", "f5808080", ""} {
		values = append(values, "CAST(x'"+v+"' AS TEXT)", "x'"+v+"'")
	}
	values = append(values, "-0.0", "0.0", "0", "1", "1.0", "-1", "1.5", "1e300", "-1e300", "9e999", "9007199254740993", "9007199254740992.0", "9223372036854775807", "9.2233720368547758e18", "0.1", "x'00'", "x'0000'", "x'6120'",
		"'2024-01-01'", "'2024-01-01 00:00:00'", "'2024-01-01T00:00:00Z'", "1704067200")
	var tables []hostileTable
	for _, typ := range []string{"TEXT", "BLOB", "NUMERIC", "INTEGER", "INT", "", "VARCHAR(20)", "DATETIME", "DATE", "TIMESTAMP", "BOOLEAN", "DECIMAL(10,2)", "REAL", "FLOAT", "JSON", "ANY"} {
		for _, collation := range []string{"BINARY", "NOCASE", "RTRIM"} {
			tables = append(tables, hostileTable{typ + " " + collation, typ + " COLLATE " + collation, values})
		}
	}
	return tables
}

func hostilePostgres(t *testing.T, db database, random *rand.Rand) []hostileTable {
	exec(t, db.DB, "CREATE TYPE mood AS ENUM ('sad', 'Sad', 'happy')", "CREATE TYPE pt AS (a int, b text)", "CREATE DOMAIN d1 AS numeric", "CREATE DOMAIN d2 AS d1 CHECK (value <> 7)", "CREATE DOMAIN d3 AS date", "CREATE DOMAIN d4 AS d3",
		"CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level1', deterministic = false)")
	types := column(t, db, `SELECT DISTINCT format_type(t.oid, NULL) FROM pg_opclass c JOIN pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree' JOIN pg_type t ON t.oid = c.opcintype
		WHERE c.opcdefault AND t.typtype <> 'p' AND t.typnamespace = 'pg_catalog'::regnamespace ORDER BY 1`)
	types = append(types, "mood", "pt", "d2", "d4", "varchar(40)", "char(12)", "numeric(30,10)", "timestamptz(3)", "time(2)", "interval", "int[]", "text[]", "numeric[]", "float8[]", "date[]", "timestamptz[]", "interval[]", "bytea[]", "pt[]",
		"int4range", "numrange", "daterange", "tsrange", "tstzrange", "nummultirange", "datemultirange", "tstzmultirange", "regclass", "regtype", "varbit(20)", "bit(3)", "xid8")
	values := slices.Concat(hostileValues, hostileTexts())
	var tables []hostileTable
	for _, typ := range types {
		tables = append(tables, hostileTable{typ, typ, values})
	}
	collations := column(t, db, "SELECT DISTINCT quote_ident(collname) FROM pg_collation WHERE collencoding IN (-1, 6) AND collname NOT IN ('C', 'POSIX', 'default') ORDER BY 1")
	for _, c := range append([]string{`"C"`, `"POSIX"`, "ci", `"de-x-icu"`}, draw(random, collations, 4)...) {
		tables = append(tables, hostileTable{"text " + c, "text COLLATE " + c, hostileTexts()})
	}
	return append(tables, hostileTable{"char ci", "char(12) COLLATE ci", hostileTexts()})
}

func hostileMariaDB(t *testing.T, db database, random *rand.Rand) []hostileTable {
	var tables []hostileTable
	for _, typ := range []string{"TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "BIGINT UNSIGNED", "DECIMAL(40,10)", "DECIMAL(10,2)", "FLOAT", "DOUBLE", "BIT(1)", "BIT(64)", "BOOLEAN", "YEAR", "DATE", "TIME", "TIME(6)", "DATETIME", "DATETIME(6)",
		"TIMESTAMP", "TIMESTAMP(6)", "UUID", "INET4", "INET6", "ENUM('sad','Sad','happy')", "SET('A','B','C')", "BINARY(8)", "VARBINARY(40)", "JSON", "CHAR(36)"} {
		tables = append(tables, hostileTable{typ, typ, slices.Concat(hostileValues, hostileTexts())})
	}
	collations := column(t, db, "SELECT c.full_collation_name FROM information_schema.collation_character_set_applicability c JOIN information_schema.collations d ON d.collation_name = c.collation_name OR d.collation_name = c.full_collation_name WHERE c.character_set_name <> 'binary' GROUP BY 1 ORDER BY 1")
	for _, c := range append([]string{"utf8mb4_bin", "utf8mb4_general_ci", "utf8mb4_unicode_nopad_ci", "utf8mb4_nopad_bin", "latin1_german1_ci"}, draw(random, collations, 6)...) {
		set, _, _ := strings.Cut(c, "_")
		for _, typ := range []string{"VARCHAR(40)", "CHAR(20)"} {
			tables = append(tables, hostileTable{typ + " " + c, typ + " CHARACTER SET " + set + " COLLATE " + c, hostileTexts()})
		}
	}
	return tables
}

// column returns the texts that a query has.
func column(t *testing.T, db database, query string) (all []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	return all
}

// fillHostile makes a table with those of the values that its key takes and tells apart,
// numbered by v. It reports false where the server has no such key.
func fillHostile(t *testing.T, db database, name string, table hostileTable) bool {
	t.Helper()
	if _, err := db.Exec("CREATE TABLE " + name + " (k " + table.column + " NOT NULL PRIMARY KEY, v INTEGER)"); err != nil {
		if db.name == "mariadb" {
			return false // a type without an index of whole values, or a character set for nothing but conversions
		}
		t.Fatalf("%s: %v", table.name, err)
	}
	switch db.name {
	case "postgres": // a value that does not fit must not spoil the others
		var list []string
		for _, v := range table.values {
			if !strings.ContainsRune(v, 0) {
				list = append(list, "'"+strings.ReplaceAll(v, "'", "''")+"'")
			}
		}
		exec(t, db.DB, `DO $do$ DECLARE x text; i int := 0; BEGIN FOREACH x IN ARRAY ARRAY[`+strings.Join(list, ", ")+`]::text[] LOOP
			BEGIN EXECUTE format('INSERT INTO `+name+` VALUES (%L, `+"'||i||'"+`)', x); i := i + 1; EXCEPTION WHEN OTHERS THEN NULL; END;
			EXIT WHEN i = `+strconv.Itoa(hostileRows)+`; END LOOP; END $do$`)
	case "sqlite":
		for i, v := range table.values {
			if i < hostileRows+60 {
				_, _ = db.Exec(fmt.Sprintf("INSERT OR IGNORE INTO %s VALUES (%s, %d)", name, v, i)) // an INTEGER PRIMARY KEY takes no text
			}
		}
	default:
		text := strings.Contains(table.column, "COLLATE") || strings.Contains(table.column, "BINARY")
		var rows []string
		for i, v := range table.values {
			literal := "'" + strings.NewReplacer("'", "''", `\`, `\\`).Replace(v) + "'"
			if text {
				literal = "CONVERT(x'" + hex.EncodeToString([]byte(v)) + "' USING utf8mb4)"
			}
			rows = append(rows, fmt.Sprintf("(%s, %d)", literal, i))
		}
		exec(t, db.DB, "INSERT IGNORE INTO "+name+" VALUES "+strings.Join(rows[:min(len(rows), 2*hostileRows)], ", "))
	}
	return true
}

// testHostile reports whether the table was read, and not refused.
func testHostile(t *testing.T, one, other database, name string, table hostileTable, random *rand.Rand) bool {
	t.Helper()
	if !fillHostile(t, one, name, table) {
		return false
	}
	defer exec(t, one.DB, "DROP TABLE "+name)
	open := func(db database) *keyset.Table {
		q, err := keyset.OpenTable(t.Context(), db.DB, db.dialect, name)
		if err != nil {
			t.Fatalf("%s: %v", table.name, err)
		}
		return q
	}
	first, second := open(one), open(other)
	if first.Fingerprint() != second.Fingerprint() {
		t.Errorf("%s: the fingerprints are %s and %s", table.name, first.Fingerprint(), second.Fingerprint())
	}
	refusal, again := first.Preflight(t.Context()), second.Preflight(t.Context())
	if (refusal == nil) != (again == nil) {
		t.Errorf("%s: one session says %v, another one %v", table.name, refusal, again)
	}
	if refusal != nil {
		if !errors.Is(refusal, keyset.ErrKey) {
			t.Errorf("%s: %v", table.name, refusal)
		}
		return false
	}
	ways := []bool{false, true}
	if !everything() {
		ways = []bool{random.IntN(2) == 1}
	}
	for _, desc := range ways {
		order := "k"
		if desc {
			order = "k DESC"
		}
		want := column(t, one, "SELECT v FROM "+name+" ORDER BY "+order)
		if len(want) == 0 {
			t.Errorf("%s: there are no rows", table.name)
		}
		first.Desc, second.Desc = desc, desc
		var rows []keyset.Row
		sizes := []int{1, 2, 3, 7}
		if !everything() {
			sizes = []int{1 + random.IntN(2), 3 + 4*random.IntN(2)}
		}
		for i, size := range sizes {
			q := first
			if i == 1 {
				q = second
			}
			q.Page = cursor.PageConfig{Size: size, Max: size}
			got, err := gather(q.Stream(t.Context(), nil))
			if shown := numbered(got); err != nil || !slices.Equal(shown, want) {
				t.Errorf("%s, %s, pages of %d: got %d rows %v, %v, want %d %v", table.name, order, size, len(got), shown, err, len(want), want)
				return true
			}
			if rows != nil && fmt.Sprint(rows) != fmt.Sprint(got) {
				t.Errorf("%s: the values differ: %v and %v", table.name, rows, got)
			}
			rows = got
		}
		for i, row := range rows {
			if len(rows) > 16 && !everything() && random.IntN(len(rows)) > 8 {
				continue
			}
			stored, err := json.Marshal(row.Key)
			if err != nil {
				t.Fatalf("%s: %v: %v", table.name, row, err)
			}
			var key keyset.Key
			if err := json.Unmarshal(stored, &key); err != nil {
				t.Fatalf("%s: %s: %v", table.name, stored, err)
			}
			const few = 4
			second.Page = cursor.PageConfig{Size: 2, Max: 2}
			var got []keyset.Row
			for r, err := range second.Stream(t.Context(), &key) {
				if err != nil {
					t.Errorf("%s, behind %s: %v", table.name, stored, err)
					return true
				}
				if got = append(got, r); len(got) == few {
					break
				}
			}
			if shown := numbered(got); !slices.Equal(shown, want[i+1:min(len(want), i+1+few)]) {
				t.Errorf("%s, %s, behind %s: got %v, want %v", table.name, order, stored, shown, want[i+1:min(len(want), i+1+few)])
				return true
			}
		}
	}
	return true
}

// numbered returns the column v of rows as texts.
func numbered(rows []keyset.Row) (all []string) {
	for _, v := range values(rows) {
		all = append(all, strconv.FormatInt(v, 10))
	}
	return all
}
