package seq_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// pulledAll takes the stream of p to its end.
func pulledAll(ctx context.Context, p *seq.Puller[int]) (got []string) {
	for {
		v, err, ok := p.Next(ctx)
		if !ok {
			return got
		}
		got = append(got, pair{v, err}.String())
	}
}

func TestPullerYieldsTheStream(t *testing.T) {
	final := errors.New("end")
	for ahead := range 5 {
		synctest.Test(t, func(t *testing.T) {
			rude := func(yield func(int, error) bool) { // goes on after its final error
				for _, p := range []pair{{v: 1}, {0, &seq.ItemError{Item: 2, Err: errBad}}, {v: 3}, {0, final}, {v: 4}} {
					yield(p.v, p.err)
				}
			}
			p := seq.Pull(rude, ahead)
			want := []string{"1", "item error: item 2: bad", "3", "final error: end"}
			if got := pulledAll(t.Context(), p); !slices.Equal(got, want) {
				t.Errorf("ahead %d: got %v", ahead, got)
			}
			if _, _, ok := p.Next(t.Context()); ok {
				t.Error("there is more after the end")
			}
			p.Stop() // does nothing any more
		})
	}
}

// The source runs as far ahead as it may and no further; with 0 it works only while a
// Next waits.
func TestPullerReadsAhead(t *testing.T) {
	for _, ahead := range []int{0, 1, 3, 100} {
		synctest.Test(t, func(t *testing.T) {
			var pulled atomic.Int32
			p := seq.Pull(upTo(1000, &pulled), ahead)
			defer p.Stop()
			synctest.Wait()
			if pulled.Load() != 0 {
				t.Error("the source runs before the first Next")
			}
			for i := range 50 {
				if v, err, ok := p.Next(t.Context()); v != i || err != nil || !ok {
					t.Fatalf("got %v, %v, %v", v, err, ok)
				}
				synctest.Wait()
				if n := int(pulled.Load()) - (i + 1); n != ahead {
					t.Fatalf("%d ahead, want %d", n, ahead)
				}
			}
		})
	}
}

// A Next that was given up loses nothing: what the source was asked for waits.
func TestPullerNextIsTakenUpAgain(t *testing.T) {
	for _, ahead := range []int{0, 2} {
		synctest.Test(t, func(t *testing.T) {
			var pulled atomic.Int32
			slow := seq.Map(upTo(5, &pulled), func(v int) (int, error) { time.Sleep(time.Minute); return v, nil })
			p := seq.Pull(slow, ahead)
			defer p.Stop()
			cause := errors.New("no patience")
			for i := range 5 {
				for try := 0; ; try++ {
					start := time.Now()
					ctx, cancel := context.WithTimeoutCause(t.Context(), 25*time.Second, cause)
					v, err, ok := p.Next(ctx)
					cancel()
					if err == nil && ok && v == i {
						break
					}
					if v != 0 || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, cause) || !ok || try == 3 {
						t.Fatalf("got %v, %v, %v", v, err, ok)
					}
					if d := time.Since(start); d != 25*time.Second {
						t.Fatalf("told after %v", d)
					}
				}
			}
			if _, _, ok := p.Next(t.Context()); ok {
				t.Error("there is more")
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		var pulled atomic.Int32
		p := seq.Pull(upTo(5, &pulled), 0)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if v, err, ok := p.Next(ctx); v != 0 || err != context.Canceled || !ok || pulled.Load() != 0 {
			t.Errorf("got %v, %v, %v, %d pulled", v, err, ok, pulled.Load())
		}
	})
}

// With ahead 0, what was asked for in vain is produced, and no more than that.
func TestPullerAskedInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pulled atomic.Int32
		slow := seq.Map(upTo(5, &pulled), func(v int) (int, error) { time.Sleep(time.Minute); return v, nil })
		p := seq.Pull(slow, 0)
		defer p.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p.Next(ctx)
		time.Sleep(time.Hour)
		if n := pulled.Load(); n != 1 {
			t.Errorf("%d pulled", n)
		}
	})
}

// Nexts of several goroutines get each item once, also where some give up.
func TestPullerConcurrentNexts(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 6))
			const total = 60
			naps := make([]time.Duration, total)
			for i := range naps {
				naps[i] = time.Duration(r.IntN(4)) * time.Millisecond
			}
			p := seq.Pull(seq.Map(upTo(total, nil), func(v int) (int, error) { time.Sleep(naps[v]); return v, nil }), r.IntN(4))
			var mu sync.Mutex
			var got []int
			var wg sync.WaitGroup
			for g := range 1 + r.IntN(5) {
				patience := time.Duration(1+r.IntN(3)) * time.Millisecond
				wg.Go(func() {
					for last := -1; ; {
						ctx, cancel := context.WithTimeout(t.Context(), patience)
						v, err, ok := p.Next(ctx)
						cancel()
						if !ok {
							return
						}
						if err != nil {
							continue
						}
						if v <= last {
							t.Errorf("goroutine %d got %d after %d", g, v, last)
						}
						last = v
						mu.Lock()
						got = append(got, v)
						mu.Unlock()
						time.Sleep(naps[(v+g)%total])
					}
				})
			}
			wg.Wait()
			slices.Sort(got)
			if len(got) != total || got[0] != 0 || got[total-1] != total-1 || len(slices.Compact(got)) != total {
				t.Errorf("seed %d: got %v", seed, got)
			}
		})
	}
}

