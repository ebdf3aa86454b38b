package cursor

import (
	"context"
	"database/sql"
)

// defaultPageBytes bounds a page where PageConfig.Bytes is 0. Rows of the usual sizes
// never reach it.
const defaultPageBytes = 32 << 20

// A room is what a page has for the bytes of its rows.
type room struct {
	rows int   // asked for
	max  int64 // bytes; 0 means that they are not counted
	used int64
	read int
	full bool               // the bound is reached, and more rows may come
	stop context.CancelFunc // ends the statement
}

// add counts a row and reports whether the page must end with it; then it has ended the
// statement.
func (m *room) add(bytes int) bool {
	m.read++
	m.used += int64(bytes)
	m.full = m.used >= m.max && m.read < m.rows
	if m.full {
		m.stop()
	}
	return m.full
}

// room returns the room for a page of so many rows.
func (r *reader[T, P]) room(rows int) room {
	m := room{rows: rows}
	if r.q.Bytes == nil {
		return m
	}
	if m.max = r.q.Page.Bytes; m.max == 0 {
		m.max = defaultPageBytes
	}
	return m
}

// learn sizes the next page after one that reached its bound, and those that follow:
// to half of the bound, so that few of them reach it although rows differ, and to at
// most twice the page before.
func (r *reader[T, P]) learn(m *room) {
	if m.read == 0 || r.fit == 0 && !m.full {
		return
	}
	fit := max(1, int(min(m.max/2/max(1, m.used/int64(m.read)), 1<<29)))
	if !m.full {
		fit = min(fit, 2*r.fit)
	}
	r.fit = fit
}

// stoppable returns a context whose end keeps the rest of a statement from being
// transferred. Two drivers read all of a result before they close it; but the
// connection is lost by that, and with it what else the caller has on it, so it is done
// to a pool's only. SQLite reads no further than it is asked to.
func (r *reader[T, P]) stoppable(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, pool := r.q.DB.(*sql.DB); !pool || r.q.Bytes == nil || r.q.Dialect == SQLite {
		return ctx, func() {}
	}
	return context.WithCancel(ctx)
}

// rowBytes returns what a row of a Table holds.
func rowBytes(row Row) int {
	const word = 16 // of an interface
	n := word * (len(row.Values) + len(row.Key))
	for _, v := range row.Values {
		switch v := v.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		}
	}
	return n
}
