package cursor

import (
	"bytes"
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
)

// A Key is the position of a row by the values of its key columns, in order. It
// is what [Table] uses where the columns are not known at compile time.
//
// In JSON a Key is an array with one object a value, and the object's name is the
// value's type, so that it comes back as it was: {"int":"-5"}, {"uint":"5"},
// {"text":"é"}, {"bytes":"AAE="}, {"time":"2006-01-02T15:04:05.123456Z"},
// {"float":"0.1"}, {"bool":true}. Numbers are text there, since JSON readers
// round large ones. Text that is not valid UTF-8 is {"text64":"/w=="}, and a year
// that has not four digits, or is before 0, has a sign: -0043-03-15T00:00:00Z is of 44
// BC. A value that would not come back exactly is an error of MarshalJSON: a NaN, NULL,
// and any other type.
type Key []any

// MarshalJSON implements [json.Marshaler].
func (k Key) MarshalJSON() ([]byte, error) {
	if len(k) == 0 {
		return nil, errors.New("cursor: a Key without values is no position")
	}
	out := []byte{'['}
	for i, v := range k {
		if i > 0 {
			out = append(out, ',')
		}
		kind, value, err := encodeKeyValue(v)
		if err != nil {
			return nil, fmt.Errorf("cursor: value %d of the key: %w", i+1, err)
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("cursor: value %d of the key: %w", i+1, err)
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
		return encodeKeyTime(v)
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

// encodeKeyTime keeps the instant with all its digits, and the offset from UTC
// too, because a database column without a time zone stores the clock's reading.
func encodeKeyTime(t time.Time) (kind string, value any, err error) {
	for _, t := range []time.Time{t, t.UTC()} {
		text := formatKeyTime(t)
		// Offsets with seconds do not come back.
		if back, err := parseKeyTime(text); err == nil && back.Equal(t) {
			return "time", text, nil
		}
	}
	return "", nil, fmt.Errorf("the time %v is outside the years -%d to %[2]d that a Key can hold; take another column as the key", t, maxYear)
}

// sameCalendar has years with four digits for all others: the calendar repeats itself
// after 400 years.
func sameCalendar(year int) int { return 2000 + (year%400+400)%400 }

// formatKeyTime is [time.Time.Format] with RFC 3339, but for years outside of 0 to 9999,
// which get a sign as in ISO 8601.
func formatKeyTime(t time.Time) string {
	year := t.Year()
	if year >= 0 && year <= 9999 {
		return t.Format(time.RFC3339Nano)
	}
	text := t.AddDate(sameCalendar(year)-year, 0, 0).Format(time.RFC3339Nano)
	return fmt.Sprintf("%+05d", year) + text[len("2000"):]
}

const maxYear = 999_999 // no database knows one that is further away

// parseKeyTime is the inverse of formatKeyTime.
func parseKeyTime(text string) (time.Time, error) {
	if text == "" || text[0] != '+' && text[0] != '-' {
		return time.Parse(time.RFC3339Nano, text)
	}
	digits, _, _ := strings.Cut(text[1:], "-")
	year, err := strconv.Atoi(text[:1+len(digits)])
	if err != nil || year < -maxYear || year > maxYear {
		return time.Time{}, fmt.Errorf("the year of the time %q is none", text)
	}
	same := sameCalendar(year)
	t, err := time.Parse(time.RFC3339Nano, strconv.Itoa(same)+text[1+len(digits):])
	return t.AddDate(year-same, 0, 0), err
}

// UnmarshalJSON implements [json.Unmarshaler]. Integers come back as int64 or
// uint64, as they were written.
func (k *Key) UnmarshalJSON(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("cursor: a stored key is not valid UTF-8")
	}
	var values []map[string]json.RawMessage
	if err := json.Unmarshal(data, &values); err != nil {
		return fmt.Errorf("cursor: a stored key: %w", err)
	}
	if len(values) == 0 {
		return errors.New("cursor: a stored key has no values")
	}
	key := make(Key, len(values))
	for i, typed := range values {
		if len(typed) != 1 {
			return fmt.Errorf("cursor: value %d of a stored key has %d types, want one", i+1, len(typed))
		}
		for kind, raw := range typed {
			v, err := decodeKeyValue(kind, raw)
			if err != nil {
				return fmt.Errorf("cursor: value %d of a stored key: %w", i+1, err)
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
		return parseKeyTime(text)
	case "float":
		f, err := strconv.ParseFloat(text, 64)
		if err == nil && math.IsNaN(f) {
			err = errors.New("NaN has no place in an order")
		}
		return f, err
	}
	return nil, fmt.Errorf("unknown type %q; was it written by a newer version?", kind)
}

// equal reports whether two keys hold the same values. It compares values, not
// their order: that is the database's business.
func (k Key) equal(other Key) bool {
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

// equalValues compares two values of key columns.
func equalValues(a, b any) bool {
	switch a := a.(type) {
	case int64:
		b, ok := b.(int64)
		return ok && a == b
	case string:
		b, ok := b.(string)
		return ok && a == b
	case []byte:
		b, ok := b.([]byte)
		return ok && bytes.Equal(a, b)
	case time.Time:
		b, ok := b.(time.Time)
		return ok && a.Equal(b)
	case driver.Valuer:
		b, ok := b.(driver.Valuer)
		if !ok {
			return false
		}
		av, aerr := a.Value()
		bv, berr := b.Value()
		return aerr == nil && berr == nil && equalValues(av, bv)
	}
	return reflect.DeepEqual(a, b)
}
