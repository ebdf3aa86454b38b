package source

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib"

	"example.com/pipeline/cursor/keyset"
)

// A postgresConnector opens connections whose rows come in less time than those of the
// driver that they are of, and are the same: numbers are taken from the message as they
// stand there, and short texts share memory.
type postgresConnector struct{ driver.Connector }

func (c postgresConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &postgresConn{conn.(*stdlib.Conn)}, nil
}

// pgxConn is stdlib.Conn, whose method Conn a field of that name would hide.
type pgxConn = stdlib.Conn

type postgresConn struct{ *pgxConn }

// binaryFormats asks for the types in binary that package stdlib asks for in binary.
var binaryFormats = pgx.QueryResultFormatsByOID{
	pgtype.BoolOID: 1, pgtype.ByteaOID: 1, pgtype.CIDOID: 1, pgtype.DateOID: 1, pgtype.Float4OID: 1, pgtype.Float8OID: 1, pgtype.Int2OID: 1,
	pgtype.Int4OID: 1, pgtype.Int8OID: 1, pgtype.OIDOID: 1, pgtype.TimestampOID: 1, pgtype.TimestamptzOID: 1, pgtype.XIDOID: 1,
}

// QueryContext implements driver.QueryerContext.
func (c *postgresConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	conn := c.Conn()
	if conn.IsClosed() {
		return nil, driver.ErrBadConn
	}
	values := make([]any, 1+len(args))
	values[0] = binaryFormats
	for i, arg := range args {
		values[1+i] = arg.Value
	}
	rows, err := conn.Query(ctx, query, values...)
	if err != nil {
		if pgconn.SafeToRetry(err) {
			return nil, driver.ErrBadConn
		}
		return nil, err
	}
	more := rows.Next() // only now the columns are known
	if err := rows.Err(); err != nil {
		rows.Close()
		return nil, err
	}
	return newPostgresRows(conn.TypeMap(), rows, more), nil
}

// postgresRows implements driver.Rows.
type postgresRows struct {
	rows    pgx.Rows
	types   *pgtype.Map
	fields  []pgconn.FieldDescription
	columns []postgresColumn
	ints    []keyset.Int
	texts   []keyset.Text // the connection's memory
	ahead   bool          // a row has been read, and more says whether there was one
	more    bool
}

// A postgresColumn is how the values of a column are read.
type postgresColumn struct {
	kind postgresKind
	scan func([]byte) (driver.Value, error) // of other kinds
}

type postgresKind int

const (
	otherKind postgresKind = iota
	textKind
	boolKind
	int2Kind
	int4Kind
	int8Kind
	float8Kind
	byteaKind
)

func newPostgresRows(types *pgtype.Map, rows pgx.Rows, more bool) *postgresRows {
	r := &postgresRows{rows: rows, types: types, fields: rows.FieldDescriptions(), ahead: true, more: more}
	kinds := map[uint32]postgresKind{
		pgtype.BoolOID: boolKind, pgtype.Int2OID: int2Kind, pgtype.Int4OID: int4Kind, pgtype.Int8OID: int8Kind,
		pgtype.Float8OID: float8Kind, pgtype.ByteaOID: byteaKind,
	}
	for _, f := range r.fields {
		var c postgresColumn
		if f.Format == pgtype.BinaryFormatCode {
			c.kind = kinds[f.DataTypeOID]
		} else if f.DataTypeOID == pgtype.TextOID || f.DataTypeOID == pgtype.VarcharOID || f.DataTypeOID == pgtype.BPCharOID {
			c.kind = textKind
		}
		if c.kind == otherKind {
			c.scan = r.scanOf(f)
		}
		r.columns = append(r.columns, c)
	}
	r.ints, r.texts = make([]keyset.Int, len(r.columns)), make([]keyset.Text, len(r.columns))
	return r
}

