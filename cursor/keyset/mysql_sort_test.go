package keyset

import (
	"errors"
	"strings"
	"testing"
)

// TestHintsOfMySQL puts the settings of a statement into its one comment of hints.
func TestHintsOfMySQL(t *testing.T) {
	for hint, want := range map[string]string{
		"":                         "SELECT /*+ SET_VAR(max_sort_length = 1024) */ k FROM t",
		"FORCE INDEX (x)":          "SELECT /*+ SET_VAR(max_sort_length = 1024) */ k FROM t FORCE INDEX (x)",
		"/*+ NO_ICP(t) */":         "SELECT /*+ SET_VAR(max_sort_length = 1024)  NO_ICP(t) */ k FROM t",
		"/* a comment like any */": "SELECT /*+ SET_VAR(max_sort_length = 1024) */ /* a comment like any */ k FROM t",
	} {
		s := &spec{from: "t", hint: hint, hints: "SET_VAR(" + maxSortLength(1024) + ")", sorted: 1024}
		if got := s.source("k"); got != want {
			t.Errorf("with the hint %q: %q, want %q", hint, got, want)
		}
		if !s.sortMore() || !strings.Contains(s.source("k"), "= 131072)") || s.sortMore() {
			t.Errorf("it sorts by %d bytes: %s", s.sorted, s.source("k"))
		}
	}
}

// TestCheckSorted has positions that the server may have sorted by a part of.
func TestCheckSorted(t *testing.T) {
	type id string
	for _, c := range []struct {
		pos   any
		parts bool
		pins  bool
		want  error
	}{
		{strings.Repeat("x", 128), true, true, nil},
		{strings.Repeat("x", 129), true, true, errShortSort},
		{id(strings.Repeat("x", 129)), true, true, errShortSort},
		{strings.Repeat("é", 22), true, true, errShortSort},
		{strings.Repeat("x", 129), false, true, nil},
		{strings.Repeat("x", 129), true, false, ErrKey}, // and there is no way to have it sorted
		{int64(1), true, true, nil},
	} {
		s := &spec{key: []string{"k"}, sorted: 1024, sortsParts: c.parts}
		if c.pins {
			s.prefix = "SET STATEMENT " + maxSortLength(1024) + " FOR "
		}
		if err := checkSorted(s, Key{c.pos}); !errors.Is(err, c.want) {
			t.Errorf("%v: %v, want %v", c, err, c.want)
		}
	}
}
