package control

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(1994, time.November, 6, 8, 49, 7, 0, time.UTC)
	const half = 30 * time.Second
	day := 24 * time.Hour
	tests := []struct {
		header string
		now    time.Time
		want   time.Duration
		ok     bool
	}{
		{"0", now, 0, true},
		{"120", now, 2 * time.Minute, true},
		{"007", now, 7 * time.Second, true},
		{" 86400\t", now, day, true},
		{"9223372036", now, 9223372036 * time.Second, true},
		{"9223372037", now, math.MaxInt64, true},
		{"18446744073709551617", now, math.MaxInt64, true},
		{strings.Repeat("9", 1000), now, math.MaxInt64, true},
		{"", now, 0, false},
		{" ", now, 0, false},
		{"-1", now, 0, false},
		{"+1", now, 0, false},
		{"1.5", now, 0, false},
		{"1e3", now, 0, false},
		{"0x10", now, 0, false},
		{"1 2", now, 0, false},
		{"1, 2", now, 0, false},
		{"١", now, 0, false}, // a digit, but not of ASCII
		{"soon", now, 0, false},
		{"Sun, 06 Nov 1994 08:49:37 GMT", now, half, true},
		{"Sunday, 06-Nov-94 08:49:37 GMT", now, half, true},
		{"Sun Nov  6 08:49:37 1994", now, half, true},
		{"Sun Nov 16 08:49:07 1994", now, 10 * day, true},
		{"Sun, 06 Nov 1994 08:49:37 GMT", now.In(time.FixedZone("", 3600)), half, true},
		{"Sun, 06 Nov 1994 08:49:37 CET", now, 0, false},
		{"Sunday, 06-Nov-94 08:49:37 CET", now, 0, false},
		{"Sun, 06 Nov 1994 08:49:37 +0100", now, 0, false},
		{"Sun, 06 Nov 1994 08:49:06 GMT", now, 0, true}, // it has passed
		{"Thu, 01 Jan 1970 00:00:00 GMT", now, 0, true},
		{"Fri, 31 Dec 9999 23:59:59 GMT", now, math.MaxInt64, true},
		{"Sun, 31 Nov 1994 08:49:37 GMT", now, 0, false},
		// Two digits for the year: at most 50 years ahead.
		{"Sunday, 06-Nov-44 08:49:07 GMT", now, now.AddDate(50, 0, 0).Sub(now), true},
		{"Sunday, 06-Nov-44 08:49:08 GMT", now, 0, true}, // 1944
		{"Sunday, 06-Nov-45 08:49:07 GMT", now, 0, true}, // 1945
		{"Sunday, 06-Nov-70 08:49:37 GMT", time.Date(2070, 11, 6, 8, 49, 7, 0, time.UTC), half, true},
		{"Sunday, 06-Nov-05 08:49:37 GMT", time.Date(2105, 11, 6, 8, 49, 7, 0, time.UTC), half, true},
		{"Sunday, 06-Nov-68 08:49:37 GMT", time.Date(1968, 11, 6, 8, 49, 7, 0, time.UTC), half, true},
	}
	for _, tt := range tests {
		if got, ok := ParseRetryAfter(tt.header, tt.now); got != tt.want || ok != tt.ok {
			t.Errorf("ParseRetryAfter(%.40q) at %v = %v, %t; want %v, %t", tt.header, tt.now, got, ok, tt.want, tt.ok)
		}
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, seed := range []string{"120", "9223372037", "-1", "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"} {
		f.Add(seed, int64(784111747))
	}
	f.Fuzz(func(t *testing.T, header string, unix int64) {
		now := time.Unix(unix%(1<<37), 0)
		d, ok := ParseRetryAfter(header, now)
		if d < 0 || !ok && d != 0 {
			t.Fatalf("%q: %v, %t", header, d, ok)
		}
		if !ok || d == 0 || d == math.MaxInt64 {
			return
		}
		// The same instant in the format that is to be sent, and the same time in seconds.
		if year := now.Add(d).UTC().Year(); year >= 1000 && year <= 9999 && d%time.Second == 0 {
			if again, ok := ParseRetryAfter(now.Add(d).UTC().Format(http.TimeFormat), now); again != d || !ok {
				t.Errorf("%q: %v, and as a date %v, %t", header, d, again, ok)
			}
		}
		whole := d.Truncate(time.Second)
		if again, ok := ParseRetryAfter(fmt.Sprint(int64(whole/time.Second)), now); again != whole || !ok {
			t.Errorf("%q: %v, and in seconds %v, %t", header, whole, again, ok)
		}
	})
}

func ExampleParseRetryAfter() {
	now := time.Date(1994, time.November, 6, 8, 49, 7, 0, time.UTC)
	fmt.Println(ParseRetryAfter("120", now))
	fmt.Println(ParseRetryAfter("Sun, 06 Nov 1994 08:49:37 GMT", now))
	fmt.Println(ParseRetryAfter("soon", now))
	// Output:
	// 2m0s true
	// 30s true
	// 0s false
}

func ExampleRetryAfter() {
	calls := 0
	retry := Retry{OnRetry: func(e RetryEvent) { fmt.Println("sleeps for", e.Sleep) }}
	err := retry.Do(context.Background(), func(context.Context) error {
		if calls++; calls == 1 {
			return RetryAfter(errors.New("429 Too Many Requests"), 2*time.Millisecond)
		}
		return nil
	})
	fmt.Println(calls, err)
	// Output:
	// sleeps for 2ms
	// 2 <nil>
}
