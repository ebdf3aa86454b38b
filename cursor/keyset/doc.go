// Package keyset reads the tables and queries of SQL databases as streams, page by page
// in the order of a key, so that a run can go on behind any row.
//
// A [Query] reads a table or a join into a type of yours. A [Table] is looked up in the
// catalog when the program runs, and gives a [Row]. Both have the same methods: Stream
// reads, Preflight looks whether the key is one to read by, Latest gives a bound below
// which no commit can still come in, Split cuts the rows into ranges for several
// workers, and Fingerprint tells one query from another for a checkpoint. What a
// database does in a way of its own is in its [Dialect].
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
//     equal in the first column. A key may also have columns in different directions
//     ("a", "b DESC"), if the index has them so.
//   - No column is a floating point number, money or a composite; and in MariaDB none is
//     an ENUM, a SET, or a CHAR under a NOPAD collation.
//   - The key of a row does not change while it is read.
//
// [Query.Preflight] looks whether that is so. Keys are never compared in Go: the
// database's collation decides what comes first. Since a reader trusts positions,
// each way in which one could mislead it is an error: two rows with the same
// position ([cursor.ErrDuplicateKey]), a page that ends where it was to begin
// ([cursor.ErrStalled]), a position that does not lead back to its row ([ErrPosition]).
//
// Where no unique index proves that a key is unique, as of a view or a join, Go cannot
// tell either: the database may take for equal what is written in two ways, such as 1.0
// and 1.00, or a and A. It is asked for each page, which reads the page's keys a second
// time, and such pages are never open.
//
// Types and collations say in which order rows come. They are part of a fingerprint, and
// are looked at again when a stream goes on behind a position and before it ends: where
// they have changed it ends with [cursor.ErrMismatch].
//
// # Settings of the session
//
// What is read depends on no setting of a role, a database or a session. In PostgreSQL each
// page's statement pins datestyle (ISO), intervalstyle, extra_float_digits, bytea_output,
// the time zone (UTC) and the locale of money and numbers, until it ends. In MariaDB the
// statements of a Table pin the time zone and take PAD_CHAR_TO_FULL_LENGTH out of the
// sql_mode. A *sql.Tx and a *sql.Conn of PostgreSQL are sessions of their owner, and so is
// every connection of MySQL, which has no settings for one statement: those must be right,
// or [ErrSession] says what to set. Text must be sent as UTF-8.
//
// Conditions are evaluated under these settings, too. In PostgreSQL constants in them are
// read before that: give a time its offset, or make it one of Args.
//
// Times are where this matters most. Keep all the digits that the database keeps
// (microseconds in PostgreSQL and in DATETIME(6)), and in SQLite, which has no
// times, use the stored text. A TIMESTAMP of MariaDB is text in UTC in a Table. In a Query it
// is what the driver makes of it, in the session's time zone; as a key it is refused unless
// that zone has a fixed offset, since an hour of each autumn is there twice otherwise. For
// a column that is not unique, such as the time of a change, add the primary key:
// (updated_at, id).
//
// A row with a lower key can be committed after a higher one was read, as ids are
// given out at the insert. [Query.Latest] returns a bound below which that is over.
//
// # Memory and connections
//
// A page is kept or open. A kept page is read whole, its statement is closed, and then
// its rows are handed over one by one. The rows of an open page go to the loop in short
// runs while the statement is open; that takes less time than to keep them, and hardly any
// memory. Pages are open where the last page's loop was quicker than its reading.
//
// No loop keeps a statement open for long. When it has held an open page for
// [cursor.PageConfig].Hold, 100 ms unless that says otherwise, the rest of the page is
// read into memory beside the loop's body, and the connection is free. After that pages
// are kept until the loop has been quick for a while. So the body may sleep, wait at a
// gate, or use the same pool. Always kept are the first page, every page on a *sql.Conn,
// in a *sql.Tx and on a pool of one connection, and those of SQLite, where an open
// statement makes a writer fail.
//
// Pages grow from Size, while one is read in half of Hold, to 4,000 rows where they are
// kept and to 64,000 where they are open; the time of the loop's body does not count.
// They are bounded in bytes, too. With Prefetch the next page is read beside the body
// where pages are kept; two of them are in memory then, at most. That takes a pool: a
// *sql.Conn and a *sql.Tx serve one statement at a time, and nothing is read ahead there.
//
// Loops that read many small rows, or rows whose bytes are not known, hold 12 MB that nobody
// uses, once for all loops of the process. It keeps the garbage collector from running every
// few milliseconds in a program that has hardly anything else in memory, and lets about as
// much garbage lie. Where a memory limit (GOMEMLIMIT) below 64 MB is set there is none.
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
package keyset
