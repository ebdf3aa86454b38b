package cursor

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Row is a row of a table that is not known at compile time. It is the
// receiver's: nothing in it is overwritten later. Columns is shared by all rows and
// must not be changed.
type Row struct {
	Columns []string // the names of the columns
	Values  []any    // their values: nil for NULL, int64, uint64, float32, float64, bool, string, []byte or time.Time
	Key     Key      // the row's position
}

// Table returns the query that reads a table which is not known at compile time,
// all columns of all rows. The columns of the key may be given, and are the table's
// primary key else. Set Where, Desc, Until, Hint and Page of the query as needed;
// [Columns] narrows it to some columns.
//
// name is a table or a view, "schema.table" where it is not in the schema in use.
// It and the key are names, not SQL: they are looked up in the catalog and quoted.
// For a view the key must be given. SQLite's rowid may be given as the key; where
// it has no INTEGER PRIMARY KEY as its name, VACUUM may number the rows anew.
//
// Values come as the database has them: integers as int64 (uint64 above that),
// text as string, binary data as []byte, and a type that Go has not as the
// database's text for it: decimals, UUIDs, dates, intervals, JSON, arrays.
// Times come as time.Time from PostgreSQL's timestamp types (44 BC is the year -43,
// and infinity is text), and as the stored or printed text from SQLite and MariaDB,
// whatever the driver is told to make of them. BIT of MariaDB is an integer.
//
// It is an error where there is no such table or column, and where the table has no
// primary key and none is given.
func Table(ctx context.Context, db Querier, d Dialect, name string, key ...string) (Query[Row, Key], error) {
	if db == nil {
		panic("cursor.Table: db must not be nil")
	}
	if d == nil {
		panic("cursor.Table: the dialect must be SQLite, Postgres or MySQL, got nil")
	}
	table, info, err := findTable(ctx, db, d, name)
	if err != nil {
		return Query[Row, Key]{}, err
	}
	if len(key) == 0 {
		key = info.primaryKey()
	}
	if len(key) == 0 {
		return Query[Row, Key]{}, fmt.Errorf("cursor: table %s has no primary key; name the columns of a unique index, all of them NOT NULL, as the key", name)
	}
	layout := &tableLayout{dialect: d, alias: table.alias, table: name, info: info}
	for _, k := range key {
		c, err := layout.find(k)
		if err != nil {
			return Query[Row, Key]{}, err
		}
		layout.key = append(layout.key, *c)
	}
	q := Query[Row, Key]{
		DB:       db,
		Dialect:  d,
		From:     table.text,
		Position: func(r Row) Key { return r.Key },
	}
	for _, c := range layout.key {
		q.Key = append(q.Key, layout.qualified(c))
	}
	layout.choose(info.names())
	layout.use(&q)
	return q, nil
}

// Columns narrows a query made by [Table] to the named columns, in this order. The
// key is read with them and need not be among them. It is an error where the table
// has no such column. It panics where the query is not Table's.
func Columns(q Query[Row, Key], names ...string) (Query[Row, Key], error) {
	if q.table == nil {
		panic("cursor.Columns: the query must be one that Table returned")
	}
	if len(names) == 0 {
		panic("cursor.Columns: there must be at least one column")
	}
	old := q.table
	layout := &tableLayout{dialect: old.dialect, alias: old.alias, table: old.table, info: old.info, key: old.key}
	var found []string
	for _, name := range names {
		c, err := layout.find(name)
		if err != nil {
			return q, err
		}
		found = append(found, c.name)
	}
	layout.choose(found)
	layout.use(&q)
	return q, nil
}

// findTable looks a table up: under the name as it is, then, where the name has a
// dot, as schema.table.
func findTable(ctx context.Context, db Querier, d Dialect, name string) (tableName, *tableInfo, error) {
	candidates := []tableName{{name: name}}
	schema, rest, dotted := strings.Cut(name, ".")
	if dotted {
		candidates = append(candidates, tableName{schema: schema, name: rest})
	}
	for _, t := range candidates {
		t.alias = d.Quote(t.name)
		t.text = t.alias
		if t.schema != "" {
			t.text = d.Quote(t.schema) + "." + t.alias
		}
		info, err := d.describe(ctx, db, t)
		if err == nil {
			return t, info, nil
		}
		if !errors.Is(err, errNoTable) {
			return t, nil, fmt.Errorf("cursor: describe table %s: %w", name, err)
		}
	}
	if !dotted {
		schema, rest = "", name
	}
	return tableName{}, nil, noTable(ctx, db, d, name, schema, rest)
}

// noTable says that there is no such table, and which there are.
func noTable(ctx context.Context, db Querier, d Dialect, given, schema, name string) error {
	names, err := d.tables(ctx, db, schema)
	if err != nil {
		return fmt.Errorf("cursor: no table %s: %w", given, err)
	}
	return fmt.Errorf("cursor: no table %s; %s", given, near(name, names))
}

// A cellKind is what becomes of a column's values as the driver gives them.
type cellKind int

const (
	asGiven   cellKind = iota
	asText             // bytes become a string
	asBytes            // a string becomes bytes
	asInteger          // digits become an int64, or a uint64 where it is above that
	asFloat32          // a float64 becomes the float32 that it was made of
	asStored           // a time is refused: the driver has changed the stored text
)

// A tableLayout says how the columns of a table are read into a Row.
type tableLayout struct {
	dialect Dialect
	table   string // for messages
	alias   string
	info    *tableInfo

	key     []columnInfo
	names   []string     // of Row.Columns
	columns []columnInfo // as selected: first those of Row.Columns, then the rest of the key
	keyAt   []int        // where the columns of the key are among them
	pool    sync.Pool    // of *rowScanner
}

