package encode

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"example.com/pipeline/cursor/keyset"
	"github.com/google/go-cmp/cmp"
)

// testEncoder has one column of each kind.
func testEncoder(format string, kinds ...Kind) *Encoder {
	var columns []Column
	for i, k := range kinds {
		columns = append(columns, Column{Name: string(rune('a' + i)), Kind: k})
	}
	return New(Format{Name: format}, columns)
}

func TestValuesInBothFormats(t *testing.T) {
	moment := time.Date(2026, 7, 1, 23, 59, 58, 123456000, time.FixedZone("", 2*3600))
	for _, test := range []struct {
		kind      Kind
		value     any
		csv, json string
	}{
		{Plain, nil, ``, `null`},
		{Plain, "", `""`, `""`},
		{Plain, "plain", `plain`, `"plain"`},
		{Plain, `say "hi", all`, `"say ""hi"", all"`, `"say \"hi\", all"`},
		{Plain, "two\nlines\r\n\ttab", "\"two\nlines\r\n\ttab\"", `"two\nlines\r\n\ttab"`},
		{Plain, "Zoë 🚀 日本 » “x”", "Zoë 🚀 日本 » “x”", "\"Zoë 🚀 日本 » “x”\""},
		{Plain, "a\u0085b\u2028\u2029", "a\u0085b\u2028\u2029", `"a\u0085b\u2028\u2029"`},
		{JSON, "{\"a\" : [1.50,\n \"\u2028 \\\\ \"]}", "\"{\"\"a\"\" : [1.50,\n \"\"\u2028 \\\\ \"\"]}\"", `{"a":[1.50,"\u2028 \\ "]}`},
		{JSON, "12345678901234567890", "12345678901234567890", "12345678901234567890"},
		{JSON, "{no JSON", "{no JSON", `"{no JSON"`},
		{Number, "123456789012345678901234567890.10", "123456789012345678901234567890.10", "123456789012345678901234567890.10"},
		{Number, "-0.50", "-0.50", "-0.50"},
		{Number, "0012", "0012", `"0012"`},
		{Number, "NaN", "NaN", `"NaN"`},
		{Plain, "\x00\x1f\x7f", "\x00\x1f\x7f", "\"\\u0000\\u001f\x7f\""},
		{Plain, `\x6869`, `"\x6869"`, `"\\x6869"`},
		{Plain, `\N`, `"\N"`, `"\\N"`},
		{Plain, " led by a space", `" led by a space"`, `" led by a space"`},
		{Plain, "not \xff UTF-8", `\x6e6f7420ff205554462d38`, `{"base64":"bm90IP8gVVRGLTg="}`},
		{Plain, []byte("hi"), `\x6869`, `{"base64":"aGk="}`},
		{Plain, []byte{}, `\x`, `{"base64":""}`},
		{Plain, "12.340", `12.340`, `"12.340"`},
		{Plain, int64(math.MaxInt64), `9223372036854775807`, `9223372036854775807`},
		{Plain, int64(math.MinInt64), `-9223372036854775808`, `-9223372036854775808`},
		{Plain, uint64(math.MaxUint64), `18446744073709551615`, `18446744073709551615`},
		{Plain, true, `true`, `true`},
		{Plain, 0.1, `0.1`, `0.1`},
		{Plain, 1e6, `1000000`, `1000000`},
		{Plain, math.Copysign(0, -1), `-0`, `-0`},
		{Plain, 5e-324, `5e-324`, `5e-324`},
		{Plain, math.MaxFloat64, `1.7976931348623157e+308`, `1.7976931348623157e+308`},
		{Plain, float32(0.1), `0.1`, `0.1`},
		{Plain, float64(float32(0.1)), `0.10000000149011612`, `0.10000000149011612`},
		{Float32, float64(float32(0.1)), `0.1`, `0.1`},
		{Plain, math.NaN(), `NaN`, `"NaN"`},
		{Plain, math.Inf(1), `Infinity`, `"Infinity"`},
		{Plain, math.Inf(-1), `-Infinity`, `"-Infinity"`},
		{Plain, moment, `2026-07-01T21:59:58.123456Z`, `"2026-07-01T21:59:58.123456Z"`},
		{Local, moment, `2026-07-01T23:59:58.123456`, `"2026-07-01T23:59:58.123456"`},
	} {
		got := string(testEncoder("csv", test.kind, Plain).Row(nil, []any{test.value, int64(1)}))
		if want := test.csv + ",1\n"; got != want {
			t.Errorf("CSV of %#v: %q, want %q", test.value, got, want)
		}
		got = string(testEncoder("jsonl", test.kind).Row(nil, []any{test.value}))
		if want := `{"a":` + test.json + "}\n"; got != want {
			t.Errorf("JSON of %#v: %q, want %q", test.value, got, want)
		}
	}
}

