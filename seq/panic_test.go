package seq_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"example.com/pipeline/seq"
)

// After a panic or Goexit of a callback, what has been pulled and not begun is dropped: no
// call begins any more, and those at work are told to end.
func TestNothingBeginsAfterAPanic(t *testing.T) {
	for _, s := range concurrentStages {
		if !s.callback {
			continue
		}
		for how, l := range leavings {
			if how == "break" {
				continue
			}
			t.Run(fmt.Sprint(s.name, "/", how), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var mu sync.Mutex
					var begun []int
					go1 := make(chan struct{})
					fn := func(ctx context.Context, v int) (int, error) {
						mu.Lock()
						begun = append(begun, v)
						mu.Unlock()
						switch v {
						case 0:
							<-go1
							l.leave()
						default:
							<-ctx.Done()
						}
						return v, nil
					}
					before := 0
					go func() {
						synctest.Wait() // until all that can begin has
						mu.Lock()
						before = len(begun)
						mu.Unlock()
						close(go1)
					}()
					end := endOf(func() { seq.Drain(s.stage(t.Context(), upTo(100, nil), fn)) })
					if end != l.want {
						t.Errorf("ended with %v, want %v", end, l.want)
					}
					if len(begun) != before || !slices.Contains(begun, 0) {
						t.Errorf("%d calls had begun before, %v in the end", before, begun)
					}
				})
			})
		}
	}
}
