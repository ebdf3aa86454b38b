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

	"example.com/pipeline/examples/export/encode"
	"example.com/pipeline/examples/export/plan"
	"example.com/pipeline/examples/export/source"
)

// A config is what the command line asks for, checked.
type config struct {
	dsn, source  string
	table, query string
	tables       []tableName
	key, columns list
	where        string
	until        keyValues
	limit        int // rows; 0 means all
	format       encode.Format
	delimiter    string
	header       bool
	out          string
	compress     string // gzip, zstd, or "" for neither
	page, commit int
	rate         float64
	stall        time.Duration
	workers      int
	partitions   int
	state, store string
	lease        time.Duration
	exclude      string
	excluded     []tableName
	many         bool // -table has named several, whatever it has come to
	restart      bool
	begun        bool // the checkpoints were there
	restarted    bool // the export is the new one
	more         bool
	follow       time.Duration // 0 means that there is an end
	count        bool
	verify       bool
	manifest     bool
	dryRun       bool
	quiet        bool
	log          string
	status       bool
	rows         int // of the demo database

	set []*flag.Flag // what was given, to say how to go on
}

// maxPartitions keeps a slip of the keyboard from opening a million files.
const maxPartitions = 1000

// define tells a flag set what there is.
func (c *config) define(f *flag.FlagSet) {
	f.StringVar(&c.dsn, "dsn", "", "the `database`: shop.db, postgres://…, host=… dbname=…, mysql://…, or @FILE (default: $DATABASE_URL, then PGHOST and the like)")
	f.StringVar(&c.source, "source", "", "the `name` that the database is known by when an export goes on, where host or port may change; of a data source name, only these and the database are kept (default: host, port and database)")
	f.StringVar(&c.table, "table", "", "the `table` or view to export, \"a schema\".\"a.table\" in quotes where it has dots; several with commas, or schema.* for all tables of one, each to a file in the folder -out")
	f.StringVar(&c.exclude, "exclude", "", "`tables` to leave out of schema.*")
	f.StringVar(&c.query, "query", "", "export the result of this `SELECT`, in the order of -key")
	f.Var(&c.key, "key", "`columns` that are unique together and never NULL, in the order of an index (default: the primary key)")
	f.Var(&c.columns, "columns", "`columns` to export (default: all); one with a comma in double quotes")
	f.StringVar(&c.where, "where", "", "export the rows that this SQL `condition` holds for")
	f.Var(&c.until, "until", "the last `key` to export, whether there is a row with it or not; the values of several columns with commas between them (default: the end of the table)")
	f.IntVar(&c.limit, "limit", 0, "export this many `rows` at most, the first ones by the key; of each table, where there are several (default: all)")

	f.StringVar(&c.out, "out", "", "the `file` to write, or - for standard output, which cannot be gone on with (default: the table's name in the current folder)")
	f.StringVar(&c.format.Name, "format", "", "csv, tsv or jsonl (default: by the ending of -out, otherwise csv)")
	f.StringVar(&c.compress, "compress", "", "compress the file with `gzip` or zstd (default: by the ending of -out, .gz or .zst, otherwise not)")
	f.StringVar(&c.delimiter, "delimiter", "", "the `character` between two fields of CSV (default: a comma)")
	f.BoolVar(&c.header, "header", true, "begin CSV and TSV with a line that names the columns")
	f.StringVar(&c.format.Null, "null", "", "the `text` that CSV has for NULL, without quotes (default: nothing)")

	f.IntVar(&c.page, "page", 1000, "`rows` to read with one query; where it is not given, more of them where they come fast")
	f.IntVar(&c.partitions, "partitions", 1, "split the key into `N` ranges, one file each")
	f.IntVar(&c.workers, "workers", 0, "how many `partitions` to export at the same time (default: all)")
	f.Float64Var(&c.rate, "rate", 0, "`rows` a second at most (default: no limit)")

	f.BoolVar(&c.more, "more", false, "go on with a complete export behind its last row; each run ends at a key below which no commit can still come in, so give it from the first run on")
	f.DurationVar(&c.follow, "follow", 0, "like -more, and then look for more rows so often, until a signal ends it")
	f.BoolVar(&c.verify, "verify", false, "at the end read the table and the files again, also those of a complete export, and compare them: their rows and a checksum of them in any order")
	f.BoolVar(&c.manifest, "manifest", false, "at the end write the rows, bytes, SHA-256 and column types to FILE.manifest.json beside -out, or to manifest.json in the folder")
	f.BoolVar(&c.restart, "restart", false, "export from the beginning, over what is there")
	f.IntVar(&c.commit, "commit", 0, "commit after this many `rows` (default: after 100,000 or 5 seconds)")
	f.StringVar(&c.state, "state", "", "the `folder` for checkpoints (default: .pipeline-state beside -out)")
	f.StringVar(&c.store, "store", "file", "keep the checkpoints in a file or in the exported database (db)")
	f.DurationVar(&c.lease, "lease", 10*time.Second, "with -store db, how long a run that was killed still holds the export")
	f.DurationVar(&c.stall, "stall", 0, "end when no row and no other answer has come for so long (default: say so after 10 s, and wait)")

	f.BoolVar(&c.status, "status", false, "show the exports whose checkpoints are in -state, and export nothing")
	f.BoolVar(&c.dryRun, "dry-run", false, "show what would be exported, in which order, and what the database makes of the first page; write nothing")
	f.StringVar(&c.log, "log", "text", "say what happens as text, or as json: one object a line, with figures")
	f.BoolVar(&c.quiet, "quiet", false, "print errors only")
	f.BoolVar(&c.count, "count", false, "count the rows before the first one is read, so that the progress is exact (default: the database's estimate)")
	f.IntVar(&c.rows, "rows", 1_000_000, "`rows` of the demo database")
}

