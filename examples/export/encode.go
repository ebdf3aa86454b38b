package main

import (
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// An encoder writes rows in one format. It appends by hand instead of going
// through encoding/csv and encoding/json: nothing is allocated for a row, and
// NULL, text and binary stay apart, which encoding/csv cannot write.
type encoder struct {
	columns []column
	row     func(e *encoder, buf []byte, values []any) []byte
	header  bool
}

// A column is what the encoder has to know of one beside its values.
type column struct {
	name string
	kind kind
	key  string // what stands before the value in JSON
}

// A kind says what the database meant, where Go's type does not.
type kind byte

const (
	plain    kind = iota
	local         // a time without a zone
	float32s      // of 32 bits in the database, of 64 as the driver gives it
)

// newEncoder makes an encoder for the columns that are exported.
func newEncoder(format string, system string, types []*sql.ColumnType) *encoder {
	e := &encoder{row: (*encoder).csv, header: true}
	if format == "jsonl" {
		e.row, e.header = (*encoder).json, false
	}
	for _, t := range types {
		k := plain
		switch system + " " + t.DatabaseTypeName() {
		case "postgres TIMESTAMP":
			k = local
		case "postgres FLOAT4":
			k = float32s
		}
		e.add(t.Name(), k)
	}
	return e
}

func (e *encoder) add(name string, k kind) {
	key := []byte{','}
	if len(e.columns) == 0 {
		key[0] = '{'
	}
	key = append(appendJSONString(key, strings.ToValidUTF8(name, "\uFFFD")), ':')
	e.columns = append(e.columns, column{name, k, string(key)})
}

// Header appends what stands before the first row.
func (e *encoder) Header(buf []byte) []byte {
	if !e.header {
		return buf
	}
	for i, c := range e.columns {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = appendCSVText(buf, c.name)
	}
	return append(buf, '\n')
}

// Row appends one row, its line ending included.
func (e *encoder) Row(buf []byte, values []any) []byte { return e.row(e, buf, values) }

func (e *encoder) csv(buf []byte, values []any) []byte {
	for i, value := range values {
		if i > 0 {
			buf = append(buf, ',')
		}
		switch v := value.(type) {
		case nil: // nothing between the commas
		case int64:
			buf = strconv.AppendInt(buf, v, 10)
		case string:
			buf = appendCSVText(buf, v)
		case []byte:
			buf = appendHex(buf, v)
		default:
			buf = e.columns[i].appendRest(buf, v, appendCSVText)
		}
	}
	return append(buf, '\n')
}

func (e *encoder) json(buf []byte, values []any) []byte {
	for i, value := range values {
		buf = append(buf, e.columns[i].key...)
		switch v := value.(type) {
		case nil:
			buf = append(buf, "null"...)
		case int64:
			buf = strconv.AppendInt(buf, v, 10)
		case string:
			buf = appendJSONString(buf, v)
		case []byte:
			buf = appendBase64(buf, v)
		default:
			buf = e.columns[i].appendRest(buf, v, appendJSONString)
		}
	}
	return append(buf, "}\n"...)
}

// appendRest appends the rarer types, which the formats write alike but for
// the strings among them.
func (c *column) appendRest(buf []byte, value any, appendText func([]byte, string) []byte) []byte {
	switch v := value.(type) {
	case float64:
		bits := 64
		if c.kind == float32s && v == float64(float32(v)) {
			bits = 32
		}
		return appendFloat(buf, v, bits, appendText)
	case float32:
		return appendFloat(buf, float64(v), 32, appendText)
	case bool:
		return strconv.AppendBool(buf, v)
	case uint64:
		return strconv.AppendUint(buf, v, 10)
	case time.Time:
		return appendText(buf, c.formatTime(v))
	}
	return appendText(buf, fmt.Sprint(value))
}

// appendFloat appends the shortest digits that give v again. Infinities and
// NaN, which JSON has no numbers for, are text.
func appendFloat(buf []byte, v float64, bits int, appendText func([]byte, string) []byte) []byte {
	switch {
	case math.IsNaN(v):
		return appendText(buf, "NaN")
	case math.IsInf(v, 1):
		return appendText(buf, "Infinity")
	case math.IsInf(v, -1):
		return appendText(buf, "-Infinity")
	}
	format := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(buf, v, format, -1, bits)
}

// formatTime writes a point in time in UTC, so that the file does not depend on
// the time zone of the machine that wrote it.
func (c *column) formatTime(t time.Time) string {
	if c.kind == local {
		return t.Format("2006-01-02T15:04:05.999999999")
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// unsafeCSV marks the bytes that make quotes necessary around a field.
var unsafeCSV = [256]bool{'"': true, ',': true, '\n': true, '\r': true}

// appendCSVText appends a text. Without quotes stand NULL (nothing) and binary
// (\x and hexadecimal digits), so the empty text and one that begins with a
// backslash get quotes. What is no valid UTF-8 would break the file for its
// readers, and is written as binary.
func appendCSVText(buf []byte, s string) []byte {
	quote := s == "" || s[0] == '\\' || s[0] == ' ' || s[0] == '\t'
	ascii := byte(0)
	for i := range len(s) {
		ascii |= s[i]
		quote = quote || unsafeCSV[s[i]]
	}
	if ascii >= utf8.RuneSelf && !utf8.ValidString(s) {
		return appendHex(buf, []byte(s))
	}
	if !quote {
		return append(buf, s...)
	}
	buf = append(buf, '"')
	for {
		i := strings.IndexByte(s, '"')
		if i < 0 {
			break
		}
		buf = append(buf, s[:i+1]...)
		buf = append(buf, '"')
		s = s[i+1:]
	}
	buf = append(buf, s...)
	return append(buf, '"')
}

// appendHex appends binary data as Postgres writes it.
func appendHex(buf, b []byte) []byte { return hex.AppendEncode(append(buf, `\x`...), b) }

// unsafeJSON marks the bytes that must not stand in a JSON string as they are.
var unsafeJSON = func() (unsafe [256]bool) {
	for b := range byte(' ') {
		unsafe[b] = true
	}
	unsafe['"'], unsafe['\\'] = true, true
	return unsafe
}()

// appendJSONString appends a text. A JSON string cannot hold what is no valid
// UTF-8: that is written as binary.
func appendJSONString(buf []byte, s string) []byte {
	begin, ascii := len(buf), byte(0)
	buf = append(buf, '"')
	done := 0
	for i := range len(s) {
		ascii |= s[i]
		if !unsafeJSON[s[i]] {
			continue
		}
		buf = appendEscaped(append(buf, s[done:i]...), s[i])
		done = i + 1
	}
	if ascii >= utf8.RuneSelf && !utf8.ValidString(s) {
		return appendBase64(buf[:begin], []byte(s))
	}
	buf = append(buf, s[done:]...)
	return append(buf, '"')
}

func appendEscaped(buf []byte, b byte) []byte {
	switch b {
	case '"', '\\':
		return append(buf, '\\', b)
	case '\n':
		return append(buf, `\n`...)
	case '\r':
		return append(buf, `\r`...)
	case '\t':
		return append(buf, `\t`...)
	}
	const digits = "0123456789abcdef"
	return append(buf, '\\', 'u', '0', '0', digits[b>>4], digits[b&15])
}

// appendBase64 appends binary data so that no text can be mistaken for it.
func appendBase64(buf, b []byte) []byte {
	buf = base64.StdEncoding.AppendEncode(append(buf, `{"base64":"`...), b)
	return append(buf, `"}`...)
}
