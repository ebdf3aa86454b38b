package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	lib "modernc.org/sqlite/lib"
)

// maxIdle is how many statements a connection keeps prepared.
const maxIdle = 16

// A stmt is a prepared statement that somebody runs, or an idle one.
type stmt struct {
	handle uintptr // sqlite3_stmt*; 0 for a text without a statement
	text   string
	bound  []int32 // parameters whose values take memory
}

// take returns the statement that text begins with, and what is behind it.
func (c *conn) take(ctx context.Context, text string) (_ *stmt, rest string, err error) {
	if c.db == 0 {
		return nil, "", driver.ErrBadConn
	}
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	c.enter(ctx)
	for i, s := range slices.Backward(c.idle) {
		if s.text == text {
			c.idle = slices.Delete(c.idle, i, i+1)
			return s, "", nil
		}
	}
	begin, err := cString(text)
	if err != nil {
		return nil, "", err
	}
	defer libc.Xfree(c.tls, begin)
	end := c.out + 8
	if rc := lib.Xsqlite3_prepare_v3(c.tls, c.db, begin, int32(len(text)+1), lib.SQLITE_PREPARE_PERSISTENT, c.out, end); rc != lib.SQLITE_OK {
		return nil, "", c.failed(rc)
	}
	n := *at[uintptr](end) - begin
	return &stmt{handle: *at[uintptr](c.out), text: text[:n]}, text[n:], nil
}

// put keeps a statement that has been run. It returns the error of a statement that
// is not finished and cannot be undone.
func (c *conn) put(s *stmt) error {
	if c.db == 0 || s.handle == 0 {
		return nil
	}
	rc := lib.Xsqlite3_reset(c.tls, s.handle)
	for _, i := range s.bound {
		lib.Xsqlite3_bind_null(c.tls, s.handle, i)
	}
	s.bound = s.bound[:0]
	c.idle = append(c.idle, s)
	if len(c.idle) > maxIdle {
		lib.Xsqlite3_finalize(c.tls, c.idle[0].handle)
		c.idle = slices.Delete(c.idle, 0, 1)
	}
	if rc != lib.SQLITE_OK {
		return c.failed(rc)
	}
	return nil
}

// single is take for a text that must have one statement and no more.
func (c *conn) single(ctx context.Context, text string) (*stmt, error) {
	s, rest, err := c.take(ctx, text)
	if err != nil {
		return nil, err
	}
	for strings.TrimSpace(rest) != "" {
		var next *stmt
		if next, rest, err = c.take(ctx, rest); err != nil {
			return nil, errors.Join(err, c.put(s))
		}
		if next.handle != 0 {
			return nil, errors.Join(errors.New("sqlite: there must be one statement, got more"), c.put(next), c.put(s))
		}
	}
	return s, nil
}

// step goes on to the next row.
func (c *conn) step(s *stmt) (row bool, err error) {
	switch rc := lib.Xsqlite3_step(c.tls, s.handle); rc {
	case lib.SQLITE_ROW:
		return true, nil
	case lib.SQLITE_DONE:
		return false, nil
	default:
		return false, c.failed(rc)
	}
}

// bind gives the parameters their values. There must be one for each.
func (c *conn) bind(s *stmt, args []driver.NamedValue) error {
	n := 0
	if s.handle != 0 {
		n = int(lib.Xsqlite3_bind_parameter_count(c.tls, s.handle))
	}
	given := make([]bool, n)
	for _, arg := range args {
		i, err := c.parameter(s, arg)
		if err != nil {
			return err
		}
		if i > n {
			return fmt.Errorf("sqlite: there must be as many values as parameters, %d, got %d", n, len(args))
		}
		given[i-1] = true
		if err := c.bindOne(s, int32(i), arg.Value); err != nil {
			return err
		}
	}
	if i := slices.Index(given, false); i >= 0 {
		return fmt.Errorf("sqlite: there must be a value for each of %d parameters, got none for number %d", n, i+1)
	}
	return nil
}

// parameter returns the number of a parameter, from 1.
func (c *conn) parameter(s *stmt, arg driver.NamedValue) (int, error) {
	if arg.Name == "" {
		return arg.Ordinal, nil
	}
	for _, sigil := range []string{":", "@", "$"} {
		name, err := cString(sigil + arg.Name)
		if err != nil {
			return 0, err
		}
		i := lib.Xsqlite3_bind_parameter_index(c.tls, s.handle, name)
		libc.Xfree(c.tls, name)
		if i > 0 {
			return int(i), nil
		}
	}
	return 0, fmt.Errorf("sqlite: the statement has no parameter %s", arg.Name)
}

// transient tells SQLite to make a copy.
const transient = ^uintptr(0)

