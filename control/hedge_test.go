package control

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// A tryScript is what each try of a hedged call does: it takes so long, unless its
// context ends before, and returns so.
type tryScript []struct {
	takes time.Duration
	err   error
}

// play returns a function that plays s, and counts its tries and those that ended.
func (s tryScript) play(begun, ended *atomic.Int32) func(context.Context, string) (string, error) {
	return func(ctx context.Context, item string) (string, error) {
		i := begun.Add(1) - 1
		defer ended.Add(1)
		if err := sleep(ctx, s[i].takes); err != nil {
			return "", err
		}
		return fmt.Sprint(item, i+1), s[i].err
	}
}

func TestHedge(t *testing.T) {
	const s = time.Second
	errOther := errors.New("other")
	tests := []struct {
		name   string
		script tryScript // max is as many tries
		begun  int32
		took   time.Duration
		want   string
		errs   []error
	}{
		{"quick", tryScript{{s / 2, nil}, {0, nil}}, 1, s / 2, "item1", nil},
		{"the second is quicker", tryScript{{9 * s, nil}, {3 * s / 2, nil}, {s, nil}}, 3, 5 * s / 2, "item2", nil},
		{"the first is quicker", tryScript{{3 * s / 2, nil}, {9 * s, nil}}, 2, 3 * s / 2, "item1", nil},
		{"no more than max", tryScript{{9 * s, nil}, {9 * s, nil}}, 2, 9 * s, "item1", nil},
		{"a failure brings on the next", tryScript{{s / 2, errBoom}, {s / 4, nil}}, 2, 3 * s / 4, "item2", nil},
		{"a failure beside a slow one", tryScript{{9 * s, nil}, {s / 2, errBoom}, {s / 4, nil}}, 3, 7 * s / 4, "item3", nil},
		{"all fail", tryScript{{0, errBoom}, {0, errOther}}, 2, 0, "", []error{errBoom, errOther}},
		{"Permanent", tryScript{{s / 2, Permanent(errBoom)}, {0, nil}}, 1, s / 2, "", []error{errBoom}},
		{"ErrSkip", tryScript{{s / 2, seq.ErrSkip}, {0, nil}}, 1, s / 2, "", []error{seq.ErrSkip}},
		{"the last one decides", tryScript{{5 * s, errBoom}, {5 * s, nil}}, 2, 6 * s, "item2", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var begun, ended atomic.Int32
				call := Hedge(tt.script.play(&begun, &ended), s, len(tt.script))
				begin := time.Now()
				got, err := call(t.Context(), "item")
				if took := time.Since(begin); took != tt.took || begun.Load() != tt.begun {
					t.Errorf("%d tries in %v, want %d in %v", begun.Load(), took, tt.begun, tt.took)
				}
				if ended.Load() != begun.Load() {
					t.Errorf("%d tries begun, %d ended", begun.Load(), ended.Load())
				}
				if tt.errs == nil && (got != tt.want || err != nil) {
					t.Errorf("got %q, %v; want %q", got, err, tt.want)
				}
				for _, want := range tt.errs {
					if !errors.Is(err, want) {
						t.Errorf("%v is not %v", err, want)
					}
				}
			})
		})
	}
}

func TestHedgeEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(5*time.Second/2, func() { cancel(cause) })
		tries := tryScript{{time.Second / 2, errBoom}, {time.Hour, nil}, {time.Hour, nil}, {time.Hour, nil}, {time.Hour, nil}}
		var begun, ended atomic.Int32
		begin := time.Now()
		_, err := Hedge(tries.play(&begun, &ended), time.Second, len(tries))(ctx, "")
		for _, want := range []error{errBoom, context.Canceled, cause} {
			if !errors.Is(err, want) {
				t.Errorf("%v is not %v", err, want)
			}
		}
		// At 0, after the failure at 0.5, and after 1.5; the next one was due at 2.5.
		if took := time.Since(begin); took != 5*time.Second/2 || begun.Load() > 4 || begun.Load() != ended.Load() {
			t.Errorf("%v, %d tries begun, %d ended", took, begun.Load(), ended.Load())
		}
	})
}

func TestHedgePanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Int32
		var begun atomic.Int32
		call := Hedge(func(ctx context.Context, _ int) (int, error) {
			defer ended.Add(1)
			if begun.Add(1) == 2 {
				panic(errBoom)
			}
			return 0, blocking(ctx)
		}, time.Second, 3)
		v := inGoroutine(func() { call(t.Context(), 0) })
		p, ok := v.(*seq.PanicError)
		if !ok || !errors.Is(p, errBoom) {
			t.Errorf("panicked with %v", v)
		}
		if begun.Load() != 2 || ended.Load() != 2 {
			t.Errorf("%d tries begun, %d ended", begun.Load(), ended.Load())
		}
	})
}

func ExampleHedge() {
	var tries atomic.Int32
	call := Hedge(func(ctx context.Context, key string) (string, error) {
		if tries.Add(1) == 1 { // the first try hangs
			<-ctx.Done()
			return "", ctx.Err()
		}
		return "value of " + key, nil
	}, 5*time.Millisecond, 2)
	fmt.Println(call(context.Background(), "a"))
	// Output: value of a <nil>
}
