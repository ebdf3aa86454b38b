package control

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// received returns a stream of what is sent on the channel, which is never closed.
func received(ctx context.Context, g *Gate, ch <-chan int) intStream {
	return Until(ctx, g, func(ctx context.Context) intStream { return seq.FromChan(ctx, ch) })
}

func TestUntilEndsSourcesThatBlock(t *testing.T) {
	for name, merge := range map[string]func(ctx context.Context, ins ...intStream) intStream{
		"Merge":  func(ctx context.Context, ins ...intStream) intStream { return seq.Merge(ctx, ins...) },
		"Concat": func(_ context.Context, ins ...intStream) intStream { return seq.Concat(ins...) },
		"MergeSorted": func(_ context.Context, ins ...intStream) intStream {
			return seq.MergeSorted(func(a, b int) int { return a - b }, ins...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := new(Gate)
				time.AfterFunc(5*s, g.Stop)
				ticks := Until(t.Context(), g, func(ctx context.Context) intStream {
					return seq.Map(seq.Ticks(ctx, time.Hour), func(time.Time) (int, error) { return 1, nil })
				})
				begin := time.Now()
				err := seq.Drain(merge(t.Context(), ticks, received(t.Context(), g, make(chan int)), received(t.Context(), g, make(chan int))))
				if took := time.Since(begin); err != nil || took != 5*s {
					t.Errorf("ended with %v after %v, want none after 5s", err, took)
				}
			})
		})
	}
}

// Nothing that a source has handed over is lost, whenever the stop is and however many
// stages are on the way; and what was not handed over is where it was.
func TestUntilLosesNothing(t *testing.T) {
	seed := rand.Uint64()
	for i := range 500 {
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		synctest.Test(t, func(t *testing.T) {
			g := new(Gate)
			pick := func(n int) time.Duration { return time.Duration(rnd.IntN(n)) * ms }
			time.AfterFunc(pick(60), g.Stop)
			const sources = 3
			var sent, want []int
			queues := make([][]int, sources)
			ins := make([]intStream, sources)
			for k := range sources {
				for j := range 20 {
					queues[k] = append(queues[k], 100*k+j)
				}
				all, wait := queues[k], ms+pick(6)
				ins[k] = Until(t.Context(), g, func(ctx context.Context) intStream {
					return seq.FromFunc(ctx, func(ctx context.Context) (v int, err error) {
						if err := sleep(ctx, wait); err != nil {
							return 0, err
						}
						v, queues[k] = queues[k][0], append(queues[k][1:], 0)
						return v, nil
					})
				})
				want = append(want, all...)
			}
			body := pick(4)
			for v, err := range seq.Buffer(t.Context(), seq.Merge(t.Context(), ins...), 5) {
				if err != nil {
					t.Fatalf("error %v", err)
				}
				sent = append(sent, v)
				time.Sleep(body)
			}
			for k := range sources {
				sent = append(sent, queues[k]...)
			}
			sent = slices.DeleteFunc(sent, func(v int) bool { return v == 0 })
			want = slices.DeleteFunc(want, func(v int) bool { return v == 0 })
			slices.Sort(sent)
			if !slices.Equal(sent, want) {
				t.Errorf("seed %d, schedule %d: got %v", seed, i, sent)
			}
		})
	}
}

