package keyset

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// A Querier runs queries: *sql.DB, *sql.Conn and *sql.Tx are Queriers.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// A Dialect knows what differs between databases. There are three: [SQLite],
// [Postgres] and [MySQL], which is MariaDB's, too.
type Dialect interface {
	// Name returns "sqlite", "postgres" or "mysql".
	Name() string

	// Placeholder returns what stands for the nth argument of a statement, from 1.
	Placeholder(n int) string

	// Quote returns a name as an identifier, whatever characters it has.
	Quote(name string) string

	dialect() *dialect
}

// The dialects.
var (
	// SQLite is for SQLite 3.37 or newer.
	SQLite Dialect = &sqlite
	// Postgres is for PostgreSQL. Drivers that number placeholders ($1) fit.
	Postgres Dialect = &postgres
	// MySQL is for MySQL and MariaDB.
	MySQL Dialect = &mysql
)

// A dialect is what a Dialect knows.
type dialect struct {
	name     string
	quote    string // around identifiers
	numbered bool   // placeholders are $1, $2, … and not ?

	// streams says that others can write while a statement is open.
	streams bool

	// lazy says that the driver reads no more of a result than it is asked for.
	lazy bool

	// prepares says that the driver prepares a statement anew each time that it is run,
	// without keeping it.
	prepares bool

	// mixesTypes says that a column may hold values of any type, which are compared with
	// each other.
	mixesTypes bool

	// needsTypes says that argument and param need the column's type, and checkTypes refuses
	// types of the key that cannot be trusted.
	needsTypes bool
	checkTypes func(ctx context.Context, s *spec, types []*sql.ColumnType) error

	// keyFormat is how a key column is selected whose type is not known, with %s for its
	// name, and keyConversion what becomes of its values. storedKeys says that a key has
	// to come as it is stored, whatever the column is declared as.
	keyFormat     string
	keyConversion func(*sql.ColumnType) conversion
	storedKeys    bool

	// compare returns the condition that the key is behind a position, with the
	// operator > or <, or at it, too, with >= or <=. value adds the ith value of the
	// position to the statement's arguments and returns what stands for it.
	compare func(key []string, op string, value func(i int) string) string

	// session sees to it that the session's settings do not change what a spec reads, or
	// refuses it. nil where there are no such settings.
	session func(ctx context.Context, s *spec) error

	// keySession does so for what only matters to the key, whose facts are known by then; nil
	// where that is nothing.
	keySession func(ctx context.Context, s *spec) error

	// arrange changes how the columns of a key stand in statements, where they would be
	// compared in another way than they are sorted, and sets the guard; nil where there is
	// nothing to do.
	arrange func(ctx context.Context, s *spec) error

	// identify asks how the columns of a key are compared that are not a table's: it returns
	// the type and collation of each. nil where there is keyTypes.
	identify func(ctx context.Context, s *spec) ([]string, error)

	// argument returns a value of a position as the driver must be given it. column
	// is nil where the type of the column is not known.
	argument func(v any, column *sql.ColumnType) (any, error)

	// bound refuses a value of a position that would not be compared as it was read; nil
	// where there is none.
	bound func(s *spec, i int, v any) error

	// param returns what compares a parameter with a column exactly: the placeholder
	// itself, or a cast around it.
	param func(placeholder string, column *sql.ColumnType) string

	// ident returns an identifier, as a statement has it, as the catalog has it.
	ident func(string) string

	// describe reads the catalog. It returns errNoTable where there is no such table.
	describe func(ctx context.Context, db Querier, table tableName) (*tableInfo, error)

	// read fills in how a Table reads a column of a query's result, by what the driver
	// calls its type.
	read func(c *columnInfo)

	// keyTypes asks the database what the columns of a key are of, where From is not one
	// table; nil where no database says enough of that.
	keyTypes func(ctx context.Context, s *spec) ([]columnInfo, error)

	// meaning returns what the names in a text stand for, where that can be another thing in
	// another session; nil where it cannot.
	meaning func(ctx context.Context, db Querier, text string) (string, error)

	// tables lists the tables and views in a schema, "" for the one in use.
	tables func(ctx context.Context, db Querier, schema string) ([]string, error)

	// barrier calls read at a moment when no open transaction has written to the
	// table, and none can begin to.
	barrier func(ctx context.Context, db Querier, table tableName, read func(Querier) error) error

	// checkResult refuses columns of the key that the driver changes; nil where there
	// are none. key are the names of the columns, as the catalog has them.
	checkResult func(columns []*sql.ColumnType, key []string) error
}

