package keyset

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// sqlite describes SQLite. An open statement makes a writer fail at once there, unless
// the database is in WAL mode, and its drivers read as they are asked.
var sqlite = dialect{
	name:          "sqlite",
	quote:         sqliteMark,
	lazy:          true,
	prepares:      true,
	mixesTypes:    true,
	storedKeys:    true,
	keyFormat:     "+%s", // the stored value, whatever the column is declared as
	keyConversion: func(*sql.ColumnType) conversion { return asStored },
	compare:       compareRows,
	arrange:       sqliteArrange,
	identify:      sqliteIdentify,
	argument:      sqliteArgument,
	param:         plainParam,
	ident:         unquote,
	describe:      sqliteTable,
	read:          sqliteRead,
	tables:        sqliteTables,
	barrier:       sqliteBarrier,
	checkResult:   sqliteCheckResult,
}

const sqliteMark = `"`

func sqliteQuote(name string) string { return quoteWith(sqliteMark, name) }

// sqliteArgument refuses times: the database has none, and compares the text that the
// driver writes for one with the text that is stored, which may be another.
func sqliteArgument(v any, _ *sql.ColumnType) (any, error) {
	if isTime(v) {
		return nil, fmt.Errorf("%w: SQLite has no times, and the text that a driver writes for one need not be the text that is stored; "+
			"select the stored text as +column and scan it into a string", ErrPosition)
	}
	return bytesOf(v), nil
}

func sqliteTables(ctx context.Context, db Querier, schema string) ([]string, error) {
	return queryStrings(ctx, db, `SELECT name FROM pragma_table_list
		WHERE name NOT LIKE 'sqlite\_%' ESCAPE '\' AND type <> 'shadow' AND (? = '' OR schema = ? COLLATE NOCASE)`, schema, schema)
}

func sqliteTable(ctx context.Context, db Querier, table tableName) (*tableInfo, error) {
	var schema, name, kind string
	var withoutRowid bool
	found := false
	err := queryEach(ctx, db, func(rows *sql.Rows) error {
		if found {
			return nil
		}
		found = true
		return rows.Scan(&schema, &name, &kind, &withoutRowid)
	}, `SELECT schema, name, type, wr FROM pragma_table_list
		WHERE name = ? COLLATE NOCASE AND (? = '' OR schema = ? COLLATE NOCASE)
		ORDER BY schema <> 'temp', schema <> 'main'`, table.name, table.schema, table.schema)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errNoTable
	}
	info := &tableInfo{view: kind != "table", fold: true}
	if err := sqliteColumns(ctx, db, info, schema, name); err != nil {
		return nil, err
	}
	if err := sqliteIndexes(ctx, db, info, schema, name); err != nil {
		return nil, err
	}
	addRowid(info, withoutRowid)
	if info.unsure = info.view; !info.unsure {
		sqliteIdentity(info)
	}
	return info, nil
}

// sqliteColumns reads the table's columns, without those that SELECT * leaves out.
func sqliteColumns(ctx context.Context, db Querier, info *tableInfo, schema, name string) error {
	return queryEach(ctx, db, func(rows *sql.Rows) error {
		var c columnInfo
		if err := rows.Scan(&c.name, &c.typ, &c.notNull, &c.primary); err != nil {
			return err
		}
		c.maybe = c.primary > 0 && !c.notNull
		c.inexact = sqliteAffinity(c.typ) == "REAL"
		// The unary plus changes nothing but the declared type, so that the driver
		// hands over what is stored and makes no time of it.
		c.format = "+%s"
		info.columns = append(info.columns, c)
		return nil
	}, `SELECT name, type, "notnull", pk FROM pragma_table_xinfo(?, ?) WHERE hidden <> 1 ORDER BY cid`, name, schema)
}

// sqliteRead has the values come as they are.
func sqliteRead(c *columnInfo) { c.format = "+%s" }

