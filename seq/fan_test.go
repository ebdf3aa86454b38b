package seq_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// take is a branch that ends after n items.
func take(n int) seq.Stage[int, int] {
	return func(in ints) ints { return seq.Take(in, n) }
}

// fans are the three stages with two branches, of which Branch sends pairs to each in
// turn.
func fans(ctx context.Context, in ints, branch func(i int) seq.Stage[int, int]) map[string]ints {
	return map[string]ints{
		"Branch":    seq.Branch(ctx, in, func(v int, err error) int { return v & 1 }, branch(0), branch(1)),
		"Broadcast": seq.Broadcast(ctx, in, branch(0), branch(1)),
		"Fork":      seq.Fork(ctx, in, 2, branch),
	}
}

// eachFan runs test in a bubble for each fan.
func eachFan(t *testing.T, test func(t *testing.T, fan string, build func(in ints, branch func(i int) seq.Stage[int, int]) ints)) {
	for name := range fans(t.Context(), seq.Of(1), func(int) seq.Stage[int, int] { return identity }) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test(t, name, func(in ints, branch func(i int) seq.Stage[int, int]) ints {
					return fans(t.Context(), in, branch)[name]
				})
			})
		})
	}
}

// When all branches have ended the stream ends, and an endless source with it, even
// while the body is busy.
func TestFanEndsWithItsBranches(t *testing.T) {
	eachFan(t, func(t *testing.T, _ string, build func(ints, func(int) seq.Stage[int, int]) ints) {
		var pulled atomic.Int32
		got := 0
		for _, err := range build(upTo(1<<40, &pulled), func(int) seq.Stage[int, int] { return take(3) }) {
			if err != nil {
				t.Fatal(err)
			}
			got++
			time.Sleep(time.Minute)
		}
		if got != 6 {
			t.Errorf("got %d items", got)
		}
		if n := pulled.Load(); n > 6+2*16 {
			t.Errorf("%d items pulled", n)
		}
	})
}

// What is sent to a branch that has ended is dropped and holds nobody up.
func TestEndedBranchDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		odd := func(v int, err error) int { return v & 1 }
		got, err := seq.Collect(seq.Branch(t.Context(), upTo(1000, nil), odd, take(2), identity))
		var even, rest int
		for _, v := range got {
			if v&1 == 0 {
				even++
			} else if rest++; v != 2*rest-1 {
				t.Fatalf("got %v", got)
			}
		}
		if even != 2 || rest != 500 || err != nil {
			t.Errorf("got %d even and %d odd items, %v", even, rest, err)
		}
		n, err := seq.Count(seq.Broadcast(t.Context(), upTo(1000, nil), take(2), identity, take(0)))
		if n != 1002 || err != nil {
			t.Errorf("got %d items, %v", n, err)
		}
	})
}

// A final error that is routed to a branch which has ended comes out by itself, after
// what the other branches have.
func TestFinalErrorForAnEndedBranch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(in ints) ints {
			return seq.Map(in, func(v int) (int, error) { time.Sleep(time.Minute); return v, nil })
		}
		final := errors.New("end")
		in := seq.Concat(seq.Of(0, 2, 1, 3), func(yield func(int, error) bool) {
			time.Sleep(time.Second) // so that the branch has ended
			yield(0, final)
		})
		route := func(v int, err error) int { return v & 1 }
		wantPairs(t, seq.Branch(t.Context(), in, route, take(1), slow), "0", "1", "3", "final error: end")
	})
}

// An item error comes once for each branch of Broadcast, a final one once, also where a
// branch wraps it.
func TestErrorsOfBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		final := errors.New("end")
		in := seq.Concat(seq.Fail[int](&seq.ItemError{Item: 7, Err: errBad}), seq.Fail[int](final))
		wrap := func(in ints) ints {
			return seq.Catch(in, func(err error) (int, error) { return 0, fmt.Errorf("wrapped: %w", err) })
		}
		items, finals := 0, 0
		for _, err := range seq.Broadcast(t.Context(), in, identity, wrap, identity) {
			if seq.IsItemError(err) {
				items++
			} else if finals++; !errors.Is(err, final) {
				t.Error(err)
			}
		}
		if items != 3 || finals != 1 {
			t.Errorf("got %d item errors and %d final ones", items, finals)
		}
	})
}

// uncomparable is an error that == panics at, though its type is comparable.
type uncomparable struct{ v any }

func (uncomparable) Error() string { return "uncomparable" }