// parseFlags reads the command line. Help is printed to w; errors are returned.
func parseFlags(args []string, w io.Writer) (*config, error) {
	c := &config{}
	f := flag.NewFlagSet("export", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	c.define(f)
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			printHelp(w, f)
		}
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("%q is no flag: everything is said with flags, see -help", source.Redact(f.Arg(0)))
	}
	f.Visit(func(f *flag.Flag) { c.set = append(c.set, f) })
	err := c.complete()
	return c, err
}

// complete checks the flags against each other and fills in what was left out.
func (c *config) complete() (err error) {
	// It is stored and printed, and people give the data source name of before.
	if c.source, err = source.Identity(c.source); err != nil {
		return err
	}
	if c.dsn == "" && (c.table != "" || c.query != "") {
		var ok bool
		if c.dsn, _, ok = source.FromEnvironment(); !ok {
			return errors.New("-table needs -dsn, or DATABASE_URL: without it, a demo database is exported; so does -query")
		}
	}
	if c.status {
		return c.completeStatus()
	}
	if err := c.completeFollow(); err != nil {
		return err
	}
	for _, check := range []struct {
		bad bool
		err string
	}{
		{c.dsn != "" && c.table == "" && c.query == "", "-dsn needs -table or -query: what is to be exported?"},
		{c.dsn == "" && len(c.until) > 0, "-until needs -dsn: the demo database has -rows"},
		{c.dryRun && c.dsn == "", "-dry-run needs -dsn: the demo database would have to be made"},
		{c.limit < 0, fmt.Sprintf("-limit must not be negative, as %d is", c.limit)},
		{c.limit > 0 && c.partitions > 1, "-limit is for one file, and cannot go with -partitions"},
		{len(c.until) > 0 && c.more, "-until and -more cannot go together"},
		{len(c.until) > 0 && c.count, "-count counts to the end of the table, and cannot go with -until"},
		{c.limit > 0 && c.more, "-limit and -more cannot go together"},
		{c.more && c.restart, "-more and -restart cannot go together"},
		{c.table != "" && c.query != "", "-table and -query cannot go together"},
		{c.query != "" && c.out == "", "-query needs -out: which file is to be written?"},
		{c.dsn != "" && c.given("rows"), "-rows is for the demo database, and cannot go with -dsn"},
		{c.page < 1 || c.page > 1_000_000, fmt.Sprintf("-page must be from 1 to 1,000,000, not %d", c.page)},
		{c.commit < 0, fmt.Sprintf("-commit must not be negative, as %d is", c.commit)},
		{!(c.rate >= 0 && c.rate <= 1e9), fmt.Sprintf("-rate must be from 0 to 1e9 rows a second, not %v", c.rate)},
		{c.query != "" && strings.TrimRight(c.query, "; \t\r\n") == "", "-query is empty"},
		{c.partitions < 1 || c.partitions > maxPartitions, fmt.Sprintf("-partitions must be from 1 to %d, not %d", maxPartitions, c.partitions)},
		{c.workers < 0, fmt.Sprintf("-workers must not be negative, as %d is", c.workers)},
		{c.rows < 1 || c.rows > 1_000_000_000, fmt.Sprintf("-rows must be from 1 to 1,000,000,000, not %d", c.rows)},
		{c.lease < time.Second, fmt.Sprintf("-lease must be at least 1s, not %v", c.lease)},
		{c.stall < 0 || c.stall > 0 && c.stall < time.Second, fmt.Sprintf("-stall must be 0 or at least 1s, not %v", c.stall)},
		{c.log != "text" && c.log != "json", fmt.Sprintf("-log must be text or json, not %q", c.log)},
		{c.log == "json" && c.dryRun, "-log json is for exports, and cannot go with -dry-run"},
		{c.store != "file" && c.store != "db", fmt.Sprintf("-store must be file or db, not %q", c.store)},
	} {
		if check.bad {
			return errors.New(check.err)
		}
	}
	if err := c.completeTables(); err != nil {
		return err
	}
	if c.workers == 0 || c.workers > c.partitions && !c.several() {
		c.workers = c.partitions
	}
	return c.completeOutput()
}

