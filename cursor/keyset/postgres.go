package keyset

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// postgres describes PostgreSQL. The server gives a parameter the type of the column that
// it is compared with, so a value needs no cast, and text is read as that type.
var postgres = dialect{
	name:          "postgres",
	quote:         `"`,
	numbered:      true,
	streams:       true,
	keyFormat:     "%s",
	keyConversion: func(*sql.ColumnType) conversion { return asGiven },
	compare:       compareRows,
	session:       postgresSession,
	keySession:    postgresKeySession,
	keyTypes:      postgresKeyTypes,
	meaning:       postgresMeaning,
	argument:      func(v any, _ *sql.ColumnType) (any, error) { return v, nil },
	param:         plainParam,
	ident:         postgresIdent,
	describe:      postgresTable,
	read:          postgresRead,
	tables:        postgresTables,
	barrier:       postgresBarrier,
}

// postgresIdent folds names that are not quoted, as the server does.
func postgresIdent(ident string) string {
	if ident = strings.TrimSpace(ident); !strings.HasPrefix(ident, `"`) {
		return strings.ToLower(ident)
	}
	return unquote(ident)
}

func postgresTables(ctx context.Context, db Querier, schema string) ([]string, error) {
	return queryStrings(ctx, db, `
		SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
			AND CASE WHEN $1::text = '' THEN pg_table_is_visible(c.oid) AND n.nspname NOT IN ('pg_catalog', 'information_schema')
				ELSE n.nspname = $1::text END
		ORDER BY 1`, schema)
}

// errDropped says that a table was dropped while it was looked at.
var errDropped = errors.New("the table has just been dropped")

// postgresTable looks again where that has happened: what is missing of the table is no word
// on the one of that name that there is now.
func postgresTable(ctx context.Context, db Querier, table tableName) (*tableInfo, error) {
	for {
		info, err := postgresDescribe(ctx, db, table)
		if !errors.Is(err, errDropped) {
			return info, err
		}
	}
}

func postgresDescribe(ctx context.Context, db Querier, table tableName) (*tableInfo, error) {
	var oid int64
	var view, parent, heap bool
	var schema string
	found := false
	err := queryEach(ctx, db, func(rows *sql.Rows) error {
		found = true
		return rows.Scan(&oid, &view, &parent, &heap, &schema)
	}, `SELECT c.oid::int8, c.relkind NOT IN ('r', 'p'),
			c.relkind = 'r' AND EXISTS (SELECT 1 FROM pg_inherits WHERE inhparent = c.oid), c.relkind = 'r',
			CASE WHEN n.oid = pg_my_temp_schema() THEN 'pg_temp' ELSE n.nspname::text END
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relname = $1::text AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
			AND CASE WHEN $2::text = '' THEN pg_table_is_visible(c.oid)
				WHEN $2::text = 'pg_temp' THEN n.oid = pg_my_temp_schema() ELSE n.nspname = $2::text END`,
		table.name, table.schema)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errNoTable
	}
	info := &tableInfo{view: view, schema: schema}
	if err := postgresColumns(ctx, db, info, oid); err != nil {
		return nil, err
	}
	if err := postgresIndexes(ctx, db, info, oid, parent); err != nil {
		return nil, err
	}
	if len(info.columns) == 0 || len(info.indexes) == 0 {
		there, err := queryAny(ctx, db, "SELECT 1 FROM pg_class WHERE oid = $1::int8::oid", oid)
		if err != nil {
			return nil, err
		}
		if !there {
			return nil, errDropped
		}
	}
	if heap && !parent { // otherwise rows of several tables are at one place
		info.columns = append(info.columns, columnInfo{name: "ctid", typ: "tid", identity: "tid", cast: "tid", notNull: true, implicit: true, format: "%s::text"})
		info.indexes = append(info.indexes, indexInfo{name: "ctid", unique: true, columns: []indexColumn{{name: "ctid"}}})
	}
	return info, nil
}

// postgresRead knows the types as the driver calls them; one that it has no name for has
// its number, and is read as text.
func postgresRead(c *columnInfo) {
	base := strings.ToLower(c.typ)
	c.money = base == "money"
	c.inexact = base == "float4" || base == "float8"
	c.format, c.conversion = postgresFormat(base)
}

// postgresColumns reads the columns of a table. A domain is what it is over in the end.
func postgresColumns(ctx context.Context, db Querier, info *tableInfo, oid int64) error {
	var types []postgresType
	err := queryEach(ctx, db, func(rows *sql.Rows) error {
		var c columnInfo
		var t postgresType
		var base string
		if err := rows.Scan(&c.name, &c.typ, &base, &c.composite, &c.notNull, &c.primary, &t.oid, &t.collation, &t.mod); err != nil {
			return err
		}
		c.inexact = base == "float4" || base == "float8"
		c.cast = postgresCasts[base]
		c.format, c.conversion = postgresFormat(base)
		t.text = c.typ
		info.columns = append(info.columns, c)
		types = append(types, t)
		return nil
	}, `WITH RECURSIVE bases (attnum, oid, depth) AS (
			SELECT attnum, atttypid, 0 FROM pg_attribute WHERE attrelid = $1::int8::oid AND attnum > 0 AND NOT attisdropped
			UNION ALL
			SELECT b.attnum, t.typbasetype, b.depth + 1 FROM bases b JOIN pg_type t ON t.oid = b.oid WHERE t.typtype = 'd')
		SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), b.typname::text, b.typtype = 'c', a.attnotnull,
			COALESCE((SELECT k FROM pg_index i, generate_series(1, i.indnkeyatts) k
				WHERE i.indrelid = a.attrelid AND i.indisprimary AND i.indkey[k-1] = a.attnum), 0),
			a.atttypid::int8, a.attcollation::int8, a.atttypmod::int8
		FROM pg_attribute a
			JOIN (SELECT DISTINCT ON (attnum) attnum, oid FROM bases ORDER BY attnum, depth DESC) d ON d.attnum = a.attnum
			JOIN pg_type b ON b.oid = d.oid
		WHERE a.attrelid = $1::int8::oid AND a.attnum > 0 AND NOT a.attisdropped
		ORDER BY a.attnum`, oid)
	if err != nil {
		return err
	}
	orders, err := postgresOrders(ctx, db, types)
	if err != nil {
		return err
	}
	for i := range orders {
		orders[i].describe(&info.columns[i])
	}
	return nil
}

