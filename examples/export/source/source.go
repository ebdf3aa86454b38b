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
	"errors"
	"fmt"
	"time"

	"example.com/pipeline/control"
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
}

// openTime is how long a database may take to answer at first.
const openTime = 30 * time.Second

// Open connects to the database that a data source name names, for writing only where
// write says so.
func Open(ctx context.Context, dsn string, write bool) (*Source, error) {
	t, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	s := &Source{Dialect: t.dialect, System: t.system, Name: t.name, file: t.file}
	if t.file != nil {
		s.Path = t.file.path
	}
	if s.DB, s.Note, err = t.open(ctx, write); err != nil {
		return nil, err
	}
	// The connection of a run before may not be gone yet, and a server may just start.
	wait := control.Retry{Attempts: 8, Backoff: control.Exponential(200*time.Millisecond, 5*time.Second), If: crowded}
	if err := wait.Do(ctx, s.PingContext); err != nil {
		s.Close()
		return nil, cannotOpen(t.name, err)
	}
	return s, nil
}

func cannotOpen(name string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("cannot open %s: it has not answered for %v", name, openTime)
	}
	return fmt.Errorf("cannot open %s: %w", name, err)
}

// A target is a data source name, taken apart.
type target struct {
	system  string
	dialect keyset.Dialect
	name    string
	file    *sqliteFile // nil where the database is none
	open    func(ctx context.Context, write bool) (db *sql.DB, note string, err error)
}