// minFollow keeps a slip of the keyboard from asking the database without a pause.
const minFollow = 100 * time.Millisecond

// completeFollow refuses what is for exports that end by themselves.
func (c *config) completeFollow() error {
	if !c.given("follow") {
		return nil
	}
	if c.follow < minFollow {
		return fmt.Errorf("-follow must be at least %v, not %v", minFollow, c.follow)
	}
	for _, name := range []string{"out -", "restart", "limit", "until", "count", "stall", "verify", "manifest"} {
		if c.given(name) || name == "out -" && c.out == pipe {
			return fmt.Errorf("-%s is for an export that ends by itself, and cannot go with -follow", name)
		}
	}
	c.more = true
	return nil
}

// several reports whether -table names more than one table, so that -out is a folder.
func (c *config) several() bool {
	return c.many || len(c.tables) > 1 || len(c.tables) == 1 && c.tables[0].all()
}

// completeTables reads -table and -exclude.
func (c *config) completeTables() (err error) {
	if c.table != "" {
		if c.tables, err = parseTables(c.table); err != nil {
			return fmt.Errorf("-table: %w", err)
		}
	}
	if c.exclude != "" {
		if c.excluded, err = parseTables(c.exclude); err != nil {
			return fmt.Errorf("-exclude: %w", err)
		}
	}
	switch {
	case len(c.excluded) > 0 && !slices.ContainsFunc(c.tables, tableName.all):
		return errors.New("-exclude needs a -table such as schema.*, to leave tables out of")
	case c.several() && (len(c.key) > 0 || len(c.columns) > 0 || len(c.until) > 0 || c.where != ""):
		return errors.New("-key, -columns, -where and -until are for one table")
	case c.several() && c.out == "":
		return errors.New("-table names several tables, so -out must name a folder")
	}
	return nil
}

