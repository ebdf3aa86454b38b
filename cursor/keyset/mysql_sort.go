package keyset

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"example.com/pipeline/cursor/internal/paging"
)

// A server that sorts rows by itself, and not by an index, sorts by the first
// max_sort_length bytes of what a collation makes of a text, 1024 by default: rows whose
// keys begin alike come in any order. It may sort so whatever index there is. So the
// length is pinned to more than the key of any index can need, which makes no row larger
// than its column. Of a TEXT or BLOB, though, so many bytes may be kept for each row. There
// the length is pinned to that only once a page has a key that may need it.
const (
	sortedBytes = 128 << 10
	sortBuffer  = 4 << 20 // a column; it must hold 15 keys
)

func maxSortLength(n int) string { return fmt.Sprintf("max_sort_length = %d", n) }

// errShortSort says that rows may have come in a wrong order. They are read again.
var errShortSort = errors.New("keyset: the server may not have sorted by whole keys")

// sortBy has statements sort by so many bytes.
func (s *spec) sortBy(n int) {
	s.prefix = strings.Replace(s.prefix, maxSortLength(s.sorted), maxSortLength(n), 1)
	s.hints = strings.Replace(s.hints, maxSortLength(s.sorted), maxSortLength(n), 1)
	s.sorted = n
}

// sortMore has statements sort by as many bytes as there may be, and reports whether
// those are more than before.
func (s *spec) sortMore() bool {
	if s.sorted >= sortedBytes || s.prefix == "" && s.hints == "" {
		return false
	}
	s.sortBy(sortedBytes)
	return true
}

// checkSorted refuses a position of a sorted row where the server may have sorted by a part
// of it. A character takes at most 8 bytes where it is ASCII, and 48 where
// not: three levels of eight weights.
func checkSorted[P any](s *spec, pos P) error {
	if !s.sortsParts {
		return nil
	}
	values, err := positionValues(pos, len(s.key))
	if err != nil {
		return fmt.Errorf("keyset: %s: %w", s.from, err)
	}
	for i, v := range values {
		size, need := 0, 0
		switch v := plain(v).(type) {
		case []byte:
			size, need = len(v), len(v)+8
			if t := s.keyType(i); t == nil || isMySQLText(t.DatabaseTypeName()) {
				need = sortWeight(string(v))
			}
		case string:
			size, need = len(v), sortWeight(v)
		}
		if need <= s.sorted {
			continue
		}
		if s.sorted < sortedBytes && (s.prefix != "" || s.hints != "") {
			return errShortSort
		}
		return paging.Final(s.badKey("%s has a value of %d bytes, and the server may sort by the first %d of what it makes of it (max_sort_length); use a shorter key, or connect with max_sort_length=%d",
			s.key[i], size, s.sorted, sortedBytes))
	}
	return nil
}

// plain returns a value of a position as package sql gives it to a driver, nil where it
// does not.
func plain(v any) any {
	v, err := driver.DefaultParameterConverter.ConvertValue(v)
	if err != nil {
		return nil
	}
	return v
}

func sortWeight(text string) int {
	ascii := 0
	for i := range len(text) {
		if text[i] < utf8.RuneSelf {
			ascii++
		}
	}
	return 8*ascii + 48*(utf8.RuneCountInString(text)-ascii)
}
