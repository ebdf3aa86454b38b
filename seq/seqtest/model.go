package seqtest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"example.com/pipeline/seq"
	"github.com/google/go-cmp/cmp"
)

// A due is a pair that the stage owes.
type due[U any] struct {
	value U
	err   error            // to come out as the same value
	is    func(error) bool // if set, decides in place of err
	after int              // pairs of the script that have to be pulled for it
}

// dues returns what the stage owes for the script, and whether it then ends. It
// is the contract put into code: Want for the items, each error where it stands
// between them, and nothing after a final one.
func (c *Contract[T, U]) dues(script []pair[T], then Then) (list []due[U], ends bool) {
	var items []T
	have := 0
	owe := func(then Then, after int) {
		want := c.want(items, then)
		for _, v := range want[min(have, len(want)):] {
			list = append(list, due[U]{value: v, after: after})
		}
		have = max(have, len(want))
	}
	owe(Idles, 0)
	for i, p := range script {
		switch {
		case p.err == nil:
			items = append(items, p.value)
			owe(Idles, i+1)
			if c.Takes > 0 && len(items) == c.Takes {
				return list, true
			}
		case p.final():
			owe(Fails, i+1)
			return append(list, due[U]{err: p.err, after: i + 1}), true
		default:
			for range max(1, c.ErrorCopies) {
				d := due[U]{err: p.err, after: i + 1}
				if _, ours := p.err.(callbackError); ours {
					d.is = c.isErrorOf(p.err)
				}
				list = append(list, d)
			}
		}
	}
	if then == Ends {
		owe(Ends, len(script)+1)
	}
	return list, then == Ends
}

func (c *Contract[T, U]) want(items []T, then Then) []U {
	if c.Want != nil {
		return c.Want(items[:len(items):len(items)], then)
	}
	out := make([]U, len(items))
	for i, v := range items {
		out[i] = any(v).(U)
	}
	return out
}

// A callbackError stands in a script for an item whose callback fails: what comes
// out is an ItemError of the stage's making.
type callbackError struct {
	*seq.ItemError
}

func (e callbackError) Unwrap() error { return e.ItemError }

func (c *Contract[T, U]) isErrorOf(err error) func(error) bool {
	want := err.(callbackError).ItemError
	return func(got error) bool {
		e, ok := errors.AsType[*seq.ItemError](got)
		return ok && seq.IsItemError(got) && errors.Is(got, want.Err) && cmp.Equal(want.Item, e.Item, c.options())
	}
}

// sameItem reports whether a and b are the same of Items. An item may hold what is
// never equal to itself, such as a func, or what no option expects to see.
func (c *Contract[T, U]) sameItem(a, b T) bool {
	return reflect.DeepEqual(a, b) || c.Compare != nil && cmp.Equal(a, b, c.options())
}

// options are those for cmp: every field counts, unless Compare says otherwise.
func (c *Contract[T, U]) options() cmp.Option {
	return append(cmp.Options{cmp.Exporter(func(reflect.Type) bool { return true })}, c.Compare...)
}

// diff compares what came out with what is due and describes the first
// difference; it returns "" where there is none.
func (c *Contract[T, U]) diff(got []pair[U], want []due[U]) string {
	want = c.arrange(got, want)
	for i, w := range want {
		switch {
		case i >= len(got):
			return fmt.Sprintf("output %d of %d is missing: want %v, the stage yielded nothing more", i+1, len(want), w)
		case !c.matches(w, got[i]):
			return fmt.Sprintf("output %d is %v, want %v%s", i+1, got[i], w, c.difference(w, got[i]))
		}
	}
	if len(got) > len(want) {
		return fmt.Sprintf("the stage yielded %v after all %d outputs that were due", got[len(want)], len(want))
	}
	return ""
}

