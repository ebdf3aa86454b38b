package seqtest_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"example.com/pipeline/seq"
	"example.com/pipeline/seq/seqtest"
)

// plain is the contract of a stage without a context that passes every item.
func plain(build func(in ints, p probe) ints) contract {
	return contract{NoContext: true, Stage: func(_ context.Context, in ints, p probe) ints {
		if in == nil {
			panic("seqtest_test: the stream must not be nil")
		}
		return build(in, p)
	}}
}

// polling is the contract of a stage that looks at ctx between items.
func polling(run func(ctx context.Context, in ints, p probe, yield func(int, error) bool)) contract {
	return contract{Polls: true, Stage: func(ctx context.Context, in ints, p probe) ints {
		if in == nil {
			panic("seqtest_test: the stream must not be nil")
		}
		return func(yield func(int, error) bool) { run(ctx, in, p, yield) }
	}}
}

// passing is a stage that passes its pairs to each, which may tamper with them.
func passing(each func(v int, err error, yield func(int, error) bool) bool) contract {
	return plain(func(in ints, _ probe) ints {
		return func(yield func(int, error) bool) {
			in(func(v int, err error) bool { return each(v, err, yield) })
		}
	})
}

func isFinal(err error) bool { return err != nil && !seq.IsItemError(err) }

