package keyset

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/internal/paging"
)

// A Row is a row of a table that is not known at compile time. It is the
// receiver's: nothing in it is overwritten later, unless [Table].Reuse is set. Columns
// is shared by all rows and must not be changed.
type Row struct {
	Columns []string // the names of the columns
	Values  []any    // their values: nil for NULL, int64, uint64, float32, float64, bool, string, []byte or time.Time
	Key     Key      // the row's position
	Encoded []byte   // what Table.Encode has made of the values, which are left out then
}

// A Table reads a table that is not known at compile time, all columns of all rows.
// [OpenTable] returns it, or [OpenQuery] for a query; Select narrows it to some columns, and its fields may be set
// before it is read. While it is read it must not be changed; a copy may be.
//
// Values come as the database has them: integers as int64 (uint64 above that),
// text as string, binary data as []byte, and types that Go lacks as the
// database's text for them: decimals, UUIDs, dates, intervals, JSON, arrays, and the
// number of what names an object of PostgreSQL's catalog (regclass). That text is the same
// in every session: dates are ISO, and a TIMESTAMP of MariaDB is in UTC. Times come as time.Time from PostgreSQL's timestamp types (44 BC is the year -43,
// and infinity is text), and as the stored or printed text from SQLite and MariaDB,
// whatever the driver is told to make of them. BIT of MariaDB is an integer.
//
// Rows are read from the driver itself where the Querier is a *sql.DB or a *sql.Conn,
// which takes less time than through sql.Rows and gives the same rows.
type Table struct {
	Where string // as in Query: a condition, or "" for all rows
	Args  []any  // the values of its placeholders
	Desc  bool   // from the highest key to the lowest
	Until *Key   // as in Query: the last position to include; nil means that the end is the end
	Hint  string // as in Query: an index hint

	// Page says how pages are read.
	Page cursor.PageConfig

	// Reuse has the memory of a row's Values and Key used again once the loop has come
	// back for the next row. [cursor.Track] copies the positions that it keeps; whoever
	// keeps a row copies it.
	Reuse bool

	// Encode, where it is set, appends a row to dst in the form that it is to be written in,
	// and returns the longer slice. The row then has that as its Encoded, and no Values:
	// what is only written down need not be kept as values first. It is called once for each row,
	// while a page is read, one row after another; an error ends the stream. It must not keep
	// values, nor what it finds there: it is valid until Encode returns. Beside the types that
	// Values has there are, of a driver that is a [Lender], that driver's own.
	Encode func(dst []byte, values []any) ([]byte, error)

	db       Querier
	from     string
	key      []string // as statements have it
	down     []bool   // which columns of the key go down
	layout   *layout
	identity string // of the key, where the catalog does not tell
}