// arrange puts what is due into the order in which it came out, so far as the
// contract allows: nothing, item errors alone, or all but a final error.
func (c *Contract[T, U]) arrange(got []pair[U], want []due[U]) []due[U] {
	if !c.Unordered && !c.ErrorsOvertake {
		return want
	}
	rest := slices.Clone(want)
	var last, ordered []due[U]
	if n := len(rest); n > 0 && isFinal(rest[n-1].err) {
		rest, last = rest[:n-1], rest[n-1:]
	}
	for _, p := range got {
		i := slices.IndexFunc(rest, func(w due[U]) bool {
			return c.matches(w, p) || !c.Unordered && p.err == nil && w.err == nil
		})
		if i >= 0 {
			ordered = append(ordered, rest[i])
			rest = slices.Delete(rest, i, i+1)
		}
	}
	return slices.Concat(ordered, rest, last)
}

// missing returns the first of want that is not among got.
func (c *Contract[T, U]) missing(got []pair[U], want []due[U]) (due[U], bool) {
	rest := slices.Clone(got)
	for _, w := range want {
		i := slices.IndexFunc(rest, func(p pair[U]) bool { return c.matches(w, p) })
		if i < 0 {
			return w, true
		}
		rest = slices.Delete(rest, i, i+1)
	}
	return due[U]{}, false
}

func (c *Contract[T, U]) matches(d due[U], p pair[U]) bool {
	switch {
	case d.is != nil:
		return p.err != nil && d.is(p.err)
	case d.err != nil || p.err != nil:
		return same(d.err, p.err)
	}
	return cmp.Equal(d.value, p.value, c.options())
}

// difference tells where two items differ, unless a number or a bool tells by itself.
func (c *Contract[T, U]) difference(d due[U], p pair[U]) string {
	if d.err != nil || p.err != nil {
		return ""
	}
	if k := reflect.ValueOf(&d.value).Elem().Kind(); reflect.Bool <= k && k <= reflect.Complex128 {
		return ""
	}
	return "; -want +got:\n" + cmp.Diff(d.value, p.value, c.options())
}

// same compares two errors as values; an error that cannot be compared is not
// one of ours.
func same(a, b error) bool {
	if a == nil || b == nil {
		return a == b
	}
	return reflect.TypeOf(a).Comparable() && reflect.TypeOf(b).Comparable() && a == b
}

func (d due[U]) String() string {
	if e, ours := d.err.(callbackError); ours {
		d.err = e.ItemError
	}
	return pair[U]{d.value, d.err}.String()
}

func (p pair[T]) String() string {
	switch {
	case p.err == nil:
		return "item " + itemText(p.value)
	case seq.IsItemError(p.err):
		return fmt.Sprintf("item error %q (%T)", clip(p.err.Error()), p.err)
	}
	return fmt.Sprintf("final error %q (%T)", clip(p.err.Error()), p.err)
}

// itemText is what an ItemError calls the item, which is short and holds no address.
func itemText(item any) string {
	text := (&seq.ItemError{Item: item, Err: errors.New("")}).Error()
	return clip(strings.TrimSuffix(strings.TrimPrefix(text, "item "), ": "))
}

func clip(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}

// lost tells what became of the errors of a script, in words that are more to the
// point than the first difference is.
func lost[U any](got []pair[U], want []due[U]) string {
	for i, w := range want {
		if w.err == nil || w.is != nil {
			continue
		}
		var found, wrapped, at int
		for j, p := range got {
			switch {
			case p.err == nil:
			case same(p.err, w.err):
				found, at = found+1, j
			case errors.Is(p.err, w.err):
				wrapped++
			}
		}
		copies := 0
		for _, v := range want {
			if same(v.err, w.err) {
				copies++
			}
		}
		switch {
		case found == 0 && wrapped > 0:
			return fmt.Sprintf("the %v was wrapped, not passed on untouched", w)
		case found < copies:
			return fmt.Sprintf("the %v was swallowed", w)
		case found > copies:
			return fmt.Sprintf("the %v came out %d times, want %d", w, found, copies)
		case at != i && copies == 1 && len(got) == len(want):
			return fmt.Sprintf("the %v moved: it is output %d, want output %d", w, at+1, i+1)
		}
	}
	return ""
}
