package keyset

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// A layout says how the columns of a table are read into a Row.
type layout struct {
	dialect *dialect
	table   string // for messages
	alias   string
	info    *tableInfo

	key     []columnInfo
	names   []string     // of Row.Columns
	columns []columnInfo // as selected: first those of Row.Columns, then the rest of the key
	keyAt   []int        // where the columns of the key are among them

	conversions []conversion // of columns
	pool        sync.Pool    // of *rowScanner
}

// find returns a column by its name.
func (l *layout) find(name string) (*columnInfo, error) {
	if c := l.info.column(name); c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("keyset: table %s has no column %s; %s", l.table, name, near(name, l.info.names()))
}

// qualified returns a column for use in a statement, so that it cannot be taken for
// a column of the result with the same name.
func (l *layout) qualified(c columnInfo) string {
	return l.alias + "." + l.dialect.Quote(c.name)
}

// hasMoney reports whether a column's text depends on the currency of the session.
func (l *layout) hasMoney() bool {
	return slices.ContainsFunc(l.columns, func(c columnInfo) bool { return c.money })
}

// hasZoned reports whether a column is read in the time zone of the session.
func (l *layout) hasZoned() bool {
	return slices.ContainsFunc(l.columns, func(c columnInfo) bool { return c.zoned })
}

// choose lays out the columns that are read.
func (l *layout) choose(names []string) {
	l.names = names
	for _, name := range names {
		l.columns = append(l.columns, *l.info.column(name))
	}
	for _, k := range l.key {
		at := slices.Index(names, k.name)
		if at < 0 {
			at = len(l.columns)
			l.columns = append(l.columns, k)
		}
		if l.dialect.storedKeys {
			l.columns[at].conversion = asStored
		}
		l.keyAt = append(l.keyAt, at)
	}
	for _, c := range l.columns {
		l.conversions = append(l.conversions, c.conversion)
	}
}

// selectList returns the columns as a statement has them.
func (l *layout) selectList() string {
	list := make([]string, len(l.columns))
	for i, c := range l.columns {
		list[i] = fmt.Sprintf(c.format, l.qualified(c)) + " AS " + l.dialect.Quote(c.name)
	}
	return strings.Join(list, ", ")
}

// rowsPerSlab is for how many rows memory is allocated at once. A row that is kept
// keeps the values of its neighbours.
const rowsPerSlab = 32

// largeRow is the size from which on that would cost too much: such a row shares its
// memory with no later one, and its key, which outlives it as a position, with none.
const largeRow = 64 << 10

// cut cuts the memory of a row's values and its key off a slab.
func (l *layout) cut(slab *[]any) (values []any, key Key) {
	n, need := len(l.columns), len(l.columns)+len(l.key)
	if len(*slab) < need {
		*slab = make([]any, need*rowsPerSlab)
	}
	values, key = (*slab)[:n:n], Key((*slab)[n:need:need])
	*slab = (*slab)[need:]
	return values, key
}

// A converter makes rows of what a driver gives. It serves one loop.
type converter struct {
	*layout
	encode func(dst []byte, values []any) ([]byte, error) // or nil
	reuse  bool
	slab   []any
	values []any  // of the row in hand, where it is encoded
	texts  []Text // what it has lent of them
	buf    []byte // what it is encoded into, unless its memory is used again
}

// convert makes row a row of the driver's values, which are valid only until the next one,
// and returns about how many bytes it holds. Where the memory of rows is used again and row
// is one of this layout, its memory is.
func (c *converter) convert(row *Row, from []driver.Value) (size int, err error) {
	if c.encode != nil {
		return c.encoded(row, from)
	}
	if !c.reuse || cap(row.Values) != len(c.columns) || len(row.Key) != len(c.key) {
		values, key := c.cut(&c.slab)
		*row = Row{Columns: c.names, Values: values[:len(c.names)], Key: key}
	}
	values := row.Values[:len(c.columns)]
	size = wordSize * (len(values) + len(row.Key))
	for i, v := range from {
		if v, err = own(v); err != nil {
			return 0, err
		}
		if how := c.conversions[i]; how != asGiven {
			if v, err = how.apply(v); err != nil {
				return 0, err
			}
		} else if b, ok := v.([]byte); ok {
			v = bytes.Clone(b)
		}
		values[i] = v
		switch v := v.(type) {
		case string:
			size += len(v)
		case []byte:
			size += len(v)
		}
	}
	if err := c.fillKey(row.Key, values); err != nil {
		return 0, err
	}
	if size >= largeRow {
		c.detach(row, &c.slab)
	}
	return size, nil
}

