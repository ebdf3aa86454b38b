package control

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// renewed is a KeyRenewer that counts renewals, and loses its claim or fails on demand.
type renewed struct {
	*Keys
	renewals, finished int
	renew              func(n int) (bool, error)
}

func (r *renewed) RenewEvery() time.Duration { return time.Second }
func (r *renewed) Renew(context.Context, string) (bool, error) {
	r.renewals++
	return r.renew(r.renewals)
}
func (r *renewed) Finish(ctx context.Context, key string, result []byte) error {
	r.finished = r.renewals
	return r.Keys.Finish(ctx, key, result)
}

func held(int) (bool, error) { return true, nil }

// TestIdempotentRenews makes a call that takes longer than a claim: it is renewed until
// the call ends and not after that, whether ctx has ended or a renewal has failed.
func TestIdempotentRenews(t *testing.T) {
	for name, fails := range map[string]int{"held": 0, "failed": 3} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				keys := &renewed{Keys: NewKeys(10, 0), renew: func(n int) (bool, error) {
					if n <= fails {
						return false, errBoom
					}
					return true, nil
				}}
				ctx, cancel := context.WithCancel(t.Context())
				call := Idempotent(func(ctx context.Context, id string) (int, error) {
					time.Sleep(4500 * time.Millisecond)
					if ctx.Err() != nil {
						t.Error("the claim is lost:", context.Cause(ctx))
					}
					cancel()
					time.Sleep(6 * time.Second)
					return 7, nil
				}, keys, orderKey)
				if got, err := call(ctx, "7"); got != 7 || err != nil || keys.renewals != 10 || keys.finished != 10 {
					t.Errorf("got %v, %v after %d renewals", got, err, keys.renewals)
				}
				time.Sleep(time.Minute)
				if keys.renewals != 10 {
					t.Error("the claim of a call that has ended is renewed")
				}
			})
		})
	}
}

// TestIdempotentLosesItsClaim tells the call so.
func TestIdempotentLosesItsClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := &renewed{Keys: NewKeys(10, 0), renew: func(n int) (bool, error) { return n < 3, nil }}
		call := Idempotent(func(ctx context.Context, id string) (int, error) {
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}, keys, orderKey)
		began := time.Now()
		if _, err := call(t.Context(), "7"); !errors.Is(err, ErrInProgress) || time.Since(began) != 3*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// TestIdempotentRenewingPanics has fn or Renew panic: the goroutine has exited, and fn's
// panic comes as it is.
func TestIdempotentRenewingPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		catch := func(keys *renewed, fn func()) (value any) {
			defer func() { value = recover() }()
			Idempotent(func(context.Context, string) (int, error) { fn(); return 0, nil }, keys, orderKey)(t.Context(), "7")
			return nil
		}
		if got := catch(&renewed{Keys: NewKeys(10, 0), renew: held}, func() { panic(errBoom) }); got != any(errBoom) {
			t.Errorf("fn's panic is %v", got)
		}
		keys := &renewed{Keys: NewKeys(10, 0), renew: func(int) (bool, error) { panic(errBoom) }}
		got := catch(keys, func() { time.Sleep(3 * time.Second) })
		if err, ok := got.(error); !ok || !errors.Is(err, errBoom) {
			t.Errorf("Renew's panic is %v", fmt.Sprint(got))
		}
		// fn was made all the same: it must not be made again.
		if result, done, err := keys.Begin(t.Context(), "order-7"); string(result) != "0" || !done || err != nil {
			t.Errorf("the key: %q, done %t, %v", result, done, err)
		}
	})
}

// breathless is a KeyRenewer that says to renew without a pause.
type breathless struct{ renewed }

func (*breathless) RenewEvery() time.Duration { return 0 }

func TestIdempotentRefusesNoPauseBetweenRenewals(t *testing.T) {
	fn := func(context.Context, string) (int, error) { return 0, nil }
	want := "control.Idempotent: RenewEvery of keys must be positive, got 0s"
	if got := mustPanic(t, func() { Idempotent(fn, &breathless{}, orderKey) }); got != want {
		t.Errorf("it panics with %q, want %q", got, want)
	}
}
