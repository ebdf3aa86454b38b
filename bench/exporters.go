package main

import (
	"bufio"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
)

// exportPage is how many rows an OFFSET page has. The pages of this library grow by
// themselves; for OFFSET pages that would not change what grows.
const exportPage = 1000

// An exporter writes the rows of a table to w as CSV, in the order of their ids.
type exporter struct {
	name string
	role role
	run  func(ctx context.Context, db *sql.DB, t task) error
}

// exporters share driver, CSV and, but for the one with checkpoints, the writer.
var exporters = []exporter{
	{"keyset.Table, Encode", ours, func(ctx context.Context, db *sql.DB, t task) error {
		return toFile(t.Out, func(w io.Writer) error { return encodedRows(ctx, db, t, w) })
	}},
	{"keyset.Table, Reuse", ours, func(ctx context.Context, db *sql.DB, t task) error {
		return toFile(t.Out, func(w io.Writer) error { return keysetRows(ctx, db, t, true, w) })
	}},
	{"keyset.Table, rows that may be kept", ours, func(ctx context.Context, db *sql.DB, t task) error {
		return toFile(t.Out, func(w io.Writer) error { return keysetRows(ctx, db, t, false, w) })
	}},
	{withCheckpoints, ours, resumable},
	{streamedSelect, peer, func(ctx context.Context, db *sql.DB, t task) error {
		return toFile(t.Out, func(w io.Writer) error { return streamed(ctx, db, t, w) })
	}},
	{offsetPages, peer, func(ctx context.Context, db *sql.DB, t task) error {
		return toFile(t.Out, func(w io.Writer) error { return offset(ctx, db, t, w) })
	}},
	{"limit: a SELECT from the driver itself", limit, func(ctx context.Context, db *sql.DB, t task) error {
		return toFile(t.Out, func(w io.Writer) error { return fromDriver(ctx, db, t, w) })
	}},
}

const (
	withCheckpoints = "keyset.Table with checkpoints, resumable"
	streamedSelect  = "one streamed SELECT"
	offsetPages     = "OFFSET pages"
)

var drivers = map[string]struct {
	name    string
	dialect keyset.Dialect
}{
	"sqlite":   {"sqlite", keyset.SQLite},
	"postgres": {"pgx", keyset.Postgres},
	"mariadb":  {"mysql", keyset.MySQL},
}

func exportInChild(t task) (a answer, err error) {
	for _, e := range exporters {
		if e.name != t.Contender {
			continue
		}
		db, err := sql.Open(drivers[t.System].name, t.Source)
		if err != nil {
			return a, err
		}
		defer db.Close()
		return a, e.run(context.Background(), db, t)
	}
	return a, unknownContender(t)
}

// toFile has write fill a new file through a buffer.
func toFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 64<<10)
	return errors.Join(write(w), w.Flush(), f.Close())
}

// appendRow appends a row as CSV. The values of these tables need no quotes.
func appendRow(buf []byte, values []any) []byte {
	for i, value := range values {
		if i > 0 {
			buf = append(buf, ',')
		}
		switch v := value.(type) {
		case nil:
		case int64:
			buf = strconv.AppendInt(buf, v, 10)
		case string:
			buf = append(buf, v...)
		case []byte: // text, to a driver that does not tell the two apart
			buf = append(buf, v...)
		case *keyset.Text:
			buf = append(buf, *v...)
		default:
			buf = fmt.Append(buf, v)
		}
	}
	return append(buf, '\n')
}

func orders(ctx context.Context, db *sql.DB, t task, reuse bool) (*keyset.Table, error) {
	table, err := keyset.OpenTable(ctx, db, drivers[t.System].dialect, t.Table)
	if err != nil {
		return nil, err
	}
	table.Reuse = reuse
	table.Page.Prefetch = 0.5
	return table, nil
}

