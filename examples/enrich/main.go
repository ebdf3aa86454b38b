// Enrich adds the customer's name to each of 2,000 orders, and prints how many
// fetches a Loader saved by asking for many customers at once, for none twice at the
// same time, and for none again that it still has.
//
//	go -C examples run ./enrich
//
// Thirty-two workers each load one customer, as if they were alone. The service behind
// them answers after 20 ms, whether it is asked for one customer or for thirty-two.
//
// To try next:
//
//   - -cache 0: only loads of the same moment share a fetch now.
//   - -workers 1: a batch has nobody to wait for but itself.
//   - -orders 100000, and Ctrl-C: the orders in flight are finished and counted.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"os/signal"
	"syscall"
	"time"

	"example.com/pipeline/batch"
	"example.com/pipeline/control"
	"example.com/pipeline/seq"
)

type config struct {
	orders, workers, cache int
}

func main() {
	var c config
	flag.IntVar(&c.orders, "orders", 2000, "number of orders")
	flag.IntVar(&c.workers, "workers", 32, "number of workers, at least 1")
	flag.IntVar(&c.cache, "cache", 100, "number of customers to keep; 0 keeps none")
	flag.Parse()
	if c.orders < 0 || c.workers < 1 || c.cache < 0 {
		fmt.Fprintln(os.Stderr, "enrich: -orders and -cache must be at least 0, and -workers at least 1")
		os.Exit(2)
	}
	terminated, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	gate := new(control.Gate)
	context.AfterFunc(terminated, func() {
		stop() // the next signal has its usual effect
		gate.Stop()
	})
	if err := run(context.Background(), os.Stdout, c, gate); err != nil {
		fmt.Fprintln(os.Stderr, "enrich:", err)
		os.Exit(1)
	}
}

type order struct {
	id, customer int
	name         string
}

func (o order) String() string { return fmt.Sprint("order ", o.id) }

func run(ctx context.Context, out io.Writer, c config, gate *control.Gate) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the loader, which has no Close
	loader := batch.NewLoader(ctx, fetchCustomers, batch.LoaderConfig{
		MaxBatch: c.workers, // as many loads as can wait at once: a batch is never kept waiting for more
		Wait:     5 * time.Millisecond,
		Capacity: c.cache,
	})
	enriched := seq.MapConcurrent(ctx, control.Gated(ctx, orders(c.orders), gate), c.workers,
		func(ctx context.Context, o order) (order, error) {
			name, err := loader.Load(ctx, o.customer)
			o.name = name
			return o, err
		})

	start, n, unknown := time.Now(), 0, 0
	for o, err := range enriched {
		switch {
		case err == nil:
			if n++; n <= 3 {
				fmt.Fprintf(out, "order %d is %s's\n", o.id, o.name)
			}
		case seq.IsItemError(err):
			if unknown++; unknown == 1 {
				fmt.Fprintln(out, err)
			}
		default:
			return err
		}
	}
	s := loader.Stats()
	fmt.Fprintf(out, "%d orders enriched, %d of an unknown customer, in %v\n", n, unknown, time.Since(start).Round(time.Millisecond))
	fmt.Fprintf(out, "%d loads, %d of them from the cache, made %d fetches of %d keys: %d fetches saved\n",
		s.Loads, s.Hits, s.Fetches, s.Keys, s.Loads-s.Fetches)
	return nil
}

// customers is how many customers the orders are of. One more has been deleted.
const customers = 300

// orders has many orders of some customers and few of most, and one in 500 of a
// customer that is not there any more.
func orders(n int) iter.Seq2[order, error] {
	return func(yield func(order, error) bool) {
		for id := 1; id <= n; id++ {
			customer := id * 7919 % customers
			switch {
			case id%500 == 0:
				customer = customers
			case id%3 > 0:
				customer %= 20
			}
			if !yield(order{id: id, customer: customer}, nil) {
				return
			}
		}
	}
}

// fetchCustomers is the service: 20 ms for any number of keys.
func fetchCustomers(ctx context.Context, keys []int) (map[int]string, error) {
	select {
	case <-time.After(20 * time.Millisecond):
	case <-ctx.Done():
		return nil, seq.ContextError(ctx)
	}
	names := make(map[int]string, len(keys))
	for _, k := range keys {
		if k < customers {
			names[k] = fmt.Sprintf("customer %d", k)
		}
	}
	return names, nil
}
