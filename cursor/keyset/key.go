package keyset

import (
	"database/sql/driver"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"example.com/pipeline/cursor/internal/paging"
)

// A Key is the position of a row by the values of its key columns, in order. It
// is what [Table] uses where the columns are not known at compile time.
//
// In JSON a Key is an array with one object a value, and the object's name is the
// value's type, so that it comes back as it was: {"int":"-5"}, {"uint":"5"},
// {"text":"é"}, {"bytes":"AAE="}, {"time":"1136239445.123456000+0"},
// {"float":"0.1"}, {"bool":true}. Numbers are text there, since JSON readers
// round large ones. A time is Unix seconds, nine digits of a second, and the offset
// from UTC in seconds. Text that is not valid UTF-8 is {"text64":"/w=="}. A value that
// would not come back exactly is an error of MarshalJSON: a NaN, NULL, and any other
// type.
type Key []any

// MarshalJSON implements [json.Marshaler].
func (k Key) MarshalJSON() ([]byte, error) {
	if len(k) == 0 {
		return nil, errors.New("keyset: a Key without values is no position")
	}
	out := []byte{'['}
	for i, v := range k {
		if i > 0 {
			out = append(out, ',')
		}
		kind, value, err := encodeKeyValue(v)
		if err != nil {
			return nil, fmt.Errorf("keyset: value %d of the key: %w", i+1, err)
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("keyset: value %d of the key: %w", i+1, err)
		}
		out = append(out, `{"`...)
		out = append(out, kind...)
		out = append(out, `":`...)
		out = append(out, text...)
		out = append(out, '}')
	}
	return append(out, ']'), nil
}

// encodeKeyValue names v's type and gives what stands for v in JSON.
func encodeKeyValue(v any) (kind string, value any, err error) {
	if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer && r.IsNil() {
		v = nil // its Value would be called on nothing
	}
	switch v := v.(type) {
	case nil:
		return "", nil, errors.New("it is NULL, and no row comes after NULL; use columns that are NOT NULL")
	case int64:
		return "int", strconv.FormatInt(v, 10), nil
	case string:
		if !utf8.ValidString(v) {
			return "text64", base64.StdEncoding.EncodeToString([]byte(v)), nil
		}
		return "text", v, nil
	case []byte:
		return "bytes", base64.StdEncoding.EncodeToString(v), nil
	case time.Time:
		return "time", encodeTime(v), nil
	case driver.Valuer:
		inner, err := v.Value()
		if err != nil {
			return "", nil, err
		}
		if _, again := inner.(driver.Valuer); again {
			return "", nil, fmt.Errorf("the Value of a %T is a Valuer again", v)
		}
		return encodeKeyValue(inner)
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "int", strconv.FormatInt(r.Int(), 10), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "uint", strconv.FormatUint(r.Uint(), 10), nil
	case reflect.Float32, reflect.Float64:
		if math.IsNaN(r.Float()) {
			return "", nil, errors.New("it is NaN, which has no place in an order")
		}
		return "float", strconv.FormatFloat(r.Float(), 'g', -1, 64), nil
	case reflect.Bool:
		return "bool", r.Bool(), nil
	case reflect.String:
		return encodeKeyValue(r.String())
	}
	return "", nil, fmt.Errorf("a %T cannot be stored as a position", v)
}

// encodeTime keeps the instant with all its digits: Unix seconds and nanoseconds. It keeps
// the offset from UTC, too, in seconds, because a database column without a time zone
// stores the clock's reading.
func encodeTime(t time.Time) string {
	_, offset := t.Zone()
	return fmt.Sprintf("%d.%09d%+d", t.Unix(), t.Nanosecond(), offset)
}

// decodeTime is the inverse of encodeTime.
func decodeTime(text string) (time.Time, error) {
	bad := fmt.Errorf("%q is no time: it must be Unix seconds, nine digits of a second, and an offset from UTC in seconds, as in 1136239445.123456000-25200", text)
	seconds, rest, ok := strings.Cut(text, ".")
	if !ok || len(rest) < len("000000000+0") {
		return time.Time{}, bad
	}
	s, err1 := strconv.ParseInt(seconds, 10, 64)
	n, err2 := strconv.ParseUint(rest[:9], 10, 32)
	offset, err3 := strconv.ParseInt(rest[9:], 10, 32)
	t := time.Unix(s, int64(n)).UTC()
	if offset != 0 {
		t = t.In(time.FixedZone("", int(offset)))
	}
	if err1 != nil || err2 != nil || err3 != nil || encodeTime(t) != text {
		return time.Time{}, bad
	}
	return t, nil
}

// UnmarshalJSON implements [json.Unmarshaler]. Integers come back as int64 or
// uint64, as they were written.
func (k *Key) UnmarshalJSON(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("keyset: a stored key is not valid UTF-8")
	}
	var values []map[string]json.RawMessage
	if err := json.Unmarshal(data, &values); err != nil {
		return fmt.Errorf("keyset: a stored key: %w", err)
	}
	if len(values) == 0 {
		return errors.New("keyset: a stored key has no values")
	}
	key := make(Key, len(values))
	for i, typed := range values {
		if len(typed) != 1 {
			return fmt.Errorf("keyset: value %d of a stored key has %d types, want one", i+1, len(typed))
		}
		for kind, raw := range typed {
			v, err := decodeKeyValue(kind, raw)
			if err != nil {
				return fmt.Errorf("keyset: value %d of a stored key: %w", i+1, err)
			}
			key[i] = v
		}
	}
	*k = key
	return nil
}

// decodeKeyValue is the inverse of encodeKeyValue.
func decodeKeyValue(kind string, raw json.RawMessage) (any, error) {
	if kind == "bool" {
		switch string(raw) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, fmt.Errorf("%s is no bool", raw)
	}
	if len(raw) == 0 || raw[0] != '"' {
		return nil, fmt.Errorf("a %s must be written as text, got %s", kind, raw)
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return nil, err
	}
	switch kind {
	case "int":
		return strconv.ParseInt(text, 10, 64)
	case "uint":
		return strconv.ParseUint(text, 10, 64)
	case "text":
		return text, nil
	case "bytes":
		return base64.StdEncoding.Strict().DecodeString(text)
	case "text64":
		b, err := base64.StdEncoding.Strict().DecodeString(text)
		return string(b), err
	case "time":
		return decodeTime(text)
	case "float":
		f, err := strconv.ParseFloat(text, 64)
		if err == nil && math.IsNaN(f) {
			err = errors.New("NaN has no place in an order")
		}
		return f, err
	}
	return nil, fmt.Errorf("unknown type %q; was it written by a newer version?", kind)
}

// Equal reports whether two keys hold the same values. It never asks which of two comes
// first: that is the database's business.
func (k Key) Equal(other Key) bool {
	if len(k) != len(other) {
		return false
	}
	for i := range k {
		if !equalValues(k[i], other[i]) {
			return false
		}
	}
	return true
}

// equalValues is [paging.Equal], in less time for what most keys are made of.
func equalValues(a, b any) bool {
	switch a := a.(type) {
	case int64:
		b, ok := b.(int64)
		return ok && a == b
	case string:
		b, ok := b.(string)
		return ok && a == b
	}
	return paging.Equal(a, b)
}

// CopyFrom makes k a copy of other, in memory of its own.
func (k *Key) CopyFrom(other Key) { *k = append((*k)[:0], other...) }
