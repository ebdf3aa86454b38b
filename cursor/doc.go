// Package cursor reads paginated sources as streams, and lets an interrupted run go
// on where it was.
//
// It has two halves that need not be used together. The first one reads: [Query] a
// table or a join of a SQL database, [Table] a table that is known only at run
// time, [Pages] and [Tokens] anything else that comes in pages. The second one
// remembers: a [Checkpoint] keeps the position that a loop has come to in a
// [Store], and [Track] commits it while the loop runs. What ties them together is
// the position, a plain value of a type P: the values of a row's key.
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
//     behind it is cut off when the next run begins.
//   - Exactly once, for rows written to a SQL database: [Checkpoint.CommitTx] saves
//     the position in the transaction that writes them.
//
// An item is consumed when the loop comes back for the next one. The item in hand at
// a break, a return, a panic or an error is not, and comes again.
//
// # Keyset paging
//
// A Query asks for a page behind the last key of the page before: WHERE key > ?
// ORDER BY key LIMIT n. It never uses OFFSET, which reads and throws away all pages
// before, and skips a row when another one before it is deleted. What this asks of
// the key:
//
//   - Together its columns are unique. Two rows with the same key cannot be told
//     apart by a position.
//   - Each column is NOT NULL. Nothing is greater than NULL.
//   - An index begins with its columns, in this order and all in one direction. Then
//     a page reads its own rows only, also in the midst of a million rows that are
//     equal in the first column.
//   - No column is a floating point number, an ENUM or a SET.
//   - The key of a row does not change while it is read.
//
// [Query.Preflight] looks whether that is so. Keys are never compared in Go: the
// database's collation decides what comes first. Since a reader trusts positions,
// each way in which one could mislead it is an error: two rows with the same
// position ([ErrDuplicateKey]), a page that ends where it was to begin
// ([ErrStalled]), a position that does not lead back to its row ([ErrPosition]).
//
// Times are where this matters most. Keep all the digits that the database keeps
// (microseconds in PostgreSQL and in DATETIME(6)), and in SQLite, which has no
// times, use the stored text. With MariaDB's TIMESTAMP let the session's time zone
// be one without summer time (time_zone='+00:00'), since an hour of each autumn is
// there twice else. For a column that is not unique, such as the time of a change,
// add the primary key: (updated_at, id).
//
// A row with a lower key can be committed after a higher one was read, as ids are
// given out at the insert. [Query.Latest] returns a bound below which that is over.
//
// # Memory and connections
//
// A page is read whole, its statement is closed, and then its rows are handed over
// one by one. No connection is held while the loop's body works. With
// [PageConfig].Prefetch the next page is read beside the body; two pages are in
// memory then, at most. The size of a page follows the database's time where
// [PageConfig].Target is set, never the time of the body.
//
// The rows of a [Table] are read from the driver itself where the Querier is a *sql.DB
// or a *sql.Conn, which takes less time than through sql.Rows and gives the same rows.
//
// # Limits
//
// A Query is not a snapshot: each page sees the database as it is when it is read.
// Run it in a transaction ([Query].DB may be a *sql.Tx) where all pages must see one
// state, and mind that a long transaction is a burden to the database.
//
// Joins can be read where the key of the driving table, together with others if
// need be, is unique in the result; the catalog cannot confirm that.
//
// The SQL that is written fits SQLite 3.37, PostgreSQL 11, MySQL 8.0, MariaDB 10.3
// and newer ones. It is tested on PostgreSQL 15 and MariaDB 10.11 through
// database/sql drivers that number or pass placeholders as they are.
package cursor
