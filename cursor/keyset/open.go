package keyset

import (
	"context"
	"errors"
	"time"

	"example.com/pipeline/cursor/internal/paging"
	"example.com/pipeline/seq"
)

// runRows is how many rows of an open page are read in one go. They are still in the
// processor's cache when the loop gets them. Tests make it smaller.
var runRows = 128

// An openPage is a page whose rows go to the loop while its statement is open.
//
// The loop reads the rows itself, in runs: to have another goroutine read them would
// cost more in switches than the two would gain. A keeper waits beside it. When the
// page has been open for as long as the loop may hold it, the keeper takes the turn
// while the loop is in its body, reads what is left into memory, and closes the
// statement. The loop finds the rest there when it comes back.
//
// The last row of each run is held back until the next one is known: of two rows with
// the same position neither may be handed over.
type openPage[T, P any] struct {
	r       *reader[T, P]
	after   *P // the position that the page begins behind
	rows    int
	limit   int // one less than rows: the last of these is looked at only
	budget  budget
	keeper  *seq.Task
	release chan struct{} // closed when the keeper is not needed any more

	// turn is the right to read, and to what follows. It is a channel rather than a
	// mutex, since a driver and Scan run under it.
	turn   chan struct{}
	src    source[T] // nil once it is closed
	count  int       // rows read
	held   T         // the last row read
	taken  bool      // the keeper has read the rest, or is about to
	rest   []T       // what it has read, behind the row held back
	rowErr error     // of a row that cannot be read; final
	err    error     // of the statement
	took   time.Duration

	// The loop's own.
	batches [2][]T // the last two: a row is valid until the call after the next
	handed  int    // rows
	last    P      // of the last row handed over
	over    bool
	more    bool
	final   error
}

// openPage returns the page that begins with these rows, and whose others are read as
// the loop wants them.
func (r *reader[T, P]) openPage(req paging.Request[T, P], first []T, src source[T], b budget, limit int) (paging.Page[T, P], error) {
	o := &openPage[T, P]{
		r: r, after: req.After, rows: limit + 1, limit: limit, budget: b, src: src, count: len(first),
		turn: make(chan struct{}, 1), release: make(chan struct{}),
	}
	items := o.accept(first)
	pg := paging.Page[T, P]{Items: items, Rest: o}
	if len(items) == 0 {
		// Only two rows with one position come to nothing. There is no page to be held.
		pg.Rest, pg.Err = nil, o.final
		return pg, o.closeSource()
	}
	return pg, nil
}

// Begin implements [paging.Rest].
func (o *openPage[T, P]) Begin(ctx context.Context) { o.keeper = seq.Go(ctx, o.keep) }

// keep is the keeper.
func (o *openPage[T, P]) keep() {
	patience := time.NewTimer(holdOf(o.r.page))
	defer patience.Stop()
	select {
	case <-patience.C:
	case <-o.release:
		return
	}
	select {
	case o.turn <- struct{}{}:
	case <-o.release:
		return
	}
	defer func() { <-o.turn }()
	if o.src != nil {
		o.taken = true
		o.r.headroom.release() // what is read now is alive
		o.rest = o.read([]T{o.held}, o.rows-o.count+1)
	}
}

// read appends rows to items until there are max of them, and closes the statement at
// its end. Whoever calls it has the turn.
func (o *openPage[T, P]) read(items []T, max int) []T {
	began, before := time.Now(), len(items)
	items, more, err := o.src.read(o.budget.ctx, items, max, &o.budget)
	o.count += len(items) - before
	o.took += time.Since(began)
	if bad := (*rowError)(nil); errors.As(err, &bad) {
		o.rowErr, err = bad.err, nil
	} else if o.err = err; err == nil && more && o.count < o.rows && !o.budget.full {
		return items
	}
	if closing := o.closeSource(); closing != nil && o.err == nil && !o.budget.full {
		o.err = closing
	}
	return items
}

