package batch_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/batch"
	"example.com/pipeline/seq"
)

// What is collected when an item comes that a graceful stop left undone is handed over
// before: it is done, and behind that item it could not be counted as such.
func TestBatchesComeBeforeWhatIsNotDone(t *testing.T) {
	undone := &seq.ItemError{Item: 4, Err: seq.ErrStopped}
	failed := &seq.ItemError{Item: 0, Err: errors.New("another")}
	type source = iter.Seq2[int, error]
	for name, stage := range map[string]func(ctx context.Context, in source) iter.Seq2[[]int, error]{
		"Size": func(_ context.Context, in source) iter.Seq2[[]int, error] { return batch.Size(in, 10) },
		"Window": func(ctx context.Context, in source) iter.Seq2[[]int, error] {
			return batch.Window(ctx, in, 10, time.Hour)
		},
		"Debounce": func(ctx context.Context, in source) iter.Seq2[[]int, error] {
			return batch.Debounce(ctx, in, 10, time.Hour)
		},
		"Batches": func(ctx context.Context, in source) iter.Seq2[[]int, error] {
			return batch.Batches(ctx, in, batch.Limits[int]{Weigh: func(int) int { return 1 }, Weight: 10})
		},
	} {
		for _, body := range []time.Duration{0, time.Second} {
			t.Run(fmt.Sprintf("%s, body %v", name, body), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					in := func(yield func(int, error) bool) {
						_ = yield(1, nil) && yield(2, nil) && yield(0, failed) && yield(3, nil) && yield(0, undone) && yield(0, undone) && yield(5, nil)
					}
					var got []string
					for items, err := range stage(t.Context(), in) {
						if err != nil {
							got = append(got, err.Error())
						} else {
							got = append(got, fmt.Sprint(items))
						}
						time.Sleep(body)
					}
					if want := []string{failed.Error(), "[1 2 3]", undone.Error(), undone.Error(), "[5]"}; !slices.Equal(got, want) {
						t.Errorf("got %q, want %q", got, want)
					}
				})
			})
		}
	}
}

// No fetch begins after the stop, one that has begun finishes, and what was not asked for
// comes out as errors, in position.
func TestLookupStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped := make(chan struct{})
		ctx := seq.WithStop(t.Context(), func() error {
			select {
			case <-stopped:
				return seq.ErrStopped
			default:
				return nil
			}
		})
		time.AfterFunc(1500*time.Millisecond, func() { close(stopped) })
		fetches := 0
		out := batch.Lookup(ctx, seq.Of(1, 2, 3, 4, 5, 6, 7), 2, time.Hour, func(v int) int { return v },
			func(ctx context.Context, keys []int) (map[int]int, error) {
				if fetches++; fetches > 2 {
					t.Error("a fetch begins after the stop")
				}
				time.Sleep(time.Second)
				found := map[int]int{}
				for _, k := range keys {
					found[k] = k * k
				}
				return found, errors.Join(ctx.Err(), seq.Stopped(ctx)) // a fetch that has begun is not stopped
			}, func(_, square int) (int, error) { return square, nil })
		var got []string
		for v, err := range out {
			if err == nil {
				got = append(got, fmt.Sprint(v))
				continue
			}
			item, ok := seq.FailedItem[int](err)
			if !ok || !errors.Is(err, seq.ErrStopped) {
				t.Errorf("error %v", err)
			}
			got = append(got, fmt.Sprint("not ", item))
		}
		if want := []string{"1", "4", "9", "16", "not 5", "not 6", "not 7"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
