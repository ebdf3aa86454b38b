package keyset

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"strings"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/internal/paging"
)

// A Query reads the rows of a table, or of a join, in the order of a key, page by
// page: each page is a statement of its own, which begins behind the last row of
// the page before (keyset paging, also called the seek method). No page is more
// work than the first one.
//
// T is a row. P is the position of a row: one value where the key has one column,
// or a struct with a field for each key column, in order, or a [Key].
//
// Select, From, Where, Key and Hint are SQL and go into the statement as they are;
// never build them from what a user typed. Values belong into Args.
type Query[T, P any] struct {
	// DB runs the statements: a *sql.DB, *sql.Conn or *sql.Tx.
	DB Querier

	// Dialect is SQLite, Postgres or MySQL.
	Dialect Dialect

	// Select lists the columns to read. "" means all (*). Give a column that is
	// converted another name than a key column has, or qualify the key (t.id):
	// otherwise a database sorts by the converted one.
	Select string

	// From is a table, with an alias or without, or a join.
	From string

	// Where is a condition; "" means all rows. It may have placeholders, in the
	// dialect's form: ? for SQLite and MySQL, $1, $2 … for Postgres. It is put in
	// parentheses, so an OR needs none.
	Where string

	// Args are the values of the placeholders in From and Where. Select has none: the
	// key is also looked up without it.
	Args []any

	// Key lists the columns that the rows are ordered by. Together they must be
	// unique, each must be NOT NULL, and an index must begin with them in this order.
	// [Query.Preflight] looks whether that is so. A column may have DESC behind it,
	// where the index has it the other way round than the others: "a", "b DESC". Pages
	// of such a key read a group of rows that are equal in the first column from its
	// beginning in PostgreSQL and SQLite, so such groups should be small there.
	Key []string

	// Desc reads from the highest key to the lowest.
	Desc bool

	// Scan reads the row that rows stands at. What it returns must not alias the
	// driver's memory: no sql.RawBytes. It is called for one row at a time, in the
	// loop's goroutine or in another one.
	Scan func(rows *sql.Rows) (T, error)

	// Position returns the position of a row: the values of its key columns as they
	// were read.
	Position func(T) P

	// Bytes returns about how many bytes a row takes, which bounds the bytes of a page:
	// see [cursor.PageConfig]. nil means that it is not known.
	Bytes func(T) int

	// Until is the last position to include. nil means that the end is the end. With
	// Page.Follow the stream ends when a row at or behind Until is there and all before it
	// have come; where that row is deleted before it was seen, the next one behind it does.
	Until *P

	// Hint is an index hint, put behind From: FORCE INDEX (PRIMARY) for MySQL,
	// INDEXED BY name for SQLite. One that begins with /* is put behind SELECT.
	Hint string

	// Page says how pages are read.
	Page cursor.PageConfig
}

// A Range is a part of a query's rows: those behind After, up to and including
// Until. nil means from the start, and to the end.
type Range[P any] struct{ After, Until *P }

