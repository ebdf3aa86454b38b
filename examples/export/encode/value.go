package encode

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"time"
	"unsafe"

	"example.com/pipeline/cursor/keyset"
)

// lent returns a text that is valid as long as its bytes are: it must not be kept.
func lent(t *keyset.Text) string { return unsafe.String(unsafe.SliceData(*t), len(*t)) }

// appendRest appends the rarer types, which the formats write alike but for the strings
// among them.
func (c *column) appendRest(buf []byte, value any, appendText func([]byte, string) []byte) []byte {
	switch v := value.(type) {
	case float64:
		bits := 64
		if c.Kind == Float32 && v == float64(float32(v)) {
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

// appendFloat appends the shortest digits that give v again. Infinities and NaN, which
// JSON has no numbers for, are text.
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

// formatTime writes a point in time in UTC, so that the file does not depend on the time
// zone of the machine that wrote it.
func (c *column) formatTime(t time.Time) string {
	if c.Kind == Local {
		return t.Format("2006-01-02T15:04:05.999999999")
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// appendHex appends binary data as PostgreSQL writes it.
func appendHex(buf, b []byte) []byte { return hex.AppendEncode(append(buf, `\x`...), b) }
