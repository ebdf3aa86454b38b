package cursor

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrKey says that rows cannot be read safely in the order of a key.
var ErrKey = errors.New("cursor: the key does not fit")

// Preflight looks whether the query can be read safely, before the first row. It
// runs the query for one row, and where From is one table it asks the catalog. The
// error Is [ErrKey] where a column of the key may be NULL, is a floating point
// number, an ENUM or a SET, where the key is not unique, or where no index begins
// with its columns in this order. Partial indexes, indexes on expressions and those
// of another collation do not count.
//
// What it cannot tell: of a join, a view, or a key with an expression no catalog
// says whether it is unique and indexed. There it looks for a NULL in the rows that
// are there now, and leaves duplicates to [Query.Stream], which stops at them. It
// does so, too, for a primary key of SQLite that is not declared NOT NULL.
//
// It panics where Stream does.
func (q Query[T, P]) Preflight(ctx context.Context) error {
	q.check()
	table, single := parseFrom(q.Dialect, q.From)
	if single {
		info, err := q.Dialect.describe(ctx, q.DB, table)
		switch {
		case errors.Is(err, errNoTable):
			return noTable(ctx, q.DB, q.Dialect, q.From, table.schema, table.name)
		case err != nil:
			return q.explain(err)
		}
		if err := q.checkKey(ctx, info); err != nil {
			return err
		}
	} else if err := q.checkUnknown(ctx); err != nil {
		return err
	}
	r := &reader[T, P]{q: &q, equal: equalFor[P]()}
	pg, err := r.page(ctx, nil, 1, nil)
	if err != nil {
		return err
	}
	return pg.err
}

// checkKey looks at the key of a query on one table.
func (q *Query[T, P]) checkKey(ctx context.Context, info *tableInfo) error {
	var key []string
	maybe := false
	for _, k := range q.Key {
		name, ok := parseColumn(q.Dialect, k)
		if !ok {
			return q.checkUnknown(ctx) // an expression
		}
		c := info.column(name)
		switch {
		case c == nil:
			return fmt.Errorf("cursor: %s has no column %s; %s", q.From, name, near(name, info.names()))
		case c.inexact:
			return q.badKey("%s is a floating point number (%s), and two that print alike may differ; use an exact type", name, c.typ)
		case c.enum:
			return q.badKey("%s is an ENUM or SET (%s), which is sorted in one way and compared in another; use a text or number", name, c.typ)
		case !info.view && !c.notNull && !c.maybe:
			return q.badKey("%s may be NULL, and no row comes after NULL; declare it NOT NULL", name)
		}
		maybe = maybe || c.maybe
		key = append(key, c.name)
	}
	if info.view || maybe {
		if err := q.checkUnknown(ctx); err != nil {
			return err
		}
	}
	if info.view {
		return nil
	}
	columns := strings.Join(key, ", ")
	if !info.isUnique(key) {
		return q.badKey("(%s) is not unique: no unique index has these columns only; add the columns of the primary key", columns)
	}
	if !info.isOrdered(key) {
		return q.badKey("no index begins with (%s) in this order, so that each page would sort the whole table; CREATE INDEX … (%[1]s), or choose a key that has one", columns)
	}
	return nil
}

// checkUnknown looks at the key where the catalog does not know it: at the types of
// the result and at the rows that are there.
func (q *Query[T, P]) checkUnknown(ctx context.Context) error {
	columns := q.keyColumns()
	types, err := q.columnTypes(ctx, strings.Join(columns, ", "))
	if err != nil {
		return q.explain(err)
	}
	for i, t := range types {
		switch name := strings.ToUpper(t.DatabaseTypeName()); {
		case strings.HasPrefix(name, "FLOAT"), strings.HasPrefix(name, "DOUBLE"), strings.HasPrefix(name, "REAL"):
			return q.badKey("%s is a floating point number (%s), and two that print alike may differ; use an exact type", q.Key[i], name)
		case name == "ENUM", name == "SET":
			return q.badKey("%s is an %s, which is sorted in one way and compared in another; use a text or number", q.Key[i], name)
		}
	}
	isNull := strings.Join(columns, " IS NULL OR ") + " IS NULL"
	found, err := queryAny(ctx, q.DB, q.source("1")+q.where(isNull)+" LIMIT 1", q.Args...)
	if err != nil {
		return q.explain(err)
	}
	if found {
		return q.badKey("(%s) is NULL in a row, and no row comes after NULL; choose columns that are NOT NULL", strings.Join(q.Key, ", "))
	}
	return nil
}

// badKey says why the key does not fit.
func (q *Query[T, P]) badKey(format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrKey, q.From, fmt.Sprintf(format, args...))
}
