// Join builds one page for each product out of what three pipelines find out about it:
// its price, its stock and its reviews.
//
//	go -C examples run ./join
//
// The products are read once. A Broadcast sends each to all three pipelines, which
// work at paces of their own; a Gather holds what they found for a product until all
// three parts are there, and hands the page over at once. The reviews of product 7 are
// not to be had: its page comes out as an error that holds the two parts that came.
//
// To try next:
//
//   - -reviews 500ms: the slowest pipeline sets the pace, and 16 products at most wait
//     for it in the broadcast.
//   - -ttl 100ms -reviews 200ms: pages that wait too long come out incomplete.
//   - -products 0 never ends. Interrupt it with Ctrl-C: no more products are read, and
//     the pages that were begun are completed.
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

	"example.com/pipeline/batch"
	"example.com/pipeline/control"
	"example.com/pipeline/seq"
)

type config struct {
	products     int
	reviews, ttl time.Duration
}

func main() {
	var c config
	flag.IntVar(&c.products, "products", 20, "number of products; 0 means no end")
	flag.DurationVar(&c.reviews, "reviews", 50*time.Millisecond, "time to find the reviews of a product")
	flag.DurationVar(&c.ttl, "ttl", 10*time.Second, "how long a page may wait for its last part")
	flag.Parse()
	if c.products < 0 || c.ttl <= 0 {
		fmt.Fprintln(os.Stderr, "join: -products must be at least 0, and -ttl positive")
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
		fmt.Fprintln(os.Stderr, "join:", err)
		os.Exit(1)
	}
}

// A part is what one pipeline found out about a product.
type part struct {
	product int
	from    int // the number of the pipeline
	text    string
}

// text is a page of the parts of one product, in the order of the pipelines.
func text(page []part) string {
	slices.SortFunc(page, func(a, b part) int { return a.from - b.from })
	var texts []string
	for _, p := range page {
		texts = append(texts, p.text)
	}
	return strings.Join(texts, ", ")
}

func run(ctx context.Context, out io.Writer, c config, gate *control.Gate) error {
	complete, incomplete := 0, 0
	for page, err := range pages(ctx, c, gate) {
		switch {
		case err == nil:
			fmt.Fprintf(out, "product %2d: %s\n", page[0].product, text(page))
			complete++
		case errors.Is(err, batch.ErrIncomplete):
			page, _ := seq.FailedItem[[]part](err)
			fmt.Fprintf(out, "product %2d: incomplete, has %s\n", page[0].product, text(page))
			incomplete++
		case seq.IsItemError(err):
			fmt.Fprintln(out, err)
		default:
			return err
		}
	}
	fmt.Fprintf(out, "%d pages complete, %d incomplete\n", complete, incomplete)
	return nil
}

// pages is the pipeline. Its context ends with the loop over it.
func pages(ctx context.Context, c config, gate *control.Gate) iter.Seq2[[]part, error] {
	return seq.Scope(ctx, func(ctx context.Context) iter.Seq2[[]part, error] {
		products := control.Gated(ctx, read(c.products), gate)
		parts := seq.Broadcast(ctx, products,
			find(ctx, 0, 4, 10*time.Millisecond, "price"),
			find(ctx, 1, 2, 5*time.Millisecond, "stock"),
			find(ctx, 2, 8, c.reviews, "reviews"))
		return batch.Gather(ctx, parts, batch.JoinConfig{TTL: c.ttl},
			func(p part) int { return p.product },
			func(page []part) bool { return len(page) == 3 })
	})
}

// find is a pipeline of so many workers, each of which needs some time for a product.
func find(ctx context.Context, number, workers int, takes time.Duration, what string) seq.Stage[int, part] {
	return func(products iter.Seq2[int, error]) iter.Seq2[part, error] {
		return seq.MapConcurrent(ctx, products, workers, func(ctx context.Context, product int) (part, error) {
			select {
			case <-time.After(takes):
			case <-ctx.Done():
				return part{}, seq.ContextError(ctx)
			}
			if what == "reviews" && product == 7 {
				return part{}, errors.New("no reviews")
			}
			return part{product, number, fmt.Sprintf("%s of %d", what, product)}, nil
		})
	}
}

func read(n int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for product := 1; n == 0 || product <= n; product++ {
			if !yield(product, nil) {
				return
			}
		}
	}
}
