package seq_test

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"

	"example.com/pipeline/seq"
)

// A step is a stage together with its model. Both get the same arg, which picks
// among the variants of the step.
type step struct {
	name  string
	stage func(in iter.Seq2[int, error], arg int) iter.Seq2[int, error]
	model func(in []pair, arg int) []pair
	// ahead says that the stage may pull more than its output so far needs, so
	// that the number of pulls is only bounded by the length of the script.
	ahead bool
}

var steps = []step{
	{"Map", func(in iter.Seq2[int, error], arg int) iter.Seq2[int, error] {
		return seq.Map(in, mapping(arg))
	}, modelMap, false},
	{"Filter", func(in iter.Seq2[int, error], arg int) iter.Seq2[int, error] {
		return seq.Filter(in, func(v int) bool { return v%3 != arg%3 })
	}, func(in []pair, arg int) []pair {
		return modelItems(in, func(v int) []pair {
			if v%3 != arg%3 {
				return []pair{{v: v}}
			}
			return nil
		})
	}, false},
	{"FlatMap", func(in iter.Seq2[int, error], arg int) iter.Seq2[int, error] {
		return seq.FlatMap(in, func(v int) iter.Seq2[int, error] { return script(subStream(v, arg)).stream(nil, false) })
	}, func(in []pair, arg int) []pair {
		return modelItems(in, func(v int) []pair { return subStream(v, arg) })
	}, false},
	{"Flatten", func(in iter.Seq2[int, error], arg int) iter.Seq2[int, error] {
		return seq.Flatten(seq.Map(in, func(v int) ([]int, error) { return subItems(v, arg), nil }))
	}, func(in []pair, arg int) []pair {
		return modelItems(in, func(v int) (out []pair) {
			for _, u := range subItems(v, arg) {
				out = append(out, pair{v: u})
			}
			return out
		})
	}, false},
	{"Take", func(in iter.Seq2[int, error], arg int) iter.Seq2[int, error] {
		return seq.Take(in, arg%7)
	}, func(in []pair, arg int) (out []pair) {
		n := arg % 7
		for _, p := range in {
			if n == 0 {
				break
			}
			if out = append(out, p); p.err == nil {
				n--
			}
		}
		return out
	}, false},
	{"Skip", func(in iter.Seq2[int, error], arg int) iter.Seq2[int, error] {
		return seq.Skip(in, arg%4)
	}, func(in []pair, arg int) []pair {
		n := arg % 4
		return modelItems(in, func(v int) []pair {
			if n--; n >= 0 {
				return nil
			}
			return []pair{{v: v}}
		})
	}, false},
	{"TakeWhile", func(in iter.Seq2[int, error], arg int) iter.Seq2[int, error] {
		return seq.TakeWhile(in, func(v int) bool { return v%16 != arg%16 })
	}, func(in []pair, arg int) []pair {
		for i, p := range in {
			if p.err == nil && p.v%16 == arg%16 {
				return in[:i]
			}
		}
		return in
	}, false},
	{"SkipWhile", func(in iter.Seq2[int, error], arg int) iter.Seq2[int, error] {
		return seq.SkipWhile(in, func(v int) bool { return v%16 != arg%16 })
	}, func(in []pair, arg int) []pair {
		begun := false
		return modelItems(in, func(v int) []pair {
			if begun = begun || v%16 == arg%16; !begun {
				return nil
			}
			return []pair{{v: v}}
		})
	}, false},
	{"Scan", func(in iter.Seq2[int, error], arg int) iter.Seq2[int, error] {
		return seq.Scan(in, arg, func(a, v int) int { return a + v })
	}, func(in []pair, arg int) []pair {
		return modelItems(in, func(v int) []pair {
			arg += v
			return []pair{{v: arg}}
		})
	}, false},
	{"Tap", func(in iter.Seq2[int, error], _ int) iter.Seq2[int, error] {
		return seq.Tap(in, func(int, error) {})
	}, func(in []pair, _ int) []pair { return in }, false},
	{"Catch", func(in iter.Seq2[int, error], arg int) iter.Seq2[int, error] {
		return seq.Catch(in, handling(arg))
	}, modelCatch, false},
	{"Concat", func(in iter.Seq2[int, error], arg int) iter.Seq2[int, error] {
		return seq.Concat(seq.Of(arg), in, in, seq.Of(1, 2))
	}, func(in []pair, arg int) (out []pair) {
		return untilFinal(append(append(append([]pair{{v: arg}}, in...), in...), pair{v: 1}, pair{v: 2}))
	}, true}, // pulls one script twice
	{"MergeSorted", func(in iter.Seq2[int, error], arg int) iter.Seq2[int, error] {
		return seq.MergeSorted(compareOctets, script(sideScript(arg)).stream(nil, false), in, in)
	}, func(in []pair, arg int) []pair {
		return modelMergeSorted(sideScript(arg), in, in)
	}, true},
	{"Zip", func(in iter.Seq2[int, error], arg int) iter.Seq2[int, error] {
		return seq.Zip(in, script(sideScript(arg)).stream(nil, false), joining(arg))
	}, modelZip, false},
}

var errCallback = errors.New("callback failed")

// mapping is a callback of Map with every kind of result.
func mapping(arg int) func(int) (int, error) {
	return func(v int) (int, error) {
		switch (v + arg) % 7 {
		case 0:
			return -1, errCallback
		case 1:
			return -1, fmt.Errorf("not this one: %w", seq.ErrSkip)
		}
		return 2*v + arg, nil
	}
}

