package seq_test

import (
	"slices"
)

// An outcome is what a program may yield, of a stream whose order is not promised as
// a whole: lanes that keep their order each, with none between them, and then how the
// stream ends.
type outcome struct {
	lanes [][]pair // items and item errors
	// finals are the final errors that the stream may end with, quiet says that it may
	// end with none. Exactly one of these holds unless partial.
	finals []pair
	quiet  bool
	// partial says that a final error has overtaken what came from elsewhere: any pairs
	// of the lanes may be missing.
	partial bool
}

func isFinal(p pair) bool { return p.err != nil && !isItem(p) }

// ordered makes an outcome of a stream whose order is promised.
func ordered(list []pair) outcome {
	if n := len(list); n > 0 && isFinal(list[n-1]) {
		return outcome{lanes: [][]pair{list[:n-1]}, finals: list[n-1:]}
	}
	return outcome{lanes: [][]pair{list}, quiet: true}
}

// list returns the pairs of a stream whose order is promised; ok is false for others.
func (o outcome) list() (list []pair, ok bool) {
	if o.partial || len(o.lanes) > 1 {
		return nil, false
	}
	return slices.Concat(append(slices.Clone(o.lanes), o.finals)...), true
}

// all returns all pairs but the final error.
func (o outcome) all() []pair { return slices.Concat(o.lanes...) }

// each replaces each pair by what f makes of it.
func (o outcome) each(f func(pair) []pair) outcome {
	if list, ok := o.list(); ok {
		var out []pair
		for _, p := range list {
			out = append(out, untilFinal(f(p))...)
			if isFinal(p) || len(out) > 0 && isFinal(out[len(out)-1]) {
				break
			}
		}
		return ordered(out)
	}
	res := outcome{partial: o.partial, quiet: o.quiet}
	for _, lane := range o.lanes {
		var out []pair
		for _, p := range lane {
			out = append(out, untilFinal(f(p))...)
			if len(out) > 0 && isFinal(out[len(out)-1]) {
				break
			}
		}
		res = res.add(out)
	}
	for _, p := range o.finals {
		out := untilFinal(f(p))
		if n := len(out); n > 0 && isFinal(out[n-1]) {
			res.finals = append(res.finals, out...)
			continue
		}
		res.quiet = true
		for _, p := range out { // an item in place of the error
			res.lanes = append(res.lanes, []pair{p})
		}
	}
	res.partial = res.partial || len(res.finals) > 1 || len(res.finals) == 1 && res.quiet
	return res
}

// add adds a lane. A final error in it ends the whole stream, whatever the others
// have yielded by then.
func (o outcome) add(lane []pair) outcome {
	if n := len(lane); n > 0 && isFinal(lane[n-1]) {
		o.finals = append(slices.Clone(o.finals), lane[n-1])
		o.quiet = o.quiet && o.partial // of what may be missing, this error may be
		o.partial = true
		lane = lane[:n-1]
	}
	o.lanes = append(slices.Clone(o.lanes), lane)
	return o
}

// scatter gives up the order: of all pairs, or only of the item errors.
func (o outcome) scatter(items bool) outcome {
	var lanes [][]pair
	for _, lane := range o.lanes {
		var kept []pair
		for _, p := range lane {
			if items || p.err != nil {
				lanes = append(lanes, []pair{p})
			} else {
				kept = append(kept, p)
			}
		}
		lanes = append(lanes, kept)
	}
	// An empty lane more, so that nobody takes this for a stream with an order.
	o.lanes = append(lanes, nil, nil)
	return o
}

// split divides each lane by route.
func (o outcome) split(n int, route func(pair) int) []outcome {
	parts := make([]outcome, n)
	for i := range parts {
		parts[i] = outcome{quiet: true}
		for _, lane := range o.lanes {
			var own []pair
			for _, p := range lane {
				if route(p) == i {
					own = append(own, p)
				}
			}
			parts[i].lanes = append(parts[i].lanes, own)
		}
	}
	return parts
}

// union is the outcome of the branches of a fan over o.
func (o outcome) union(parts []outcome) outcome {
	o.lanes = nil
	for _, p := range parts {
		o.lanes = append(o.lanes, p.lanes...)
	}
	return o.scatter(false)
}

// admits says why a stream with this outcome cannot have yielded got. left says that
// the consumer has left after got.
func (o outcome) admits(got []pair, left bool) string {
	if list, ok := o.list(); ok {
		switch {
		case left && len(got) <= len(list):
			list = list[:len(got)]
		case left:
			return "there is more than there was to come"
		}
		if !slices.EqualFunc(got, list, equal) {
			return "it is not the same, or not in the same order"
		}
		return ""
	}
	var final []pair
	if n := len(got); n > 0 && isFinal(got[n-1]) {
		got, final = got[:n-1], got[n-1:]
	}
	all := o.all()
	missing := make(map[string]int)
	for _, p := range all {
		missing[p.String()]++
	}
	for _, p := range got {
		missing[p.String()]--
		if missing[p.String()] < 0 {
			return "there is too much: " + p.String()
		}
	}
	switch {
	case len(final) > 0 && !slices.ContainsFunc(o.finals, func(p pair) bool { return equal(p, final[0]) }):
		return "it must not end with this error"
	case len(final) == 0 && !left && !o.quiet:
		return "the final error is missing"
	case len(final) == 0 && left || o.partial:
		return "" // any part will do
	case len(got) < len(all):
		return "there is not all of it"
	}
	for _, lane := range o.lanes {
		i := 0
		for _, p := range got {
			if i < len(lane) && equal(p, lane[i]) {
				i++
			}
		}
		if i < len(lane) {
			return "a lane has lost its order: " + lane[i].String()
		}
	}
	return ""
}

func equal(a, b pair) bool { return a.String() == b.String() }
