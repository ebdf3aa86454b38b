package keyset

import (
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
)

var (
	valuerType = reflect.TypeFor[driver.Valuer]()
	timeType   = reflect.TypeFor[time.Time]()
)

// isSingle reports whether a position of type t is one value for a database: all
// but structs, and those structs that stand for one value.
func isSingle(t reflect.Type) bool {
	return t.Kind() != reflect.Struct || t == timeType ||
		t.Implements(valuerType) || reflect.PointerTo(t).Implements(valuerType)
}

func allExported(t reflect.Type) bool {
	for i := range t.NumField() {
		if !t.Field(i).IsExported() {
			return false
		}
	}
	return true
}

// checkPosition returns what is wrong with P as the type of positions of n key
// columns, "" if nothing.
func checkPosition[P any](n int) string {
	t := reflect.TypeFor[P]()
	switch {
	case t == reflect.TypeFor[Key]():
		return ""
	case isSingle(t):
		if n != 1 {
			return fmt.Sprintf("the position %v is one value, but Key has %d columns", t, n)
		}
	case t.NumField() != n:
		return fmt.Sprintf("the position %v has %d fields, but Key has %d columns", t, t.NumField(), n)
	case !allExported(t):
		return fmt.Sprintf("the fields of the position %v must be exported", t)
	}
	return ""
}

// positionValues takes a position apart, into one value for each of n key columns.
func positionValues[P any](p P, n int) ([]any, error) {
	var values []any
	if key, ok := any(p).(Key); ok {
		if len(key) != n {
			return nil, fmt.Errorf("the position has %d values, but the key has %d columns; is it from another query?", len(key), n)
		}
		for i := range key {
			values = append(values, single(reflect.ValueOf(&key[i]).Elem()))
		}
	} else if v := reflect.ValueOf(&p).Elem(); isSingle(v.Type()) {
		values = []any{single(v)}
	} else {
		for i := range v.NumField() {
			values = append(values, single(v.Field(i)))
		}
	}
	for i, v := range values {
		if isNull(v) {
			return nil, fmt.Errorf("value %d of the position is NULL, and no row comes after NULL; use key columns that are NOT NULL", i+1)
		}
	}
	return values, nil
}

// single returns v as an argument of a statement. A type whose Value method has a
// pointer receiver is given by its address. No bytes are empty bytes here: some
// drivers read nil for them, and would take nil for NULL.
func single(v reflect.Value) any {
	if !v.Type().Implements(valuerType) && reflect.PointerTo(v.Type()).Implements(valuerType) && v.CanAddr() {
		return v.Addr().Interface()
	}
	if b, ok := v.Interface().([]byte); ok && b == nil {
		return []byte{}
	}
	return v.Interface()
}

// isNull reports whether a database would take v for NULL.
func isNull(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	if r.Kind() == reflect.Pointer && r.IsNil() {
		return true
	}
	if valuer, ok := v.(driver.Valuer); ok {
		inner, err := valuer.Value()
		return err == nil && inner == nil
	}
	return false
}

// isTime reports whether v is a time for the driver.
func isTime(v any) bool {
	if valuer, ok := v.(driver.Valuer); ok {
		v, _ = valuer.Value()
	}
	if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer && !r.IsNil() {
		v = r.Elem().Interface()
	}
	_, ok := v.(time.Time)
	return ok
}

// bytesOf returns a byte array as a slice, which every driver knows, and anything
// else as it is.
func bytesOf(v any) any {
	if _, ok := v.(driver.Valuer); ok {
		return v
	}
	r := reflect.ValueOf(v)
	if r.Kind() != reflect.Array || r.Type().Elem().Kind() != reflect.Uint8 {
		return v
	}
	b := make([]byte, r.Len())
	reflect.Copy(reflect.ValueOf(b), r)
	return b
}

// scanPosition reads a position from a row that has the key columns only, into a
// Key by their conversions. It is what Latest and Split use; a stream takes positions from
// its items.
func scanPosition[P any](rows *sql.Rows, conversions []conversion) (P, error) {
	var p P
	dest := make([]any, len(conversions))
	v := reflect.ValueOf(&p).Elem()
	if key, ok := any(&p).(*Key); ok {
		*key = make(Key, len(conversions))
		for i, c := range conversions {
			dest[i] = &cell{&(*key)[i], c}
		}
	} else if isSingle(v.Type()) {
		dest[0] = scanInto(v)
	} else {
		for i := range dest {
			dest[i] = scanInto(v.Field(i))
		}
	}
	err := rows.Scan(dest...)
	return p, err
}

// scanInto returns what Scan is given to fill v.
func scanInto(v reflect.Value) any {
	p := v.Addr().Interface()
	if _, ok := p.(sql.Scanner); !ok && v.Kind() == reflect.Array && v.Type().Elem().Kind() == reflect.Uint8 {
		return byteArray{v}
	}
	return p
}

// A byteArray fills a [16]byte or the like, from bytes or from a UUID's text.
type byteArray struct{ v reflect.Value }

func (a byteArray) Scan(src any) error {
	b, ok := src.([]byte)
	if text, is := src.(string); is {
		b, ok = []byte(text), true
	}
	if ok && len(b) != a.v.Len() {
		decoded, err := hex.DecodeString(strings.ReplaceAll(string(b), "-", ""))
		if err != nil {
			return err
		}
		b = decoded
	}
	if !ok || len(b) != a.v.Len() {
		return errors.New("keyset: cannot read a " + a.v.Type().String() + " from " + fmt.Sprintf("%T", src))
	}
	reflect.Copy(a.v, reflect.ValueOf(b))
	return nil
}
