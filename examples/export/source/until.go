package source

import (
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/examples/export/advice"
)

// badUntil is what to do about a key that cannot be the last one.
const badUntil = "Give the last key as the file has it, with a comma between the values of several columns.\nNothing was written."

// EndAt has the rows end at a key that is given as text, one for each column. What type the
// values are of, the first row says. A table without rows has no end: Until stays nil.
func (t *Table) EndAt(ctx context.Context, texts []string) error {
	if t.Order != ByKey {
		return advice.New("Name a -key, or leave -until out.\nNothing was written.", "-until: %s is not read by a key", t.Name)
	}
	if len(texts) != len(t.Key()) {
		return advice.New(badUntil, "-until: %d values for the key of %s (%s)", len(texts), t.Name, strings.Join(t.Key(), ", "))
	}
	first, err := t.first(ctx, nil)
	if first == nil || err != nil {
		return err
	}
	key := make(keyset.Key, len(texts))
	for i, text := range texts {
		if key[i], err = valueLike(first[i], text); err != nil {
			return advice.New(badUntil, "-until: column %s of the key: %w", t.Key()[i], err)
		}
	}
	if _, err := t.first(ctx, &key); err != nil {
		if Passes(err) || ctx.Err() != nil {
			return err
		}
		return advice.New(badUntil, "-until: %w", err)
	}
	t.Until = &key
	return nil
}

// first returns the key of the first row up to a key, nil where there is none.
func (t *Table) first(ctx context.Context, until *keyset.Key) (keyset.Key, error) {
	part := *t.Table
	part.Until, part.Reuse = until, false
	part.Page.Size, part.Page.Max, part.Page.Prefetch = 1, 1, 0
	for row, err := range part.Stream(ctx, nil) {
		return row.Key, err
	}
	return nil, nil
}

// valueLike reads a value of the type of another.
func valueLike(like any, text string) (any, error) {
	switch like.(type) {
	case int64, uint64:
		if u, err := strconv.ParseUint(text, 10, 64); err == nil && u > math.MaxInt64 {
			return u, nil
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is no integer", text)
		}
		return n, nil
	case []byte:
		digits, ok := strings.CutPrefix(text, `\x`)
		b, err := hex.DecodeString(digits)
		if !ok || err != nil {
			return nil, fmt.Errorf(`%q is not binary: \x and hexadecimal digits`, text)
		}
		return b, nil
	case time.Time:
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", time.DateTime, time.DateOnly} {
			if when, err := time.Parse(layout, text); err == nil {
				return when, nil
			}
		}
		return nil, fmt.Errorf("%q is no time such as 2006-01-02T15:04:05Z", text)
	case bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("%q is neither true nor false", text)
		}
		return b, nil
	case string:
		return text, nil
	}
	return nil, fmt.Errorf("a %T cannot be given as text", like)
}