func TestFinalErrorThatCannotBeCompared(t *testing.T) {
	eachFan(t, func(t *testing.T, fan string, build func(ints, func(int) seq.Stage[int, int]) ints) {
		in := seq.Concat(seq.Of(1), seq.Fail[int](uncomparable{[]int{1}}))
		want := []string{"1", "final error: uncomparable"}
		if fan == "Broadcast" {
			want = slices.Insert(want, 0, "1")
		}
		wantPairs(t, build(in, func(int) seq.Stage[int, int] { return identity }), want...)
	})
}

// A branch may fail by itself: that ends the whole stream.
func TestFinalErrorOfABranch(t *testing.T) {
	eachFan(t, func(t *testing.T, _ string, build func(ints, func(int) seq.Stage[int, int]) ints) {
		own := errors.New("own")
		var last error
		for _, err := range build(upTo(1<<40, nil), func(i int) seq.Stage[int, int] {
			if i == 0 {
				return func(in ints) ints { return seq.Concat(seq.Take(in, 3), seq.Fail[int](own)) }
			}
			return identity
		}) {
			last = err
		}
		if last != own {
			t.Errorf("ended with %v", last)
		}
	})
}

// A lane that is cut gets an error and no end: it would hand over partial work as if it
// were complete. That holds however the loop is left, and when ctx ends.
func TestCutLanesGetAnError(t *testing.T) {
	for _, how := range []string{"break", "ctx", "another branch", "Goexit", "panic"} {
		t.Run(how, func(t *testing.T) {
			eachFan(t, func(t *testing.T, fan string, _ func(ints, func(int) seq.Stage[int, int]) ints) {
				cause := errors.New("cause")
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				var mu sync.Mutex
				var ends []error
				// batch hands over what it has at the end of its input, and nothing before.
				batch := func(in ints) ints {
					return func(yield func(int, error) bool) {
						for _, err := range in {
							if err != nil {
								mu.Lock()
								ends = append(ends, err)
								mu.Unlock()
								yield(0, err)
								return
							}
						}
						t.Error("a lane's input ended in silence")
					}
				}
				talks := func(in ints) ints {
					return func(yield func(int, error) bool) { // is cut as well, but has to leave earlier
						for v := range in {
							if how == "another branch" && v > 50 {
								yield(0, errBad)
								return
							}
							if !yield(v, nil) {
								return
							}
						}
					}
				}
				in := func(yield func(int, error) bool) {
					for i := 0; yield(i, nil); i++ {
						time.Sleep(time.Second)
					}
				}
				stream := fans(ctx, in, func(i int) seq.Stage[int, int] { return []seq.Stage[int, int]{batch, talks}[i] })[fan]
				if how == "ctx" {
					time.AfterFunc(time.Minute+time.Millisecond, func() { cancel(cause) })
				}
				endOf(func() {
					stream(func(v int, err error) bool {
						if l, ok := leavings[how]; ok && v > 50 {
							return l.leave()
						}
						return true
					})
				})
				if len(ends) != 1 || !errors.Is(ends[0], context.Canceled) || how == "ctx" && !errors.Is(ends[0], cause) {
					t.Errorf("the lane's input ended with %v", ends)
				}
			})
		})
	}
}

// A source that ends in silence because ctx has ended does not end the lanes so.
func TestCutLanesOfASilentSource(t *testing.T) {
	eachFan(t, func(t *testing.T, fan string, _ func(ints, func(int) seq.Stage[int, int]) ints) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		lane := func(in ints) ints {
			return func(yield func(int, error) bool) {
				if _, err := seq.Collect(in); err != context.DeadlineExceeded {
					t.Errorf("the lane's input ended with %v", err)
				}
			}
		}
		stream := fans(ctx, silent(ctx, 4), func(int) seq.Stage[int, int] { return lane })[fan]
		wantPairs(t, stream, "final error: context deadline exceeded")
	})
}

func TestRouteOutOfRange(t *testing.T) {
	for _, i := range []int{-1, 2} {
		synctest.Test(t, func(t *testing.T) {
			end := endOf(func() {
				seq.Drain(seq.Branch(t.Context(), seq.Of(1), func(int, error) int { return i }, identities(2)...))
			})
			if want := fmt.Sprintf("seq.Branch: route must name a branch from 0 to 1, got %d", i); end.panic != want {
				t.Errorf("ended with %v, want a panic with %q", end, want)
			}
		})
	}
}

