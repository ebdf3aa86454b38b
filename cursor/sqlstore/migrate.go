package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// DDL returns the statements that make the tables, for those who run their
// migrations by hand. They do nothing where the tables are there, nor to those of an older
// version, which [Store.Migrate] brings up to date.
func (s *Store) DDL() string { return strings.Join(s.ddl(), ";\n\n") + ";\n" }

func (s *Store) ddl() []string { return []string{s.words(checkpointsDDL), s.words(keysDDL)} }

// words completes a statement that makes something.
func (s *Store) words(text string) string {
	_, keys := s.keysParts()
	return strings.NewReplacer(
		"{checkpoints}", s.checkpoints, "{keys}", s.keys, "{keys unqualified}", s.dialect.Quote(keys), "{keys_done}", quoteName(s.dialect, s.keysName+"_done"),
		"{name}", s.flavor.name, "{text}", s.flavor.text, "{bytes}", s.flavor.bytes, "{end}", s.flavor.tableEnd).Replace(text)
}

// keysParts returns the schema, or "", and the name of the table of keys.
func (s *Store) keysParts() (schema, name string) {
	if schema, name, ok := strings.Cut(s.keysName, "."); ok {
		return schema, name
	}
	return "", s.keysName
}

const checkpointsDDL = `CREATE TABLE IF NOT EXISTS {checkpoints} (
	job         {name} NOT NULL PRIMARY KEY,
	format      BIGINT NOT NULL DEFAULT 0,
	fingerprint {text} NOT NULL,
	position    {text},
	states      {text},
	items       BIGINT NOT NULL DEFAULT 0,
	seq         BIGINT NOT NULL DEFAULT 0,
	status      VARCHAR(20) NOT NULL DEFAULT 'new',
	saved_at    VARCHAR(40) NOT NULL DEFAULT '',
	epoch       BIGINT NOT NULL DEFAULT 0,
	owner       VARCHAR(40) NOT NULL DEFAULT '',
	holder      {text} NOT NULL,
	lease_until BIGINT NOT NULL DEFAULT 0
){end}`

// The second index is for Prune. As a constraint it can be part of the table on every
// database, and is no statement of its own that only the table's owner may run.
const keysDDL = `CREATE TABLE IF NOT EXISTS {keys} (
	name        {name} NOT NULL PRIMARY KEY,
	claim       VARCHAR(40) NOT NULL,
	claim_until BIGINT NOT NULL,
	done        SMALLINT NOT NULL DEFAULT 0,
	done_at     BIGINT NOT NULL DEFAULT 0,
	result      {bytes},
	UNIQUE (done, done_at, name)
){end}`

// Migrate makes the tables where they are missing, and the index that those of an older
// version lack. Several programs may do it at once. Where everything is there it only
// looks, and needs no right to make anything.
func (s *Store) Migrate(ctx context.Context) error {
	ddl := s.ddl()
	for i, table := range []string{s.checkpoints, s.keys} {
		err := s.provide(ctx,
			func(db execer) (bool, error) { return s.isTable(ctx, db, table) },
			func(db execer) error { return run(ctx, db, ddl[i]) })
		if err != nil {
			return fmt.Errorf("sqlstore: make the tables: %w", err)
		}
	}
	add := s.words(s.flavor.addIndex)
	err := s.provide(ctx,
		func(db execer) (bool, error) { return s.isIndexed(ctx, db) },
		func(db execer) error { return s.addIndex(ctx, add) })
	if err != nil {
		return fmt.Errorf("sqlstore: add the index that Prune uses (%s): %w", add, err)
	}
	return nil
}

// provide makes what is not there. Of two that make the same at once a database may refuse
// one, which finds what the other has made when it looks again.
func (s *Store) provide(ctx context.Context, isThere func(execer) (bool, error), create func(execer) error) error {
	failed := errors.New("it was made, and another connection does not find it: is the schema or search path the same on all?")
	for range 4 {
		there := false
		err := s.fresh(ctx, func() error {
			return s.within(ctx, s.db, func(db execer) (err error) {
				there, err = isThere(db)
				return err
			})
		})
		if err != nil || there {
			return err
		}
		if err := s.fresh(ctx, func() error { return create(s.db) }); err != nil {
			failed = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return failed
}

func run(ctx context.Context, db execer, statement string) error {
	_, err := db.ExecContext(ctx, statement)
	return err
}

// isTable reports whether there is such a table.
func (s *Store) isTable(ctx context.Context, db execer, table string) (bool, error) {
	rows, err := db.QueryContext(ctx, "SELECT 1 FROM "+table+" WHERE 1 = 0")
	if err == nil {
		rows.Next() // some drivers report errors only here
		err = errors.Join(rows.Err(), rows.Close())
	}
	if s.noTable(err) {
		return false, nil
	}
	return err == nil, err
}

// isIndexed reports whether the table of keys has an index that Prune can use.
func (s *Store) isIndexed(ctx context.Context, db execer) (bool, error) {
	schema, name := s.keysParts()
	n := 0
	err := s.row(ctx, db, s.flavor.indexed, []any{name, schema, schema}, &n)
	return n > 0, err
}

// addIndex adds the index to the table of keys.
func (s *Store) addIndex(ctx context.Context, statement string) error {
	if s.flavor.lockTable == "" {
		return run(ctx, s.db, statement)
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing behind Commit
	if err := run(ctx, tx, s.words(s.flavor.lockTable)); err != nil {
		return err
	}
	if there, err := s.isIndexed(ctx, tx); err != nil || there { // another one has just added it
		return err
	}
	if err := run(ctx, tx, statement); err != nil {
		return err
	}
	return tx.Commit()
}