// Stop releases the Nexts that wait at once, and then waits for the source.
func TestPullerStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		blocked := func(func(int, error) bool) { time.Sleep(time.Hour) }
		p := seq.Pull(blocked, 1)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if v, err, ok := p.Next(t.Context()); v != 0 || err != nil || ok || time.Since(start) != time.Minute {
					t.Errorf("got %v, %v, %v after %v", v, err, ok, time.Since(start))
				}
			})
		}
		time.Sleep(time.Minute)
		p.Stop()
		if d := time.Since(start); d != time.Hour {
			t.Errorf("Stop returned after %v", d)
		}
		wg.Wait()
		p.Stop()
		if _, _, ok := p.Next(t.Context()); ok {
			t.Error("there is more after Stop")
		}
	})
	t.Run("while items are held", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := seq.Pull(upTo(100, nil), 10)
			p.Next(t.Context())
			p.Stop()
			if _, _, ok := p.Next(t.Context()); ok {
				t.Error("there is more after Stop")
			}
		})
	})
	t.Run("before any Next", func(t *testing.T) {
		p := seq.Pull(func(func(int, error) bool) { t.Error("the source was started") }, 1)
		p.Stop()
		if _, _, ok := p.Next(t.Context()); ok {
			t.Error("there is more after Stop")
		}
	})
}

// A panic or Goexit of the source comes out once, after the items before it: of one
// Next, or of Stop.
func TestPullerSourceFails(t *testing.T) {
	for how, c := range map[string]struct {
		fail func()
		want ending
	}{
		"panic":  {func() { panic("source") }, ending{panic: "source"}},
		"Goexit": {runtime.Goexit, ending{goexit: true}},
	} {
		in := func(yield func(int, error) bool) {
			yield(1, nil)
			c.fail()
		}
		t.Run(how+" out of Next", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := seq.Pull(in, 3)
				if v, err, ok := p.Next(t.Context()); v != 1 || err != nil || !ok {
					t.Fatalf("got %v, %v, %v", v, err, ok)
				}
				ends := make(chan ending, 4)
				for range 4 {
					go func() { ends <- endOf(func() { p.Next(t.Context()) }) }()
				}
				failed := 0
				for range 4 {
					if end := <-ends; end == c.want {
						failed++
					} else if end != (ending{}) {
						t.Errorf("Next ended with %v", end)
					}
				}
				if failed != 1 {
					t.Errorf("it came out of %d Nexts", failed)
				}
				if end := endOf(p.Stop); end != (ending{}) {
					t.Errorf("Stop ended with %v", end)
				}
			})
		})
		t.Run(how+" out of Stop", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := seq.Pull(in, 0)
				p.Next(t.Context())
				if end := endOf(p.Stop); end != c.want {
					t.Errorf("Stop ended with %v", end)
				}
				if end := endOf(p.Stop); end != (ending{}) {
					t.Errorf("the second Stop ended with %v", end)
				}
			})
		})
	}
}

// A stream can be pulled again after its end, as it can be ranged again.
func TestPullerKeepsNothingOfItsStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := seq.MapConcurrent(t.Context(), seq.Of(1, 2), 2, same)
		for range 2 {
			if got := pulledAll(t.Context(), seq.Pull(stream, 1)); !slices.Equal(got, []string{"1", "2"}) {
				t.Errorf("got %v", got)
			}
		}
	})
}

// A Next whose ctx ends in the very moment in which an item wakes it hands the item on to
// the next one that waits.
func TestPullerHandsOnTheWakeUp(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			stop := make(chan struct{})
			p := seq.Pull(func(yield func(int, error) bool) {
				time.Sleep(time.Second)
				cancel() // lets the first Next go, which is not that fast
				yield(1, nil)
				<-stop
			}, 1)
			got := make(chan bool, 2)
			for _, ctx := range []context.Context{ctx, t.Context()} {
				go func() {
					v, _, _ := p.Next(ctx)
					got <- v == 1
				}()
				synctest.Wait() // they wait in this order
			}
			if !<-got && !<-got {
				t.Error("nobody got the item")
			}
			close(stop)
			p.Stop()
		})
	}
}
