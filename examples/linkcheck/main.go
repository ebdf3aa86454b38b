// Linkcheck asks for each URL of a list and writes a line of CSV with its status, in the
// order of the list, each once, however often it is killed in between.
//
//	go -C examples run ./linkcheck
//
// Without arguments it serves 600 pages of four hosts itself and checks these. They are
// slow, a few are missing, broken or moved, and some are too busy to answer at first.
// Sixteen links are asked for at a time, but no host gets more than two calls at once, nor
// more than -rate a second.
//
// To try next:
//
//   - kill it (kill -9) in the midst and start it again: it goes on behind the last line
//     that is in the file for good, and in the end the file is the same.
//   - interrupt it with Ctrl-C: the calls in flight are finished and none is begun, and
//     what is answered up to the first link that is not done is in the file. A second
//     Ctrl-C cuts the calls off.
//   - -list FILE: URLs of your own, one a line; -fresh when the list is another one.
//
// The exit code is 0 where the list is done, 1 where that failed, 2 where the flags are
// wrong, 3 where it was interrupted.
package main

import (
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"example.com/pipeline/control"
	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

func main() { os.Exit(start()) }

func start() int {
	var c config
	flag.StringVar(&c.list, "list", "", "file with a URL a line; by default the demo's")
	flag.StringVar(&c.proxy, "proxy", "", "HTTP proxy to ask; by default none, and for the demo's list the demo itself")
	flag.StringVar(&c.folder, "state", ".pipeline-state/linkcheck", "folder for the checkpoint and links.csv")
	flag.Float64Var(&c.rate, "rate", 50, "calls a second to one host, at most")
	flag.BoolVar(&c.fresh, "fresh", false, "start afresh, whatever was done")
	flag.Parse()
	if c.rate <= 0 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "linkcheck: -rate must be positive, and there are no arguments")
		return 2
	}
	gate := new(control.Gate)
	ctx, stop := control.Interruptible(context.Background(), gate)
	defer stop()
	switch err := run(ctx, c, gate); {
	case errors.Is(err, control.ErrStopped):
		fmt.Fprintln(os.Stderr, "linkcheck: interrupted; start it again to go on")
		return 3
	case err != nil:
		fmt.Fprintln(os.Stderr, "linkcheck:", err)
		return 1
	}
	return 0
}

// check is what this program is about.
func check(ctx context.Context, c config, ask func(context.Context, cursor.Line) (answer, error), gate *control.Gate) (err error) {
	store, err := cursor.NewFileStore(c.folder)
	if err != nil {
		return err
	}
	path := filepath.Join(c.folder, "links.csv")
	file, err := cursor.OpenFile(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	options := []cursor.OpenOption{cursor.Attach("links", file), cursor.WithFingerprint(c.list)}
	if c.fresh {
		options = append(options, cursor.Discard())
	}
	job, err := cursor.Open[int64](ctx, store, "linkcheck", options...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, job.Close()) }()
	fmt.Printf("%d links are checked; the file is %s\n", job.Items(), path)

	list, err := os.Open(c.list)
	if err != nil {
		return err
	}
	defer list.Close()
	links := cursor.Lines(ctx, list, job.Position()) // goes to where the last run was
	ask = control.PerKey(ask, host, func(string) []control.Policy {
		return []control.Policy{
			control.NewInFlight(2), // for all tries of a link, and their sleeps
			control.Retry{Attempts: 3},
			control.Rate(control.NewPacer(c.rate)), // for each try; outside of Timeout: to wait is not to be slow
			control.Timeout(5 * time.Second),
		}
	}, control.PerKeyConfig{})
	answers := seq.MapConcurrent(ctx, control.Gated(ctx, links, gate), 16, ask, seq.Window(64))
	rows := csv.NewWriter(file.Buffered())
	for a, err := range cursor.Track(ctx, seq.Catch(answers, unanswered), job, cursor.Every{Items: 10, Interval: time.Second}, answer.position) {
		if err != nil {
			return err
		}
		rows.Write([]string{a.link.Text, a.status})
	}
	return job.Finish(ctx) // where it was interrupted, this says so
}

// unanswered is what is written of a link whose calls have all failed.
func unanswered(err error) (answer, error) {
	l, ok := seq.FailedItem[cursor.Line](err)
	if !ok {
		return answer{}, err
	}
	if busy := busyError(0); errors.As(err, &busy) {
		return answer{l, strconv.Itoa(int(busy))}, nil
	}
	return answer{l, "no answer"}, nil
}
