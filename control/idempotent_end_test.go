package control

import (
	"context"
	"errors"
	"math"
	"reflect"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// What becomes of a key, whatever happens to its call: it is free, finished, or claimed
// until the store lets go, and nobody waits for it for ever.
func TestWhatBecomesOfAKey(t *testing.T) {
	const free, finished, claimed = "free", "finished", "claimed"
	ok := func(context.Context) (float64, error) { return 7, nil }
	tests := []struct {
		name  string
		fn    func(context.Context) (float64, error)
		store scriptedStore
		want  string
	}{
		{"success", ok, scriptedStore{}, finished},
		{"failure", func(context.Context) (float64, error) { return 0, errBoom }, scriptedStore{}, free},
		{"panic", func(context.Context) (float64, error) { panic(errBoom) }, scriptedStore{}, free},
		{"Goexit", func(context.Context) (float64, error) { runtime.Goexit(); return 0, nil }, scriptedStore{}, free},
		{"a result that JSON cannot hold", func(context.Context) (float64, error) { return math.NaN(), nil }, scriptedStore{}, finished},
		{"Begin fails", ok, scriptedStore{begin: func() error { return errBoom }}, free},
		{"Begin panics", ok, scriptedStore{begin: func() error { panic(errBoom) }}, free},
		{"Finish fails", ok, scriptedStore{finish: func() error { return errBoom }}, claimed},
		{"Finish panics", ok, scriptedStore{finish: func() error { panic(errBoom) }}, claimed},
		{"Finish leaves", ok, scriptedStore{finish: func() error { runtime.Goexit(); return nil }}, claimed},
		{"Abandon fails", func(context.Context) (float64, error) { return 0, errBoom }, scriptedStore{abandon: func() error { return errBoom }}, claimed},
		{"Abandon panics", func(context.Context) (float64, error) { return 0, errBoom }, scriptedStore{abandon: func() error { panic(errBoom) }}, claimed},
		{"Renew fails", ok, scriptedStore{renew: func() error { return errBoom }}, finished},
		{"Renew panics", ok, scriptedStore{renew: func() error { panic(errBoom) }}, finished},
		{"Renew leaves", ok, scriptedStore{renew: func() error { runtime.Goexit(); return nil }}, finished},
		{"Renew panics and fn fails", func(context.Context) (float64, error) { return 0, errBoom }, scriptedStore{renew: func() error { panic(errBoom) }}, free},
		{"Renew panics and fn, too", func(context.Context) (float64, error) { panic("fn") }, scriptedStore{renew: func() error { panic(errBoom) }}, free},
		{"Renew panics and so does Finish", ok, scriptedStore{renew: func() error { panic(errBoom) }, finish: func() error { panic("finish") }}, claimed},
	}
	for _, tt := range tests {
		for _, endsEarly := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := tt.store
					store.Keys = NewKeys(10, time.Hour)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					made := 0
					call := Idempotent(func(ctx context.Context, _ string) (float64, error) {
						made++
						time.Sleep(5 * time.Second) // long enough to renew
						if endsEarly {
							cancel()
						}
						return tt.fn(ctx)
					}, &store, orderKey)
					inGoroutine(func() { call(ctx, "7") })

					waiting, stop := context.WithTimeout(t.Context(), time.Minute)
					defer stop()
					_, done, err := store.Keys.Begin(waiting, "order-7")
					got := free
					switch {
					case err != nil:
						got = claimed
					case done:
						got = finished
					}
					if got != tt.want {
						t.Errorf("the key is %s, want it %s", got, tt.want)
					}
					if made > 1 {
						t.Errorf("the call was made %d times", made)
					}
				})
			})
		}
	}
}

// A scriptedStore is a KeyRenewer, some of whose methods fail, panic or leave instead.
type scriptedStore struct {
	*Keys
	begin, finish, abandon, renew func() error
}

func (s *scriptedStore) Begin(ctx context.Context, key string) ([]byte, bool, error) {
	if s.begin != nil {
		return nil, false, s.begin()
	}
	return s.Keys.Begin(ctx, key)
}

func (s *scriptedStore) Finish(ctx context.Context, key string, result []byte) error {
	if s.finish != nil {
		return s.finish()
	}
	return s.Keys.Finish(ctx, key, result)
}

