package cursor

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// A Query reads the rows of a table, or of a join, in the order of a key, page by
// page: each page is a statement of its own, which begins behind the last row of
// the page before (keyset paging, also called the seek method). No page is more
// work than the first one, and no connection is held while the consumer works.
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
	// converted another name than a key column has, or qualify the key (t.id): a
	// database sorts by the converted one else.
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
	// [Query.Preflight] looks whether that is so.
	Key []string

	// Desc reads from the highest key to the lowest.
	Desc bool

	// Scan reads the row that rows stands at. What it returns must not alias the
	// driver's memory: no sql.RawBytes. It is called for one row at a time, in a
	// goroutine of its own.
	Scan func(rows *sql.Rows) (T, error)

	// Position returns the position of a row: the values of its key columns as they
	// were read.
	Position func(T) P

	// Bytes returns about how many bytes a row takes, which bounds the bytes of a page:
	// see [PageConfig].Bytes. nil means that it is not known; [Table] sets it.
	Bytes func(T) int

	// Until is the last position to include. nil means that the end is the end.
	Until *P

	// Hint is an index hint, put behind From: FORCE INDEX (PRIMARY) for MySQL,
	// INDEXED BY name for SQLite. One that begins with /* is put behind SELECT.
	Hint string

	// Page says how pages are read.
	Page PageConfig

	// table describes the table where Table made the query: its columns are read and
	// bound as their types need.
	table *tableLayout
}

// A Range is a part of a query's rows: those behind After, up to and including
// Until. nil means from the start, and to the end.
type Range[P any] struct{ After, Until *P }

// check panics where the query cannot be run, whatever the database says.
func (q *Query[T, P]) check() {
	fail := func(what string) { panic("cursor.Query: " + what) }
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
	q.Page.check("Query")
}

// Stream streams the rows behind a position, nil for all of them.
//
// Every row that is there from the beginning to the end, and whose key does not
// change, comes exactly once. A row that is inserted meanwhile comes if its key is
// behind the reader's position when its page is read, and that is never the case
// for a lower one that is committed late: see [Query.Latest].
//
// The rows of a page are read and the statement is closed before the first of them
// is handed over, so the loop's body may use the same pool, even one of a single
// connection. Stream looks one row past each page, or, where rows are large, for another
// one at its last position: two rows with the same position end the stream with
// [ErrDuplicateKey]. Positions that the database does not find
// again, such as times that the driver writes in another form than the stored one,
// end it with [ErrPosition]. An error of Scan is final and comes after the rows
// before it. It panics where a field that it needs is missing, or where P does not
// fit Key.
//
// Ends: behind Until or at the end of the table, at an error, or when ctx ends.
// Owns: one goroutine and one connection while a page is read; both are free when the loop ends.
// Reads ahead: the rest of the page, and with Prefetch one more page.
// Reuse: always; it reads the database anew.
func (q Query[T, P]) Stream(ctx context.Context, after *P) iter.Seq2[T, error] {
	q.check()
	q.Until, after = clone(q.Until), clone(after)
	equal := equalFor[P]()
	return func(yield func(T, error) bool) {
		r := &reader[T, P]{q: &q, equal: equal, direct: directOf(q.table, q.From, q.DB, q.Scan, q.Bytes)}
		p := pager[T, P]{after: after, cfg: q.Page, fetch: r.page, reuse: true}
		p.stream(ctx)(yield)
	}
}

// A reader reads the pages of one loop, one after another.
type reader[T, P any] struct {
	q       *Query[T, P]
	equal   func(a, b P) bool
	keys    *keyset // made at the first page
	checked bool    // a position has been found again
	direct  *direct // reads the rows of a Table, nil where it cannot
	fit     int     // rows of a page as their bytes allow, 0 if they do not matter
	most    int     // rows that a page has had
}

