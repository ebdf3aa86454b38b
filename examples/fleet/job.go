package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/cursor/riverjob"
)

const jobName = "orders"

// An order is a row.
type order struct {
	id       int64
	customer string
	amount   string // decimal
}

// appendCSV appends the order as a line, as COPY writes it.
func appendCSV(b []byte, o order) []byte {
	b = strconv.AppendInt(b, o.id, 10)
	b = append(b, ',')
	if strings.ContainsAny(o.customer, "\",\n\r") {
		b = append(b, '"')
		b = append(b, strings.ReplaceAll(o.customer, `"`, `""`)...)
		b = append(b, '"')
	} else {
		b = append(b, o.customer...)
	}
	b = append(b, ',')
	b = append(b, o.amount...)
	return append(b, '\n')
}

// A place is the database with all that is in the schema.
type place struct {
	config
	pool  *pgxpool.Pool
	store *riverjob.Store
	sink  *riverjob.Folder
}

// open connects to the database. conns is how many connections it needs at most.
func open(ctx context.Context, c config, conns int) (*place, error) {
	cfg, err := pgxpool.ParseConfig(c.DSN)
	if err != nil {
		return nil, fmt.Errorf("fleet: the DSN cannot be read: %w", err)
	}
	cfg.MaxConns = int32(conns)
	cfg.ConnConfig.RuntimeParams["search_path"] = c.Schema
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("fleet: PostgreSQL does not answer: %w", err)
	}
	sink, err := riverjob.OpenFolder(c.Out)
	if err != nil {
		pool.Close()
		return nil, err
	}
	return &place{c, pool, riverjob.New(pool, riverjob.Schema(c.Schema), riverjob.LeaseFor(c.Lease)), sink}, nil
}

func (p *place) close() error {
	err := p.store.Close()
	p.pool.Close()
	return err
}

// job is what is planned and worked on, the same in each process.
func (p *place) job(count *counter) riverjob.Job[order, int64] {
	return riverjob.Job[order, int64]{
		Name: jobName,
		Source: riverjob.FromQuery(keyset.Query[order, int64]{
			DB: p.store.DB(), Dialect: keyset.Postgres,
			Select: "id, customer, amount", From: "orders", Key: []string{"id"},
			Scan: func(rows *sql.Rows) (o order, err error) {
				err = rows.Scan(&o.id, &o.customer, &o.amount)
				return o, err
			},
			Position: func(o order) int64 { return o.id },
			Page:     cursor.PageConfig{Prefetch: 0.5},
		}),
		Sink: p.sink, Suffix: ".csv",
		Work: func(ctx context.Context, s *riverjob.Slice[order, int64]) error {
			var line []byte
			slice := count.begin()
			for o, err := range s.Tracked(ctx) {
				if err != nil {
					return err
				}
				line = appendCSV(line[:0], o)
				if _, err := s.Part.Write(line); err != nil {
					return err
				}
				slice.row()
			}
			return slice.end()
		},
	}
}

// prepare makes the schema, the tables and the rows, where they are missing. PostgreSQL may
// refuse one of two that make the same at once. So fleets do it one after the other; and since
// the server may still be at what a fleet began that was killed, one tries again.
func (p *place) prepare(ctx context.Context) error {
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(hashtext($1))", "fleet "+p.Schema); err != nil {
		return err
	}
	defer conn.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock(hashtext($1))", "fleet "+p.Schema)
	for range 3 {
		if err = p.makeAll(ctx); err == nil || ctx.Err() != nil {
			break
		}
	}
	return err
}

func (p *place) makeAll(ctx context.Context) error {
	var made bool
	err := pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		quoted := pgx.Identifier{p.Schema}.Sanitize()
		if _, err := tx.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+quoted); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "SELECT to_regclass('orders') IS NULL").Scan(&made); err != nil || !made {
			return err
		}
		if _, err := tx.Exec(ctx, `CREATE TABLE orders AS SELECT i * 3::bigint AS id,
				CASE WHEN i % 10 = 0 THEN format('"%s" & Sons, Ltd', i) ELSE 'customer ' || i END AS customer,
				(i % 100000)::numeric(12, 2) / 7 AS amount
			FROM generate_series(1, $1::bigint) i`, p.Rows); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "ALTER TABLE orders ADD PRIMARY KEY (id)")
		return err
	})
	if err != nil {
		return fmt.Errorf("fleet: make the table: %w", err)
	}
	if made { // so that the planner knows what there is
		if _, err := p.pool.Exec(ctx, "VACUUM ANALYZE orders"); err != nil {
			return err
		}
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(p.pool), &rivermigrate.Config{Schema: p.Schema, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("fleet: make River's tables: %w", err)
	}
	return p.store.Migrate(ctx)
}

// remove removes all that was made.
func (p *place) remove(ctx context.Context) error {
	_, err := p.pool.Exec(ctx, "DROP SCHEMA IF EXISTS "+pgx.Identifier{p.Schema}.Sanitize()+" CASCADE")
	for name, listErr := range p.sink.List(ctx, "") {
		if listErr != nil {
			return errors.Join(err, listErr)
		}
		if strings.HasPrefix(name, jobName+".") || strings.HasPrefix(name, counterPrefix) {
			err = errors.Join(err, p.sink.Remove(ctx, name))
		}
	}
	if p.ownFolder {
		err = errors.Join(err, os.Remove(p.Out))
	}
	return err
}
