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
	ahead bool  // the statement stands at a row that Next has not handed over
	end   error // what Next returns from now on
	ints  []keyset.Int
	texts []keyset.Text // SQLite's memory
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
	if r.ahead, err = r.c.step(r.s); err != nil {
		return err
	}
	if !r.ahead {
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
	r.c.ctx = r.ctx
	err := r.c.put(r.s)
	if r.end != nil {
		err = nil // Next has returned it
	}
	r.s, r.end, r.ahead = nil, io.EOF, false
	return err
}

// Next implements driver.Rows.
func (r *rows) Next(dest []driver.Value) error {
	if err := r.Lend(dest); err != nil {
		return err
	}
	return keyset.Own(dest)
}

// Lend implements keyset.Lender: integers and texts are lent, and so are bytes.
func (r *rows) Lend(dest []driver.Value) error {
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
		switch lib.Xsqlite3_value_type(tls, v) {
		case lib.SQLITE_INTEGER:
			r.ints[i] = keyset.Int(lib.Xsqlite3_value_int64(tls, v))
			dest[i] = &r.ints[i]
		case lib.SQLITE_FLOAT:
			dest[i] = lib.Xsqlite3_value_double(tls, v)
		case lib.SQLITE_TEXT:
			p := lib.Xsqlite3_value_text(tls, v)
			if p == 0 {
				return r.fail(r.c.failed(lib.SQLITE_NOMEM))
			}
			r.texts[i] = libc.GoBytes(p, int(lib.Xsqlite3_value_bytes(tls, v)))
			dest[i] = &r.texts[i]
		case lib.SQLITE_BLOB:
			p, n := lib.Xsqlite3_value_blob(tls, v), int(lib.Xsqlite3_value_bytes(tls, v))
			switch {
			case n == 0:
				dest[i] = []byte{}
			case p == 0:
				return r.fail(r.c.failed(lib.SQLITE_NOMEM))
			default:
				dest[i] = libc.GoBytes(p, n)
			}
		default:
			dest[i] = nil
		}
	}
	return nil
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
	if r.ahead {
		r.ahead = false
		return nil
	}
	r.c.ctx = r.ctx
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
