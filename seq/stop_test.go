package seq_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

type mapper = func(context.Context, int) (int, error)

// asking are the stages that ask before each callback. n callbacks run at once.
var asking = map[string]struct {
	ordered bool
	flat    bool // callbacks make streams
	stage   func(ctx context.Context, in ints, n, window int, fn mapper) ints
}{
	"MapConcurrent": {ordered: true, stage: func(ctx context.Context, in ints, n, window int, fn mapper) ints {
		return seq.MapConcurrent(ctx, in, n, fn, seq.Window(window))
	}},
	"MapUnordered": {stage: func(ctx context.Context, in ints, n, window int, fn mapper) ints {
		return seq.MapUnordered(ctx, in, n, fn, seq.Window(window))
	}},
	"MapKeyed": {ordered: true, stage: func(ctx context.Context, in ints, n, window int, fn mapper) ints {
		return seq.MapKeyed(ctx, in, n, func(v int) int { return v % (2 * n) }, fn, seq.Window(window))
	}},
	"FlatMapConcurrent": {ordered: true, flat: true, stage: func(ctx context.Context, in ints, n, window int, fn mapper) ints {
		return seq.FlatMapConcurrent(ctx, in, n, streamed(fn), seq.Window(window))
	}},
	"FlatMapUnordered": {flat: true, stage: func(ctx context.Context, in ints, n, window int, fn mapper) ints {
		return seq.FlatMapUnordered(ctx, in, n, streamed(fn), seq.Window(window))
	}},
	"Fork": {stage: func(ctx context.Context, in ints, n, _ int, fn mapper) ints {
		return seq.Fork(ctx, in, n, func(int) seq.Stage[int, int] {
			return func(in ints) ints { return seq.Map(in, func(v int) (int, error) { return fn(ctx, v) }) }
		})
	}},
}

// streamed makes a stream of what fn returns.
func streamed(fn mapper) func(context.Context, int) ints {
	return func(ctx context.Context, v int) ints {
		return func(yield func(int, error) bool) {
			if r, err := fn(ctx, v); err != nil {
				yield(0, &seq.ItemError{Item: v, Err: err})
			} else {
				yield(r, nil)
			}
		}
	}
}

// A stopper is a graceful stop that can be asked for.
type stopper struct{ stopped atomic.Bool }

var errAsked = errors.New("somebody asked for it")

func (s *stopper) err() error {
	if s.stopped.Load() {
		return errAsked
	}
	return nil
}

func (s *stopper) stop() { s.stopped.Store(true) }

// in returns ctx with the stopper in it.
func (s *stopper) in(ctx context.Context) context.Context { return seq.WithStop(ctx, s.err) }

// gated ends in after the stop.
func (s *stopper) gated(in ints) ints {
	return func(yield func(int, error) bool) {
		for v, err := range in {
			if !yield(v, err) || s.stopped.Load() {
				return
			}
		}
	}
}

// All that was pulled is in the window: what has begun finishes, nothing begins, and what
// was not begun comes out as an error.
func TestStopBeginsNothing(t *testing.T) {
	const n, ms = 4, time.Millisecond
	for name, s := range asking {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var stop stopper
				var pulled, begun, finished atomic.Int32
				ctx, at := stop.in(t.Context()), time.Now()
				call := func(ctx context.Context, v int) (int, error) {
					if stop.stopped.Load() {
						t.Errorf("item %d begins at %v", v, time.Since(at))
					}
					begun.Add(1)
					select {
					case <-time.After(100 * ms):
					case <-ctx.Done():
						t.Errorf("item %d is cut off", v)
					}
					finished.Add(1)
					return v, nil
				}
				time.AfterFunc(250*ms, stop.stop)
				var out, left []int
				for v, err := range s.stage(ctx, stop.gated(upTo(10_000, &pulled)), n, 256, call) {
					if err == nil {
						out = append(out, v)
						if len(left) > 0 && !s.ordered {
							t.Errorf("result %d comes after the error of %d", v, left[len(left)-1])
						}
						continue
					}
					item, ok := seq.FailedItem[int](err)
					if !ok || !errors.Is(err, seq.ErrStopped) || !errors.Is(err, errAsked) || !seq.IsItemError(err) {
						t.Errorf("error %v", err)
					}
					left = append(left, item)
				}
				if took := time.Since(at); took != 300*ms {
					t.Errorf("the loop took %v, want 300ms", took)
				}
				if len(out) != 3*n || int(begun.Load()) != 3*n || int(finished.Load()) != 3*n {
					t.Errorf("%d begun, %d finished, %d results, want %d of each", begun.Load(), finished.Load(), len(out), 3*n)
				}
				all := append(slices.Clone(out), left...)
				if !s.ordered {
					slices.Sort(all)
				}
				if len(all) != int(pulled.Load()) || !slices.IsSorted(all) || len(left) == 0 && !s.flat {
					t.Errorf("of %d pulled came %d results and %d errors: %v %v", pulled.Load(), len(out), len(left), out, left)
				}
			})
		})
	}
}