// scanOf reads values as package stdlib does.
func (r *postgresRows) scanOf(f pgconn.FieldDescription) func([]byte) (driver.Value, error) {
	switch f.DataTypeOID {
	case pgtype.BoolOID:
		return scanAs(r, f, func(v bool) (driver.Value, error) { return v, nil })
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID:
		return scanAs(r, f, func(v int64) (driver.Value, error) { return v, nil })
	case pgtype.Float4OID:
		return scanAs(r, f, func(v float32) (driver.Value, error) { return float64(v), nil })
	case pgtype.Float8OID:
		return scanAs(r, f, func(v float64) (driver.Value, error) { return v, nil })
	case pgtype.ByteaOID, pgtype.JSONOID, pgtype.JSONBOID, pgtype.XMLOID:
		return scanAs(r, f, func(v []byte) (driver.Value, error) { return v, nil })
	case pgtype.CIDOID, pgtype.OIDOID, pgtype.XIDOID:
		return scanAs(r, f, pgtype.Uint32.Value)
	case pgtype.DateOID:
		return scanAs(r, f, pgtype.Date.Value)
	case pgtype.TimestampOID:
		return scanAs(r, f, pgtype.Timestamp.Value)
	case pgtype.TimestamptzOID:
		return scanAs(r, f, pgtype.Timestamptz.Value)
	}
	return scanAs(r, f, func(v string) (driver.Value, error) { return v, nil })
}

func scanAs[T any, V any](r *postgresRows, f pgconn.FieldDescription, value func(T) (V, error)) func([]byte) (driver.Value, error) {
	var to T
	plan := r.types.PlanScan(f.DataTypeOID, f.Format, &to)
	return func(from []byte) (driver.Value, error) {
		if err := plan.Scan(from, &to); err != nil {
			return nil, err
		}
		return value(to)
	}
}

// Columns implements driver.Rows.
func (r *postgresRows) Columns() []string {
	names := make([]string, len(r.fields))
	for i, f := range r.fields {
		names[i] = f.Name
	}
	return names
}

// ColumnTypeDatabaseTypeName implements driver.RowsColumnTypeDatabaseTypeName.
func (r *postgresRows) ColumnTypeDatabaseTypeName(i int) string {
	if t, ok := r.types.TypeForOID(r.fields[i].DataTypeOID); ok {
		return strings.ToUpper(t.Name)
	}
	return strconv.FormatInt(int64(r.fields[i].DataTypeOID), 10)
}

// Close implements driver.Rows.
func (r *postgresRows) Close() error {
	r.rows.Close()
	return r.rows.Err()
}

// Next implements driver.Rows. Bytes are the connection's memory until the next call.
func (r *postgresRows) Next(dest []driver.Value) error {
	if err := r.Lend(dest); err != nil {
		return err
	}
	return keyset.Own(dest)
}

// Lend implements keyset.Lender: integers and texts are lent, and so are bytes.
func (r *postgresRows) Lend(dest []driver.Value) error {
	if r.ahead {
		r.ahead = false
	} else {
		r.more = r.rows.Next()
	}
	if !r.more {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return io.EOF
	}
	for i, from := range r.rows.RawValues() {
		if from == nil {
			dest[i] = nil
			continue
		}
		if err := r.value(&dest[i], i, from); err != nil {
			return fmt.Errorf("column %s: %w", r.fields[i].Name, err)
		}
	}
	return nil
}

// int lends an integer.
func (r *postgresRows) int(i int, v int64) *keyset.Int {
	r.ints[i] = keyset.Int(v)
	return &r.ints[i]
}

var errLength = errors.New("a value has not the length of its type")

func (r *postgresRows) value(to *driver.Value, i int, from []byte) (err error) {
	c := &r.columns[i]
	switch kind := c.kind; {
	case kind == textKind:
		r.texts[i] = from
		*to = &r.texts[i]
	case kind == int8Kind && len(from) == 8:
		*to = r.int(i, int64(binary.BigEndian.Uint64(from)))
	case kind == int4Kind && len(from) == 4:
		*to = r.int(i, int64(int32(binary.BigEndian.Uint32(from))))
	case kind == int2Kind && len(from) == 2:
		*to = r.int(i, int64(int16(binary.BigEndian.Uint16(from))))
	case kind == float8Kind && len(from) == 8:
		*to = math.Float64frombits(binary.BigEndian.Uint64(from))
	case kind == boolKind && len(from) == 1:
		*to = from[0] == 1
	case kind == byteaKind:
		*to = from
	case kind == otherKind:
		*to, err = c.scan(from)
	default:
		err = errLength
	}
	return err
}
