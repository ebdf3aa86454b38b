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
// TestHostileKeys draws some of a server's collations; with PIPELINE_HOSTILE=all it takes
// all of them, and goes on behind every row, which takes many minutes.
package dbtest