// Whatever the schedule is: nothing begins after the stop, what has begun finishes, and
// each item that was pulled comes out once.
func TestStopAtAnyInstant(t *testing.T) {
	schedules := 600
	if testing.Short() {
		schedules = 200
	}
	seed := rand.Uint64()
	for name, s := range asking {
		t.Run(name, func(t *testing.T) {
			for i := range schedules {
				rnd := rand.New(rand.NewPCG(seed, uint64(i)))
				synctest.Test(t, func(t *testing.T) {
					n, window := 1+rnd.IntN(4), 1+rnd.IntN(12)
					total, bodies := rnd.IntN(60), 1+rnd.IntN(4)
					pauses, works := 1+rnd.IntN(3), 1+rnd.IntN(20)
					errorEvery := 2 + rnd.IntN(10)
					pick := func(n int) time.Duration { return time.Duration(rnd.IntN(n)) * time.Millisecond }
					waits, takes, body := make([]time.Duration, total), make([]time.Duration, total), pick(bodies)
					for i := range total {
						waits[i], takes[i] = pick(pauses), pick(works)
					}
					end, gated := pick(100)+time.Microsecond, rnd.IntN(2) == 0 // at no instant at which anything else happens

					var stop stopper
					var pulled []int
					begun := make([]atomic.Bool, total)
					source := func(yield func(int, error) bool) {
						for i := range total {
							time.Sleep(waits[i])
							pulled = append(pulled, i)
							var err error
							if i%errorEvery == 1 {
								err = &seq.ItemError{Item: i, Err: errors.New("of the source")}
							}
							if !yield(i, err) {
								return
							}
						}
					}
					fn := func(ctx context.Context, v int) (int, error) {
						if stop.stopped.Load() {
							t.Errorf("item %d begins after the stop", v)
						}
						begun[v].Store(true)
						time.Sleep(takes[v])
						if ctx.Err() != nil {
							t.Errorf("item %d is cut off", v)
						}
						return v, nil
					}
					time.AfterFunc(end, stop.stop)
					in := ints(source)
					if gated {
						in = stop.gated(in)
					}
					var all []int
					late := false
					for v, err := range s.stage(stop.in(t.Context()), in, n, window, fn) {
						switch item, ok := seq.FailedItem[int](err); {
						case err == nil:
							if late && !s.ordered && (gated || name != "Fork") { // lanes do not say when they are at work
								t.Errorf("result %d comes after an error of what was not begun", v)
							}
							if !begun[v].Load() {
								t.Errorf("result %d of no call", v)
							}
							all = append(all, v)
						case !ok:
							t.Errorf("error %v", err)
						case errors.Is(err, seq.ErrStopped):
							late = true
							if begun[item].Load() || item%errorEvery == 1 {
								t.Errorf("item %d: %v, begun %t", item, err, begun[item].Load())
							}
							all = append(all, item)
						default:
							all = append(all, item)
						}
						time.Sleep(body)
					}
					if !s.ordered {
						slices.Sort(all)
					}
					if !slices.Equal(all, pulled) {
						t.Errorf("pulled %v, got %v", pulled, all)
					}
					if t.Failed() {
						t.Logf("seed %d, schedule %d: n %d, window %d, stop at %v, gated %t", seed, i, n, window, end, gated)
					}
				})
				if t.Failed() {
					return
				}
			}
		})
	}
}

