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
