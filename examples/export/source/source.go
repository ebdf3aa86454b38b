// Package source is where the rows come from: a database that a user names as people
// name databases, and a table or query in it.
//
//	dsn.go       takes a data source name apart, whatever its form; environ.go finds one that is not given
//	redact.go    makes one fit to be printed
//	sqlite.go    postgres.go mysql.go  open a database, and pin what its answers depend on
//	sqlitefile.go  what is beside a database's file, and whether it has changed
//	buffered.go  reads much from a server at a time; postgresrows.go lends PostgreSQL's values
//	table.go     finds a table or a query, and the order in which it can be read
//	until.go     reads a key that a user has typed
//	faults.go    tells errors that pass from others, and what a user can do about them
//
// A [Source] is known by its host, port and database, as the driver understood them, or
// by its file: never by user, password or any other parameter, so that no secret gets
// into a checkpoint, and another password does not make another source.
package source

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"example.com/pipeline/cursor/keyset"
)

// The database systems.
const (
	SQLite   = "sqlite"
	Postgres = "postgres"
	MySQL    = "mysql" // and MariaDB
)

// A Source is a database that is open.
type Source struct {
	*sql.DB
	Dialect keyset.Dialect
	System  string
	Name    string // what it is: part of the export's identity, fit to be printed
	Path    string // of the file, where the database is one
	Note    string // what the user should know of the way it was opened; "" for nothing
	file    *sqliteFile
	made    *connections
}

// openTime is how long a database may take to answer at first.
const openTime = 30 * time.Second

// Open connects to the database that a data source name names, for writing only where
// write says so.
func Open(ctx context.Context, dsn string, write bool) (*Source, error) {
	return OpenTrying(ctx, dsn, write, func(int, time.Duration, error) {})
}

// OpenTrying is Open where somebody is told that it is tried again, as with [Retry]: the
// connection of a run before may not be gone yet, and a server may just start. A server that
// has never answered is taken for one that is not there.
func OpenTrying(ctx context.Context, dsn string, write bool, say func(try int, pause time.Duration, err error)) (*Source, error) {
	t, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	s := &Source{Dialect: t.dialect, System: t.system, Name: t.name, file: t.file, made: t.made}
	if t.file != nil {
		s.Path = t.file.path
	}
	answered := false
	err = retrying(say, func(err error) bool {
		if !answered && unreachable(err) || !Passes(err) {
			return false
		}
		answered = true
		return true
	})(ctx, func(ctx context.Context) error { return s.connect(ctx, t, write) })
	if err != nil {
		return nil, err
	}
	return s, nil
}

// connect makes the first connection.
func (s *Source) connect(ctx context.Context, t *target, write bool) (err error) {
	first, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	if s.DB, s.Note, err = t.open(first, write); err == nil {
		if err = s.PingContext(first); err != nil {
			s.Close()
			err = fmt.Errorf("cannot open %s: %w", t.name, err)
		}
	}
	if err != nil && first.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("cannot open %s: it has not answered for %v", t.name, openTime)
	}
	return err
}

// A target is a data source name, taken apart.
type target struct {
	system  string
	dialect keyset.Dialect
	name    string
	file    *sqliteFile // nil where the database is none
	made    *connections
	open    func(ctx context.Context, write bool) (db *sql.DB, note string, err error)
}
