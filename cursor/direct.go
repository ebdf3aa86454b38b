package cursor

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"reflect"
)

// A direct reads rows from the driver itself, past sql.Rows. For a page that is read
// whole that does the same in less time: no lock is taken for each row, no value
// is looked at for each way to scan it, and no goroutine waits for the end of the
// context. What is promised of a page holds here, too: its rows are closed and its
// connection is given back before read returns.
type direct struct {
	layout *tableLayout
	from   string // for messages
	bytes  func(Row) int
	pool   *sql.DB
	conn   *sql.Conn // where there is no pool
	dest   []driver.Value
	slab   []any
}

// directOf returns what reads the rows of a query, nil where it must be sql.Rows:
// for a Scan that is not Table's, and in a transaction or anything else that does
// not let go of the driver's connection.
func directOf(layout *tableLayout, from string, db Querier, scan, bytes any) *direct {
	if layout == nil || reflect.ValueOf(scan).Pointer() != reflect.ValueOf(layout.scan).Pointer() {
		return nil
	}
	d := &direct{layout: layout, from: from, bytes: bytes.(func(Row) int)}
	switch db := db.(type) {
	case *sql.DB:
		d.pool = db
	case *sql.Conn:
		d.conn = db
	default:
		return nil
	}
	return d
}

// read reads a page. It returns driver.ErrSkip, and has read nothing, where the
// driver wants to be asked through the sql package.
func (d *direct) read(ctx context.Context, pg *page[Row, Key], text string, args []any) error {
	if d.conn != nil {
		_, err := d.readOn(ctx, d.conn, pg, text, args)
		return err
	}
	// A connection may have been closed by the server while it lay in the pool. As the
	// sql package does, two of them are tried; what the third try needs, a new
	// connection, can only be had there.
	for range 2 {
		conn, err := d.pool.Conn(ctx)
		if err != nil {
			return err
		}
		began, err := func() (bool, error) {
			defer conn.Close() // also when the driver panics
			return d.readOn(ctx, conn, pg, text, args)
		}()
		if began || !errors.Is(err, driver.ErrBadConn) {
			return err
		}
	}
	return driver.ErrSkip
}

// readOn reads a page on a connection, and reports whether the statement was begun.
func (d *direct) readOn(ctx context.Context, conn *sql.Conn, pg *page[Row, Key], text string, args []any) (began bool, err error) {
	var failed error
	err = conn.Raw(func(c any) error {
		queryer, ok := c.(driver.QueryerContext)
		if !ok {
			return driver.ErrSkip
		}
		values, err := driverValues(c, args)
		if err != nil {
			return driver.ErrSkip // the sql package has the words for it
		}
		rows, err := queryer.QueryContext(ctx, text, values)
		if err != nil {
			return err
		}
		began = true
		open := true
		defer func() {
			if open {
				rows.Close()
			}
		}()
		failed = d.readRows(ctx, rows, pg)
		open = false
		if pg.room.full {
			_ = rows.Close() // nothing of the rest is wanted; where stop has ended the connection, the pool will see
			return nil
		}
		return rows.Close() // if it is driver.ErrBadConn, the pool drops the connection
	})
	if failed != nil {
		err = failed
	}
	return began, err
}

// readRows reads what the statement returns.
func (d *direct) readRows(ctx context.Context, rows driver.Rows, pg *page[Row, Key]) error {
	names := rows.Columns()
	if len(d.dest) != len(names) {
		d.dest = make([]driver.Value, len(names))
	}
	defer clear(d.dest)
	for first := true; ; first = false {
		if err := ctx.Err(); err != nil {
			return err // not all drivers look at it between two rows
		}
		switch err := rows.Next(d.dest); {
		case err == io.EOF:
			return nil
		case err != nil:
			if ended := ctx.Err(); ended != nil {
				return ended
			}
			return err
		}
		if first {
			if err := d.layout.checkColumns(names); err != nil {
				pg.err = badRow(d.from, err)
				return nil
			}
		}
		row, err := d.row()
		if err != nil {
			pg.err = badRow(d.from, err)
			return nil
		}
		pg.items = append(pg.items, row)
		if pg.room.max > 0 && pg.room.add(d.bytes(row)) {
			return nil
		}
	}
}

// row makes a row of the driver's values, which are valid only until the next one.
func (d *direct) row() (_ Row, err error) {
	values, key := d.layout.cut(&d.slab)
	for i, v := range d.dest {
		if values[i], err = d.layout.columns[i].kind.value(v); err != nil {
			return Row{}, err
		}
	}
	return d.layout.row(values, key, &d.slab)
}

// driverValues returns the arguments of a statement as the driver's connection takes
// them, which it may say itself.
func driverValues(conn any, args []any) ([]driver.NamedValue, error) {
	checker, _ := conn.(driver.NamedValueChecker)
	values := make([]driver.NamedValue, len(args))
	for i, arg := range args {
		if _, named := arg.(sql.NamedArg); named {
			return nil, errors.ErrUnsupported
		}
		v := driver.NamedValue{Ordinal: i + 1, Value: arg}
		err := error(driver.ErrSkip)
		if checker != nil {
			err = checker.CheckNamedValue(&v)
		}
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