// page reads a page. What more tries would not mend is in the page's err.
func (r *reader[T, P]) page(ctx context.Context, after *P, limit int, buf []T) (page[T, P], error) {
	pg := page[T, P]{items: buf}
	if r.keys == nil {
		keys, err := r.q.keyset(ctx)
		if err != nil {
			return pg, r.q.explain(err)
		}
		r.keys = keys
	}
	rows := limit + 1 // one past the page: it may have the position of the last
	if r.fit > 0 && r.fit <= limit {
		rows, limit = r.fit, r.fit // a row is too much to be read for its position only
	}
	text, args, err := r.q.pageSQL(r.keys, after, rows)
	if err != nil {
		pg.err = err
		return pg, nil
	}
	if cap(buf) < rows && rows <= 2*r.most+1 {
		// The page will be full, as the one before was. To let append find that out step by
		// step would copy the rows several times for each time that the size grows.
		pg.items = make([]T, 0, rows)
	}
	pg.room = r.room(rows)
	if err := r.scan(ctx, &pg, text, args); err != nil {
		return pg, r.q.explain(err)
	}
	r.most = max(r.most, len(pg.items))
	past := len(pg.items) > limit
	pg.more = pg.err == nil && (past || pg.room.full || len(pg.items) == rows)
	r.learn(&pg.room)
	pg.place(after, limit, r.q.Position, r.equal)
	if err := r.checkPosition(ctx, &pg, after, !past); err != nil {
		return pg, r.q.explain(err)
	}
	return pg, nil
}

// scan reads the rows of a statement and closes it.
func (r *reader[T, P]) scan(ctx context.Context, pg *page[T, P], text string, args []any) error {
	ctx, pg.room.stop = r.stoppable(ctx)
	defer pg.room.stop()
	if table, ok := any(pg).(*page[Row, Key]); ok && r.direct != nil {
		if err := r.direct.read(ctx, table, text, args); err != driver.ErrSkip {
			return err
		}
		r.direct = nil
	}
	rows, err := r.q.DB.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	if pg.err = r.q.checkResult(rows); pg.err != nil {
		return rows.Close()
	}
	for rows.Next() {
		item, err := r.q.Scan(rows)
		if err != nil {
			// A lost connection and the end of ctx show in Scan, too; they are no fault of
			// the row's, and another try may mend them.
			if err := errors.Join(rows.Err(), ctx.Err()); err != nil {
				return err
			}
			pg.err = badRow(r.q.From, err)
			return rows.Close()
		}
		pg.items = append(pg.items, item)
		if pg.room.max > 0 && pg.room.add(r.q.Bytes(item)) {
			_ = rows.Close() // nothing of the rest is wanted, and all before it was read
			return nil
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return rows.Close()
}

// badRow is the error of a row that cannot be scanned.
func badRow(from string, err error) error {
	return final(fmt.Errorf("cursor: scan a row of %s: %w", from, err))
}

// explain adds to an error what was being done.
func (q *Query[T, P]) explain(err error) error {
	return fmt.Errorf("cursor: read %s: %w", q.From, err)
}

// columns returns the select list.
func (q *Query[T, P]) columns() string {
	if q.Select == "" {
		return "*"
	}
	return q.Select
}

// source returns what stands between SELECT and WHERE.
func (q *Query[T, P]) source(columns string) string {
	hint := strings.TrimSpace(q.Hint)
	switch {
	case hint == "":
		return "SELECT " + columns + " FROM " + q.From
	case strings.HasPrefix(hint, "/*"):
		return "SELECT " + hint + " " + columns + " FROM " + q.From
	}
	return "SELECT " + columns + " FROM " + q.From + " " + hint
}

// where joins the user's condition and ours. The line break ends a comment that
// the user's condition may end with.
func (q *Query[T, P]) where(conditions ...string) string {
	var all []string
	if strings.TrimSpace(q.Where) != "" {
		all = append(all, "("+q.Where+"\n)")
	}
	for _, c := range conditions {
		if c != "" {
			all = append(all, "("+c+")")
		}
	}
	if len(all) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(all, " AND ")
}