// find returns a column by its name.
func (l *tableLayout) find(name string) (*columnInfo, error) {
	if c := l.info.column(name); c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("cursor: table %s has no column %s; %s", l.table, name, near(name, l.info.names()))
}

// qualified returns a column for use in a statement, so that it cannot be taken for
// a column of the result with the same name.
func (l *tableLayout) qualified(c columnInfo) string {
	return l.alias + "." + l.dialect.Quote(c.name)
}

// choose lays out the columns that are read.
func (l *tableLayout) choose(names []string) {
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
		if l.dialect == SQLite {
			l.columns[at].kind = asStored
		}
		l.keyAt = append(l.keyAt, at)
	}
}

// use makes q read as laid out.
func (l *tableLayout) use(q *Query[Row, Key]) {
	q.table = l
	q.Scan = l.scan
	q.Bytes = rowBytes
	var list []string
	for _, c := range l.columns {
		list = append(list, fmt.Sprintf(c.format, l.qualified(c))+" AS "+l.dialect.Quote(c.name))
	}
	q.Select = strings.Join(list, ", ")
}

// rowsPerSlab is for how many rows memory is allocated at once. A row that is kept
// keeps the values of its neighbours.
const rowsPerSlab = 32

// largeRow is the size from which on that would cost too much: such a row shares its
// memory with no later one, and its key, which outlives it as a position, with none.
const largeRow = 64 << 10

// A rowScanner is what scanning a row needs beside the row. It serves one row after
// another of the same result.
type rowScanner struct {
	rows  *sql.Rows
	dest  []any
	cells []cell
	slab  []any
}

// scan reads a row. It may be called by several loops at once.
func (l *tableLayout) scan(rows *sql.Rows) (Row, error) {
	s, _ := l.pool.Get().(*rowScanner)
	if s == nil {
		s = &rowScanner{dest: make([]any, len(l.columns)), cells: make([]cell, len(l.columns))}
	}
	defer func() {
		if s.slab != nil { // else s has the driver's copy of a large row
			l.pool.Put(s)
		}
	}()
	if s.rows != rows {
		names, err := rows.Columns()
		if err != nil {
			return Row{}, err
		}
		if err := l.checkColumns(names); err != nil {
			return Row{}, err
		}
		s.rows = rows
	}
	values, key := l.cut(&s.slab)
	for i := range values {
		if kind := l.columns[i].kind; kind == asGiven {
			s.dest[i] = &values[i] // Scan copies bytes into an any
		} else {
			s.cells[i] = cell{&values[i], kind}
			s.dest[i] = &s.cells[i]
		}
	}
	if err := rows.Scan(s.dest...); err != nil {
		return Row{}, err
	}
	return l.row(values, key, &s.slab)
}

// cut cuts room for a row's values and its key off a slab.
func (l *tableLayout) cut(slab *[]any) (values []any, key Key) {
	n, need := len(l.columns), len(l.columns)+len(l.key)
	if len(*slab) < need {
		*slab = make([]any, need*rowsPerSlab)
	}
	values, key = (*slab)[:n:n], Key((*slab)[n:need:need])
	*slab = (*slab)[need:]
	return values, key
}

// row returns the row that has these values, with the key that is among them. A
// large one gives up the rest of the slab.
func (l *tableLayout) row(values []any, key Key, slab *[]any) (Row, error) {
	for i, at := range l.keyAt {
		key[i] = values[at]
		switch v := key[i].(type) {
		case nil:
			return Row{}, fmt.Errorf("the key column %s is NULL in a row; choose key columns that are NOT NULL", l.key[i].name)
		case []byte:
			key[i] = append([]byte{}, v...) // the consumer may change the row's value
		}
	}
	n := len(l.names)
	row := Row{Columns: l.names, Values: values[:n:n], Key: key}
	if rowBytes(row) >= largeRow {
		row.Key, *slab = slices.Clone(key), nil
	}
	return row, nil
}

// checkColumns refuses a result that is not laid out as l is.
func (l *tableLayout) checkColumns(names []string) error {
	if !slices.EqualFunc(names, l.columns, func(name string, c columnInfo) bool { return name == c.name }) {
		return errors.New("the columns are not those of the table; leave Select and Scan as Table made them, and choose columns with cursor.Columns")
	}
	return nil
}

// A cell is a sql.Scanner for a value that must not stay as the driver gives it.
type cell struct {
	to   *any
	kind cellKind
}

// Scan implements sql.Scanner.
func (c *cell) Scan(src any) (err error) {
	*c.to, err = c.kind.value(src)
	return err
}

// value returns what becomes of src, which may be the driver's memory.
func (k cellKind) value(src any) (any, error) {
	switch v := src.(type) {
	case []byte:
		switch k {
		case asText:
			return string(v), nil
		case asInteger: // a driver's form of integers that are too large for int64
			return strconv.ParseUint(string(v), 10, 64)
		}
		return bytes.Clone(v), nil
	case string:
		if k == asBytes {
			return []byte(v), nil
		}
	case float64:
		if k == asFloat32 {
			return float32(v), nil
		}
	case uint64:
		if k == asInteger && v <= math.MaxInt64 {
			return int64(v), nil
		}
	case time.Time:
		if k == asStored {
			return nil, fmt.Errorf("%w: the driver turns the stored text into a time; open the database without that option (_texttotime)", ErrPosition)
		}
	}
	return src, nil
}
