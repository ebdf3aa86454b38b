// Package cursor reads paginated sources as streams, and lets an interrupted run go
// on where it was.
//
// It has two halves that need not be used together. The first one reads: [Pages] and
// [Tokens] anything that comes in pages, [Lines] the lines of a file, and package keyset the
// tables of SQL databases. The second one remembers: a [Checkpoint] keeps the position that a loop has
// come to in a [Store], and [Track] commits it while the loop runs. What ties them
// together is the position, a plain value of a type P: the values of a row's key.
//
//	job, err := cursor.Open[int64](ctx, store, "export orders", cursor.WithFingerprint(q.Fingerprint()))
//	if err != nil {
//		return err
//	}
//	defer job.Close()
//	rows := q.Stream(ctx, job.Position())
//	for order, err := range cursor.Track(ctx, rows, job, cursor.Every{}, q.Position) {
//		if err != nil {
//			return err
//		}
//		handle(order)
//	}
//	return job.Finish(ctx)
//
// # Guarantees
//
// Each is about every row that is there from the first page to the last and whose
// key does not change; rows that come and go meanwhile are seen or not.
//
//   - At least once, for anything that the loop does: a run that was killed does
//     again what it did since the last commit, and skips nothing.
//   - Exactly once, for a [File]: its length is saved with the position, and what is
//     behind it is cut off when the next run begins. A csv.Writer, and whatever else has a
//     buffer, writes to [File.Buffered], which is flushed with each item.
//   - Exactly once, for rows written to a SQL database: [Checkpoint.CommitTx] saves
//     the position in the transaction that writes them.
//
// An item is consumed when the loop comes back for the next one. The item in hand at
// a break, a return, a panic or an error is not, and comes again.
//
// # To stop gracefully
//
// A program that is asked to stop, by Ctrl-C or SIGTERM, passes a context that says so: that of
// control.Interruptible, or of seq.WithStop. Then calls in flight finish, none begins,
// and the loop of [Track] ends without an error at the first item that is not done, with
// everything before it committed. Whatever else had been read ahead is read again by the next
// run. [Checkpoint.Finish] returns an error then, since the end of that loop need not be
// the end of the job.
//
// # Memory
//
// [Pages] reads a page whole and hands its items over one by one. With
// [PageConfig].Prefetch the next page is read beside the loop's body; two pages are in
// memory then, at most.
package cursor
