package keyset

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// mysql describes MySQL and MariaDB.
var mysql = dialect{
	name:          "mysql",
	quote:         "`",
	streams:       true,
	needsTypes:    true,
	checkTypes:    mysqlCheckTypes,
	keyFormat:     "%s",
	keyConversion: mysqlKeyConversion,
	compare:       compareColumns,
	session:       mysqlSession,
	arrange:       mysqlArrange,
	identify:      mysqlIdentify,
	argument:      mysqlArgument,
	bound:         mysqlBound,
	param:         mysqlParam,
	ident:         unquote,
	describe:      mysqlTable,
	read:          mysqlRead,
	tables:        mysqlTables,
	barrier:       mysqlBarrier,
}

func mysqlKeyConversion(column *sql.ColumnType) conversion {
	if isMySQLText(column.DatabaseTypeName()) {
		return asText
	}
	return asGiven
}

// mysqlArgument gives text as text, also where the driver read it as bytes: compared
// with binary data, text is compared without its collation.
func mysqlArgument(v any, column *sql.ColumnType) (any, error) {
	if b, ok := v.([]byte); ok && column != nil && isMySQLText(column.DatabaseTypeName()) {
		return string(b), nil
	}
	return bytesOf(v), nil
}

func isMySQLText(typ string) bool {
	switch strings.ToUpper(typ) {
	case "CHAR", "VARCHAR", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT", "DECIMAL", "DATE", "DATETIME", "TIMESTAMP", "TIME":
		return true
	}
	return false
}

// mysqlParam casts what is compared with a decimal: the server would compare a decimal
// with text as floating point numbers, and take neighbours for equal.
func mysqlParam(placeholder string, column *sql.ColumnType) string {
	if column.DatabaseTypeName() != "DECIMAL" {
		return placeholder
	}
	if precision, scale, ok := column.DecimalSize(); ok {
		// The cast has room for any value of the column, and what digits are left behind the
		// point. Of a column without signs drivers give a precision that is one too small.
		scale = max(scale, min(30, 64-precision+scale))
		return fmt.Sprintf("CAST(%s AS DECIMAL(65,%d))", placeholder, scale)
	}
	return placeholder
}

// uncut ends a statement on the catalog: without it sql_select_limit would cut the result.
const uncut = " LIMIT 18446744073709551615"

func mysqlTables(ctx context.Context, db Querier, schema string) ([]string, error) {
	return queryStrings(ctx, db, `SELECT table_name FROM information_schema.tables
		WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE()) ORDER BY 1`+uncut, schema)
}

func mysqlTable(ctx context.Context, db Querier, table tableName) (*tableInfo, error) {
	if mysqlTemporary(ctx, db, table) {
		return nil, errTemporary
	}
	var kind, engine sql.NullString
	err := queryEach(ctx, db, func(rows *sql.Rows) error {
		return rows.Scan(&kind, &engine)
	}, `SELECT table_type, engine FROM information_schema.tables
		WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND table_name = ?`+uncut, table.schema, table.name)
	if err != nil {
		return nil, err
	}
	if !kind.Valid {
		return nil, errNoTable
	}
	info := &tableInfo{fold: true, view: kind.String != "BASE TABLE" && kind.String != "SYSTEM VERSIONED"}
	if err := mysqlIndexes(ctx, db, info, table, engine.String); err != nil {
		return nil, err
	}
	return info, mysqlColumns(ctx, db, info, table)
}

// mysqlTemporary reports whether a name is that of a TEMPORARY table, which hides another
// table of that name from its session only. Statements of a pool may be of any session.
func mysqlTemporary(ctx context.Context, db Querier, table tableName) bool {
	switch db := db.(type) {
	case *sql.DB:
		if db.Stats().MaxOpenConnections != 1 {
			return false
		}
	case *sql.Conn, *sql.Tx:
	default:
		if (&spec{db: db}).sharesPool() {
			return false
		}
	}
	temporary := false
	err := queryEach(ctx, db, func(rows *sql.Rows) error {
		column, err := scanFolded(rows)
		temporary = strings.HasPrefix(column["CREATE TABLE"], "CREATE TEMPORARY ")
		return err
	}, "SHOW CREATE TABLE "+table.text)
	return err == nil && temporary // of one's own one is always told
}

func mysqlColumns(ctx context.Context, db Querier, info *tableInfo, table tableName) error {
	var primary []indexColumn
	for _, x := range info.indexes {
		if x.primary {
			primary = x.columns
		}
	}
	return queryEach(ctx, db, func(rows *sql.Rows) error {
		var c columnInfo
		var typ string
		var collation sql.NullString
		if err := rows.Scan(&c.name, &typ, &c.typ, &c.notNull, &c.implicit, &collation); err != nil {
			return err
		}
		c.collation = collation.String
		c.identity = strings.TrimSpace(c.typ + " " + collation.String)
		c.padded = typ == "char" && strings.Contains(collation.String, "_nopad_") // and MySQL strips what it sorts
		c.zoned = typ == "timestamp"
		c.inexact = typ == "float" || typ == "double"
		c.enum = typ == "enum" || typ == "set"
		c.format, c.conversion = mysqlFormat(typ)
		c.primary = 1 + slices.IndexFunc(primary, func(p indexColumn) bool { return p.name == c.name })
		info.columns = append(info.columns, c)
		return nil
	}, `SELECT column_name, LOWER(data_type), column_type, is_nullable = 'NO', extra LIKE '%INVISIBLE%', collation_name
		FROM information_schema.columns
		WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND table_name = ?
		ORDER BY ordinal_position`+uncut, table.schema, table.name)
}

