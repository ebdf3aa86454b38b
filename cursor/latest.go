package cursor

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"
)

// barrierWait is how long Latest waits for open transactions to end.
const barrierWait = 5 * time.Second

// Latest returns the position of the last row in the query's order that is safe as
// Until: no transaction that is open now can still commit a row before it. It is
// nil where there is no row. The query's own Until does not count.
//
// Ids are given out when a row is inserted, and rows can be seen when they are
// committed. So a reader that follows the ids can pass a lower one that is
// committed later, and never see it. Latest waits until every transaction that has
// written to the table has ended, and reads the last key while no other can write:
// under a SHARE lock in PostgreSQL, a READ lock in MySQL and MariaDB, and the
// write lock in SQLite. It waits for 5 s at most, and fails then. Writers wait as
// long as Latest does, since they queue behind it.
//
// Its limits: it speaks of rows that are inserted with keys that grow. Sequences
// that hand out numbers in blocks (CACHE in PostgreSQL, one block a session), keys
// that a trigger or an update changes, and clocks of several machines can place a
// row before the last one at any time later; no lock tells.
//
// From must be one table, and Where must look at no other in MySQL and MariaDB. DB
// must be a *sql.DB or *sql.Conn without a transaction, and the user must be allowed
// to lock the table (in PostgreSQL, to write to it).
func (q Query[T, P]) Latest(ctx context.Context) (*P, error) {
	q.check()
	table, ok := parseFrom(q.Dialect, q.From)
	if !ok {
		return nil, fmt.Errorf("cursor: Latest locks one table, and cannot tell which one %q is; take it from a query on the table that has the key", q.From)
	}
	q.Until = nil
	var latest *P
	err := q.Dialect.barrier(ctx, q.DB, table, func(db Querier) error {
		q.DB = db
		k, err := q.keyset(ctx)
		if err != nil {
			return err
		}
		latest, err = q.onePosition(ctx, k, nil, !q.Desc, 0)
		return err
	})
	if err != nil {
		return nil, q.explain(err)
	}
	return latest, nil
}

// onePosition returns the position of the row behind another in the given order,
// passing over some. It is nil where there is none.
func (q *Query[T, P]) onePosition(ctx context.Context, k *keyset, after *P, desc bool, skip int) (*P, error) {
	text, args, err := q.statement(k, q.keyList(k), after, desc, 1, skip)
	if err != nil {
		return nil, err
	}
	var found *P
	err = queryEach(ctx, q.DB, func(rows *sql.Rows) error {
		p, err := scanPosition[P](rows, q.keyKinds(k))
		found = &p
		return err
	}, text, args...)
	return found, err
}

// keyList returns the select list of the key columns.
func (q *Query[T, P]) keyList(k *keyset) string {
	list := make([]string, len(k.columns))
	for i, c := range k.columns {
		switch {
		case q.table != nil:
			list[i] = fmt.Sprintf(q.table.key[i].format, c)
		case q.Dialect == SQLite:
			list[i] = "+" + c // the stored value, whatever the column is declared as
		default:
			list[i] = c
		}
	}
	return strings.Join(list, ", ")
}

// keyKinds returns what becomes of the key's values in a Key.
func (q *Query[T, P]) keyKinds(k *keyset) []cellKind {
	kinds := make([]cellKind, len(k.columns))
	for i := range kinds {
		switch {
		case q.Dialect == SQLite:
			kinds[i] = asStored
		case q.table != nil:
			kinds[i] = q.table.key[i].kind
		case q.Dialect == MySQL && isMySQLText(k.types[i].DatabaseTypeName()):
			kinds[i] = asText
		}
	}
	return kinds
}

// lockError says what was waited for.
func lockError(table tableName, err error) error {
	return fmt.Errorf("lock %s, waiting %v for transactions that write to it (end them, or try again): %w", table.text, barrierWait, err)
}

// withConn calls use with one connection. A transaction will not do.
func withConn(ctx context.Context, db Querier, use func(*sql.Conn) error) error {
	switch db := db.(type) {
	case *sql.Conn:
		return use(db)
	case interface {
		Conn(context.Context) (*sql.Conn, error)
	}:
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		return use(conn)
	}
	return fmt.Errorf("Latest needs a *sql.DB or *sql.Conn, got %T: it takes a lock of its own and gives it back", db)
}

// discard takes a connection out of its pool, so that whatever it still holds is
// dropped with it.
func discard(conn *sql.Conn) error {
	err := conn.Raw(func(any) error { return driver.ErrBadConn })
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		return nil
	}
	return err
}
