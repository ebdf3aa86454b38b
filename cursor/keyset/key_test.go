package keyset_test

import (
	"database/sql"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.com/pipeline/cursor/keyset"
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
		{at, `{"time":"1709263799.123456789-12600"}`, nil},
		{time.Date(1800, 1, 1, 0, 0, 0, 1, time.FixedZone("LMT", 53*60+28)), `{"time":"-5364665608.000000001+3208"}`, nil},
		{time.Date(-43, 3, 15, 12, 0, 0, 1, time.UTC), `{"time":"-63517780800.000000001+0"}`, nil},
		{time.Date(-4712, 2, 29, 0, 0, 0, 0, time.UTC), `{"time":"-210858422400.000000000+0"}`, nil},
		{time.Date(294276, 12, 31, 23, 59, 59, 999999000, time.UTC), `{"time":"9224318015999.999999000+0"}`, nil},
		{time.Time{}, `{"time":"-62135596800.000000000+0"}`, nil},
		{"a\xff\x00", `{"text64":"Yf8A"}`, nil},
		{0.1, `{"float":"0.1"}`, nil},
		{math.Inf(-1), `{"float":"-Inf"}`, nil},
		{math.Copysign(0, -1), `{"float":"-0"}`, nil},
		{true, `{"bool":true}`, nil},
		{sql.NullInt64{Int64: 7, Valid: true}, `{"int":"7"}`, int64(7)},
	} {
		data, err := json.Marshal(keyset.Key{test.in})
		var want, got any
		if json.Unmarshal([]byte("["+test.json+"]"), &want) != nil || json.Unmarshal(data, &got) != nil || err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%#v: got %s, %v", test.in, data, err)
			continue
		}
		var back keyset.Key
		if err := json.Unmarshal(data, &back); err != nil {
			t.Errorf("%s: %v", data, err)
			continue
		}
		out := test.out
		if out == nil {
			out = test.in
		}
		if wanted, ok := out.(time.Time); ok {
			if got, ok := back[0].(time.Time); !ok || !got.Equal(wanted) || got.Format(time.DateTime) != wanted.Format(time.DateTime) {
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
		{sql.NullString{}, "NULL"},
		{(*sql.NullString)(nil), "NULL"},
		{struct{}{}, "cannot be stored"},
		{[]int{1}, "cannot be stored"},
	} {
		if data, err := json.Marshal(keyset.Key{test.value}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: got %s, %v; want an error about %s", test.value, data, err, test.want)
		}
	}
	if data, err := json.Marshal(keyset.Key{}); err == nil {
		t.Errorf("an empty key became %s", data)
	}
	for _, data := range []string{`null`, `[]`, `{}`, `[{}]`, `[null]`, `[1]`, `[{"int":1}]`, `[{"int":"1","text":"1"}]`, `[{"int":"9223372036854775808"}]`,
		`[{"uint":"-1"}]`, `[{"bytes":"A"}]`, `[{"time":"yesterday"}]`, `[{"time":"+"}]`, `[{"time":"1."}]`, `[{"time":"1.00000000+0"}]`,
		`[{"time":"1.000000000"}]`, `[{"time":"1.-00000001+0"}]`, `[{"time":"01.000000000+0"}]`, `[{"time":"1.000000000+99999999999"}]`, `[{"text64":"A"}]`, `[{"float":"NaN"}]`, `[{"bool":"true"}]`, `[{"what":"1"}]`,
		"[{\"text\":\"\xff\"}]", `[{"text":null}]`} {
		key := keyset.Key{"untouched"}
		if err := json.Unmarshal([]byte(data), &key); err == nil {
			t.Errorf("%s became %v", data, key)
		} else if key[0] != "untouched" {
			t.Errorf("%s was refused, and changed the key to %v", data, key)
		}
	}
}

// FuzzKey shows that any JSON is refused or gives a key that comes back as it is.
func FuzzKey(f *testing.F) {
	f.Add([]byte(`[{"int":"-1"},{"uint":"1"},{"text":"é"},{"bytes":"AP8="},{"time":"1709251199.100000000+0"},{"float":"1e300"},{"bool":true}]`))
	f.Add([]byte(`[{"time":"1709251199.100000000+86340"}]`))
	f.Add([]byte(`[{"float":"0x1p-2"}]`))
	f.Add([]byte(`[{"time":"-63517954800.000000001-86340"},{"time":"9224318015999.999999000+1"},{"text64":"/w=="}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var key keyset.Key
		if json.Unmarshal(data, &key) != nil {
			return
		}
		stored, err := json.Marshal(key)
		if err != nil {
			t.Fatalf("%s was read, but cannot be written: %v", data, err)
		}
		var back keyset.Key
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
