package cursor_test

import (
	"context"
	"database/sql"
	"errors"
	"log"

	"example.com/pipeline/batch"
	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/cursor/sqlstore"
)

// Rows that a database gets exactly once: each batch and the position of its last row are
// in one transaction, so a kill at any moment leaves both or neither. The job's store is
// in the database that the rows go to, and there is no Track. The program examples/copy
// does so on SQLite, PostgreSQL and MariaDB.
func ExampleCheckpoint_CommitTx() {
	source, err := sql.Open("pgx", "postgres://shop.example/shop") // the driver is imported by the program
	if err != nil {
		log.Fatal(err)
	}
	target, err := sql.Open("pgx", "postgres://report.example/report")
	if err != nil {
		log.Fatal(err)
	}
	if err := copyNames(context.Background(), source, target); err != nil {
		log.Fatal(err)
	}
}

func copyNames(ctx context.Context, source, target *sql.DB) (err error) {
	store := sqlstore.New(target, keyset.Postgres)
	if err := store.Migrate(ctx); err != nil {
		return err
	}
	query := keyset.Query[string, string]{
		DB: source, Dialect: keyset.Postgres, Select: "name", From: "users", Key: []string{"name"},
		Scan: func(rows *sql.Rows) (name string, err error) {
			err = rows.Scan(&name)
			return name, err
		},
		Position: func(name string) string { return name },
	}
	job, err := cursor.Open[string](ctx, store, "copy names", cursor.WithFingerprint(query.Fingerprint()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, job.Close()) }()
	for names, err := range batch.Size(query.Stream(ctx, job.Position()), 500) {
		if err != nil {
			return err
		}
		if err := writeNames(ctx, target, job, names); err != nil {
			return err // also where the answer was lost: the next run asks how it ended
		}
	}
	return job.Finish(ctx)
}

func writeNames(ctx context.Context, target *sql.DB, job *cursor.Checkpoint[string], names []string) error {
	tx, err := target.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after Commit it does nothing
	for _, name := range names {
		if _, err := tx.ExecContext(ctx, "INSERT INTO names (name) VALUES ($1)", name); err != nil {
			return err
		}
	}
	job.AddItems(len(names))
	if err := job.CommitTx(ctx, tx, names[len(names)-1]); err != nil {
		return err
	}
	return tx.Commit()
}
