package control

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

type charge struct {
	ID     string
	Amount int64
}

func orderKey(id string) string { return "order-" + id }

func TestIdempotentCallsOnce(t *testing.T) {
	calls := 0
	call := Idempotent(func(_ context.Context, id string) (charge, error) {
		calls++
		return charge{id, 1<<53 + 1}, nil
	}, NewKeys(10, 0), orderKey)
	for range 3 {
		if got, err := call(t.Context(), "7"); got != (charge{"7", 1<<53 + 1}) || err != nil {
			t.Errorf("got %v, %v", got, err)
		}
	}
	if got, err := call(t.Context(), "8"); got.ID != "8" || err != nil || calls != 2 {
		t.Errorf("another key: %v, %v, %d calls", got, err, calls)
	}
}

// A call that does not succeed frees its key.
func TestIdempotentFreesTheKey(t *testing.T) {
	ways := map[string]func() error{
		"error":  func() error { return errBoom },
		"skip":   func() error { return seq.ErrSkip },
		"panic":  func() error { panic(errBoom) },
		"goexit": func() error { runtime.Goexit(); return nil },
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				calls := 0
				call := Idempotent(func(context.Context, string) (int, error) {
					if calls++; calls == 1 {
						cancel() // the end of ctx does not keep the key from being freed
						return 0, way()
					}
					return calls, nil
				}, NewKeys(10, 0), orderKey)
				inGoroutine(func() {
					_, err := call(ctx, "7")
					if want := ways["error"](); name == "error" && err != want {
						t.Errorf("error: %v", err)
					}
				})
				if got, err := call(t.Context(), "7"); got != 2 || err != nil {
					t.Errorf("the next call: %v, %v", got, err)
				}
			})
		})
	}
}

func TestIdempotentConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		call := Idempotent(func(context.Context, string) (int32, error) {
			n := calls.Add(1)
			time.Sleep(time.Second)
			if n == 1 {
				return 0, errBoom
			}
			return n, nil
		}, NewKeys(1, 0), orderKey)
		begin := time.Now()
		var failures atomic.Int32
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				switch got, err := call(t.Context(), "7"); {
				case err == errBoom:
					failures.Add(1)
				case got != 2 || err != nil:
					t.Errorf("got %d, %v", got, err)
				}
			})
		}
		wg.Wait()
		// The first fails, one of the others is next, and all others get its result.
		if calls.Load() != 2 || failures.Load() != 1 || time.Since(begin) != 2*time.Second {
			t.Errorf("%d calls, %d failures, %v", calls.Load(), failures.Load(), time.Since(begin))
		}
	})
}

func TestIdempotentStopsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		call := Idempotent(func(context.Context, string) (int, error) { time.Sleep(time.Minute); return 1, nil },
			NewKeys(1, 0), orderKey)
		done := make(chan struct{})
		go func() { defer close(done); call(t.Context(), "7") }()
		synctest.Wait()
		cause := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		begin := time.Now()
		_, err := call(ctx, "7")
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, cause) || time.Since(begin) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		<-done
	})
}

// A store whose answers are made up.
type oddStore struct {
	result                 []byte
	done                   bool
	begin, finish, abandon error
	abandoned              int
}

func (s *oddStore) Begin(context.Context, string) ([]byte, bool, error) {
	return s.result, s.done, s.begin
}
func (s *oddStore) Finish(context.Context, string, []byte) error { return s.finish }
func (s *oddStore) Abandon(context.Context, string) error        { s.abandoned++; return s.abandon }

func TestIdempotentStoreErrors(t *testing.T) {
	errStore := errors.New("connection lost")
	tests := []struct {
		name      string
		store     *oddStore
		fnErr     error
		called    bool
		abandoned int
		is        []error
	}{
		{"in progress elsewhere", &oddStore{begin: ErrInProgress}, nil, false, 0, []error{ErrInProgress}},
		{"Begin fails", &oddStore{begin: errStore}, nil, false, 0, []error{errStore}},
		{"a result of another type", &oddStore{done: true, result: []byte(`"text"`)}, nil, false, 0, nil},
		{"Finish fails", &oddStore{finish: errStore}, nil, true, 0, []error{errStore}},
		{"Abandon fails", &oddStore{abandon: errStore}, errBoom, true, 1, []error{errStore, errBoom}},
		{"the call fails", &oddStore{}, errBoom, true, 1, []error{errBoom}},
	}
	for _, tt := range tests {
		called := false
		call := Idempotent(func(context.Context, string) (int, error) { called = true; return 7, tt.fnErr }, tt.store, orderKey)
		_, err := call(t.Context(), "7")
		if called != tt.called || tt.store.abandoned != tt.abandoned || err == nil {
			t.Errorf("%s: called %t, abandoned %d, %v", tt.name, called, tt.store.abandoned, err)
		}
		for _, want := range tt.is {
			if !errors.Is(err, want) {
				t.Errorf("%s: %v is not %v", tt.name, err, want)
			}
		}
	}
}

