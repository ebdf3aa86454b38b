package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// orderColumns are the columns of every table that is exported, and orderValues
// their values for an id. They need no quotes in CSV, so that all contenders,
// those of others too, must write the very same bytes.
const (
	orderColumns = `id BIGINT PRIMARY KEY, customer TEXT NOT NULL, cents BIGINT NOT NULL, placed_at TEXT NOT NULL, note TEXT`
	orderValues  = `id, 'customer-' || (id * 7919 %% 100003), id * 104729 %% 500000 + 100,
		'2026-03-01T' || (10 + id %% 14) || ':' || (10 + id / 14 %% 50) || ':00Z', CASE WHEN id %% 3 = 0 THEN 'door-' || (id %% 97) END`
	fillSQLite = `WITH RECURSIVE ids(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids WHERE id < %[2]d) INSERT INTO %[1]s SELECT ` +
		orderValues + ` FROM ids`
	fillPostgres = `INSERT INTO %[1]s SELECT ` + orderValues + ` FROM generate_series(1::bigint, %[2]d) AS ids(id)`
	fillMariaDB  = `INSERT INTO %[1]s SELECT seq, CONCAT('customer-', seq * 7919 %% 100003), seq * 104729 %% 500000 + 100,
		CONCAT('2026-03-01T', 10 + seq %% 14, ':', 10 + seq DIV 14 %% 50, ':00Z'), CASE WHEN seq %% 3 = 0 THEN CONCAT('door-', seq %% 97) END FROM seq_1_to_%[2]d`
)

// A system is a database that rows are exported from.
type system struct {
	name   string // key of drivers and clients
	title  string
	source string // data source name for this program and the client
	prefix string // of the tables' names
}

// fill makes a table of so many rows and returns its name.
func (s system) fill(rows int) (table string, err error) {
	table = fmt.Sprintf("%sorders_%d", s.prefix, rows)
	create, statement, after := "CREATE TABLE ", fillSQLite, "ANALYZE "
	if s.name == "postgres" {
		create, statement, after = "CREATE UNLOGGED TABLE ", fillPostgres, "VACUUM ANALYZE "
	}
	columns := orderColumns
	source := s.source
	switch s.name {
	case "mariadb":
		statement, after = fillMariaDB, "ANALYZE TABLE "
		columns = strings.ReplaceAll(columns, "TEXT", "VARCHAR(40)")
	case "sqlite":
		columns = strings.Replace(columns, "BIGINT PRIMARY KEY", "INTEGER PRIMARY KEY", 1) // the row's own number
		source = "file:" + source + "?_pragma=journal_mode(OFF)&_pragma=synchronous(OFF)"
	}
	for _, query := range []string{"DROP TABLE IF EXISTS " + table, create + table + " (" + columns + ")", fmt.Sprintf(statement, table, rows), after + table} {
		if err := execute(s.name, source, query); err != nil {
			return "", err
		}
	}
	return table, nil
}

func (s system) drop(table string) error { return execute(s.name, s.source, "DROP TABLE "+table) }

func execute(system, source, query string) error {
	db, err := sql.Open(drivers[system].name, source)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(context.Background(), query); err != nil {
		return fmt.Errorf("%.60s…: %w", query, err)
	}
	return nil
}

