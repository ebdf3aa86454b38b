package sqlite

import (
	"context"
	"database/sql/driver"
	"io"

	lib "modernc.org/sqlite/lib"

	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/seq"
)

// Rows are read ahead in batches of batchRows, or of batchBytes, about: so much stays in the
// processor's cache until it is used. With three of them neither side waits for the other at
// each one. Rows of a batch that is larger than largeBatch are not worth a copy.
const (
	batchRows  = 128
	batchBytes = 64 << 10
	largeBatch = 1 << 20
	batches    = 3
	aloneRows  = 64 // a result that is smaller is not worth a goroutine
)

// A readAhead reads the rows of a statement in a goroutine of its own while those before are
// used: what SQLite does is half of the work of an export. Nobody may use the connection
// meanwhile: see settle.
type readAhead struct {
	c       *conn
	s       *stmt
	columns int

	task   *seq.Task
	cancel context.CancelFunc // interrupts the statement
	pause  chan struct{}      // closed when the goroutine is to leave with the batch in hand
	free   chan *batch
	full   chan *batch // closed at the end

	cur  *batch // the consumer's
	next int    // the cell that it comes to
}

// A batch is some rows, in memory of Go's.
type batch struct {
	cells []cell // row by row
	bytes []byte // of all texts and blobs
	err   error  // behind the rows; io.EOF at the end
}

// A cell is a value.
type cell struct {
	kind     int32 // SQLite's type
	from, to int   // where the bytes are, where it has some
	int      keyset.Int
	float    float64
	text     keyset.Text
}

// readAhead begins to read ahead.
func (c *conn) readAhead(ctx context.Context, s *stmt, columns int) *readAhead {
	ctx, cancel := context.WithCancel(ctx)
	a := &readAhead{
		c: c, s: s, columns: columns, cancel: cancel,
		pause: make(chan struct{}), free: make(chan *batch, batches), full: make(chan *batch, batches),
	}
	spare := c.spare
	c.spare = nil
	for len(spare) < batches {
		spare = append(spare, new(batch))
	}
	for _, b := range spare {
		a.free <- b
	}
	c.use(ctx)
	c.reading = a
	a.task = seq.Go(ctx, func() { a.run(ctx) })
	return a
}

func (a *readAhead) run(ctx context.Context) {
	defer close(a.full)
	for {
		select {
		case <-a.pause:
			return
		case <-ctx.Done():
			return
		case b := <-a.free:
			more := a.fill(b)
			a.full <- b
			if !more {
				return
			}
		}
	}
}

// fill reads a batch. It is false where the goroutine has no more to do.
func (a *readAhead) fill(b *batch) bool {
	b.cells, b.bytes, b.err = b.cells[:0], b.bytes[:0], nil
	for range batchRows {
		row, err := a.c.step(a.s)
		if err == nil && row {
			b.cells, err = a.copyRow(b)
		} else if err == nil {
			err = io.EOF
		}
		if err != nil {
			b.err = err
			return false
		}
		if len(b.bytes) >= batchBytes {
			break
		}
	}
	return len(b.bytes) < largeBatch
}

// copyRow appends the values of the row that the statement stands at.
func (a *readAhead) copyRow(b *batch) ([]cell, error) {
	tls, cells := a.c.tls, b.cells
	for i := range a.columns {
		v := lib.Xsqlite3_column_value(tls, a.s.handle, int32(i))
		c := cell{kind: lib.Xsqlite3_value_type(tls, v)}
		switch c.kind {
		case lib.SQLITE_INTEGER:
			c.int = keyset.Int(lib.Xsqlite3_value_int64(tls, v))
		case lib.SQLITE_FLOAT:
			c.float = lib.Xsqlite3_value_double(tls, v)
		case lib.SQLITE_TEXT, lib.SQLITE_BLOB:
			bytes, err := a.c.bytes(v, c.kind)
			if err != nil {
				return b.cells, err
			}
			c.from = len(b.bytes)
			b.bytes = append(b.bytes, bytes...)
			c.to = len(b.bytes)
		}
		cells = append(cells, c)
	}
	return cells, nil
}

// lend hands over the next row. It is false where the goroutine has left and all of its rows
// have been handed over.
func (a *readAhead) lend(dest []driver.Value) (bool, error) {
	for a.cur == nil || a.next == len(a.cur.cells) {
		if a.cur != nil {
			if a.cur.err != nil {
				return false, a.cur.err
			}
			a.free <- a.cur
			a.cur = nil
		}
		b, ok := <-a.full
		if !ok {
			return false, nil
		}
		a.cur, a.next = b, 0
	}
	for i := range dest {
		c := &a.cur.cells[a.next+i]
		switch c.kind {
		case lib.SQLITE_INTEGER:
			dest[i] = &c.int
		case lib.SQLITE_FLOAT:
			dest[i] = c.float
		case lib.SQLITE_TEXT:
			c.text = a.cur.bytes[c.from:c.to:c.to]
			dest[i] = &c.text
		case lib.SQLITE_BLOB:
			dest[i] = a.cur.bytes[c.from:c.to:c.to]
		default:
			dest[i] = nil
		}
	}
	a.next += a.columns
	return true, nil
}

// end waits for the goroutine and gives the memory back. Rows that have not been handed over
// are lost.
func (a *readAhead) end() {
	defer a.cancel()
	if a.c.reading == a {
		a.c.settle()
	}
	if a.c.db == 0 {
		return
	}
	give := func(b *batch) {
		if cap(b.bytes) > largeBatch {
			b.bytes = nil
		}
		a.c.spare = append(a.c.spare, b)
	}
	if a.cur != nil {
		give(a.cur)
		a.cur = nil
	}
	for b := range a.full {
		give(b)
	}
	close(a.free)
	for b := range a.free {
		give(b)
	}
	a.c.spare = a.c.spare[:min(len(a.c.spare), batches)]
}

// settle waits until no goroutine reads ahead, so that the connection can be used. What it has
// read stays.
func (c *conn) settle() {
	if a := c.reading; a != nil {
		c.reading = nil
		close(a.pause)
		a.task.Join()
	}
}
