package keyset

import (
	"slices"
	"strings"
)

// A tableInfo is what the catalog says of a table.
type tableInfo struct {
	view    bool   // or anything else of which the catalog does not tell keys
	unsure  bool   // it does not tell how the values of a column are compared
	fold    bool   // the case of names does not matter
	schema  string // that it is in; "" where a name stands for the same in every session
	columns []columnInfo
	indexes []indexInfo // that can be read in order and have every row
}

// A columnInfo is what the catalog says of a column.
type columnInfo struct {
	name       string
	typ        string // as the database writes it
	notNull    bool
	maybe      bool       // not declared NOT NULL, but part of a primary key: SQLite lets NULLs in
	primary    int        // place in the primary key, from 1; 0 if it is not in it
	inexact    bool       // floating point
	enum       bool       // ENUM or SET of MySQL, which are not compared as they are sorted
	padded     bool       // sorted padded with blanks, compared without them
	composite  bool       // a row, of which PostgreSQL cannot be given one to compare with
	money      bool       // its text is in the currency of the session
	zoned      bool       // an instant that is read and compared in the session's time zone
	identity   string     // type and collation, in every session the same
	collation  string     // as MySQL calls it
	frame      string     // identity but for the labels of enums, "" where there are none
	labels     []string   // of the enums in its type, in their order
	base       string     // the type that it is compared as where that is not its own
	arrays     bool       // it is an array, or has one in it
	cast       string     // the type that a parameter beside it is cast to; "" where that may change it
	implicit   bool       // not part of SELECT *: SQLite's rowid
	format     string     // how Table selects it, with %s for its name
	conversion conversion // what Table makes of its values
}

// An indexInfo is an index of whole columns on all rows.
type indexInfo struct {
	name    string
	primary bool          // it is the primary key's
	unique  bool          // in its columns that are not extra
	ignored bool          // it keeps rows unique, but is not read in order
	hash    bool          // it is ignored since it is in no order
	columns []indexColumn // in order
}

// An indexColumn is a column of an index.
type indexColumn struct {
	name  string
	desc  bool
	extra bool // not declared: the rest of the primary key, which the database appends
	other bool // sorted in another way than the column is by default
	alike bool // though so, what is equal in the one way is so in the other

	collation string // where that is known of indexes only
}

// column returns a column by its name, nil if there is none.
func (t *tableInfo) column(name string) *columnInfo {
	i := slices.IndexFunc(t.columns, func(c columnInfo) bool { return c.name == name })
	if i < 0 && t.fold {
		i = slices.IndexFunc(t.columns, func(c columnInfo) bool { return strings.EqualFold(c.name, name) })
	}
	if i < 0 {
		return nil
	}
	return &t.columns[i]
}

// names returns the names of the columns that SELECT * has.
func (t *tableInfo) names() []string {
	var names []string
	for _, c := range t.columns {
		if !c.implicit {
			names = append(names, c.name)
		}
	}
	return names
}

// primaryKey returns the columns of the primary key in order.
func (t *tableInfo) primaryKey() []string {
	var key []string
	for place := 1; ; place++ {
		i := slices.IndexFunc(t.columns, func(c columnInfo) bool { return c.primary == place })
		if i < 0 {
			return key
		}
		key = append(key, t.columns[i].name)
	}
}

// isUnique reports whether a unique index has no other columns than these.
func (t *tableInfo) isUnique(key []string) bool {
	return slices.ContainsFunc(t.indexes, func(x indexInfo) bool {
		return x.unique && !slices.ContainsFunc(x.columns, func(c indexColumn) bool {
			return !c.extra && (c.other && !c.alike || !slices.Contains(key, c.name))
		})
	})
}

// isOrdered reports whether an index begins with these columns in this order, and in
// these directions or all of them the other way round: an index can be read both ways.
func (t *tableInfo) isOrdered(key []string, down []bool) bool {
	return slices.ContainsFunc(t.indexes, func(x indexInfo) bool {
		found := x.directions(key)
		return found != nil && slices.Equal(found, relative(down))
	})
}

// isHashed reports whether an index on this key is in no order.
func (t *tableInfo) isHashed(key []string) bool {
	return slices.ContainsFunc(t.indexes, func(x indexInfo) bool {
		x.ignored = false
		return x.hash && x.directions(key) != nil
	})
}

// sortedOtherwise says which index would do for a key if it were not sorted in another way
// than the columns are; "" where there is none.
func (t *tableInfo) sortedOtherwise(key []string) string {
	for _, x := range t.indexes {
		plain := x
		plain.columns = slices.Clone(x.columns)
		for i := range plain.columns {
			plain.columns[i].other = false
		}
		if plain.directions(key) != nil && x.directions(key) == nil && !x.ignored {
			return " (" + x.name + " is sorted in another way: by NULLS FIRST or LAST, an operator class or a collation that are not the column's own)"
		}
	}
	return ""
}

// directions returns which columns of a key go down in an index that begins with them,
// where the first goes up; nil where it does not begin with them.
func (x *indexInfo) directions(key []string) []bool {
	if x.ignored || len(x.columns) < len(key) {
		return nil
	}
	down := make([]bool, len(key))
	for i, name := range key {
		c := x.columns[i]
		if c.name != name || c.other {
			return nil
		}
		down[i] = c.desc
	}
	return relative(down)
}

// relative returns directions as they are where the first goes up.
func relative(down []bool) []bool {
	all := slices.Clone(down)
	for i := range all {
		all[i] = down[i] != down[0]
	}
	return all
}

// naturalDirections returns the directions that an index gives to a key: all up where
// there is an index that way, otherwise those of one that has its columns mixed.
func (t *tableInfo) naturalDirections(key []string) []bool {
	up := make([]bool, len(key))
	if t.isOrdered(key, up) {
		return up
	}
	for _, x := range t.indexes {
		if down := x.directions(key); down != nil {
			return down
		}
	}
	return up
}