func TestUntilErrors(t *testing.T) {
	broken := errors.New("the connection is broken")
	atEnd := func(end func(ctx context.Context) error) func(ctx context.Context) intStream {
		return func(ctx context.Context) intStream {
			return func(yield func(int, error) bool) {
				if !yield(1, nil) {
					return
				}
				<-ctx.Done()
				if err := end(ctx); err != nil {
					yield(0, err)
				}
			}
		}
	}
	enough := errors.New("enough")
	for name, tt := range map[string]struct {
		source func(context.Context) intStream
		cancel bool // ctx, at the same moment
		want   []error
	}{
		"the end of its ctx":        {atEnd(seq.ContextError), false, nil},
		"only Canceled":             {atEnd(func(ctx context.Context) error { return fmt.Errorf("get: %w", ctx.Err()) }), false, nil},
		"the cause":                 {atEnd(context.Cause), false, nil},
		"silence":                   {atEnd(func(context.Context) error { return nil }), false, nil},
		"one of its own":            {atEnd(func(context.Context) error { return broken }), false, []error{broken}},
		"an item error":             {atEnd(func(context.Context) error { return errItem }), false, []error{errItem}},
		"ctx ends, too":             {atEnd(seq.ContextError), true, []error{context.Canceled, enough}},
		"ctx ends, too, in silence": {atEnd(func(context.Context) error { return nil }), true, []error{context.Canceled, enough}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := new(Gate)
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				time.AfterFunc(s, func() {
					if tt.cancel {
						cancel(enough)
					}
					g.Stop()
				})
				items, err := seq.Collect(Until(ctx, g, tt.source))
				if !slices.Equal(items, []int{1}) || (err == nil) != (tt.want == nil) {
					t.Errorf("items %v, error %v", items, err)
				}
				for _, want := range tt.want {
					if !errors.Is(err, want) {
						t.Errorf("error %v, want %v", err, want)
					}
				}
			})
		})
	}
}

// A source that does not look at its context ends before the next pull, and after Stop
// none begins. The gate of ctx is as good.
func TestUntilWithoutALook(t *testing.T) {
	for _, inContext := range []bool{false, true} {
		g, builds := new(Gate), 0
		ctx, own := t.Context(), g
		if inContext {
			ctx, own = WithGate(ctx, g), new(Gate)
		}
		in := Until(ctx, own, func(context.Context) intStream { builds++; return upTo(10) })
		n := 0
		for v, err := range in {
			if n++; v == 3 {
				g.Stop()
			}
			if err != nil {
				t.Error(err)
			}
		}
		if n != 4 {
			t.Errorf("%d items, want 4", n)
		}
		if n, err := seq.Count(in); n != 0 || err != nil || builds != 1 {
			t.Errorf("after Stop: %d items, %v, built %d times", n, err, builds)
		}
		if len(g.watches)+len(own.watches) != 0 {
			t.Error("a watch is left")
		}
	}
}

// A panic behind a stage that waits for the source frees it.
func TestUntilInsideAStage(t *testing.T) {
	for way, leave := range waysToLeave {
		synctest.Test(t, func(t *testing.T) {
			scoped := seq.Scope(t.Context(), func(ctx context.Context) intStream {
				ch := make(chan int, 1)
				ch <- 1
				return seq.Tap(seq.Buffer(ctx, received(ctx, new(Gate), ch), 2), func(int, error) { leave() })
			})
			leaves(t, way, func() { seq.Drain(scoped) })
		})
		synctest.Test(t, func(t *testing.T) {
			in := Until(t.Context(), new(Gate), func(ctx context.Context) intStream {
				ch := make(chan int, 1)
				ch <- 1
				return seq.Tap(seq.Buffer(ctx, seq.FromChan(ctx, ch), 2), func(int, error) { leave() })
			})
			leaves(t, way, func() { seq.Drain(in) })
		})
	}
}

// Two queues are read until the program is asked to stop. Then the loop ends by itself.
func ExampleUntil() {
	gate := new(Gate)
	ctx := context.Background()
	receive := func(queue <-chan string) func(context.Context) intStream {
		return func(ctx context.Context) intStream {
			return seq.Map(seq.FromChan(ctx, queue), func(s string) (int, error) { return len(s), nil })
		}
	}
	orders, clicks := make(chan string, 1), make(chan string, 1)
	orders <- "a book"
	for n, err := range seq.Merge(ctx, Until(ctx, gate, receive(orders)), Until(ctx, gate, receive(clicks))) {
		fmt.Println(n, err)
		gate.Stop() // as a handler of SIGTERM would
	}
	fmt.Println("done")
	// Output:
	// 6 <nil>
	// done
}