// postgresCasts are the types that a parameter can be cast to without a change of its value.
var postgresCasts = map[string]string{
	"int2": "int2", "int4": "int4", "int8": "int8", "numeric": "numeric", "text": "text", "varchar": "text", "bpchar": "bpchar",
	"uuid": "uuid", "bytea": "bytea", "date": "date", "timestamp": "timestamp", "timestamptz": "timestamptz",
}

// postgresFormat returns how a Table selects a column, and what it makes of the values: as
// it is where the driver reads the type exactly, otherwise as the server's text. What
// names an object in the catalog is read as its number, since its text depends on the
// search path.
func postgresFormat(typ string) (string, conversion) {
	switch typ {
	case "int2", "int4", "int8", "bool", "text", "varchar", "bpchar", "bytea", "float8", "timestamp", "timestamptz":
		return "%s", asGiven
	case "float4":
		return "%s", asShortest // 0.1 and not 0.10000000149011612
	}
	switch name, array := strings.CutPrefix(typ, "_"); name {
	case "regproc", "regprocedure", "regoper", "regoperator", "regclass", "regtype", "regrole", "regnamespace", "regconfig", "regdictionary", "regcollation":
		if array {
			return "%s::oid[]::text", asGiven
		}
		return "%s::oid::text", asGiven
	}
	return "%s::text", asGiven
}

// postgresIndexes reads the B-tree indexes that are valid and not partial. A table with
// children by inheritance is read together with their rows, for which its indexes
// do not stand.
func postgresIndexes(ctx context.Context, db Querier, info *tableInfo, oid int64, parent bool) error {
	if parent {
		return nil
	}
	last := int64(0)
	return queryEach(ctx, db, func(rows *sql.Rows) error {
		var id int64
		var x indexInfo
		var c indexColumn
		if err := rows.Scan(&id, &x.name, &x.primary, &x.unique, &c.name, &c.desc, &c.other, &c.alike); err != nil {
			return err
		}
		if id != last {
			last = id
			info.indexes = append(info.indexes, x)
		}
		columns := &info.indexes[len(info.indexes)-1].columns
		*columns = append(*columns, c)
		return nil
	}, `SELECT i.indexrelid::int8, ic.relname::text, i.indisprimary, i.indisunique,
			COALESCE(a.attname::text, ''), i.indoption[k-1] & 1 = 1,
			a.attname IS NULL OR i.indcollation[k-1] <> a.attcollation OR NOT oc.opcdefault OR i.indoption[k-1] NOT IN (0, 3),
			a.attname IS NOT NULL AND (i.indcollation[k-1] = a.attcollation OR NOT EXISTS (SELECT 1 FROM pg_collation c
				WHERE c.oid IN (i.indcollation[k-1], a.attcollation) AND to_jsonb(c)->>'collisdeterministic' = 'false')) AND (oc.opcdefault OR
				EXISTS (SELECT 1 FROM pg_amop o JOIN pg_amop p ON p.amopopr = o.amopopr JOIN pg_opclass d ON d.opcfamily = p.amopfamily
					WHERE o.amopfamily = oc.opcfamily AND o.amopstrategy = 3 AND p.amopstrategy = 3 AND d.opcdefault AND d.opcmethod = oc.opcmethod
						AND d.opcintype = oc.opcintype))
		FROM pg_index i
			JOIN pg_class ic ON ic.oid = i.indexrelid
			JOIN pg_am am ON am.oid = ic.relam
			CROSS JOIN generate_series(1, i.indnkeyatts) k
			JOIN pg_opclass oc ON oc.oid = i.indclass[k-1]
			LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k-1] AND a.attnum > 0
		WHERE i.indrelid = $1::int8::oid AND i.indisvalid AND i.indisready AND i.indpred IS NULL AND am.amname = 'btree'
		ORDER BY i.indexrelid, k`, oid)
}

// postgresBarrier takes a SHARE lock, which waits for every transaction that has written to
// the table and lets no other begin to. The statement behind it sees what they
// committed.
func postgresBarrier(ctx context.Context, db Querier, table tableName, read func(Querier) error) error {
	return withConn(ctx, db, func(conn *sql.Conn) (err error) {
		if _, err := conn.ExecContext(ctx, "BEGIN ISOLATION LEVEL READ COMMITTED"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, cleanUp(ctx, conn, "ROLLBACK")) }() // it gives the lock back
		if _, err := conn.ExecContext(ctx, fmt.Sprintf("SET LOCAL lock_timeout = %d", barrierWait.Milliseconds())); err != nil {
			return err
		}
		if _, err := conn.ExecContext(ctx, "LOCK TABLE "+table.text+" IN SHARE MODE"); err != nil {
			return lockError(table, err)
		}
		return read(conn)
	})
}