// exportPart compares ways to get a table into a CSV file.
func (b *bench) exportPart() (results []*result, err error) {
	dir, err := os.MkdirTemp(b.temp, "export")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	systems := []system{{"sqlite", "SQLite", filepath.Join(dir, "bench.db"), ""}}
	if source := os.Getenv("PIPELINE_POSTGRES"); source != "" {
		systems = append(systems, system{"postgres", "PostgreSQL", source, fmt.Sprintf("pipeline_bench_%d_", os.Getpid())})
	} else {
		b.leftOut("PostgreSQL, since PIPELINE_POSTGRES is not set")
	}
	if source := os.Getenv("PIPELINE_MARIADB"); source != "" {
		systems = append(systems, system{"mariadb", "MariaDB", source, fmt.Sprintf("pipeline_bench_%d_", os.Getpid())})
	} else {
		b.leftOut("MariaDB, since PIPELINE_MARIADB is not set")
	}
	for _, s := range systems {
		sized, err := b.exportSystem(s, dir)
		results = append(results, sized...)
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

// exportSystem exports tables of one system: with all contenders at one size, then
// a few sizes for the growth, then ten times the size.
func (b *bench) exportSystem(s system, dir string) (results []*result, err error) {
	rows := b.items(1_000_000, 3000)
	one, err := b.exportSize(s, dir, rows, b.exportRounds())
	if err != nil {
		return nil, err
	}
	results = append(results, one)
	if s.name == "sqlite" {
		growth, err := b.exportGrowth(s, dir, rows)
		if err != nil {
			return results, err
		}
		results = append(results, growth)
	}
	if b.scale < 1 {
		return results, nil
	}
	if left := time.Until(b.until); left < largeExportTime {
		b.leftOut("%s with %s rows, since only %v of the time were left", s.title, thousands(float64(10*rows)), left.Round(time.Second))
		return results, nil
	}
	ten, err := b.exportSize(s, dir, 10*rows, 1)
	if err != nil {
		return results, err
	}
	return append(results, ten), nil
}

// largeExportTime is what an export of ten million rows by all contenders takes at most.
const largeExportTime = 130 * time.Second

// exportRounds is fewer than elsewhere: each is a second or more.
func (b *bench) exportRounds() int {
	if b.scale < 1 {
		return 1
	}
	return min(b.rounds, 5)
}

func (b *bench) exportSize(s system, dir string, rows, rounds int) (*result, error) {
	b.say("  making %s rows in %s", thousands(float64(rows)), s.title)
	name, err := s.fill(rows)
	if err != nil {
		return nil, err
	}
	r := race{name: "export", same: fmt.Sprintf("export of %d rows", rows), items: rows, rounds: rounds, columns: []column{
		{name: "speed", unit: "thousand rows/s", higher: true},
		{name: "memory", unit: "MB", noRank: true},
	}}
	about := "From the table to a CSV file, the same bytes by all, but for the line of names that examples/export writes first. speed counts from the start of a process to its end, memory is its peak of resident memory. "
	if program, err := b.exportProgram(dir); err == nil {
		r.contestants = append(r.contestants, b.programContestant(s, program, dir, name, rows))
	} else {
		b.leftOut("the program examples/export, which cannot be built: %v", err)
	}
	for _, e := range exporters {
		if e.name == offsetPages && rows > maxOffsetRows {
			about += "OFFSET pages are left out: their time grows with the square of the rows, see the cost against the size of the table. "
			continue
		}
		r.contestants = append(r.contestants, b.exportContestant(s, e, dir, name, rows))
	}
	client, any := clients[s.name]
	if path, err := exec.LookPath(client.program); !any {
		// MariaDB has none that writes CSV.
	} else if err == nil {
		r.contestants = append(r.contestants, b.clientContestant(s, path, dir, name, rows))
		about += fmt.Sprintf("%s is the database's own client, written in C%s.", client.program, map[bool]string{true: "; the server writes the CSV for it"}[s.name == "postgres"])
	} else {
		b.leftOut("%s, which is not installed", client.program)
	}
	result, err := b.run(table{
		id:    fmt.Sprintf("export-%s-%d", s.name, rows),
		title: fmt.Sprintf("Export of %s rows from %s", thousands(float64(rows)), s.title),
		about: about,
		races: []race{r},
		base:  streamedSelect,
	})
	return result, errors.Join(err, s.drop(name))
}

// maxOffsetRows bounds OFFSET pages: a million rows would take them a minute.
const maxOffsetRows = 100_000

// exportGrowth measures a row's cost in tables of growing size.
func (b *bench) exportGrowth(s system, dir string, most int) (*result, error) {
	t := table{
		id:    "export-growth",
		title: "Cost of a row against the size of the table, SQLite",
		about: "Time a row takes when the whole table is exported in keyset pages that grow by themselves, in OFFSET pages of 1,000, and by one streamed SELECT. For a page at OFFSET n the database reads n rows and drops them.",
	}
	sizes := []int{most / 100, most / 30, most / 10, most * 3 / 10, most}
	if b.scale < 1 {
		sizes = sizes[2:]
	}
	for _, rows := range sizes {
		name, err := s.fill(rows)
		if err != nil {
			return nil, err
		}
		defer s.drop(name) // with the file, if this fails
		r := race{name: thousands(float64(rows)) + " rows", items: rows, rounds: min(b.exportRounds(), 3)}
		r.columns = []column{{name: r.name, unit: "µs"}}
		if rows == most {
			r.rounds = 1 // OFFSET pages take half a minute
		}
		for _, e := range exporters {
			if e.name == withCheckpoints || e.role == limit {
				continue // commits are as many as the size allows, which is another matter
			}
			c := b.exportContestant(s, e, dir, name, rows)
			work := c.work
			c.work = func() (outcome, error) {
				o, err := work()
				if err == nil {
					o.values = []float64{1000 / o.values[0]}
				}
				return o, err
			}
			r.contestants = append(r.contestants, c)
		}
		t.races = append(t.races, r)
	}
	return b.run(t)
}

func (b *bench) exportContestant(s system, e exporter, dir, name string, rows int) contestant {
	module := moduleOurs
	if e.role != ours {
		module = ""
	}
	return contestant{e.name, module, e.role, func() (outcome, error) {
		t := task{Kind: "export", Contender: e.name, System: s.name, Source: s.source, Table: name, Out: filepath.Join(dir, "out.csv"), Rows: rows}
		a, err := b.child(t)
		return exported(a, t, err)
	}}
}

// exportProgram builds the program of the examples.
func (b *bench) exportProgram(dir string) (path string, err error) {
	path = filepath.Join(dir, "export")
	if out, err := exec.Command("go", "-C", filepath.Join("..", "examples"), "build", "-o", path, "./export").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
}

// programContestant is the program examples/export, with a driver of its own for SQLite
// and checkpoints.
func (b *bench) programContestant(s system, program, dir, name string, rows int) contestant {
	return contestant{"the program examples/export, resumable", moduleOurs, ours, func() (outcome, error) {
		t := task{Source: s.source, Table: name, Out: filepath.Join(dir, "out.csv"), Rows: rows}
		state := filepath.Join(dir, "state")
		defer os.RemoveAll(state)
		a, err := client(exec.Command(program, "-dsn", t.Source, "-table", t.Table, "-out", t.Out, "-state", state))
		if err == nil {
			err = withoutFirstLine(t.Out)
		}
		return exported(a, t, err)
	}}
}

// withoutFirstLine takes the names of the columns out of a file.
func withoutFirstLine(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, rest, _ := bytes.Cut(text, []byte{'\n'})
	return os.WriteFile(path, rest, 0o600)
}

func (b *bench) clientContestant(s system, path, dir, name string, rows int) contestant {
	c := clients[s.name]
	return contestant{c.program, "", peer, func() (outcome, error) {
		t := task{Source: s.source, Table: name, Out: filepath.Join(dir, "out.csv"), Rows: rows}
		a, err := client(c.command(path, t))
		return exported(a, t, err)
	}}
}

// exported sums up the file that was written and removes it.
func exported(a answer, t task, err error) (outcome, error) {
	if err != nil {
		return outcome{}, err
	}
	f, err := os.Open(t.Out)
	if err != nil {
		return outcome{}, err
	}
	defer os.Remove(t.Out)
	defer f.Close()
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	size, err := io.Copy(sum, f)
	o := outcome{sum: digest(sum.Sum32()) ^ digest(size)<<32}
	o.values = []float64{float64(t.Rows) / a.Seconds / 1000, a.PeakMB}
	return o, err
}
