package cursor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ErrPosition says that the position of a row does not lead back to the row. The
// rows behind it would be missed, or come twice.
var ErrPosition = errors.New("cursor: a row is not found at its own position")

// A keyset is the key of a query as statements need it.
type keyset struct {
	columns []string          // qualified where that is possible
	types   []*sql.ColumnType // nil where the dialect does not need them
}

// typeOf returns the type of the ith column, nil if it is not known.
func (k *keyset) typeOf(i int) *sql.ColumnType {
	if k.types == nil {
		return nil
	}
	return k.types[i]
}

// keyset prepares the key columns. It asks the database for their types where the
// dialect needs them.
func (q *Query[T, P]) keyset(ctx context.Context) (*keyset, error) {
	k := &keyset{columns: q.keyColumns()}
	if q.Dialect.needsTypes() {
		types, err := q.columnTypes(ctx, strings.Join(k.columns, ", "))
		if err != nil {
			return nil, err
		}
		k.types = types
	}
	return k, nil
}

// keyColumns returns the key columns with the table's name or alias before them
// where From is one table. ORDER BY id means the column id of the result where
// there is one, and that can be another thing than the column of the table.
func (q *Query[T, P]) keyColumns() []string {
	keys := slices.Clone(q.Key)
	table, ok := parseFrom(q.Dialect, q.From)
	if !ok {
		return keys
	}
	for i, k := range keys {
		if plainName.MatchString(k) {
			keys[i] = table.alias + "." + strings.TrimSpace(k)
		}
	}
	return keys
}

// columnTypes returns what the database says of the columns of a select list.
func (q *Query[T, P]) columnTypes(ctx context.Context, columns string) ([]*sql.ColumnType, error) {
	rows, err := q.DB.QueryContext(ctx, q.source(columns)+q.where("1 = 0"), q.Args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	for rows.Next() { // none; some drivers report errors only here
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return types, rows.Close()
}

// pageSQL returns the statement that reads limit rows behind a position.
func (q *Query[T, P]) pageSQL(k *keyset, after *P, limit int) (string, []any, error) {
	return q.statement(k, q.columns(), after, q.Desc, limit, 0)
}

// statement returns the statement that reads limit rows behind a position and up
// to Until, in ascending or descending order, passing over the first skip.
func (q *Query[T, P]) statement(k *keyset, columns string, after *P, desc bool, limit, skip int) (string, []any, error) {
	s := &statement{q.Dialect, slices.Clone(q.Args)}
	behind, upTo := ">", "<="
	if q.Desc {
		behind, upTo = "<", ">="
	}
	low, err := q.condition(s, k, after, behind)
	if err != nil {
		return "", nil, err
	}
	high, err := q.condition(s, k, q.Until, upTo)
	if err != nil {
		return "", nil, err
	}
	text := q.source(columns) + q.where(low, high) + " ORDER BY " + order(k.columns, desc) + " LIMIT " + strconv.Itoa(limit)
	if skip > 0 {
		text += " OFFSET " + strconv.Itoa(skip)
	}
	return text, s.args, nil
}

// condition returns the comparison of the key with a position, "" for none, and
// adds the position's values to the statement's arguments.
func (q *Query[T, P]) condition(s *statement, k *keyset, pos *P, op string) (string, error) {
	if pos == nil {
		return "", nil
	}
	values, err := positionValues(*pos, len(q.Key))
	if err != nil {
		return "", fmt.Errorf("cursor: %s: %w", q.From, err)
	}
	for i, v := range values {
		if values[i], err = q.Dialect.argument(v, k.typeOf(i)); err != nil {
			return "", fmt.Errorf("cursor: %s, key column %s: %w", q.From, q.Key[i], err)
		}
	}
	value := func(i int) string { return q.Dialect.param(s.arg(values[i]), k.typeOf(i)) }
	if op == "=" {
		return compareRows(k.columns, op, value), nil
	}
	return q.Dialect.compare(k.columns, op, value), nil
}

// order returns the list for ORDER BY.
func order(columns []string, desc bool) string {
	if desc {
		return strings.Join(columns, " DESC, ") + " DESC"
	}
	return strings.Join(columns, ", ")
}

// checkPosition makes sure that the position of a row leads back to the row. It
// does so once a loop, and for each page where the database compares values of any
// type with each other (SQLite): one odd value would end the stream early there. Where
// no row behind the page was looked at, last is set: then another row at that
// position ends the stream.
func (r *reader[T, P]) checkPosition(ctx context.Context, pg *page[T, P], after *P, last bool) error {
	q := r.q
	last = last && pg.more
	if pg.last == nil || !last && r.checked && (q.Dialect != SQLite || q.table != nil) {
		return nil
	}
	pos := pg.last
	for range 3 {
		found, err := r.count(ctx, pos)
		if err != nil {
			return err
		}
		if last && found > 1 && pos == pg.last {
			pg.fail(len(pg.items)-1, errDuplicate(*pos))
			return nil
		}
		if found > 0 {
			r.checked = true
			return nil
		}
		// The row may have been deleted since. Try another one, read just now.
		if pos, err = r.first(ctx, after); pos == nil || err != nil {
			return err
		}
	}
	pg.fail(0, fmt.Errorf("%w: %s has no row where (%s) is (%s); Position must return the key as it is stored, "+
		"so select the key unconverted and scan it into types that keep every digit and byte",
		ErrPosition, q.From, strings.Join(q.Key, ", "), clip(*pos)))
	return nil
}

// count returns how many rows there are at a position, 2 for any more.
func (r *reader[T, P]) count(ctx context.Context, pos *P) (n int, err error) {
	s := &statement{r.q.Dialect, slices.Clone(r.q.Args)}
	equal, err := r.q.condition(s, r.keys, pos, "=")
	if err != nil {
		return 0, err
	}
	err = queryEach(ctx, r.q.DB, func(*sql.Rows) error { n++; return nil }, r.q.source("1")+r.q.where(equal)+" LIMIT 2", s.args...)
	return n, err
}

// first returns the position of the first row behind another, nil for none.
func (r *reader[T, P]) first(ctx context.Context, after *P) (*P, error) {
	text, args, err := r.q.pageSQL(r.keys, after, 1)
	if err != nil {
		return nil, err
	}
	var pg page[T, P]
	if err := r.scan(ctx, &pg, text, args); err != nil || len(pg.items) == 0 {
		return nil, err
	}
	pos := r.q.Position(pg.items[0])
	return &pos, nil
}

// checkResult refuses a key column of SQLite that the driver turns into a time. The
// stored text has many forms ("2006-01-02 15:04:05", with a T, with a zone), and
// what the driver writes for a time is another: compared as text, rows would be
// skipped in silence.
func (q *Query[T, P]) checkResult(rows *sql.Rows) error {
	if q.Dialect != SQLite || q.table != nil {
		return nil
	}
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	for _, t := range types {
		switch strings.ToUpper(t.DatabaseTypeName()) {
		case "DATE", "DATETIME", "TIMESTAMP":
		default:
			continue
		}
		for _, key := range q.Key {
			parts := nameParts.FindAllString(key, -1)
			if len(parts) > 0 && strings.EqualFold(unquote(parts[len(parts)-1]), t.Name()) {
				return fmt.Errorf("%w: drivers change the stored text of the %s column %s; select its text with +%s AS %s_text and scan that into a string",
					ErrPosition, t.DatabaseTypeName(), t.Name(), key, t.Name())
			}
		}
	}
	return nil
}