// All items are refused at the same moment, by many workers, while the consumer looks.
func TestStopLosesNothing(t *testing.T) {
	const n = 8
	loops := 300
	if testing.Short() {
		loops = 100
	}
	for name, s := range asking {
		t.Run(name, func(t *testing.T) {
			for range loops {
				var stop stopper
				pulled, got := 0, 0
				source := func(yield func(int, error) bool) {
					for i := range 40 {
						pulled++
						if i == 20 {
							stop.stop()
						}
						if !yield(i, nil) {
							return
						}
					}
				}
				fn := func(_ context.Context, v int) (int, error) { return v, nil }
				for range s.stage(stop.in(t.Context()), ints(source), n, n, fn) {
					got++
				}
				if got != pulled {
					t.Fatalf("%d pulled, %d came out", pulled, got)
				}
			}
		})
	}
}

// The last call in flight returns just while the stage asks whether it is stopped, be it
// for the first time or the tenth: its result still comes before the errors of what was
// not begun.
func TestStopDuringALook(t *testing.T) {
	const aMoment = time.Microsecond // by the clock of the test: until all others wait
	for name, s := range asking {
		t.Run(name, func(t *testing.T) {
			for look := range int32(10) {
				synctest.Test(t, func(t *testing.T) {
					var stop stopper
					var looks atomic.Int32
					release := make(chan struct{})
					ctx := seq.WithStop(t.Context(), func() error {
						if stop.stopped.Load() && looks.Add(1) == look+1 {
							close(release)
							time.Sleep(aMoment)
						}
						return stop.err()
					})
					fn := func(_ context.Context, v int) (int, error) {
						if v > 0 {
							time.Sleep(time.Second)
							return v, nil
						}
						select {
						case <-release:
						case <-time.After(time.Minute): // there are not so many looks
						}
						return v, nil
					}
					time.AfterFunc(time.Second-aMoment, stop.stop)
					var all []int
					late := false
					for v, err := range s.stage(ctx, upTo(5, nil), 2, 5, fn) {
						item, refused := seq.FailedItem[int](err)
						if err != nil && !refused {
							t.Fatal(err)
						}
						if late = late || refused; late && !refused && !s.ordered {
							t.Errorf("look %d: result %d comes after an error of what was not begun", look, v)
						}
						all = append(all, max(v, item))
						time.Sleep(aMoment)
					}
					if !s.ordered {
						slices.Sort(all)
					}
					if !slices.Equal(all, []int{0, 1, 2, 3, 4}) {
						t.Errorf("look %d: got %v", look, all)
					}
				})
			}
		})
	}
}

// slow takes so long, and a little more, not all calls to one moment. It counts its calls.
func slow(took time.Duration, begun, finished *atomic.Int32) mapper {
	return func(ctx context.Context, v int) (int, error) {
		begun.Add(1)
		select {
		case <-time.After(took + time.Duration(v%4)*time.Millisecond):
			finished.Add(1)
			return v, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// A consumer that leaves with the first error cuts no call off, not even those of a
// stage further up; and the source need not end.
func TestStopAndLeave(t *testing.T) {
	const ms = time.Millisecond
	for name, s := range asking {
		if s.flat || name == "Fork" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var stop stopper
				var begun, finished atomic.Int32
				call := func(took time.Duration) mapper { return slow(took, &begun, &finished) }
				ctx, at := stop.in(t.Context()), time.Now()
				first := s.stage(ctx, upTo(1<<40, nil), 4, 64, call(100*ms))
				time.AfterFunc(210*ms, stop.stop) // calls of the first stage are in flight, and the second has a backlog
				var final error
				for _, err := range s.stage(ctx, first, 2, 64, call(40*ms)) {
					if final = err; err != nil {
						break
					}
				}
				if !errors.Is(final, seq.ErrStopped) || begun.Load() != finished.Load() {
					t.Errorf("%v: %d begun, %d finished", final, begun.Load(), finished.Load())
				}
				if took := time.Since(at); took < 300*ms || took > 320*ms {
					t.Errorf("the loop took %v", took)
				}
			})
		})
	}
}