func keysetRows(ctx context.Context, db *sql.DB, t task, reuse bool, w io.Writer) error {
	table, err := orders(ctx, db, t, reuse)
	if err != nil {
		return err
	}
	var buf []byte
	for row, err := range table.Stream(ctx, nil) {
		if err != nil {
			return err
		}
		buf = appendRow(buf[:0], row.Values)
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

// encodedRows has the rows encoded while they are the driver's.
func encodedRows(ctx context.Context, db *sql.DB, t task, w io.Writer) error {
	table, err := orders(ctx, db, t, true)
	if err != nil {
		return err
	}
	table.Encode = encodeRow
	for row, err := range table.Stream(ctx, nil) {
		if err != nil {
			return err
		}
		if _, err := w.Write(row.Encoded); err != nil {
			return err
		}
	}
	return nil
}

func encodeRow(dst []byte, values []any) ([]byte, error) { return appendRow(dst, values), nil }

// resumable is the export as one should run it: it can be killed at any instant
// and goes on where it was.
func resumable(ctx context.Context, db *sql.DB, t task) (err error) {
	table, err := orders(ctx, db, t, true)
	if err != nil {
		return err
	}
	out, err := cursor.OpenFile(t.Out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	store, err := cursor.NewFileStore(filepath.Join(filepath.Dir(t.Out), "state"))
	if err != nil {
		return err
	}
	job, err := cursor.Open[keyset.Key](ctx, store, "bench", cursor.Attach("out", out), cursor.WithFingerprint(table.Fingerprint()), cursor.Discard())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, job.Close()) }()
	every := cursor.Every{Items: 100_000, Interval: 5 * time.Second}
	table.Encode = encodeRow
	rows := table.Stream(ctx, job.Position())
	for row, err := range cursor.Track(ctx, rows, job, every, table.Position) {
		if err != nil {
			return err
		}
		if _, err := out.Write(row.Encoded); err != nil {
			return err
		}
	}
	return job.Finish(ctx)
}

// streamed is what one writes without a library: one query, one loop.
func streamed(ctx context.Context, db *sql.DB, t task, w io.Writer) error {
	_, err := writeRows(ctx, db, w, "SELECT * FROM "+t.Table+" ORDER BY id")
	return err
}

// fromDriver reads what streamed does from the driver itself, as keyset.Table does.
func fromDriver(ctx context.Context, db *sql.DB, t task, w io.Writer) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Raw(func(c any) error {
		rows, err := c.(driver.QueryerContext).QueryContext(ctx, "SELECT * FROM "+t.Table+" ORDER BY id", nil)
		if err != nil {
			return err
		}
		defer rows.Close()
		given := make([]driver.Value, len(rows.Columns()))
		values := make([]any, len(given))
		var buf []byte
		for {
			if err := rows.Next(given); err != nil {
				if err == io.EOF {
					return nil
				}
				return err
			}
			for i, v := range given {
				values[i] = v
			}
			buf = appendRow(buf[:0], values)
			if _, err := w.Write(buf); err != nil {
				return err
			}
		}
	})
}

// offset is the paging that most do: the database reads and drops all rows of the
// pages before.
func offset(ctx context.Context, db *sql.DB, t task, w io.Writer) error {
	for at := 0; ; at += exportPage {
		n, err := writeRows(ctx, db, w, fmt.Sprintf("SELECT * FROM %s ORDER BY id LIMIT %d OFFSET %d", t.Table, exportPage, at))
		if err != nil || n < exportPage {
			return err
		}
	}
}

func writeRows(ctx context.Context, db *sql.DB, w io.Writer, query string) (n int, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	values, dest := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		dest[i] = &values[i]
	}
	var buf []byte
	for ; rows.Next(); n++ {
		if err := rows.Scan(dest...); err != nil {
			return n, err
		}
		buf = appendRow(buf[:0], values)
		if _, err := w.Write(buf); err != nil {
			return n, err
		}
	}
	return n, rows.Err()
}

// clients are the databases' own programs, in C. MariaDB's writes no CSV.
var clients = map[string]struct {
	program string
	command func(path string, t task) *exec.Cmd
}{
	"sqlite": {"sqlite3", func(path string, t task) *exec.Cmd {
		return exec.Command(path, "-batch", "-readonly", t.Source,
			".mode csv", ".separator , \\n", ".once "+t.Out, "SELECT * FROM "+t.Table+" ORDER BY id;")
	}},
	"postgres": {"psql", func(path string, t task) *exec.Cmd {
		return exec.Command(path, "-qX", "-d", t.Source, "-c", `\copy (SELECT * FROM `+t.Table+` ORDER BY id) TO '`+t.Out+`' CSV`)
	}},
}
