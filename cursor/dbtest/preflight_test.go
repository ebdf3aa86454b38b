package dbtest

import (
	"database/sql"
	"errors"
	"strings"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
)

// onKey is a query that counts on nothing but its key.
func onKey(db database, from string, key ...string) keyset.Query[keyset.Key, keyset.Key] {
	columns := strings.NewReplacer(" DESC", "", " desc", "", " ASC", "").Replace(strings.Join(key, ", "))
	return keyset.Query[keyset.Key, keyset.Key]{
		DB: db, Dialect: db.dialect, From: from, Key: key, Select: columns,
		Scan: func(rows *sql.Rows) (keyset.Key, error) {
			k := make(keyset.Key, len(key))
			dest := make([]any, len(key))
			for i := range k {
				dest[i] = &k[i]
			}
			return k, rows.Scan(dest...)
		},
		Position: func(k keyset.Key) keyset.Key { return k },
	}
}

// A preflight is a query, and a word of why it is refused, "" if it is not.
type preflight struct {
	from string
	key  string
	want string
}

func TestPreflight(t *testing.T) {
	common := []string{
		"CREATE TABLE good (id BIGINT NOT NULL PRIMARY KEY, a BIGINT NOT NULL, b BIGINT, c VARCHAR(20) NOT NULL, f DOUBLE PRECISION NOT NULL)",
		"CREATE INDEX good_a ON good (a, c)",
		"CREATE UNIQUE INDEX good_b ON good (b)",
		"CREATE UNIQUE INDEX good_f ON good (f)",
		"CREATE UNIQUE INDEX good_ca ON good (c, a)",
		"INSERT INTO good (id, a, b, c, f) VALUES (1, 1, 1, 'x', 1), (2, 1, 2, 'y', 2), (3, 2, NULL, 'y', 3)",
		"CREATE VIEW seen AS SELECT id, b, f, c FROM good",
		"CREATE TABLE composite (x BIGINT NOT NULL, y BIGINT NOT NULL, z BIGINT NOT NULL, PRIMARY KEY (x, y))",
		"CREATE TABLE none (x BIGINT NOT NULL)",
	}
	checks := []preflight{
		{"good", "id", ""},
		{"good g", "g.id", ""},
		{"good AS g", "id", ""},
		{"good", "b", "may be NULL"},
		{"good", "a", "not unique"},
		{"good", "f", "floating point"},
		{"good", "c, a", ""},
		{"good", "a, c", ""}, // an index has the order, another is unique
		{"good", "c, id", "no index begins"},
		{"good", "a, id", "no index begins"},
		{"good", "idd", "no column idd; there are id,"},
		{"goood", "id", "no table goood; "},
		{"composite", "x, y", ""},
		{"composite", "y, x", "no index begins"},
		{"composite", "x", "not unique"},
		{"composite", "x, y, z", "no index begins"},
		{"none", "x", "not unique"},
		{"seen", "id", ""},
		{"seen", "b", "NULL in a row"},
		{"seen", "f", "floating point"},
		{"good JOIN composite ON composite.x = good.id", "good.id", ""},
		{"good g LEFT JOIN composite k ON k.x = g.id", "k.x", "NULL in a row"},
		{"good g LEFT JOIN composite k ON k.x = g.id", "g.f", "floating point"},
	}
	special := map[string][]string{
		"sqlite": {
			"CREATE TABLE loose (k TEXT PRIMARY KEY, v INTEGER)", "INSERT INTO loose VALUES ('a', 1)",
			"CREATE TABLE holes (k TEXT PRIMARY KEY, v INTEGER)", "INSERT INTO holes VALUES ('a', 1), (NULL, 2)",
			"CREATE TABLE part (k INTEGER NOT NULL, l INTEGER NOT NULL, m TEXT NOT NULL)",
			"CREATE UNIQUE INDEX part_k ON part (k) WHERE k > 0",
			"CREATE UNIQUE INDEX part_l ON part (abs(l))",
			"CREATE UNIQUE INDEX part_m ON part (m COLLATE NOCASE)",
			"CREATE TABLE folded (m TEXT COLLATE NOCASE NOT NULL)",
			"CREATE UNIQUE INDEX folded_m ON folded (m COLLATE BINARY)",
			"CREATE TABLE wr (a TEXT, b TEXT, PRIMARY KEY (b, a)) WITHOUT ROWID",
			"CREATE TABLE byrowid (id INTEGER PRIMARY KEY, a TEXT NOT NULL)", "CREATE INDEX byrowid_a ON byrowid (a)",
			"CREATE TABLE mixed (a INTEGER NOT NULL, b INTEGER NOT NULL)", "CREATE UNIQUE INDEX mixed_ab ON mixed (a, b DESC)",
			`CREATE TABLE question ("a=? " INTEGER NOT NULL, v INTEGER)`, `CREATE UNIQUE INDEX question_a ON question ("a=? ")`,
			// A program with a collation of its own has made this.
			"CREATE TABLE strange (id INTEGER PRIMARY KEY, k TEXT NOT NULL COLLATE BINARY)", "CREATE UNIQUE INDEX strange_k ON strange (k)", "INSERT INTO strange VALUES (1, 'a'), (2, 'b')",
			"PRAGMA writable_schema = ON", "UPDATE sqlite_schema SET sql = replace(sql, 'BINARY', 'unicase') WHERE name = 'strange'",
			"UPDATE sqlite_schema SET sql = replace(sql, '(k)', '(k COLLATE unicase)') WHERE name = 'strange_k'", "PRAGMA writable_schema = RESET",
		},
		"postgres": {
			"CREATE TYPE mood AS ENUM ('sad', 'happy')", "CREATE TABLE moods (m mood PRIMARY KEY)",
			"CREATE TABLE part (k bigint NOT NULL, l bigint NOT NULL, m text NOT NULL, n text NOT NULL, o text NOT NULL)",
			"CREATE UNIQUE INDEX part_k ON part (k) WHERE k > 0",
			"CREATE UNIQUE INDEX part_l ON part (abs(l))",
			`CREATE UNIQUE INDEX part_m ON part (m COLLATE "C")`,
			"CREATE UNIQUE INDEX part_n ON part (n text_pattern_ops)",
			"CREATE UNIQUE INDEX part_o ON part (o NULLS FIRST)",
			"CREATE TABLE mixed (a bigint NOT NULL, b bigint NOT NULL)", "CREATE UNIQUE INDEX mixed_ab ON mixed (a, b DESC)",
			"CREATE TABLE down (a bigint NOT NULL, b bigint NOT NULL)", "CREATE UNIQUE INDEX down_ab ON down (a DESC, b DESC) INCLUDE (a)",
			"CREATE TABLE hashed (a bigint NOT NULL PRIMARY KEY, h bigint NOT NULL)", "CREATE INDEX hashed_h ON hashed USING hash (h)",
			"CREATE TABLE parent (id bigint PRIMARY KEY)", "CREATE TABLE child () INHERITS (parent)",
			"CREATE TABLE parts (id bigint PRIMARY KEY) PARTITION BY RANGE (id)", "CREATE TABLE parts1 PARTITION OF parts DEFAULT",
			`CREATE TABLE "Camel" ("Id" bigint PRIMARY KEY)`,
			"CREATE DOMAIN amount AS float4", "CREATE DOMAIN amount2 AS amount NOT NULL CHECK (value > 0)", "CREATE DOMAIN amount3 AS amount2",
			"CREATE TABLE deep (a amount3 PRIMARY KEY)", "CREATE DOMAIN mood2 AS mood", "CREATE TABLE moods2 (m mood2 PRIMARY KEY)",
			"CREATE TABLE cash (m money PRIMARY KEY)", "CREATE TABLE amounts (a amount NOT NULL PRIMARY KEY)",
		},
		"mariadb": {
			"CREATE TABLE moods (m ENUM('sad', 'happy') NOT NULL PRIMARY KEY, s SET('a', 'b') NOT NULL, UNIQUE (s))",
			"CREATE TABLE part (m VARCHAR(40) NOT NULL, n VARCHAR(40) NOT NULL, UNIQUE (m(10)))",
			"CREATE TABLE byprimary (id BIGINT NOT NULL PRIMARY KEY, a VARCHAR(40) NOT NULL, KEY (a))",
			"CREATE TABLE nopad (c CHAR(20) COLLATE utf8mb4_unicode_nopad_ci PRIMARY KEY, v VARCHAR(20) COLLATE utf8mb4_unicode_nopad_ci NOT NULL UNIQUE)",
			"CREATE TABLE mixed (a BIGINT NOT NULL, b BIGINT NOT NULL, PRIMARY KEY (a, b DESC))",
			"CREATE TABLE ignored (a BIGINT NOT NULL, b BIGINT NOT NULL, PRIMARY KEY (a), UNIQUE KEY ub (b) IGNORED)",
			"CREATE TABLE seq1 (id BIGINT NOT NULL, v BIGINT NOT NULL INVISIBLE DEFAULT 1, PRIMARY KEY (id))",
		},
	}
	specialChecks := map[string][]preflight{
		"sqlite": {
			{"loose", "k", ""},
			{"holes", "k", "NULL in a row"},
			{"part", "k", "not unique"},
			{"part", "l", "not unique"},
			{"part", "m", "not unique"},
			{"folded", "m", "not unique"},
			{"wr", "b, a", ""},
			{"wr", "a, b", "no index begins"},
			{"byrowid", "a, id", ""}, // SQLite appends the rowid to the index on a
			{"byrowid", "rowid", ""},
			{"none", "rowid", ""},
			{"wr", "rowid", "no column"},
			{"mixed", "a, b", "no index begins"},
			{"mixed", "a, b DESC", ""},
			{"question", `"a=? "`, ""},
			{"strange", "id", ""},
			{"strange", "k", "not unique"},
		},
		"postgres": {
			{"moods", "m", ""},
			{"part", "k", "not unique"},
			{"part", "l", "not unique"},
			{"part", "m", "part_m is sorted in another way"},
			{"part", "n", "part_n is sorted in another way"},
			{"part", "o", "part_o is sorted in another way"},
			{"mixed", "a, b", "no index begins"},
			{"mixed", "a, b DESC", ""},
			{"mixed", "a desc , b ASC", ""},
			{"down", "a, b DESC", "no index begins with (a, b DESC)"},
			{"moods2", "m", ""},
			{"deep", "a", "floating point"},
			{"cash", "m", "money"},
			{"down", "a, b", ""},
			{"hashed", "h, a", "no index begins"},
			{"parent", "id", "not unique"},
			{"parts", "id", ""},
			{`"Camel"`, `"Id"`, ""},
			{"Camel", "Id", "no table"},
			{"GOOD", "ID", ""},
			{"amounts", "a", "floating point"},
			{"pg_class", "oid", ""},
			{"pg_catalog.pg_class", "oid", ""},
		},
		"mariadb": {
			{"moods", "m", "ENUM"},
			{"moods", "s", "SET"},
			{"part", "m", "not unique"},
			{"byprimary", "a, id", ""}, // InnoDB appends the primary key to the index on a
			{"ignored", "b", "no index begins"},
			{"nopad", "c", "NOPAD"},
			{"nopad", "v", ""},
			{"mixed", "a, b", "no index begins"},
			{"mixed", "a, b DESC", ""},
			{"seq1", "id", ""},
		},
	}
	withEachDB(t, func(t *testing.T, db database) {
		exec(t, db.DB, common...)
		exec(t, db.DB, special[db.name]...)
		for _, c := range append(checks, specialChecks[db.name]...) {
			q := onKey(db, c.from, strings.Split(c.key, ", ")...)
			err := q.Preflight(t.Context())
			switch {
			case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%s by (%s): got %v, want %q", c.from, c.key, err, c.want)
			case c.want != "" && !strings.HasPrefix(c.want, "no column") && !strings.HasPrefix(c.want, "no table") && !errors.Is(err, keyset.ErrKey):
				t.Errorf("%s by (%s): %v is not ErrKey", c.from, c.key, err)
			}
		}

		q := onKey(db, "good", "id")
		q.Where = "nope = 1"
		if err := q.Preflight(t.Context()); err == nil || !strings.Contains(err.Error(), "nope") {
			t.Errorf("an unknown column in Where: got %v", err)
		}
		q = onKey(db, "good", "id")
		q.Position = func(keyset.Key) keyset.Key { return keyset.Key{int64(-77)} }
		if err := q.Preflight(t.Context()); !errors.Is(err, keyset.ErrPosition) && !errors.Is(err, cursor.ErrDuplicateKey) {
			t.Errorf("a wrong Position: got %v", err)
		}
	})
}

// TestTableErrors shows what is said where there is nothing to read.
func TestTableErrors(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		exec(t, db.DB, "CREATE TABLE orders (id INTEGER, total INTEGER)", "CREATE VIEW big AS SELECT * FROM orders")
		for _, c := range []struct {
			name string
			key  []string
			want string
		}{
			{"order", nil, "no table order; there are"},
			{"nowhere.orders", nil, "no table nowhere.orders"},
			{"orders", nil, "no primary key; name the columns of a unique index"},
			{"big", nil, "no primary key"},
			{"orders", []string{"idd"}, "no column idd; there are id, total"},
			{"orders; DROP TABLE orders", nil, "no table"},
		} {
			_, err := keyset.OpenTable(t.Context(), db, db.dialect, c.name, c.key...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s by %v: got %v, want %q", c.name, c.key, err, c.want)
			}
		}
		q, err := keyset.OpenTable(t.Context(), db, db.dialect, "orders", "id")
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Select("id", "totl"); err == nil || !strings.Contains(err.Error(), "no column totl; there are total") {
			t.Errorf("got %v", err)
		}
		if err := q.Preflight(t.Context()); !errors.Is(err, keyset.ErrKey) {
			t.Errorf("a key that may be NULL: got %v", err)
		}
	})
}
