package main

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"example.com/pipeline/control"
	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/seq"
)

// prepare opens the database and the store, and refuses what cannot be exported
// before anything is written.
func (e *export) prepare(ctx context.Context) (err error) {
	defer func() {
		if err == nil {
			return
		}
		if e.db != nil {
			e.db.Close()
		}
		if end := seq.ContextError(ctx); end != nil {
			err = end // a database has words of its own for an interrupted query
			return
		}
		if own := (*advisedError)(nil); !errors.As(err, &own) {
			err = advise("Nothing was written.", "%w", err)
		}
	}()
	if e.job, err = jobName(e.out); err != nil {
		return err
	}
	if e.stores, err = cursor.NewFileStore(e.state); err != nil {
		return err
	}
	if e.dsn == "" {
		e.table = demoTable
		if e.dsn, err = demoDatabase(ctx, e.state, e.rows, e.say); err != nil {
			return err
		}
	}
	if e.db, err = openDatabase(ctx, e.dsn, e.store == "db"); err != nil {
		return err
	}
	if e.store == "db" {
		if e.stores, err = e.databaseStore(ctx); err != nil {
			return err
		}
	}
	return e.prepareQuery(ctx)
}

// prepareQuery describes the table and checks what the user said about it.
func (e *export) prepareQuery(ctx context.Context) error {
	table, err := keyset.OpenTable(ctx, e.db.DB, e.db.dialect, e.table, e.key...)
	if err != nil {
		return err
	}
	if len(e.columns) > 0 {
		if err := table.Select(e.columns...); err != nil {
			return err
		}
	}
	table.Where = e.where
	table.Reuse = true
	table.Page = cursor.PageConfig{Prefetch: 0.01, Retry: e.retry().Do}
	if e.given("page") {
		table.Page.Size, table.Page.Max = e.page, e.page
	}
	types, err := table.ColumnTypes(ctx)
	if err == nil && e.where != "" {
		// One that ends the parentheses around it would undo the condition on the key.
		err = e.standsAlone(ctx, table.From())
	}
	if err != nil {
		return advise("Is the condition valid SQL for this database?\nNothing was written.", "-where: %w", err)
	}
	if err := table.Preflight(ctx); err != nil {
		return advise(badKey, "-key: %w", err)
	}
	e.source = table
	e.encoder = newEncoder(e.format, e.db.system, types)
	e.settings = settings{
		Database: e.db.name, Table: e.table, Key: strings.Join(table.Key(), ","), Columns: strings.Join(names(types), ","), Where: e.where,
		Format: e.format, Gzip: e.gzip, Partitions: e.partitions, Query: table.Fingerprint(),
	}
	return nil
}

// standsAlone asks the database whether -where is a condition without the
// parentheses that it is put in.
func (e *export) standsAlone(ctx context.Context, from string) error {
	rows, err := e.db.QueryContext(ctx, "SELECT 1 FROM "+from+" WHERE "+e.where+"\nLIMIT 0")
	if err != nil {
		return err
	}
	rows.Next()
	return errors.Join(rows.Err(), rows.Close())
}

// condition returns a WHERE clause with what the user gave added.
func condition(first, where string) string {
	if where == "" {
		return " WHERE " + first
	}
	return " WHERE " + first + " AND (" + where + "\n)" // the line ends a comment in where
}

func names(types []*sql.ColumnType) []string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = t.Name()
	}
	return names
}

// countRows tells the progress how many rows there are, once that is known. An
// export does not wait for it, and a failure to count is none of the export.
func (e *export) countRows(ctx context.Context) {
	var n int64
	query := "SELECT count(*) FROM " + e.source.From() + condition("1 = 1", e.where)
	if e.db.QueryRowContext(ctx, query).Scan(&n) == nil {
		e.progress.total.Store(n)
	}
}

// retry is for what passes by itself: a server that restarts, a lost connection.
func (e *export) retry() control.Retry {
	return control.Retry{
		Attempts: 10,
		Backoff:  control.Exponential(200*time.Millisecond, 10*time.Second),
		If:       passes,
		OnRetry: func(r control.RetryEvent) {
			e.say("try %d to read a page failed, again in %v: %v", r.Attempt, r.Sleep.Round(time.Millisecond), r.Err)
		},
	}
}
