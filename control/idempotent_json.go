package control

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// errNoResult says that a call was made whose result is not known any more.
var errNoResult = errors.New("JSON cannot hold it, so it was not kept")

// decode returns a stored result. It does not help to ask again where that fails.
func decode[U any](key string, data []byte) (result U, err error) {
	var none U
	if len(data) == 0 {
		return none, Permanent(fmt.Errorf("control.Idempotent: there is no result of key %q, whose call was made: %w", key, errNoResult))
	}
	if err := json.Unmarshal(data, &result); err != nil {
		return none, Permanent(fmt.Errorf("control.Idempotent: the stored result of key %q is of another type: %w", key, err))
	}
	return result, nil
}

// isJSON reports whether JSON can hold values of type t, as far as its type says. It
// calls no method of the type. within are the types around it.
func isJSON(t reflect.Type, within []reflect.Type) bool {
	if marshals(t) || marshals(reflect.PointerTo(t)) || slices.Contains(within, t) {
		return true
	}
	within = append(within, t)
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return false
	case reflect.Map:
		k := t.Key()
		return (k.Kind() == reflect.String || isInteger(k.Kind()) || marshals(k)) && isJSON(t.Elem(), within)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return isJSON(t.Elem(), within)
	case reflect.Struct:
		for f := range t.Fields() {
			if isKept(f) && !isJSON(f.Type, within) {
				return false
			}
		}
	}
	return true
}

// isKept reports whether JSON takes notice of a field even where it is empty.
func isKept(f reflect.StructField) bool {
	tag := f.Tag.Get("json")
	return (f.IsExported() || f.Anonymous) && tag != "-" && !strings.Contains(tag, ",omit")
}

func isInteger(k reflect.Kind) bool { return k >= reflect.Int && k <= reflect.Uintptr }

func marshals(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}