// completeOutput settles the file and its format.
func (c *config) completeOutput() error {
	if c.out == pipe {
		if err := c.completePipe(); err != nil {
			return err
		}
	}
	if err := c.completeFormat(); err != nil {
		return err
	}
	if c.out == "" {
		table := demoTable
		if len(c.tables) > 0 {
			table = c.tables[0].String()
		}
		c.out = plan.FileName(table) + "." + c.format.Name
		c.out += encode.Compressions[c.compress]
	}
	if c.state == "" {
		c.state = filepath.Join(c.outFolder(), ".pipeline-state")
	}
	return nil
}

// pipe is the -out that stands for standard output.
const pipe = "-"

// completePipe refuses what is for files: what went through a pipe cannot be cut off.
func (c *config) completePipe() error {
	for _, name := range []string{"compress", "partitions", "workers", "commit", "more", "restart", "state", "store", "verify", "manifest"} {
		if c.given(name) {
			return fmt.Errorf("-%s is for a file, and cannot go with -out -", name)
		}
	}
	switch {
	case c.several():
		return errors.New("-out - takes one table")
	case c.dsn == "":
		return errors.New("-out - needs -dsn")
	}
	return nil
}

// outFolder returns the folder that files are written to.
func (c *config) outFolder() string {
	if c.several() {
		return c.out
	}
	return filepath.Dir(c.out)
}

// outFile returns the file that a table is written to.
func (c *config) outFile(table string) string {
	if !c.several() {
		return c.out
	}
	return filepath.Join(c.out, plan.FileName(table)+"."+c.format.Name+encode.Compressions[c.compress])
}

// An ending says what is in a file. Those without a format here are not written.
var endings = map[string]string{
	".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl",

	// Data.
	".json": "", ".geojson": "", ".jsonld": "", ".bson": "", ".cbor": "", ".msgpack": "", ".pb": "", ".proto": "", ".xml": "", ".yaml": "", ".yml": "", ".toml": "", ".ini": "",
	".parquet": "", ".pq": "", ".avro": "", ".orc": "", ".arrow": "", ".ipc": "", ".feather": "",
	".h5": "", ".hdf5": "", ".hdf": "", ".nc": "", ".npy": "", ".npz": "", ".mat": "", ".pickle": "", ".pkl": "",
	".dta": "", ".sav": "", ".por": "", ".sas7bdat": "", ".rds": "", ".rdata": "",
	".ics": "", ".vcf": "", ".kml": "", ".kmz": "", ".gml": "", ".gpx": "", ".shp": "", ".gpkg": "",

	// Databases.
	".db": "", ".db3": "", ".sqlite": "", ".sqlite3": "", ".duckdb": "", ".dbf": "", ".mdb": "", ".accdb": "", ".sql": "", ".dump": "",

	// Documents.
	".xlsx": "", ".xlsm": "", ".xlsb": "", ".xls": "", ".ods": "", ".doc": "", ".docx": "", ".odt": "", ".ppt": "", ".pptx": "", ".odp": "", ".rtf": "",
	".html": "", ".htm": "", ".xhtml": "", ".md": "", ".tex": "", ".pdf": "",

	// Archives and packages.
	".tar": "", ".cpio": "", ".iso": "", ".jar": "", ".war": "", ".deb": "", ".rpm": "",
}

// compressions are endings of files that are packed, and the compression that makes one.
var compressions = map[string]string{
	".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd",

	// Other compressions.
	".bz2": "", ".xz": "", ".lz": "", ".lz4": "", ".lzma": "", ".lzo": "", ".br": "", ".z": "", ".sz": "", ".snappy": "",

	// Archives.
	".zip": "", ".7z": "", ".rar": "", ".cab": "", ".tgz": "", ".taz": "", ".tbz": "", ".tbz2": "", ".txz": "", ".tlz": "", ".tzst": "",

	// Encrypted files.
	".gpg": "", ".pgp": "", ".age": "", ".enc": "",
}

