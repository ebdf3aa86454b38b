package main

import (
	"database/sql"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
)

// A schema is a table as people have them, in SQL of all three systems but for the words
// in capitals with a $.
type schema struct{ name, columns, partitions, values string }

// wide returns a table of 300 columns.
func wide() schema {
	columns, values := "id int PRIMARY KEY", "(1"
	for i := range 299 {
		columns += fmt.Sprintf(", c%d varchar(6)", i)
		values += []string{", NULL", ", ''", ", 'x,\"y\"'", ", 'é'"}[i%4]
	}
	return schema{"wide", columns, "", values + ")"}
}

var schemas = []schema{
	{"shop", "id $BIGINT PRIMARY KEY, customer varchar(80) NOT NULL, price decimal(20,4), placed $TIME, paid $BOOL, note text",
		"", "(1, 'Zoë, \"Q\"', 12.3400, '2026-01-02 03:04:05.123456', $TRUE, NULL), (9007199254740993, 'O''Brien', -0.0001, NULL, $FALSE, ''), (3, ' led', 99999999999.9999, '1969-12-31 23:59:59', NULL, 'two\nlines')"},
	{"events", "day date, seq int, kind varchar(20), payload $JSON, PRIMARY KEY (day, seq)", "",
		`('2026-01-01', 2, 'a', '{"a": [1, 2.50, "é"]}'), ('2026-01-01', 10, 'b', NULL), ('2025-12-31', 1, '', '[]')`},
	wide(),
	{"logs", "at $TIME, line text, took $DOUBLE", "", `('2026-01-01 00:00:00', 'tab	here', 0.1), ('2026-01-01 00:00:00', 'back\slash \N', 1e300), (NULL, NULL, NULL), ('2026-01-01 00:00:00', 'tab	here', 0.1)`},
	{"docs", "id varchar(20) PRIMARY KEY, doc $JSON", "", `('a', '{"k": "v \" w", "n": 12345678901234567890.5, "deep": {"x": [null, true]}}'), ('b', '"text"'), ('c', NULL), ('d', '0')`},
	{"blobs", "id int PRIMARY KEY, data $BLOB", "", "(1, $X('00ff0a0d2c22')), (2, $X('')), (3, NULL), (4, $X('5c78'))"},
	{"parts", "id int NOT NULL, region int NOT NULL, v varchar(9), PRIMARY KEY (region, id)", "region", "(1, 1, 'a'), (2, 1, NULL), (1, 15, 'c'), (1, 7, '')"},
	{"computed", "id int PRIMARY KEY, net int, gross int GENERATED ALWAYS AS (net * 2) STORED", "", "(1, 5, DEFAULT), (2, NULL, DEFAULT)"},
	{"Qu o,te.d", `$Q the id$Q int PRIMARY KEY, $Qa,b$Q int, $Qselect$Q varchar(9)`, "", "(1, 2, 'x'), (2, NULL, NULL)"},
	{"empty", "id int PRIMARY KEY, v text", "", ""},
}

var words = map[string][]string{
	"sqlite":   {"$BIGINT", "INTEGER", "$TIME", "TEXT", "$BOOL", "INTEGER", "$TRUE", "1", "$FALSE", "0", "$JSON", "JSON", "$DOUBLE", "REAL", "$BLOB", "BLOB", "$X(", "unhex(", "$Q", `"`},
	"postgres": {"$BIGINT", "bigint", "$TIME", "timestamptz", "$BOOL", "boolean", "$TRUE", "true", "$FALSE", "false", "$JSON", "jsonb", "$DOUBLE", "double precision", "$BLOB", "bytea", "$X('", `('\x`, "$Q", `"`},
	"mysql":    {"$BIGINT", "bigint", "$TIME", "datetime(6)", "$BOOL", "boolean", "$TRUE", "true", "$FALSE", "false", "$JSON", "json", "$DOUBLE", "double", "$BLOB", "longblob", "$X(", "unhex(", "$Q", "`"},
}