func modelMap(in []pair, arg int) []pair {
	return modelItems(in, func(v int) []pair { return modelCall(v)(mapping(arg)(v)) })
}

// modelCall is what a callback's results for item become in the stream.
func modelCall(item any) func(int, error) []pair {
	return func(v int, err error) []pair {
		switch {
		case err == nil:
			return []pair{{v: v}}
		case errors.Is(err, seq.ErrSkip):
			return nil
		}
		return []pair{{err: &seq.ItemError{Item: item, Err: err}}}
	}
}

// modelItems replaces each item by what expand makes of it.
func modelItems(in []pair, expand func(int) []pair) (out []pair) {
	for _, p := range in {
		if p.err != nil {
			out = append(out, p)
		} else {
			out = append(out, expand(p.v)...)
		}
	}
	return untilFinal(out)
}

// untilFinal cuts what follows a final error.
func untilFinal(in []pair) []pair {
	for i, p := range in {
		if p.err != nil && !seq.IsItemError(p.err) {
			return in[:i+1]
		}
	}
	return in
}

func subItems(v, arg int) []int {
	return []int{v, v + 1, v + arg}[:(v+arg)&3]
}

// subStream is empty, or has items, an item error, or a final error and more.
func subStream(v, arg int) (out []pair) {
	for _, u := range subItems(v&0xff, arg) {
		out = append(out, pair{v: u})
	}
	switch (v + arg) % 11 {
	case 0:
		out = append(out, pair{err: &seq.ItemError{Item: v, Err: errors.New("sub-item")}}, pair{v: v})
	case 1:
		out = append(out, pair{err: errors.New("sub-stream")}, pair{v: v})
	}
	return out
}

// handling is a callback of Catch with every kind of result.
func handling(arg int) func(error) (int, error) {
	return func(err error) (int, error) {
		switch (len(err.Error()) + arg) % 6 {
		case 0:
			return arg, nil
		case 1:
			return -1, seq.ErrSkip
		case 2:
			return -1, errCallback
		case 3:
			return -1, fmt.Errorf("again: %w", err)
		case 4:
			return -1, &seq.ItemError{Item: "other", Err: errCallback}
		}
		return -1, err
	}
}

func modelCatch(in []pair, arg int) (out []pair) {
	for _, p := range in {
		if p.err == nil {
			out = append(out, p)
			continue
		}
		v, err := handling(arg)(p.err)
		isItem := seq.IsItemError(p.err)
		switch {
		case err == nil:
			out = append(out, pair{v: v})
		case errors.Is(err, seq.ErrSkip):
		case isItem:
			failed := itemErrors(p.err)
			held := 0 // the item errors from here on are still in err
			for held < len(failed) && !slices.Contains(itemErrors(err), failed[held]) {
				held++
			}
			for _, e := range slices.Backward(failed[:held]) {
				err = &seq.ItemError{Item: e.Item, Err: err}
			}
			out = append(out, pair{err: err})
		case seq.IsItemError(err):
			out = append(out, pair{err: errors.Join(err)})
		default:
			out = append(out, pair{err: err})
		}
		if !isItem {
			break
		}
	}
	return out
}

// itemErrors returns the item errors in err's chain, the outermost first.
func itemErrors(err error) (chain []*seq.ItemError) {
	for ; err != nil; err = errors.Unwrap(err) {
		if e, ok := err.(*seq.ItemError); ok {
			chain = append(chain, e)
		}
	}
	return chain
}

// sideScript is the other input of a stage with two.
func sideScript(arg int) []pair {
	out := []pair{{v: 3}, {v: 20}, {v: 20}, {v: 77}, {v: 1000}}[:arg%6]
	switch arg / 6 % 3 {
	case 1:
		out = append([]pair{{err: &seq.ItemError{Item: arg, Err: errors.New("side")}}}, out...)
	case 2:
		out = append(out, pair{err: errors.New("side ended")})
	}
	return out
}

func joining(arg int) func(a, b int) (int, error) {
	return func(a, b int) (int, error) { return mapping(arg)(a + b) }
}

func modelZip(in []pair, arg int) (out []pair) {
	side := sideScript(arg)
	for _, p := range in {
		if p.err != nil {
			out = append(out, p)
			continue
		}
		for len(side) > 0 && side[0].err != nil {
			out, side = append(out, side[0]), side[1:]
		}
		if len(side) == 0 {
			break
		}
		both := seq.Pair[int, int]{A: p.v, B: side[0].v}
		out = append(out, modelCall(both)(joining(arg)(both.A, both.B))...)
		side = side[1:]
	}
	return untilFinal(out)
}

// compareOctets finds different items equal, so that a merge that is not stable shows.
func compareOctets(a, b int) int { return cmp.Compare(a/8, b/8) }

// modelMergeSorted picks the least head again and again, and says an item error as
// soon as the stream has come to it.
func modelMergeSorted(ins ...[]pair) (out []pair) {
	settle := func(i int) {
		for len(ins[i]) > 0 && ins[i][0].err != nil {
			out, ins[i] = append(out, ins[i][0]), ins[i][1:]
		}
	}
	for i := range ins {
		settle(i)
	}
	for {
		least := -1
		for i, in := range ins {
			if len(in) > 0 && (least < 0 || compareOctets(in[0].v, ins[least][0].v) < 0) {
				least = i
			}
		}
		if least < 0 {
			return untilFinal(out)
		}
		out, ins[least] = append(out, ins[least][0]), ins[least][1:]
		settle(least)
	}
}