// sqliteAffinity returns what SQLite makes of a declared type, by the rules of
// section 3.1 of its page "Datatypes In SQLite".
func sqliteAffinity(typ string) string {
	typ = strings.ToUpper(typ)
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(typ, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("INT"):
		return "INTEGER"
	case has("CHAR", "CLOB", "TEXT"):
		return "TEXT"
	case typ == "" || has("BLOB"):
		return "BLOB"
	case has("REAL", "FLOA", "DOUB"):
		return "REAL"
	}
	return "NUMERIC"
}

// sqliteIndexes reads the table's indexes, without partial ones and those on
// expressions.
func sqliteIndexes(ctx context.Context, db Querier, info *tableInfo, schema, name string) error {
	var indexes []indexInfo
	err := queryEach(ctx, db, func(rows *sql.Rows) error {
		var x indexInfo
		var column, collation sql.NullString
		var desc, key bool
		if err := rows.Scan(&x.name, &x.unique, &x.primary, &column, &desc, &key, &collation); err != nil {
			return err
		}
		if n := len(indexes); n == 0 || indexes[n-1].name != x.name {
			indexes = append(indexes, x)
		}
		last := &indexes[len(indexes)-1]
		last.columns = append(last.columns, indexColumn{name: column.String, desc: desc, extra: !key, collation: collation.String})
		return nil
	}, `SELECT l.name, l."unique", l.origin = 'pk', CASE WHEN x.cid = -1 THEN 'rowid' WHEN x.cid = -2 THEN NULL ELSE x.name END, x."desc", x.key, x.coll
		FROM pragma_index_list(?, ?) l, pragma_index_xinfo(l.name, ?) x
		WHERE NOT l.partial ORDER BY l.seq, x.seqno`, name, schema, schema)
	if err != nil {
		return err
	}
	for _, x := range indexes {
		usable, err := sameCollation(ctx, db, sqliteQuote(schema)+"."+sqliteQuote(name), x)
		if err != nil {
			return err
		}
		if usable {
			info.indexes = append(info.indexes, x)
		}
	}
	return nil
}

// sameCollation reports whether an index has whole columns, compared as the table
// compares them. No catalog tells the collation of a column, but the planner uses
// an index for equality only where the two agree. A collation that this connection does
// not have makes an index that cannot be used.
func sameCollation(ctx context.Context, db Querier, table string, x indexInfo) (bool, error) {
	var conditions, names []string
	for _, c := range x.columns {
		if c.extra {
			continue
		}
		if c.name == "" {
			return false, nil // an expression
		}
		conditions = append(conditions, sqliteQuote(c.name)+" = ?")
		names = append(names, c.name+"=?")
	}
	args := make([]any, len(conditions))
	for i := range args {
		args[i] = ""
	}
	plan := ""
	err := queryEach(ctx, db, func(rows *sql.Rows) error {
		var id, parent, unused int
		return rows.Scan(&id, &parent, &unused, &plan)
	}, "EXPLAIN QUERY PLAN SELECT 1 FROM "+table+" INDEXED BY "+sqliteQuote(x.name)+" WHERE "+strings.Join(conditions, " AND "), args...)
	if err != nil && ctx.Err() == nil && (strings.Contains(err.Error(), "no query solution") || strings.Contains(err.Error(), "no such collation sequence")) {
		return false, nil
	}
	return strings.HasSuffix(plan, "("+strings.Join(names, " AND ")+")"), err
}

// readable reads what is in no order. SQLite may choose an index for that just because it is
// small, and one with a collation that the connection does not have cannot be read: then no
// index is.
func (s *spec) readable(read func(*spec) error) error {
	err := read(s)
	if err == nil || s.dialect.name != "sqlite" || s.hint != "" || !strings.Contains(err.Error(), "no such collation sequence") {
		return err
	}
	whole := *s
	whole.hint = "NOT INDEXED"
	if read(&whole) == nil {
		return nil
	}
	return err
}