// statements make the table on a system.
func (s schema) statements(system string) []string {
	quote := `"`
	if system == "mysql" {
		quote = "`"
	}
	name := quote + s.name + quote
	columns, values := s.columns, s.values
	if system == "sqlite" {
		values = strings.ReplaceAll(values, ", DEFAULT)", ")")
	}
	if system == "mysql" { // where a backslash in a literal means something
		values = strings.ReplaceAll(values, `\`, `\\`)
	}
	var all []string
	switch {
	case s.partitions != "" && system == "postgres":
		all = []string{"CREATE TABLE " + name + " (" + columns + ") PARTITION BY RANGE (" + s.partitions + ")"}
		for i := range 2 {
			all = append(all, fmt.Sprintf("CREATE TABLE parts_%d PARTITION OF parts FOR VALUES FROM (%d) TO (%d)", i, i*10, i*10+10))
		}
	case s.partitions != "" && system == "mysql":
		all = []string{"CREATE TABLE " + name + " (" + columns + ") PARTITION BY RANGE (" + s.partitions + ") (PARTITION a VALUES LESS THAN (10), PARTITION b VALUES LESS THAN MAXVALUE)"}
	default:
		all = []string{"CREATE TABLE " + name + " (" + columns + ")"}
	}
	if values != "" {
		target := name
		if s.name == "computed" && system == "sqlite" {
			target += " (id, net)"
		}
		all = append(all, "INSERT INTO "+target+" VALUES "+values)
	}
	replace := strings.NewReplacer(words[system]...)
	for i := range all {
		all[i] = replace.Replace(all[i])
	}
	return all
}

// All of them are exported with no flag but -dsn and -table, on each system, and read back
// by readers that know nothing of this program.
func TestSchemasAsPeopleHaveThem(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	for _, system := range []string{"sqlite", "postgres", "mysql"} {
		t.Run(system, func(t *testing.T) {
			t.Parallel()
			var statements []string
			for _, s := range schemas {
				statements = append(statements, s.statements(system)...)
			}
			dsn := ""
			var db *sql.DB
			switch system {
			case "sqlite":
				dsn = newSQLite(t, statements...)
			case "postgres":
				dsn, db = newServerTables(t, postgresServer, statements...)
			default:
				dsn, db = newServerTables(t, mariaDBServer, statements...)
			}
			dir := t.TempDir()
			for _, s := range schemas {
				rows := fmt.Sprintf("done: %s", countOf(int64(max(0, strings.Count(s.values, "), (")+1)), "row"))
				if s.values == "" {
					rows = "done: 0 rows"
				}
				table := s.name
				if strings.Contains(table, ".") {
					table = `"` + table + `"`
				}
				mustRun(t, dir, exitDone, rows, "-dsn="+dsn, "-table="+table)
				for _, ending := range []string{".jsonl", ".tsv"} {
					mustRun(t, dir, exitDone, rows, "-dsn="+dsn, "-table="+table, "-out="+s.name+ending)
				}
				path := filepath.Join(dir, s.name)
				csvAndJSONAgree(t, path+".csv", path+".jsonl")
				switch system {
				case "postgres":
					copiedBack(t, db, s.name, path+".csv")
				case "mysql":
					loadedBack(t, db, s.name, path+".tsv")
				}
			}
			if system == "sqlite" {
				readByPython(t, strings.TrimPrefix(dsn, "sqlite:"), dir)
			}
		})
	}
}

// csvAndJSONAgree reads both files with the standard library, and compares cell by cell.
func csvAndJSONAgree(t *testing.T, csvPath, jsonPath string) {
	t.Helper()
	records, err := csv.NewReader(strings.NewReader(read(t, csvPath))).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", csvPath, err)
	}
	lines := strings.Split(strings.TrimSuffix(read(t, jsonPath), "\n"), "\n")
	if read(t, jsonPath) == "" {
		lines = nil
	}
	if len(lines) != len(records)-1 {
		t.Fatalf("%s has %d rows, %s %d", csvPath, len(records)-1, jsonPath, len(lines))
	}
	for i, line := range lines {
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("%s: %v: %s", jsonPath, err, line)
		}
		if len(object) != len(records[0]) {
			t.Errorf("%s: %d names, want %d", jsonPath, len(object), len(records[0]))
		}
		for j, name := range records[0] {
			if got, want := jsonCell(object[name]), records[i+1][j]; got != want && !sameJSON(got, want) {
				t.Errorf("%s, row %d: %q is %q in JSON, %q in CSV", jsonPath, i+1, name, got, want)
			}
		}
	}
}

// jsonCell is a value in JSON as CSV has it.
func jsonCell(raw json.RawMessage) string {
	var text string
	var binary struct{ Base64 *string }
	switch {
	case string(raw) == "null":
		return ""
	case json.Unmarshal(raw, &text) == nil:
		return text
	case json.Unmarshal(raw, &binary) == nil && binary.Base64 != nil:
		b, _ := base64.StdEncoding.DecodeString(*binary.Base64)
		return `\x` + hex.EncodeToString(b)
	}
	return string(raw)
}

// sameJSON reports whether two texts are the same document.
func sameJSON(a, b string) bool {
	compact := func(s string) string {
		var v any
		dec := json.NewDecoder(strings.NewReader(s))
		dec.UseNumber()
		if dec.Decode(&v) != nil {
			return "no JSON: " + s
		}
		text, _ := json.Marshal(v)
		return string(text)
	}
	quoted, _ := json.Marshal(a) // a document that is a string came out as that string
	return compact(a) == compact(b) || compact(string(quoted)) == compact(b)
}

// copiedBack has PostgreSQL read the file with COPY, and compare the rows.
func copiedBack(t *testing.T, db *sql.DB, table, path string) {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	name := `"` + table + `"`
	if _, err := conn.ExecContext(t.Context(), "CREATE TEMP TABLE back AS SELECT * FROM "+name+" WITH NO DATA"); err != nil {
		t.Fatal(err)
	}
	defer conn.ExecContext(t.Context(), "DROP TABLE back")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	err = conn.Raw(func(c any) error {
		_, err := c.(interface{ Conn() *pgx.Conn }).Conn().PgConn().CopyFrom(t.Context(), f, "COPY back FROM STDIN (FORMAT csv, HEADER)")
		return err
	})
	if err != nil {
		t.Fatalf("COPY %s: %v", path, err)
	}
	var differ int
	err = conn.QueryRowContext(t.Context(), fmt.Sprintf(`SELECT count(*) FROM (
		(SELECT a::text FROM %[1]s AS a EXCEPT ALL SELECT b::text FROM back AS b) UNION ALL
		(SELECT b::text FROM back AS b EXCEPT ALL SELECT a::text FROM %[1]s AS a)) AS d`, name)).Scan(&differ)
	if err != nil || differ > 0 {
		t.Errorf("%s: %d rows differ after COPY, %v", table, differ, err)
	}
}

// loadedBack has MariaDB read the file with LOAD DATA, and compare the rows.
func loadedBack(t *testing.T, db *sql.DB, table, path string) {
	t.Helper()
	db.SetMaxOpenConns(1)
	name := "`" + table + "`"
	if _, err := db.Exec("CREATE TEMPORARY TABLE back AS SELECT * FROM " + name + " LIMIT 0"); err != nil {
		t.Fatal(err)
	}
	defer db.Exec("DROP TEMPORARY TABLE back")
	mysql.RegisterLocalFile(path)
	defer mysql.DeregisterLocalFile(path)
	list := ""
	if table == "blobs" { // LOAD DATA has no form for binary data in UTF-8
		list = " (id, @data) SET data = unhex(substr(@data, 3))"
	}
	if _, err := db.Exec("LOAD DATA LOCAL INFILE '" + path + "' INTO TABLE back CHARACTER SET utf8mb4 IGNORE 1 LINES" + list); err != nil {
		t.Fatalf("LOAD DATA %s: %v", path, err)
	}
	var rows, back, both int
	for into, query := range map[*int]string{
		&rows: "SELECT count(*) FROM " + name,
		&back: "SELECT count(*) FROM back",
	} {
		if err := db.QueryRow(query).Scan(into); err != nil {
			t.Fatal(err)
		}
	}
	// A temporary table can be named once in a statement.
	if err := db.QueryRow("SELECT count(*) FROM (SELECT * FROM " + name + " INTERSECT ALL SELECT * FROM back) AS d").Scan(&both); err != nil {
		t.Fatal(err)
	}
	if rows != back || rows != both {
		t.Errorf("%s has %d rows, %d came back, and %d are the same", table, rows, back, both)
	}
}

const pythonReader = `
import base64, csv, json, os, sqlite3, sys
csv.field_size_limit(1 << 30)
db = sqlite3.connect(sys.argv[1])
tables = [r[0] for r in db.execute("select name from sqlite_schema where type = 'table' and name not like 'sqlite%'")]
compared = 0
for t in tables:
    rows = db.execute('select * from "%s"' % t).fetchall()
    names = [c[0] for c in db.execute('select * from "%s" limit 0' % t).description]
    def cell(v):
        if v is None: return ''
        if isinstance(v, bytes): return '\\x' + v.hex()
        if isinstance(v, float): return float(v)
        return str(v)
    def value(v):
        if isinstance(v, bytes): return json.dumps({'base64': base64.b64encode(v).decode()})
        return json.dumps(v)
    with open(os.path.join(sys.argv[2], t + '.csv'), newline='', encoding='utf-8') as f:
        got = list(csv.reader(f))
    assert got[0] == names, (t, got[0], names)
    got = [[float(g) if isinstance(w, float) and g else g for g, w in zip(r, s)] for r, s in zip(got[1:], rows)]
    want = [[cell(v) for v in r] for r in rows]
    assert sorted(map(str, got)) == sorted(map(str, want)), (t, got, want)
    with open(os.path.join(sys.argv[2], t + '.jsonl'), encoding='utf-8') as f:
        objects = [json.loads(line) for line in f]
    assert len(objects) == len(rows), t
    if t not in ('events', 'docs'):
        assert sorted(str([json.dumps(o[n]) for n in names]) for o in objects) == sorted(str([value(v) for v in r]) for r in rows), (t, objects, rows)
    else:
        for o in objects: assert list(o) == names, o
    compared += 1
print('compared', compared)
`

// readByPython compares the files with what Python reads from the database itself.
func readByPython(t *testing.T, db, dir string) {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Log("there is no python3, which would read the files, too")
		return
	}
	out, err := exec.Command(python, "-c", pythonReader, db, dir).CombinedOutput()
	if err != nil || !strings.Contains(string(out), fmt.Sprintf("compared %d", len(schemas))) {
		t.Errorf("python3: %v: %s", err, out)
	}
}
