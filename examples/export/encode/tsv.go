package encode

import (
	"encoding/hex"
	"strconv"
	"unicode/utf8"

	"example.com/pipeline/cursor/keyset"
)

// tsv writes what COPY of PostgreSQL (FORMAT text) and LOAD DATA of MariaDB read without
// options: a tab between two fields, \N for NULL, and a backslash before what would end a
// field.
func (e *Encoder) tsv(buf []byte, values []any) []byte {
	for i, value := range values {
		if i > 0 {
			buf = append(buf, '\t')
		}
		switch v := value.(type) {
		case nil:
			buf = append(buf, `\N`...)
		case int64:
			buf = strconv.AppendInt(buf, v, 10)
		case *keyset.Int:
			buf = strconv.AppendInt(buf, int64(*v), 10)
		case *keyset.Text:
			buf = appendTSVText(buf, lent(v))
		case string:
			buf = appendTSVText(buf, v)
		case []byte:
			buf = appendTSVHex(buf, v)
		default:
			buf = e.columns[i].appendRest(buf, v, appendTSVText)
		}
	}
	return append(buf, '\n')
}

// tsvEscapes are the bytes that are written as a backslash and a letter.
// Those that COPY and LOAD DATA read alike: \b and \v are not among them, and need not be.
var tsvEscapes = [256]byte{'\\': '\\', '\t': 't', '\n': 'n', '\r': 'r'}

// appendTSVText appends a text. What is no valid UTF-8 is written as binary.
func appendTSVText(buf []byte, s string) []byte {
	begin, done, ascii := len(buf), 0, byte(0)
	for i := range len(s) {
		ascii |= s[i]
		if letter := tsvEscapes[s[i]]; letter != 0 {
			buf = append(append(buf, s[done:i]...), '\\', letter)
			done = i + 1
		}
	}
	if ascii >= utf8.RuneSelf && !utf8.ValidString(s) {
		return appendTSVHex(buf[:begin], []byte(s))
	}
	return append(buf, s[done:]...)
}

// appendTSVHex appends binary data as COPY reads it.
func appendTSVHex(buf, b []byte) []byte { return hex.AppendEncode(append(buf, `\\x`...), b) }
