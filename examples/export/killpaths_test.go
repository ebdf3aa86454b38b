package main

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/pipeline/cursor/keyset"
)

// A killPath is a path through the program. Commits come every 100 rows, and pages have 50,
// where it does not say otherwise.
type killPath struct {
	name    string
	out     string
	args    []string // -table=orders where none is named
	files   []string // what it makes; out where there are none
	not     string   // the system that cannot do it
	before  []string // what a run before the first one is given, nil: there was none
	follow  bool
	storeDB bool
}

var (
	three   = []string{"o.1of3.csv", "o.2of3.csv", "o.3of3.csv"}
	threeGz = []string{"o.1of3.csv.gz", "o.2of3.csv.gz", "o.3of3.csv.gz"}
	noKey   = []string{"-table=bare"}
	query   = "-query=SELECT id, customer, cents * 2 AS twice FROM orders WHERE id % 3 > 0"
	db      = []string{"-store=db", "-lease=1s"}
)

// killPaths are all there are. Those that begin with store are about each store, compressed
// and not.
var killPaths = []killPath{
	{name: "store-file", out: "o.csv"},
	{name: "store-file-gzip", out: "o.csv.gz"},
	{name: "store-db", out: "o.csv", args: db, storeDB: true},
	{name: "store-db-gzip", out: "o.csv.gz", args: db, storeDB: true},

	{name: "no-flags", out: "o.csv", args: []string{"-commit=0", "-page=1000"}},
	{name: "zstd", out: "o.csv.zst"},
	{name: "tsv", out: "o.tsv"},
	{name: "jsonl", out: "o.jsonl"},
	{name: "jsonl-gzip", out: "o.jsonl.gz"},
	{name: "tsv-zstd-without-header", out: "o.tsv.zst", args: []string{"-header=false"}},
	{name: "null-without-header", out: "o.csv", args: []string{"-header=false", "-null=NULL"}},
	{name: "columns", out: "o.csv", args: []string{"-columns=reference,note,placed_at", "-delimiter=;", "-where=id > 7"}},
	{name: "manifest", out: "o.csv", args: []string{"-manifest"}, files: []string{"o.csv", "o.csv.manifest.json"}},
	{name: "manifest-verify-zstd", out: "o.jsonl.zst", args: []string{"-manifest", "-verify"}, files: []string{"o.jsonl.zst", "o.jsonl.zst.manifest.json"}},

	{name: "partitions", out: "o.csv", args: []string{"-partitions=3"}, files: three},
	{name: "partitions-manifest-gzip", out: "o.csv.gz", args: []string{"-partitions=3", "-workers=2", "-manifest"}, files: append(slices.Clone(threeGz), "o.csv.gz.manifest.json")},
	{name: "partitions-store-db", out: "o.csv", args: append([]string{"-partitions=3"}, db...), files: three, storeDB: true},

	{name: "no-key", out: "o.csv", args: noKey},
	{name: "no-key-gzip", out: "o.csv.gz", args: noKey},
	{name: "no-key-partitions", out: "o.csv", args: append([]string{"-partitions=3"}, noKey...), files: three, not: "mariadb"},
	{name: "no-key-store-db", out: "o.csv", args: append(slices.Clone(noKey), db...), storeDB: true},
	{name: "query", out: "o.csv", args: []string{query, "-key=id"}},
	{name: "query-zstd", out: "o.jsonl.zst", args: []string{query, "-key=id"}},
	{name: "query-no-key", out: "o.csv.gz", args: []string{query}},

	{name: "until", out: "o.csv", args: []string{"-until=934"}},
	{name: "until-partitions-gzip", out: "o.csv.gz", args: []string{"-until=777", "-partitions=3"}, files: threeGz},
	{name: "limit", out: "o.csv", args: []string{"-limit=934"}},
	{name: "limit-zstd", out: "o.tsv.zst", args: []string{"-limit=950"}},

	{name: "several", out: "all", args: []string{"-table=orders,bare,grown"}, files: []string{"all/orders.csv", "all/bare.csv", "all/grown.csv"}},
	{name: "several-manifest-gzip", out: "all", args: []string{"-table=orders,grown,bare", "-compress=gzip", "-workers=2", "-manifest"},
		files: []string{"all/orders.csv.gz", "all/grown.csv.gz", "all/bare.csv.gz", "all/manifest.json"}},
	{name: "several-partitions", out: "all", args: []string{"-table=grown,orders", "-partitions=2"},
		files: []string{"all/grown.1of2.csv", "all/grown.2of2.csv", "all/orders.1of2.csv", "all/orders.2of2.csv"}},

	// The table has grown since the run before.
	{name: "more", out: "o.csv", args: []string{"-table=grown", "-more"}, before: []string{"-more"}},
	{name: "more-zstd", out: "o.csv.zst", args: []string{"-table=grown", "-more"}, before: []string{"-more"}},
	{name: "more-partitions-gzip", out: "o.csv.gz", args: []string{"-table=grown", "-more", "-partitions=3"}, files: threeGz, before: []string{"-more"}},
	{name: "restart", out: "o.csv", args: []string{"-restart", "-partitions=3"}, files: three, before: []string{"-partitions=2", "-null=NULL"}},

	{name: "follow", out: "o.csv", follow: true},
	{name: "follow-gzip", out: "o.jsonl.gz", follow: true},
}