// Stream streams the rows behind a position, nil for all of them.
//
// Every row that is there from the beginning to the end, and whose key does not
// change, comes exactly once. A row that is inserted meanwhile comes if its key is
// behind the reader's position when its page is read, and that is never the case
// for a lower one that is committed late: see [Query.Latest].
//
// The first page is read whole before the first of its rows is handed over, and so is
// every page in a transaction, on a *sql.Conn, on a pool of one connection, and of
// SQLite. Where the loop is quicker than the reading, the next pages are open: their
// rows are handed over while the statement runs. A loop that holds an open page for
// longer than Page.Hold has the rest of it read into memory beside its body, so the
// body may wait for as long as it likes, and use the same pool.
//
// The end of ctx is yielded at once while a kept page is read. The rows of an open page are
// read in the loop's goroutine, where it is up to the driver to end its wait when ctx ends.
// With one that does not, set Page.Hold to -1.
//
// Stream looks one row past each page, or, where rows are large, for another
// one at its last position: two rows with the same position end the stream with
// [cursor.ErrDuplicateKey], and neither is handed over. Where no index proves that the key
// is unique, the database is asked whether two rows of a page have equal keys to it.
// Positions that the database does not find again, such as times that the driver writes
// in another form than the stored one, end it with [ErrPosition], those that come again with
// [cursor.ErrStalled], and a key whose type or
// collation has changed meanwhile with [cursor.ErrMismatch]. A page that the server ends
// by its time limit (statement_timeout, max_statement_time) is read in halves. An error of
// Scan is final and comes after the rows before it. It panics where a field that it needs is missing, or where P does not
// fit Key.
//
// Ends: behind Until or at the end of the table, at an error, or when ctx ends.
// Owns: one goroutine and one connection while a page is read or open; both are free when the loop ends.
// Reads ahead: the rest of the page, and with Prefetch one more page.
// Reuse: always; it reads the database anew.
func (q Query[T, P]) Stream(ctx context.Context, after *P) iter.Seq2[T, error] {
	spec := q.spec()
	q.Until = paging.Clone(q.Until)
	return stream(ctx, spec, q.Page, paging.Clone(after), q.Until, q.reader)
}

// reader returns what reads the pages of one loop.
func (q *Query[T, P]) reader(spec *spec) *reader[T, P] {
	rows := &sqlReader[T]{spec: spec, scan: q.Scan, bytes: q.Bytes}
	return &reader[T, P]{spec: spec, position: func(row *T) P { return q.Position(*row) }, equal: paging.EqualFor[P](), bytes: q.Bytes, open: rows.open, free: rows.free}
}

// Preflight looks whether the query can be read safely, before the first row. It
// runs the query for one row, and where From is one table it asks the catalog. The
// error Is [ErrKey] where a column of the key may be NULL, is of a type that cannot be
// trusted (floating point, money, a composite; ENUM, SET, and CHAR under a NOPAD collation
// in MySQL and MariaDB), where the key is not unique, or where no index begins
// with its columns in this order. Partial indexes, indexes on expressions and those
// of another collation do not count. The driver of MySQL and MariaDB reads and writes times
// in a zone of its own (loc): one with summer time is refused for a key of times. It Is [ErrSession] where settings of the session
// would change what is read.
//
// What it cannot tell: of a join, a view, or a key with an expression no catalog
// says whether it is unique and indexed. There it looks for a NULL in the rows that
// are there now, and leaves duplicates to [Query.Stream], which stops at them. It
// does so, too, for a primary key of SQLite that is not declared NOT NULL.
//
// It panics where Stream does.
func (q Query[T, P]) Preflight(ctx context.Context) error {
	spec := q.spec()
	if err := spec.preflight(ctx); err != nil {
		return err
	}
	return firstPage(ctx, spec, q.Until, q.reader)
}

// Latest returns the position of the last row in the query's order that is safe as
// Until: no transaction that is open now can still commit a row before it. It is
// nil where there is no row. The query's own Until does not count.
//
// Ids are given out when a row is inserted, and rows can be seen when they are
// committed. So a reader that follows the ids can pass a lower one that is
// committed later, and never see it. Latest waits until every transaction that has
// written to the table has ended, and reads the last key while no other can write:
// under a SHARE lock in PostgreSQL, a READ lock in MySQL and MariaDB, and the
// write lock in SQLite. It waits for 5 s at most, and fails then. Writers wait as
// long as Latest does, since they queue behind it.
//
// Its limits: it speaks of rows that are inserted with keys that grow. Sequences
// that hand out numbers in blocks (CACHE in PostgreSQL, one block a session), keys
// that a trigger or an update changes, and clocks of several machines can place a
// row before the last one at any time later; no lock tells.
//
// From must be one table, and Where must look at no other in MySQL and MariaDB. DB
// must be a *sql.DB or *sql.Conn without a transaction, and the user must be allowed
// to lock the table (in PostgreSQL, to write to it).
func (q Query[T, P]) Latest(ctx context.Context) (*P, error) { return latest[P](ctx, q.spec()) }

