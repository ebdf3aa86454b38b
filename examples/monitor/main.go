// Monitor runs a made-up pipeline and shows on a web page where it is stuck.
//
//	go run ./monitor
//
// and open http://127.0.0.1:8090. Orders are read, priced by a slow service, eight at a
// time, and stored by the loop. Every 20 s another part becomes the slow one; watch the
// bottleneck move. Programs get the same numbers with
//
//	curl -H 'Accept: application/json' http://127.0.0.1:8090
//
// An interrupt drains the pipeline: what is in flight is stored, then the program ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"example.com/pipeline/control"
	"example.com/pipeline/seq"
)

// The parts of the pipeline, any of which may be the slow one.
const (
	read  = "read orders"
	price = "price"
	store = "store"
)

var parts = []string{read, price, store}

func main() {
	addr := flag.String("addr", "127.0.0.1:8090", "address of the page")
	slow := flag.String("slow", "", fmt.Sprintf("the slow part, one of %q; by default another one every 20 s", parts))
	flag.Parse()
	if *slow != "" && !slices.Contains(parts, *slow) {
		fmt.Fprintf(os.Stderr, "monitor: -slow must be one of %q, got %q\n", parts, *slow)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *slow, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "monitor:", err)
		os.Exit(1)
	}
}

// run serves the page and runs the pipeline until ctx ends, then drains it.
func run(ctx context.Context, addr, slow string, out io.Writer) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%w (choose another address with -addr)", err)
	}
	m := control.NewMonitor()
	server := &http.Server{Handler: m, ReadHeaderTimeout: 5 * time.Second}
	serving := seq.Go(ctx, func() { err = server.Serve(listener) })
	defer serving.Join()
	defer server.Close()
	fmt.Fprintf(out, "the pipeline is at http://%s\n", listener.Addr())

	gate := new(control.Gate)
	defer context.AfterFunc(ctx, gate.Stop)()

	begin := time.Now()
	work := func(part string) {
		now := slow
		if now == "" {
			now = parts[int(time.Since(begin)/(20*time.Second))%len(parts)]
		}
		switch {
		case part == now && part == price:
			time.Sleep(time.Duration(60+rand.IntN(60)) * time.Millisecond)
		case part == now:
			time.Sleep(10 * time.Millisecond)
		case part == price:
			time.Sleep(10 * time.Millisecond)
		}
	}
	// The pipeline's own context does not end with ctx: it is drained, not cut.
	stored, failed := 0, 0
	for _, err := range orders(context.WithoutCancel(ctx), m, gate, work) {
		if err != nil && !seq.IsItemError(err) {
			return err
		}
		if err != nil {
			failed++ // the page counts it where it happened
			continue
		}
		work(store)
		stored++
	}
	fmt.Fprintf(out, "%d orders stored, %d could not be priced\n", stored, failed)
	return nil
}

// orders is the pipeline, observed after each of its stages.
func orders(ctx context.Context, m *control.Monitor, gate *control.Gate, work func(part string)) iter.Seq2[float64, error] {
	numbers := func(yield func(int, error) bool) {
		for i := 0; ; i++ {
			work(read)
			if !yield(i, nil) {
				return
			}
		}
	}
	in := control.Observe(m, read, control.Gated(ctx, numbers, gate))
	priced := seq.MapConcurrent(ctx, in, 8, func(_ context.Context, order int) (float64, error) {
		work(price)
		if rand.IntN(100) == 0 {
			return 0, errors.New("no price for this order")
		}
		return float64(order%97) + 0.95, nil
	})
	return control.Observe(m, price, priced)
}
