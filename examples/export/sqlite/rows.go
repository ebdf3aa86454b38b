package sqlite

import (
	"context"
	"database/sql/driver"
	"io"
	"strings"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"

	"example.com/pipeline/cursor/keyset"
)

// rows are the result of a statement.
type rows struct {
	c     *conn
	ctx   context.Context
	s     *stmt
	names []string
	first bool  // the statement stands at a row that Next has not handed over
	end   error // what Next returns from now on
	ints  []keyset.Int
	texts []keyset.Text // SQLite's memory
	lent  int           // rows since nothing was read ahead
	ahead *readAhead    // what Lend has begun; or nil
}

var _ driver.RowsColumnTypeDatabaseTypeName = (*rows)(nil)

// start runs the statement to its first row. Only then the columns are certain: if
// the table has changed since it was prepared, SQLite does that again.
func (r *rows) start(args []driver.NamedValue) (err error) {
	if err := r.c.bind(r.s, args); err != nil {
		return err
	}
	if r.s.handle == 0 {
		r.end = io.EOF
		return nil
	}
	if r.first, err = r.c.step(r.s); err != nil {
		return err
	}
	if !r.first {
		r.end = io.EOF
	}
	r.names = make([]string, lib.Xsqlite3_column_count(r.c.tls, r.s.handle))
	for i := range r.names {
		r.names[i] = libc.GoString(lib.Xsqlite3_column_name(r.c.tls, r.s.handle, int32(i)))
	}
	return nil
}

// Columns implements driver.Rows.
func (r *rows) Columns() []string { return r.names }

// ColumnTypeDatabaseTypeName returns the type that the column is declared with, in
// upper case, and nothing for an expression.
func (r *rows) ColumnTypeDatabaseTypeName(i int) string {
	if r.c.db == 0 || r.s == nil {
		return ""
	}
	r.c.settle()
	p := lib.Xsqlite3_column_decltype(r.c.tls, r.s.handle, int32(i))
	if p == 0 {
		return ""
	}
	return strings.ToUpper(libc.GoString(p))
}

// Close implements driver.Rows.
func (r *rows) Close() error {
	if r.s == nil {
		return nil
	}
	known := r.end != nil // Next has returned it
	if a := r.ahead; a != nil {
		a.cancel()
		a.end()
		r.ahead, known = nil, true // or nobody has asked for the row
	}
	r.c.use(r.ctx)
	err := r.c.put(r.s)
	if known {
		err = nil
	}
	r.s, r.end, r.first = nil, io.EOF, false
	return err
}

// Next implements driver.Rows.
func (r *rows) Next(dest []driver.Value) error {
	if err := r.give(dest); err != nil {
		return err
	}
	return keyset.Own(dest)
}

// Lend implements keyset.Lender: integers and texts are lent, and so are bytes. It reads
// ahead.
func (r *rows) Lend(dest []driver.Value) error {
	if r.lent++; r.lent > aloneRows && r.ahead == nil && r.end == nil && r.c.db != 0 && !r.first {
		r.ahead = r.c.readAhead(r.ctx, r.s, len(r.names))
	}
	return r.give(dest)
}

// give lends the next row.
func (r *rows) give(dest []driver.Value) error {
	if r.ahead != nil {
		if given, err := r.giveAhead(dest); given || err != nil {
			return err
		}
	}
	if err := r.next(); err != nil {
		return err
	}
	if len(r.ints) < len(dest) {
		r.ints, r.texts = make([]keyset.Int, len(dest)), make([]keyset.Text, len(dest))
	}
	tls, s := r.c.tls, r.s.handle
	for i := range dest {
		// SQLite asks for a lock around what is done with this value, where others
		// might use the connection. Its functions for a column find the column each time.
		v := lib.Xsqlite3_column_value(tls, s, int32(i))
		switch kind := lib.Xsqlite3_value_type(tls, v); kind {
		case lib.SQLITE_INTEGER:
			r.ints[i] = keyset.Int(lib.Xsqlite3_value_int64(tls, v))
			dest[i] = &r.ints[i]
		case lib.SQLITE_FLOAT:
			dest[i] = lib.Xsqlite3_value_double(tls, v)
		case lib.SQLITE_TEXT, lib.SQLITE_BLOB:
			bytes, err := r.c.bytes(v, kind)
			if err != nil {
				return r.fail(err)
			}
			if dest[i] = bytes; kind == lib.SQLITE_TEXT {
				r.texts[i] = bytes
				dest[i] = &r.texts[i]
			}
		default:
			dest[i] = nil
		}
	}
	return nil
}

// bytes returns what a text or a blob has, in SQLite's memory.
func (c *conn) bytes(v uintptr, kind int32) ([]byte, error) {
	read := lib.Xsqlite3_value_blob
	if kind == lib.SQLITE_TEXT {
		read = lib.Xsqlite3_value_text // in UTF-8, whatever the database is in
	}
	p := read(c.tls, v)
	switch n := int(lib.Xsqlite3_value_bytes(c.tls, v)); {
	case n == 0 && (p != 0 || kind == lib.SQLITE_BLOB):
		return []byte{}, nil
	case p == 0:
		return nil, c.failed(lib.SQLITE_NOMEM)
	default:
		return libc.GoBytes(p, n), nil
	}
}

// giveAhead is give from what has been read ahead. It is false where there is nothing: the
// statement itself goes on there.
func (r *rows) giveAhead(dest []driver.Value) (bool, error) {
	switch {
	case r.end != nil:
		return false, r.end
	case r.c.db == 0:
		return false, r.fail(driver.ErrBadConn)
	}
	if err := r.ctx.Err(); err != nil {
		return false, r.fail(err)
	}
	given, err := r.ahead.lend(dest)
	if err != nil {
		return false, r.fail(err)
	}
	if !given {
		r.ahead.end()
		r.ahead, r.lent = nil, 0
	}
	return given, nil
}

// next stands the statement at the row to hand over.
func (r *rows) next() error {
	switch {
	case r.end != nil:
		return r.end
	case r.c.db == 0:
		return r.fail(driver.ErrBadConn)
	}
	if err := r.ctx.Err(); err != nil {
		return r.fail(err)
	}
	if r.first {
		r.first = false
		return nil
	}
	r.c.use(r.ctx)
	row, err := r.c.step(r.s)
	if err != nil {
		return r.fail(err)
	}
	if !row {
		return r.fail(io.EOF)
	}
	return nil
}

// fail ends the rows: SQLite would begin anew.
func (r *rows) fail(err error) error {
	r.end = err
	return err
}