func (s *scriptedStore) Abandon(ctx context.Context, key string) error {
	if s.abandon != nil {
		return s.abandon()
	}
	return s.Keys.Abandon(ctx, key)
}

func (s *scriptedStore) RenewEvery() time.Duration { return time.Second }

func (s *scriptedStore) Renew(context.Context, string) (bool, error) {
	if s.renew != nil {
		err := s.renew()
		return err == nil, err
	}
	return true, nil
}

// A call whose result is lost is not made again: not by a Retry or a Hedge around it, nor
// by the next call, and nobody waits.
func TestCallWhoseResultIsLostIsNotMadeAgain(t *testing.T) {
	tests := []struct {
		name  string
		store *scriptedStore
		value float64
	}{
		{"NaN", &scriptedStore{}, math.NaN()},
		{"Finish fails", &scriptedStore{finish: func() error { return errBoom }}, 7},
		{"Finish is refused", &scriptedStore{finish: func() error { return ErrOpen }}, 7},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.store.Keys = NewKeys(10, time.Minute)
				made := 0
				once := Idempotent(func(context.Context, string) (float64, error) { made++; return tt.value, nil }, tt.store, orderKey)
				begin := time.Now()
				_, err := Wrap(Hedge(once, time.Hour, 3), Retry{})(t.Context(), "7")
				if err == nil || errors.Is(err, ErrRefused) || made != 1 || time.Since(begin) != 0 {
					t.Errorf("%v, made %d times, after %v", err, made, time.Since(begin))
				}
				if tt.name == "NaN" {
					_, err := Wrap(once, Retry{})(t.Context(), "7")
					if !errors.Is(err, errNoResult) || made != 1 || time.Since(begin) != 0 {
						t.Errorf("the next call: %v, made %d times, after %v", err, made, time.Since(begin))
					}
				}
			})
		})
	}
}

// A type whose methods must not be called to find out whether JSON can hold it.
type shyText struct{ n int }

func (s shyText) MarshalText() ([]byte, error) {
	if s.n == 0 {
		panic("MarshalText of a zero value")
	}
	return []byte("shy"), nil
}

func (s *shyText) UnmarshalText([]byte) error { s.n = 7; return nil }

func TestIdempotentTypes(t *testing.T) {
	type tree struct {
		Left, Right *tree
		Names       map[string][]shyText
		hidden      func()
		Skipped     chan int `json:"-"`
		Maybe       func()   `json:"maybe,omitzero"`
	}
	type bad struct {
		In [2]map[int]*struct{ C chan int }
	}
	for v, want := range map[any]bool{
		7: true, "": true, nil: true, tree{}.Left: true, &bad{}: false, [1]chan int{}: false, complex(1, 1): false, shyText{}: true,
		new(map[struct{ X int }]int): false, new(map[shyText]int): true, new(func()): false, new(any): true, struct{ error }{}: true,
	} {
		typ := reflect.TypeOf(v)
		if typ == nil {
			typ = reflect.TypeFor[error]()
		}
		if got := isJSON(typ, nil); got != want {
			t.Errorf("%v: %t, want %t", typ, got, want)
		}
	}
	call := Idempotent(func(context.Context, string) (shyText, error) { return shyText{7}, nil }, NewKeys(1, 0), orderKey)
	for range 2 {
		if got, err := call(t.Context(), "7"); got.n != 7 || err != nil {
			t.Errorf("%v, %v", got, err)
		}
	}
	shy := Idempotent(func(context.Context, string) (shyText, error) { return shyText{}, nil }, NewKeys(1, 0), orderKey)
	if got := mustPanic(t, func() { shy(t.Context(), "8") }); got != "MarshalText of a zero value" {
		t.Error(got)
	}
	if _, err := shy(t.Context(), "8"); !errors.Is(err, errNoResult) {
		t.Errorf("after the panic: %v", err)
	}
}

// The error of a call that lost its key on the way does not say that it was not made.
func TestLostClaimIsNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := &renewed{Keys: NewKeys(10, 0), renew: func(n int) (bool, error) { return n < 3, nil }}
		call := Idempotent(func(ctx context.Context, id string) (int, error) {
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}, keys, orderKey)
		if _, err := call(t.Context(), "7"); !errors.Is(err, ErrInProgress) || errors.Is(err, ErrRefused) {
			t.Errorf("error %v", err)
		}
	})
}