// OpenTable looks a table or a view up in the catalog. name is "schema.table" where it
// is not in the schema in use. The columns of the key may be given; otherwise it is the
// table's primary key. For a view they must be. name and key are names, not SQL: they
// are quoted. Where a part of name has dots of its own, name may have quotes as SQL does:
// "schema"."a.table", with no other part left without. Where the index of the key has its
// columns in different directions, such as PRIMARY KEY (a, b DESC), the rows come in that
// order; a column of the key may also be given with DESC behind its name. SQLite's rowid
// may be given as the key; where it has no INTEGER PRIMARY KEY as its name, VACUUM may
// number the rows anew. So may PostgreSQL's ctid, the place of a row on the disk, which an
// update changes, and VACUUM FULL for all rows; a page behind one is read fast only where
// Until is near.
//
// It is an error where there is no such table or column, and one that Is [ErrKey] where
// the table has no primary key and none is given.
func OpenTable(ctx context.Context, db Querier, d Dialect, name string, key ...string) (*Table, error) {
	if db == nil {
		panic("keyset.OpenTable: db must not be nil")
	}
	if d == nil {
		panic("keyset.OpenTable: the dialect must be SQLite, Postgres or MySQL, got nil")
	}
	table, info, err := findTable(ctx, db, d.dialect(), name)
	if err != nil {
		return nil, err
	}
	if len(key) == 0 {
		key = info.primaryKey()
	}
	if len(key) == 0 {
		return nil, fmt.Errorf("%w: table %s has no primary key; name the columns of a unique index, all of them NOT NULL, as the key", ErrKey, name)
	}
	l := &layout{dialect: d.dialect(), alias: table.alias, table: name, info: info}
	t := &Table{db: db, from: table.text, layout: l}
	if err := t.order(key); err != nil {
		return nil, err
	}
	l.choose(info.names())
	if err := t.identify(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// identify asks how a key is compared that is not a table's.
func (t *Table) identify(ctx context.Context) error {
	if !t.layout.info.unsure {
		return nil
	}
	s := t.spec()
	err := s.session(ctx)
	if err == nil {
		var facts keyFacts
		facts, err = s.resultFacts(ctx)
		t.identity = facts.identity
	}
	if err != nil {
		return fmt.Errorf("keyset: describe the key of %s: %w", t.from, err)
	}
	return nil
}

// order sets the columns of the key.
func (t *Table) order(key []string) error {
	l := t.layout
	var names []string
	told := false
	for _, k := range key {
		down := false
		if l.info.column(k) == nil {
			if column, desc := splitDirection(k); l.info.column(column) != nil {
				k, down, told = column, desc, true
			}
		}
		c, err := l.find(k)
		if err != nil {
			return err
		}
		names = append(names, c.name)
		l.key = append(l.key, *c)
		t.key = append(t.key, l.qualified(*c))
		t.down = append(t.down, down)
	}
	if !told {
		t.down = l.info.naturalDirections(names)
	}
	return nil
}

// Select narrows the table to the named columns, in this order. The key is read with
// them and need not be among them. It is an error where the table has no such column,
// and then nothing is changed.
func (t *Table) Select(columns ...string) error {
	if len(columns) == 0 {
		panic("keyset.Table.Select: there must be at least one column")
	}
	old := t.layout
	l := &layout{dialect: old.dialect, alias: old.alias, table: old.table, info: old.info, key: old.key}
	var found []string
	for _, name := range columns {
		c, err := l.find(name)
		if err != nil {
			return err
		}
		found = append(found, c.name)
	}
	l.choose(found)
	t.layout = l
	return nil
}

// Columns returns the names of the columns that a row has.
func (t *Table) Columns() []string { return slices.Clone(t.layout.names) }

// Key returns the names of the columns of the key.
func (t *Table) Key() []string {
	names := make([]string, len(t.layout.key))
	for i, c := range t.layout.key {
		names[i] = c.name
	}
	return names
}

// From returns the table as a statement names it.
func (t *Table) From() string { return t.from }

// ColumnTypes asks the database about the columns that a row has, and checks Where on
// the way. It reads no row.
func (t *Table) ColumnTypes(ctx context.Context) ([]*sql.ColumnType, error) {
	s := t.spec()
	types, err := s.columnTypes(ctx, s.columns)
	if err != nil {
		return nil, s.explain(err)
	}
	return types[:len(t.layout.names)], nil
}

// Position returns the position of a row, for [cursor.Track].
func (t *Table) Position(r Row) Key { return r.Key }

// Stream streams the rows behind a position, nil for all of them. It does what
// [Query.Stream] does.
//
// Ends: behind Until or at the end of the table, at an error, or when ctx ends.
// Owns: one goroutine and one connection while a page is read or open; both are free when the loop ends.
// Reads ahead: the rest of the page, and with Prefetch one more page.
// Reuse: always; it reads the database anew.
func (t *Table) Stream(ctx context.Context, after *Key) iter.Seq2[Row, error] {
	return stream(ctx, t.spec(), t.Page, paging.Clone(after), paging.Clone(t.Until), t.reader)
}

// Preflight looks whether the table can be read safely, as [Query.Preflight] does.
func (t *Table) Preflight(ctx context.Context) error {
	spec := t.spec()
	if err := spec.preflight(ctx); err != nil {
		return err
	}
	return firstPage(ctx, spec, t.Until, t.reader)
}

// Latest returns the last position that is safe as Until: see [Query.Latest].
func (t *Table) Latest(ctx context.Context) (*Key, error) { return latest[Key](ctx, t.spec()) }

// Split cuts the rows into at most n ranges of the same size: see [Query.Split].
//
//	part := *table
//	part.Until = r.Until
//	for row, err := range part.Stream(ctx, r.After) { … }
func (t *Table) Split(ctx context.Context, n int) ([]Range[Key], error) {
	return split(ctx, t.spec(), t.Until, n)
}

// Fingerprint identifies what is read: see [Query.Fingerprint]. The types and collations of
// the key are those that OpenTable found. The database is only asked what the names in a
// query or in Where stand for, by PostgreSQL's search path.
func (t *Table) Fingerprint() string {
	s := t.spec()
	return fingerprint(t.from, t.Where, t.layout.selectList(), t.Desc, withDirections(t.key, t.down), t.Args) + s.facts.suffix() + s.nameSuffix()
}

// spec returns what the table's statements are made of.
func (t *Table) spec() *spec {
	if t.layout == nil {
		panic("keyset.Table: it must be one that OpenTable or OpenQuery returned")
	}
	checkPage("keyset.Table", t.Page)
	down, desc := normalDirections(t.down, t.Desc)
	s := &spec{
		stage: "keyset.Table", db: t.db, dialect: t.layout.dialect, layout: t.layout,
		columns: t.layout.selectList(), from: t.from, where: t.Where, hint: t.Hint, args: t.Args, key: t.key, down: down, desc: desc,
	}
	facts := s.keyFacts(t.layout.info)
	if t.layout.info.unsure {
		facts.identity = t.identity
	}
	s.facts = &facts
	return s
}

// reader returns what reads the pages of one loop.
func (t *Table) reader(spec *spec) *reader[Row, Key] {
	rows := &sqlReader[Row]{spec: spec, scan: t.scan(spec.layout), bytes: rowBytes}
	r := &reader[Row, Key]{spec: spec, position: func(row *Row) Key { return row.Key }, equal: Key.Equal, bytes: rowBytes, reuse: t.Reuse, free: rows.free}
	direct := newDriverReader(spec, converter{layout: spec.layout, encode: t.Encode, reuse: t.Reuse})
	r.open = func(ctx context.Context, text string, args []any) (source[Row], error) {
		if direct != nil {
			src, err := direct.open(ctx, text, args)
			if !errors.Is(err, errors.ErrUnsupported) {
				return src, err
			}
			direct = nil
		}
		return rows.open(ctx, text, args)
	}
	return r
}

// scan returns what reads a row through package sql.
func (t *Table) scan(l *layout) func(*sql.Rows) (Row, error) {
	encode := t.Encode
	if encode == nil {
		return l.scan
	}
	return func(rows *sql.Rows) (Row, error) {
		row, err := l.scan(rows)
		if err == nil {
			row.Encoded, err = encode(nil, row.Values)
			row.Values = nil
		}
		return row, err
	}
}

// findTable looks a table up: under the name as it is, then, where the name has a
// dot, as schema.table.
func findTable(ctx context.Context, db Querier, d *dialect, name string) (tableName, *tableInfo, error) {
	candidates := []tableName{{name: name}}
	schema, rest, dotted := strings.Cut(name, ".")
	if parts := quotedParts(name); len(parts) > 0 {
		schema, rest, dotted = "", parts[len(parts)-1], true
		if len(parts) == 2 {
			schema = parts[0]
		}
	}
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
			if t.schema == "" && info.schema != "" { // so that another search path makes no other table of it
				t.text = d.Quote(info.schema) + "." + t.alias
			}
			return t, info, nil
		}
		if !errors.Is(err, errNoTable) {
			return t, nil, fmt.Errorf("keyset: describe table %s: %w", name, err)
		}
	}
	if !dotted {
		schema, rest = "", name
	}
	return tableName{}, nil, noTable(ctx, db, d, name, schema, rest)
}

// noTable says that there is no such table, and which there are.
func noTable(ctx context.Context, db Querier, d *dialect, given, schema, name string) error {
	names, err := d.tables(ctx, db, schema)
	if err != nil {
		return fmt.Errorf("keyset: no table %s: %w", given, err)
	}
	return fmt.Errorf("keyset: no table %s; %s", given, near(name, names))
}
