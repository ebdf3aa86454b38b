// Package sqlite is a driver of database/sql for SQLite that reads fast. It runs the
// C code of SQLite as modernc.org/sqlite has translated it to Go, so it needs no
// cgo, and it may be used on a database beside modernc's own driver: both are one
// copy of SQLite, with one set of file locks.
//
// It differs from that driver in these points:
//
//   - A connection is opened for one user at a time, which is all that database/sql
//     asks for. The other takes a lock at each call, a third of the time of a scan.
//   - Statements are kept prepared, by their text, for the next time.
//   - Values come as they are stored, whatever type a column is declared with:
//     INTEGER as int64, REAL as float64, TEXT as string, BLOB as []byte, NULL as nil.
//     Nothing becomes a time.Time, and none is taken as an argument.
//   - The end of a context interrupts a statement in the middle of any row, and a
//     wait for a lock.
//   - Rows that are lent (keyset.Lender) are read ahead beside their use, from the 65th
//     on. Any other call on the connection waits until that has come to a stop.
//
// A []byte that the driver's Next hands over is SQLite's memory: it is valid until
// the next call of Next or Close, as package driver allows. Rows.Scan of
// database/sql copies it, but for a RawBytes. All other values stay valid.
//
// # Data source names
//
// A name is a path, ":memory:", or a URI with the parameters of SQLite
// (https://sqlite.org/uri.html: mode, immutable, cache, vfs) and these:
//
//	_pragma=busy_timeout(10000)  runs PRAGMA busy_timeout(10000) on each new connection;
//	                             may be given several times
//	_txlock=immediate            begins transactions as deferred (the default), immediate or exclusive
package sqlite
