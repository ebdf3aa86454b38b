package keyset

import "context"

// A budget is the bytes that the rows of a page may take.
type budget struct {
	rows int   // asked for
	max  int64 // bytes; 0 means that they are not counted
	used int64
	read int                // rows
	full bool               // it is used up, and more rows may come
	ctx  context.Context    // of the statement
	stop context.CancelFunc // ends it, so that the rest is not transferred
}

// add counts a row and reports whether the page must end with it; then it has ended the
// statement.
func (b *budget) add(bytes int) bool {
	b.read++
	b.used += int64(bytes)
	b.full = b.used >= b.max && b.read < b.rows
	if b.full {
		b.stop()
	}
	return b.full
}

// budget returns the budget of a page of so many rows.
func (r *reader[T, P]) budget(rows int) budget {
	b := budget{rows: rows}
	if r.bytes == nil {
		return b
	}
	if b.max = int64(r.page.Bytes); b.max == 0 {
		b.max = pageBytes
	}
	return b
}

// learn sizes the next page after one that has used its budget up, and those that
// follow: to half of it, so that few of them use it up although rows differ, and to at
// most twice the page before.
func (r *reader[T, P]) learn(b *budget) {
	if b.read == 0 || r.fit == 0 && !b.full {
		return
	}
	fit := max(1, int(min(b.max/2/max(1, b.used/int64(b.read)), 1<<29)))
	if !b.full {
		fit = min(fit, 2*r.fit)
	}
	r.fit = fit
}

// cancels reports whether a statement whose page is full is to be cancelled. Two drivers
// read all of a result before they close it; but the connection is lost by that, and with
// it what else the caller has on it, so it is done to a pool's only. A database that is
// read as it is asked reads no further.
func (r *reader[T, P]) cancels() bool {
	return r.bytes != nil && !r.spec.dialect.lazy && r.spec.pooled()
}

// wordSize is the size of an interface.
const wordSize = 16

// rowBytes returns what a row of a Table holds.
func rowBytes(row Row) int {
	n := wordSize*(len(row.Values)+len(row.Key)) + len(row.Encoded)
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