func (p killPath) isFor(system string) bool { return p.not != system }

// anew reports whether an interrupted run can begin anew only.
func (k *killer) anew() bool {
	return slices.Contains(k.args, "-restart") || k.name == "query-no-key" || k.server == mariaDBServer && slices.Contains(k.args, noKey[0])
}

// A killSystem is a database system.
type killSystem struct {
	name    string
	server  server
	dialect keyset.Dialect
}

// killSystems are those that are there.
func killSystems() []killSystem {
	systems := []killSystem{{"sqlite", server{}, keyset.SQLite}}
	for _, s := range []killSystem{{"postgres", postgresServer, keyset.Postgres}, {"mariadb", mariaDBServer, keyset.MySQL}} {
		if os.Getenv(s.server.variable) != "" {
			systems = append(systems, s)
		}
	}
	return systems
}

// A killPlace is a database with tables, and what the paths' runs find.
type killPlace struct {
	killSystem
	dsn  string
	db   *sql.DB
	seed map[string]string // by path, the folder that its runs begin with a copy of
}

// prepare makes tables of so many rows, and does what is before the runs of these paths.
func (s killSystem) prepare(t *testing.T, rows int, paths []killPath) killPlace {
	t.Helper()
	p := killPlace{killSystem: s, seed: map[string]string{}}
	if s.name == "sqlite" {
		p.dsn = newDemo(t, rows)
		p.db = openSQLite(t, p.dsn)
	} else {
		p.dsn, p.db = newServerTables(t, s.server, orders(s.server, rows)...)
	}
	bare := "CREATE TABLE bare (n int, txt varchar(80))"
	if s.name == "postgres" {
		bare += " WITH (fillfactor = 10)" // so that there are more blocks than one statement reads
	}
	p.exec(t, bare)
	p.insert(t, "bare", 1, rows)
	p.exec(t, "CREATE TABLE grown (id int PRIMARY KEY, txt varchar(80))")
	p.insert(t, "grown", 1, rows/2)
	for _, path := range paths {
		if path.before == nil {
			continue
		}
		dir := t.TempDir()
		args := slices.DeleteFunc(p.arguments(path), func(arg string) bool { return arg == "-restart" })
		mustRun(t, dir, exitDone, "done: ", append(args, path.before...)...)
		p.seed[path.name] = dir
	}
	p.insert(t, "grown", rows/2+1, rows)
	return p
}

