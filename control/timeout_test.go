package control

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// blocking is an op that waits for the end of its context and returns its error.
func blocking(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestTimeout(t *testing.T) {
	late := func(err error) func(context.Context) error {
		return func(context.Context) error { time.Sleep(time.Minute); return err }
	}
	tests := []struct {
		name     string
		op       func(context.Context) error
		timedOut bool
		want     string // of the error; empty means success
	}{
		{"success", always(nil), false, ""},
		{"failure in time", always(errBoom), false, "boom"},
		{"heeds its context", blocking, true, "control: timed out after 1s"},
		{"says why", func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }, true, "control: timed out after 1s: control: timed out after 1s"},
		{"fails late", late(errBoom), true, "control: timed out after 1s: boom"},
		{"succeeds late", late(nil), false, ""},
		{"skips late", late(seq.ErrSkip), false, seq.ErrSkip.Error()},
		{"a deadline of the op's own", always(context.DeadlineExceeded), false, "context deadline exceeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := Timeout(time.Second).Do(t.Context(), tt.op)
				if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
					t.Errorf("error: %v, want %q", err, tt.want)
				}
				if errors.Is(err, ErrTimeout) != tt.timedOut {
					t.Errorf("%v Is ErrTimeout: %t", err, !tt.timedOut)
				}
				if tt.timedOut && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v is not DeadlineExceeded", err)
				}
			})
		})
	}
}

func TestTimeoutLeavesTheCallersEndAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := Timeout(time.Minute).Do(ctx, blocking)
		if err != context.DeadlineExceeded || errors.Is(err, ErrTimeout) {
			t.Errorf("the caller's deadline: %v", err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := Timeout(time.Minute).Do(ctx, blocking); err != context.Canceled {
			t.Errorf("the caller's cancel: %v", err)
		}
	})
}

func TestTimeoutNests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		call := Wrap(func(ctx context.Context, _ int) (int, error) { return 0, blocking(ctx) },
			Timeout(2500*time.Millisecond), Retry{Backoff: Constant(0)}, Timeout(time.Second))
		begin := time.Now()
		_, err := call(t.Context(), 0)
		if took := time.Since(begin); took != 2500*time.Millisecond || !errors.Is(err, ErrTimeout) {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// An error about one item stays one.
func TestTimeoutKeepsItemErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := Timeout(time.Second).Do(t.Context(), func(context.Context) error {
			time.Sleep(time.Minute)
			return &seq.ItemError{Item: 7, Err: errBoom}
		})
		if !seq.IsItemError(err) || !errors.Is(err, ErrTimeout) || !errors.Is(err, errBoom) {
			t.Errorf("error: %v", err)
		}
	})
}

func ExampleTimeout() {
	call := Wrap(func(ctx context.Context, d time.Duration) (string, error) {
		select {
		case <-time.After(d):
			return "done", nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}, Timeout(20*time.Millisecond))
	fmt.Println(call(context.Background(), 0))
	_, err := call(context.Background(), time.Hour)
	fmt.Println(err, errors.Is(err, ErrTimeout), errors.Is(err, context.DeadlineExceeded))
	// Output:
	// done <nil>
	// control: timed out after 20ms true true
}
