// Command fleet exports a PostgreSQL table into one CSV file a range, with several
// worker processes that share nothing but the database and a folder. River hands the
// ranges out, and the checkpoints are in the same database, so workers may be killed
// at any time: try
//
//	go -C examples run ./fleet -kill 1s
//
// It makes a table of its own, in a schema of its own, starts the workers, shows how far
// they are together, and at the end compares the files with what PostgreSQL's COPY says
// the table is. The schema and the files are removed then, unless -keep is given. One
// that was interrupted goes on with -schema and -out, as it says.
//
// It needs the PostgreSQL that PIPELINE_POSTGRES or -dsn names.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

// A config is what the flags say. Workers get it, too, as JSON.
type config struct {
	DSN    string
	Schema string
	Out    string // folder of the parts
	Rows   int
	Ranges int

	Workers     int
	Concurrency int // ranges at once in each worker
	Slice       time.Duration
	Lease       time.Duration

	Kill, Freeze time.Duration // how often; 0 means never
	Keep         bool

	ownFolder bool // Out is this run's alone
}

const noDatabase = `fleet: there is no PostgreSQL. Name one, such as

	PIPELINE_POSTGRES='postgres://postgres@127.0.0.1:5432/test?sslmode=disable'

or start one, for as long as it is wanted:

	docker run --rm -p 5432:5432 -e POSTGRES_HOST_AUTH_METHOD=trust -e POSTGRES_DB=test postgres:17
`

func main() {
	if text := os.Getenv(workerVariable); text != "" {
		if err := worker(text); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, terminate)
	defer stop()
	switch err := run(ctx, os.Stdout, os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// parse reads the flags. What has no default there gets one.
func parse(out io.Writer, args []string) (c config, err error) {
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	flags.SetOutput(out)
	// The default is not the flag's: -help would print it, with the password.
	flags.StringVar(&c.DSN, "dsn", "", "the PostgreSQL; default $PIPELINE_POSTGRES")
	flags.StringVar(&c.Schema, "schema", "", "schema of the table, the plan and River; default a new one")
	flags.StringVar(&c.Out, "out", "", "folder of the parts; default a temporary one")
	flags.IntVar(&c.Rows, "rows", 1_000_000, "rows of the table")
	flags.IntVar(&c.Ranges, "ranges", 64, "ranges, each a file")
	flags.IntVar(&c.Workers, "workers", 4, "worker processes")
	flags.IntVar(&c.Concurrency, "concurrency", 2, "ranges at once in each worker")
	flags.DurationVar(&c.Slice, "slice", time.Second, "how long a worker is at a range before it takes another one")
	flags.DurationVar(&c.Lease, "lease", 3*time.Second, "how long the range of a dead worker stays taken")
	flags.DurationVar(&c.Kill, "kill", 0, "kill a random worker (SIGKILL) and start another, so often, but not twice without a commit in between; 0 means never")
	flags.DurationVar(&c.Freeze, "freeze", 0, "suspend a random worker (SIGSTOP) for twice the lease, so often, but not twice without a commit in between; 0 means never")
	flags.BoolVar(&c.Keep, "keep", false, "keep the schema and the parts")
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	c.DSN = cmp.Or(c.DSN, os.Getenv("PIPELINE_POSTGRES"))
	for name, n := range map[string]int{"rows": c.Rows + 1, "ranges": c.Ranges, "workers": c.Workers, "concurrency": c.Concurrency} {
		if n < 1 {
			return c, fmt.Errorf("fleet: -%s is too small", name)
		}
	}
	switch {
	case flags.NArg() > 0:
		return c, fmt.Errorf("fleet: there is nothing to do with %q", flags.Args())
	case c.Slice < time.Millisecond || c.Slice > time.Hour:
		return c, errors.New("fleet: -slice must be 1ms to 1h")
	case c.Lease < 100*time.Millisecond:
		return c, errors.New("fleet: -lease must be at least 100ms")
	case c.Kill < 0 || c.Freeze < 0:
		return c, errors.New("fleet: -kill and -freeze must not be negative")
	case c.DSN == "":
		return c, errors.New(noDatabase)
	}
	if c.Schema == "" {
		c.Schema = "fleet_" + strings.ToLower(rand.Text()[:8])
	}
	if c.Out == "" {
		c.Out, c.ownFolder = filepath.Join(os.TempDir(), c.Schema), true
	}
	c.Out, err = filepath.Abs(c.Out)
	return c, err
}
