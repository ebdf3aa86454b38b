package keyset

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// postgresCollation writes a collation down: its name, and what else is not said by that.
func postgresCollation(schema, name, definition, version string) (string, error) {
	var c struct {
		Provider, Collate, Ctype, Locale, Rules string
		Alike                                   bool // what is not the same may be equal
	}
	if err := json.Unmarshal([]byte(definition), &c); err != nil {
		return "", err
	}
	if schema == "pg_catalog" {
		schema = ""
	} else {
		schema += "."
	}
	texts := []string{schema + name}
	if texts[0] == "default" {
		texts[0] = ""
	}
	texts = append(texts, map[string]string{"i": "icu", "b": "builtin"}[c.Provider])
	if c.Provider == "c" || c.Locale == "" { // older servers have the locale of ICU there
		texts = append(texts, c.Collate, c.Ctype)
	}
	texts = append(texts, c.Locale, c.Rules)
	if c.Alike {
		texts = append(texts, "nondeterministic")
	}
	texts = slices.DeleteFunc(append(texts, version), func(s string) bool { return s == "" })
	return strings.Join(slices.Compact(texts), " "), nil
}

// postgresKeyTypes asks for the types of a key in a result. The server does not run the
// query for that: it sees that none of its rows is wanted.
func postgresKeyTypes(ctx context.Context, s *spec) ([]columnInfo, error) {
	columns := make([]columnInfo, len(s.key))
	types := make([]postgresType, len(s.key))
	list := make([]string, len(s.key))
	var oids []string
	var dest []any
	for i, k := range s.key {
		columns[i].name = strings.TrimSpace(k)
		if name, ok := parseColumn(s.dialect, k); ok {
			columns[i].name = name
		}
		list[i] = fmt.Sprintf("%s AS k%d", k, i)
		types[i].mod = -1
		oids = append(oids, fmt.Sprintf("pg_typeof(x.k%d)::oid::int8, (SELECT typcollation::int8 FROM pg_type WHERE oid = pg_typeof(x.k%[1]d))", i))
		dest = append(dest, &types[i].oid, &types[i].collation)
	}
	plain := *s
	plain.pin, plain.hint = "", ""
	from := " FROM (SELECT 1) AS o LEFT JOIN (" + plain.source(strings.Join(list, ", ")) + plain.condition("false") + ") AS x ON true"
	ask := func(list []string, dest []any) error {
		return queryEach(ctx, s.db, func(rows *sql.Rows) error { return rows.Scan(dest...) }, "SELECT "+strings.Join(list, ", ")+from, s.args...)
	}
	if err := ask(oids, dest); err != nil {
		return nil, err
	}
	var collations []string
	dest = nil
	for i := range types {
		if types[i].collation != 0 { // what has none cannot be asked for it
			collations = append(collations, fmt.Sprintf(collationOf, i))
			dest = append(dest, &types[i].collation)
		}
	}
	if len(collations) > 0 {
		if err := ask(collations, dest); err != nil {
			return nil, err
		}
	}
	orders, err := postgresOrders(ctx, s.db, types)
	if err != nil {
		return nil, err
	}
	for i := range orders {
		orders[i].describe(&columns[i])
	}
	return columns, nil
}

// collationOf is the SQL for the number of the collation that a value is sorted by, which
// PostgreSQL names as a statement would.
const collationOf = `COALESCE((SELECT c.oid::int8 FROM parse_ident(pg_collation_for(x.k%d)) p, pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
	WHERE c.collname = p[cardinality(p)] COLLATE "C" AND c.collencoding IN (-1, pg_char_to_encoding(getdatabaseencoding()))
		AND CASE cardinality(p) WHEN 1 THEN pg_collation_is_visible(c.oid) ELSE n.nspname = p[1] COLLATE "C" END), 0)`