// completeFormat reads the format and the compression off the endings of -out, and refuses
// endings that would lie.
func (c *config) completeFormat() error {
	if _, ok := encode.Compressions[c.compress]; !ok {
		return fmt.Errorf("-compress must be gzip or zstd, not %q", c.compress)
	}
	name := strings.ToLower(filepath.Base(c.out))
	ending := filepath.Ext(name)
	if c.several() {
		ending = "" // of a folder, which says nothing
	}
	if compression, ok := compressions[ending]; ok {
		switch {
		case compression == "":
			return fmt.Errorf("-out %s: its ending says %s, which is not written here; there are .gz and .zst", c.out, ending)
		case c.compress != "" && c.compress != compression:
			return fmt.Errorf("-out %s: its ending says %s, and -compress %s", c.out, compression, c.compress)
		}
		c.compress = compression
		outer := ending
		ending = filepath.Ext(strings.TrimSuffix(name, outer))
		if _, again := compressions[ending]; again {
			return fmt.Errorf("-out %s: its endings say %s and %s, and a file is packed once here", c.out, ending, outer)
		}
	} else if c.compress != "" && c.out != "" && !c.several() {
		return fmt.Errorf("-out %s: its ending says that it is not compressed, and -compress %s that it is; call it %s", c.out, c.compress, c.out+encode.Compressions[c.compress])
	}
	says, known := endings[ending]
	switch {
	case !known && c.format.Name == "":
		c.format.Name = "csv"
	case known && c.format.Name == "" && says == "":
		return fmt.Errorf("-out %s: its ending says %s, which is not written here; there are .csv, .tsv and .jsonl", c.out, ending)
	case known && c.format.Name == "":
		c.format.Name = says
	case known && says != c.format.Name && !(ending == ".json" && c.format.Name == "jsonl"):
		return fmt.Errorf("-out %s: its ending says %s, and -format %s", c.out, ending, c.format.Name)
	}
	if !slices.Contains(encode.Formats, c.format.Name) {
		return fmt.Errorf("-format must be csv, tsv or jsonl, not %q", c.format.Name)
	}
	return c.completeCSV()
}

// completeCSV checks the flags about the details of a format.
func (c *config) completeCSV() error {
	c.format.NoHeader = !c.header
	switch {
	case c.format.Name != "csv" && (c.delimiter != "" || c.format.Null != ""):
		return fmt.Errorf("-delimiter and -null are for CSV, not for %s", c.format.Name)
	case c.format.Name == "jsonl" && c.given("header"):
		return errors.New("-header is for CSV and TSV: JSON lines name the columns in each line")
	case c.delimiter == `\t`:
		c.format.Delimiter = '\t'
	case len(c.delimiter) > 1:
		return fmt.Errorf("-delimiter must be one character of ASCII, not %q", c.delimiter)
	case c.delimiter != "":
		c.format.Delimiter = c.delimiter[0]
	}
	return c.format.Check()
}

func (c *config) given(name string) bool {
	return slices.ContainsFunc(c.set, func(f *flag.Flag) bool { return f.Name == name })
}

// command is the command line that goes on where this run stopped, for a shell that is
// where this one was started from.
func (c *config) command() string {
	words := program()
	for _, f := range c.set {
		value := f.Value.String()
		switch f.Name {
		case "restart":
			continue
		case "dsn":
			value = source.Redact(value)
		}
		words = append(words, shellQuote("-"+f.Name+"="+value))
	}
	return strings.Join(words, " ")
}

// goOn is the command line that goes on where this run stopped. A -restart that has not taken
// effect is part of it.
func (c *config) goOn() string {
	if c.restart && !c.restarted {
		return c.command() + " -restart"
	}
	return c.command()
}

// program is how this program is called: by go run, where the binary lies in a folder that
// will be gone.
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