// mysqlRead knows the types as the driver calls them.
func mysqlRead(c *columnInfo) {
	typ := strings.TrimPrefix(strings.ToLower(c.typ), "unsigned ")
	c.inexact = typ == "float" || typ == "double"
	c.enum = typ == "enum" || typ == "set"
	c.zoned = typ == "timestamp"
	c.format, c.conversion = mysqlFormat(typ)
}

// mysqlFormat returns how a Table selects a column, and what it makes of the values. The
// text of a date is the same whether the driver parses times or not.
func mysqlFormat(typ string) (string, conversion) {
	switch typ {
	case "date", "datetime", "timestamp", "time":
		return "CAST(%s AS CHAR)", asText
	case "bit":
		return "CAST(%s AS UNSIGNED)", asInteger
	case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
		return "%s", asBytes
	case "tinyint", "smallint", "mediumint", "int", "bigint", "year":
		return "%s", asInteger
	case "float": // its text has six digits, and a page without arguments comes as text
		return "CAST(%s AS DOUBLE)", asFloat32
	case "double":
		return "%s", asGiven
	}
	if strings.HasPrefix(typ, "geom") || strings.HasSuffix(typ, "point") || strings.HasSuffix(typ, "linestring") || strings.HasSuffix(typ, "polygon") {
		return "%s", asBytes
	}
	return "%s", asText
}

// mysqlIndexes reads the B-tree indexes of whole columns, and the hash indexes of a MEMORY
// table, which keep its rows unique. InnoDB appends the primary
// key to every other index.
func mysqlIndexes(ctx context.Context, db Querier, info *tableInfo, table tableName, engine string) error {
	err := queryEach(ctx, db, func(rows *sql.Rows) error {
		column, err := scanFolded(rows)
		if err != nil {
			return err
		}
		hash := column["INDEX_TYPE"] == "HASH" && strings.EqualFold(engine, "MEMORY")
		if column["INDEX_TYPE"] != "BTREE" && !hash {
			return nil
		}
		x := indexInfo{
			name:    column["INDEX_NAME"],
			primary: column["INDEX_NAME"] == "PRIMARY",
			unique:  column["NON_UNIQUE"] == "0",
			ignored: hash || column["IGNORED"] == "YES" || column["IS_VISIBLE"] == "NO",
			hash:    hash,
		}
		c := indexColumn{
			name: column["COLUMN_NAME"], // "" for an expression
			desc: column["COLLATION"] == "D",
			// A prefix of a column neither sorts it nor makes it unique.
			other: column["SUB_PART"] != "",
		}
		if n := len(info.indexes); n == 0 || info.indexes[n-1].name != x.name {
			info.indexes = append(info.indexes, x)
		}
		columns := &info.indexes[len(info.indexes)-1].columns
		*columns = append(*columns, c)
		return nil
	}, `SELECT * FROM information_schema.statistics
		WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND table_name = ?
		ORDER BY index_name, seq_in_index`+uncut, table.schema, table.name)
	if err != nil || !strings.EqualFold(engine, "InnoDB") {
		return err
	}
	for _, p := range info.indexes {
		if !p.primary {
			continue
		}
		for i := range info.indexes {
			x := &info.indexes[i]
			for _, c := range p.columns {
				if !slices.ContainsFunc(x.columns, func(has indexColumn) bool { return has.name == c.name }) {
					c.extra = true
					x.columns = append(x.columns, c)
				}
			}
		}
	}
	return nil
}

// scanFolded reads a row as texts by the names of the columns in capitals: which
// there are, and how their names are written, differs from version to version.
func scanFolded(rows *sql.Rows) (map[string]string, error) {
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values := make([]sql.NullString, len(names))
	dest := make([]any, len(names))
	for i := range values {
		dest[i] = &values[i]
	}
	if err := rows.Scan(dest...); err != nil {
		return nil, err
	}
	byName := make(map[string]string, len(names))
	for i, name := range names {
		byName[strings.ToUpper(name)] = values[i].String
	}
	return byName, nil
}

// mysqlBarrier takes a READ lock, which waits for every transaction that has written to
// the table and lets no other begin to. The connection is given back as it was; one
// that cannot be is closed, which gives the lock back, too.
func mysqlBarrier(ctx context.Context, db Querier, table tableName, read func(Querier) error) error {
	return withConn(ctx, db, func(conn *sql.Conn) (err error) {
		var timeout int64
		if err := conn.QueryRowContext(ctx, "SELECT @@SESSION.lock_wait_timeout").Scan(&timeout); err != nil {
			return err
		}
		defer func() {
			err = errors.Join(err, cleanUp(ctx, conn, "UNLOCK TABLES", fmt.Sprintf("SET SESSION lock_wait_timeout = %d", timeout)))
		}()
		if _, err := conn.ExecContext(ctx, fmt.Sprintf("SET SESSION lock_wait_timeout = %d", int(barrierWait.Seconds()))); err != nil {
			return err
		}
		name := table.text
		if table.renamed {
			name += " AS " + table.alias
		}
		if _, err := conn.ExecContext(ctx, "LOCK TABLES "+name+" READ"); err != nil {
			return lockError(table, err)
		}
		return read(conn)
	})
}
