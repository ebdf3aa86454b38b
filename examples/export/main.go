// Export writes a table of SQLite, PostgreSQL or MariaDB/MySQL to a CSV or JSON
// lines file, and can be killed at any moment: started again with the same
// flags, it goes on after the last row that is safely in the file.
//
//	go -C examples run ./export                       # a demo database of 1,000,000 rows
//	go -C examples run ./export -dsn shop.db -table orders -out orders.csv.gz
//	go -C examples run ./export -dsn postgres://user@host/db -table 'public.*' -out folder
//
// The table is read in pages by its key (WHERE key > last ORDER BY key LIMIT n), so no
// connection and no transaction is held for long. Rows go to the file while their page is
// read, or, where writing takes longer, the next page is read meanwhile. Every 100,000 rows or 5 seconds the file is synced, and then its length and the
// key of the last row are saved together in a checkpoint. A run that goes on cuts the file
// to that length first. So every row is in the file once, and the file is byte for byte
// what a run without a death would have written. (With -compress that holds for what
// is in the file: each commit ends a gzip member or zstd frame, and an interrupted run has
// one commit more.)
//
// A table without a usable key is read by its rowid in SQLite, and by the places of its
// rows in PostgreSQL; anywhere else, as views and queries without -key, by one statement,
// and an interrupted run begins anew. A line says which of them it is, and what holds.
//
// The program is in rooms: package source has the databases, encode the formats, plan
// what goes into which file, and this one the flags, the run and what it says of it.
//
// # What the file holds
//
// Integers and floating point numbers are written with all their digits. What Go has no
// type for is the database's own text: decimals, dates, UUIDs, arrays. The timestamps of
// PostgreSQL are RFC 3339 in UTC, those without a time zone without one; those of SQLite
// and MariaDB are as they are stored (MariaDB's in UTC). No setting of a role, a database
// or a session changes any of it.
//
//	         CSV                          TSV               JSON lines
//	NULL     nothing: a,,b                \N                null
//	text     as it is, quoted at need     as it is, \ \t    "text"
//	empty    ""                           nothing           ""
//	binary   \x6869 without quotes        \\x6869           {"base64":"aGk="}
//
// A CSV field in quotes is always text, so a text that begins with \x has them. Where a row
// has one column only, NULL is \N in CSV, since readers skip an empty line: COPY reads it
// with NULL '\N'. TSV is what COPY and LOAD DATA read without options. Text that is no
// valid UTF-8 is written as binary. In JSON lines, columns of JSON are JSON and decimals
// are numbers with all their digits; NaN and infinities are text, and the characters
// U+0085, U+2028 and U+2029, which some readers end a line at, are escaped. A line ends
// with \n; the first one of CSV and TSV names the columns.
//
// With -more a complete export goes on behind its last row, and with -follow it looks for
// more again and again, each time up to a key below which no commit can still come in.
//
// With -verify the table and the files are read once more at the end, and compared by
// their number of rows and a checksum of the rows in any order.
//
// # What it refuses
//
// An export is known by its output, as it is seen from the folder of the checkpoints: both
// can be moved together. The flags that decide what is in the file (-dsn, -table, -query,
// -key, -columns, -where, -until, -limit, the format and -partitions) must stay the same until it is
// complete, the others may change. A database is known by host, port and name, or by what
// -source calls it; user, password and the way to connect may change. A file that is not
// this export's, or that was shortened since, is never written over, unless -restart says
// so. A second run on the same file ends at once.
//
// No secret of a data source name is printed or stored. Checkpoints can be read by their
// owner alone (0600); the outputs' modes are by the umask.
//
// SIGINT and SIGTERM commit what is written and end the run; a second signal ends it on the
// spot. The exit code is 0 where the export is complete, 1 where it failed, 2 where the
// flags are wrong, 3 where it was interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"example.com/pipeline/examples/export/source"
)

const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 3
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// tuneMemory has the garbage collector run harder before rows of tens of megabytes fill the
// memory with their copies. What the environment says of it stands.
func tuneMemory(workers int) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(192 << 20 * int64(max(workers, 1)))
	}
}

// tuneProcessors leaves a second processor to the server where one goroutine does all the work:
// waiting there for a timer, it would be woken by each packet that comes. What the environment
// says of it stands.
func tuneProcessors(c *config, system string) {
	if os.Getenv("GOMAXPROCS") == "" && c.workers == 1 && c.compress == "" && system != source.SQLite {
		runtime.GOMAXPROCS(1)
	}
}

func run(args []string, stdout, stderr io.Writer) int {
	c, err := parseFlags(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitDone
	case err != nil:
		fmt.Fprintf(stderr, "export: %v\n", err)
		return exitUsage
	}

	errs := newVoice(stderr, c.log)
	tuneMemory(c.workers)
	ignoreFileSizeSignal()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	announced := make(chan struct{}) // so that the two messages come in their order
	silence := context.AfterFunc(ctx, func() {
		defer close(announced)
		stop() // the next signal has its usual effect: the process ends
		errs.fail("stopping", nil, "stopping as soon as what is written is committed; a second signal ends it at once")
	})
	defer silence() // before the deferred stop, which ends ctx, too

	err = runExport(ctx, c, stdout)
	switch {
	case err == nil:
		return exitDone
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		<-announced
		if c.out == pipe {
			errs.fail("interrupted", nil, "interrupted; what went to standard output is not all")
			return exitInterrupted
		}
		errs.fail("interrupted", []any{"command", c.goOn()}, "interrupted; what is committed is safe."+lostWork(err)+" To go on:\n  "+c.goOn())
		return exitInterrupted
	}
	errs.fail("failed", []any{"error", err.Error()}, explain(err, c))
	return exitFailed
}
