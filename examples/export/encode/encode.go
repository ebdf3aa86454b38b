// Package encode writes rows: as CSV, as the tab-separated text of COPY and LOAD DATA, or
// as JSON lines. It appends by hand instead of going through encoding/csv and
// encoding/json: nothing is allocated for a row, and NULL, text and binary stay apart,
// which encoding/csv cannot write.
//
//	encode.go  formats, columns, and an [Encoder] for them
//	csv.go     tsv.go json.go  one format each
//	compress.go  what the formats are compressed with
//	sum.go     reads back what was written, and sums it up
//	value.go   what all formats write alike
package encode

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Format says how rows are written.
type Format struct {
	Name      string // csv, tsv or jsonl
	Delimiter byte   // between the fields of CSV; 0 means a comma
	NoHeader  bool   // the first line of CSV and TSV does not name the columns
	Null      string // stands for NULL in CSV, without quotes
}

// Formats are the names of the formats.
var Formats = []string{"csv", "tsv", "jsonl"}

// Check says what is wrong with a format.
func (f Format) Check() error {
	d := f.delimiter()
	switch {
	case d == '"' || d == '\\' || d == '\n' || d == '\r' || d != '\t' && d < ' ' || d >= 0x7f:
		return fmt.Errorf("-delimiter must be a character of ASCII that is no quote, backslash or line end, not %q", d)
	case d >= '0' && d <= '9' || d >= 'a' && d <= 'z' || d >= 'A' && d <= 'Z' || strings.IndexByte("+-.", d) >= 0:
		return fmt.Errorf("-delimiter must be no letter, digit or part of a number, as %q is", d)
	case f.Null == "":
		return nil
	case strings.HasPrefix(f.Null, `\x`), f.Null == "true", f.Null == "false", isNumber(f.Null):
		return fmt.Errorf("-null must be no text that a value is written as, as %q is", f.Null)
	case f.Null[0] == ' ' || f.Null[0] == '\t' || strings.ContainsAny(f.Null, "\"\n\r") || strings.IndexByte(f.Null, d) >= 0:
		return fmt.Errorf("-null must be a text that needs no quotes, not %q", f.Null)
	}
	return nil
}

func (f Format) delimiter() byte {
	if f.Delimiter == 0 {
		return ','
	}
	return f.Delimiter
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil || errors.Is(err, strconv.ErrRange)
}

// A Column is what an encoder has to know of one beside its values.
type Column struct {
	Name string
	Type string // as the database names it: for people
	Kind Kind
}

// A Kind says what the database meant, where Go's type does not.
type Kind byte

// The kinds. Plain is a value whose type in Go says all.
const (
	Plain   Kind = iota
	Local        // a time without a zone
	Float32      // of 32 bits in the database, of 64 as the driver gives it
	JSON         // a text that is JSON
	Number       // a text that is a number with all its digits
)

// An Encoder writes rows in one format. It may be used by several loops at once.
type Encoder struct {
	columns  []column
	format   Format
	row      func(e *Encoder, buf []byte, values []any) []byte
	quote    [256]bool // bytes that make quotes necessary around a field of CSV
	harmless bool      // a field of CSV whose text is harmless needs none
	null     string
	text     func(buf []byte, s string) []byte // appends a field of CSV
}

type column struct {
	Column
	key string // what stands before the value in JSON
}

// New returns an encoder for rows of these columns.
func New(f Format, columns []Column) *Encoder {
	e := &Encoder{format: f, null: f.Null, quote: unsafeCSV}
	e.text = e.appendCSVText
	switch f.Name {
	case "jsonl":
		e.row = (*Encoder).json
	case "tsv":
		e.row = (*Encoder).tsv
	default:
		e.row = (*Encoder).csv
		e.quote[f.delimiter()] = true
		e.harmless = f.delimiter() < firstHarmless
		if len(columns) == 1 && e.null == "" {
			e.null = loneNull
		}
	}
	for i, c := range columns {
		key := []byte{','}
		if i == 0 {
			key[0] = '{'
		}
		key = append(appendJSONString(key, strings.ToValidUTF8(c.Name, "\uFFFD")), ':')
		e.columns = append(e.columns, column{c, string(key)})
	}
	return e
}

// Header appends what stands before the first row.
func (e *Encoder) Header(buf []byte) []byte {
	if e.format.NoHeader || e.format.Name == "jsonl" {
		return buf
	}
	for i, c := range e.columns {
		switch {
		case e.format.Name == "tsv":
			if i > 0 {
				buf = append(buf, '\t')
			}
			buf = appendTSVText(buf, c.Name)
		default:
			if i > 0 {
				buf = append(buf, e.format.delimiter())
			}
			buf = e.appendCSVText(buf, c.Name)
		}
	}
	return append(buf, '\n')
}

// Row appends one row, its line ending included. The values may be those that Encode of
// [keyset.Table] gets.
func (e *Encoder) Row(buf []byte, values []any) []byte { return e.row(e, buf, values) }
