package cursor_test

import (
	"context"
	"iter"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
	"example.com/pipeline/seq/seqtest"
)

// TestTrackKeepsTheContract holds Track to the contract of streams.
func TestTrackKeepsTheContract(t *testing.T) {
	type (
		ints  = iter.Seq2[int, error]
		probe = *seqtest.Probe[int]
	)
	for name, every := range map[string]cursor.Every{
		"at each item":   {Items: 1},
		"by an interval": {Interval: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			seqtest.Test(t, seqtest.Contract[int, int]{
				Polls: true,
				Stage: func(ctx context.Context, in ints, p probe) ints {
					return func(yield func(int, error) bool) { // a checkpoint for each loop, as one serves one loop at a time
						c, err := cursor.Open[int](context.Background(), cursor.NewMemStore(), "job")
						if err != nil {
							seq.Fail[int](err)(yield)
							return
						}
						defer c.Close()
						cursor.Track(ctx, in, c, every, func(x int) int { p.Call(x); return x })(yield)
					}
				},
				Except: map[seqtest.Rule]string{
					seqtest.Misuse: "Track is built in the loop here; other tests look at what building it refuses",
				},
			})
		})
	}
}

// TestPagesEndScopes: a panic or Goexit passes through Pages, which joins a fetch that
// only a Scope's context frees.
func TestPagesEndScopes(t *testing.T) {
	for way, leave := range map[string]func(){"panic": func() { panic("later stage") }, "Goexit": runtime.Goexit} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fetches := 0
				loop := seq.Go(t.Context(), func() {
					defer func() { _ = recover() }()
					seq.Drain(seq.Scope(t.Context(), func(scope context.Context) iter.Seq2[int, error] {
						fetch := func(context.Context, *int, int) ([]int, error) {
							if fetches++; fetches > 1 {
								<-scope.Done()
							}
							return []int{fetches, fetches + 100}, nil
						}
						rows := cursor.Pages(scope, nil, fetch, func(x int) int { return x }, cursor.PageConfig{Size: 2, Min: 2, Max: 2, Prefetch: 0.5})
						return seq.Tap(rows, func(x int, _ error) {
							if x == 101 { // the prefetch is under way
								synctest.Wait()
								leave()
							}
						})
					}))
					t.Error("the loop returned")
				})
				loop.Wait()
				if fetches != 2 {
					t.Errorf("%d fetches, want 2", fetches)
				}
			})
		})
	}
}
