package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
)

type order struct {
	id       int64
	customer string
	cents    int64
}

// orders reads the table by its primary key.
func orders(source database) keyset.Query[order, int64] {
	return keyset.Query[order, int64]{
		DB: source.DB, Dialect: source.dialect,
		Select: "id, customer, cents", From: "orders", Key: []string{"id"},
		Scan: func(rows *sql.Rows) (o order, err error) {
			err = rows.Scan(&o.id, &o.customer, &o.cents)
			return o, err
		},
		Position: func(o order) int64 { return o.id },
		Page:     cursor.PageConfig{Prefetch: 0.5}, // the next page when half of one is copied
	}
}

// insert writes all rows with one statement.
func insert(ctx context.Context, tx *sql.Tx, d keyset.Dialect, table string, rows []order) error {
	var values []string
	var args []any
	for _, r := range rows {
		n := len(args)
		values = append(values, fmt.Sprintf("(%s, %s, %s)", d.Placeholder(n+1), d.Placeholder(n+2), d.Placeholder(n+3)))
		args = append(args, r.id, r.customer, r.cents)
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO "+table+" (id, customer, cents) VALUES "+strings.Join(values, ", "), args...)
	return err
}

// A database is one that was opened, and what is to be known of its SQL.
type database struct {
	*sql.DB
	dialect keyset.Dialect
}

// open opens a database by its data source name.
func open(dsn string) (database, error) {
	if strings.HasPrefix(dsn, "postgres://") {
		db, err := sql.Open("pgx", dsn)
		return database{db, keyset.Postgres}, err
	}
	if own, ok := strings.CutPrefix(dsn, "mysql://"); ok {
		db, err := sql.Open("mysql", own)
		return database{db, keyset.MySQL}, err
	}
	// A transaction locks when it begins: otherwise one that has read could not write
	// after somebody else has.
	db, err := sql.Open("sqlite", sqliteDSN(dsn))
	return database{db, keyset.SQLite}, err
}

func sqliteDSN(path string) string {
	return "file:" + filepath.ToSlash(path) + "?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"
}

// run opens the databases, makes what is missing in them, copies, and counts.
func run(ctx context.Context, c config) error {
	demo := c.from == ""
	if folder := filepath.Join(".pipeline-state", fmt.Sprintf("copy-%d", c.rows)); demo || c.to == "" {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		if demo {
			c.from = filepath.Join(folder, "source.db")
		}
		if c.to == "" {
			c.to = filepath.Join(folder, "target.db")
		}
	}
	source, err := open(c.from)
	if err != nil {
		return err
	}
	defer source.Close()
	if demo {
		if err := makeOrders(ctx, source, c.rows); err != nil {
			return err
		}
	}
	target, err := open(c.to)
	if err != nil {
		return err
	}
	defer target.Close()
	if err := makeTable(ctx, target, `orders_copy (id BIGINT NOT NULL, customer TEXT NOT NULL, cents BIGINT NOT NULL)`); err != nil {
		return err
	}
	if err := copyOrders(ctx, c, source, target); err != nil {
		return err
	}
	return count(ctx, c, target)
}

// makeTable makes a table where it is missing. PostgreSQL may refuse one of two that make the
// same table at once, and a run that was killed may still be making it: so it tries again.
func makeTable(ctx context.Context, db database, definition string) (err error) {
	for range 3 {
		if _, err = db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS "+definition); err == nil || ctx.Err() != nil {
			break
		}
	}
	return err
}

// makeOrders makes the demo's table in one transaction, where it is missing.
func makeOrders(ctx context.Context, db database, n int) error {
	if err := makeTable(ctx, db, `orders (id INTEGER NOT NULL PRIMARY KEY, customer TEXT NOT NULL, cents BIGINT NOT NULL)`); err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var there int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM orders").Scan(&there); err != nil || there > 0 {
		return err
	}
	var rows []order
	for i := range n {
		id := int64(i)*3 + 1 // with gaps, as keys have them
		rows = append(rows, order{id, fmt.Sprintf("customer %d", id%1000), id * 104729 % 500_000})
		if len(rows) == 5000 || i == n-1 {
			if err := insert(ctx, tx, db.dialect, "orders", rows); err != nil {
				return err
			}
			rows = rows[:0]
		}
	}
	return tx.Commit()
}

// count prints how many rows there are in the target, and says so by an error where one
// is there more than once.
func count(ctx context.Context, c config, target database) error {
	var rows, different int64
	if err := target.QueryRowContext(ctx, "SELECT count(*), count(DISTINCT id) FROM orders_copy").Scan(&rows, &different); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "done: %d rows in %s\n", rows, target.dialect.Name())
	if rows != different {
		return errors.New("a row is there more than once")
	}
	return nil
}
