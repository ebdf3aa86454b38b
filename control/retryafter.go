package control

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// RetryAfter marks err as one after which [Retry] sleeps for d instead of what its
// Backoff says, as an answer of 429 or 503 asks for with its Retry-After header, see
// [ParseRetryAfter]. It reads like err, and wraps it. A d of 0 or less tries again at
// once. RetryAfter(nil, d) is nil.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &retryAfterError{err, d}
}

type retryAfterError struct {
	error
	after time.Duration
}

func (e *retryAfterError) Unwrap() error { return e.error }

// ParseRetryAfter reads the value of a Retry-After header (RFC 9110, section 10.2.3):
// a number of seconds, or a date in one of the three formats of HTTP, from which it
// subtracts now. ok is false where it is neither, also for a negative number.
//
// A date that has passed is 0, and what is more than a [time.Duration] can hold, 292
// years, is that. A server may ask for any time, so bound what you get:
//
//	d, ok := control.ParseRetryAfter(response.Header.Get("Retry-After"), time.Now())
//	if !ok {
//		d = time.Second
//	}
//	return control.RetryAfter(err, min(d, time.Minute))
func ParseRetryAfter(header string, now time.Time) (d time.Duration, ok bool) {
	header = strings.Trim(header, " \t")
	if header != "" && strings.Trim(header, "0123456789") == "" {
		return seconds(header), true
	}
	date, ok := parseHTTPDate(header, now)
	if !ok {
		return 0, false
	}
	return max(date.Sub(now), 0), true // Sub saturates
}

// seconds returns so many seconds, or the longest duration there is.
func seconds(digits string) time.Duration {
	const most = math.MaxInt64 / int64(time.Second)
	n, err := strconv.ParseInt(digits, 10, 64)
	if errors.Is(err, strconv.ErrRange) || n > most {
		return math.MaxInt64
	}
	return time.Duration(n) * time.Second
}

// rfc850 is time.RFC850 with the one time zone that HTTP knows.
const rfc850 = "Monday, 02-Jan-06 15:04:05 GMT"

// parseHTTPDate reads a date of RFC 9110, section 5.6.7. What has two digits for the
// year and seems to be more than 50 years ahead is in the past.
func parseHTTPDate(text string, now time.Time) (date time.Time, ok bool) {
	for _, layout := range []string{http.TimeFormat, time.ANSIC} {
		if date, err := time.Parse(layout, text); err == nil {
			return date, true
		}
	}
	date, err := time.Parse(rfc850, text)
	if err != nil {
		return time.Time{}, false
	}
	// The latest year with these digits that is at most 50 years ahead.
	last := now.UTC().AddDate(50, 0, 0)
	years := (last.Year() - date.Year()) / 100 * 100
	for date = date.AddDate(years, 0, 0); date.After(last); {
		date = date.AddDate(-100, 0, 0)
	}
	return date, true
}
