package seq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A ring that is hardly larger than its window, workers of very different speed and
// errors between the items: results come in any order on every lap, and every one
// must come out once.
func TestUnorderedLaps(t *testing.T) {
	bad := errors.New("bad")
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 2))
		n, window := 1+r.IntN(6), 1+r.IntN(12)
		const total = 600
		naps := make([]time.Duration, total)
		for i := range naps {
			switch r.IntN(10) {
			case 0:
				naps[i] = time.Duration(r.IntN(400)) * time.Microsecond
			case 1, 2:
				naps[i] = time.Duration(r.IntN(5)) * time.Microsecond
			}
		}
		errorsEvery := 2 + r.IntN(50)
		slowBody := r.IntN(2) == 0
		t.Run(fmt.Sprintf("n=%d,window=%d,seed=%d", n, window, seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := func(yield func(int, error) bool) {
					for i := range total {
						var err error
						if i%errorsEvery == 1 {
							err = &ItemError{i, bad}
						}
						if !yield(i, err) {
							return
						}
					}
				}
				inFlight := make(chan struct{}, n)
				fn := func(_ context.Context, i int) (int, error) {
					select {
					case inFlight <- struct{}{}:
					default:
						t.Errorf("more than %d calls at once", n)
						return i, nil
					}
					time.Sleep(naps[i])
					<-inFlight
					return i, nil
				}
				var got []int
				for v, err := range MapUnordered(t.Context(), in, n, fn, Window(window)) {
					if err != nil {
						v, _ = FailedItem[int](err)
					}
					got = append(got, v)
					if slowBody {
						time.Sleep(naps[(v+5)%total] / 4)
					}
				}
				slices.Sort(got)
				for i := range total {
					if i >= len(got) || got[i] != i {
						t.Fatalf("item %d is missing or came twice: %v", i, got)
					}
				}
			})
		})
	}
}

// One item that takes for ever must not keep the others from coming out, however
// many they are.
func TestUnorderedOvertakes(t *testing.T) {
	for _, n := range []int{2, 3, 8} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			const total = 1000
			in := func(yield func(int, error) bool) {
				for i := range total {
					if !yield(i, nil) {
						return
					}
				}
			}
			fn := func(_ context.Context, i int) (int, error) {
				if i < n-1 { // all workers but one
					<-release
				}
				return i, nil
			}
			got := 0
			for v, err := range MapUnordered(t.Context(), in, n, fn, Window(2*n)) {
				if err != nil {
					t.Fatal(err)
				}
				if got++; got == total-(n-1) {
					close(release)
				} else if got < total-(n-1) && v < n-1 {
					t.Fatalf("item %d came before its time", v)
				}
			}
			if got != total {
				t.Fatalf("got %d results of %d", got, total)
			}
		})
	}
}
