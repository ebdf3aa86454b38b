package keyset

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
)

// A driverReader reads the rows of a Table from the driver itself, past sql.Rows. That
// gives the same rows in less time: no lock is taken for each row, no value is looked at
// for each way to scan it, and no goroutine waits for the end of the context.
type driverReader struct {
	spec *spec
	pool *sql.DB
	conn *sql.Conn // where there is no pool
	rows converter
	dest []driver.Value
}

// newDriverReader returns nil where rows must come through package sql: in a
// transaction, and from anything else that does not let go of the driver's connection.
func newDriverReader(s *spec, rows converter) *driverReader {
	d := &driverReader{spec: s, rows: rows}
	switch db := s.db.(type) {
	case *sql.DB:
		d.pool = db
	case *sql.Conn:
		d.conn = db
	default:
		return nil
	}
	return d
}

// A driverSource is the rows of one statement. The connection is used in calls of
// sql.Conn.Raw only, as that demands.
type driverSource struct {
	*driverReader
	conn  *sql.Conn
	rows  driver.Rows
	next  func([]driver.Value) error
	stmt  driver.Stmt // closed with rows, where one had to be prepared
	begun bool
}

// open runs a statement. It returns errors.ErrUnsupported where the driver wants to be
// asked through package sql.
func (d *driverReader) open(ctx context.Context, text string, args []any) (source[Row], error) {
	if d.conn != nil {
		return d.openOn(ctx, d.conn, text, args)
	}
	// A connection may have been closed by the server while it lay in the pool. As
	// package sql does, two of them are tried; what the third try needs, a new
	// connection, can only be had there.
	for range 2 {
		conn, err := d.pool.Conn(ctx)
		if err != nil {
			return nil, err
		}
		src, err := d.openOn(ctx, conn, text, args)
		if !errors.Is(err, driver.ErrBadConn) {
			return src, err
		}
	}
	return nil, errors.ErrUnsupported
}

// openOn runs a statement on a connection, which it gives back where that fails.
func (d *driverReader) openOn(ctx context.Context, conn *sql.Conn, text string, args []any) (source[Row], error) {
	s := &driverSource{driverReader: d, conn: conn}
	opened := false
	defer func() { // also when the driver panics
		if !opened {
			s.giveBack()
		}
	}()
	err := conn.Raw(func(c any) (err error) {
		s.rows, s.stmt, err = queryDriver(ctx, c, text, args)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.next = s.rows.Next
	if rows, ok := s.rows.(Lender); ok {
		s.next = rows.Lend
	}
	opened = true
	return s, nil
}

func (s *driverSource) giveBack() {
	if s.pool != nil {
		s.conn.Close()
	}
}

// read implements source.
func (s *driverSource) read(ctx context.Context, items []Row, max int, b *budget) (_ []Row, more bool, err error) {
	var failed error
	err = s.conn.Raw(func(any) error {
		returned := false
		defer func() {
			if !returned { // a panic takes the connection out of the pool, with the rows on it
				s.closeRows()
			}
		}()
		items, more, failed = s.readRows(ctx, items, max, b)
		returned = true
		return nil
	})
	if failed != nil {
		err = failed
	}
	return items, more, err
}

func (s *driverSource) readRows(ctx context.Context, items []Row, max int, b *budget) ([]Row, bool, error) {
	l, convert := s.spec.layout, &s.driverReader.rows
	if len(s.dest) != len(l.columns) {
		s.dest = make([]driver.Value, len(l.columns))
	}
	if !s.begun {
		if err := l.check(s.rows.Columns()); err != nil {
			return items, false, s.spec.badRow(err)
		}
		s.begun = true
	}
	for len(items) < max {
		if err := ctx.Err(); err != nil {
			return items, false, err // not all drivers look at it between two rows
		}
		if err := s.next(s.dest); err != nil {
			clear(s.dest)
			if err == io.EOF {
				return items, false, nil
			}
			if ended := ctx.Err(); ended != nil {
				err = ended
			}
			return items, false, err
		}
		n := len(items)
		if n == cap(items) {
			items = append(items, Row{})
		}
		items = items[:n+1] // what was there may lend its memory
		size, err := convert.convert(&items[n], s.dest)
		if err != nil {
			return items[:n], false, s.spec.badRow(err)
		}
		if b.max > 0 && b.add(size) {
			return items, true, nil
		}
	}
	return items, true, nil
}

// close implements source.
func (s *driverSource) close() error {
	defer s.giveBack()
	// Where closing says driver.ErrBadConn, the pool drops the connection.
	return s.conn.Raw(func(any) error { return s.closeRows() })
}

func (s *driverSource) closeRows() error {
	err := s.rows.Close()
	if s.stmt != nil {
		err = errors.Join(err, s.stmt.Close())
	}
	return err
}

// queryDriver runs a statement on a driver's connection. It prepares the statement where
// the driver wants that, and returns errors.ErrUnsupported where it cannot be run
// without package sql, which has the words for it, too.
func queryDriver(ctx context.Context, conn any, text string, args []any) (driver.Rows, driver.Stmt, error) {
	if queryer, ok := conn.(driver.QueryerContext); ok {
		values, err := driverValues(args, conn)
		if err != nil {
			return nil, nil, errors.ErrUnsupported
		}
		rows, err := queryer.QueryContext(ctx, text, values)
		if err != driver.ErrSkip {
			return rows, nil, err
		}
	}
	preparer, ok := conn.(driver.ConnPrepareContext)
	if !ok {
		return nil, nil, errors.ErrUnsupported
	}
	stmt, err := preparer.PrepareContext(ctx, text)
	if err != nil {
		return nil, nil, err
	}
	var rows driver.Rows
	queryer, ok := stmt.(driver.StmtQueryContext)
	if err = errors.ErrUnsupported; ok {
		if values, bad := driverValues(args, stmt, conn); bad == nil {
			rows, err = queryer.QueryContext(ctx, values)
		}
	}
	if err != nil {
		stmt.Close()
		return nil, nil, err
	}
	return rows, stmt, nil
}

// driverValues returns the arguments of a statement as the first of these that has a say
// in it takes them.
func driverValues(args []any, checkers ...any) ([]driver.NamedValue, error) {
	check := func(*driver.NamedValue) error { return driver.ErrSkip }
	for _, c := range checkers {
		if c, ok := c.(driver.NamedValueChecker); ok {
			check = c.CheckNamedValue
			break
		}
	}
	values := make([]driver.NamedValue, len(args))
	for i, arg := range args {
		if _, named := arg.(sql.NamedArg); named {
			return nil, errors.ErrUnsupported
		}
		v := driver.NamedValue{Ordinal: i + 1, Value: arg}
		err := check(&v)
		if err == driver.ErrSkip {
			v.Value, err = driver.DefaultParameterConverter.ConvertValue(v.Value)
		}
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}