// The end of ctx cuts what a stop would let finish, and a panic of the body does.
func TestStopIsCutByTheEndOfTheContext(t *testing.T) {
	const s1 = time.Second
	for name, s := range asking {
		if name == "Fork" { // its lanes' callbacks get no context of it
			continue
		}
		for _, way := range []string{"ctx", "ctx while it leaves", "panic"} {
			t.Run(name+", "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var stop stopper
					ctx, cancel := context.WithCancel(stop.in(t.Context()))
					defer cancel()
					at := time.Now()
					call := func(ctx context.Context, v int) (int, error) {
						if v == 0 {
							return v, nil
						}
						<-ctx.Done()
						return 0, ctx.Err()
					}
					time.AfterFunc(s1, stop.stop)
					time.AfterFunc(3*s1, cancel)
					var final error
					want := 3 * s1
					func() {
						defer func() { recover() }()
						for v, err := range s.stage(ctx, stop.gated(upTo(3, nil)), 2, 8, call) {
							final = err
							if v == 0 && err == nil && way != "ctx" {
								time.Sleep(2 * s1)
								if way == "panic" {
									panic("body")
								}
								break
							}
						}
					}()
					if way == "panic" || s.flat && way != "ctx" { // streams are left as ever
						want = 2 * s1
					}
					if took := time.Since(at); took != want {
						t.Errorf("the loop took %v, want %v", took, want)
					}
					if way == "ctx" && !errors.Is(final, context.Canceled) {
						t.Errorf("ended with %v", final)
					}
				})
			})
		}
	}
}

// What happens within a call that has begun is not stopped; the streams of a flat map
// are a part of the pipeline.
func TestStopWithinCallbacks(t *testing.T) {
	for name, s := range asking {
		if name == "Fork" {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			var stop stopper
			var stopped, went atomic.Int32
			call := func(ctx context.Context, v int) (int, error) {
				time.Sleep(time.Second)
				err := seq.ForEachConcurrent(ctx, upTo(10, nil), 2, func(context.Context, int) error { went.Add(1); return nil })
				if errors.Is(err, seq.ErrStopped) {
					stopped.Add(1)
				}
				return v, nil
			}
			time.AfterFunc(time.Second/2, stop.stop)
			seq.CollectAll(s.stage(stop.in(t.Context()), upTo(3, nil), 3, 8, call))
			if s.flat && stopped.Load() != 3 || !s.flat && went.Load() != 30 {
				t.Errorf("%s: %d of 3 were stopped, %d of 30 calls made", name, stopped.Load(), went.Load())
			}
		})
	}
}

func TestForEachConcurrentStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stop stopper
		var began, finished atomic.Int32
		time.AfterFunc(1500*time.Millisecond, stop.stop)
		err := seq.ForEachConcurrent(stop.in(t.Context()), stop.gated(upTo(100, nil)), 3, func(ctx context.Context, v int) error {
			began.Add(1)
			time.Sleep(time.Second)
			if ctx.Err() == nil {
				finished.Add(1)
			}
			return nil
		})
		if !errors.Is(err, seq.ErrStopped) || !seq.IsItemError(err) || began.Load() != 6 || finished.Load() != 6 {
			t.Errorf("%v after %d calls, %d finished; want ErrStopped after 6", err, began.Load(), finished.Load())
		}
	})
}

