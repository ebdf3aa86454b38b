// Bench runs this library and its peers on the same work, in one run and in turn,
// and writes the results with charts beside them.
//
//	go -C bench run .              everything, in less than 15 minutes, into this folder
//	go -C bench run . -quick       everything, smaller, in less than one; only printed
//	go -C bench run . -parts map   only that; printed, or written where -out says
//
// PIPELINE_POSTGRES, if set, is a PostgreSQL database to export from, such as
// postgres://postgres@127.0.0.1:5432/test.
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

// A part is a group of tables that can be chosen.
type part struct {
	name string
	run  func(*bench) ([]*result, error)
}

var parts = []part{
	{"map", (*bench).mapPart},
	{"seq", (*bench).sequentialPart},
	{"batch", (*bench).batchPart},
	{"loader", (*bench).loaderPart},
	{"policy", (*bench).policyPart},
	{"rate", (*bench).ratePart},
	{"latency", (*bench).latencyPart},
	{"limits", (*bench).limitsPart},
	{"formats", (*bench).formatsPart},
	{"export", (*bench).exportPart}, // last: what is left of the time decides how much of it
}

// timeLimit is for the whole run; measured on two cores it takes about 13 minutes.
const timeLimit = 14 * time.Minute

func main() {
	if childMain() {
		return
	}
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	chosen := flags.String("parts", strings.Join(names, ","), "what to run, separated by commas")
	quick := flags.Bool("quick", false, "less work and fewer rounds: less than a minute, and rougher")
	out := flags.String("out", "", "folder for RESULTS.md and the charts; by default the one of this program after a full run, and none after another")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q; see -help", flags.Arg(0))
	}
	wanted := strings.Split(*chosen, ",")
	for _, w := range wanted {
		if !slices.Contains(names, w) {
			return fmt.Errorf("-parts: there is no %q, only %s", w, strings.Join(names, ", "))
		}
	}
	temp, err := os.MkdirTemp("", "pipeline-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	start := time.Now()
	b := &bench{rounds: 7, minTime: 25 * time.Millisecond, scale: 1, until: start.Add(timeLimit), temp: temp}
	if *quick {
		b.rounds, b.minTime, b.scale = 3, 2*time.Millisecond, 0.1
	}
	b.say = func(format string, args ...any) {
		fmt.Fprintf(stderr, "%4.0f s "+format+"\n", append([]any{time.Since(start).Seconds()}, args...)...)
	}
	machine := describeMachine()
	var results []*result
	for _, p := range parts {
		if !slices.Contains(wanted, p.name) {
			continue
		}
		b.say("%s", p.name)
		r, err := p.run(b)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		results = append(results, r...)
	}
	if *out == "" && !*quick && len(wanted) == len(parts) {
		*out = "."
	}
	text := report(b, machine, results, time.Since(start), *out != "")
	if *out == "" {
		_, err := io.WriteString(stdout, text)
		return err
	}
	if err := writeCharts(*out, results); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(*out, "RESULTS.md"), []byte(text), 0o644)
}