// Without quotes, what NULL is written as is NULL and nothing else, whatever the value or the
// column's name.
func TestNullIsNoValue(t *testing.T) {
	for _, null := range []string{`\N`, `\`, `\\N`, "NULL", "-", "null", "é"} {
		for _, delimiter := range []byte{0, ';', '\t', '|', '!'} {
			f := Format{Name: "csv", Null: null, Delimiter: delimiter}
			if err := f.Check(); err != nil {
				t.Errorf("%+v: %v", f, err)
				continue
			}
			columns := []Column{{Name: null}, {Name: "b"}}
			texts := []string{null, null + "x", "x" + null, null[:1], strings.ToLower(null), "", " " + null, null + "\n", null + "\xff", "\xff" + null}
			for _, kind := range []Kind{Plain, Local, Float32, JSON, Number} {
				columns[0].Kind = kind
				e := New(f, columns)
				bare := null + string(f.delimiter())
				if row := e.Row(nil, []any{nil, nil}); string(row) != bare+null+"\n" {
					t.Errorf("%+v: NULL is %q", f, row)
				}
				if header := e.Header(nil); strings.HasPrefix(string(header), bare) {
					t.Errorf("%+v: the header is %q", f, header)
				}
				values := []any{true, false, int64(0), int64(-1), uint64(math.MaxUint64), 0.5, -0.5, 1e300, float32(1), math.NaN(), math.Inf(1), math.Inf(-1), time.Unix(0, 0), []int{1}, []string{null}, struct{}{}}
				for _, text := range texts {
					lent, number := keyset.Text(text), keyset.Int(len(text))
					values = append(values, text, []byte(text), &lent, &number, stringer(text))
				}
				for _, v := range values {
					if row := e.Row(nil, []any{v, int64(1)}); strings.HasPrefix(string(row), bare) {
						t.Errorf("%+v: %#v is %q", f, v, row)
					}
				}
			}
		}
	}
	for _, null := range []string{`\x`, `\x00`, "5", "-1e9", "NaN", "true", "a,b", `\,`, `"`, `\"`, "a\nb", "\\\n", " ", "\tx"} {
		if err := (Format{Name: "csv", Null: null}).Check(); err == nil {
			t.Errorf("%q is taken for NULL", null)
		}
	}
}

// A stringer is a value that no format knows.
type stringer string

func (s stringer) String() string { return string(s) }

// Nothing is allocated for a row: the buffer is the caller's.
func TestEncodersDoNotAllocate(t *testing.T) {
	values := []any{int64(1 << 60), "Zoë, \"quoted\"\n", nil, []byte{1, 2, 3}, 0.25, uint64(1 << 63)}
	for _, format := range []string{"csv", "jsonl"} {
		e := testEncoder(format, Plain, Plain, Plain, Plain, Plain, Plain)
		buf := e.Row(nil, values)
		if n := testing.AllocsPerRun(100, func() { buf = e.Row(buf[:0], values) }); n > 0 {
			t.Errorf("%s: %v allocations a row", format, n)
		}
	}
}

