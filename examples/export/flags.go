package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A config is what the command line asks for, checked.
type config struct {
	dsn, table   string
	key, columns list
	where        string
	format, out  string
	gzip         bool
	page, commit int
	rate         float64
	workers      int
	partitions   int
	state, store string
	lease        time.Duration
	restart      bool
	rows         int // of the demo database

	set []*flag.Flag // what was given, to say how to go on
}

// A list is a flag whose value holds names separated by commas.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(s string) error {
	*l = nil
	for name := range strings.SplitSeq(s, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			return errors.New("a name between the commas is missing")
		}
		if slices.Contains(*l, name) {
			return fmt.Errorf("%s is named twice", name)
		}
		*l = append(*l, name)
	}
	return nil
}

// maxPartitions keeps a slip of the keyboard from opening a million files.
const maxPartitions = 1000

// parseFlags reads the command line. Help is printed to w; errors are returned.
func parseFlags(args []string, w io.Writer) (*config, error) {
	c := &config{}
	f := flag.NewFlagSet("export", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&c.dsn, "dsn", "", "the database: sqlite:`PATH`, postgres://… or mysql://… (default: make a demo database)")
	f.StringVar(&c.table, "table", "", "the `table` or view to export")
	f.Var(&c.key, "key", "`columns` that are unique together and never NULL, in the order of an index (default: the primary key)")
	f.Var(&c.columns, "columns", "`columns` to export (default: all)")
	f.StringVar(&c.where, "where", "", "export the rows that this SQL `condition` holds for")
	f.StringVar(&c.format, "format", "", "csv or jsonl (default: by the ending of -out, else csv)")
	f.StringVar(&c.out, "out", "", "the `file` to write (default: the table's name in the current folder)")
	f.BoolVar(&c.gzip, "gzip", false, "compress the file (default: if -out ends in .gz)")
	f.IntVar(&c.page, "page", 1000, "`rows` to read with one query; where it is not given, more of them where they come fast")
	f.IntVar(&c.commit, "commit", 0, "commit after this many `rows` (default: after 100,000 or 5 seconds)")
	f.Float64Var(&c.rate, "rate", 0, "`rows` a second at most (default: no limit)")
	f.IntVar(&c.partitions, "partitions", 1, "split the key into `N` ranges, one file each")
	f.IntVar(&c.workers, "workers", 0, "how many `partitions` to export at the same time (default: all)")
	f.StringVar(&c.state, "state", "", "the `folder` for checkpoints (default: .pipeline-state beside -out)")
	f.StringVar(&c.store, "store", "file", "keep the checkpoints in a file or in the exported database (db)")
	f.DurationVar(&c.lease, "lease", 10*time.Second, "with -store db, how long a run that was killed still holds the export")
	f.BoolVar(&c.restart, "restart", false, "export from the beginning, over what is there")
	f.IntVar(&c.rows, "rows", 1_000_000, "`rows` of the demo database")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			printHelp(w, f)
		}
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("%q is no flag: everything is said with flags, see -help", f.Arg(0))
	}
	f.Visit(func(f *flag.Flag) { c.set = append(c.set, f) })
	return c, c.complete()
}

// complete checks the flags against each other and fills in what was left out.
func (c *config) complete() error {
	for _, check := range []struct {
		bad bool
		err string
	}{
		{c.dsn == "" && c.table != "", "-table needs -dsn: without it, a demo database is exported"},
		{c.dsn != "" && c.table == "", "-dsn needs -table: which table is to be exported?"},
		{c.dsn != "" && c.given("rows"), "-rows is for the demo database, and cannot go with -dsn"},
		{c.page < 1 || c.page > 1_000_000, fmt.Sprintf("-page must be from 1 to 1,000,000, not %d", c.page)},
		{c.commit < 0, fmt.Sprintf("-commit must not be negative, as %d is", c.commit)},
		{!(c.rate >= 0 && c.rate <= 1e9), fmt.Sprintf("-rate must be from 0 to 1e9 rows a second, not %v", c.rate)},
		{c.partitions < 1 || c.partitions > maxPartitions, fmt.Sprintf("-partitions must be from 1 to %d, not %d", maxPartitions, c.partitions)},
		{c.workers < 0, fmt.Sprintf("-workers must not be negative, as %d is", c.workers)},
		{c.rows < 1 || c.rows > 1_000_000_000, fmt.Sprintf("-rows must be from 1 to 1,000,000,000, not %d", c.rows)},
		{c.lease < time.Second, fmt.Sprintf("-lease must be at least 1s, not %v", c.lease)},
		{c.store != "file" && c.store != "db", fmt.Sprintf("-store must be file or db, not %q", c.store)},
	} {
		if check.bad {
			return errors.New(check.err)
		}
	}
	if c.workers == 0 || c.workers > c.partitions {
		c.workers = c.partitions
	}
	return c.completeOutput()
}

