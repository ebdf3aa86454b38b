package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"example.com/pipeline/cursor"
	"example.com/pipeline/examples/export/source"
)

const demoTable = "orders"

// demoSchema has a column for each kind of value that an export can spoil.
const demoSchema = `CREATE TABLE orders (
	id        INTEGER PRIMARY KEY,
	customer  TEXT NOT NULL,
	cents     INTEGER NOT NULL,
	placed_at TEXT NOT NULL,
	note      TEXT,
	reference INTEGER NOT NULL,
	receipt   BLOB
)`

// demoRows fills in the rows after one id up to another. The values follow from
// the id alone, so that every demo database of a size is the same.
const demoRows = `
WITH RECURSIVE ids(id) AS (SELECT ?1 + 1 UNION ALL SELECT id + 1 FROM ids WHERE id < ?2)
INSERT INTO orders
SELECT id,
	CASE id * 7919 % 8 WHEN 0 THEN 'Ada Lovelace' WHEN 1 THEN 'Zoë Quinn' WHEN 2 THEN 'José Ñúñez' WHEN 3 THEN '山田 太郎'
		WHEN 4 THEN 'O''Brien, Pat' WHEN 5 THEN 'Мария' WHEN 6 THEN 'Grace Hopper' ELSE 'Łukasz 🚀' END,
	id * 104729 % 500000 + 100,
	strftime('%Y-%m-%dT%H:%M:%SZ', 1735689600 + id * 31, 'unixepoch'),
	CASE id % 5 WHEN 0 THEN 'said "thank you", twice' WHEN 1 THEN 'two
lines' WHEN 2 THEN '' WHEN 3 THEN 'left at the door' END,
	9007199254740993 + id * 1000003,
	CASE WHEN id % 10 = 0 THEN CAST(printf('%08x', id * 2654435761 % 4294967296) AS BLOB) END
FROM ids`

// demoDatabase returns the data source name of a database of so many orders in
// the folder dir. Where there is none, it makes one under a name of its own and
// renames it when it is complete: a kill meanwhile does no harm.
func demoDatabase(ctx context.Context, dir string, rows int, say func(format string, args ...any)) (dsn string, err error) {
	path := filepath.Join(dir, fmt.Sprintf("demo-%d.db", rows))
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return "sqlite:" + path, err
	}
	store, err := cursor.NewFileStore(dir)
	if err != nil {
		return "", err
	}
	lease, err := store.Acquire(ctx, "demo") // two at once would write one file
	if err != nil {
		return "", err
	}
	defer lease.Release(context.WithoutCancel(ctx))

	say("making a demo database of %s orders: %s", thousands(int64(rows)), path)
	making := path + ".making"
	if err := os.Remove(making); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := makeDemo(ctx, making, rows); err != nil {
		os.Remove(making)
		return "", fmt.Errorf("make the demo database: %w", err)
	}
	return "sqlite:" + path, os.Rename(making, path)
}

// makeDemo writes the database without a journal: it is made anew if this fails.
func makeDemo(ctx context.Context, path string, rows int) error {
	const chunk = 20_000 // so that a signal need not wait long
	name, err := source.SQLiteURI(path, url.Values{"_pragma": {"journal_mode(OFF)", "synchronous(OFF)"}})
	if err != nil {
		return err
	}
	db, err := source.OpenSQLite(name)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, demoSchema); err != nil {
		return err
	}
	for id := 0; id < rows; id += chunk {
		if _, err := db.ExecContext(ctx, demoRows, id, min(id+chunk, rows)); err != nil {
			return err
		}
	}
	if err := db.Close(); err != nil {
		return err
	}
	return syncFile(path)
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
