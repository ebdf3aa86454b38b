// Pipeline is this line as code, and prints which way each order went:
//
//	generator | fork(10) | task1 | task2 | branch | error:retry success:print
//
//	go -C examples run ./pipeline
//
// Ten lanes take orders from one generator, and each does both tasks. What comes out
// is parted: an order that is done goes to print, one that failed to retry, which does
// both tasks anew. Most of the failures here go away by themselves; that of order 33
// does not, and its error goes on down the line to the loop.
//
// To try next:
//
//   - -lanes 1: the order of the generator is kept now, and it takes ten times as long.
//   - -orders 0 never ends. Interrupt it with Ctrl-C: the generator stops, what is in
//     a lane or sleeps before a retry is finished, and the count still adds up. A
//     second Ctrl-C ends it on the spot.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.com/pipeline/control"
	"example.com/pipeline/seq"
)

func main() {
	orders := flag.Int("orders", 40, "number of orders; 0 means no end")
	lanes := flag.Int("lanes", 10, "number of lanes, at least 1")
	flag.Parse()
	if *orders < 0 || *lanes < 1 {
		fmt.Fprintln(os.Stderr, "pipeline: -orders must be at least 0, and -lanes at least 1")
		os.Exit(2)
	}
	terminated, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	gate := new(control.Gate)
	context.AfterFunc(terminated, func() {
		stop() // the next signal has its usual effect
		gate.Stop()
	})
	if err := run(context.Background(), os.Stdout, *orders, *lanes, gate); err != nil {
		fmt.Fprintln(os.Stderr, "pipeline:", err)
		os.Exit(1)
	}
}

// An order keeps a list of what has happened to it. Its copies share no memory.
type order struct {
	id    int
	tries int // after the first
	path  []string
}

func (o order) String() string { return fmt.Sprint("order ", o.id) }

func (o order) then(format string, args ...any) order {
	o.path = append(slices.Clip(o.path), fmt.Sprintf(format, args...))
	return o
}

// run is the pump: while it does not ask for the next order, nothing moves.
func run(ctx context.Context, out io.Writer, orders, lanes int, gate *control.Gate) error {
	printed, failed := 0, 0
	for o, err := range line(ctx, orders, lanes, gate) {
		switch {
		case err == nil:
			fmt.Fprintf(out, "order %3d: %s\n", o.id, strings.Join(o.path, " → "))
			printed++
		case seq.IsItemError(err):
			fmt.Fprintf(out, "given up:  %v\n", err)
			failed++
		default:
			return err
		}
	}
	fmt.Fprintf(out, "%d orders printed, %d given up\n", printed, failed)
	return nil
}

// line is the line of the title. Its context ends with the loop over it, so that no
// retry sleeps on after the loop was left.
func line(ctx context.Context, orders, lanes int, gate *control.Gate) iter.Seq2[order, error] {
	return seq.Scope(ctx, func(ctx context.Context) iter.Seq2[order, error] {
		generated := control.Gated(ctx, generate(orders), gate)
		worked := seq.Fork(ctx, generated, lanes, func(lane int) seq.Stage[order, order] {
			return func(in iter.Seq2[order, error]) iter.Seq2[order, error] {
				in = seq.Map(in, func(o order) (order, error) { return o.then("lane %d", lane), nil })
				return seq.Map(seq.Map(in, task1), task2)
			}
		})
		return seq.Branch(ctx, worked, route, success, failure(ctx))
	})
}

// route names a branch by its place in the call of Branch.
func route(_ order, err error) int {
	if err != nil {
		return 1
	}
	return 0
}

func success(in iter.Seq2[order, error]) iter.Seq2[order, error] {
	return seq.Map(in, func(o order) (order, error) { return o.then("print"), nil })
}

// failure gets errors only. It takes the order out of each and does both tasks
// again, at most three times, with a sleep in between.
func failure(ctx context.Context) seq.Stage[order, order] {
	policy := control.Retry{Attempts: 3, Backoff: control.Constant(20 * time.Millisecond)}
	return func(in iter.Seq2[order, error]) iter.Seq2[order, error] {
		return seq.Catch(in, func(err error) (order, error) {
			o, ok := seq.FailedItem[order](err)
			if !ok {
				return o, err // a final error: there is nothing to retry
			}
			err = errors.Unwrap(err) // what the task said
			err = policy.Do(ctx, func(context.Context) error {
				o = o.then("%v → retry", err)
				o.tries++
				if o, err = task1(o); err == nil {
					o, err = task2(o)
				}
				return err
			})
			o = o.then("print")
			return o, err
		})
	}
}

// generate makes so many orders, or orders without end.
func generate(n int) iter.Seq2[order, error] {
	return func(yield func(order, error) bool) {
		for id := 1; n == 0 || id <= n; id++ {
			if !yield(order{id: id}, nil) {
				return
			}
		}
	}
}

// task1 fails at the first try of every seventh order.
func task1(o order) (order, error) {
	time.Sleep(10 * time.Millisecond)
	if o.id%7 == 0 && o.tries < 1 {
		return o, errors.New("task1 failed")
	}
	return o.then("task1"), nil
}

// task2 fails at the first two tries of every eleventh order, and always at order 33.
func task2(o order) (order, error) {
	time.Sleep(10 * time.Millisecond)
	if o.id%11 == 0 && o.tries < 2 || o.id == 33 {
		return o, errors.New("task2 failed")
	}
	return o.then("task2"), nil
}