func (d *dialect) dialect() *dialect { return d }

func (d *dialect) Name() string { return d.name }

func (d *dialect) Placeholder(n int) string {
	if d.numbered {
		return fmt.Sprintf("$%d", n)
	}
	return "?"
}

func (d *dialect) Quote(name string) string {
	return quoteWith(d.quote, name)
}

// quoteWith puts a name into quotes, and doubles those that it has.
func quoteWith(quote, name string) string {
	return quote + strings.ReplaceAll(name, quote, quote+quote) + quote
}

// plainParam is the param of dialects that compare exactly by themselves.
func plainParam(placeholder string, _ *sql.ColumnType) string { return placeholder }

// compareRows compares rows: (a, b) > ($1, $2). PostgreSQL and SQLite begin to read
// their index at that very place.
func compareRows(key []string, op string, value func(i int) string) string {
	values := make([]string, len(key))
	for i := range key {
		values[i] = value(i)
	}
	if len(key) == 1 {
		return key[0] + " " + op + " " + values[0]
	}
	return "(" + strings.Join(key, ", ") + ") " + op + " (" + strings.Join(values, ", ") + ")"
}

// compareColumns compares column by column: a > ? OR (a = ? AND b > ?). MySQL and
// MariaDB begin to read their index at that place, while for a row comparison
// they read the whole index up to it.
func compareColumns(key []string, op string, value func(i int) string) string {
	return compareEach(key, make([]bool, len(key)), op, value)
}

// compareMixed is for a key whose columns do not all go the way of the first. The bound
// of that is what an index can be searched for by PostgreSQL and SQLite.
func compareMixed(key []string, down []bool, op string, value func(i int) string) string {
	return fmt.Sprintf("%s %s= %s AND (%s)", key[0], op[:1], value(0), compareEach(key, down, op, value))
}

var opposite = map[string]string{">": "<", "<": ">", ">=": "<=", "<=": ">="}

// compareEach compares column by column, those that go down the other way round.
func compareEach(key []string, down []bool, op string, value func(i int) string) string {
	last := len(key) - 1
	var text strings.Builder
	for i := range key {
		if i > 0 {
			text.WriteString(" OR (")
		}
		for j := range i {
			fmt.Fprintf(&text, "%s = %s AND ", key[j], value(j))
		}
		way := op
		if down[i] {
			way = opposite[op]
		}
		if i < last {
			way = way[:1] // only the whole key may be equal
		}
		fmt.Fprintf(&text, "%s %s %s", key[i], way, value(i))
		if i > 0 {
			text.WriteString(")")
		}
	}
	return text.String()
}

// queryStrings returns the single column of a query.
func queryStrings(ctx context.Context, db Querier, query string, args ...any) ([]string, error) {
	var all []string
	err := queryEach(ctx, db, func(rows *sql.Rows) error {
		var s string
		err := rows.Scan(&s)
		all = append(all, s)
		return err
	}, query, args...)
	return all, err
}

// queryEach calls scan for each row of a query.
func queryEach(ctx context.Context, db Querier, scan func(*sql.Rows) error, query string, args ...any) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return rows.Close()
}

// queryAny reports whether a query has a row.
func queryAny(ctx context.Context, db Querier, query string, args ...any) (bool, error) {
	found := false
	err := queryEach(ctx, db, func(*sql.Rows) error { found = true; return nil }, query, args...)
	return found, err
}
