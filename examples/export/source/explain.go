package source

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// Explain returns the SQL of the first page, and what the database makes of it; "" for a
// table in no order, which has no pages.
func (s *Source) Explain(ctx context.Context, t *Table) (text string, plan []string, err error) {
	if t.Order == NoOrder {
		return "", nil, nil
	}
	text, args, err := t.Statement(ctx, nil)
	if err != nil {
		return "", nil, err
	}
	// MariaDB takes settings for one statement before its verb.
	settings, rest := "", text
	if i := strings.Index(text, " FOR SELECT "); s.System == MySQL && strings.HasPrefix(text, "SET STATEMENT ") && i > 0 {
		settings, rest = text[:i+len(" FOR ")], text[i+len(" FOR "):]
	}
	verb := "EXPLAIN "
	if s.System == SQLite {
		verb = "EXPLAIN QUERY PLAN "
	}
	rows, err := s.QueryContext(ctx, settings+verb+rest, args...)
	if err != nil {
		return "", nil, fmt.Errorf("explain the first page: %w", err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return "", nil, err
	}
	values := make([]sql.NullString, len(names))
	dest := make([]any, len(names))
	for i := range values {
		dest[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return "", nil, err
		}
		switch s.System {
		case Postgres:
			plan = append(plan, values[0].String)
		case SQLite:
			plan = append(plan, values[len(values)-1].String)
		default:
			var fields []string
			for i, v := range values {
				if v.Valid && v.String != "" {
					fields = append(fields, names[i]+"="+v.String)
				}
			}
			plan = append(plan, strings.Join(fields, " "))
		}
	}
	return rest, plan, rows.Err()
}
