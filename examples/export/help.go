package main

import (
	"flag"
	"fmt"
	"io"
	"strings"
)

// groups are the flags by what one wants to do.
var groups = []struct{ title, flags string }{
	{"What to export", "dsn source table exclude query columns where key until limit"},
	{"How to write it", "out format compress delimiter header null"},
	{"How fast", "page partitions workers rate"},
	{"When it is interrupted, goes on, and is done", "more follow verify manifest restart commit state store lease stall"},
	{"To look first", "dry-run status count quiet log rows"},
}

const helpExamples = `Usage: export [flags]

  export                                                  a demo database of 1,000,000 rows
  export -dsn shop.db -table orders -out orders.csv.gz
  export -dsn postgres://user@host/db -table events -out events.jsonl -partitions 4
  export -dsn postgres://user@host/db -table 'public.*' -out folder -compress zstd

Killed at any moment, the same command goes on after the last row that is safely in
the file.
`

func printHelp(w io.Writer, f *flag.FlagSet) {
	fmt.Fprint(w, helpExamples)
	for _, g := range groups {
		fmt.Fprintf(w, "\n%s:\n", g.title)
		for name := range strings.FieldsSeq(g.flags) {
			one := flag.NewFlagSet("", flag.ContinueOnError)
			one.SetOutput(w)
			def := f.Lookup(name)
			one.Var(def.Value, name, def.Usage)
			one.Lookup(name).DefValue = def.DefValue // flags before -help may have changed the value
			one.PrintDefaults()
		}
	}
	fmt.Fprint(w, helpText)
}

// helpText is the part of the help that the flags do not tell; the comment at the top of
// this program says the same to who reads the source.
const helpText = `
Values: numbers have all their digits. Decimals, dates, UUIDs and arrays are the
database's own text. Timestamps of PostgreSQL are RFC 3339, in UTC; those of
SQLite and MariaDB are as they are stored (MariaDB's in UTC).

             CSV                          TSV               JSON lines
  NULL       nothing: a,,b                \N                null
  text       as it is, quoted at need     as it is, \ \t    "text"
  empty      ""                           nothing           ""
  binary     \x6869 without quotes        \\x6869           {"base64":"aGk="}

In CSV, a field in quotes is always text; where a row has one column only, NULL is
\N, since readers skip an empty line. TSV is what COPY and LOAD DATA read. Text that
is no valid UTF-8 is written as binary. NaN and infinities are text in JSON.

Secrets: a DSN from $DATABASE_URL or @FILE does not stand in the list of processes,
and ~/.pgpass is read. Passwords are printed and stored nowhere. Checkpoints are
their owner's alone (0600); outputs are made by the umask.

Exit codes: 0 the export is complete, 1 it failed, 2 the flags are wrong,
3 it was interrupted: the same command goes on.
`