// sqliteIdentity says of each column how it is compared: by its affinity and, as the
// indexes have it, by its collation.
func sqliteIdentity(info *tableInfo) {
	for i := range info.columns {
		c := &info.columns[i]
		c.identity = c.typ
		for _, x := range info.indexes {
			for _, has := range x.columns {
				if has.name == c.name && has.collation != "" {
					c.identity = strings.TrimSpace(c.typ + " " + has.collation)
				}
			}
		}
	}
}

// addRowid makes an index of the rowid, by which a table is sorted that is not
// WITHOUT ROWID. A single column INTEGER PRIMARY KEY is another name of it.
func addRowid(info *tableInfo, withoutRowid bool) {
	if info.view {
		return
	}
	if withoutRowid {
		for i := range info.columns { // the primary key is NOT NULL there, as in other databases
			c := &info.columns[i]
			c.notNull = c.notNull || c.primary > 0
			c.maybe = false
		}
		return
	}
	key := info.primaryKey()
	alias := ""
	if len(key) == 1 && strings.EqualFold(info.column(key[0]).typ, "INTEGER") && !slices.ContainsFunc(info.indexes, func(x indexInfo) bool { return x.primary }) {
		c := info.column(key[0])
		alias, c.notNull, c.maybe = c.name, true, false
		info.indexes = append(info.indexes, indexInfo{name: "rowid", unique: true, columns: []indexColumn{{name: alias}}})
	}
	for i := range info.indexes {
		for j, c := range info.indexes[i].columns {
			if c.extra && c.name == "rowid" && alias != "" {
				info.indexes[i].columns[j].name = alias
			}
		}
	}
	if info.column("rowid") == nil {
		info.columns = append(info.columns, columnInfo{name: "rowid", typ: "INTEGER", notNull: true, implicit: true, format: "%s"})
		info.indexes = append(info.indexes, indexInfo{name: "rowid", unique: true, columns: []indexColumn{{name: "rowid"}}})
	}
}

// sqliteBarrier takes the database's single write lock, so that no other writer has
// anything open.
func sqliteBarrier(ctx context.Context, db Querier, _ tableName, read func(Querier) error) error {
	return withConn(ctx, db, func(conn *sql.Conn) (err error) {
		var timeout int
		if err := conn.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&timeout); err != nil {
			return err
		}
		if timeout == 0 {
			if err := setPragma(ctx, conn, "busy_timeout", int(barrierWait.Milliseconds())); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, cleanUp(ctx, conn, "PRAGMA busy_timeout = 0")) }()
		}
		if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, cleanUp(ctx, conn, "ROLLBACK")) }()
		return read(conn)
	})
}

func setPragma(ctx context.Context, conn *sql.Conn, name string, value int) error {
	rows, err := conn.QueryContext(ctx, fmt.Sprintf("PRAGMA %s = %d", name, value)) // it may return the new value
	if err != nil {
		return err
	}
	for rows.Next() {
	}
	return errors.Join(rows.Err(), rows.Close())
}

// sqliteCheckResult refuses a key column that the driver turns into a time. The stored
// text has many forms ("2006-01-02 15:04:05", with a T, with a zone), and what the driver
// writes for a time is another: compared as text, rows would be skipped in silence.
func sqliteCheckResult(columns []*sql.ColumnType, key []string) error {
	for _, t := range columns {
		switch strings.ToUpper(t.DatabaseTypeName()) {
		case "DATE", "DATETIME", "TIMESTAMP":
		default:
			continue
		}
		for _, k := range key {
			parts := nameParts().FindAllString(k, -1)
			if len(parts) > 0 && strings.EqualFold(unquote(parts[len(parts)-1]), t.Name()) {
				return fmt.Errorf("%w: drivers change the stored text of the %s column %s; select its text with +%s AS %s_text and scan that into a string",
					ErrPosition, t.DatabaseTypeName(), t.Name(), k, t.Name())
			}
		}
	}
	return nil
}