// FuzzCSV reads what the encoder writes with encoding/csv. That reader turns
// \r\n inside a field into \n, and cannot tell NULL from the empty text.
func FuzzCSV(f *testing.F) {
	f.Add("a", "", []byte(nil), int64(0))
	f.Add("\"\"\"", "x\r\ny\rz\n", []byte{0, 255}, int64(-1))
	f.Add(`\x61`, "\xff,", []byte("\n"), int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, a, b string, c []byte, d int64) {
		e := testEncoder("csv", Plain, Plain, Plain, Plain, Plain, Plain)
		line := e.Row(e.Header(nil), []any{a, nil, b, c, d, a + b})
		r := csv.NewReader(bytes.NewReader(line))
		r.FieldsPerRecord = 6
		records, err := r.ReadAll()
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		want := [][]string{
			{"a", "b", "c", "d", "e", "f"},
			{csvText(a), "", csvText(b), string(appendHex(nil, c)), jsonNumber(d), csvText(a + b)},
		}
		if diff := cmp.Diff(want, records); diff != "" {
			t.Errorf("%q (-want +got):\n%s", line, diff)
		}
	})
}

func csvText(s string) string {
	if !utf8.ValidString(s) {
		return string(appendHex(nil, []byte(s)))
	}
	return strings.ReplaceAll(s, "\r\n", "\n")
}

func jsonNumber(d int64) string { b, _ := json.Marshal(d); return string(b) }

// FuzzJSON reads what the encoder writes with encoding/json.
func FuzzJSON(f *testing.F) {
	f.Add("a", []byte(nil), int64(0), 0.5)
	f.Add("\"\\\u2028\x00", []byte{0, 255}, int64(math.MinInt64), math.MaxFloat64)
	f.Add("\xff\xfe", []byte("\n"), int64(1<<53+1), 5e-324)
	f.Fuzz(func(t *testing.T, s string, b []byte, i int64, x float64) {
		line := testEncoder("jsonl", Plain, Plain, Plain, Plain, Plain).Row(nil, []any{s, b, i, x, nil})
		if bytes.Count(line, []byte("\n")) != 1 || line[len(line)-1] != '\n' {
			t.Fatalf("%q is not one line", line)
		}
		var got struct {
			A json.RawMessage
			B struct{ Base64 []byte }
			C int64
			D json.RawMessage
			E any
		}
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if !bytes.Equal(got.B.Base64, b) || got.C != i || got.E != nil {
			t.Errorf("%q: read %v %v %v", line, got.B, got.C, got.E)
		}
		if !utf8.ValidString(s) {
			s, want := string(got.A), `{"base64":"`+base64.StdEncoding.EncodeToString([]byte(s))+`"}`
			if s != want {
				t.Errorf("%q: text %s, want %s", line, s, want)
			}
			return
		}
		var text string
		if err := json.Unmarshal(got.A, &text); err != nil || text != s {
			t.Errorf("%q: text %q, %v, want %q", line, text, err, s)
		}
		var number float64
		if err := json.Unmarshal(got.D, &number); !math.IsNaN(x) && !math.IsInf(x, 0) && (err != nil || number != x) {
			t.Errorf("%q: number %v, %v, want %v", line, number, err, x)
		}
	})
}

// The encoders against the standard library's, on the same rows.
func BenchmarkEncode(b *testing.B) {
	row := []any{int64(123456), "Zoë Quinn", int64(991), "a note, \"quoted\"", nil, "2026-07-01T21:59:58Z"}
	for _, format := range []string{"csv", "jsonl"} {
		b.Run(format, func(b *testing.B) {
			b.ReportAllocs()
			e := testEncoder(format, make([]Kind, len(row))...)
			var buf []byte
			for b.Loop() {
				buf = e.Row(buf[:0], row)
			}
		})
	}
	b.Run("encoding-csv", func(b *testing.B) {
		b.ReportAllocs()
		var out bytes.Buffer
		w := csv.NewWriter(&out)
		record := make([]string, len(row))
		for b.Loop() {
			out.Reset()
			for i, v := range row {
				switch v := v.(type) {
				case string:
					record[i] = v
				case int64:
					record[i] = jsonNumber(v)
				}
			}
			w.Write(record)
			w.Flush()
		}
	})
}
