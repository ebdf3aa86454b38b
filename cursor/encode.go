package cursor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
)

// encodePosition returns pos as JSON, having made sure that the same position
// comes back from it. JSON alone would turn invalid UTF-8 into other characters,
// leave out unexported fields, and make an integer in an interface a float: a run
// resumed from such a position would skip rows or repeat them.
func encodePosition[P any](pos P) (json.RawMessage, error) {
	data, err := json.Marshal(pos)
	if err != nil {
		return nil, fmt.Errorf("cursor: the position %+v cannot be stored: %w", pos, err)
	}
	back, err := decodePosition[P](data)
	if err != nil {
		return nil, fmt.Errorf("cursor: the position %+v cannot be stored: what would be stored is %s: %w", pos, data, err)
	}
	if !sameValue(reflect.ValueOf(&pos).Elem(), reflect.ValueOf(&back).Elem()) {
		return nil, fmt.Errorf("cursor: the position %+v cannot be stored exactly: it would come back as %+v; a cursor.Key keeps text that is not UTF-8, and times of any year", pos, back)
	}
	return data, nil
}

// decodePosition is the inverse of encodePosition. It refuses data that P has no
// room for, such as a position of a struct whose fields were renamed since.
func decodePosition[P any](data json.RawMessage) (P, error) {
	var pos P
	if err := json.Unmarshal(data, &pos); err != nil {
		return pos, err
	}
	again, err := json.Marshal(pos)
	if err != nil {
		return pos, err
	}
	if !bytes.Equal(again, data) {
		return pos, fmt.Errorf("read as %T it is %s", pos, again)
	}
	return pos, nil
}

// checkPositionType panics where P can hold no position: an interface would come
// back as another type, and a nil pointer could not be told from no position.
func checkPositionType[P any](fn string) {
	switch t := reflect.TypeFor[P](); t.Kind() {
	case reflect.Interface, reflect.Pointer, reflect.Func, reflect.Chan, reflect.UnsafePointer:
		panic(fmt.Sprintf("cursor.%s: the position must be of a type that JSON can hold by value, got %v", fn, t))
	}
}

// sameValue reports whether a and b, of one type, are the same position. It is
// [reflect.DeepEqual] but for types with a method Equal, which is asked: two
// times are the same when they are the same instant.
func sameValue(a, b reflect.Value) bool {
	if equal, ok := equalMethod(a); ok {
		return equal.Call([]reflect.Value{b})[0].Bool()
	}
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			if !sameValue(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		return sameElements(a, b)
	case reflect.Array:
		return sameElements(a, b)
	case reflect.Map:
		if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		for _, key := range a.MapKeys() {
			if v := b.MapIndex(key); !v.IsValid() || !sameValue(a.MapIndex(key), v) {
				return false
			}
		}
		return true
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return a.Elem().Type() == b.Elem().Type() && sameValue(a.Elem(), b.Elem())
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return false // JSON holds none of them
	default:
		return a.Equal(b)
	}
}

func sameElements(a, b reflect.Value) bool {
	for i := range a.Len() {
		if !sameValue(a.Index(i), b.Index(i)) {
			return false
		}
	}
	return true
}

// equalMethod returns v's method Equal(T) bool, where T is v's type. A nil
// pointer or interface has none, nor has a field that is not exported.
func equalMethod(v reflect.Value) (reflect.Value, bool) {
	if !v.CanInterface() || v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer && v.IsNil() {
		return reflect.Value{}, false
	}
	m := v.MethodByName("Equal")
	if !m.IsValid() {
		return reflect.Value{}, false
	}
	t := m.Type()
	ok := t.NumIn() == 1 && t.In(0) == v.Type() && t.NumOut() == 1 && t.Out(0).Kind() == reflect.Bool && !t.IsVariadic()
	return m, ok
}