func (c *config) completeOutput() error {
	base, zipped := strings.CutSuffix(c.out, ".gz")
	if zipped && !c.given("gzip") {
		c.gzip = true
	}
	if c.format == "" {
		c.format = "csv"
		if ext := filepath.Ext(base); ext == ".jsonl" || ext == ".ndjson" {
			c.format = "jsonl"
		}
	}
	if c.format != "csv" && c.format != "jsonl" {
		return fmt.Errorf("-format must be csv or jsonl, not %q", c.format)
	}
	if c.out == "" {
		table := c.table
		if table == "" {
			table = demoTable
		}
		c.out = strings.Map(fileRune, table) + "." + c.format
		if c.gzip {
			c.out += ".gz"
		}
	}
	if c.out == "-" {
		return errors.New("-out must be a file: what went through a pipe cannot be resumed")
	}
	if c.state == "" {
		c.state = filepath.Join(filepath.Dir(c.out), ".pipeline-state")
	}
	return nil
}

// fileRune keeps a table's name from leaving the folder.
func fileRune(r rune) rune {
	if strings.ContainsRune(`/\:*?"<>|`, r) || r < ' ' {
		return '_'
	}
	return r
}

func (c *config) given(name string) bool {
	return slices.ContainsFunc(c.set, func(f *flag.Flag) bool { return f.Name == name })
}

// command is the command line that goes on where this run stopped, for a shell
// that is where this one was started from.
func (c *config) command() string {
	words := program()
	for _, f := range c.set {
		value := f.Value.String()
		switch f.Name {
		case "restart":
			continue
		case "dsn":
			value = hidePassword(value)
		}
		words = append(words, shellQuote("-"+f.Name+"="+value))
	}
	return strings.Join(words, " ")
}

// program is how this program is called: by go run, where the binary lies in a
// folder that will be gone.
func program() []string {
	exe, err := os.Executable()
	if err != nil || !strings.Contains(filepath.ToSlash(exe), "/go-build") {
		return []string{shellQuote(os.Args[0])}
	}
	if dir, err := os.Getwd(); err == nil {
		// The shell's variable still names its own folder where go run was given -C.
		if rel, err := filepath.Rel(os.Getenv("PWD"), dir); err == nil && rel != "." {
			return []string{"go", "-C", shellQuote(rel), "run", "./export"}
		}
	}
	return []string{"go", "run", "./export"}
}

// shellQuote quotes what a POSIX shell would not take as it is.
func shellQuote(s string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,@+%", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func printHelp(w io.Writer, f *flag.FlagSet) {
	fmt.Fprintln(w, "Usage: export [flags]\n\nFlags:")
	f.SetOutput(w)
	f.PrintDefaults()
	fmt.Fprint(w, helpText)
}

// helpText is the part of the help that the flags do not tell; the comment at
// the top of this program says the same to who reads the source.
const helpText = `
Values: numbers have all their digits. Decimals, dates, UUIDs and arrays are the
database's own text. Timestamps of PostgreSQL are RFC 3339, in UTC; those of
SQLite and MariaDB are as they are stored (MariaDB's in UTC).

             CSV                          JSON lines
  NULL       nothing: a,,b                null
  text       as it is, quoted at need     "text"
  empty      ""                           ""
  binary     \x6869 without quotes        {"base64":"aGk="}

In CSV, a field in quotes is always text. Text that is no valid UTF-8 is
written as binary. NaN and infinities are text in JSON.

Exit codes: 0 the export is complete, 1 it failed, 2 the flags are wrong,
3 it was interrupted: the same command goes on.
`