// encoded is convert where rows are encoded: of the values only the key is kept.
func (c *converter) encoded(row *Row, from []driver.Value) (size int, err error) {
	if c.values == nil {
		c.values, c.texts = make([]any, len(c.columns)), make([]Text, len(c.columns))
	}
	for i, v := range from {
		if how := c.conversions[i]; how != asGiven {
			if v, err = c.lend(i, how, v); err != nil {
				return 0, err
			}
		}
		c.values[i] = v
	}
	if !c.reuse || len(row.Key) != len(c.key) {
		*row = Row{Columns: c.names, Key: make(Key, len(c.key))}
	}
	if err := c.fillKey(row.Key, c.values); err != nil {
		return 0, err
	}
	into := c.buf
	if c.reuse {
		into = row.Encoded
	}
	into, err = c.encode(into[:0], c.values[:len(c.names)])
	if err != nil {
		return 0, err
	}
	if c.reuse {
		row.Encoded = into
	} else {
		row.Encoded, c.buf = bytes.Clone(into), into
	}
	return len(into) + wordSize*len(row.Key), nil
}

// lend applies a conversion to a value of the driver's that need not keep.
func (c *converter) lend(i int, how conversion, v any) (any, error) {
	switch v := v.(type) {
	case driver.Valuer:
		return v, nil
	case []byte:
		if how == asText {
			c.texts[i] = v
			return &c.texts[i], nil
		}
	}
	return how.apply(v)
}

// fillKey sets a key to what the values have for it.
func (l *layout) fillKey(key Key, values []any) error {
	for i, at := range l.keyAt {
		v := values[at]
		if lent, ok := v.(*Int); ok { // as most keys are
			key[i] = int64(*lent)
			continue
		}
		v, err := own(v)
		if err != nil {
			return err
		}
		switch v := v.(type) {
		case nil:
			return fmt.Errorf("the key column %s is NULL in a row; choose key columns that are NOT NULL", l.key[i].name)
		case []byte:
			key[i] = append([]byte{}, v...) // the consumer may change the row's value
		default:
			key[i] = v
		}
	}
	return nil
}

// detach is for a large row: it gives up the rest of the slab, and its key gets memory of
// its own.
func (l *layout) detach(row *Row, slab *[]any) { row.Key, *slab = slices.Clone(row.Key), nil }

// check refuses a result that is not laid out as l is.
func (l *layout) check(names []string) error {
	same := func(name string, c columnInfo) bool {
		return name == c.name || name == strings.TrimLeft(c.name, " ") // as MariaDB calls it in a result
	}
	if !slices.EqualFunc(names, l.columns, same) {
		return errors.New("the columns are not those that the table had when it was opened; was it altered? Open it again")
	}
	return nil
}

// A rowScanner is what scanning a row needs beside the row. It serves one row after
// another of the same result.
type rowScanner struct {
	rows  *sql.Rows
	dest  []any
	cells []cell
	slab  []any
}

// scan reads a row through package sql. It may be called by several loops at once.
func (l *layout) scan(rows *sql.Rows) (Row, error) {
	s, _ := l.pool.Get().(*rowScanner)
	if s == nil {
		s = &rowScanner{dest: make([]any, len(l.columns)), cells: make([]cell, len(l.columns))}
	}
	defer func() {
		if s.slab != nil { // otherwise s has the driver's copy of a large row
			l.pool.Put(s)
		}
	}()
	if s.rows != rows {
		names, err := rows.Columns()
		if err != nil {
			return Row{}, err
		}
		if err := l.check(names); err != nil {
			return Row{}, err
		}
		s.rows = rows
	}
	values, key := l.cut(&s.slab)
	for i := range values {
		if c := l.conversions[i]; c == asGiven {
			s.dest[i] = &values[i] // Scan copies bytes into an any
		} else {
			s.cells[i] = cell{&values[i], c}
			s.dest[i] = &s.cells[i]
		}
	}
	if err := rows.Scan(s.dest...); err != nil {
		return Row{}, err
	}
	if err := l.fillKey(key, values); err != nil {
		return Row{}, err
	}
	row := Row{Columns: l.names, Values: values[:len(l.names)], Key: key}
	if rowBytes(row) >= largeRow {
		l.detach(&row, &s.slab)
	}
	return row, nil
}
