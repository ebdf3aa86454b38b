package keyset

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrKey says that rows cannot be read safely in the order of a key.
var ErrKey = errors.New("keyset: the key does not fit")

// ErrSession says that settings of the session would change what is read, and that this
// package cannot see to it: it changes no session that is not its own.
var ErrSession = errors.New("keyset: the session does not fit")

// preflight looks whether a query can be read safely, before the first row.
func (s *spec) preflight(ctx context.Context) error {
	if err := s.session(ctx); err != nil {
		return s.explain(err)
	}
	table, single := parseFrom(s.dialect, s.from)
	if !single {
		return s.checkUnknown(ctx)
	}
	info, err := s.dialect.describe(ctx, s.db, table)
	switch {
	case errors.Is(err, errTemporary):
		return s.checkUnknown(ctx)
	case errors.Is(err, errNoTable):
		return noTable(ctx, s.db, s.dialect, s.from, table.schema, table.name)
	case err != nil:
		return s.explain(err)
	}
	return s.checkKey(ctx, info)
}

// checkKey looks at the key of a query on one table.
func (s *spec) checkKey(ctx context.Context, info *tableInfo) error {
	var key []string
	maybe := false
	for _, k := range s.key {
		name, ok := parseColumn(s.dialect, k)
		if !ok {
			return s.checkUnknown(ctx) // an expression
		}
		c := info.column(name)
		switch {
		case c == nil:
			return fmt.Errorf("keyset: %s has no column %s; %s", s.from, name, near(name, info.names()))
		case c.inexact:
			return s.badKey("%s is a floating point number (%s), and two that print alike may differ; use an exact type", name, c.typ)
		case c.enum:
			return s.badKey("%s is an ENUM or SET (%s), which is sorted in one way and compared in another; use a text or number", name, c.typ)
		case c.padded:
			return s.badKey("%s is a %s under a NOPAD collation (%s), which is sorted padded with blanks and compared without; use a VARCHAR, or a collation that pads", name, c.typ, c.identity)
		case c.composite:
			return s.badKey("%s is a row of its own (%s), and no such value can be compared with; use the columns that are in it", name, c.typ)
		case c.money:
			return s.badKey("%s is money, whose text is in the currency of the session; use a numeric", name)
		case !info.view && !c.notNull && !c.maybe:
			return s.badKey("%s may be NULL, and no row comes after NULL; declare it NOT NULL", name)
		}
		maybe = maybe || c.maybe
		key = append(key, c.name)
	}
	if info.view || maybe {
		if err := s.checkUnknown(ctx); err != nil {
			return err
		}
	}
	if info.view {
		return nil
	}
	columns := strings.Join(withDirections(key, s.down), ", ")
	if !info.isUnique(key) {
		return s.badKey("(%s) is not unique: no unique index has these columns only; add the columns of the primary key", columns)
	}
	if !info.isOrdered(key, s.down) {
		if info.isHashed(key) {
			return s.badKey("the index of (%s) is USING HASH, which is in no order, so that each page would sort the whole table; CREATE INDEX … USING BTREE (%[1]s)", columns)
		}
		return s.badKey("no index begins with (%s) in this order%s, so that each page would sort the whole table; CREATE INDEX … (%[1]s), or choose a key that has one",
			columns, info.sortedOtherwise(key))
	}
	return nil
}

// checkUnknown looks at the key where the catalog does not know it: at the types of
// the result and at the rows that are there.
func (s *spec) checkUnknown(ctx context.Context) error {
	columns := s.qualifiedKey()
	types, err := s.columnTypes(ctx, strings.Join(columns, ", "))
	if err != nil {
		return s.explain(err)
	}
	for i, t := range types {
		switch name := strings.ToUpper(t.DatabaseTypeName()); {
		case strings.HasPrefix(name, "FLOAT"), strings.HasPrefix(name, "DOUBLE"), strings.HasPrefix(name, "REAL"):
			return s.badKey("%s is a floating point number (%s), and two that print alike may differ; use an exact type", s.key[i], name)
		case name == "MONEY", name == "790": // as a driver has it that does not know the type
			return s.badKey("%s is money, whose text is in the currency of the session; use a numeric", s.key[i])
		case name == "ENUM", name == "SET":
			return s.badKey("%s is an %s, which is sorted in one way and compared in another; use a text or number", s.key[i], name)
		}
	}
	isNull := strings.Join(columns, " IS NULL OR ") + " IS NULL"
	found, err := queryAny(ctx, s.db, s.source("1")+s.condition(isNull)+" LIMIT 1", s.args...)
	if err != nil {
		return s.explain(err)
	}
	if found {
		return s.badKey("(%s) is NULL in a row, and no row comes after NULL; choose columns that are NOT NULL", strings.Join(s.key, ", "))
	}
	return nil
}

// badKey says why the key does not fit.
func (s *spec) badKey(format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrKey, s.from, fmt.Sprintf(format, args...))
}

// withDirections returns the columns of a key, with DESC behind those that go down.
func withDirections(key []string, down []bool) []string {
	all := make([]string, len(key))
	for i, k := range key {
		if all[i] = k; down[i] {
			all[i] += " DESC"
		}
	}
	return all
}