// Split cuts the query's rows into at most n ranges of the same number of rows, to
// within one, in the query's order. Where there are fewer rows than n, there are
// fewer ranges, and one at least. The first range has no After; the last one ends
// at the query's Until. Run each as
//
//	part := q
//	part.Until = r.Until
//	for row, err := range part.Stream(ctx, r.After) { … }
//
// The database computes the bounds from the rows that are there, so gaps in the
// keys and keys that crowd together make no difference. It counts the rows, then
// walks along the key, which reads an index that begins with the key once each.
// Rows that come and go meanwhile move the bounds a little; they are still in
// exactly one range.
//
// It panics where n is below 1.
func (q Query[T, P]) Split(ctx context.Context, n int) ([]Range[P], error) {
	return split(ctx, q.spec(), q.Until, n)
}

// Fingerprint identifies what the query reads, in every process and on every
// machine alike: From, Where, Args, Key, Desc and Select. Until, Page and Hint may
// change without harm to a position, and Dialect and DB are taken for granted. Give
// it to [cursor.WithFingerprint], and a checkpoint of another query is refused.
//
// An argument counts with its value and kind: the integer 1 and the text "1" are
// different, int and int64 are not. It panics where an argument has no value that
// is the same in every process, such as a function or a channel.
//
// The types and collations of the key's columns belong to it, since rows have another
// order when they change: the database is asked for them, under a time limit of 10 s. In
// PostgreSQL, what enums, domains and collations are made of stands beside their names, and
// so does what the names in the query stand for by the search path, and the settings by
// which its literals are understood. Where it cannot be asked, the fingerprint says so instead. Without
// DB it is not asked.
func (q Query[T, P]) Fingerprint() string {
	text := fingerprint(q.From, q.Where, q.Select, q.Desc, q.Key, q.Args)
	if q.DB == nil || q.Dialect == nil {
		return text
	}
	s := &spec{db: q.DB, dialect: q.Dialect.dialect(), columns: q.Select, from: q.From, where: q.Where, hint: q.Hint, args: q.Args, key: make([]string, len(q.Key))}
	for i, k := range q.Key {
		s.key[i], _ = splitDirection(k)
	}
	return text + s.keySuffix()
}

// spec returns what the query's statements are made of. It panics where the query
// cannot be run, whatever the database says.
func (q *Query[T, P]) spec() *spec {
	fail := func(what string) { panic("keyset.Query: " + what) }
	switch {
	case q.DB == nil:
		fail("DB must not be nil")
	case q.Dialect == nil:
		fail("Dialect must be SQLite, Postgres or MySQL, got nil")
	case strings.TrimSpace(q.From) == "":
		fail("From must not be empty")
	case len(q.Key) == 0:
		fail("Key must name at least one column")
	case q.Scan == nil:
		fail("Scan must not be nil")
	case q.Position == nil:
		fail("Position must not be nil")
	}
	for i, k := range q.Key {
		if strings.TrimSpace(k) == "" {
			fail(fmt.Sprintf("column %d of Key must not be empty", i+1))
		}
	}
	if wrong := checkPosition[P](len(q.Key)); wrong != "" {
		fail(wrong)
	}
	checkPage("keyset.Query", q.Page)
	key, down := make([]string, len(q.Key)), make([]bool, len(q.Key))
	for i, k := range q.Key {
		key[i], down[i] = splitDirection(k)
	}
	down, desc := normalDirections(down, q.Desc)
	columns := q.Select
	if columns == "" {
		columns = "*"
	}
	return &spec{
		stage: "keyset.Query", db: q.DB, dialect: q.Dialect.dialect(),
		columns: columns, from: q.From, where: q.Where, hint: q.Hint, args: q.Args, key: key, down: down, desc: desc,
	}
}