func TestWithStop(t *testing.T) {
	var outer, inner stopper
	ctx := outer.in(t.Context())
	both := inner.in(ctx)
	check := func(ctx context.Context, want bool) {
		t.Helper()
		if err := seq.Stopped(ctx); errors.Is(err, seq.ErrStopped) != want || (err != nil) != want || want && !errors.Is(err, errAsked) {
			t.Errorf("Stopped = %v, want %t", err, want)
		}
	}
	check(t.Context(), false)
	check(both, false)
	inner.stop()
	check(both, true)
	check(ctx, false)
	check(seq.WithStop(both, nil), false)
	check(outer.in(seq.WithStop(both, nil)), false)
	outer.stop()
	check(ctx, true)
	own := fmt.Errorf("mine: %w", seq.ErrStopped)
	if err := seq.Stopped(seq.WithStop(t.Context(), func() error { return own })); err != own {
		t.Errorf("Stopped = %v, want %v itself", err, own)
	}
	defer func() {
		if v := recover(); v != "seq.WithStop: ctx must not be nil" {
			t.Errorf("panic %v", v)
		}
	}()
	seq.WithStop(nil, nil)
}

// Catch leaves what is not done alone: its result is not known.
func TestCatchIsNotAskedAboutWhatIsNotDone(t *testing.T) {
	var stop stopper
	stop.stop()
	out := seq.MapConcurrent(stop.in(t.Context()), upTo(3, nil), 2, same)
	asked := 0
	_, err := seq.CollectAll(seq.Catch(out, func(err error) (int, error) { asked++; return 0, nil }))
	if asked != 0 || !errors.Is(err, seq.ErrStopped) {
		t.Errorf("asked %d times, %v", asked, err)
	}
	_, err = seq.Collect(seq.Catch(seq.Fail[int](seq.ErrStopped), func(err error) (int, error) { asked++; return 0, nil }))
	if asked != 1 || err != nil { // a final error is not about an item
		t.Errorf("asked %d times, %v", asked, err)
	}
}

func ExampleWithStop() {
	var stopped atomic.Bool // in a program: a control.Gate
	ctx := seq.WithStop(context.Background(), func() error {
		if stopped.Load() {
			return seq.ErrStopped
		}
		return nil
	})
	square := func(_ context.Context, v int) (int, error) {
		if v == 2 {
			stopped.Store(true)
		}
		return v * v, nil
	}
	for v, err := range seq.MapConcurrent(ctx, seq.Of(1, 2, 3, 4), 1, square) {
		fmt.Println(v, err)
	}
	// Output:
	// 1 <nil>
	// 4 <nil>
	// 0 item 3: seq: stopped before this item was begun
	// 0 item 4: seq: stopped before this item was begun
}

func ExampleStopped() {
	ctx := seq.WithStop(context.Background(), func() error { return seq.ErrStopped })
	fmt.Println(seq.Stopped(context.Background()))
	fmt.Println(seq.Stopped(ctx))
	// Output:
	// <nil>
	// seq: stopped before this item was begun
}

// Inside a Scope, too, a consumer that leaves cuts no call off, not even those of a stage
// further up; and the source, which waits for the Scope to end, is freed after them.
func TestStopAndLeaveAScope(t *testing.T) {
	const ms = time.Millisecond
	for name, s := range asking {
		if s.flat || name == "Fork" {
			continue
		}
		for _, nested := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, nested=%t", name, nested), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var stop stopper
					var begun, finished atomic.Int32
					call := func(took time.Duration) mapper { return slow(took, &begun, &finished) }
					ctx, at := stop.in(t.Context()), time.Now()
					pipeline := func(ctx context.Context) ints {
						source := func(yield func(int, error) bool) {
							for i := 0; i < 12 && yield(i, nil); i++ {
							}
							<-ctx.Done()
						}
						return s.stage(ctx, s.stage(ctx, source, 4, 64, call(100*ms)), 2, 64, call(40*ms))
					}
					build := pipeline
					if nested {
						build = func(ctx context.Context) ints { return seq.Scope(ctx, pipeline) }
					}
					time.AfterFunc(210*ms, stop.stop) // calls of the first stage are in flight, and the second has a backlog
					var final error
					for _, err := range seq.Scope(ctx, build) {
						if final = err; err != nil {
							break
						}
					}
					if !errors.Is(final, seq.ErrStopped) || begun.Load() != finished.Load() {
						t.Errorf("%v: %d begun, %d finished", final, begun.Load(), finished.Load())
					}
					if took := time.Since(at); took < 300*ms || took > 320*ms {
						t.Errorf("the loop took %v", took)
					}
				})
			})
		}
	}
}
