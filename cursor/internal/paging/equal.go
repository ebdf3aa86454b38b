package paging

import (
	"reflect"
	"time"
)

// EqualFor returns the equality of positions of type P. It never asks which of two
// comes first: that is the source's business. For the types that most keys have it
// takes a few nanoseconds.
func EqualFor[P any]() func(a, b P) bool {
	var equal func(a, b P) bool
	switch f := any(&equal).(type) {
	case *func(a, b int64) bool:
		*f = func(a, b int64) bool { return a == b }
	case *func(a, b int) bool:
		*f = func(a, b int) bool { return a == b }
	case *func(a, b string) bool:
		*f = func(a, b string) bool { return a == b }
	case *func(a, b time.Time) bool:
		*f = time.Time.Equal
	default:
		var none P
		if _, ok := any(none).(interface{ Equal(P) bool }); ok {
			return func(a, b P) bool { return any(a).(interface{ Equal(P) bool }).Equal(b) }
		}
		return func(a, b P) bool { return Equal(a, b) }
	}
	return equal
}

// Equal reports whether a and b are the same position. It is [reflect.DeepEqual] but
// for two things: types with a method Equal are asked (two times are the same when they
// are the same instant), and no bytes are empty bytes.
func Equal(a, b any) bool {
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	if !va.IsValid() || !vb.IsValid() {
		return va.IsValid() == vb.IsValid()
	}
	return va.Type() == vb.Type() && equalValues(va, vb)
}

func equalValues(a, b reflect.Value) bool {
	if equal, ok := equalMethod(a); ok {
		return equal.Call([]reflect.Value{b})[0].Bool()
	}
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			if !equalValues(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.Type().Elem().Kind() != reflect.Uint8 && a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		return equalElements(a, b)
	case reflect.Array:
		return equalElements(a, b)
	case reflect.Map:
		if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		for _, key := range a.MapKeys() {
			if v := b.MapIndex(key); !v.IsValid() || !equalValues(a.MapIndex(key), v) {
				return false
			}
		}
		return true
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return a.Elem().Type() == b.Elem().Type() && equalValues(a.Elem(), b.Elem())
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return false // no position has one
	default:
		return a.Equal(b)
	}
}

func equalElements(a, b reflect.Value) bool {
	for i := range a.Len() {
		if !equalValues(a.Index(i), b.Index(i)) {
			return false
		}
	}
	return true
}

// equalMethod returns v's method Equal(T) bool, where T is v's type. A nil pointer or
// interface has none, nor has a field that is not exported.
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

// Clone copies what p points to, so that nobody else can change it.
func Clone[P any](p *P) *P {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}
