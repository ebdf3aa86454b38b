package encode

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"example.com/pipeline/cursor/keyset"
)

func (e *Encoder) json(buf []byte, values []any) []byte {
	for i, value := range values {
		c := &e.columns[i]
		buf = append(buf, c.key...)
		switch v := value.(type) {
		case nil:
			buf = append(buf, "null"...)
		case int64:
			buf = strconv.AppendInt(buf, v, 10)
		case *keyset.Int:
			buf = strconv.AppendInt(buf, int64(*v), 10)
		case *keyset.Text:
			buf = c.appendJSONText(buf, lent(v))
		case string:
			buf = c.appendJSONText(buf, v)
		case []byte:
			buf = appendBase64(buf, v)
		default:
			buf = c.appendRest(buf, v, appendJSONString)
		}
	}
	return append(buf, "}\n"...)
}

// appendJSONText appends a text as what it is.
func (c *column) appendJSONText(buf []byte, s string) []byte {
	switch {
	case c.Kind == JSON:
		return appendJSON(buf, s)
	case c.Kind == Number && isJSONNumber(s):
		return append(buf, s...)
	}
	return appendJSONString(buf, s)
}

// appendJSON appends a JSON document as part of the line, without its blanks. Numbers
// keep their digits and objects their order. A text that is no JSON after all, as a
// database without a type for it may hold, stays a string.
func appendJSON(buf []byte, s string) []byte {
	var compact bytes.Buffer
	if json.Compact(&compact, []byte(s)) != nil || !utf8.ValidString(s) {
		return appendJSONString(buf, s)
	}
	for b := compact.Bytes(); len(b) > 0; { // outside of strings these do not occur
		i := bytes.IndexAny(b, "\u0085\u2028\u2029")
		if i < 0 {
			return append(buf, b...)
		}
		escape, size := lineEnd(string(b[i:min(i+3, len(b))]))
		buf = append(append(buf, b[:i]...), escape...)
		b = b[i+size:]
	}
	return buf
}

// isJSONNumber reports whether a number is written as JSON wants it: without leading
// zeros, and no NaN.
func isJSONNumber(s string) bool {
	return s != "" && (s[0] == '-' || s[0] >= '0' && s[0] <= '9') && json.Valid([]byte(s))
}

// unsafeJSON marks the bytes that must not stand in a JSON string as they are, or begin a
// character of which that is so.
var unsafeJSON = func() (unsafe [256]bool) {
	for b := range byte(' ') {
		unsafe[b] = true
	}
	unsafe['"'], unsafe['\\'] = true, true
	unsafe["\u0085"[0]], unsafe["\u2028"[0]] = true, true
	return unsafe
}()

// appendJSONString appends a text. A JSON string cannot hold what is no valid UTF-8: that
// is written as binary.
func appendJSONString(buf []byte, s string) []byte {
	begin, ascii := len(buf), byte(0)
	buf = append(buf, '"')
	done := 0
	for i := range len(s) {
		b := s[i]
		ascii |= b
		if !unsafeJSON[b] {
			continue
		}
		if b < utf8.RuneSelf {
			buf = appendEscaped(append(buf, s[done:i]...), b)
			done = i + 1
		} else if escape, size := lineEnd(s[i:]); size > 0 {
			buf = append(append(buf, s[done:i]...), escape...)
			done = i + size
		}
	}
	if ascii >= utf8.RuneSelf && !utf8.ValidString(s) {
		return appendBase64(buf[:begin], []byte(s))
	}
	buf = append(buf, s[done:]...)
	return append(buf, '"')
}

// lineEnd returns the escape for one of the characters beyond ASCII that readers of lines
// take for the end of one, where s begins with it, and its size in bytes.
func lineEnd(s string) (escape string, size int) {
	switch {
	case len(s) >= 2 && s[:2] == "\u0085":
		return `\u0085`, 2
	case len(s) >= 3 && s[:3] == "\u2028":
		return `\u2028`, 3
	case len(s) >= 3 && s[:3] == "\u2029":
		return `\u2029`, 3
	}
	return "", 0
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
