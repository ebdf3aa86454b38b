package keyset

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// askKey asks for something about each column of a key that no catalog knows of, in a
// statement with one row, however many the result has: the columns are called k1, k2 … there.
func (s *spec) askKey(ctx context.Context, columns string, scan func(*sql.Rows) error) error {
	inner := *s
	inner.prefix = ""
	list := make([]string, len(s.key))
	for i, k := range s.qualifiedKey() {
		list[i] = fmt.Sprintf("%s AS k%d", k, i+1)
	}
	return queryEach(ctx, s.db, scan, s.prefix+"SELECT "+columns+" FROM (SELECT 1 AS one) o LEFT JOIN ("+
		inner.source(strings.Join(list, ", "))+inner.condition("1 = 0")+") q ON 1 = 1", s.args...)
}

// askEach is askKey where each column is asked for one text, in which %[1]s stands for it.
func (s *spec) askEach(ctx context.Context, format string) ([]string, error) {
	texts, dest, list := make([]string, len(s.key)), make([]any, len(s.key)), make([]string, len(s.key))
	for i := range s.key {
		dest[i] = &texts[i]
		list[i] = fmt.Sprintf(format, fmt.Sprintf("q.k%d", i+1))
	}
	err := s.askKey(ctx, strings.Join(list, ", "), func(rows *sql.Rows) error { return rows.Scan(dest...) })
	return texts, err
}

// postgresIdentify names types and collations as postgresColumns does. The collation comes
// with its version: the rows are sorted by the one that the server has loaded.
func postgresIdentify(ctx context.Context, s *spec) ([]string, error) {
	return s.askEach(ctx, `(SELECT CASE WHEN n.nspname = 'pg_catalog' THEN format_type(t.oid, NULL) ELSE quote_ident(n.nspname) || '.' || quote_ident(t.typname) END
			FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = pg_typeof(%[1]s)::oid) ||
		COALESCE((SELECT ' ' || CASE WHEN c.collname = 'default' THEN (SELECT datcollate::text FROM pg_database WHERE datname = current_database())
				ELSE c.collname::text END || COALESCE(' ' || NULLIF(pg_collation_actual_version(c.oid), ''), '')
			FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
			WHERE c.collencoding IN (-1, (SELECT encoding FROM pg_database WHERE datname = current_database()))
				AND CASE WHEN pg_collation_is_visible(c.oid) THEN '' ELSE quote_ident(n.nspname) || '.' END || quote_ident(c.collname) =
					CASE WHEN (SELECT t.typcollation <> 0 FROM pg_type t WHERE t.oid = pg_typeof(%[1]s)::oid) THEN pg_collation_for(%[1]s) COLLATE "C" END), '')`)
}

// mysqlIdentify names types as the driver does. A TIMESTAMP of a Query is compared in the
// time zone of the session.
func mysqlIdentify(ctx context.Context, s *spec) ([]string, error) {
	types, err := s.columnTypes(ctx, strings.Join(s.qualifiedKey(), ", "))
	if err != nil {
		return nil, err
	}
	texts, err := s.askEach(ctx, "COALESCE(COLLATION(%[1]s), '')")
	if err != nil {
		return nil, err
	}
	for i, t := range types {
		name := strings.ToLower(t.DatabaseTypeName())
		if texts[i] == "binary" {
			texts[i] = ""
		}
		texts[i] = strings.TrimSpace(name + " " + texts[i])
		if name == "timestamp" && s.layout == nil {
			texts[i] += " at " + s.zone
		}
	}
	return texts, err
}
