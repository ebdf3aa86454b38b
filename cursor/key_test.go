package cursor_test

import (
	"database/sql"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.com/pipeline/cursor"
)

func TestKeyJSON(t *testing.T) {
	at := time.Date(2024, 2, 29, 23, 59, 59, 123456789, time.FixedZone("", -3*3600-1800))
	for _, test := range []struct {
		in   any
		json string
		out  any // nil: as in
	}{
		{int64(math.MinInt64), `{"int":"-9223372036854775808"}`, nil},
		{int64(9007199254740993), `{"int":"9007199254740993"}`, nil},
		{int32(-5), `{"int":"-5"}`, int64(-5)},
		{uint64(math.MaxUint64), `{"uint":"18446744073709551615"}`, nil},
		{uint8(5), `{"uint":"5"}`, uint64(5)},
		{"é\"\n\x00<😀\u2028", `{"text":"é\"\n\u0000\u003c😀\u2028"}`, nil},
		{"", `{"text":""}`, nil},
		{[]byte{0, 0xff}, `{"bytes":"AP8="}`, nil},
		{[]byte{}, `{"bytes":""}`, nil},
		{at, `{"time":"2024-02-29T23:59:59.123456789-03:30"}`, nil},
		{time.Date(1800, 1, 1, 0, 0, 0, 1, time.FixedZone("LMT", 53*60+28)), `{"time":"1799-12-31T23:06:32.000000001Z"}`,
			time.Date(1799, 12, 31, 23, 6, 32, 1, time.UTC)},
		{time.Date(-43, 3, 15, 12, 0, 0, 1, time.UTC), `{"time":"-0043-03-15T12:00:00.000000001Z"}`, nil},
		{time.Date(-4712, 2, 29, 0, 0, 0, 0, time.UTC), `{"time":"-4712-02-29T00:00:00Z"}`, nil},
		{time.Date(-1, 12, 31, 23, 0, 0, 0, time.FixedZone("", -3600)), `{"time":"-0001-12-31T23:00:00-01:00"}`, nil},
		{time.Date(294276, 12, 31, 23, 59, 59, 999999000, time.UTC), `{"time":"+294276-12-31T23:59:59.999999Z"}`, nil},
		{"a\xff\x00", `{"text64":"Yf8A"}`, nil},
		{0.1, `{"float":"0.1"}`, nil},
		{math.Inf(-1), `{"float":"-Inf"}`, nil},
		{math.Copysign(0, -1), `{"float":"-0"}`, nil},
		{true, `{"bool":true}`, nil},
		{sql.NullInt64{Int64: 7, Valid: true}, `{"int":"7"}`, int64(7)},
	} {
		data, err := json.Marshal(cursor.Key{test.in})
		var want, got any
		if json.Unmarshal([]byte("["+test.json+"]"), &want) != nil || json.Unmarshal(data, &got) != nil || err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%#v: got %s, %v", test.in, data, err)
			continue
		}
		var back cursor.Key
		if err := json.Unmarshal(data, &back); err != nil {
			t.Errorf("%s: %v", data, err)
			continue
		}
		out := test.out
		if out == nil {
			out = test.in
		}
		if wanted, ok := out.(time.Time); ok {
			if got, ok := back[0].(time.Time); !ok || !got.Equal(wanted) {
				t.Errorf("%s: got %v, want %v", data, back[0], wanted)
			}
		} else if !reflect.DeepEqual(back[0], out) {
			t.Errorf("%s: got %#v, want %#v", data, back[0], out)
		}
	}
}

func TestKeyRefuses(t *testing.T) {
	for _, test := range []struct {
		value any
		want  string
	}{
		{nil, "NULL"},
		{math.NaN(), "NaN"},
		{time.Date(1_000_000, 1, 1, 0, 0, 0, 0, time.UTC), "take another column as the key"},
		{sql.NullString{}, "NULL"},
		{struct{}{}, "cannot be stored"},
		{[]int{1}, "cannot be stored"},
	} {
		if data, err := json.Marshal(cursor.Key{test.value}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: got %s, %v; want an error about %s", test.value, data, err, test.want)
		}
	}
	if data, err := json.Marshal(cursor.Key{}); err == nil {
		t.Errorf("an empty key became %s", data)
	}
	for _, data := range []string{`null`, `[]`, `{}`, `[{}]`, `[null]`, `[1]`, `[{"int":1}]`, `[{"int":"1","text":"1"}]`, `[{"int":"9223372036854775808"}]`,
		`[{"uint":"-1"}]`, `[{"bytes":"A"}]`, `[{"time":"yesterday"}]`, `[{"time":"+"}]`, `[{"time":"-0043"}]`,
		`[{"time":"+9223372036854775807-01-01T00:00:00Z"}]`, `[{"text64":"A"}]`, `[{"float":"NaN"}]`, `[{"bool":"true"}]`, `[{"what":"1"}]`,
		"[{\"text\":\"\xff\"}]", `[{"text":null}]`} {
		key := cursor.Key{"untouched"}
		if err := json.Unmarshal([]byte(data), &key); err == nil {
			t.Errorf("%s became %v", data, key)
		} else if key[0] != "untouched" {
			t.Errorf("%s was refused, and changed the key to %v", data, key)
		}
	}
}

// FuzzKey shows that any JSON is refused or gives a key that comes back as it is.
func FuzzKey(f *testing.F) {
	f.Add([]byte(`[{"int":"-1"},{"uint":"1"},{"text":"é"},{"bytes":"AP8="},{"time":"2024-02-29T23:59:59.1Z"},{"float":"1e300"},{"bool":true}]`))
	f.Add([]byte(`[{"time":"2024-02-29T23:59:59.1+23:59"}]`))
	f.Add([]byte(`[{"float":"0x1p-2"}]`))
	f.Add([]byte(`[{"time":"-0043-02-28T23:59:59.1-23:59"},{"time":"+10000-01-01T00:00:00+23:59"},{"text64":"/w=="}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var key cursor.Key
		if json.Unmarshal(data, &key) != nil {
			return
		}
		stored, err := json.Marshal(key)
		if err != nil {
			t.Fatalf("%s was read, but cannot be written: %v", data, err)
		}
		var back cursor.Key
		if err := json.Unmarshal(stored, &back); err != nil {
			t.Fatalf("%s: %v", stored, err)
		}
		for i := range key {
			if at, ok := key[i].(time.Time); ok {
				if !at.Equal(back[i].(time.Time)) {
					t.Fatalf("%v came back as %v", at, back[i])
				}
			} else if !reflect.DeepEqual(key[i], back[i]) {
				t.Fatalf("%#v came back as %#v", key[i], back[i])
			}
		}
	})
}