func (c *conn) bindOne(s *stmt, i int32, value driver.Value) error {
	var rc int32
	switch v := value.(type) {
	case nil:
		rc = lib.Xsqlite3_bind_null(c.tls, s.handle, i)
	case int64:
		rc = lib.Xsqlite3_bind_int64(c.tls, s.handle, i, v)
	case float64:
		rc = lib.Xsqlite3_bind_double(c.tls, s.handle, i, v)
	case bool:
		n := int64(0)
		if v {
			n = 1
		}
		rc = lib.Xsqlite3_bind_int64(c.tls, s.handle, i, n)
	case string:
		p, err := c.copyOf(len(v), func(to []byte) { copy(to, v) })
		if err != nil {
			return err
		}
		rc = lib.Xsqlite3_bind_text64(c.tls, s.handle, i, p, lib.Tsqlite3_uint64(len(v)), transient, lib.SQLITE_UTF8)
		libc.Xfree(c.tls, p)
		s.bound = append(s.bound, i)
	case []byte:
		if v == nil {
			rc = lib.Xsqlite3_bind_null(c.tls, s.handle, i)
			break
		}
		p, err := c.copyOf(len(v), func(to []byte) { copy(to, v) })
		if err != nil {
			return err
		}
		rc = lib.Xsqlite3_bind_blob64(c.tls, s.handle, i, p, lib.Tsqlite3_uint64(len(v)), transient)
		libc.Xfree(c.tls, p)
		s.bound = append(s.bound, i)
	default:
		return fmt.Errorf("sqlite: a value must be an int64, float64, bool, string, []byte or nil, got %T; "+
			"SQLite has no times: give the text or the number that is stored", value)
	}
	if rc != lib.SQLITE_OK {
		return c.failed(rc)
	}
	return nil
}

// copyOf returns n bytes of C's memory, to be freed, which fill has filled.
func (c *conn) copyOf(n int, fill func(to []byte)) (uintptr, error) {
	p := libc.Xmalloc(c.tls, types.Size_t(n+1))
	if p == 0 {
		return 0, c.failed(lib.SQLITE_NOMEM)
	}
	fill(libc.GoBytes(p, n))
	return p, nil
}

// ExecContext implements driver.ExecerContext. Without values, query may have
// several statements.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	var r result
	for rest := query; ; {
		s, behind, err := c.take(ctx, rest)
		if err != nil {
			return nil, err
		}
		if len(args) > 0 && strings.TrimSpace(behind) != "" {
			return nil, errors.Join(errors.New("sqlite: with values there must be one statement, got more"), c.put(s))
		}
		if err := c.exec(s, args, &r); err != nil {
			return nil, err
		}
		if rest = behind; strings.TrimSpace(rest) == "" {
			return r, nil
		}
	}
}

// exec runs a statement to its end.
func (c *conn) exec(s *stmt, args []driver.NamedValue, r *result) (err error) {
	defer func() {
		if end := c.put(s); err == nil {
			err = end
		}
	}()
	if err := c.bind(s, args); err != nil || s.handle == 0 {
		return err
	}
	before := lib.Xsqlite3_total_changes64(c.tls, c.db)
	for row := true; row; {
		if row, err = c.step(s); err != nil {
			return err
		}
	}
	*r = result{id: lib.Xsqlite3_last_insert_rowid(c.tls, c.db)}
	if lib.Xsqlite3_total_changes64(c.tls, c.db) != before { // otherwise what follows tells of an earlier statement
		r.rows = lib.Xsqlite3_changes64(c.tls, c.db)
	}
	return nil
}

type result struct{ id, rows int64 }

func (r result) LastInsertId() (int64, error) { return r.id, nil }
func (r result) RowsAffected() (int64, error) { return r.rows, nil }

// QueryContext implements driver.QueryerContext. The statement has run to its first
// row when it returns.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.single(ctx, query)
	if err != nil {
		return nil, err
	}
	r := &rows{c: c, ctx: ctx, s: s}
	if err := r.start(args); err != nil {
		c.put(s) // its error is the same
		return nil, err
	}
	return r, nil
}

// PrepareContext implements driver.ConnPrepareContext.
func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s, err := c.single(ctx, query)
	if err != nil {
		return nil, err
	}
	return prepared{c, query}, c.put(s)
}

// Prepare implements driver.Conn.
func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// prepared is a statement by its text. The connection has it prepared, or does it
// again: then several results of it may be open at once.
type prepared struct {
	c    *conn
	text string
}

var _ interface {
	driver.StmtExecContext
	driver.StmtQueryContext
} = prepared{}

func (p prepared) Close() error  { return nil }
func (p prepared) NumInput() int { return -1 } // bind looks

func (p prepared) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return p.c.ExecContext(ctx, p.text, args)
}

func (p prepared) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return p.c.QueryContext(ctx, p.text, args)
}

func (p prepared) Exec(args []driver.Value) (driver.Result, error) {
	return p.ExecContext(context.Background(), named(args))
}

func (p prepared) Query(args []driver.Value) (driver.Rows, error) {
	return p.QueryContext(context.Background(), named(args))
}

func named(args []driver.Value) []driver.NamedValue {
	var all []driver.NamedValue
	for i, v := range args {
		all = append(all, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	return all
}