// begin claims key and reports whether it had been finished.
func begin(t *testing.T, k *Keys, key string) (string, bool) {
	t.Helper()
	result, done, err := k.Begin(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(result), done
}

func finish(t *testing.T, k *Keys, key string) {
	t.Helper()
	if _, done := begin(t, k, key); done {
		t.Fatalf("%s is finished already", key)
	}
	k.Finish(t.Context(), key, []byte(key))
}

func TestKeysAreBounded(t *testing.T) {
	k := NewKeys(2, 0)
	begin(t, k, "in progress")
	finish(t, k, "a")
	finish(t, k, "b")
	begin(t, k, "a") // used more recently than b
	finish(t, k, "c")
	for key, want := range map[string]bool{"a": true, "c": true, "b": false} {
		got, done := begin(t, k, key)
		if done != want || done && got != key {
			t.Errorf("%s: %q, %t, want %t", key, got, done, want)
		}
	}
	for i := range 100 {
		finish(t, k, fmt.Sprint(i))
	}
	// Two results, and the claims of "in progress" and, just now, of b.
	if k.finished.Len() != 2 || len(k.entries) != 4 {
		t.Errorf("%d results, %d entries", k.finished.Len(), len(k.entries))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := k.Begin(ctx, "in progress"); err != context.Canceled {
		t.Errorf("what is in progress was dropped: %v", err)
	}
}

func TestKeysExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewKeys(10, time.Minute)
		finish(t, k, "a")
		time.Sleep(time.Minute - 1)
		if _, done := begin(t, k, "a"); !done { // and using it does not prolong it
			t.Error("expired too early")
		}
		time.Sleep(1)
		if _, done := begin(t, k, "a"); done {
			t.Error("not expired")
		}
		k.Abandon(t.Context(), "a")
		finish(t, k, "b")
		time.Sleep(time.Hour)
		finish(t, k, "c")
		if len(k.entries) != 1 {
			t.Errorf("%d entries, want c alone", len(k.entries))
		}
	})
}

func TestKeysResultsAreCopies(t *testing.T) {
	k := NewKeys(1, 0)
	begin(t, k, "a")
	data := []byte("data")
	k.Finish(t.Context(), "a", data)
	data[0] = 'x'
	result, _, _ := k.Begin(t.Context(), "a")
	result[1] = 'x'
	if got, _ := begin(t, k, "a"); got != "data" {
		t.Errorf("got %q", got)
	}
	k.Abandon(t.Context(), "a") // too late
	k.Abandon(t.Context(), "never begun")
	k.Finish(t.Context(), "a", nil)
	if got, done := begin(t, k, "a"); got != "" || !done {
		t.Errorf("finished again with nothing: %q, %t", got, done)
	}
}

// A result that is dropped at once still reaches those who waited for it.
func TestKeysWaitersGetADroppedResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewKeys(1, 0)
		begin(t, k, "a")
		got := make(chan string)
		go func() {
			result, _, _ := k.Begin(context.Background(), "a")
			got <- string(result)
		}()
		synctest.Wait()
		k.Finish(t.Context(), "a", []byte("A"))
		finish(t, k, "b")
		if s := <-got; s != "A" {
			t.Errorf("got %q", s)
		}
	})
}

func ExampleIdempotent() {
	keys := NewKeys(10_000, 24*time.Hour)
	call := Idempotent(func(_ context.Context, order string) (string, error) {
		fmt.Println("charging", order)
		return "receipt of " + order, nil
	}, keys, func(order string) string { return "charge/" + order })

	ctx := context.Background()
	fmt.Println(call(ctx, "17"))
	fmt.Println(call(ctx, "17"))
	// Output:
	// charging 17
	// receipt of 17 <nil>
	// receipt of 17 <nil>
}

func ExampleKeys() {
	ctx, keys := context.Background(), NewKeys(100, time.Hour)
	_, done, _ := keys.Begin(ctx, "a")
	fmt.Println(done) // ours to do
	keys.Finish(ctx, "a", []byte(`"result"`))
	result, done, _ := keys.Begin(ctx, "a")
	fmt.Println(string(result), done)
	// Output:
	// false
	// "result" true
}
