package encode

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"example.com/pipeline/cursor/keyset"
)

// loneNull stands for NULL where a row has one column only: nothing at all would be an
// empty line, which readers of CSV skip. LOAD DATA reads it as NULL, and so does COPY with
// NULL '\N'.
const loneNull = `\N`

func (e *Encoder) csv(buf []byte, values []any) []byte {
	for i, value := range values {
		if i > 0 {
			buf = append(buf, e.format.delimiter())
		}
		switch v := value.(type) {
		case nil:
			buf = append(buf, e.null...)
		case int64:
			buf = strconv.AppendInt(buf, v, 10)
		case *keyset.Int:
			buf = strconv.AppendInt(buf, int64(*v), 10)
		case *keyset.Text:
			buf = e.appendCSVText(buf, lent(v))
		case string:
			buf = e.appendCSVText(buf, v)
		case []byte:
			buf = appendHex(buf, v)
		default:
			buf = e.columns[i].appendRest(buf, v, e.text)
		}
	}
	return append(buf, '\n')
}

// unsafeCSV marks the bytes that make quotes necessary around a field, whatever the
// delimiter is.
var unsafeCSV = [256]bool{'"': true, '\n': true, '\r': true}

// harmless reports whether a text has none but characters of ASCII from firstHarmless on. It looks
// at eight at once: where one is not among them, the lowest such one sets its highest bit.
func harmless(s string) bool {
	const each, highest = 0x0101010101010101, 0x8080808080808080
	for ; len(s) >= 8; s = s[8:] {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		if (w|(w-firstHarmless*each))&highest != 0 {
			return false
		}
	}
	for i := range len(s) {
		if s[i] < firstHarmless || s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// firstHarmless is the character behind the comma. The line ends and the quote come before.
const firstHarmless = ',' + 1

// appendCSVText appends a text. Without quotes stand NULL and binary (\x and hexadecimal digits),
// so the empty text, one that begins with a backslash, and one that NULL is written as have
// them. What is no valid UTF-8 would break the file for its readers, and is written as binary.
func (e *Encoder) appendCSVText(buf []byte, s string) []byte {
	quote := s == "" || s[0] == '\\' || s[0] == ' ' || s[0] == '\t' || s == e.null
	if !quote && e.harmless && harmless(s) {
		return append(buf, s...)
	}
	ascii := byte(0)
	for i := range len(s) {
		ascii |= s[i]
		quote = quote || e.quote[s[i]]
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