// arguments are those of the path's runs.
func (p killPlace) arguments(path killPath) []string {
	args := []string{"-dsn=" + p.dsn, "-out=" + path.out, "-commit=100", "-page=50"}
	if !path.follow && !slices.ContainsFunc(path.args, func(arg string) bool { return strings.HasPrefix(arg, "-table=") || arg == query }) {
		args = append(args, "-table=orders")
	}
	return append(args, path.args...)
}

func (p killPlace) exec(t *testing.T, statement string) {
	t.Helper()
	if _, err := p.db.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%.200s: %v", statement, err)
	}
}

// insert makes rows.
func (p killPlace) insert(t *testing.T, table string, from, to int) {
	t.Helper()
	for ; from <= to; from += 500 {
		var values []string
		for n := from; n <= min(to, from+499); n++ {
			text := fmt.Sprintf("'row %d, %s'", n, strings.Repeat("x", 40+n%20))
			if n%3 == 0 {
				text = "NULL"
			}
			values = append(values, fmt.Sprintf("(%d, %s)", n, text))
		}
		p.exec(t, "INSERT INTO "+table+" VALUES "+strings.Join(values, ", "))
	}
}

// of returns the place for a path. Those that write to SQLite have a database of their own,
// since it has one writer.
func (p killPlace) of(t *testing.T, path killPath) killPlace {
	t.Helper()
	if p.name == "sqlite" && (path.follow || path.storeDB) {
		copied := filepath.Join(t.TempDir(), "copy.db")
		write(t, copied, read(t, strings.TrimPrefix(p.dsn, "sqlite:")))
		p.dsn = "sqlite:" + copied
		p.db = openSQLite(t, p.dsn+"?_pragma=busy_timeout(20000)")
	}
	return p
}

// folder returns a folder for the runs of an export.
func (k *killer) folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if seed := k.seed[k.name]; seed != "" {
		if err := os.CopyFS(dir, os.DirFS(seed)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A rowWriter writes rows to a table that is followed.
type rowWriter struct {
	killPlace
	table string
	last  int             // the row that was written last
	text  strings.Builder // what the file is to have
	line  string          // of a row
}

// newWriter makes a table for a path.
func (k *killer) newWriter(t *testing.T) *rowWriter {
	t.Helper()
	w := &rowWriter{killPlace: k.killPlace, table: strings.ReplaceAll(k.name, "-", "_"), line: "%d,%d\n"}
	w.exec(t, "CREATE TABLE "+w.table+" (id int PRIMARY KEY, a int)")
	if strings.Contains(k.out, ".jsonl") {
		w.line = `{"id":%d,"a":%d}` + "\n"
	} else {
		w.text.WriteString("id,a\n")
	}
	return w
}

// take returns a statement that writes so many rows.
func (w *rowWriter) take(rows int) string {
	var values []string
	for range rows {
		w.last++
		values = append(values, fmt.Sprintf("(%d, %d)", w.last, w.last*7))
		fmt.Fprintf(&w.text, w.line, w.last, w.last*7)
	}
	return "INSERT INTO " + w.table + " VALUES " + strings.Join(values, ", ")
}

// write writes rows, of which the first are committed after the last where the database
// lets more than one write.
func (w *rowWriter) write(t *testing.T) {
	for range 1 + rand.N(3) {
		first, second := w.take(1+rand.N(3)), w.take(1+rand.N(150))
		time.Sleep(rand.N(50 * time.Millisecond))
		tx, err := w.db.BeginTx(t.Context(), nil)
		if err == nil {
			_, err = tx.ExecContext(t.Context(), first)
		}
		if err != nil {
			t.Error(err)
			return
		}
		if w.name == "sqlite" {
			err = tx.Commit()
		}
		var late sync.WaitGroup
		late.Go(func() { // it waits where the program waits for the first
			if _, err := w.db.ExecContext(t.Context(), second); err != nil {
				t.Error(err)
			}
		})
		if w.name != "sqlite" {
			time.Sleep(rand.N(100 * time.Millisecond))
			err = tx.Commit()
		}
		late.Wait()
		if err != nil {
			t.Error(err)
			return
		}
	}
}