// brokenStages run in the goroutine of the loop.
var brokenStages = []broken{
	{"pulls when it is built", plain(func(in ints, _ probe) ints {
		items, err := seq.Collect(in)
		return seq.Concat(seq.Of(items...), failing(err))
	}), rules(seqtest.Lazy), "started its source"},

	{"starts a goroutine when it is built", plain(func(in ints, _ probe) ints {
		go time.Sleep(time.Hour)
		return in
	}), rules(seqtest.Lazy), "left a goroutine behind"},

	{"takes one too many", contract{NoContext: true, Takes: 5, Stage: func(_ context.Context, in ints, _ probe) ints {
		if in == nil {
			panic("nil")
		}
		return func(yield func(int, error) bool) {
			n := 0
			for v, err := range in {
				if err == nil {
					n++
				}
				if n > 5 || !yield(v, err) {
					return
				}
			}
		}
	}}, rules(seqtest.ReadAhead), "want at most the 5 that it takes"},

	{"reads one ahead", plain(func(in ints, _ probe) ints {
		return func(yield func(int, error) bool) {
			next, stop := iter.Pull2(in)
			defer stop()
			v, err, ok := next()
			for ok {
				v1, err1, ok1 := next()
				if !yield(v, err) {
					return
				}
				v, err, ok = v1, err1, ok1
			}
		}
	}), rules(seqtest.ReadAhead, seqtest.Prompt), ""},

	{"reorders", plain(func(in ints, _ probe) ints {
		return func(yield func(int, error) bool) {
			items, err := seq.Collect(in)
			slices.Reverse(items)
			seq.Concat(seq.Of(items...), failing(err))(yield)
		}
	}), rules(seqtest.Result), "output 1 is item 8, want item 1"},

	{"loses an item", passing(func(v int, err error, yield func(int, error) bool) bool {
		return v == 8 || yield(v, err)
	}), rules(seqtest.Result), "output 8 of 8 is missing"},

	{"swallows item errors", passing(func(v int, err error, yield func(int, error) bool) bool {
		return seq.IsItemError(err) || yield(v, err)
	}), rules(seqtest.Errors), "was swallowed"},

	{"swallows final errors", passing(func(v int, err error, yield func(int, error) bool) bool {
		return !isFinal(err) && yield(v, err)
	}), rules(seqtest.Errors), "was swallowed"},

	{"ends at an item error", passing(func(v int, err error, yield func(int, error) bool) bool {
		return yield(v, err) && err == nil
	}), rules(seqtest.Errors), ""},

	{"wraps errors", passing(func(v int, err error, yield func(int, error) bool) bool {
		if err != nil {
			err = fmt.Errorf("stage: %w", err)
		}
		return yield(v, err)
	}), rules(seqtest.Errors), "was wrapped"},

	{"moves errors to the end", plain(func(in ints, _ probe) ints {
		return func(yield func(int, error) bool) {
			var errs []error
			for v, err := range in {
				if seq.IsItemError(err) {
					errs = append(errs, err)
				} else if !yield(v, err) {
					return
				}
			}
			for _, err := range errs {
				if !yield(0, err) {
					return
				}
			}
		}
	}), rules(seqtest.Errors), "moved"},

	{"doubles errors", passing(func(v int, err error, yield func(int, error) bool) bool {
		return yield(v, err) && (err == nil || isFinal(err) || yield(v, err))
	}), rules(seqtest.Errors), "came out 2 times"},

	{"goes on after a final error", plain(func(in ints, _ probe) ints {
		return func(yield func(int, error) bool) {
			final := false
			in(func(v int, err error) bool {
				final = isFinal(err)
				return yield(v, err)
			})
			if final {
				yield(9, nil)
			}
		}
	}), rules(seqtest.Errors), "after all 1 outputs"},

	{"loses the callback's error", plain(func(in ints, p probe) ints {
		return seq.Map(in, func(x int) (int, error) { p.Try(x); return x, nil })
	}), rules(seqtest.Errors), "callback that fails"},

	{"takes the callback's error for final", plain(func(in ints, p probe) ints {
		return func(yield func(int, error) bool) {
			in(func(v int, err error) bool {
				if err == nil {
					if err = p.Try(v); err != nil {
						yield(0, err)
						return false
					}
				}
				return yield(v, err)
			})
		}
	}), rules(seqtest.Errors), "callback that fails"},

	{"yields a value beside an error", passing(func(v int, err error, yield func(int, error) bool) bool {
		if err != nil {
			v = 7
		}
		return yield(v, err)
	}), rules(seqtest.Pairs), "has the value 7 beside its error"},

	{"uses the value beside an error", plain(func(in ints, p probe) ints {
		return func(yield func(int, error) bool) {
			in(func(v int, err error) bool {
				if p.Call(v); err != nil {
					v = 0
				}
				return yield(v, err)
			})
		}
	}), rules(seqtest.Pairs), "the callback was given that value"},

	{"keeps its state for the second loop", func() contract {
		c := plain(func(in ints, _ probe) ints {
			n := 0
			return func(yield func(int, error) bool) {
				in(func(v int, err error) bool {
					if err == nil {
						n++
					}
					return yield(v, err) && n < 5
				})
			}
		})
		c.Takes = 5
		return c
	}(), rules(seqtest.Reuse), "in a second loop"},

	{"shares its state between two loops", func() contract {
		c := plain(func(in ints, _ probe) ints {
			sum := 0
			return func(yield func(int, error) bool) {
				sum = 0
				in(func(v int, err error) bool {
					if err != nil {
						return yield(0, err)
					}
					sum += v
					return yield(sum, nil)
				})
			}
		})
		c.Want = func(items []int, _ seqtest.Then) []int {
			sum, sums := 0, []int(nil)
			for _, v := range items {
				sum += v
				sums = append(sums, sum)
			}
			return sums
		}
		return c
	}(), rules(seqtest.Reuse), "of two loops"},

	{"collects before it yields", plain(func(in ints, _ probe) ints {
		return func(yield func(int, error) bool) {
			var pairs []pair
			in(func(v int, err error) bool { pairs = append(pairs, pair{v, err}); return true })
			for _, p := range pairs {
				if !yield(p.v, p.err) {
					return
				}
			}
		}
	}), rules(seqtest.ReadAhead, seqtest.Prompt), ""},

	{"ignores ctx", contract{Stage: func(_ context.Context, in ints, _ probe) ints {
		if in == nil {
			panic("nil")
		}
		return seq.Map(in, func(x int) (int, error) { return x, nil })
	}}, rules(seqtest.Context), "with a context that was cancelled before the loop, the next output was item 1"},

	{"stops an iter.Pull over the body's panic", plain(func(in ints, _ probe) ints {
		return func(yield func(int, error) bool) {
			next, stop := iter.Pull2(in)
			defer stop()
			for v, err, ok := next(); ok && yield(v, err); v, err, ok = next() {
			}
		}
	}), rules(seqtest.Panics), "covers that of the body"},

	{"passes on the error of an interrupted callback", polling(func(ctx context.Context, in ints, p probe, yield func(int, error) bool) {
		in(func(v int, err error) bool {
			if end := seq.ContextError(ctx); end != nil {
				yield(0, end)
				return false
			}
			if err == nil {
				if err = p.TryContext(ctx, v); err != nil {
					v, err = 0, &seq.ItemError{Item: v, Err: err}
				}
			}
			return yield(v, err)
		})
	}), rules(seqtest.Context), "while callbacks wait for that"},

	{"adds its own error to that of the source", polling(func(ctx context.Context, in ints, _ probe, yield func(int, error) bool) {
		more := true
		in(func(v int, err error) bool {
			if end := seq.ContextError(ctx); end != nil && err == nil {
				return false
			}
			more = yield(v, err)
			return more
		})
		if err := seq.ContextError(ctx); err != nil && more {
			yield(0, err)
		}
	}), rules(seqtest.Context), "looks at it, too, the error of the context was yielded twice"},

	{"holds item errors back", plain(func(in ints, _ probe) ints {
		return func(yield func(int, error) bool) {
			var held error
			release := func() bool {
				err := held
				held = nil
				return err == nil || yield(0, err)
			}
			more := true
			in(func(v int, err error) bool {
				if more = release(); more && seq.IsItemError(err) {
					held = err
					return true
				}
				more = more && yield(v, err)
				return more
			})
			if more {
				release()
			}
		}
	}), rules(seqtest.Prompt), "the item error \"item 1: planned item error 1\" (*seq.ItemError) has not come"},

	{"recovers the body's panic", plain(func(in ints, _ probe) ints {
		return func(yield func(int, error) bool) {
			defer func() { recover() }()
			in(yield)
		}
	}), rules(seqtest.Panics), ""},

	{"accepts a nil stream", contract{NoContext: true, Stage: func(_ context.Context, in ints, _ probe) ints {
		return func(yield func(int, error) bool) { in(yield) }
	}}, rules(seqtest.Misuse), "nil stream"},

	{"leaves its iter.Pull running", plain(func(in ints, _ probe) ints {
		return func(yield func(int, error) bool) {
			next, _ := iter.Pull2(in)
			for v, err, ok := next(); ok && yield(v, err); v, err, ok = next() {
			}
		}
	}), rules(seqtest.Joined), "after a break at output 1"},
}

// failing is a stream of the error, or an empty one.
func failing(err error) ints {
	if err == nil {
		return seq.Of[int]()
	}
	return seq.Fail[int](err)
}
