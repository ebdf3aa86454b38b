package seq

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// clipLimit is how many bytes of an item an error message shows.
const clipLimit = 80

// clip prints an item for an error message: enough to recognize it, never a
// megabyte of it, and without printing the megabyte first. It prints like %v, but
// quotes a string and shows bytes in hexadecimal, and a func, a chan or a pointer
// within the item as its type: addresses differ from run to run, and say nothing.
func clip(item any) string {
	switch v := item.(type) {
	case string:
		return cut([]byte(strconv.Quote(v[:min(len(v), clipLimit+1)])))
	case []byte:
		return cut(fmt.Appendf(nil, "%x", v[:min(len(v), clipLimit)]))
	}
	return cut(appendValue(nil, reflect.ValueOf(item), 0))
}

// cut shortens what was printed to the limit, at the start of a rune.
func cut(b []byte) string {
	if len(b) <= clipLimit {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	end := clipLimit
	for end > 0 && !utf8.RuneStart(b[end]) {
		end--
	}
	return strings.ToValidUTF8(string(b[:end]), "\uFFFD") + "…"
}

// appendValue prints v until b is longer than the limit.
func appendValue(b []byte, v reflect.Value, depth int) []byte {
	if len(b) > clipLimit {
		return b
	}
	if v.IsValid() && v.CanInterface() {
		switch x := v.Interface().(type) {
		case fmt.Formatter, error, fmt.Stringer:
			return fmt.Append(b, x) // which survives a method that panics
		}
	}
	switch v.Kind() {
	case reflect.String:
		s := v.String()
		return append(b, s[:min(len(s), clipLimit+1)]...)
	case reflect.Slice, reflect.Array:
		return appendList(b, '[', ']', v.Len(), func(b []byte, i int) []byte {
			return appendValue(b, v.Index(i), depth+1)
		})
	case reflect.Struct:
		return appendList(b, '{', '}', v.NumField(), func(b []byte, i int) []byte {
			return appendValue(b, v.Field(i), depth+1)
		})
	case reflect.Map:
		return appendMap(b, v, depth)
	case reflect.Interface:
		if !v.IsNil() {
			return appendValue(b, v.Elem(), depth)
		}
	case reflect.Pointer:
		// Only the outermost is followed, as fmt does, so that a cycle ends.
		if !v.IsNil() && depth == 0 {
			return appendValue(append(b, '&'), v.Elem(), depth+1)
		}
		return appendType(b, v)
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return appendType(b, v)
	case reflect.Invalid:
		return append(b, "<nil>"...)
	}
	return fmt.Append(b, v)
}

// appendType prints the type of v in place of its address.
func appendType(b []byte, v reflect.Value) []byte {
	if v.IsNil() {
		return append(b, "<nil>"...)
	}
	return append(b, v.Type().String()...)
}

func appendList(b []byte, open, end byte, n int, element func([]byte, int) []byte) []byte {
	b = append(b, open)
	for i := 0; i < n && len(b) <= clipLimit; i++ {
		if i > 0 {
			b = append(b, ' ')
		}
		b = element(b, i)
	}
	return append(b, end)
}

// appendMap sorts the entries, so that the same map is always the same text, or
// only counts them where sorting would take long.
func appendMap(b []byte, v reflect.Value, depth int) []byte {
	if v.Len() > clipLimit {
		return fmt.Appendf(b, "map of %d entries", v.Len())
	}
	entries := make([]string, 0, v.Len())
	for it := v.MapRange(); it.Next(); {
		e := append(appendValue(nil, it.Key(), depth+1), ':')
		entries = append(entries, string(appendValue(e, it.Value(), depth+1)))
	}
	slices.Sort(entries)
	return appendList(append(b, "map"...), '[', ']', len(entries), func(b []byte, i int) []byte {
		return append(b, entries[i]...)
	})
}

// panicText prints the value of a panic as the runtime would, but not an address.
func panicText(value any) string {
	switch value.(type) {
	case string, fmt.Formatter, error, fmt.Stringer:
		return fmt.Sprint(value)
	}
	return clip(value)
}
