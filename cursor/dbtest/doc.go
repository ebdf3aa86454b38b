// Package dbtest tests package cursor on real databases. It is a module of its
// own so that no driver enters the go.sum of those who use the library.
//
// SQLite is always tested. The tests on servers run where these variables hold a
// data source name, and skip where they do not:
//
//	PIPELINE_POSTGRES  postgres://user@host:5432/database
//	PIPELINE_MARIADB   user:password@tcp(host:3306)/database
//
// Each test works in a schema (PostgreSQL) or database (MariaDB) of its own,
// which is dropped at its end. The tests that restart a whole server start one of
// their own, if its programs are installed; no variable is asked for that.
//
// Some tests draw what they try, other things each time: collations, rows to go on behind,
// ways to stop a server. With PIPELINE_HOSTILE=all they try everything, which takes many
// minutes. PIPELINE_KILL_ROUNDS is how often processes are killed at random.
package dbtest