// closeSource closes the statement. A rest that takes its driver long to throw away is
// cut off with the connection.
func (o *openPage[T, P]) closeSource() error {
	src := o.src
	if src == nil {
		return nil
	}
	o.src = nil
	defer o.budget.stop()
	defer time.AfterFunc(hold, o.budget.stop).Stop()
	return src.close()
}

// Next implements [paging.Rest].
func (o *openPage[T, P]) Next(ctx context.Context) ([]T, error) {
	items, err := o.next(ctx)
	if err != nil || !o.over || o.more || o.final != nil || len(items) == 0 {
		return items, err
	}
	err = o.r.knowAgain(ctx) // before the stream ends
	if bad := (*rowError)(nil); errors.As(err, &bad) {
		o.final = bad.err
	} else if err != nil {
		o.more = true // the page behind this one, which is empty, asks again, and can be tried again
	}
	return items, nil
}

func (o *openPage[T, P]) next(ctx context.Context) ([]T, error) {
	if o.over {
		return nil, nil
	}
	select {
	case o.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, seq.ContextError(ctx)
	}
	if o.taken {
		<-o.turn
		o.keeper.Join() // it passes on a panic
		return o.accepted(o.rest)
	}
	defer func() { <-o.turn }()
	batch := o.batches[0]
	o.batches[0] = o.batches[1]
	batch = o.read(append(batch[:0], o.held), runRows+1)
	return o.accepted(batch)
}

// accepted is accept where the statement may have failed.
func (o *openPage[T, P]) accepted(batch []T) ([]T, error) {
	if o.err != nil && o.budget.ctx.Err() == nil && timeLimit(o.err) != "" {
		// The server's time was up for this page. Smaller ones go on behind it.
		o.r.halve(o.count)
		o.over, o.more = true, true
		return nil, nil
	}
	if o.err != nil {
		return nil, o.r.spec.explain(o.err)
	}
	return o.accept(batch), nil
}

// accept returns the rows of a batch that may be handed over, and holds the last one
// back unless the page ends with it.
func (o *openPage[T, P]) accept(batch []T) []T {
	o.batches[1] = batch
	n := len(batch)
	i := paging.Duplicate(nil, batch, o.r.position, o.r.equal)
	if o.handed == 0 && o.after != nil && o.r.equal(*o.after, o.r.position(&batch[0])) {
		i = 0
	}
	switch {
	case i >= 0:
		o.over, o.final = true, paging.ErrorDuplicate(o.r.position(&batch[i]))
		n = max(i-1, 0)
	case o.rowErr != nil:
		o.over, o.final = true, o.rowErr
	case o.src == nil:
		o.over = true
		o.more = o.count == o.rows || o.budget.full
		if o.more { // the last row is left to the next page, which looks what is behind it
			n--
		}
	default:
		o.held = batch[n-1]
		n--
	}
	if n > 0 {
		o.last = o.r.own(o.r.position(&batch[n-1]))
		o.handed += n
	}
	return batch[:n]
}

// Last implements [paging.Rest]. What it returns does not keep the page in memory.
func (o *openPage[T, P]) Last() *P { return paging.Clone(&o.last) }

// End implements [paging.Rest].
func (o *openPage[T, P]) End() (s paging.Stats, more, taken bool, err error) {
	o.r.learn(&o.budget)
	o.r.passed(o.handed, o.budget.used, o.more && !o.taken)
	if err = o.final; err == nil && o.after != nil && o.r.equal(*o.after, o.last) {
		err = paging.ErrorStalled(o.last)
	}
	return paging.Stats{Rows: o.handed, Limit: o.limit, Took: o.took}, o.more && err == nil, o.taken, err
}

// Close implements [paging.Rest].
func (o *openPage[T, P]) Close() {
	defer o.closeSource() // the keeper has ended then, also where it passes on a panic
	if o.keeper == nil {
		return
	}
	close(o.release)
	select {
	case o.turn <- struct{}{}:
		<-o.turn
	default:
		o.budget.stop() // the keeper reads what nobody wants any more, and may wait for a row
	}
	o.keeper.Join()
}