// route sees a pair as the body would: no value beside an error.
func TestRouteGetsThePairs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		final := errors.New("end")
		in := seq.Concat(seq.Of(1), seq.Fail[int](&seq.ItemError{Item: 2, Err: errBad}), seq.Of(3), seq.Fail[int](final))
		var seen []string
		stream := seq.Branch(t.Context(), in, func(v int, err error) int {
			if err != nil && v != 0 {
				t.Errorf("got %d beside %v", v, err)
			}
			seen = append(seen, pair{v, err}.String())
			return 0
		}, identity)
		want := []string{"1", "item error: item 2: bad", "3", "final error: end"}
		wantPairs(t, stream, want...)
		if !slices.Equal(seen, want) {
			t.Errorf("route got %v", seen)
		}
	})
}

// A slow lane of Fork holds the item that it works on, and no other.
func TestSlowLaneOfForkHoardsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		stream := seq.Fork(t.Context(), upTo(1000, nil), 3, func(i int) seq.Stage[int, int] {
			return func(in ints) ints {
				return seq.Map(in, func(v int) (int, error) {
					if i == 0 {
						<-release
						return -v, nil
					}
					return v, nil
				})
			}
		})
		got := 0
		for v, err := range stream {
			if err != nil || v < 0 && got < 999 {
				t.Fatalf("got %v, %v after %d items", v, err, got)
			}
			if got++; got == 999 {
				close(release)
			}
		}
		if got != 1000 {
			t.Errorf("got %d items", got)
		}
	})
}

// An item goes to a free lane, however the others are busy: as the items come in, there
// are never more than those waiting that no lane is free for.
func TestForkFindsTheFreeLane(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 5))
			n := 2 + r.IntN(5)
			took := make([]time.Duration, 300)
			for i := range took {
				took[i] = time.Duration(1+r.IntN(1000)) * time.Microsecond
			}
			begun := make([]time.Time, len(took))
			start := time.Now()
			stream := seq.Fork(t.Context(), upTo(len(took), nil), n, func(int) seq.Stage[int, int] {
				return func(in ints) ints {
					return seq.Map(in, func(v int) (int, error) {
						begun[v] = time.Now()
						time.Sleep(took[v])
						return v, nil
					})
				}
			})
			if err := seq.Drain(stream); err != nil {
				t.Fatal(err)
			}
			free := make([]time.Duration, n) // when each lane is, by the model
			for i, d := range took {
				slices.Sort(free)
				if at := begun[i].Sub(start); at != free[0] {
					t.Fatalf("seed %d: item %d began at %v, a lane was free at %v", seed, i, at, free[0])
				}
				free[0] += d
			}
		})
	}
}

// The slowest branch sets the pace of Broadcast: no branch gets further ahead of it
// than its lane holds.
func TestSlowestBranchSetsThePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow, fast atomic.Int32
		counting := func(n *atomic.Int32, d time.Duration) seq.Stage[int, int] {
			return func(in ints) ints {
				return seq.Tap(in, func(int, error) {
					time.Sleep(d)
					n.Add(1)
					if ahead := fast.Load() - slow.Load(); ahead > 16 {
						t.Errorf("%d ahead", ahead)
					}
				})
			}
		}
		n, err := seq.Count(seq.Broadcast(t.Context(), upTo(100, nil), counting(&slow, time.Second), counting(&fast, 0)))
		if n != 200 || err != nil {
			t.Errorf("got %d items, %v", n, err)
		}
	})
}

// Branches may change the type of the items, and be concurrent stages themselves.
func TestBranchesOfAnotherType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := func(format string) seq.Stage[int, string] {
			return func(in ints) iter.Seq2[string, error] {
				return seq.MapConcurrent(t.Context(), in, 3, func(_ context.Context, v int) (string, error) {
					time.Sleep(time.Duration(v%3) * time.Second)
					return fmt.Sprintf(format, v), nil
				})
			}
		}
		got, err := seq.Collect(seq.Branch(t.Context(), upTo(6, nil), func(v int, _ error) int { return v % 2 }, text("even %d"), text("odd %d")))
		slices.Sort(got)
		if want := []string{"even 0", "even 2", "even 4", "odd 1", "odd 3", "odd 5"}; !slices.Equal(got, want) || err != nil {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

// A branch that is nil when it is built panics with its stage's name, and what the
// branches before it have started ends.
func TestBranchThatBuildsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := endOf(func() {
			seq.Drain(seq.Broadcast(t.Context(), seq.Of(1), identity, func(ints) ints { return nil }))
		})
		if end.panic != "seq.Broadcast: the stream must not be nil" {
			t.Errorf("ended with %v", end)
		}
	})
}
